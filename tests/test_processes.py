"""One thread, several real processes: refused, queued, killed, put to sleep, and racing for one question."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.graphs import Log, says

from clew.checkpoint.sqlite import SqliteSaver
from clew.graph import START, StateGraph

pytestmark = pytest.mark.slow
SECONDS = 20.0  # after which a test that waits in vain fails

SCRIPT = """
import operator, os, sys
from typing import Annotated, TypedDict
from clew.checkpoint.sqlite import SqliteSaver
from clew.checkpoint.storage import Lease
from clew.errors import ThreadConflict
from clew.graph import START, StateGraph
from clew.types import Command, interrupt

class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    kind: str

def first(state):
    return {"log": ["first"]}

def second(state):
    if state.get("kind") == "waits":
        print("waiting", flush=True)
        sys.stdin.readline()
    if state.get("kind") == "asks":
        answer = interrupt("?")
        print("answered", flush=True)
        return {"log": [answer]}
    return {"log": ["second"]}

db, kind, on_busy = sys.argv[1:4]
builder = StateGraph(State).add_sequence([first, second]).add_edge(START, "first")
graph = builder.compile(SqliteSaver(db, lease=float(sys.argv[4])))
config = {"configurable": {"thread_id": "1"}}
given = {"go on": None, "answer": Command(resume="yes")}.get(kind, {"log": [kind], "kind": kind})
if kind == "answer":
    print("ready", flush=True)
    sys.stdin.readline()
try:
    print(graph.invoke(given, config, on_busy=on_busy)["log"], flush=True)
except ThreadConflict:
    print("refused", flush=True)
"""


class Process:
    """A run in a process of its own, that tells what it does and waits for a line."""

    def __init__(self, db: Path, kind: str, on_busy: str = "reject", lease: float = 30) -> None:
        command = [sys.executable, "-c", SCRIPT, str(db), kind, on_busy, str(lease)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def ends(self) -> list[str]:
        return self.process.communicate(timeout=SECONDS)[0].split("\n")[:-1]


def test_another_process_is_refused_or_waits(tmp_path: Path) -> None:
    runs = Process(tmp_path / "db", "waits")
    assert runs.says() == "waiting"
    assert Process(tmp_path / "db", "other").ends() == ["refused"]
    queued = Process(tmp_path / "db", "other", "enqueue")
    runs.go()
    assert runs.ends() == ["['waits', 'first', 'second']"]
    assert queued.ends() == ["['waits', 'first', 'second', 'other', 'first', 'second']"]


def test_a_killed_owner_is_taken_over_at_once(tmp_path: Path) -> None:
    killed = Process(tmp_path / "db", "waits", lease=3600)
    assert killed.says() == "waiting"
    killed.process.kill()
    killed.ends()
    other = Process(tmp_path / "db", "go on", lease=3600)
    assert other.says() == "waiting", "an hour's lease, and it begins at once"
    other.go()
    assert other.ends() == ["['waits', 'first', 'second']"]


def test_a_process_that_sleeps_loses_its_thread_when_its_lease_ends_and_overwrites_nothing(tmp_path: Path) -> None:
    sleeper = Process(tmp_path / "db", "waits", lease=0.3)
    assert sleeper.says() == "waiting"
    os.kill(sleeper.process.pid, signal.SIGSTOP)
    other = Process(tmp_path / "db", "other", "enqueue", lease=0.3)
    assert other.ends() == ["['waits', 'first', 'other', 'first', 'second']"]
    os.kill(sleeper.process.pid, signal.SIGCONT)
    sleeper.go()
    assert sleeper.ends() == ["refused"]
    with SqliteSaver(tmp_path / "db") as saver:
        graph = StateGraph(Log).add_node("first", says("x")).add_edge(START, "first").compile(saver)
        assert graph.get_state({"configurable": {"thread_id": "1"}}).values["log"] == [
            "waits",
            "first",
            "other",
            "first",
            "second",
        ]


def test_two_who_answer_one_question_never_both_run(tmp_path: Path) -> None:
    for number in range(8):
        db = tmp_path / f"{number}.db"
        assert Process(db, "asks").ends() == ["['asks', 'first']"]
        both = [Process(db, "answer") for _ in range(2)]
        for one in both:
            assert one.says() == "ready"
        for one in both:
            one.go()
        said = [line for one in both for line in one.ends()]
        assert said.count("answered") == 1, said
        assert said.count("['asks', 'first', 'yes']") >= 1
