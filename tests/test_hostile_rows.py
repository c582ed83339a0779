"""No row is believed: what is forged or damaged never runs code, never hangs, and leaves the rest of the thread readable."""

import contextlib
import enum
import ipaddress
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import ormsgpack
import pytest
from pydantic import BaseModel

import clew
from clew.checkpoint import registry
from clew.checkpoint.codec import Opaque, Split, decode, encode
from clew.checkpoint.entries import place_of
from clew.checkpoint.kept import DICT, LIST
from clew.checkpoint.manifest import read_body
from clew.checkpoint.memory import InMemorySaver, MemoryStorage
from clew.checkpoint.reader import Reader
from clew.checkpoint.storage import Batch, Waiting, at_once
from clew.errors import CheckpointGone, DamagedData, MissingKey, UnstorableValue
from clew.graph import START, MessagesState, StateGraph
from clew.runtime.drive import drive
from clew.testing.values import same
from clew.types import Failed, Interrupt, RetryPolicy


def ext(code: int, content: Any) -> bytes:
    return ormsgpack.packb(ormsgpack.Ext(code, content if isinstance(content, bytes) else ormsgpack.packb(content)))


def nested(times: int, wrap: Callable[[bytes], bytes]) -> bytes:
    data = b"\xc0"
    for _ in range(times):
        data = wrap(data)
    return data


class Rights(enum.Flag):
    READ = 1


class Word(enum.Enum):
    YES = "yes"


class Model(BaseModel):
    a: int = 0


@dataclass
class Box:
    inner: Any


clew.register(Rights, Word, Model, Box)

