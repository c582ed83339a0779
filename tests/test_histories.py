"""What providers refuse of a history: the rules one by one, and that the real clients are refused by the same."""

import warnings
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from support.histories import problems_for_anthropic, problems_for_openai, refused_by_anthropic, refused_by_openai
from support.standin import StandIn

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


def asks(*ids: str, text: str = "", **fields: Any) -> AIMessage:
    return AIMessage(text, tool_calls=[{"name": "look", "args": {"at": id_}, "id": id_} for id_ in ids], **fields)


def tells(id_: str, text: str = "seen") -> ToolMessage:
    return ToolMessage(text, tool_call_id=id_)


HI, BYE = HumanMessage("hi"), HumanMessage("bye")
USE: dict[str, Any] = {"type": "tool_use", "name": "look", "input": {}, "id": "a"}
UNANSWERED, WITHOUT_RESULT = "did not have response messages: a", "found without `tool_result` blocks immediately after: a"

FINE: dict[str, list[BaseMessage]] = {
    "a user": [HI],
    "a conversation": [SystemMessage("be kind"), HI, AIMessage("hello"), BYE],
    "at rest": [HI, AIMessage("hello")],
    "the user twice": [HI, BYE],
    "a call": [HI, asks("a"), tells("a"), AIMessage("done")],
    "a result that the model has not seen": [HI, asks("a"), tells("a")],
    "calls side by side": [HI, asks("a", "b", text="well"), tells("b"), tells("a"), BYE],
    "an empty result": [HI, asks("a"), tells("a", "")],
    "call after call": [HI, asks("a"), tells("a"), asks("b"), tells("b")],
    "nothing said, as its client leaves that out": [HI, AIMessage(""), BYE],
    "a call after a blank block": [
        HI,
        AIMessage([{"type": "text", "text": " "}, USE], tool_calls=asks("a").tool_calls),
        tells("a"),
    ],
    "an id of another provider, as the client rewrites it": [HI, asks("a.b"), tells("a.b")],
    "a call in blocks": [HI, AIMessage([USE], tool_calls=asks("a").tool_calls), tells("a")],
}
REFUSED: dict[str, tuple[list[BaseMessage], str | None, str | None]] = {
    "nothing": ([], "at least one message", "empty array"),
    "the system alone": ([SystemMessage("be kind")], "at least one message", None),
    "the model first": ([AIMessage("hello"), HI], "first message must use the user role", None),
    "an empty question": ([HumanMessage("")], "messages.0: all messages must have non-empty content", None),
    "a blank question": ([HumanMessage(" ")], "must contain non-whitespace text", None),
    "a call after a blank": ([HI, asks("a", text=" "), tells("a")], "must contain non-whitespace text", None),
    "a blank block": ([HumanMessage([{"type": "text", "text": " "}])], "all messages must have non-empty content", None),
    "a call and no more": ([HI, asks("a")], WITHOUT_RESULT, UNANSWERED),
    "a call, then the user": ([HI, asks("a"), BYE], WITHOUT_RESULT, UNANSWERED),
    "a call, then the model": ([HI, asks("a"), AIMessage("never mind")], WITHOUT_RESULT, UNANSWERED),
    "one of two calls": ([HI, asks("a", "b"), tells("b"), BYE], WITHOUT_RESULT, UNANSWERED),
    "a result that is late": ([HI, asks("a"), BYE, tells("a")], WITHOUT_RESULT, UNANSWERED),
    "a result after the model": ([HI, asks("a"), AIMessage("well"), tells("a")], WITHOUT_RESULT, UNANSWERED),
    "a result without a call": ([HI, tells("a")], "unexpected `tool_use_id`", "must be a response to a preceding message"),
    "a result first": ([tells("a"), HI], "unexpected `tool_use_id`", "must be a response to a preceding message"),
    "a result of another turn": ([HI, asks("a"), tells("a"), asks("b"), tells("b"), tells("a")],
                                 "unexpected `tool_use_id` found in `tool_result` blocks: a", "'a' not found in 'tool_calls'"),
    "a result twice": ([HI, asks("a"), tells("a"), tells("a")], "must have a single result, a has several", "Duplicate value"),
    "an id twice": ([HI, asks("a"), tells("a"), asks("a"), tells("a")], "`tool_use` ids must be unique", None),
    "a long id": ([HI, asks("a" * 41), tells("a" * 41)], None, "1 to 40 characters"),
    "an author with a blank": ([HI, AIMessage("hello", name="the agent")], None, "messages[1].name"),
    "a call that is only in blocks": ([HI, AIMessage([USE]), BYE], WITHOUT_RESULT, None),
}  # fmt: skip


