"""What the threads of graphs come to over a saver: kept, found again, told apart, never lost. See `clew.testing.savers`."""

import datetime as dt
import multiprocessing
import operator
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from functools import partial
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, TypedDict
from uuid import UUID

from clew.checkpoint.base import Saver
from clew.checkpoint.storage import Storage
from clew.checkpoint.through import Through
from clew.constants import START
from clew.errors import ThreadConflict
from clew.graph.compiled import CompiledStateGraph
from clew.graph.state import StateGraph
from clew.testing.crash import THREAD, crash_everywhere
from clew.testing.faces import SYNC
from clew.testing.savers import Make, Subject, clause, heavy
from clew.types import Command, Interrupt, Send, interrupt

VALUES: Final[dict[str, Any]] = {
    "none": None, "true": True, "int": -(1 << 63), "big": 1 << 200, "float": 0.1, "text": "naïve\0𝄞", "bytes": b"\0\xff",
    "bytearray": bytearray(b"x"), "tuple": (1, ("a",)), "list": [1, [2]], "set": {1, "a"}, "frozenset": frozenset({1}),
    "deque": deque([1, 2], 5), "dict": {"a": 1, 2: "b", (3,): None}, "complex": 1j, "decimal": Decimal("1.10"),
    "when": dt.datetime(2026, 1, 2, 3, 4, 5, 6, dt.UTC), "day": dt.date(2026, 1, 2), "span": dt.timedelta(1, 2, 3),
    "uuid": UUID(int=7), "path": PurePosixPath("/a/b"), "command": Command(goto="x"), "send": Send("x", {"a": 1}),
}  # fmt: skip
SPAWN: Final = multiprocessing.get_context("spawn")


class Log(TypedDict, total=False):
    """The state of the graphs below: a list that grows, and a value that is replaced."""

    log: Annotated[list[Any], operator.add]
    value: Any


def counts(state: Log) -> Log:
    return {"log": [len(state.get("log", ()))]}


def says(word: Any) -> Callable[[Log], Log]:
    return lambda state: {"log": [word]}


def line(saver: Saver, *nodes: str | tuple[str, Any]) -> CompiledStateGraph:
    """Nodes one after the other, each of which says its name, or does what is given."""
    builder, last = StateGraph(Log), START
    for node in nodes:
        name, action = (node, says(node)) if isinstance(node, str) else node
        builder.add_node(name, action).add_edge(last, name)
        last = name
    return builder.compile(saver)


# -- kept and found ---------------------------------------------------------------------------------------------------


@clause
def a_thread_goes_on_elsewhere(on: Subject) -> None:
    """What one saver has kept another one goes on from; a thread of another name knows nothing of it."""
    for turn in range(3):
        graph = line(on.saver(), "a", "b")
        state = on.face.invoke(graph, {"log": [turn]}, on.config())
        assert state["log"] == [word for n in range(turn + 1) for word in (n, "a", "b")]
    other = line(on.saver(), "a", "b")
    assert on.face.invoke(other, {"log": [9]}, on.config("other"))["log"] == [9, "a", "b"]
    assert on.face.get_state(other, on.config()).values["log"] == [0, "a", "b", 1, "a", "b", 2, "a", "b"]


@clause
def values_come_back_as_they_were(on: Subject) -> None:
    """Values of every kind come back equal and of the same type, as input, as a node's result and in the history."""

    def gives(state: Log) -> Log:
        return {"value": dict(VALUES)}

    graph = line(on.saver(), ("a", gives))
    on.face.invoke(graph, {"log": list(VALUES.values())}, on.config())
    reader = line(on.saver(), "a")
    state = on.face.get_state(reader, on.config()).values
    history = on.face.history(reader, on.config())
    for found in (state["value"], dict(zip(VALUES, state["log"], strict=True)), history[0].values["value"]):
        for name, value in VALUES.items():
            assert (type(found[name]), found[name]) == (type(value), value), name
    assert state["value"]["deque"].maxlen == 5
    assert history[-1].values == {} or history[-1].values == {"log": []}


@clause
def a_message_is_stored_once(on: Subject) -> None:
    """The bytes of a thread grow by what is new, not by what is there: twice the turns are about twice the bytes."""

    def grows(state: Log) -> Log:
        return {"log": ["x" * 2000 + str(len(state.get("log", ())))]}

    saver = on.saver()
    graph = line(saver, ("a", grows))
    sizes: list[int] = []
    for turn in range(20):
        on.face.invoke(graph, {"log": ["y" * 2000 + str(turn)]}, on.config())
        sizes.append(saver.storage.weigh(on.thread()).bytes)
    assert sizes[19] < 2.2 * sizes[9], sizes
    assert sizes[19] < 20 * 4000 * 1.3, sizes