# -- more types that come back as they were ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        re.compile(r"(?P<a>\d+)", re.IGNORECASE | re.MULTILINE), re.compile(b"x+"), slice(1, None, (2,)),
        ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("fe80::1%eth0"), ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_interface("10.0.0.1/8"), ipaddress.ip_interface("::1/64"), Interrupt({"ask": (1,)}, "0" * 32),
        RetryPolicy(max_attempts=5), Failed("ValueError", "no", "Traceback"), np.str_(""), np.bytes_(b"a\0"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_it_comes_back_as_it_was(value: Any) -> None:
    assert same(decode(encode([value])), [value])


def test_an_exception_comes_back_as_its_name_message_and_traceback() -> None:
    try:
        raise ValueError("what went wrong")
    except ValueError as error:
        read = decode(encode({"error": error}))["error"]
    assert (type(read), read.type, read.message) == (Failed, "ValueError", "what went wrong")
    assert "raise ValueError" in read.traceback


@pytest.mark.parametrize("value", [np.ma.masked_array([1]), np.random.default_rng(1), np.dtype("i4")])  # pyright: ignore
def test_what_is_of_numpy_and_no_array_is_refused(value: Any) -> None:
    with pytest.raises(UnstorableValue, match="cannot be stored"):
        encode(value)


# -- hostile bytes ------------------------------------------------------------------------------------------------------

COLLIDING = [(2**61 - 1) * n for n in range(20_000)]
HOSTILE: dict[str, bytes] = {
    "lists": nested(10_000, lambda inner: b"\x91" + inner),
    "tuples": nested(10_000, lambda inner: ormsgpack.packb(ormsgpack.Ext(registry.TUPLE, b"\x91" + inner))[:200_000]),
    "a code below zero": b"\xc7\x01\x80a",
    "a list of four billion": b"\xdd\xff\xff\xff\xff",
    "lists of millions": b"\xdd\x00\xff\xff\xff" * 900,
    "a decimal of a number": ext(registry.DECIMAL, 5),
    "a fraction over zero": ext(registry.FRACTION, [1, 0]),
    "a zone elsewhere": ext(registry.ZONEINFO, "../../etc/passwd"),
    "a zone that is a module": ext(registry.ZONEINFO, "a.b/c"),
    "an array of another shape": ext(registry.ARRAY, ["<f8", [2**60], b"\0" * 8]),
    "text of no letters": ext(registry.ARRAY, ["<U1", [1], b"\xff" * 4]),
    "objects": ext(registry.ARRAY, ["|O8", [1], b"\0" * 8]),
    "a pattern that prints": ext(registry.PATTERN, ["a", re.DEBUG]),
    "a pattern of ranges": ext(registry.PATTERN, ["(?i)" + "[a-\U0010ffff]" * 1000, 32]),
    "an address of another kind": ext(registry.ADDRESS, ["ip_address", "::1"]),
    "keys that collide": ext(registry.SET, b"\xdc" + b"\x4e\x20" + b"".join(map(encode, COLLIDING))),
    "a flag of a million": ext(registry.USER, ormsgpack.packb(
        [f"{__name__}.Rights", ormsgpack.Ext(registry.BIGINT, b"\x7f" + b"\xff" * 100_000)])),
    "a member that is gone": ext(registry.USER, [f"{__name__}.Word", "NO"]),
    "fields that are a list": ext(registry.USER, [f"{__name__}.Box", [1]]),
    "a tag that is a list": ext(registry.USER, [[], 1]),
    "a message of no class": ext(registry.LANGCHAIN, ["os.system", None, "x"]),
    "a message with methods": ext(registry.LANGCHAIN, ["tool", None, "x", ["model_dump"]]),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_damaged_data(name: str) -> None:
    with pytest.raises(DamagedData):
        decode(HOSTILE[name])


def test_lists_within_extensions_do_not_overrun_the_stack() -> None:
    """In a process of its own: where it fails, it takes the process with it."""
    code = (
        "import ormsgpack\nfrom clew.checkpoint.codec import decode\nfrom clew.errors import DamagedData\ndata = b'\\xc0'\n"
        "for _ in range(90): data = ormsgpack.packb(ormsgpack.Ext(1, b'\\x91' * 1000 + data))\n"
        "try: decode(data)\nexcept DamagedData: pass\nprint('alive')"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout == "alive\n", ran.stderr


@pytest.mark.parametrize("depth", [1, 3, 4, 8, 9, 30, 60])
def test_what_is_written_deep_is_read(depth: int) -> None:
    value: Any = "x"
    for _ in range(depth):
        value = Box([(value,)]) if depth < 30 else Box(value)
    assert decode(encode({"deep": value})) == {"deep": value}


def test_nothing_is_hidden_by_the_fields_of_a_model() -> None:
    read = decode(ext(registry.USER, [f"{__name__}.Model", [], None, None, {"a": 1, "model_dump": "x"}]))
    assert read.model_dump() == {"a": 1}


def test_a_forged_tag_is_opaque_and_goes_out_bit_for_bit() -> None:
    for tag in ("os.system", "posix.system", "builtins.eval"):
        data = ext(registry.USER, [tag, {"command": "true"}])
        assert type(decode(data)) is Opaque
        assert encode(decode(data)) == data
    for code in range(128):
        if code not in registry.MAKERS:
            assert encode(decode(ext(code, b"anything"))) == ext(code, b"anything")


# -- hostile entries ----------------------------------------------------------------------------------------------------


def reader(*items: bytes) -> Reader:
    """A reader of a thread whose log 0 has these items."""
    storage = MemoryStorage()
    storage.commit(Batch("t", "", 0, None, 0, logs=b"\x80", items=[(0, n, data) for n, data in enumerate(items)]))
    return Reader(Waiting(storage, at_once), "t")


LAUGHS = [encode(1), *[encode(Split(LIST, None, (0, n, n + 1) * 10)) for n in range(20)]]
ENTRIES: dict[str, tuple[list[bytes], Any]] = {
    "itself": ([encode(Split(LIST, None, (0, 0, 1)))], [LIST, 0, None, 0, 0, 1]),
    "a billion laughs": (LAUGHS, [LIST, 0, None, 0, 20, 21]),
    "pages of themselves": ([ormsgpack.packb([0, 0, 1] * 50)], [LIST, 8, None, 0, 0, 1]),
    "a billion levels": ([b"\x01"], [LIST, 1 << 30, None, 0, 0, 1]),
    "ranges backwards": ([b"\x01"], [LIST, 0, None, 0, 5, 1]),
    "numbers below zero": ([b"\x01"], [LIST, 0, None, 0, -5, 1]),
    "half a range": ([b"\x01"], [LIST, 0, None, 0, 1]),
    "no numbers": ([b"\x01"], [LIST, 0, None, "a", [], {}]),
    "a kind of its own": ([b"\x01"], [77, 0, None, 0, 0, 1]),
    "no pairs": ([b"\x01"], [DICT, 0, None, 0, 0, 1]),
    "a page of text": ([encode("abc")], [LIST, 1, None, 0, 0, 1]),
    "nothing": ([], []),
}


@pytest.mark.parametrize("name", [pytest.param(one, marks=[pytest.mark.slow] * ("laughs" in one)) for one in ENTRIES])
def test_a_hostile_entry_is_damaged_data(name: str) -> None:
    items, entry = ENTRIES[name]
    with pytest.raises(DamagedData):
        drive(reader(*items).value(entry))


def test_a_range_longer_than_what_is_stored_is_gone() -> None:
    with pytest.raises(CheckpointGone):
        drive(reader(b"\x01").value([LIST, 0, None, 0, 0, (1 << 40) - 1]))


def test_what_is_named_often_by_rights_is_read() -> None:
    items = [encode({"a": [1]}), encode("x" * 1000)]
    value, places = drive(reader(*items).value([LIST, 0, None, *(0, 0, 2) * 1000]))
    assert value == [{"a": [1]}, "x" * 1000] * 1000
    assert places == [place_of(0, 0), place_of(0, 1)] * 1000
    assert value[0] is not value[2]


@pytest.mark.parametrize(
    "fields",
    [5, {}, ["a"], [0, 9], [0, -1], [0, 0, {"k": 1}], [0, 0, {}, {}], [0, 0, {}, [], [[1]]], [0, 0, {}, [], [], [1]],
     [0, 0, {}, [], [], [], [], [[1]]], [0, 0, {}, [], [], [], [], [], b"\xc1"], [0, 0, {}, [], [], [], [], [], b"\x01"],
     [0, 0, {}, [], [], [], [], [], b"", {"n": "x"}], [0, 0, {}, [], [], [], [], [], b"", {}, [["a"]]], list(range(99))],
)  # fmt: skip
def test_a_row_with_fields_of_other_kinds_is_damaged_data(fields: Any) -> None:
    with pytest.raises(DamagedData):
        read_body(ormsgpack.packb(fields))


# -- the rest of the thread ---------------------------------------------------------------------------------------------

CONFIG: Any = {"configurable": {"thread_id": "t"}}


def talk() -> tuple[Any, InMemorySaver]:
    saver = InMemorySaver()

    def answer(state: Any) -> Any:
        return {"messages": [("ai", "answer " * 20)]}

    builder: Any = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    graph = builder.compile(checkpointer=saver)
    for _ in range(3):
        graph.invoke({"messages": [("user", "question " * 20)]}, CONFIG)
    return graph, saver


def test_a_row_that_looks_sealed_leaves_the_others_readable() -> None:
    graph, saver = talk()
    storage: Any = saver.storage
    kept = storage._threads["t"]
    ns, row = kept.rows[4]
    kept.rows[4] = ns, row._replace(body=b"\xc1\x01" + bytes(40))
    listed = list(graph.get_state_history(CONFIG))
    assert len(listed) == 9
    assert [len(state.values["messages"]) for state in listed[:3]] == [6, 5, 4]
    with pytest.raises(MissingKey, match="is sealed"):
        dict(listed[-4].values)


def damage(saver: InMemorySaver, seq: int) -> None:
    kept = saver.storage._threads["t"]  # pyright: ignore
    ns, row = kept.rows[seq]  # pyright: ignore
    kept.rows[seq] = ns, row._replace(body=b"\xc1" + row.body[:10])  # pyright: ignore


def test_a_damaged_row_leaves_the_others_readable() -> None:
    graph, saver = talk()
    before = list(graph.get_state_history(CONFIG))
    seqs = [record.saved.seq for record in _records(saver)]
    damage(saver, seqs[3])
    after = list(graph.get_state_history(CONFIG))
    assert [shown.config for shown in after] == [shown.config for shown in before]
    assert after[3].metadata["source"] == "damaged"
    assert after[0].values == before[0].values
    for read in (lambda: dict(after[3].values), lambda: graph.get_state(after[3].config)):
        with pytest.raises(DamagedData, match=r"Thread 't', checkpoint '.*get_state_history"):
            read()
    with contextlib.suppress(DamagedData):  # what adds to the damaged one
        assert graph.get_state(after[1].config).values == before[1].values


def test_a_damaged_item_leaves_the_others_readable() -> None:
    graph, saver = talk()
    history = list(graph.get_state_history(CONFIG))
    first = dict(history[-2].values)
    items = saver.storage._threads["t"].items  # pyright: ignore
    items[max(items)] = b"\xc1"  # pyright: ignore
    after = list(graph.get_state_history(CONFIG))
    with pytest.raises(DamagedData, match=r"Thread 't', checkpoint '"):
        dict(after[0].values)
    assert dict(after[-2].values) == first


def _records(saver: InMemorySaver) -> list[Any]:
    from clew.runtime.drive import iterate
    from clew.runtime.threads import Threads

    return list(iterate(saver.history(Threads(), "t")))


def test_some_thousands_of_damaged_rows_are_damaged_data() -> None:
    from tests.fuzz_decoder import run

    assert run(3600, 1, most=2000) == 2000
