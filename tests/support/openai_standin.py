"""A stand-in of OpenAI's chat completions API on loopback, for the real client: text, tool calls, shaped answers, streams.

It refuses what the real one refuses: no key, no model, and the histories of `support.histories`.
"""

import json
import re
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from support.histories import refused_by_openai, text_of
from support.mind import Heard, Said, Tool, Turn
from support.standin import Api, Body, StandIn, new_id, pieces, serving


class OpenAIApi(Api):
    path_served = "/v1/chat/completions"

    def refusal(self, request: Body) -> str | None:
        if not request.get("model"):
            return "you must provide a model parameter"
        if not request.get("tools"):
            for option in ("tool_choice", "parallel_tool_calls"):
                if option in request:
                    return f"Invalid value for '{option}': '{option}' is only allowed when 'tools' are specified."
        return next(iter(refused_by_openai(request.get("messages") or [])), None)

    def heard(self, request: Body) -> Heard:
        functions = [tool["function"] for tool in request.get("tools", ())]
        tools = tuple(Tool(function["name"], function.get("parameters", {})) for function in functions)
        wanted: Any = request.get("tool_choice", "auto")
        must = None if wanted in ("auto", "none") else tools[0].name if wanted == "required" else wanted["function"]["name"]
        shape: Body = request.get("response_format") or {}
        system = [text_of(message["content"]) for message in request["messages"] if message["role"] in ("system", "developer")]
        said = tuple(
            Turn(message["role"], text_of(message.get("content")))
            for message in request["messages"]
            if message["role"] in ("user", "assistant", "tool")
        )
        return Heard(" ".join(system), said, tools, must, shape.get("json_schema", {}).get("schema"))

    def answer(self, request: Body, said: Said) -> Body:
        calls = [
            {"id": new_id("call_"), "type": "function", "function": {"name": call.name, "arguments": json.dumps(call.args)}}
            for call in said.calls
        ]
        message: Body = {"role": "assistant", "content": said.text or None, "refusal": None}
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls" if calls else "stop"}
        heard, spoken = len(request["messages"]) * 10, max(1, len(said.text) // 4)
        usage = {"prompt_tokens": heard, "completion_tokens": spoken, "total_tokens": heard + spoken}
        head = {"id": new_id("chatcmpl-"), "object": "chat.completion", "created": 1_700_000_000, "model": request["model"]}
        return {**head, "choices": [choice], "usage": usage}

    def events(self, request: Body, answer: Body) -> Iterator[str]:
        options: Body = request.get("stream_options") or {}
        head = {key: answer[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
        if options.get("include_usage"):
            head["usage"] = None

        def chunk(delta: Body, finished: str | None = None) -> str:
            return event({**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finished}]})

        (choice,) = answer["choices"]
        yield chunk({"role": "assistant", "content": choice["message"]["content"] and "", "refusal": None})
        for word in re.findall(r"\S+\s*", choice["message"]["content"] or ""):
            yield chunk({"content": word})
        for index, call in enumerate(choice["message"].get("tool_calls", ())):
            begun = {**call, "index": index, "function": {"name": call["function"]["name"], "arguments": ""}}
            yield chunk({"tool_calls": [begun]})
            for piece in pieces(call["function"]["arguments"]):
                yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        yield chunk({}, choice["finish_reason"])
        if options.get("include_usage"):
            yield event({**head, "choices": [], "usage": answer["usage"]})
        yield "data: [DONE]\n\n"

    def error(self, status: int, text: str) -> Body:
        kind = "invalid_request_error" if status < 429 else "server_error"
        return {"error": {"message": text, "type": kind, "param": None, "code": None}}

    def error_event(self, text: str) -> str:
        return event(self.error(500, text))


def event(data: Any) -> str:
    return f"data: {json.dumps(data)}\n\n"


@pytest.fixture(scope="session")
def openai_running() -> Generator[StandIn]:
    with serving(OpenAIApi) as server:
        yield server


@pytest.fixture
def openai_server(openai_running: StandIn, monkeypatch: pytest.MonkeyPatch) -> Generator[StandIn]:
    """The stand-in, and the environment in which the real client, unchanged, talks to it."""
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-real-key")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{openai_running.url}/v1")
    yield openai_running
    openai_running.reset()
