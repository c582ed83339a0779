"""A thread that is invoked while it runs: refused, queued, interrupted or rolled back. Between processes: test_processes.py."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from support.faces import Face
from support.graphs import Log, elsewhere, says
from support.meeting import SECONDS, Meeting
from support.storages import CountingStorage
from support.tales import line

from clew.checkpoint.base import Saver
from clew.checkpoint.lease import LEASES, is_gone, started_at, this_process
from clew.checkpoint.memory import InMemorySaver, MemoryStorage
from clew.checkpoint.mongodb import MongoDBSaver
from clew.checkpoint.postgres import PostgresSaver
from clew.checkpoint.redis import RedisSaver
from clew.checkpoint.sqlite import SqliteSaver
from clew.checkpoint.storage import Batch, Lease, Waiting
from clew.errors import GraphDrained, ThreadConflict
from clew.graph import START, StateGraph
from clew.types import interrupt

Config = dict[str, Any]


@pytest.fixture
def meeting(face: Face, saver: Saver, thread: Config) -> Meeting:
    return Meeting(face, saver, thread)


# -- within one process ---------------------------------------------------------------------------------------------


def test_a_second_call_is_refused_before_it_does_anything(meeting: Meeting) -> None:
    with pytest.raises(ThreadConflict, match=r"Thread '1' is being run already; nothing was done.*on_busy='enqueue'"):
        meeting.calls({"log": ["second"]}).result(SECONDS)
    assert meeting.end(meeting.first)[0]["log"] == ["first", "slow", "after"]
    assert meeting.face.get_state(meeting.graph, meeting.thread).values["log"] == ["first", "slow", "after"]


def test_while_it_runs_a_thread_can_be_read_and_not_edited(meeting: Meeting) -> None:
    assert meeting.face.get_state(meeting.graph, meeting.thread).next == ("slow",)
    assert len(meeting.face.history(meeting.graph, meeting.thread)) == 2
    with pytest.raises(ThreadConflict, match="is being run already"):
        meeting.face.update(meeting.graph, meeting.thread, {"log": ["edit"]})
    assert meeting.end(meeting.first)[0]["log"] == ["first", "slow", "after"]


def test_those_who_queue_up_run_in_the_order_they_came(meeting: Meeting) -> None:
    calls: list[Future[Any]] = []
    for number in range(3):
        calls.append(meeting.calls({"log": [f"call {number}"], "n": 0}, on_busy="enqueue"))
        meeting.until_queued()
        while len(waiting(meeting.saver)) < number + 1:
            meeting.until_queued()
    *_, last = meeting.end(meeting.first, *calls)
    assert [word for word in last["log"] if "call" in word] == ["call 0", "call 1", "call 2"]
    assert waiting(meeting.saver) == []


def waiting(saver: Saver) -> list[Any]:
    """Who waits for the thread."""
    if isinstance(saver, SqliteSaver):
        with saver.file.using() as db:
            return db.execute("select run from waiting").fetchall()
    if isinstance(saver, RedisSaver):
        unpacked = "local packed = redis.call('HGET', KEYS[1], 'waiting') return packed and cmsgpack.unpack(packed) or {}"
        return saver.storage.storage.redis.eval(unpacked, 1, "clew:{1}")  # pyright: ignore
    if isinstance(saver, PostgresSaver):
        return saver.rows.ask("select run from {}clew_waiting")
    if isinstance(saver, MongoDBSaver):
        return saver.rows.connected.collection("clew_threads").find_one({"_id": "1"})["waiting"]
    return list(saver.storage._threads["1"].waiting)  # pyright: ignore


def test_one_that_waits_and_gives_up_is_passed_over(meeting: Meeting) -> None:
    async def gives_up() -> None:
        call = asyncio.ensure_future(meeting.graph.ainvoke({"log": ["x"]}, meeting.thread, on_busy="enqueue"))
        while not waiting(meeting.saver):
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(gives_up())
    assert waiting(meeting.saver) == []
    second = meeting.calls({"log": ["second"], "n": 0}, on_busy="enqueue")
    assert meeting.end(second)[0]["log"] == ["first", "slow", "after", "second", "slow", "after"]


def test_an_interrupted_run_keeps_what_it_has_done(meeting: Meeting) -> None:
    second = meeting.calls({"log": ["second"], "n": 0}, on_busy="interrupt")
    meeting.until_queued()
    assert meeting.end(second)[0]["log"] == ["first", "slow", "second", "slow", "after"]
    with pytest.raises(GraphDrained, match=r"another run wants the thread, with `on_busy='interrupt'`"):
        meeting.first.result(SECONDS)


def test_a_rolled_back_run_becomes_a_branch(meeting: Meeting) -> None:
    second = meeting.calls({"log": ["second"], "n": 0}, on_busy="rollback")
    assert second.result(SECONDS)["log"] == ["second", "slow", "after"]
    with pytest.raises(ThreadConflict, match="moved on by another run"):
        meeting.end(meeting.first)
    assert meeting.face.get_state(meeting.graph, meeting.thread).values["log"] == ["second", "slow", "after"]
    names = [(branch.name, branch.steps, branch.current) for branch in meeting.graph.branches(meeting.thread)]
    assert names == [("branch-1", 4, True), ("main", 2, False)]


def test_a_rollback_begins_where_the_other_run_began(face: Face, saver: Saver, thread: Config) -> None:
    quick = StateGraph(Log).add_node("slow", says("quick")).add_edge(START, "slow").compile(saver)
    face.invoke(quick, {"log": ["before"]}, thread)
    meeting = Meeting(face, saver, thread)
    second = meeting.calls({"log": ["second"], "n": 0}, on_busy="rollback")
    assert second.result(SECONDS)["log"] == ["before", "quick", "second", "slow", "after"]
    with pytest.raises(ThreadConflict):
        meeting.end(meeting.first)


def test_one_that_finds_nothing_to_do_leaves_the_queue(meeting: Meeting) -> None:
    second = meeting.calls(None, on_busy="enqueue")
    meeting.until_queued()
    assert meeting.end(second)[0]["log"] == ["first", "slow", "after"]
    assert waiting(meeting.saver) == []


def test_one_whose_thread_is_taken_before_it_has_begun_waits_again(face: Face, thread: Config) -> None:
    """What is refused is its second write: the first has taken the thread."""

    class Taken(MemoryStorage):
        refused = 0

        def commit(self, batch: Batch) -> bool:
            if going_back and batch.row is not None and not self.refused:
                self.refused += 1
                self._threads[batch.thread].epoch += 1
            return super().commit(batch)

    going_back: list[int] = []
    storage = Taken()
    graph = line(("inner", line("a", "b")), checkpointer=Saver(storage))
    face.invoke(graph, {"log": []}, thread)
    before = next(state for state in face.history(graph, thread) if state.next == ("inner",))
    at_b = next(state for state in face.history(graph, before.tasks[0].state) if state.next == ("b",))
    going_back.append(1)
    assert face.invoke(graph, None, at_b.config, on_busy="enqueue")["log"] == ["a", "b"]
    assert storage.refused == 1


def test_other_threads_are_not_concerned(meeting: Meeting) -> None:
    other = {"configurable": {"thread_id": "2"}}
    assert meeting.face.invoke(meeting.graph, {"log": []}, other)["log"] == ["slow", "after"]
    meeting.end(meeting.first)


def test_waiting_does_not_block_the_loop(saver: Saver, thread: Config) -> None:
    async def story() -> list[str]:
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def slow(state: Log) -> Log:
            begun.set()
            await may_end.wait()
            return {"log": ["slow"]}

        graph = StateGraph(Log).add_node(slow).add_edge(START, "slow").compile(saver)
        first = asyncio.ensure_future(graph.ainvoke({"log": ["first"]}, thread))
        await begun.wait()
        second = asyncio.ensure_future(graph.ainvoke({"log": ["second"]}, thread, on_busy="enqueue"))
        while not waiting(saver):
            await asyncio.sleep(0)
        may_end.set()
        await first
        return (await second)["log"]

    assert asyncio.run(story()) == ["first", "slow", "second", "slow"]


def test_a_node_that_calls_its_own_thread_is_told_so(face: Face, saver: Saver, thread: Config) -> None:
    def calls_itself(state: Log) -> Log:
        for on_busy in ("reject", "enqueue", "interrupt", "rollback"):
            with pytest.raises(ThreadConflict, match="the very run that this call is made in"):
                graph.invoke({"log": []}, thread, on_busy=on_busy)
        return {"log": ["told"]}

    graph = StateGraph(Log).add_node(calls_itself).add_edge(START, "calls_itself").compile(saver)
    assert face.invoke(graph, {"log": []}, thread)["log"] == ["told"]


# -- giving back ----------------------------------------------------------------------------------------------------


def fails(state: Log) -> Log:
    raise OSError("failed")


def asks(state: Log) -> Log:
    return {"log": [interrupt("?")]}


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("node", [says("ends"), fails, asks])
def test_however_a_run_ends_it_gives_its_thread_back(
    face: Face, saver: Saver, thread: Config, node: Callable[..., Any], durability: Any
) -> None:
    graph = StateGraph(Log).add_node("node", node).add_edge(START, "node").compile(saver)
    for _ in range(2):
        try:
            face.invoke(graph, {"log": []}, thread, durability=durability)
        except OSError:
            assert node is fails
    assert not held()
    quick = StateGraph(Log).add_node("node", says("quick")).add_edge(START, "node").compile(Saver(saver.storage))
    assert face.invoke(quick, {"log": []}, thread)["log"][-1] == "quick"


def held() -> list[bytes]:
    return list(LEASES._held)  # pyright: ignore[reportPrivateUsage]


def test_a_stream_that_is_left_open_has_the_thread_until_it_is_closed(saver: Saver, thread: Config) -> None:
    graph = StateGraph(Log).add_sequence([("a", says("a")), ("b", says("b"))]).add_edge(START, "a").compile(saver)
    stream: Any = graph.stream({"log": []}, thread)
    next(stream)
    with pytest.raises(ThreadConflict):
        graph.invoke({"log": []}, thread)
    stream.close()
    assert graph.invoke(None, thread)["log"] == ["a", "b"]


def test_a_run_that_is_stopped_by_the_keyboard_gives_its_thread_back(face: Face, saver: Saver, thread: Config) -> None:
    pressed: list[int] = []

    def stopped(state: Log) -> Log:
        if not pressed:
            pressed.append(1)
            raise KeyboardInterrupt
        return {"log": ["went on"]}

    graph = StateGraph(Log).add_node(stopped).add_edge(START, "stopped").compile(saver)
    with pytest.raises(KeyboardInterrupt):
        face.invoke(graph, {"log": []}, thread)
    assert face.invoke(graph, None, thread)["log"] == ["went on"]


def test_a_cancelled_run_gives_its_thread_back(saver: Saver, thread: Config) -> None:
    async def story() -> None:
        begun = asyncio.Event()

        async def slow(state: Log) -> Log:
            begun.set()
            await asyncio.Event().wait()
            return {}

        graph = StateGraph(Log).add_node(slow).add_edge(START, "slow").compile(saver)
        call = asyncio.ensure_future(graph.ainvoke({"log": []}, thread))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(story())
    assert not held()
    quick = StateGraph(Log).add_node("slow", says("quick")).add_edge(START, "slow").compile(saver)
    assert quick.invoke(None, thread)["log"] == ["quick"]


def test_a_lease_costs_no_commit_of_its_own(face: Face, thread: Config) -> None:
    storage = CountingStorage()
    graph = StateGraph(Log).add_sequence([("a", says("a")), ("b", says("b"))]).add_edge(START, "a").compile(Saver(storage))
    face.invoke(graph, {"log": []}, thread)
    assert storage.commits == 3
    face.invoke(graph, None, thread)
    assert storage.commits == 3, "nothing is pending, so nothing is taken"


def test_a_thread_that_is_taken_while_its_turn_is_read_is_waited_for(meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes without having stood in the queue may be in time between a waiter's turn and what it reads then."""
    load, taken, third = Waiting.load, threading.Event(), list[Future[Any]]()

    async def loading(*args: Any) -> Any:
        found = await load(*args)
        if found.lease is None and not taken.is_set():
            taken.set()
            meeting.begun.clear()
            meeting.may_end.clear()
            third.append(meeting.calls({"log": ["third"], "n": 1}))
            assert meeting.begun.wait(SECONDS)
        return found

    second = meeting.calls({"log": ["second"], "n": 0}, on_busy="enqueue")
    meeting.until_queued()
    monkeypatch.setattr(Waiting, "load", loading)
    meeting.end(meeting.first)
    assert taken.wait(SECONDS)
    for _ in range(3):
        meeting.until_queued()
    assert not second.done()
    assert meeting.end(third[0], second)[1]["log"] == [
        *("first", "slow", "after"),
        *("third", "slow", "after"),
        *("second", "slow", "after"),
    ]


