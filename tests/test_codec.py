"""Values come back as they were, of the type they were; what cannot is refused with its place; no row is believed."""

import contextlib
import datetime as dt
import decimal
import enum
import fractions
import pathlib
import sys
import threading
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, Optional, TypedDict

import numpy as np
import ormsgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from pydantic import BaseModel, PrivateAttr

import clew
from clew.checkpoint import registry
from clew.checkpoint.codec import Opaque, Split, decode, encode, register_schema
from clew.errors import DatabaseError, OpaqueValue, UnstorableValue
from clew.testing.values import same, storable_values
from clew.types import Command, Send


class Colour(enum.Enum):
    RED = 1


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    YES = "yes"


@dataclass(frozen=True, slots=True)
class Frozen:
    x: int
    y: tuple[int, ...] = ()


@dataclass
class Derived:
    x: int
    twice: int = field(init=False)

    def __post_init__(self) -> None:
        assert self.x < 100, "made again through its constructor"
        self.twice = 2 * self.x


class Pair(NamedTuple):
    a: int
    b: str = "b"


class Model(BaseModel):
    a: int
    colour: Colour = Colour.RED
    _seen: int = PrivateAttr(default=0)


clew.register(Colour, Rights, Level, Word, Frozen, Derived, Pair, Model)

model = Model(a=1)
model._seen = 5  # pyright: ignore[reportPrivateUsage]
derived = Derived(5)
derived.x = 1000

VALUES: list[Any] = [  # pyright: ignore[reportUnknownVariableType]  (mixed on purpose)
    (1, (2,)), {1, 2}, frozenset({"a"}), deque([1], 3), deque(), 1 << 80, -(1 << 90), (1 << 63) - 1, 1 << 64, 1j, True, None,
    -0.0, float("inf"), "\ud800", "a\0b", {"\ud800": 1, 2: "two", (1,): 3, None: 4}, b"\0", bytearray(b"x"), [bytearray(b"y")],
    {"k": bytearray()},
    ["ąę"], range(1, 9, 2), OrderedDict(b=1, a=2), defaultdict(list, {1: [2]}), defaultdict(None, {}), Counter("aab"),
    decimal.Decimal("1.50"), decimal.Decimal("-Infinity"), fractions.Fraction(1, 3),
    dt.datetime(2020, 1, 2, 3, 4, 5, 6), dt.datetime(2020, 1, 2, tzinfo=dt.UTC),
    dt.datetime(2020, 10, 25, 2, tzinfo=zoneinfo.ZoneInfo("Europe/Paris"), fold=1),
    dt.date(2020, 1, 2), dt.time(1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2), "X")), dt.timedelta(-1, 2, 3), dt.UTC,
    uuid.UUID(int=7), pathlib.Path("/a/b"), pathlib.PureWindowsPath("c:\\x"),
    Colour.RED, Rights.READ | Rights.WRITE, Level.LOW, Word.YES, Frozen(1, (2,)), derived, Pair(1), model,
    [{"deep": (Frozen(2), {Colour.RED})}],
    Send("node", {"x": (1,)}), Command(update={"a": 1}, goto=("b",)), Split(1, None, (0, 1, 2)),
    HumanMessage("hi", id="1"), HumanMessage([{"type": "text", "text": "t"}], name="n", extra=1), SystemMessage("s"),
    AIMessage("", tool_calls=[{"name": "f", "args": {"x": 1}, "id": "c"}],
              usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
    ToolMessage("r", tool_call_id="c", artifact=(1, {2}), status="error"),
    ChatMessage(content="c", role="r"), FunctionMessage(content="f", name="f"),
    RemoveMessage(id="5"), AIMessageChunk(content="x"), Document(page_content="page", metadata={"source": 1}),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}")
def test_it_comes_back_as_it_was(value: Any) -> None:
    for wrapped in (value, [value], {"k": (value,)}):
        assert same(decode(encode(wrapped)), wrapped)


def test_private_attributes_and_fields_set_of_a_model_come_back() -> None:
    read = decode(encode(model))
    assert read._seen == 5
    assert read.model_fields_set == {"a"}
    said = AIMessage("hi", additional_kwargs={})
    assert decode(encode(said)).model_fields_set == said.model_fields_set


@pytest.mark.parametrize(
    "array",
    [np.arange(6).reshape(2, 3), np.array(["a", "bc"]), np.array([True]), np.zeros((0, 3)), np.array("2020-01-01", "M8[D]")],
)
def test_arrays_come_back_with_shape_and_dtype(array: Any) -> None:
    read = decode(encode({"a": array}))["a"]
    assert (read.dtype, read.shape) == (array.dtype, array.shape)
    assert (read == array).all()
    assert type(decode(encode(np.float32(2.5)))) is np.float32