@clause
def history_is_listed_and_filtered(on: Subject) -> None:
    """A history is newest first, in full, up to a limit, before a checkpoint, and by what its metadata say."""
    graph = line(on.saver(), "a", "b")
    for turn in range(3):
        on.face.invoke(graph, {"log": [turn]}, {**on.config(), "metadata": {"turn": turn}})
    reader = line(on.saver(), "a", "b")
    listed = on.face.history(reader, on.config())
    assert [(one.metadata or {})["step"] for one in listed] == [*range(10, -2, -1)]
    assert on.face.history(reader, on.config(), limit=2) == listed[:2]
    assert on.face.history(reader, on.config(), before=listed[3].config, limit=3) == listed[4:7]
    found = on.face.history(reader, on.config(), filter={"turn": 1})
    assert found == listed[4:8]
    assert on.face.history(reader, on.config(), filter={"turn": 1, "source": "input"}) == listed[7:8]


@clause
def forks_are_kept_side_by_side(on: Subject) -> None:
    """Two savers that go on from the same older checkpoint make two branches, and neither loses what was there."""
    graph = line(on.saver(), "a", "b")
    on.face.invoke(graph, {"log": [0]}, on.config())
    old = on.face.history(graph, on.config())[1]
    for word in ("one", "two"):
        fork = line(on.saver(), "a", ("b", says(word)))
        assert on.face.invoke(fork, None, old.config)["log"] == [0, "a", word]
    branches = on.face.branches(line(on.saver(), "a", "b"), on.config())
    logs = [on.face.get_state(graph, branch.head).values["log"] for branch in branches]
    assert sorted(logs) == sorted([[0, "a", "b"], [0, "a", "one"], [0, "a", "two"]])
    assert on.face.get_state(graph, on.config()).values["log"] == [0, "a", "two"]


@clause
def questions_are_answered_elsewhere(on: Subject) -> None:
    """A question that one saver has kept is answered through another; the node before it is not run again."""
    runs: list[str] = []

    def ask(state: Log) -> Log:
        return {"log": [interrupt("sure?")]}

    def before(state: Log) -> Log:
        runs.append("before")
        return {"log": ["before"]}

    def build() -> CompiledStateGraph:
        return line(on.saver(), ("before", before), ("ask", ask), "after")

    asked: list[Interrupt] = on.face.invoke(build(), {"log": []}, on.config())["__interrupt__"]
    assert [question.value for question in asked] == ["sure?"]
    assert on.face.get_state(build(), on.config()).interrupts == tuple(asked)
    ended = on.face.invoke(build(), Command(resume={asked[0].id: "yes"}), on.config())
    assert ended["log"] == ["before", "yes", "after"]
    assert runs == ["before"]
    assert on.face.get_state(build(), on.config()).interrupts == ()


@clause
def finished_work_is_not_done_again(on: Subject) -> None:
    """What had finished beside a node that failed is kept, and another saver goes on without running it again."""
    runs: list[str] = []

    def build(*, fails: bool) -> CompiledStateGraph:
        def fail(state: Log) -> Log:
            runs.append("fails")
            if fails:
                raise ArithmeticError
            return {"log": ["mended"]}

        builder = StateGraph(Log).add_node("works", lambda state: runs.append("works") or {"log": ["worked"]})
        builder.add_node("fails", fail).add_edge(START, "works").add_edge(START, "fails")
        return builder.add_node("after", says("after")).add_edge(["works", "fails"], "after").compile(on.saver())

    for _ in range(2):
        with suppress(ArithmeticError):
            on.face.invoke(build(fails=True), None if runs else {"log": [0]}, on.config())
    assert on.face.invoke(build(fails=False), None, on.config())["log"] == [0, "mended", "worked", "after"]
    assert (runs.count("works"), runs.count("fails")) == (1, 3)


@clause
def graphs_within_remember(on: Subject) -> None:
    """A graph within a node keeps its own memory under its namespace, from one saver to the next."""
    for turn in range(2):
        child = StateGraph(Log).add_node("c", counts).add_edge(START, "c")
        graph = line(on.saver(), ("child", child.compile(checkpointer=True)))
        on.face.invoke(graph, {"log": [turn]}, on.config())
    assert len([space for space in on.saver().storage.spaces(on.thread()) if space.head]) == 2
    state = on.face.get_state(line(on.saver(), "child"), on.config())
    assert state.values["log"][-1] == 6, "what it had before, and what it was given"


