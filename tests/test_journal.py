"""The journal: each element is kept once, and what is kept is what the state was. Operations are counted, never timed."""

from collections import deque
from typing import Any, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.graphs import Adding, elsewhere, of
from support.storages import CountingStorage

from clew.checkpoint.base import Saver
from clew.checkpoint.entries import PAGE
from clew.checkpoint.hold import Hold
from clew.checkpoint.journal import Journal
from clew.checkpoint.ledger import LONG
from clew.checkpoint.memory import InMemorySaver, MemoryStorage
from clew.checkpoint.storage import Waiting, at_once
from clew.errors import CheckpointGone, ThreadConflict
from clew.graph import END, START, StateGraph
from clew.runtime.drive import drive
from clew.testing.values import same, storable_values
from clew.types import Checkpoint

Config = dict[str, Any]
BIG = "x" * 200


class Kept:
    """One value after another, kept as successive checkpoints of one thread."""

    def __init__(self, *, keeps_elements: bool) -> None:
        self.storage = CountingStorage()
        self.keeps = {"x": keeps_elements}
        self.journal = Journal(Waiting(self.storage, at_once), Hold(self.storage, "1"))
        drive(self.journal.open())
        self.step = -2

    def keep(self, value: Any) -> Any:
        """Keeps `value`, and returns what another process reads."""
        self.step += 1
        self.journal._keys.add("x")  # pyright: ignore[reportPrivateUsage]  (as taking a result that writes it would)
        drive(self.journal.commit(Checkpoint({"x": value}, step=self.step, source="loop"), self.keeps))
        saved = drive(Journal(Waiting(self.storage, at_once), Hold(self.storage, "1")).open())
        assert saved is not None
        return saved.checkpoint.values["x"]


# -- what is kept is what was there ---------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.lists(storable_values(), min_size=1, max_size=4), st.booleans())
def test_any_value_comes_back_as_it_was_however_it_changes(values: list[Any], keeps_elements: bool) -> None:
    kept = Kept(keeps_elements=keeps_elements)
    for value in values:
        assert same(kept.keep(value), value)


Edit = tuple[str, int, int]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["append", "insert", "delete", "move", "again"]), st.integers(0, 40), st.integers(0, 9))
    ),
    st.booleans(),
)
def test_any_edits_of_a_list_come_back(edits: list[Edit], keeps_elements: bool) -> None:
    kept = Kept(keeps_elements=keeps_elements)
    value: list[Any] = []
    for kind, at, what in edits:
        value = value.copy()
        at = at % (len(value) + 1)
        if kind == "append":
            value.append({"n": what, "text": BIG} if what % 2 else what)
        elif kind == "insert":
            value.insert(at, what)
        elif kind == "again" and value:
            value.append(value[at % len(value)])
        elif kind == "delete" and value:
            del value[at % len(value)]
        elif value:
            value.append(value.pop(at % len(value)))
        assert same(kept.keep(value), value)


@pytest.mark.parametrize("keeps_elements", [True, False])
def test_appending_stores_only_what_is_new(keeps_elements: bool) -> None:
    kept = Kept(keeps_elements=keeps_elements)
    value: list[str] = []
    for i in range(200):
        value = [*value, f"{i} {BIG}"]
        kept.keep(value)
    assert kept.storage.items_written == 200
    assert kept.storage.row_bytes < 200 * 40


@pytest.mark.parametrize("keeps_elements", [True, False])
def test_replacing_one_of_many_stores_one(keeps_elements: bool) -> None:
    kept = Kept(keeps_elements=keeps_elements)
    value = [f"{i} {BIG}" for i in range(100)]
    kept.keep(value)
    kept.keep([*value[:50], "new" + BIG, *value[51:]])
    assert kept.storage.items_written == 101


