"""How a SQLite file is opened, whichever backend keeps what in it: by many processes at once, and where it goes wrong."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import pytest

from clew.cache.sqlite import SqliteCache
from clew.checkpoint.sqlite import SqliteSaver
from clew.errors import DatabaseError
from clew.graph import START, StateGraph

KEY = (("a",), "k")


class State(TypedDict, total=False):
    n: int


THREAD: dict[str, Any] = {"configurable": {"thread_id": "1"}}

BACKENDS = {
    "saver": """
from clew.checkpoint.sqlite import SqliteSaver
from clew.graph import START, StateGraph
graph = StateGraph(dict).add_node("node", lambda s: {"n": 1}).add_edge(START, "node")
def made(path):
    saver = SqliteSaver(path)
    saver.setup()
    return saver
def use(saver, peer):
    graph.compile(saver).invoke({}, {"configurable": {"thread_id": str(peer)}})
""",
    "cache": """
from clew.cache.sqlite import SqliteCache
def made(path):
    return SqliteCache(path=path)
def use(cache, peer):
    cache.set({(("a",), str(peer)): (peer, None)})
    assert cache.get([(("a",), str(peer))])
""",
}

# Six processes and a barrier before each file. Half of them commit at once, which the others may be opening into.
RACE = """
import multiprocessing, os, sqlite3, sys, traceback
fork = multiprocessing.get_context("fork")
barrier = fork.Barrier(6)
def run(peer):
    failed = 0
    for n in range(30):
        path = os.path.join(sys.argv[1], f"{n}.db")
        barrier.wait(60)
        try:
            with made(path) as backend:
                if (peer + n) % 2:
                    use(backend, peer)
        except Exception:
            failed = 1
            traceback.print_exc()
    sys.exit(failed)
peers = [fork.Process(target=run, args=(peer,)) for peer in range(6)]
for peer in peers:
    peer.start()
for peer in peers:
    peer.join()
assert not any(peer.exitcode for peer in peers)
for n in range(30):
    connection = sqlite3.connect(os.path.join(sys.argv[1], f"{n}.db"))
    assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
    connection.close()
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_processes_make_a_file_at_once(backend: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", BACKENDS[backend] + RACE, tmp_path], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr


# The n-th statement kills the process, for each n until none is left; what it leaves behind is then opened and used.
CRASH = """
import itertools, os, signal, sqlite3, sys
real, left = sqlite3.connect, 0
def trace(statement):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
def connect(*args, **options):
    connection = real(*args, **options)
    connection.set_trace_callback(trace)
    return connection
sqlite3.connect = connect
for n in itertools.count(1):
    path = os.path.join(sys.argv[1], f"{n}.db")
    child = os.fork()
    if child == 0:
        left = n
        made(path).close()
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
    with made(path) as backend:
        use(backend, 1)
assert n > 10, n
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_file_whose_making_was_killed_is_made_to_its_end(backend: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", BACKENDS[backend] + CRASH, tmp_path], check=True)


LET_GO = """
import gc, os, pathlib, sys
def opened():
    return sum(sys.argv[1] in str(fd.readlink()) for fd in pathlib.Path("/proc/self/fd").iterdir() if fd.is_symlink())
backend = made(os.path.join(sys.argv[1], "x.db"))
before = opened()
assert before
child = os.fork()
if child == 0:
    if sys.argv[2] == "closed":
        backend.close()
    del backend
    gc.collect()
    os._exit(opened() != before)
assert os.waitpid(child, 0)[1] == 0
backend.close()
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted through /proc")
@pytest.mark.parametrize("how", ["closed", "dropped"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_forked_child_never_closes_its_parents_connection(backend: str, how: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", BACKENDS[backend] + LET_GO, tmp_path, how], check=True)


def remove(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    path.with_name("empty.db").touch()
    path.with_name("empty.db").rename(path)


@pytest.mark.parametrize("away", [remove, replace])
def test_a_file_that_is_gone_is_made_anew_not_written_to_unseen(away: Callable[[Path], None], tmp_path: Path) -> None:
    path, builder = tmp_path / "threads.db", StateGraph(State).add_node("node", lambda s: {"n": 1}).add_edge(START, "node")
    with SqliteSaver(path) as saver:
        builder.compile(saver).invoke({}, THREAD)
        away(path)
        assert saver.threads() == []
        builder.compile(saver).invoke({}, THREAD)
        with SqliteSaver(path) as other:
            assert [row.thread for row in other.threads()] == ["1"]
    path = tmp_path / "cache.db"
    with SqliteCache[int](path=path) as cache:
        cache.set({KEY: (1, None)})
        away(path)
        assert cache.get([KEY]) == {}
        cache.set({KEY: (2, None)})
        with SqliteCache[int](path=path) as second:
            assert second.get([KEY]) == {KEY: 2}


def test_a_directory_is_told_from_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"cannot be opened \(it is a directory\): name a file"):
        SqliteSaver(tmp_path).setup()


@pytest.mark.parametrize("lock", ["begin", "begin immediate", "begin exclusive"])
def test_a_new_file_that_another_program_holds_is_waited_for_and_then_given_up(lock: str, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "threads.db", isolation_level=None)
    other.execute(lock)
    other.execute("select * from sqlite_master").fetchall()
    with SqliteSaver(tmp_path / "threads.db", timeout=0.05) as saver:
        if lock != "begin":
            with pytest.raises(DatabaseError, match="stayed locked by another writer"):
                saver.setup()
        other.execute("rollback")
        other.close()
        saver.setup()
        assert saver.threads() == []
