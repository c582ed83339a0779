"""What is SQLite's own: files that are none, or cannot be written to; many threads; what is said then."""

import gc
import sqlite3
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, TypedDict

import pytest
from support.faces import ASYNC, Face

from clew.checkpoint.sqlite import SqliteSaver
from clew.errors import DatabaseError
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph

THREAD: dict[str, Any] = {"configurable": {"thread_id": "1"}}


class State(TypedDict, total=False):
    n: int


def counting(saver: SqliteSaver) -> CompiledStateGraph:
    return StateGraph(State).add_node("node", lambda s: {"n": s.get("n", 0) + 1}).add_edge(START, "node").compile(saver)


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)


def test_a_file_that_is_no_database_is_left_alone(face: Face, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary, " * 100)
    with pytest.raises(DatabaseError, match=r"notes.txt' is not a SQLite database: name another file"):
        face.invoke(counting(SqliteSaver(path)), {}, THREAD)
    assert path.read_text() == "dear diary, " * 100


def test_a_database_of_something_else_is_left_alone(face: Face, tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    execute(path, "create table precious (x)")
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match="is a SQLite database of something else"):
        face.invoke(counting(SqliteSaver(path)), {}, THREAD)
    assert path.read_bytes() == before


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "threads.db"
    with SqliteSaver(path) as saver:
        saver.setup()
    execute(path, "pragma user_version = 99")
    with pytest.raises(DatabaseError, match="newer Clew"):
        SqliteSaver(path).setup()


def test_a_read_only_database_says_so_and_can_be_read(face: Face, tmp_path: Path) -> None:
    path = tmp_path / "threads.db"
    with SqliteSaver(path) as saver:
        counting(saver).invoke({}, THREAD)
    with SqliteSaver(f"file:{path}?mode=ro") as saver:
        graph = counting(saver)
        assert face.get_state(graph, THREAD).values == {"n": 1}
        with pytest.raises(DatabaseError, match="cannot be written to"):
            face.invoke(graph, {}, THREAD)
        assert face.get_state(graph, THREAD).values == {"n": 1}


READ_ONLY = """
import os, sys
from clew.checkpoint.sqlite import SqliteSaver
from clew.errors import DatabaseError
if os.getuid() == 0:
    os.setuid(65534)  # root may write everywhere; nobody may not
try:
    SqliteSaver(sys.argv[1]).setup()
except DatabaseError as error:
    sys.exit(str(error))
"""


def test_a_directory_one_may_not_write_to_says_so() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        found = subprocess.run([sys.executable, "-c", READ_ONLY, f"{folder}/x.db"], capture_output=True, text=True)
        Path(folder).chmod(0o755)
    assert "cannot be opened" in found.stderr
    assert "may this process write there?" in found.stderr


def test_a_directory_that_is_not_there_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"cannot be opened .*does its directory exist"):
        SqliteSaver(tmp_path / "nowhere" / "x.db").setup()


def test_a_connection_may_be_given_and_is_left_open(face: Face, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "threads.db", check_same_thread=False)
    with SqliteSaver(connection) as saver:
        face.invoke(counting(saver), {}, THREAD)
    assert connection.execute("select checkpoints from thread").fetchone() == (3,)
    connection.close()
    with SqliteSaver(tmp_path / "threads.db") as saver:
        assert face.invoke(counting(saver), {}, THREAD) == {"n": 2}


def test_a_connection_of_one_thread_is_told_what_to_be() -> None:
    connection = sqlite3.connect(":memory:")
    with SqliteSaver(connection) as saver:
        assert counting(saver).invoke({}, THREAD) == {"n": 1}
        with pytest.raises(DatabaseError, match="check_same_thread=False"):
            ASYNC.invoke(counting(saver), {}, THREAD)
    connection.close()


