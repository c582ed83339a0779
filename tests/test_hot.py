"""What savers remember of threads: of many short ones more than of a few long ones."""

from collections.abc import Iterator
from typing import Any

import pytest
from support.graphs import Log, says

from clew.checkpoint import hot
from clew.checkpoint.memory import InMemorySaver
from clew.graph import START, StateGraph


class Counted(InMemorySaver):
    """Counts the calls that read items: those of threads that are not remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []
        items = self.storage.items

        def reading(thread: str, ranges: Any) -> list[bytes]:
            self.read.append(thread)
            return items(thread, ranges)

        self.storage.items = reading  # pyright: ignore[reportAttributeAccessIssue]


@pytest.fixture
def saver() -> Iterator[Counted]:
    with Counted() as saver:
        yield saver


def says_in(saver: Counted, thread: str, many: int = 1) -> None:
    graph = StateGraph(Log).add_node("node", says("x" * 100)).add_edge(START, "node").compile(saver)
    graph.invoke({"log": [f"{n:0100}" for n in range(many)]}, {"configurable": {"thread_id": thread}})


def test_many_short_threads_are_remembered(saver: Counted) -> None:
    for _ in range(2):
        for n in range(100):
            says_in(saver, str(n))
    assert not saver.read


def test_of_long_threads_the_last_are(saver: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot, "ELEMENTS", 100)
    for n in range(4):
        says_in(saver, str(n), 40)
    for n in (3, 2, 1, 0):
        says_in(saver, str(n))
    assert saver.read == ["1", "0"]


def test_one_that_is_longer_than_all_may_be_is_remembered_while_it_is_the_last(
    saver: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hot, "ELEMENTS", 10)
    says_in(saver, "1", 40)
    says_in(saver, "1")
    assert not saver.read
    says_in(saver, "2")
    says_in(saver, "1")
    assert saver.read == ["1"]


def test_no_more_threads_than_that_are(saver: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot, "THREADS", 2)
    for thread in "123":
        says_in(saver, thread)
    for thread in "321":
        says_in(saver, thread)
    assert saver.read == ["1"]


def test_a_thread_that_was_deleted_is_not(saver: Counted) -> None:
    says_in(saver, "1", 3)
    saver.delete_thread("1")
    says_in(saver, "1")
    graph = StateGraph(Log).add_node("node", says("x")).add_edge(START, "node").compile(saver)
    assert len(graph.get_state({"configurable": {"thread_id": "1"}}).values["log"]) == 2
