"""Pruning: what is kept reads, resumes and forks as before; what nothing names is gone."""

import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.faces import Face
from support.reading import THREAD, copied, history, swept, tell, told, within, words
from support.sample_graphs import SAMPLES
from support.tales import asks, line, waiting_within

from clew.checkpoint.base import Saver
from clew.checkpoint.hold import Hold
from clew.checkpoint.memory import MemoryStorage
from clew.checkpoint.pruning import Pruned, taken
from clew.checkpoint.storage import Found, Pruning, Storage
from clew.errors import CheckpointNotFound, ClewWarning, EmptyInputError, ThreadConflict
from clew.graph.compiled import CompiledStateGraph
from clew.ids import new_checkpoint_id
from clew.testing.crash import Crash, CrashingStorage
from clew.types import Command, StateSnapshot


def test_the_newest_stay_and_read_as_before(face: Face, saver: Saver) -> None:
    graph = words(face, saver, 5)
    before = history(graph)
    done = saver.prune(keep_last=3)
    assert (done.threads, done.checkpoints, done.busy) == (1, len(before) - 3, 0)
    assert history(graph) == before[:3]
    assert list(graph.get_state_history(THREAD))[-1].parent_config is None
    swept(saver.storage)
    assert saver.prune(keep_last=3) == Pruned()
    face.invoke(graph, {"log": ["on"]}, THREAD)
    assert face.get_state(graph, THREAD).values["log"][-3:] == ["on", "a", "b"]


def test_only_what_is_older_goes(face: Face, saver: Saver) -> None:
    graph = words(face, saver, 2)
    before = history(graph)
    assert saver.prune(older_than="1d") == Pruned()
    assert saver.prune(older_than=0, keep_last=len(before) - 1).checkpoints == 1
    assert saver.prune(older_than=0).checkpoints == len(before) - 2
    assert history(graph) == before[:1]
    swept(saver.storage)


def test_what_is_asked_for_or_named_stays(face: Face, saver: Saver) -> None:
    graph = words(face, saver, 3)
    before = history(graph)
    face.update(graph, {**THREAD, "metadata": {"name": "release"}}, {"log": ["named"]}, "b")
    words(face, saver, 1)
    configs = [one.config for one in graph.get_state_history(THREAD)]
    first = before[-1][0][0]
    saver.prune(keep_last=1, keep=[first, before[-2][0][0]["configurable"]["checkpoint_id"]])
    kept = list(graph.get_state_history(THREAD))
    assert [one.config for one in kept] == [configs[0], configs[4], *[one[0][0] for one in before[-2:]]]
    assert [told(one) for one in kept[2:]] == [one[0] for one in before[-2:]]
    saver.prune(keep_last=1, keep=lambda metadata: metadata["step"] == -1)
    assert [one.metadata and one.metadata["step"] for one in graph.get_state_history(THREAD)][-1] == -1
    assert face.invoke(graph, None, first)["log"][-2:] == ["a", "b"]


def test_ends_of_branches_that_wait_stay(saver: Saver) -> None:
    graph = waiting_within(saver)
    graph.invoke({"log": ["in"]}, THREAD)
    waiting = graph.get_state(THREAD).config
    first = list(graph.get_state_history(THREAD))[-1].config
    graph.update_state(first, {"log": ["other"]}, "end")
    before = within(graph, waiting)
    assert saver.prune(keep_last=1).checkpoints > 0
    assert within(graph, waiting) == before
    swept(saver.storage)
    ended = graph.invoke(Command(resume="well"), waiting)
    assert "well" in ended["log"]


@pytest.mark.parametrize("name", SAMPLES)
def test_whatever_ran_before_is_gone_and_the_rest_reads_as_before(name: str, saver: Saver) -> None:
    build, inputs = SAMPLES[name]
    graph = build(saver)
    for given_ in inputs:
        tell(graph, given_)
    before = history(graph)
    for keep_last in range(len(before), 0, -1):
        saver.prune(["1"], keep_last=keep_last)
        assert history(graph)[:keep_last] == before[:keep_last]
        swept(saver.storage)
    tell(graph, inputs[-1])
    other = build(Saver(saver.storage))
    assert saver.prune(strategy="keep_latest").checkpoints > 0
    tell(other, inputs[-1])
    swept(saver.storage)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLES)
