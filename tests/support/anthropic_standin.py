"""A stand-in of Anthropic's Messages API on loopback, for the real client: it reads the conversation it is sent, and no more.

It refuses what the real one refuses (no key, no messages, empty content, a conversation that does not begin with the user).
"""

import json
import re
import threading
from collections.abc import Generator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

NAMED = re.compile(r"\b(?:i'm|i am|my name is|user is called)\s+(\w+)", re.IGNORECASE)


def text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(block.get("text", "") for block in content)


def answer(messages: list[dict[str, Any]], system: str = "") -> str:
    said = [text_of(message["content"]) for message in messages if message["role"] == "user"]
    name = next((found[1].capitalize() for text in [system, *said] if (found := NAMED.search(text))), None)
    if "my name" in said[-1]:
        if name is None:
            return "I apologize, but I don't have access to your personal information, including your name."
        return f"Your name is {name}, as you introduced yourself at the beginning of our conversation."
    return f"Hello{' ' + name if name else ''}! It's nice to meet you. How are you doing today?"


def refusal(request: dict[str, Any]) -> str | None:
    messages = request.get("messages")
    if not request.get("model") or not isinstance(request.get("max_tokens"), int):
        return "model and max_tokens: field required"
    if not messages:
        return "messages: at least one message is required"
    for index, message in enumerate(messages):
        if message.get("role") not in ("user", "assistant"):
            return f"messages.{index}.role: expected user or assistant"
        if not text_of(message.get("content", "")).strip():
            return f"messages.{index}: all messages must have non-empty content"
    return None if messages[0]["role"] == "user" else "messages: first message must use the user role"


class Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not (self.headers.get("x-api-key") or self.headers.get("authorization")):  # clients send the one or the other
            return self.reply(401, {"type": "error", "error": {"type": "authentication_error", "message": "no key"}})
        if self.path != "/v1/messages":
            return self.reply(404, {"type": "error", "error": {"type": "not_found_error", "message": self.path}})
        if (refused := refusal(request)) is not None:
            return self.reply(400, {"type": "error", "error": {"type": "invalid_request_error", "message": refused}})
        text = answer(request["messages"], text_of(request.get("system") or ""))
        message: dict[str, Any] = {
            "id": f"msg_{len(request['messages']):04}",
            "type": "message",
            "role": "assistant",
            "model": request["model"],
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": len(request["messages"]) * 10, "output_tokens": len(text) // 4},
        }
        return self.stream(message, text) if request.get("stream") else self.reply(200, message)

    def reply(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("connection", "close")  # so that clients leave no socket open behind a test
        self.end_headers()
        self.wfile.write(data)

    def stream(self, message: dict[str, Any], text: str) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for event in events(message, text):
            self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
            self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""


def events(message: dict[str, Any], text: str) -> Iterator[dict[str, Any]]:
    yield {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    for word in re.findall(r"\S+\s*", text):
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
    yield {"type": "content_block_stop", "index": 0}
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": message["usage"]["output_tokens"]}}
    yield {"type": "message_stop"}


@pytest.fixture(scope="session")
def anthropic_url() -> Generator[str]:
    """Where the stand-in listens."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def anthropic(anthropic_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment in which the real client, unchanged, talks to the stand-in."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "not-a-real-key")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", anthropic_url)
    return anthropic_url
