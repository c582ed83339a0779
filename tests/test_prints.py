"""What is remembered of items that are stored: as much as is in use, and no more for a thread's having run for ever."""

from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest

from clew.checkpoint import ledger, prints
from clew.checkpoint.memory import InMemorySaver
from clew.checkpoint.prints import Known
from clew.graph import END, START, StateGraph
from clew.graph.compiled import CompiledStateGraph

CONFIG: dict[str, Any] = {"configurable": {"thread_id": "1"}, "recursion_limit": 1000}


def last(current: list[str], update: list[str]) -> list[str]:
    """A reducer that promises nothing: all elements are looked at each time."""
    return [*current, *update]


class State(TypedDict):
    n: int
    text: str
    log: Annotated[list[str], last]
    doc: dict[str, dict[str, str]]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """How many are remembered at least, in these trials."""
    for module in (prints, ledger):
        monkeypatch.setattr(module, "MOST", 20)
    return 20


def looping(saver: InMemorySaver, **more: Callable[[int, State], Any]) -> CompiledStateGraph:
    """A hundred supersteps a turn, each of which writes the same keys."""

    def node(state: State) -> Any:
        n = state["n"]
        return {"n": n + 1, **{key: write(n, state) for key, write in more.items()}}

    builder = StateGraph(State).add_node("node", node).add_edge(START, "node")
    return builder.add_conditional_edges("node", lambda state: "node" if state["n"] % 100 else END).compile(saver)


def stored(saver: InMemorySaver) -> int:
    return sum(count for count, _ in saver.storage.weigh("1").items.values())


def test_what_was_asked_for_lately_is_known(few: int) -> None:
    known = Known()
    for n in range(10 * few):
        known.note(n, n)
        assert known.find(3) == (3 if n >= 3 else None)
        known.turn()
        assert len(known) <= 2 * (few + 1)
    assert (known.find(10 * few - 1), known.find(4)) == (10 * few - 1, None)
    known.clear()
    assert (known.find(3), len(known)) == (None, 0)


def test_a_superstep_that_asks_for_more_loses_none_of_it(few: int) -> None:
    known = Known()
    known.learn(range(5 * few), range(5 * few))
    for _ in range(5):
        known.turn()
        assert [known.find(n) for n in range(5 * few)] == list(range(5 * few))


def test_a_value_that_is_replaced_for_ever_costs_no_memory(few: int) -> None:
    with InMemorySaver() as saver:
        graph = looping(saver, text=lambda n, _state: f"{n:0100}")
        for _ in range(3):
            graph.invoke({"n": 0}, CONFIG)
            journal = saver._hot.take("1", "")  # pyright: ignore[reportPrivateUsage]
            assert journal is not None
            assert len(journal.hold.known) <= 2 * (few + 2)
            assert len(journal.ledger._prints) <= 4 * few  # pyright: ignore[reportPrivateUsage]
            saver._hot.put(journal)  # pyright: ignore[reportPrivateUsage]
        assert stored(saver) == 300


def test_what_is_in_use_is_stored_once_however_much_it_is(few: int) -> None:
    with InMemorySaver() as saver:
        graph = looping(saver, log=lambda n, _state: [f"{n:0100}"])
        graph.invoke({"n": 0, "log": [f"first {n:0100}" for n in range(10 * few)]}, CONFIG)
        assert stored(saver) <= 10 * few + 100 + few  # pages of ranges among them


def test_what_stands_within_what_is_replaced_is_stored_once(few: int) -> None:
    def edited(n: int, state: State) -> Any:
        return {**state["doc"], "last": {"text": f"{n:02000}"}}

    with InMemorySaver() as saver:
        graph = looping(saver, doc=edited)
        graph.invoke({"n": 0, "doc": {f"{n}": {"text": f"{n:02000}"} for n in range(10 * few)}}, CONFIG)
        assert stored(saver) <= 2 * (10 * few + 100) + few
