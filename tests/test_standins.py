"""The stand-ins of chat APIs, with the real clients: tools, streams, and all that a test does to them."""

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel
from support.mind import Said
from support.standin import StandIn

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def get_weather(city: str) -> str:
    """How the weather is in a city."""
    return f"sunny in {city}"


class Trip(BaseModel):
    """A trip."""

    city: str
    nights: int


@pytest.fixture(params=["anthropic", "openai"])
def standin(request: pytest.FixtureRequest) -> StandIn:
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture
def model(request: pytest.FixtureRequest, standin: StandIn) -> "BaseChatModel":
    from langchain_anthropic import ChatAnthropic
    from langchain_openai import ChatOpenAI

    if "anthropic" in request.node.callspec.params.values():
        return ChatAnthropic(model="claude-haiku-4-5")  # pyright: ignore[reportCallIssue]  (its own stubs want more)
    return ChatOpenAI(model="gpt-4o", base_url=f"{standin.url}/v1", stream_usage=True)


def whole(chunks: list[Any]) -> AIMessage:
    first, *rest = chunks
    for chunk in rest:
        first += chunk
    return first


Ask = Callable[..., AIMessage]


@pytest.fixture(params=["invoke", "ainvoke", "stream", "astream"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Each way to ask a model."""

    async def awaited(model: Any, messages: Any) -> AIMessage:
        if request.param == "ainvoke":
            return await model.ainvoke(messages)
        return whole([chunk async for chunk in model.astream(messages)])

    def asked(model: Any, messages: Any) -> AIMessage:
        if request.param.startswith("a"):
            return asyncio.run(awaited(model, messages))
        return model.invoke(messages) if request.param == "invoke" else whole(list(model.stream(messages)))

    return asked


def test_it_talks(model: "BaseChatModel", ask: Ask) -> None:
    answer = ask(model, "hi! I'm bob")
    assert answer.text == "Hello Bob! It's nice to meet you. How are you doing today?"
    assert answer.usage_metadata
    assert answer.usage_metadata["output_tokens"] > 0


def test_it_calls_tools_side_by_side_and_tells_what_they_returned(model: "BaseChatModel", ask: Ask) -> None:
    bound = model.bind_tools([add, get_weather])
    asked = HumanMessage('please add(a=1, b=2) and get_weather(city="San Francisco")')
    called = ask(bound, [asked])
    assert [(call["name"], call["args"]) for call in called.tool_calls] == [
        ("add", {"a": 1, "b": 2}),
        ("get_weather", {"city": "San Francisco"}),
    ]
    told = [
        ToolMessage(text, tool_call_id=call["id"] or "") for text, call in zip(("3", "sunny"), called.tool_calls, strict=True)
    ]
    assert ask(bound, [asked, called, *told]).text == "I looked it up: 3; sunny"
    assert len({call["id"] for call in called.tool_calls}) == 2


def test_it_calls_one_tool_after_the_other(model: "BaseChatModel") -> None:
    bound = model.bind_tools([add, get_weather])
    messages: list[Any] = [HumanMessage("add(1, 2) then add(3, 4)")]
    called: list[Any] = []
    while (answer := bound.invoke(messages)).tool_calls:
        called += [call["args"] for call in answer.tool_calls]
        messages += [answer, *[add.invoke(call) for call in answer.tool_calls]]
    assert called == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    assert answer.text == "I looked it up: 3; 7"


def test_it_takes_a_tool_by_its_words(model: "BaseChatModel") -> None:
    answer = model.bind_tools([add, get_weather]).invoke("What is the weather in San Francisco?")
    assert [(call["name"], call["args"]) for call in answer.tool_calls] == [("get_weather", {"city": "San Francisco"})]


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_it_answers_in_a_shape(model: "BaseChatModel", method: str) -> None:
    shaped = model.with_structured_output(Trip, method=method)
    assert shaped.invoke("3 nights in Rome") == Trip(city="Rome", nights=3)


def test_it_must_call_a_tool(model: "BaseChatModel") -> None:
    answer = model.bind_tools([get_weather, add], tool_choice="any").invoke("hello, from Rome")
    assert [(call["name"], call["args"]) for call in answer.tool_calls] == [("get_weather", {"city": "Rome"})]


def test_it_sums_up(model: "BaseChatModel") -> None:
    said = model.invoke([("user", "hi! I'm bob"), ("ai", "hello"), ("user", "write a summary")]).text
    assert said == "The user is called Bob and has said: hi! I'm bob"
    assert model.invoke([("system", said), ("user", "what's my name?")]).text.startswith("Your name is Bob")


def test_its_requests_can_be_looked_into(model: "BaseChatModel", standin: StandIn) -> None:
    model.invoke("hi")
    assert [request["messages"] for request in standin.requests] == [[{"role": "user", "content": "hi"}]]


def test_what_it_says_can_be_set(model: "BaseChatModel", standin: StandIn) -> None:
    standin.mind = lambda heard: Said(heard.turns[-1].text[::-1])
    assert model.invoke("abc").text == "cba"


@pytest.mark.parametrize("status", [429, 500, 529])
def test_the_client_tries_again(model: "BaseChatModel", standin: StandIn, status: int) -> None:
    standin.failing.append(status)
    assert model.invoke("hi").text.startswith("Hello")
    assert not standin.failing


def test_the_first_token_is_there_before_the_last_is_said(model: "BaseChatModel", standin: StandIn) -> None:
    heard = threading.Event()
    standin.before_event = lambda number: None if number < 5 else _wait(heard)
    stream = model.stream("hi! I'm bob")
    text = ""
    for chunk in stream:
        text += chunk.text
        if text:
            heard.set()
    assert text.startswith("Hello Bob")


def _wait(event: threading.Event) -> None:
    assert event.wait(30)


def test_a_stream_that_is_cut_fails(model: "BaseChatModel", standin: StandIn) -> None:
    standin.breaking.append((4, "cut"))
    with pytest.raises(Exception, match=r"(?i)connection"):
        list(model.stream("hi! I'm bob"))
    assert model.invoke("hi").text.startswith("Hello")


def test_an_error_in_the_middle_of_a_stream(model: "BaseChatModel", standin: StandIn) -> None:
    standin.breaking.append((4, "Overloaded"))
    with pytest.raises(Exception, match="Overloaded"):
        list(model.stream("hi! I'm bob"))