def test_nan_stays_nan() -> None:
    read = decode(encode([float("nan"), decimal.Decimal("NaN")]))
    assert all(number != number for number in read)


@settings(max_examples=300, deadline=None)
@given(storable_values(30))
def test_any_value_comes_back_with_its_types(value: Any) -> None:
    assert same(decode(encode(value)), value)


# -- refusals -------------------------------------------------------------------------------------------------------


@dataclass
class Unregistered:
    x: Any


class Texty(str):
    __slots__ = ()


LOOP: list[Any] = []
LOOP.append({"again": LOOP})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (threading.Lock(), "^a _thread.lock .*cannot be stored"),
        ([1, {"a": print}], r"^at \[1\]\['a'\]: a builtin_function_or_method"),
        ({"k": Unregistered(1)}, r"^at \['k'\]: .*call `clew.register\(Unregistered\)`"),
        (Frozen(1, (1, object())), r"^at .y\[1\]: a object"),  # pyright: ignore
        (Model.model_construct(a=open), r"^at .a: a builtin_function"),
        ({1: {2: {3: print}}}, r"^at \[1\]\[2\]\[3\]"),
        (KeyboardInterrupt("x"), "a KeyboardInterrupt .*cannot be stored"),
        (Texty("x"), "turn it into a plain str"),
        (defaultdict(lambda: 1), r"expected one of \['list'"),
        (np.array([object()]), "dtype dtype\\('O'\\)"),
        (memoryview(b"x"), "a memoryview"),
        (LOOP, "does it contain itself"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_stored_is_named_with_its_place(value: Any, message: str) -> None:
    with pytest.raises(UnstorableValue, match=message):
        encode(value)


def test_only_types_that_can_be_made_again_are_registered() -> None:
    with pytest.raises(TypeError, match="expected a dataclass"):
        clew.register(threading.Thread)


def test_a_name_is_not_given_twice() -> None:
    with pytest.raises(ValueError, match="is taken by"):
        clew.register(Unregistered, name=f"{Frozen.__module__}.Frozen")


def test_a_class_that_moved_is_read_under_its_old_name() -> None:
    @dataclass
    class Moved:
        x: int
        gained: str = "new"

    old = encode(Frozen(1)).replace(b"Frozen", b"Frozfn")
    clew.register(Moved, name=f"{Frozen.__module__}.Frozfn")
    assert decode(old) == Moved(1)


# -- the state's schema registers what it names ---------------------------------------------------------------------


class Inner(BaseModel):
    x: int


@dataclass
class Outer:
    inner: list[Inner]
    again: Optional["Outer"] = None


class State(TypedDict):
    found: Annotated[dict[str, list[Outer | None]], "a note"]


def test_a_schema_registers_all_it_reaches() -> None:
    value = {"k": [Outer([Inner(x=1)], Outer([])), None]}
    with pytest.raises(UnstorableValue):
        encode(value)
    register_schema(State)
    assert decode(encode(value)) == value


# -- the store is untrusted -----------------------------------------------------------------------------------------


def forged(tag: str) -> bytes:
    return ormsgpack.packb(ormsgpack.Ext(registry.USER, ormsgpack.packb([tag, {"command": "true"}])))


@pytest.mark.parametrize("tag", ["os.system", "subprocess.Popen", "antigravity.x", "builtins.eval"])
def test_nothing_is_imported_or_called_by_the_name_a_row_gives(tag: str) -> None:
    read = decode(forged(tag))
    assert isinstance(read, Opaque)
    assert "antigravity" not in sys.modules
    assert encode(read) == forged(tag)
    assert read == decode(forged(tag))
    assert tag in repr(read)
    for touch in (lambda: read.command, lambda: read["command"], lambda: list(read)):
        with pytest.raises(OpaqueValue, match=r"not registered in this process.*clew.register"):
            touch()
    assert not hasattr(read, "__array__")


def test_an_unknown_code_goes_out_as_it_came() -> None:
    data = ormsgpack.packb({"x": ormsgpack.Ext(99, b"later")})
    assert encode(decode(data)) == data


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_random_bytes_are_a_value_or_a_clear_error(data: bytes) -> None:
    with contextlib.suppress(DatabaseError):  # any other error fails the test
        decode(data)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(VALUES), st.integers(0, 400), st.integers(1, 255))
def test_flipped_bits_are_a_value_or_a_clear_error(value: Any, at: int, flip: int) -> None:
    data = bytearray(encode(value))
    data[at % len(data)] ^= flip
    with contextlib.suppress(DatabaseError):
        decode(bytes(data))


def test_importing_the_codec_brings_in_no_framework() -> None:
    import subprocess

    code = "import sys, clew.checkpoint.codec; print({'pydantic', 'numpy', 'langchain_core', 'asyncio'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