@pytest.mark.parametrize("name", FINE)
def test_what_no_provider_refuses(name: str) -> None:
    assert problems_for_anthropic(FINE[name]) == []
    assert problems_for_openai(FINE[name]) == []


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_provider_refuses(name: str) -> None:
    messages, anthropic, openai = REFUSED[name]
    for found, expected in ((problems_for_anthropic(messages), anthropic), (problems_for_openai(messages), openai)):
        assert bool(found) == bool(expected), found
        assert expected is None or any(expected in problem for problem in found), found


def test_all_that_is_wrong_is_said() -> None:
    messages = [AIMessage("hello"), asks("a"), HI, tells("b")]
    assert len(problems_for_anthropic(messages)) == 3
    assert len(problems_for_openai(messages)) == 2


CASES = [*FINE.values(), *(messages for messages, _, _ in REFUSED.values())]


def answered(model: "BaseChatModel", messages: list[BaseMessage]) -> str | None:
    """What the real client is told; None where it gets an answer."""
    if not messages or messages[-1].type == "ai":
        messages = [*messages, HumanMessage("and then?")] if messages else messages
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # clients warn of what they have left out
        try:
            model.invoke(messages)
        except Exception as error:  # each client has its own
            return str(error)
    return None


@pytest.mark.parametrize("messages", CASES, ids=[*FINE, *REFUSED])
def test_the_real_client_of_anthropic_is_refused_the_same(anthropic_server: StandIn, messages: list[BaseMessage]) -> None:
    from langchain_anthropic import ChatAnthropic

    told = answered(ChatAnthropic(model="claude-sonnet-5-5"), messages)  # pyright: ignore[reportCallIssue]  (its own stubs want more)
    problems = problems_for_anthropic(messages)
    assert (told is None) == (problems == []), (told, problems)
    if told and "400" in told:  # some the client refuses by itself
        assert problems[0].partition(": ")[2] in told.replace("\\'", "'")


@pytest.mark.parametrize("messages", CASES, ids=[*FINE, *REFUSED])
def test_the_real_client_of_openai_is_refused_the_same(openai_server: StandIn, messages: list[BaseMessage]) -> None:
    from langchain_openai import ChatOpenAI

    told = answered(ChatOpenAI(model="gpt-4o"), messages)
    problems = problems_for_openai(messages)
    assert (told is None) == (problems == []), (told, problems)
    assert told is None or problems[0] in told


OTHERS: list[tuple[list[dict[str, Any]], str]] = [
    ([{"role": "system", "content": "hi"}], "expected user or assistant"),
    ([{"role": "user", "content": "hi"}, {"role": "assistant", "content": [{**USE, "id": "a.b"}]}], "should match pattern"),
    ([{"role": "user", "content": [{"type": "text", "text": " "}]}], "must contain non-whitespace text"),
    ([{"role": "user", "content": [USE]}], "can only be in `assistant` messages"),
    ([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "well "}], "trailing whitespace"),
    (
        [{"role": "user", "content": "hi"}, {"role": "assistant", "content": []}, {"role": "user", "content": "hi"}],
        "non-empty",
    ),
]


@pytest.mark.parametrize(("turns", "refused"), OTHERS)
def test_what_only_another_client_would_send_to_anthropic(turns: list[dict[str, Any]], refused: str) -> None:
    assert any(refused in problem for problem in refused_by_anthropic(turns))


@pytest.mark.parametrize(
    ("message", "refused"),
    [
        ({"role": "user", "content": None}, "got null"),
        ({"role": "bot", "content": "hi"}, "Invalid value: 'bot'"),
        ({"role": "assistant", "content": "hi", "tool_calls": []}, "empty array"),
    ],
)
def test_what_only_another_client_would_send_to_openai(message: dict[str, Any], refused: str) -> None:
    assert any(refused in problem for problem in refused_by_openai([message]))
