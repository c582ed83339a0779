"""A stand-in of Anthropic's Messages API on loopback, for the real client: text, tool calls, shaped answers, streams.

It refuses what the real one refuses: no key, no model, and the histories of `support.histories`.
"""

import json
import re
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from support.histories import blocks, refused_by_anthropic, text_of
from support.mind import Heard, Said, Tool, Turn
from support.standin import Api, Body, StandIn, new_id, pieces, serving

ERRORS = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class AnthropicApi(Api):
    path_served = "/v1/messages"

    def refusal(self, request: Body) -> str | None:
        if not request.get("model") or not isinstance(request.get("max_tokens"), int):
            return "model and max_tokens: field required"
        choice: Body = request.get("tool_choice") or {}
        if choice.get("type") == "tool" and choice["name"] not in [tool["name"] for tool in request.get("tools", ())]:
            return f"Tool '{choice['name']}' not found in provided tools"
        return next(iter(refused_by_anthropic(request.get("messages") or [])), None)

    def heard(self, request: Body) -> Heard:
        choice: Body = request.get("tool_choice") or {}
        tools = tuple(Tool(tool["name"], tool["input_schema"]) for tool in request.get("tools", ()) if "input_schema" in tool)
        must: str | None = tools[0].name if choice.get("type") == "any" else choice.get("name")
        shape: Body = request.get("output_config", {}).get("format", {})
        return Heard(text_of(request.get("system")), tuple(turns(request["messages"])), tools, must, shape.get("schema"))

    def answer(self, request: Body, said: Said) -> Body:
        text: list[Body] = [{"type": "text", "text": said.text}] if said.text else []
        calls = [{"type": "tool_use", "id": new_id("toolu_"), "name": call.name, "input": call.args} for call in said.calls]
        return {
            "id": new_id("msg_"),
            "type": "message",
            "role": "assistant",
            "model": request["model"],
            "content": text + calls,
            "stop_reason": "tool_use" if calls else "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": len(request["messages"]) * 10, "output_tokens": max(1, len(said.text) // 4)},
        }

    def events(self, request: Body, answer: Body) -> Iterator[str]:
        yield event("message_start", message={**answer, "content": [], "stop_reason": None})
        for index, block in enumerate(answer["content"]):
            is_text = block["type"] == "text"
            yield event(
                "content_block_start", index=index, content_block={**block, **({"text": ""} if is_text else {"input": {}})}
            )
            for delta in _text(block["text"]) if is_text else _json(block["input"]):
                yield event("content_block_delta", index=index, delta=delta)
            yield event("content_block_stop", index=index)
        ended = {"stop_reason": answer["stop_reason"], "stop_sequence": None}
        yield event("message_delta", delta=ended, usage={"output_tokens": answer["usage"]["output_tokens"]})
        yield event("message_stop")

    def error(self, status: int, text: str) -> Body:
        kind = ERRORS.get(status, "overloaded_error" if status == 529 else "api_error")
        return {"type": "error", "error": {"type": kind, "message": text}}

    def error_event(self, text: str) -> str:
        return event("error", error={"type": "overloaded_error", "message": text})


def turns(messages: list[Body]) -> Iterator[Turn]:
    """Results stand in turns of the user: each is one that a tool took."""
    for message in messages:
        for block in blocks(message["content"]):
            if block["type"] == "tool_result":
                yield Turn("tool", text_of(block.get("content")))
        text = text_of(message["content"])
        if text or message["role"] == "assistant":
            yield Turn(message["role"], text)


def _text(text: str) -> Iterator[Body]:
    for word in re.findall(r"\S+\s*", text):
        yield {"type": "text_delta", "text": word}


def _json(given: Any) -> Iterator[Body]:
    for piece in ["", *pieces(json.dumps(given) if given else "")]:
        yield {"type": "input_json_delta", "partial_json": piece}


def event(kind: str, **fields: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"


@pytest.fixture(scope="session")
def anthropic_running() -> Generator[StandIn]:
    with serving(AnthropicApi) as server:
        yield server


@pytest.fixture
def anthropic_server(anthropic_running: StandIn, monkeypatch: pytest.MonkeyPatch) -> Generator[StandIn]:
    """The stand-in, and the environment in which the real client, unchanged, talks to it."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "not-a-real-key")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", anthropic_running.url)
    yield anthropic_running
    anthropic_running.reset()


@pytest.fixture
def anthropic(anthropic_server: StandIn) -> str:
    """Where the stand-in listens."""
    return anthropic_server.url