@pytest.mark.parametrize("keeps_elements", [True, False])
def test_deleting_and_reordering_store_nothing(keeps_elements: bool) -> None:
    kept = Kept(keeps_elements=keeps_elements)
    value = [f"{i} {BIG}" for i in range(100)]
    kept.keep(value)
    for changed in (value[1:], value[::-1], value[10:20], [], value):
        assert kept.keep(changed) == changed
    assert (
        kept.storage.items_written <= 100 + 100 // PAGE
    )  # a list turned round is a hundred ranges: their pages are written once


@pytest.mark.parametrize("keeps_elements", [True, False])
def test_a_sliding_window_of_small_elements_is_not_stored_again(keeps_elements: bool) -> None:
    kept = Kept(keeps_elements=keeps_elements)
    for i in range(300):
        kept.keep(list(range(i, i + 50)))
    assert kept.storage.items_written <= 349


@pytest.mark.parametrize("length", [100, LONG - 10, LONG + 10, 3 * LONG])
def test_what_another_process_makes_anew_is_not_stored_again(length: int) -> None:
    kept = Kept(keeps_elements=True)
    value = [f"{i} ".ljust(length, "x") for i in range(20)]
    kept.keep(value)
    kept.journal = Journal(Waiting(kept.storage, at_once), Hold(kept.storage, "1"))
    drive(kept.journal.open())
    again = [text.encode().decode() for text in value]
    assert kept.keep([*again[10:], *again[:10], "y" * length]) == [*value[10:], *value[:10], "y" * length]
    assert kept.storage.items_written == 21


def test_a_fragmented_value_is_never_rewritten() -> None:
    kept = Kept(keeps_elements=True)
    value = [f"{i} {BIG}" for i in range(2000)]
    kept.keep(value)
    before = kept.storage.item_bytes
    value = value[::2]  # a thousand ranges
    kept.keep(value)
    assert kept.storage.item_bytes - before < 10 * 1000
    before = kept.storage.item_bytes + kept.storage.row_bytes
    for i in range(50):
        value = [*value, f"new {i} {BIG}"]
        kept.keep(value)
    assert kept.storage.item_bytes + kept.storage.row_bytes - before < 50 * (len(BIG) + 800)


def test_a_dict_stores_the_pair_that_changed() -> None:
    kept = Kept(keeps_elements=True)
    value = {str(i): f"{i} {BIG}" for i in range(100)}
    kept.keep(value)
    assert kept.keep({**value, "50": "new"}) == {**value, "50": "new"}
    assert kept.storage.items_written == 101


def test_a_long_list_inside_a_dict_is_not_rewritten_when_it_grows() -> None:
    kept = Kept(keeps_elements=True)
    documents = [f"{i} {BIG}" for i in range(100)]
    kept.keep({"documents": documents, "n": 1})
    before = kept.storage.item_bytes
    kept.keep({"documents": [*documents, "new"], "n": 2})
    assert kept.storage.item_bytes - before < 100


def test_an_item_above_eight_megabytes_is_stored_in_parts() -> None:
    kept = Kept(keeps_elements=True)
    value = ["x" * 20_000_000]
    assert kept.keep(value) == value
    assert kept.storage.items_written == 4


def test_wide_states_write_what_changed(thread: Config) -> None:
    fields: dict[str, Any] = {f"key{i}": int for i in range(300)}
    wide: Any = TypedDict("Wide", fields)  # pyright: ignore
    storage = CountingStorage()
    builder = StateGraph(wide).add_edge(START, "n0")
    for i in range(60):
        builder.add_node(f"n{i}", lambda state, i=i: {f"key{i}": i})
        builder.add_edge(f"n{i}", f"n{i + 1}" if i < 59 else END)
    builder.compile(Saver(storage)).invoke(dict.fromkeys(fields, 0), thread)
    whole = 300 * 8  # bytes of a manifest that names every key; there are 62 rows
    assert storage.row_bytes < 62 * whole / 6