def test_a_closed_saver_says_so(tmp_path: Path) -> None:
    saver = SqliteSaver(tmp_path / "threads.db")
    graph = counting(saver)
    graph.invoke({}, THREAD)
    saver.close()
    with pytest.raises(DatabaseError, match=r"is closed: make a new one"):
        graph.invoke({}, THREAD)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted through /proc")
def test_a_saver_that_is_let_go_closes_its_file(tmp_path: Path) -> None:
    def opened() -> int:
        return sum(str(tmp_path) in str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink())

    saver = SqliteSaver(tmp_path / "threads.db")
    saver.setup()
    assert opened() > 0
    del saver
    gc.collect()
    assert opened() == 0


def test_a_locked_file_is_waited_for_and_then_given_up(tmp_path: Path) -> None:
    path = tmp_path / "threads.db"
    with SqliteSaver(path, timeout=0.05) as saver:
        saver.setup()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("begin immediate")
        with pytest.raises(DatabaseError, match="stayed locked by another writer"):
            counting(saver).invoke({}, THREAD)
        other.execute("rollback")
        other.close()
        assert counting(saver).invoke({}, THREAD) == {"n": 1}


def test_many_threads_share_one_saver(tmp_path: Path) -> None:
    with SqliteSaver(tmp_path / "threads.db", synchronous="normal") as saver, ThreadPoolExecutor(8) as pool:
        graph = counting(saver)

        def turns(number: int) -> int:
            config = {"configurable": {"thread_id": str(number)}}
            return [graph.invoke({}, config)["n"] for _ in range(10)][-1]

        assert list(pool.map(turns, range(16))) == [10] * 16
        assert {row.checkpoints for row in saver.threads()} == {30}


def test_in_memory_databases_serve_both_faces(face: Face) -> None:
    with SqliteSaver.from_conn_string(":memory:") as saver:
        graph = counting(saver)
        face.invoke(graph, {}, THREAD)
        assert face.invoke(graph, {}, THREAD) == {"n": 2}


@pytest.mark.parametrize(("given", "level"), [("full", 2), ("normal", 1)])
def test_the_pragmas_are_what_the_docs_say(tmp_path: Path, given: Any, level: int) -> None:
    with SqliteSaver(tmp_path / "threads.db", synchronous=given) as saver, saver.file.using() as connection:
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
        assert connection.execute("pragma synchronous").fetchone() == (level,)


async def entered() -> list[Any]:
    async with SqliteSaver.from_conn_string(":memory:") as saver:
        await saver.asetup()
        graph = counting(saver)
        await graph.ainvoke({}, THREAD)
        await saver.adelete_thread("1")
        return saver.threads()


def test_async_with_and_the_awaited_verbs() -> None:
    import asyncio

    assert asyncio.run(entered()) == []


@pytest.mark.slow
def test_a_long_chat_is_linear_on_disk(tmp_path: Path) -> None:
    """400 turns with all checkpoints kept: at most 1.3 times the messages at 500 bytes, and 1.1 times at 5 kB."""
    import json
    import random

    from langchain_core.messages import AIMessage, HumanMessage

    from clew.graph import MessagesState

    for size, bound in ((500, 1.3), (5000, 1.1)):
        chance = random.Random(1)
        path = tmp_path / f"{size}.db"

        def text(size: int = size, chance: random.Random = chance) -> str:
            return "".join(chance.choices("abcdefghijklmnopqrstuvwxyz ", k=size))

        with SqliteSaver(path, synchronous="normal") as saver:
            builder = StateGraph(MessagesState).add_node("model", lambda s: {"messages": AIMessage(text())})
            graph = builder.add_edge(START, "model").compile(saver)
            for _ in range(400):
                graph.invoke({"messages": [HumanMessage(text())]}, THREAD)
            messages = graph.get_state(THREAD).values["messages"]
        execute(path, "pragma wal_checkpoint(truncate)")
        assert len(messages) == 800
        assert path.stat().st_size <= bound * sum(len(json.dumps([m.type, m.id, m.content])) for m in messages)
