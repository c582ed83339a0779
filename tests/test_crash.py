"""Crashes: at every storage call, in any order of completion, and for real, with `kill -9` and with a process put to sleep."""

import asyncio
import operator
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.graphs import Log, says

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import InMemorySaver, MemoryStorage
from clew.checkpoint.sqlite import SqliteSaver, SqliteStorage
from clew.checkpoint.storage import Batch, Storage
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.runtime.drive import drive
from clew.testing import ScriptedHost, crash_everywhere
from clew.testing.values import orders
from clew.types import Command, Send

THREAD: dict[str, Any] = {"configurable": {"thread_id": "1"}}


def busy(saver: Saver | None, defer: bool = True) -> CompiledStateGraph:
    """Branches, a join, Sends, a router that loops, a deferred node."""

    def again(state: Log) -> Any:
        return "e" if len(state.get("log", [])) < 12 else []

    builder = StateGraph(Log)
    for name in ("a", "b", "c", "e"):
        builder.add_node(name, says(name))
    builder.add_node("z", says("z"), defer=defer)
    builder.add_node("d", lambda state: Command(update={"n": 1}, goto=[Send("w", i) for i in range(3)]))
    builder.add_node("w", lambda number: {"log": [f"w{number}"]})
    builder.add_edge(START, "a").add_edge("a", "b").add_edge("a", "c").add_edge(["b", "c"], "d").add_edge("a", "z")
    builder.add_edge("d", "e").add_conditional_edges("e", again)
    return builder.compile(saver)


# -- in this process ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [drive, asyncio.run], ids=["sync", "async"])
@pytest.mark.parametrize("kind", ["memory", pytest.param("sqlite", marks=pytest.mark.slow)])
def test_a_crash_at_any_storage_call_costs_nothing_that_was_kept(kind: str, run: Any, tmp_path: Path) -> None:
    files = iter(range(1000))

    def storage() -> Storage:
        if kind == "memory":
            return MemoryStorage()
        return SqliteStorage(str(tmp_path / f"{next(files)}.db"), synchronous="off", timeout=1)

    assert crash_everywhere(busy, {"log": ["in"]}, storage=storage, run=run) > 30


def test_crash_everywhere_finds_a_storage_that_loses_what_it_kept() -> None:
    class Forgetful(MemoryStorage):
        def commit(self, batch: Batch) -> bool:
            if batch.row is None:
                batch.kept = []
            return super().commit(batch)

    with pytest.raises(AssertionError, match=r"crashed (before|after) storage call \d+.* ran"):
        crash_everywhere(busy, {"log": ["in"]}, storage=Forgetful)


@settings(max_examples=60, deadline=None)
@given(orders(), st.booleans())
def test_the_order_of_completion_does_not_matter(choose: Callable[[int], int], kept: bool) -> None:
    saver = InMemorySaver() if kept else None
    graph = busy(saver)
    found = drive(graph.run_on(ScriptedHost(choose), THREAD).finish({"log": ["in"]}))
    assert found == busy(None).invoke({"log": ["in"]})
    if saver:
        assert graph.get_state(THREAD).values == found


Drawing = tuple[int, list[list[int]], list[list[int]], list[list[int]], set[int]]


@st.composite
def drawings(draw: st.DrawFn) -> Drawing:
    """Random graphs that end: edges, joins and Sends lead to nodes of a higher number only."""
    size = draw(st.integers(3, 7))
    number = st.integers(0, size - 1)

    def rising(length: int, most: int) -> Any:
        return draw(st.lists(st.sets(number, min_size=length, max_size=length).map(sorted), max_size=most))

    return size, rising(2, 10), rising(3, 3), rising(2, 4), draw(st.sets(number, max_size=2))


def built(drawing: Drawing, saver: Saver | None) -> CompiledStateGraph:
    size, edges, joins, sends, deferred = drawing
    builder = StateGraph(Log)
    for i in range(size):
        targets = [Send(f"n{target}", {"sent": i}) for source, target in sends if source == i]
        writes = {"log": [f"n{i}"]}
        builder.add_node(f"n{i}", lambda state, w=writes, t=targets: Command(update=w, goto=t), defer=i in deferred)
    builder.add_edge(START, "n0").add_edge(START, "n1")
    for source, target in edges:
        builder.add_edge(f"n{source}", f"n{target}")
    for first, second, target in joins:
        builder.add_edge([f"n{first}", f"n{second}"], f"n{target}")
    return builder.compile(saver)


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(drawings(), orders())
def test_any_graph_ends_alike_in_any_order_on_both_faces(drawing: Drawing, choose: Callable[[int], int]) -> None:
    expected = built(drawing, None).invoke({"log": ["in"]})
    graph = built(drawing, InMemorySaver())
    assert drive(graph.run_on(ScriptedHost(choose), THREAD).finish({"log": ["in"]})) == expected
    assert asyncio.run(built(drawing, None).ainvoke({"log": ["in"]})) == expected
    assert built(drawing, Saver(_storage(graph))).get_state(THREAD).values == expected


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(drawings())
def test_any_graph_survives_a_crash_anywhere(drawing: Drawing) -> None:
    crash_everywhere(lambda saver: built(drawing, saver), {"log": ["in"]})


