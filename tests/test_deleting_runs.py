"""What a run made is deleted: a thread goes back to where it was without it."""

from typing import Any

import pytest
from support.faces import Face
from support.reading import THREAD, copied, history, swept, words
from support.sample_graphs import SAMPLES
from support.tales import line

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import MemoryStorage
from clew.graph.compiled import CompiledStateGraph
from clew.testing.crash import Crash, CrashingStorage


def ran(face: Face, graph: CompiledStateGraph, run: str, **options: Any) -> None:
    face.invoke(graph, {"log": [run * 60]}, {**THREAD, "run_id": run}, **options)


def test_what_a_run_made_goes(face: Face, saver: Saver) -> None:
    graph = line("a", "b", checkpointer=saver)
    for run in ("one", "two", "three"):
        ran(face, graph, run)
    words(face, saver, 1)
    before = history(graph)
    assert [one[0][3].get("run_id") for one in before] == [None] * 7 + ["three"] + [None] * 3 + ["two"] + [None] * 3 + ["one"]
    done = saver.delete_for_runs(["two", "none"])
    assert (done.threads, done.checkpoints) == (1, 4)
    assert history(graph) == before[:8] + before[12:]
    swept(saver.storage)
    face.invoke(graph, {"log": ["on"]}, THREAD)


def test_a_thread_goes_back_to_what_was_before_the_run(face: Face, saver: Saver) -> None:
    graph = line("a", "b", checkpointer=saver)
    ran(face, graph, "one")
    before = face.get_state(graph, THREAD)
    ran(face, graph, "two", durability="exit")
    assert saver.delete_for_runs(["two"]).checkpoints == 1
    after = face.get_state(graph, THREAD)
    assert (after.values, after.next, after.parent_config) == (before.values, before.next, before.config)
    assert (after.metadata or {})["source"] == "fork"
    swept(saver.storage)
    ran(face, graph, "three")
    assert face.get_state(graph, THREAD).values["log"][:3] == before.values["log"]
    saver.delete_for_runs(["one", "three"])
    assert [one.metadata and one.metadata["source"] for one in face.history(graph, THREAD)] == ["fork", "fork"]


def test_a_thread_of_which_nothing_is_left_goes(face: Face, saver: Saver) -> None:
    graph = line("a", "b", checkpointer=saver)
    ran(face, graph, "one")
    assert saver.delete_for_runs(["one"]).threads == 1
    assert saver.threads() == []
    assert face.get_state(graph, THREAD).values == {}


def test_deleting_a_run_is_crashed_at_every_call() -> None:
    build, _ = SAMPLES["memory"]
    told_once = MemoryStorage()
    graph = build(Saver(told_once))
    for run in ("one", "two"):
        graph.invoke({"log": [run]}, {**THREAD, "run_id": run})
    kept = history(graph)[-4:]
    calm = CrashingStorage(copied(told_once))
    Saver(calm).delete_for_runs(["two"])
    for crash_at in range(calm.calls):
        storage = copied(told_once)
        with pytest.raises(Crash):
            Saver(CrashingStorage(storage, crash_at)).delete_for_runs(["two"])
        assert history(build(Saver(storage)))[-4:] == kept
        Saver(storage).delete_for_runs(["two"])
        Saver(storage).prune(["1"], keep_last=100)
        swept(storage)
        graph = build(Saver(storage))
        assert graph.get_state(THREAD).values == kept[0][0][1]
        assert graph.invoke({"log": ["three"]}, THREAD)["log"][-2:] == ["2 with run 2", "end"]
