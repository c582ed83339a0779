"""Messages: what is taken for one, how lists of them are merged, and that importing them costs nothing."""

import operator
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, ClassVar, TypedDict
from uuid import UUID

import numpy as np
import pytest
from langchain_core import messages as classes
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, RemoveMessage, SystemMessage, ToolMessage
from support.faces import Face

from clew.checkpoint.base import Saver
from clew.checkpoint.codec import decode, encode
from clew.errors import InvalidUpdateError
from clew.graph import START, MessagesState, StateGraph, add_messages
from clew.graph.message import REMOVE_ALL_MESSAGES, merge_messages, prepare_messages
from clew.interop.langchain import NAMES, pack, unpack


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
        add_messages([], [], format="xml")  # pyright: ignore[reportArgumentType]  (what is tested)


def test_a_format_makes_a_reducer() -> None:
    class State(TypedDict):
        messages: Annotated[list[Any], add_messages(format="langchain-openai")]

    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "x"}}
    graph = StateGraph(State).add_node("n", lambda state: {}).add_edge(START, "n").compile()
    (message,) = graph.invoke({"messages": [HumanMessage([{"type": "text", "text": "t"}, image])]})["messages"]
    assert [block["type"] for block in message.content] == ["text", "image_url"]


class Watched(HumanMessage):
    """A message that counts how often its id is read."""

    reads: ClassVar[int] = 0

    def __getattribute__(self, name: str) -> Any:
        Watched.reads += name == "id"
        return super().__getattribute__(name)


def test_a_long_conversation_is_not_read_again_for_each_message() -> None:
    merged = merge_messages([Watched(content=str(i), id=str(i)) for i in range(500)], [AIMessage("once", id="once")])
    before = Watched.reads
    merged = merge_messages(merged, [AIMessage("twice", id="twice")])
    assert Watched.reads == before
    assert len(merged) == 502


def test_nor_where_a_router_sees_the_merge_before_it_is_made() -> None:
    merged = merge_messages([], [Watched(content=str(i), id=str(i)) for i in range(500)])
    before, added = Watched.reads, [AIMessage("once", id="once")]
    seen_by_router = merge_messages(merged, added)
    again = merge_messages(merged, added)
    assert seen_by_router == again
    assert seen_by_router is not again
    assert len(merge_messages(again, [AIMessage("twice", id="twice")])) == 502
    assert Watched.reads == before
    assert len(merge_messages(seen_by_router, [AIMessage("other", id="once")])) == 501
    assert len(merge_messages(merged, [AIMessage("other", id="once")])) == 501
    assert texts(merge_messages(merged, [AIMessage("other", id="0")]))[0] == "other"


def test_a_message_given_back_with_another_id_is_not_there_twice(face: Face) -> None:
    def rename(state: MessagesState) -> dict[str, Any]:
        said = state["messages"][-1]
        said.id = "renamed"
        return {"messages": said}

    builder = StateGraph(MessagesState).add_node("say", lambda state: {"messages": AIMessage("said", id="first")})
    graph = builder.add_node(rename).add_edge(START, "say").add_edge("say", "rename").compile()
    messages = face.invoke(graph, {"messages": "hi"})["messages"]
    assert texts(messages) == ["hi", "said"]
    assert messages[-1].id == "renamed"


def test_threads_that_merge_at_once_do_not_disturb_one_another() -> None:
    def chat(run: int) -> list[str]:
        messages: list[Any] = []
        for turn in range(500):
            messages = merge_messages(messages[-3:], [HumanMessage(f"{run} {turn}", id=f"{run} {turn}")])
            messages = merge_messages(messages, [AIMessage("x", id=f"{run} {turn} x")])
        return texts(messages)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that threads come between any two steps
    try:
        with ThreadPoolExecutor(40) as pool:  # more than are remembered
            said = list(pool.map(chat, range(40)))
    finally:
        sys.setswitchinterval(interval)
    assert said == [["x", f"{run} 498", "x", f"{run} 499", "x"][-5:] for run in range(40)]


def test_a_message_removed_and_said_again_is_kept_as_it_is(saver: Saver, thread: dict[str, Any]) -> None:
    turns = iter([RemoveMessage(id="1"), AIMessage("again", id="1"), AIMessage("other", id="1")])
    builder = StateGraph(MessagesState).add_node("n", lambda state: {"messages": next(turns)}).add_edge(START, "n")
    graph = builder.compile(saver)
    for text in ("a", "b", "c"):
        graph.invoke({"messages": [HumanMessage(text, id="1" if text == "a" else text)]}, thread)
    expected = ["b", "other", "c"]
    assert texts(graph.get_state(thread).values["messages"]) == expected
    assert texts(builder.compile(Saver(saver.storage)).get_state(thread).values["messages"]) == expected


def test_with_a_format_ids_stay_so_that_removing_and_replacing_go_by_them() -> None:
    add = add_messages(format="langchain-openai")
    kept = add([], [HumanMessage([{"type": "text", "text": "a"}], id="1"), HumanMessage("b", id="2")])
    assert texts(add(kept, [RemoveMessage(id="1"), HumanMessage("B", id="2")])) == ["B"]


def test_preparing_twice_is_preparing_once() -> None:
    prepared = prepare_messages(["hi", HumanMessage("there")])
    again = prepare_messages(prepared)
    assert all(map(operator.is_, again, prepared))
    assert all(map(operator.is_, add_messages([], prepared), prepared))


MORE: dict[str, dict[str, Any]] = {"tool": {"tool_call_id": "c"}, "function": {"name": "f"}, "chat": {"role": "r"}}