def _storage(graph: CompiledStateGraph) -> Storage:
    assert isinstance(graph.checkpointer, Saver)
    return graph.checkpointer.storage


# -- for real -------------------------------------------------------------------------------------------------------

NURSERY = """
import operator, os, random, signal, sys, time
from typing import Annotated, TypedDict
from clew.checkpoint.sqlite import SqliteSaver
from clew.graph import START, StateGraph

class Log(TypedDict):
    log: Annotated[list[str], operator.add]
    n: int

def graph(saver, note):
    builder = StateGraph(Log)
    def node(i):
        def step(state):
            note(f"ran {i}")
            return {"log": [f"step {i}"], "n": state["n"] + i}
        return step
    builder.add_sequence([(f"n{i}", node(i)) for i in range(50)])
    return builder.add_edge(START, "n0").compile(saver)

def run(saver, thread, note, given):
    config = {"configurable": {"thread_id": thread}}
    for mode, chunk in graph(saver, note).stream(given, config, stream_mode=["updates", "values"]):
        if mode == "updates":
            note(f"kept {next(iter(chunk))[1:]}")
"""

KILLER = (
    NURSERY
    + """
db, notes, rounds, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
chance = random.Random(seed)
with SqliteSaver(db) as saver:
    run(saver, "calm", lambda text: None, {"log": [], "n": 0})
started = time.perf_counter()
with SqliteSaver(db) as saver:
    run(saver, "measured", lambda text: None, {"log": [], "n": 0})
whole = time.perf_counter() - started
for number in range(rounds):
    pid = os.fork()
    if pid == 0:
        file = os.open(f"{notes}/{number}", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        run(SqliteSaver(db), str(number), lambda text: os.write(file, (text + "\\n").encode()), {"log": [], "n": 0})
        os._exit(0)
    time.sleep(chance.uniform(0, whole))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
"""
)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_kill_9_at_a_random_moment_and_the_end_is_as_if_nothing_had_happened(seed: int, tmp_path: Path) -> None:
    """25 rounds for each seed: a child runs fifty steps and is killed; this process resumes what it left."""
    db = tmp_path / "threads.db"
    (notes := tmp_path / "notes").mkdir()
    subprocess.run([sys.executable, "-c", KILLER, str(db), str(notes), "25", str(seed)], check=True)
    space: dict[str, Any] = {}
    exec(NURSERY, space)
    with SqliteSaver(db) as saver:
        calm = space["graph"](saver, None).get_state({"configurable": {"thread_id": "calm"}}).values
        cut_short = 0
        for number in range(25):
            heard = (notes / str(number)).read_text().splitlines() if (notes / str(number)).exists() else []
            config = {"configurable": {"thread_id": str(number)}}
            graph = space["graph"](saver, heard.append)
            begun = graph.get_state(config).metadata is not None
            cut_short += begun and "kept 49" not in heard
            assert graph.invoke(None if begun else {"log": [], "n": 0}, config) == calm
            for step in range(50):
                if (kept := f"kept {step}") in heard:
                    assert f"ran {step}" not in heard[heard.index(kept) :], (
                        f"round {number}: step {step} was kept and ran again"
                    )
    assert cut_short > 2  # otherwise this has tested nothing


