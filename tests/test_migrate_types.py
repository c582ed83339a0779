"""What LangGraph has kept of values, read: types come back as they were, and what a row names is looked up, never imported."""

import json
import re
from collections import deque
from dataclasses import dataclass
from typing import Any

import ormsgpack
import pytest
from support.migrated import Database, load_graphs

from clew import register
from clew.checkpoint import usertypes
from clew.checkpoint.base import Saver
from clew.checkpoint.codec import Opaque, decode, encode
from clew.checkpoint.memory import InMemorySaver
from clew.checkpoint.usertypes import FOREIGN
from clew.errors import DatabaseError, OpaqueValue, UnreadableThread
from clew.interop.langgraph.payload import Decoder
from clew.types import Interrupt, Send

types: Any = load_graphs("types_kept")


pytestmark = pytest.mark.slow


def kept(database: Database, saver: Saver) -> dict[str, Any]:
    graph = types.keeping().compile(checkpointer=saver)
    moved = database.moved(saver, "types")
    assert not moved.unknown
    return graph.get_state({"configurable": {"thread_id": "types"}}).values["kept"]


@pytest.mark.parametrize("kind", sorted(types.everything()))
def test_a_value_comes_back_as_it_was(langgraph_database: Database, saver: Saver, kind: str) -> None:
    found, expected = kept(langgraph_database, saver)[kind], types.everything()[kind]
    if kind == "arrays":
        assert [(one.dtype, one.tolist()) for one in found] == [(one.dtype, one.tolist()) for one in expected]
    else:
        assert found == expected
        assert [type(one) for one in found] == [type(one) for one in expected]


def test_a_message_is_the_same_in_every_field(langgraph_database: Database) -> None:
    with InMemorySaver() as saver:
        found = kept(langgraph_database, saver)["messages"]
    assert [one.model_dump() for one in found] == [one.model_dump() for one in types.everything()["messages"]]


@pytest.fixture
def nothing_else_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    for name in ("_classes", "_tags"):
        monkeypatch.setattr(usertypes, name, getattr(usertypes, name).copy())


@pytest.mark.usefixtures("nothing_else_registered")
def test_a_type_that_nobody_knows_is_kept_until_somebody_does(langgraph_database: Database, saver: Saver) -> None:
    @dataclass
    class Moved:
        value: Any

    graph = load_graphs().chain("one").compile(checkpointer=saver)
    moved = langgraph_database.moved(saver, "foreign")
    config: Any = {"configurable": {"thread_id": "foreign"}}
    first, *rest = graph.get_state(config).values["items"]
    assert rest == ["ValueError('kept as text')", "one"]
    assert isinstance(first, Opaque)
    assert moved.unknown == {"__main__.Elsewhere": 2}
    with pytest.raises(OpaqueValue, match=re.escape("'__main__.Elsewhere'")):
        print(first.value)
    assert graph.invoke({"items": []}, config)["items"][0] == first  # it goes out again as it came
    register(Moved, name="__main__.Elsewhere")
    made = decode(encode(first))
    assert made == Moved([1, Moved("deep")])


def test_nothing_is_imported_or_called_by_its_name() -> None:
    def named(code: int, *said: Any) -> Any:
        decoder = Decoder()
        return decoder.value("msgpack", ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(said))))

    for code in (0, 1, 2, 3, 4, 5):
        given: Any = {"cmd": "exit 1"} if code in (2, 4, 5) else ["exit 1"]
        assert isinstance(named(code, "os", "system", given, "fromhex"), Opaque)
    assert isinstance(named(0, "builtins", "eval", "1/0"), Opaque)
    assert isinstance(named(3, "datetime", "sys", "x", "exit"), Opaque)


def test_lists_of_versions_before_msgpack_are_read() -> None:
    text = {
        "message": {
            "lc": 1,
            "type": "constructor",
            "id": ["langchain", "schema", "messages", "HumanMessage"],
            "kwargs": {"content": "hi", "type": "human", "id": "1"},
        },
        "set": {"lc": 2, "type": "constructor", "id": ["builtins", "set"], "args": [[1, 2]]},
        "send": {"lc": 2, "type": "constructor", "id": ["langgraph", "constants", "Send"], "kwargs": {"node": "n", "arg": 1}},
        "asked": {
            "lc": 2,
            "type": "constructor",
            "id": ["langgraph", "types", "Interrupt"],
            "kwargs": {"value": "q", "resumable": True, "ns": ["a:1"], "when": "during"},
        },
    }
    found = Decoder().value("json", json.dumps(text).encode())
    assert found["message"].text == "hi"
    assert found["set"] == {1, 2}
    assert found["send"] == Send("n", 1)
    assert found["asked"] == Interrupt("q")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("pickle", "Clew never does it"),
        ("msgpack+aes", "encrypted"),
        ("yaml", "has the type 'yaml'"),
        ("msgpack", "not MessagePack"),
    ],
)
def test_what_cannot_be_read_says_why(kind: str, said: str) -> None:
    with pytest.raises(UnreadableThread, match=said):
        Decoder().value(kind, b"\xc1")


def test_a_length_is_lost_where_langgraph_has_lost_it() -> None:
    packed = ormsgpack.packb(ormsgpack.Ext(0, ormsgpack.packb(["collections", "deque", [1]])))
    assert Decoder().value("msgpack", packed) == deque([1])


@pytest.mark.parametrize("said", [[], ["m", "C"], ["m", "C", [1], []], ["m", 1, [], {}], {}, "text"])
def test_a_foreign_object_that_is_none_is_refused(said: Any) -> None:
    with pytest.raises(DatabaseError):
        decode(ormsgpack.packb(ormsgpack.Ext(FOREIGN, encode(said))))