def test_a_lease_is_respected_before_its_owner_hears_that_it_was_written(face: Face, saver: Saver, thread: Config) -> None:
    graph = StateGraph(Log).add_node("node", says("node")).add_edge(START, "node").compile(saver)
    commit, refused = saver.storage.commit, list[ThreadConflict]()

    def committing(batch: Batch) -> bool:
        found = commit(batch)
        if batch.claim and batch.lease and not refused:
            refused.append(ThreadConflict())
            with pytest.raises(ThreadConflict, match="is being run already"):
                graph.invoke({"log": ["too early"]}, thread)
        return found

    saver.storage.commit = committing  # pyright: ignore[reportAttributeAccessIssue]
    assert face.invoke(graph, {"log": []}, thread)["log"] == ["node"]
    assert refused


# -- leases ---------------------------------------------------------------------------------------------------------


def test_a_lease_that_has_ended_is_taken_over(face: Face, thread: Config) -> None:
    """What the store has of a run of another machine, that is."""
    saver: Any = InMemorySaver(lease=0.001)
    graph = StateGraph(Log).add_node("node", says("x")).add_edge(START, "node").compile(saver)
    face.invoke(graph, {"log": []}, thread)
    row = saver.storage._threads["1"]
    row.epoch, row.lease, row.until = row.epoch + 1, Lease(b"run", "another/machine 1 1", None, 30.0), float("inf")
    with pytest.raises(ThreadConflict):
        face.invoke(graph, {"log": []}, thread)
    row.until = 0.0
    assert face.invoke(graph, {"log": []}, thread)["log"] == ["x", "x"]


