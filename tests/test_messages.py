"""Messages: what is taken for one, how lists of them are merged, and that importing them costs nothing."""

import subprocess
import sys
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, RemoveMessage, SystemMessage, ToolMessage

import clew.graph.message as message_module
from clew.checkpoint.base import Saver
from clew.errors import InvalidUpdateError
from clew.graph import START, MessagesState, StateGraph, add_messages
from clew.graph.message import REMOVE_ALL_MESSAGES


def texts(messages: list[Any]) -> list[str]:
    return [message.content for message in messages]


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        ("hi", HumanMessage),
        (("user", "hi"), HumanMessage),
        (("ai", "hi"), AIMessage),
        ({"role": "system", "content": "hi"}, SystemMessage),
        ({"role": "assistant", "content": "hi"}, AIMessage),
        ({"role": "tool", "content": "hi", "tool_call_id": "1"}, ToolMessage),
        ({"type": "human", "content": "hi"}, HumanMessage),
        (AIMessageChunk(content="hi"), AIMessage),
    ],
)
def test_what_is_taken_for_a_message(item: Any, kind: type) -> None:
    for right in (item, [item]):
        (message,) = add_messages([], right)
        assert type(message) is kind
        assert message.content == "hi"


@pytest.mark.parametrize("item", [3, {"content": "no role"}, {"role": "user"}, ("user", "a", "b"), object()])
def test_what_is_no_message_says_what_would_be_one(item: Any) -> None:
    with pytest.raises(InvalidUpdateError, match=r'is not a message: expected .*\("user", "hi"\)'):
        add_messages([], [item])


def test_missing_ids_are_filled_in_on_the_callers_own_objects() -> None:
    given = HumanMessage("hi")
    (message,) = add_messages([], given)
    assert message is given
    assert isinstance(given.id, str)
    assert len(given.id) == 36


def test_a_known_id_replaces_in_place_and_the_rest_is_kept_as_it_is() -> None:
    left = [HumanMessage("a", id="1"), HumanMessage("b", id="2")]
    merged = add_messages(left, [HumanMessage("c", id="3"), AIMessage("A", id="1")])
    assert texts(merged) == ["A", "b", "c"]
    assert merged[1] is left[1]
    assert texts(left) == ["a", "b"]


def test_a_later_duplicate_within_an_update_replaces_the_earlier() -> None:
    assert texts(add_messages([], [HumanMessage("a", id="1"), HumanMessage("b", id="1")])) == ["b"]


def test_removing_by_id_and_all() -> None:
    left = [HumanMessage(text, id=text) for text in "abc"]
    assert texts(add_messages(left, RemoveMessage(id="b"))) == ["a", "c"]
    assert texts(add_messages(left, [RemoveMessage(id="b"), HumanMessage("B", id="b")])) == ["a", "B", "c"]
    after = [HumanMessage("x"), RemoveMessage(id=REMOVE_ALL_MESSAGES), HumanMessage("y")]
    assert texts(add_messages(left, after)) == ["y"]


def test_removing_an_unknown_id_is_refused() -> None:
    with pytest.raises(ValueError, match="names the id 'nope', which no message has"):
        add_messages([HumanMessage("a", id="1")], RemoveMessage(id="nope"))


def test_one_side_alone_and_unknown_formats_are_refused() -> None:
    with pytest.raises(ValueError, match="both sides, or neither"):
        add_messages([HumanMessage("a")])
    with pytest.raises(ValueError, match="format is 'xml'"):
        add_messages([], [], format="xml")  # pyright: ignore


def test_a_format_makes_a_reducer() -> None:
    class State(TypedDict):
        messages: Annotated[list[Any], add_messages(format="langchain-openai")]

    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "x"}}
    graph = StateGraph(State).add_node("n", lambda state: {}).add_edge(START, "n").compile()
    (message,) = graph.invoke({"messages": [HumanMessage([{"type": "text", "text": "t"}, image])]})["messages"]
    assert [block["type"] for block in message.content] == ["text", "image_url"]


def test_a_long_conversation_is_not_read_again_for_each_message(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def counting(message: Any) -> Any:
        read.append(1)
        return message.id

    monkeypatch.setattr(message_module, "_id", counting)
    graph = StateGraph(MessagesState).add_node("n", lambda state: {"messages": AIMessage("x", id=f"{len(state['messages'])}")})
    compiled = graph.add_edge(START, "n").compile()
    state = compiled.invoke({"messages": [HumanMessage(str(i), id=f"h{i}") for i in range(500)]})
    read.clear()
    merged = message_module.merge_messages(state["messages"], [AIMessage("once", id="once")])
    first = len(read)
    message_module.merge_messages(merged, [AIMessage("twice", id="twice")])
    assert first >= 501
    assert len(read) - first == 1


def test_a_message_removed_and_said_again_is_kept_as_it_is(saver: Saver, thread: dict[str, Any]) -> None:
    turns = iter([RemoveMessage(id="1"), AIMessage("again", id="1"), AIMessage("other", id="1")])
    builder = StateGraph(MessagesState).add_node("n", lambda state: {"messages": next(turns)}).add_edge(START, "n")
    graph = builder.compile(saver)
    for text in ("a", "b", "c"):
        graph.invoke({"messages": HumanMessage(text, id="1" if text == "a" else text)}, thread)
    expected = ["b", "other", "c"]
    assert texts(graph.get_state(thread).values["messages"]) == expected
    assert texts(builder.compile(Saver(saver.storage)).get_state(thread).values["messages"]) == expected


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_graph_imports_no_framework() -> None:
    code = "import sys; from clew.graph import StateGraph, MessagesState, START; print('\\n'.join(sys.modules))"
    roots = {name.partition(".")[0] for name in run(code).splitlines()}
    assert not [
        name for name in roots if name.startswith(("langchain", "langsmith")) or name in ("pydantic", "asyncio", "ormsgpack")
    ]


def test_without_langchain_core_the_error_says_what_to_install() -> None:
    code = """
import sys
sys.modules["langchain_core"] = None
from clew.graph import MessagesState, START, StateGraph
graph = StateGraph(MessagesState).add_node("n", lambda state: {}).add_edge(START, "n").compile()
try:
    graph.invoke({"messages": "hi"})
except ImportError as error:
    print(error)
"""
    assert 'pip install "clew[langchain]"' in run(code)


def test_remove_message_can_be_had_from_here() -> None:
    from clew.graph.message import RemoveMessage as ours  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]

    assert ours is RemoveMessage
