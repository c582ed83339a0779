"""How a SQLite file is opened, whichever backend keeps what in it: by many processes at once, and where it goes wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

MAKERS = {
    "saver": """
from clew.checkpoint.sqlite import SqliteSaver
from clew.graph import START, StateGraph
graph = StateGraph(dict).add_node("node", lambda s: {"n": 1}).add_edge(START, "node")
def use(path, peer, commits):
    with SqliteSaver(path) as saver:
        saver.setup()
        if commits:
            graph.compile(saver).invoke({}, {"configurable": {"thread_id": str(peer)}})
""",
    "cache": """
from clew.cache.sqlite import SqliteCache
def use(path, peer, commits):
    with SqliteCache(path=path) as cache:
        if commits:
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
            use(path, peer, commits=(peer + n) % 2)
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
@pytest.mark.parametrize("backend", MAKERS)
def test_processes_make_a_file_at_once(backend: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", MAKERS[backend] + RACE, tmp_path], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