CONTAINERS: list[Any] = [
    [],
    {},
    set[int](),
    (),
    deque([1, 2], 5),
    {1: "a"},
    frozenset({BIG}),
    [[BIG * 6] * 3],
    {"k": [BIG] * 9},
]


@pytest.mark.parametrize("value", CONTAINERS)
def test_containers_of_every_kind_grow_and_come_back(value: Any) -> None:
    kept = Kept(keeps_elements=False)
    assert same(kept.keep(value), value)


# -- commits --------------------------------------------------------------------------------------------------------


def test_a_superstep_is_one_commit(thread: Config) -> None:
    storage = CountingStorage()
    graph = of(Adding, lambda state: {"x": [1]})(Saver(storage))
    graph.invoke({"x": []}, thread)
    assert storage.commits == 2  # the input with START, which calls nobody; the node


def test_what_two_runs_began_only_one_can_commit(saver: Saver, thread: Config) -> None:
    def other_first(state: Adding) -> Adding:
        if state.get("y") == "outer":
            elsewhere(lambda: graph.invoke({"y": "inner"}, thread, on_busy="rollback"))
        return {"x": [state.get("y")]}

    graph = of(Adding, other_first)(saver)
    with pytest.raises(ThreadConflict, match="'1' was moved on by another run"):
        graph.invoke({"y": "outer"}, thread)
    assert graph.get_state(thread).values == {"x": ["inner"], "y": "inner"}
    sources = [(s.metadata or {})["source"] for s in graph.get_state_history(thread)]
    assert sources == ["loop", "loop", "input", "loop", "input"]


def test_of_two_that_resume_one_step_only_one_can_keep(saver: Saver, thread: Config) -> None:
    broken = [True]

    def fragile(state: Adding) -> Adding:
        if broken.pop() if broken else False:
            raise OSError("once")
        if state.get("y") == 1 and not resumed:
            resumed.append(True)
            elsewhere(lambda: graph.invoke(None, thread, on_busy="rollback"))
        return {"x": ["fragile"]}

    resumed: list[bool] = []
    builder = StateGraph(Adding).add_node(fragile).add_node("sibling", lambda state: {"x": ["sibling"]})
    graph = builder.add_edge(START, "fragile").add_edge(START, "sibling").compile(saver)
    with pytest.raises(OSError, match="once"):
        graph.invoke({"y": 1}, thread)
    with pytest.raises(ThreadConflict):
        graph.invoke(None, thread)
    assert graph.get_state(thread).values == {"x": ["fragile", "sibling"], "y": 1}


def test_items_that_are_missing_are_an_error_and_never_a_shorter_list(thread: Config) -> None:
    saver = InMemorySaver()
    storage = saver.storage
    assert isinstance(storage, MemoryStorage)
    graph = of(Adding, lambda state: {"x": [BIG]})(saver)
    graph.invoke({"x": ["first" + BIG]}, thread)
    items = storage._threads["1"].items  # pyright: ignore[reportPrivateUsage]
    items.pop(next(iter(items)))
    with pytest.raises(CheckpointGone, match="names 2 items, of which 1 are stored"):
        of(Adding, lambda state: {"x": []})(Saver(storage)).get_state(thread)


def test_the_newest_state_is_not_read_again_while_it_is_the_newest(thread: Config) -> None:
    reads: list[int] = []

    class Reading(MemoryStorage):
        def items(self, thread: str, ranges: Any) -> list[bytes]:
            reads.append(sum(to - from_ for _, from_, to in ranges))
            return super().items(thread, ranges)

    storage = Reading()
    saver, other = Saver(storage), Saver(storage)
    build = of(Adding, lambda state: {"x": [BIG]})
    for _ in range(5):
        build(saver).invoke({"x": [BIG + "input"]}, thread)
    assert reads == []
    build(other).invoke({"x": ["elsewhere" + BIG]}, thread)
    assert len(reads) == 1
    assert build(saver).invoke({"x": []}, thread)["x"].count("elsewhere" + BIG) == 1
    assert len(reads) == 2
