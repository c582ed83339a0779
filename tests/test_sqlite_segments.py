"""Many checkpoints in one row of a SQLite file: files of before, what is damaged, what a step changes."""

import sqlite3
from importlib.resources import files
from pathlib import Path
from typing import Any, TypedDict

import pytest
from support.encrypted import everything, secretive, tell
from support.faces import Face
from support.sqlite_rows import unfolded

from clew.checkpoint.sqlite import SqliteSaver
from clew.errors import DamagedData, DatabaseError
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph

THREAD: dict[str, Any] = {"configurable": {"thread_id": "1"}}
TWO: dict[str, Any] = {"configurable": {"thread_id": "2"}}
OLD = (
    "thread (no, name, epoch, seq, lease_run, lease_owner, lease_base, lease_until, stop)",
    "head (thread, ns, no, seq, logs)",
    "checkpoint (thread, seq, ns, id, parent, base, body)",
    "item (thread, log, n, data)",
    "kept (thread, seq, task, body)",
)


class State(TypedDict, total=False):
    n: int


def counting(saver: SqliteSaver) -> CompiledStateGraph:
    return StateGraph(State).add_node("node", lambda s: {"n": s.get("n", 0) + 1}).add_edge(START, "node").compile(saver)


def as_before(path: Path, old: Path) -> None:
    """Writes what a file holds as the format before segments had it."""
    with sqlite3.connect(old) as target, unfolded(path) as source:
        target.execute(f"pragma application_id = {source.execute('pragma application_id').fetchone()[0]}")
        for name in ("001-threads", "002-epochs-are-unique", "003-events"):
            for statement in (files("clew.checkpoint.sqlite") / "sql" / f"{name}.sql").read_text().split(";\n"):
                target.execute(statement)
        target.execute("pragma user_version = 3")
        for table in OLD:
            name, columns = table.split(" ", 1)
            rows = source.execute(f"select {columns.strip('()')} from {name}").fetchall()
            target.executemany(f"insert into {table} values ({', '.join('?' * len(columns.split()))})", rows)
    target.close()


def test_a_file_of_before_goes_on(face: Face, tmp_path: Path) -> None:
    """With a graph inside a task, outcomes beside checkpoints, and two threads; more of them than one segment takes."""
    path, old = tmp_path / "threads.db", tmp_path / "old.db"
    with SqliteSaver(path) as saver:
        tell(secretive(saver))
        for _ in range(40):
            face.invoke(counting(saver), {}, TWO)
        before = everything(secretive(saver))
        threads, spaces = [line[:3] for line in saver.threads()], saver.storage.spaces("1")
    as_before(path, old)
    with SqliteSaver(old) as saver:
        assert everything(secretive(saver)) == before
        assert [line[:3] for line in saver.threads()] == threads
        assert saver.storage.spaces("1") == spaces
        graph = counting(saver)
        assert face.invoke(graph, {}, TWO) == {"n": 41}
        assert len(list(graph.get_state_history(TWO))) == 3 * 41


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A file with a thread of which the oldest closed segment but one cannot be read."""
    path = tmp_path / "threads.db"
    with SqliteSaver(path, synchronous="normal") as saver:
        for _ in range(100):
            counting(saver).invoke({}, THREAD)
    with sqlite3.connect(path) as connection:
        rows = [rowid for (rowid,) in connection.execute("select rowid from segment order by rowid")]
        assert len(rows) > 3
        connection.execute("update segment set data = substr(data, 1, 40) where rowid = ?", (rows[1],))
    connection.close()
    return path


def test_what_is_damaged_leaves_the_rest_of_the_thread_readable(face: Face, damaged: Path) -> None:
    with SqliteSaver(damaged) as saver:
        graph = counting(saver)
        found = list(graph.get_state_history(THREAD))
        lost = [one for one in found if (one.metadata or {})["source"] == "damaged"]
        assert 1 <= len(lost) < 10  # one for all in it, and those in the next one that add to them
        assert 200 < len(found) < 300
        assert face.invoke(graph, {}, THREAD) == {"n": 101}
        with pytest.raises(DamagedData, match="The others can be read"):
            _ = lost[0].values["n"]


def test_a_tail_that_is_no_tail_is_said(face: Face, tmp_path: Path) -> None:
    path = tmp_path / "threads.db"
    with SqliteSaver(path) as saver:
        counting(saver).invoke({}, THREAD)
        for tail in ("'text'", "5", "x'00'", "substr(tail, 2)", "substr(tail, 1, length(tail) - 1)"):
            with sqlite3.connect(path) as connection:
                (before,) = connection.execute("select tail from thread").fetchone()
                connection.execute(f"update thread set tail = {tail}")
            with SqliteSaver(path) as fresh, pytest.raises(DamagedData, match="cannot be read"):
                face.invoke(counting(fresh), {}, THREAD)
            with sqlite3.connect(path) as connection:
                connection.execute("update thread set tail = ?", (before,))
            connection.close()


def test_a_file_in_utf_16_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "threads.db", check_same_thread=False)
    connection.execute("pragma encoding = 'UTF-16'")
    with SqliteSaver(connection) as saver, pytest.raises(DatabaseError, match=r"is in UTF-16.*needs a file in UTF-8"):
        saver.setup()
    connection.close()