def test_pruning_is_crashed_at_every_call(name: str) -> None:
    build, inputs = SAMPLES[name]
    told_once = MemoryStorage()
    graph = build(Saver(told_once))
    for given_ in (*inputs, inputs[-1]):
        tell(graph, given_)
    head = told_once.load("1", "", None).head
    calm = CrashingStorage(copied(told_once))
    Saver(calm).prune(keep_last=2)
    calls, expected = calm.calls, history(build(Saver(calm)))
    for crash_at in range(calls):
        for done in (False, True):
            storage = copied(told_once)
            with pytest.raises(Crash):
                Saver(CrashingStorage(storage, crash_at, done=done)).prune(keep_last=2)
            saver = Saver(storage)
            graph = build(saver)
            assert [one for one in history(graph) if one in expected] == expected
            saver.prune(keep_last=2)
            assert history(graph) == expected
            swept(storage)
            assert storage.load("1", "", None).head == head
            assert told_items(storage) == told_items(calm)
            tell(graph, inputs[-1])


def told_items(storage: Storage) -> Any:
    return storage.walk("1", (-1, 0), 100_000), [space.ns for space in storage.spaces("1")]


class Story:
    """Two processes with savers that remember, over one storage; one graph with a memory and a question within."""

    def __init__(self, build: Any) -> None:
        self.storage = MemoryStorage()
        self.savers = [Saver(self.storage), Saver(self.storage)]
        self.graphs: list[CompiledStateGraph] = [build(saver) for saver in self.savers]

    def act(self, who: int, what: str, which: int) -> None:
        graph = self.graphs[who]
        past = list(graph.get_state_history(THREAD))
        at = past[which % len(past)].config if past else THREAD
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ClewWarning)
            try:
                if what == "run":
                    graph.invoke({"log": [f"{which}" * 60]}, THREAD)
                elif what == "on":
                    graph.invoke(None, THREAD)
                elif what == "answer" and past and past[0].interrupts:
                    graph.invoke(Command(resume={one.id: "yes" for one in past[0].interrupts}), THREAD)
                elif what == "fork" and past:
                    graph.invoke(None, at)
                elif what == "edit" and past:
                    name = {"metadata": {"name": "here"}} if which % 3 == 0 else {}
                    graph.update_state({**at, **name}, {"log": [f"edited {which}" * 10]}, "end")
                elif what == "prune":
                    self.prune(who, which, past)
            except EmptyInputError:
                pass

    def prune(self, who: int, which: int, past: list[StateSnapshot]) -> None:
        before = {repr(one[0][0]): one for one in history(self.graphs[who])}
        keep = [one.config for one in past[which % 5 :: 5]]
        how: Any = [{"keep_last": 1 + which % 4}, {"keep_last": 2, "keep": keep}, {"older_than": 0, "keep": keep}, {}][
            which % 4
        ]
        head = self.graphs[who].get_state(THREAD)
        self.savers[who].prune(["1"], **how)
        swept(self.storage)
        after = {repr(one[0][0]): one for one in history(self.graphs[1 - who])}
        assert after == {key: one for key, one in before.items() if key in after}
        assert told(self.graphs[1 - who].get_state(THREAD)) == told(head)
        assert {repr(one) for one in how.get("keep", ())} <= after.keys()


MOVES = st.tuples(
    st.integers(0, 1), st.sampled_from(["run", "on", "answer", "fork", "edit", "prune", "prune"]), st.integers(0, 30)
)


def remembering(saver: Saver) -> CompiledStateGraph:
    """A memory, a graph within and a question, one after the other."""
    memory = line("m", "n", checkpointer=True)
    within = line("x", asks("sure?"), "y")
    return line("first", ("memory", memory), ("within", within), "end", checkpointer=saver)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(MOVES, min_size=4, max_size=16))
def test_any_story_with_pruning(moves: list[tuple[int, str, int]]) -> None:
    story = Story(remembering)
    story.act(0, "run", 1)
    for who, what, which in moves:
        story.act(who, what, which)
    story.act(0, "prune", 0)
    story.act(1, "run", 2)
    story.act(1, "answer", 2)
    story.act(0, "prune", 0)


# -- beside runs ----------------------------------------------------------------------------------------------------


def test_a_thread_that_is_run_is_left_for_the_next_time(face: Face, saver: Saver) -> None:
    graph = words(face, saver, 3)
    seen: list[Pruned] = []

    def prunes(state: Any) -> Any:
        seen.append(saver.prune(keep_last=1))
        return {}

    face.invoke(line(("prunes", prunes), checkpointer=saver), {"log": []}, THREAD)
    assert seen == [Pruned(busy=1)]
    assert saver.prune(keep_last=1).busy == 0
    assert len(face.history(graph, THREAD)) == 1