def test_a_run_that_is_longer_than_its_lease_has_it_renewed(face: Face, thread: Config) -> None:
    saver = InMemorySaver(lease=0.03)
    storage: Any = saver.storage
    renewed = threading.Semaphore(0)
    commit = storage.commit

    def committing(batch: Any) -> bool:
        found = commit(batch)
        if batch.lease and not batch.claim:
            renewed.release()
        return found

    storage.commit = committing

    def long(state: Log) -> Log:
        for _ in range(3):
            assert renewed.acquire(timeout=SECONDS)
        with pytest.raises(ThreadConflict):
            elsewhere(lambda: graph.invoke({"log": []}, thread))
        return {"log": ["long"]}

    graph = StateGraph(Log).add_node(long).add_edge(START, "long").compile(saver)
    assert face.invoke(graph, {"log": []}, thread)["log"] == ["long"]


def test_a_lease_is_a_time_above_zero() -> None:
    with pytest.raises(ValueError, match="lease is 0: expected seconds above 0"):
        InMemorySaver(lease=0)


def test_processes_are_told_apart_and_the_dead_are_known() -> None:
    assert not is_gone(this_process())
    machine, pid, started = this_process().rsplit(" ", 2)
    assert is_gone(f"{machine} {pid} {started}0"), "the number was used again"
    assert not is_gone(f"elsewhere {pid} {started}0"), "of another machine nothing is known"
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert child.stdin is not None
    owner = f"{machine} {child.pid} {started_at(child.pid)}"
    assert not is_gone(owner)
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_gone(owner), "a zombie runs no more"
    child.wait()
    assert is_gone(owner)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_is_a_process_of_its_own() -> None:
    parent = this_process()
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writes, b"own" if this_process() != parent and not held() else b"the parent's")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reads, 20) == b"own"
