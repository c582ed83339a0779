"""What is a SQLite store's own: files, connections, processes that are killed, and sqlite-vec."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from clew.cache.sqlite import SqliteCache
from clew.checkpoint.sqlite import SqliteSaver
from clew.errors import DatabaseError
from clew.store.items import PutOp
from clew.store.sqlite import SqliteStore
from clew.store.sqlite.aio import AsyncSqliteStore

ROOT: Final = Path(__file__).parents[1]
DEBIAN: Final = Path("/usr/bin/python3")


def ones(texts: list[str]) -> list[list[float]]:
    return [[1.0] for _ in texts]


# -- files ----------------------------------------------------------------------------------------------------------


def test_it_is_opened_by_its_string_on_both_faces(tmp_path: Path) -> None:
    async def awaited() -> None:
        async with AsyncSqliteStore.from_conn_string(str(tmp_path / "a.db")) as store:
            await store.setup()  # as those write it who are used to a class of its own
            await store.aput(("a",), "k", {"n": 1})

    asyncio.run(awaited())
    with SqliteStore.from_conn_string(str(tmp_path / "a.db")) as store:
        store.setup()
        item = store.get(("a",), "k")
    assert item is not None
    assert item.value == {"n": 1}
    with pytest.raises(DatabaseError, match=r"The store of '.*a\.db' is closed: make a new one"):
        store.get(("a",), "k")


def test_one_in_memory_lives_as_long_as_the_object() -> None:
    with SqliteStore(":memory:") as store, SqliteStore(":memory:") as other:
        store.put(("a",), "k", {})
        assert len(store.search(())) == 1
        assert other.search(()) == []


def test_a_connection_of_ones_own_is_used_and_left_open(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db", check_same_thread=False)) as connection:
        with SqliteStore(connection) as store:
            store.put(("a",), "k", {})
        assert connection.execute("select ns, key from item").fetchall() == [("a", "k")]


@pytest.mark.parametrize("other", [SqliteSaver, SqliteCache])
def test_a_file_of_something_else_is_refused(other: type[SqliteSaver] | type[SqliteCache[int]], tmp_path: Path) -> None:
    with other(path=tmp_path / "other.db") as made:
        if isinstance(made, SqliteSaver):
            made.setup()
    with SqliteStore(tmp_path / "other.db") as store, pytest.raises(DatabaseError, match="a store has a file of its own"):
        store.search(())


def test_what_was_deleted_or_replaced_leaves_no_vector(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "a.db", index={"dims": 1, "embed": ones}) as store:
        store.batch([PutOp(("a",), key, {"n": key}) for key in "abcd"])
        store.batch([PutOp(("a",), "a", None), PutOp(("a",), "b", {"n": 2}), PutOp(("a",), "c", {}, index=False)])
        store.put(("a",), "d", {}, ttl=1e-9)
        while store.get(("a",), "d", refresh_ttl=False) is not None:
            pass
        assert store.sweep_ttl() == 1
        with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
            assert connection.execute("select count(*) from vector").fetchone() == (1,)


def test_reading_holds_nobody_up(tmp_path: Path) -> None:
    """A search that is read bit by bit keeps no writer of another process waiting, and loses nothing that is put meanwhile."""
    with SqliteStore(tmp_path / "a.db", timeout=0.01) as store, SqliteStore(tmp_path / "a.db", timeout=0.01) as other:
        store.batch([PutOp(("a",), f"{n:03}", {"n": n}) for n in range(300)])
        from clew.store.storage import Scan

        rows = store.storage.scan(Scan(("a",)))
        first = next(rows)
        other.put(("a",), "299", {"n": -1})
        other.delete(("a",), "298")
        found = [first.place.key, *(row.place.key for row in rows)]
        assert found == [f"{n:03}" for n in range(300) if n != 298]


# -- processes ------------------------------------------------------------------------------------------------------

WRITER = """
import sys
from clew.store.items import PutOp
from clew.store.sqlite import SqliteStore
with SqliteStore(sys.argv[1], index={"dims": 1, "embed": lambda texts: [[1.0]] * len(texts)}) as store:
    for n in range(1, 1_000_000):
        store.batch([PutOp(("a",), str(key), {"n": n}) for key in range(40)] + [PutOp(("b", str(n % 7)), "k", {"n": n})])
        print(n, flush=True)
"""
COUNTER = """
import sys
from clew.store.sqlite import SqliteStore
print("ready", flush=True)
sys.stdin.readline()
with SqliteStore(sys.argv[1]) as store:
    for _ in range(50):
        store.update(("a",), "k", lambda value: {"n": (value or {"n": 0})["n"] + 1})
"""


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_whole_batches(tmp_path: Path) -> None:
    """`kill -9` at any moment: all of a batch is there, or nothing of it, and what was acknowledged is."""
    path = str(tmp_path / "a.db")
    for _ in range(10):
        with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            told = [int(writer.stdout.readline()) for _ in range(5)][-1]
            writer.kill()
            told = max([told, *(int(line) for line in writer.stdout.readlines() if line.endswith("\n"))])
        with SqliteStore(path, index={"dims": 1, "embed": ones}) as store:
            numbers = {item.value["n"] for item in store.search(("a",), limit=100)}
            assert len(numbers) == 1
            assert numbers == {store.search(("b",), limit=1)[0].value["n"]}  # what was written last
            assert numbers.pop() in (told, told + 1)
            assert len(store.search(("a",), query="x", limit=100)) == 40


@pytest.mark.slow
def test_processes_that_make_a_file_at_once_lose_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", COUNTER, str(tmp_path / "a.db")]
    peers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for peer in peers:
        assert peer.stdout is not None
        assert peer.stdout.readline() == "ready\n"
    for peer in peers:
        peer.communicate("go\n", timeout=60)
        assert peer.returncode == 0
    with SqliteStore(tmp_path / "a.db") as store:
        item = store.get(("a",), "k")
    assert item is not None
    assert item.value == {"n": 200}


# -- sqlite-vec -----------------------------------------------------------------------------------------------------

VEC = """
import sys
from functools import partial
from clew.store.sqlite import SqliteStore
from clew.testing.stores import check_store, INDEX
calls = 0

def counted(storage):
    near = storage.near
    def count(*args):
        global calls
        found = near(*args)
        calls += found is not None
        return found
    storage.near = count

def make(**given):
    store = SqliteStore(sys.argv[1], synchronous="normal", **given)
    counted(store.storage)
    return store

broken = check_store(make, only=lambda clause: clause.trial.__module__.endswith("meaning"))
print(broken or "holds", calls > 20)
"""


def _loads_extensions(python: Path) -> bool:
    asked = "import sqlite3, sys; print(hasattr(sqlite3.Connection, 'enable_load_extension'), sys.version_info[:2])"
    try:
        found = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    return found == f"True {sys.version_info[:2]}\n"


@pytest.mark.slow
def test_sqlite_vec_finds_what_going_through_all_of_them_finds(tmp_path: Path) -> None:
    """In a Python whose SQLite takes extensions, which not every build does: this one's, or the system's."""
    pythons = [python for python in (Path(sys.executable), DEBIAN) if _loads_extensions(python)]
    if not pythons:
        pytest.skip("no Python of this version here has a SQLite that takes extensions")
    site = next(path for path in sys.path if (Path(path) / "sqlite_vec").is_dir())
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), site]), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [pythons[0], "-W", "error", "-c", VEC, str(tmp_path / "a.db")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("holds True\n", "")