@pytest.mark.parametrize("act", ["invoke", "update"])
def test_a_run_that_has_read_before_pruning_begins_anew(act: str, face: Face) -> None:
    class Between(MemoryStorage):
        """Prunes between what a run reads and what it writes first."""

        at: Any = None

        def commit(self, batch: Any) -> bool:
            at, self.at = self.at, None
            if at:
                at()
            return super().commit(batch)

    storage = Between()
    graph = words(face, Saver(storage), 3)

    def prune() -> None:
        assert Saver(storage).prune(keep_last=1).checkpoints > 0

    storage.at = prune
    if act == "invoke":
        assert face.invoke(graph, {"log": ["on"]}, THREAD)["log"][-3:] == ["on", "a", "b"]
    else:
        face.update(graph, THREAD, {"log": ["by hand"]}, "b")
        assert face.get_state(graph, THREAD).values["log"][-1] == "by hand"
    swept(storage)


def test_a_run_waits_while_its_thread_is_pruned(face: Face) -> None:
    storage = MemoryStorage()
    graph = words(face, Saver(storage), 1)
    old = list(graph.get_state_history(THREAD))[1].config
    hold = Hold(storage, "1", 30.0)
    hold.stand(storage.load("1", "", None))
    loads = 0

    class Watched(MemoryStorage):
        def load(self, thread: str, ns: str, checkpoint_id: bytes | None) -> Found:
            nonlocal loads
            loads += 1
            if loads == 3:
                manager.__exit__(None, None, None)
            return super().load(thread, ns, checkpoint_id)

    watched = Watched()
    watched._threads = storage._threads  # pyright: ignore[reportPrivateUsage]
    manager = taken(hold)
    assert manager.__enter__() is not None
    waiting = line("a", "b", checkpointer=Saver(watched))
    assert face.invoke(waiting, None, old)["log"][-1] == "b"
    assert loads > 3


def test_what_fell_asleep_over_pruning_is_shut_out(face: Face) -> None:
    storage = MemoryStorage()
    graph = words(face, Saver(storage), 2)
    asleep = Hold(storage, "1", 1e-9)  # a lease that is over at once
    asleep.stand(storage.load("1", "", None))
    manager = taken(asleep)
    epoch = manager.__enter__()
    assert epoch is not None
    face.invoke(graph, {"log": ["on"]}, list(graph.get_state_history(THREAD))[3].config)
    with pytest.raises(ThreadConflict):
        storage.prune(Pruning("1", epoch, rows=[1]))
    manager.__exit__(None, None, None)
    assert len(history(graph)) == 12


# -- what is asked for ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, "Nothing says what goes"),
        ({"keep": ["x"]}, "Nothing says what goes"),
        ({"keep_last": 0}, "keep_last is 0: expected"),
        ({"keep_last": True}, "keep_last is True"),
        ({"older_than": "soon"}, "older_than is 'soon': expected seconds, a timedelta"),
        ({"older_than": -1}, "older_than is -1"),
        ({"keep_last": 1, "keep": ["x"]}, "keep has 'x': expected ids"),
        ({"strategy": "all"}, "There is no strategy 'all'"),
        ({"strategy": "keep_latest", "keep_last": 3}, "says already what goes"),
        ({"strategy": "delete"}, "deletes whole threads: name them"),
    ],
)
def test_what_cannot_be_meant_is_said(how: Any, message: str, saver: Saver) -> None:
    with pytest.raises(ValueError, match=message):
        saver.prune(**how)


def test_the_classic_strategies(face: Face, saver: Saver) -> None:
    graph = words(face, saver, 2)
    face.invoke(graph, {"log": ["in"]}, {"configurable": {"thread_id": "2"}})
    before = history(graph)
    saver.prune(["1"])
    assert history(graph) == before[:1]
    done = saver.prune(["1", "none"], strategy="delete")
    assert (done.threads, done.checkpoints) == (1, 1)
    assert [row.thread for row in saver.threads()] == ["2"]


def test_an_id_that_is_gone_says_so(face: Face, saver: Saver) -> None:
    graph = words(face, saver, 2)
    gone = list(graph.get_state_history(THREAD))[-1].config
    saver.prune(keep_last=1, keep=[new_checkpoint_id().hex()])
    with pytest.raises(CheckpointNotFound):
        face.get_state(graph, gone)
    with pytest.raises(CheckpointNotFound):
        face.invoke(graph, None, gone)
