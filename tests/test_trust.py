"""A turn of a thread that is remembered asks the store for nothing first; what others have done meanwhile is seen."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.faces import Face
from support.graphs import Log, says

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import InMemorySaver
from clew.checkpoint.sqlite import SqliteSaver
from clew.errors import ThreadConflict
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.types import interrupt

Config = dict[str, Any]


@pytest.fixture
def other(saver: Saver) -> Saver:
    """Another saver over the same rows, as another process has one."""
    made = InMemorySaver()
    made.storage = saver.storage
    return made


class Asked:
    """Counts the verbs that are asked of a saver's storage."""

    def __init__(self, saver: Saver) -> None:
        self.said: list[str] = []
        for name in ("load", "items", "commit", "scan"):
            setattr(saver.storage, name, self._counted(name, getattr(saver.storage, name)))

    def _counted(self, name: str, verb: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any) -> Any:
            self.said.append(name)
            return verb(*args)

        return counted

    def since(self) -> list[str]:
        said, self.said[:] = self.said[:], []
        return said


def talking(saver: Saver, name: str = "said") -> CompiledStateGraph:
    return StateGraph(Log).add_node("node", says(name)).add_edge(START, "node").compile(saver)


def log_of(face: Face, graph: CompiledStateGraph, thread: Config) -> list[str]:
    return face.get_state(graph, thread).values["log"]


def test_a_turn_is_two_commits(face: Face, saver: Saver, thread: Config) -> None:
    asked, graph = Asked(saver), talking(saver)
    face.invoke(graph, {"log": ["1"]}, thread)
    assert asked.since() == ["load", "commit", "commit"]
    face.invoke(graph, {"log": ["2"]}, thread)
    assert asked.since() == ["commit", "commit"]
    assert log_of(face, graph, thread) == ["1", "said", "2", "said"]


def test_so_is_one_after_the_state_was_read(face: Face, saver: Saver, thread: Config) -> None:
    asked, graph = Asked(saver), talking(saver)
    face.invoke(graph, {"log": ["1"]}, thread)
    log_of(face, graph, thread)
    asked.since()
    face.invoke(graph, {"log": ["2"]}, thread)
    assert asked.since() == ["commit", "commit"]


def test_what_another_saver_has_written_meanwhile_is_seen(face: Face, saver: Saver, other: Saver, thread: Config) -> None:
    graphs = {"one": talking(saver, "one"), "other": talking(other, "other")}
    order = ["one", "other", "other", "one"] * 3
    for name in order:
        face.invoke(graphs[name], {"log": ["in"]}, thread)
    assert [log_of(face, graph, thread)[1::2] for graph in graphs.values()] == [order, order]


def test_a_thread_that_another_saver_has_deleted_begins_anew(face: Face, saver: Saver, other: Saver, thread: Config) -> None:
    graph = talking(saver)
    face.invoke(graph, {"log": ["1"]}, thread)
    other.delete_thread(thread["configurable"]["thread_id"])
    assert face.invoke(graph, {"log": ["2"]}, thread)["log"] == ["2", "said"]


def test_a_run_that_was_told_of_another_is_still_known_by_its_name(
    face: Face, saver: Saver, other: Saver, thread: Config
) -> None:
    graph = talking(saver)
    face.invoke(graph, {"log": ["1"]}, thread)
    face.invoke(talking(other), {"log": ["2"]}, thread)
    face.invoke(graph, {"log": ["3"]}, {**thread, "run_id": "0198-17"})
    saver.delete_for_runs(["0198-17"])
    assert log_of(face, graph, thread) == ["1", "said", "2", "said"]


def test_an_edit_by_another_saver_is_seen(face: Face, saver: Saver, other: Saver, thread: Config) -> None:
    graph = talking(saver)
    face.invoke(graph, {"log": ["1"]}, thread)
    talking(other).update_state(thread, {"log": ["edited"]})
    assert face.invoke(graph, {"log": ["2"]}, thread)["log"] == ["1", "said", "edited", "2", "said"]


def test_a_thread_that_another_saver_is_at_work_on_is_busy(face: Face, saver: Saver, other: Saver, thread: Config) -> None:
    """Both when this one remembers what was before, and when it has looked at the thread meanwhile."""
    graph = talking(saver)
    face.invoke(graph, {"log": ["1"]}, thread)

    def meanwhile(state: Log) -> Log:
        with ThreadPoolExecutor(1) as pool:
            for look in (lambda: None, lambda: log_of(face, graph, thread)):
                pool.submit(look).result()
                with pytest.raises(ThreadConflict, match="is being run already"):
                    pool.submit(face.invoke, graph, {"log": ["too early"]}, thread).result()
        return {"log": ["meanwhile"]}

    busy = StateGraph(Log).add_node("node", meanwhile).add_edge(START, "node").compile(other)
    assert face.invoke(busy, {"log": ["2"]}, thread)["log"] == ["1", "said", "2", "meanwhile"]
    assert face.invoke(graph, {"log": ["3"]}, thread)["log"] == ["1", "said", "2", "meanwhile", "3", "said"]


def test_where_something_waits_to_be_done_the_store_is_asked(face: Face, saver: Saver, thread: Config) -> None:
    graph = StateGraph(Log).add_node("asks", lambda state: {"log": [interrupt("?")]}).add_edge(START, "asks").compile(saver)
    asked = Asked(saver)
    face.invoke(graph, {"log": ["1"]}, thread)
    asked.since()
    face.invoke(graph, {"log": ["2"]}, thread)
    assert "load" in asked.since()
    assert [task.interrupts[0].value for task in face.get_state(graph, thread).tasks] == ["?"]


def test_a_file_that_was_replaced_begins_anew(face: Face, thread: Config, tmp_path: Any) -> None:
    path = tmp_path / "threads.db"
    with SqliteSaver(path) as saver:
        graph = talking(saver)
        face.invoke(graph, {"log": ["1"]}, thread)
        path.unlink()
        assert face.invoke(graph, {"log": ["2"]}, thread)["log"] == ["2", "said"]