@pytest.mark.parametrize("short", NAMES)
def test_each_class_is_packed_and_made_again(short: str) -> None:
    fields = MORE.get(short.rstrip("+"), {}) | ({} if short == "remove" else {"content": "text"})
    more = {"id": "1"} if short == "remove" else {"id": "1", "additional_kwargs": {"k": (1,)}, "name": "n", "extra": 3}
    for message in (getattr(classes, NAMES[short])(**fields, id="1"), getattr(classes, NAMES[short])(**{**fields, **more})):
        read = unpack(pack(message) or [])
        assert type(read) is type(message)
        assert read == message
        assert repr(read) == repr(message)
        assert list(read.model_dump().items()) == list(message.model_dump().items())
        assert read.model_fields_set == message.model_fields_set
        assert encode(read) == encode(message)


def test_a_plain_message_is_packed_into_three() -> None:
    assert pack(HumanMessage("hi", id="1")) == ["human", "1", "hi"]
    assert pack(Document(page_content="page")) == ["document", None, "page"]


@pytest.mark.parametrize("id_", [None, "", "x", str(UUID(int=7)), str(UUID(int=7)).upper(), f"{{{UUID(int=7)}}}", "f" * 32,
                                 "ab " * 12, " " * 36, "-" * 36, "0" * 36, "é" * 36])  # fmt: skip
def test_an_id_that_is_a_uuid_takes_its_bytes_and_any_other_stays_as_it_is(id_: str | None) -> None:
    packed = pack(HumanMessage("hi", id=id_)) or []
    assert (type(packed[1]) is bytes) == (id_ == str(UUID(int=7)))
    assert unpack(packed).id == id_


def test_an_id_of_bytes_is_none_that_is_packed() -> None:
    message = HumanMessage("hi", id="1")
    object.__setattr__(message, "__dict__", {**message.__dict__, "id": bytes(16)})
    assert pack(message) is None
    with pytest.raises(ValueError, match="an id of 3 bytes"):
        unpack(["human", b"abc", "hi"])


def test_defaults_are_made_afresh_for_each() -> None:
    one, other = unpack(["ai", "1", "x"]), unpack(["ai", "2", "x"])
    one.tool_calls.append({"name": "f", "args": {}, "id": "c"})
    one.additional_kwargs["k"] = 1
    assert other == AIMessage("x", id="2")


def test_an_artifact_may_be_an_array() -> None:
    read = decode(encode(ToolMessage("t", tool_call_id="c", artifact=np.arange(3))))
    assert read.artifact.tolist() == [0, 1, 2]


def test_the_text_of_a_message_is_kept_as_the_string_it_is(saver: Saver, thread: dict[str, Any]) -> None:
    class Talk(MessagesState, total=False):
        summary: str
        parts: list[Any]

    def sums_up(state: Talk) -> dict[str, Any]:
        text = state["messages"][-1].text
        assert type(text) is not str
        return {"summary": text, "parts": [{"said": text, text: 1}], "messages": AIMessage(text)}

    builder = StateGraph(Talk).add_node(sums_up).add_edge(START, "sums_up")
    builder.compile(saver).invoke({"messages": [HumanMessage("hello")]}, thread)
    read = builder.compile(Saver(saver.storage)).get_state(thread).values
    assert (read["summary"], read["parts"]) == ("hello", [{"said": "hello", "hello": 1}])
    assert texts(read["messages"]) == ["hello", "hello"]
    assert [type(one) for one in (read["summary"], *read["parts"][0])] == [str, str, str]


def test_only_the_known_classes_are_packed() -> None:
    class Mine(HumanMessage):
        pass

    assert pack(Mine(content="hi")) is None
    assert pack("hi") is None
    assert pack(HumanMessage.model_construct()) is None


@pytest.mark.parametrize(
    "packed",
    [
        5, [], "human", ["human"], ["human", "1"], ["Human", "1", "x"], ["os.system", "1", "x"], [["human"], "1", "x"],
        ["human", "1", "x", 5], ["human", "1", "x", [["a", "b"]]], ["human", "1", "x", {5: 1}], ["human", "1", "x", None, 5],
        ["human", "1", "x", None, None, 5], ["human", "1", "x", None, None, ["a"]],
        ["human", "1", "x", None, None, None, None], ["tool", "1", "x"],
        ["document", "1", "x", {"nope": 1}], ["document", "1", "x", None, None, {"nope": 1}],
    ],
)  # fmt: skip
def test_what_was_never_packed_is_refused(packed: Any) -> None:
    with pytest.raises(ValueError, match="is not a packed message"):
        unpack(packed)


@pytest.mark.parametrize("place", [3, 4, 5])
def test_what_is_of_an_unknown_type_is_not_touched(place: int) -> None:
    """Found by fuzzing: it would say that it cannot be touched, in place of what is wrong."""
    packed: list[Any] = ["tool", None, "r", {"tool_call_id": "1"}, None, None]
    packed[place] = decode(b"\xd4\x21a")
    with pytest.raises(ValueError, match="is not a packed message"):
        unpack(packed)


def test_a_field_that_the_class_no_longer_has_hides_no_method_of_it() -> None:
    read = unpack(["human", "1", "x", {"name": "n", "model_dump": 1, "gone": 2}])
    assert read.name == "n"
    assert read.gone == 2
    assert read.model_dump()["content"] == "x"


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
    from clew.graph.message import RemoveMessage as ours  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]  (had late)

    assert ours is RemoveMessage