SLEEPER = """
import os, signal, sys
from typing import Any, TypedDict
from clew.checkpoint.sqlite import SqliteSaver
from clew.errors import ThreadConflict
from clew.graph import START, StateGraph

class State(TypedDict, total=False):
    x: Any
    y: Any

def sleeps(state):
    if os.environ.get("SLEEPS"):
        os.kill(os.getpid(), signal.SIGSTOP)
    return {"x": "from " + sys.argv[2]}

builder = StateGraph(State).add_node("sleeps", sleeps).add_edge(START, "sleeps")
if sys.argv[3] == "parallel":
    builder.add_node("sibling", lambda state: {"y": "sibling"}).add_edge(START, "sibling")
graph = builder.compile(SqliteSaver(sys.argv[1], lease=0.5))
try:
    # one at a time, so that the sibling is kept and no lock is held when this process is put to sleep
    config = {"configurable": {"thread_id": "1"}, "max_concurrency": 1}
    graph.invoke({"x": sys.argv[2]}, config, on_busy="enqueue")  # the other waits until the sleeper's lease has ended
except ThreadConflict:
    sys.exit(42)
"""


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["alone", "parallel"])
def test_a_process_that_slept_while_another_went_on_overwrites_nothing(shape: str, tmp_path: Path) -> None:
    db = str(tmp_path / "threads.db")
    sleeper = subprocess.Popen([sys.executable, "-c", SLEEPER, db, "sleeper", shape], env={**os.environ, "SLEEPS": "1"})
    _, status = os.waitpid(sleeper.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    subprocess.run([sys.executable, "-c", SLEEPER, db, "other", shape], check=True)
    before = dump(db)
    os.kill(sleeper.pid, signal.SIGCONT)
    assert sleeper.wait(30) == 42
    assert dump(db) == before
    assert "from other" in repr(before)
    assert "from sleeper" not in repr(before)


def dump(db: str) -> dict[str, list[Any]]:
    """Every row of every table."""
    with closing(sqlite3.connect(db)) as connection:
        tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        return {table: connection.execute(f"select * from {table}").fetchall() for table in tables}


RIVAL = """
import operator, sys
from typing import Annotated, TypedDict
from clew.checkpoint.sqlite import SqliteSaver
from clew.errors import ThreadConflict
from clew.graph import START, StateGraph

class State(TypedDict):
    log: Annotated[list[str], operator.add]

builder = StateGraph(State).add_node("node", lambda state: {"log": [state["log"][-1] + " answered"]}).add_edge(START, "node")
graph = builder.compile(SqliteSaver(sys.argv[1], synchronous="normal"))
for number in range(int(sys.argv[3])):
    sys.stdin.readline()
    try:
        graph.invoke({"log": [f"{sys.argv[2]}{number}"]}, {"configurable": {"thread_id": "1"}})
        print("kept", flush=True)
    except ThreadConflict:
        print("conflict", flush=True)
"""


@pytest.mark.slow
def test_two_processes_on_one_thread_lose_nothing_that_was_returned(tmp_path: Path) -> None:
    """200 rounds, both at once: each success is in the final state, each loser was told so."""
    db, rounds = str(tmp_path / "threads.db"), 200
    rivals = [
        subprocess.Popen(
            [sys.executable, "-c", RIVAL, db, name, str(rounds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in "ab"
    ]
    said: list[list[str]] = [[], []]
    for _ in range(rounds):
        for rival in rivals:
            assert rival.stdin is not None
            rival.stdin.write("go\n")
            rival.stdin.flush()
        for rival, heard in zip(rivals, said, strict=True):
            assert rival.stdout is not None
            heard.append(rival.stdout.readline().strip())
    for rival in rivals:
        rival.communicate()
        assert rival.returncode == 0
    assert {word for heard in said for word in heard} == {"kept", "conflict"}

    class State(TypedDict):
        log: Annotated[list[str], operator.add]

    with SqliteSaver(db) as saver:
        graph = StateGraph(State).add_node("node", says("")).add_edge(START, "node").compile(saver)
        log = graph.get_state(THREAD).values["log"]
    for name, heard in zip("ab", said, strict=True):
        for number, word in enumerate(heard):
            assert log.count(f"{name}{number} answered") == (word == "kept"), f"round {number} of {name} was {word}"


@pytest.mark.slow
def test_ten_processes_may_make_the_same_file_at_once(tmp_path: Path) -> None:
    code = RIVAL.replace('"thread_id": "1"', '"thread_id": sys.argv[2]')
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "new.db"), str(i), "1"], stdin=subprocess.PIPE, text=True)
        for i in range(10)
    ]
    for child in children:
        child.communicate("go\n")
    assert [child.returncode for child in children] == [0] * 10
    with SqliteSaver(tmp_path / "new.db") as saver:
        assert len(saver.threads()) == 10


def test_a_forked_child_opens_the_file_anew(tmp_path: Path) -> None:
    with SqliteSaver(tmp_path / "threads.db") as saver:
        graph = busy(saver)
        graph.invoke({}, THREAD)
        assert in_a_fork(lambda: graph.invoke({}, {"configurable": {"thread_id": "child"}})) == 0
        assert {row.thread for row in saver.threads()} == {"1", "child"}


def in_a_fork(job: Callable[[], Any]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            job()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