@clause
def a_thread_is_deleted(on: Subject) -> None:
    """A thread that is deleted is as if it had never been, for savers that knew it too."""
    knew, other = on.saver(), on.saver()
    for name in ("gone", "stays"):
        on.face.invoke(line(knew, "a"), {"log": [name]}, on.config(name))
    other.delete_thread(on.thread("gone"))
    assert on.face.history(line(knew, "a"), on.config("gone")) == []
    assert on.face.invoke(line(knew, "a"), {"log": ["new"]}, on.config("gone"))["log"] == ["new", "a"]
    assert on.face.get_state(line(other, "a"), on.config("stays")).values["log"] == ["stays", "a"]


# -- two writers ------------------------------------------------------------------------------------------------------


def apart(fn: Callable[[], Any]) -> Any:
    """Calls `fn` as somebody else would: in a thread that is part of no run."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(fn).result()


@clause
def a_run_that_was_overtaken_overwrites_nothing(on: Subject) -> None:
    """A run that sleeps while another one takes its thread over is told when it wakes, and nothing of the other's is lost."""

    def sleeps(state: Log) -> Log:
        apart(lambda: SYNC.invoke(line(on.saver(), "b"), {"log": ["other"]}, on.config(), on_busy="rollback"))
        return {"log": ["slept"]}

    try:
        on.face.invoke(line(on.saver(), ("sleeps", sleeps), "after"), {"log": [0]}, on.config())
    except ThreadConflict:
        pass
    else:
        raise AssertionError("a run went on that had lost its thread")
    assert on.face.get_state(line(on.saver(), "b"), on.config()).values["log"] == ["other", "b"]
    assert on.face.invoke(line(on.saver(), "b"), {"log": ["more"]}, on.config())["log"] == ["other", "b", "more", "b"]


@clause
def a_busy_thread_says_so(on: Subject) -> None:
    """While one run has a thread another one is refused before it has done anything, and may wait in line instead."""
    refused: list[str] = []

    def inner(state: Log) -> Log:
        try:
            apart(lambda: SYNC.invoke(line(on.saver(), "b"), {"log": ["no"]}, on.config()))
        except ThreadConflict as error:
            refused.append(str(error))
        return {"log": ["first"]}

    assert on.face.invoke(line(on.saver(), ("inner", inner)), {"log": []}, on.config())["log"] == ["first"]
    assert "on_busy" in refused[0]
    assert on.face.invoke(line(on.saver(), "b"), {"log": []}, on.config(), on_busy="enqueue")["log"] == ["first", "b"]


def count_up(make: Make, thread: str, rounds: int) -> int:
    """So many turns on a thread that others use as well, each of which waits for its turn. Returns how many were done."""
    with make() as saver:
        graph = line(saver, ("add", counts))
        for _ in range(rounds):
            graph.invoke({"log": []}, {"configurable": {"thread_id": thread}}, on_busy="enqueue")
    return rounds


def lost_updates(on: Subject, pool: Executor, writers: int, rounds: int) -> None:
    """Writers that each count up so many times: every count is there once."""
    done = list(pool.map(partial(count_up, on.make), [on.thread()] * writers, [rounds] * writers))
    state = on.face.get_state(line(on.saver(), "add"), on.config())
    assert state.values["log"] == list(range(sum(done)))
    assert len(on.face.history(line(on.saver(), "add"), on.config())) == 3 * sum(done)


@clause
def threads_lose_no_update(on: Subject) -> None:
    """Savers in several threads that write to one thread one after the other lose nothing of each other's."""
    with ThreadPoolExecutor(4) as pool:
        lost_updates(on, pool, 4, 5)


@heavy
def processes_lose_no_update(on: Subject) -> None:
    """Several processes that write to one thread one after the other lose nothing of each other's."""
    with ProcessPoolExecutor(3, SPAWN) as pool:
        lost_updates(on, pool, 3, 5)


# -- crashes ----------------------------------------------------------------------------------------------------------


class Lasting(Through):
    """A storage that outlives a crash: who closes it closes nothing."""

    def close(self) -> None:
        pass


@clause
def a_crash_between_any_two_calls_loses_nothing(on: Subject) -> None:
    """Whatever storage call a process dies at, before or after it, another one ends as if nothing had happened."""

    def build(saver: Saver) -> CompiledStateGraph:
        builder = StateGraph(Log).add_node("work", lambda item: {"log": [f"did {item}"]})
        builder.add_node("ask", lambda state: {"log": [interrupt("go on?")]}).add_node("last", says("last"))
        builder.add_conditional_edges(START, lambda state: [Send("work", n) for n in range(2)])
        return builder.add_edge("work", "ask").add_edge("ask", "last").compile(saver)

    saver = on.saver()

    def empty() -> Storage:
        saver.delete_thread(THREAD["thread_id"])
        return Lasting(saver.storage)

    tried = crash_everywhere(build, {"log": ["in"]}, storage=empty)
    assert tried >= 20
    saver.delete_thread(THREAD["thread_id"])
