"""A network between a client and a server: it counts round trips, takes its time, and fails when it is told to."""

import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress


class Proxy:
    """Forwards connections to a port of this machine.

    Attributes:
        port: its own. delay: seconds that everything takes, each way. trips: how often a server answered a client since 0.
        cut: once a client has sent this, what the server answers is swallowed and the connection ends; once.
        then: called when that has happened, before the client hears of it.
    """

    def __init__(self, to: int) -> None:
        self.to = to
        self.delay = 0.0
        self.trips = 0
        self.cut: bytes | None = None
        self.then: Callable[[], object] = lambda: None
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_all(self) -> None:
        """Ends every connection, whatever is under way."""
        while self._ends:
            _end(self._ends.pop())

    def close(self) -> None:
        _end(self._listener)
        self.cut_all()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self.to))
                except OSError:
                    _end(client)
                    continue
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._ends += (client, server)
                asked: list[bytes] = []
                threading.Thread(target=self._pump, args=(client, server, asked, True), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, asked, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, asked: list[bytes], to_server: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 18):
                if to_server:
                    asked.append(data)
                elif asked:
                    self.trips += 1
                    if self.cut is not None and self.cut in b"".join(asked):
                        self.cut = None
                        self.then()
                        break
                    asked.clear()
                if self.delay:
                    time.sleep(self.delay)
                sink.sendall(data)
        _end(source)
        _end(sink)


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def proxy_to(port: int) -> Generator[Proxy]:
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
