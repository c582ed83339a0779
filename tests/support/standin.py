"""What the stand-ins of chat APIs have in common: a server on loopback that a test can look into, hold up and make fail.

Which requests there are, and how answers look on the wire, is each provider's own.
"""

import json
import sys
import threading
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final
from uuid import uuid4

from support.mind import Heard, Said, think

Body = dict[str, Any]
CUT: Final = "cut"


class StandIn(ThreadingHTTPServer):
    """One provider, for the real client.

    Attributes:
        mind: what the model says; `think` unless a test puts something else in its place.
        requests: every request that was answered, oldest first.
        refused: why each of the others was refused (400), oldest first.
        failing: HTTP statuses that the next requests are answered with, one each (529, 429, 500 …).
        breaking: for each of the next streams, after how many events it ends before its time, and how: the connection is
            `"cut"`, or the API says this error.
        before_event: called with the number of each event of a stream, from 0, before it is sent: a test waits in it.
    """

    mind: Callable[[Heard], Said]
    requests: list[Body]
    refused: list[str]
    failing: deque[int]
    breaking: deque[tuple[int, str]]
    before_event: Callable[[int], None]

    def __init__(self, api: type["Api"]) -> None:
        super().__init__(("127.0.0.1", 0), api)
        self.reset()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def reset(self) -> None:
        """As if it had just been started."""
        self.mind, self.requests, self.refused = think, [], []
        self.failing, self.breaking = deque(), deque()
        self.before_event = lambda number: None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go away as they please."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving(api: type["Api"]) -> Generator[StandIn]:
    """A server that serves."""
    with StandIn(api) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class Api(BaseHTTPRequestHandler):
    """One request. Subclasses know the provider."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: StandIn  # pyright: ignore[reportIncompatibleVariableOverride]  (this server's handler)
    path_served: ClassVar[str]

    @abstractmethod
    def refusal(self, request: Body) -> str | None:
        """What the provider finds wrong with a request."""

    @abstractmethod
    def heard(self, request: Body) -> Heard:
        """The request as the model hears it."""

    @abstractmethod
    def answer(self, request: Body, said: Said) -> Body:
        """The whole answer."""

    @abstractmethod
    def events(self, request: Body, answer: Body) -> Iterator[str]:
        """The answer as server-sent events, token by token."""

    @abstractmethod
    def error(self, status: int, text: str) -> Body:
        """An error as the provider words it."""

    @abstractmethod
    def error_event(self, text: str) -> str:
        """An error in the middle of a stream."""

    def do_POST(self) -> None:
        request: Body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not (self.headers.get("x-api-key") or self.headers.get("authorization")):  # clients send the one or the other
            return self.reply(401, self.error(401, "no key"))
        if self.path != self.path_served:
            return self.reply(404, self.error(404, self.path))
        if self.server.failing:
            status = self.server.failing.popleft()
            return self.reply(status, self.error(status, "try again"))
        if (refused := self.refusal(request)) is not None:
            self.server.refused.append(refused)
            return self.reply(400, self.error(400, refused))
        self.server.requests.append(request)
        answer = self.answer(request, self.server.mind(self.heard(request)))
        return self.stream(request, answer) if request.get("stream") else self.reply(200, answer)

    def reply(self, status: int, body: Body) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("retry-after-ms", "1")  # so that no client sleeps before it tries again
        self.send_header("connection", "close")  # so that clients leave no socket open behind a test
        self.end_headers()
        self.wfile.write(data)

    def stream(self, request: Body, answer: Body) -> None:
        ends, how = self.server.breaking.popleft() if self.server.breaking else (None, CUT)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")  # a stream that is cut can be told from one that ended
        self.send_header("connection", "close")
        self.end_headers()
        for number, event in enumerate(self.events(request, answer)):
            if number == ends:
                if how == CUT:
                    return
                event = self.error_event(how)
            self.server.before_event(number)
            self._chunk(event)
            if number == ends:
                break
        self._chunk("")

    def _chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""


def new_id(prefix: str) -> str:
    """As random as the provider's own."""
    return f"{prefix}{uuid4().hex[:24]}"


def pieces(text: str, size: int = 6) -> list[str]:
    """A string as it comes, token by token."""
    return [text[at : at + size] for at in range(0, len(text), size)]
