"""Checkpoints that stand together in PostgreSQL: damaged ones, many that come at once, writers side by side, room."""

import random
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from support.graphs import Log, says
from support.postgres_server import PostgresServer

from clew.checkpoint.postgres import PostgresSaver
from clew.checkpoint.postgres.writing import FULL
from clew.checkpoint.storage import Batch, Pruning, Row
from clew.errors import DamagedData
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph

pytestmark = [pytest.mark.slow, pytest.mark.server]
THREAD: dict[str, Any] = {"configurable": {"thread_id": "1"}}
TURNS = 80


@pytest.fixture
def saver(postgres_url: str) -> Generator[PostgresSaver]:
    with PostgresSaver(postgres_url) as made:
        yield made


@pytest.fixture
def db(postgres_url: str) -> Generator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_url, autocommit=True) as made:
        yield made


def drawn(saver: PostgresSaver) -> CompiledStateGraph:
    return StateGraph(Log).add_node("node", says("x")).add_edge(START, "node").compile(saver)


def talked(saver: PostgresSaver) -> CompiledStateGraph:
    graph = drawn(saver)
    for turn in range(TURNS):
        graph.invoke({"log": [str(turn)]}, THREAD)
    return graph


def row(seq: int, parent: int | None = None, body: bytes = b"body") -> Row:
    return Row(seq, seq.to_bytes(12, "big") + seq.to_bytes(4, "big"), parent, None, body)


def test_a_damaged_segment_leaves_the_others_readable(
    saver: PostgresSaver, db: psycopg.Connection[Any], postgres_url: str
) -> None:
    graph = talked(saver)
    before = list(graph.get_state_history(THREAD))
    first: int
    last: int
    (_, (first, last), *_) = db.execute("select first, last from clew_segment order by last").fetchall()
    db.execute("update clew_segment set data = substring(data for 1000) where last = %s", (last,))
    after = list(graph.get_state_history(THREAD))
    start, stop = len(before) - last, len(before) - first + 1
    assert [state.config for state in after[:start]] == [state.config for state in before[:start]]
    assert [state.config for state in after[start + 1 :]] == [state.config for state in before[stop:]]
    assert (after[start].metadata or {})["source"] == "damaged"
    for config in (after[start].config, before[start].config, before[stop - 1].config):
        with pytest.raises(DamagedData, match=r"Thread '1', checkpoint '.*get_state_history"):
            graph.get_state(config)
    for number in (0, stop, -1):
        assert graph.get_state(before[number].config).values == before[number].values
    page = list(graph.get_state_history(THREAD, before=before[start + 5].config, limit=2))
    assert [(state.metadata or {})["source"] for state in page] == ["damaged", (before[stop].metadata or {})["source"]]
    graph.invoke({"log": ["more"]}, THREAD)
    db.execute("update clew_thread set tail = substring(tail for 50)")
    assert (next(graph.get_state_history(THREAD)).metadata or {})["source"] == "damaged"
    with PostgresSaver(postgres_url) as other, pytest.raises(DamagedData):
        drawn(other).invoke({"log": ["more"]}, THREAD)


def test_many_that_come_at_once_are_several_segments(saver: PostgresSaver, db: psycopg.Connection[Any]) -> None:
    rows = [row(seq, seq - 1 or None, b"x" * 100) for seq in range(1, 301)]
    saver.storage.commit(Batch("1", "", 0, None, 0, 1, logs=b"", row=rows[0]))
    saver.storage.commit(Batch("1", "", 0, 1, 1, logs=b"", row=rows[-1], history=rows[1:-1]))
    found = db.execute("select first, last, octet_length(data) from clew_segment order by last").fetchall()
    assert [first for first, _, _ in found] == [1, *(last + 1 for _, last, _ in found[:-1])]
    assert all(size < 2 * FULL for _, _, size in found)
    assert [one.row for one in saver.storage.scan("1", "", None, 1000)] == rows[::-1]
    assert saver.storage.load("1", "", rows[150].id).next == rows[151]
    assert saver.storage.threads()[0].checkpoints == 300


def test_large_checkpoints_come_back(saver: PostgresSaver) -> None:
    bodies = [random.Random(size).randbytes(size) for size in (9, 900_000, 5000, 9, 70_000, 9)]
    rows = [row(seq, seq - 1 or None, body) for seq, body in enumerate(bodies, 1)]
    for one in rows:
        epoch, claim = (1, 0) if one.parent else (0, 1)
        saver.storage.commit(Batch("1", "", 0, one.parent, epoch, claim, logs=b"", row=one))
        assert saver.storage.load("1", "", None).row == one
    assert [one.row for one in saver.storage.scan("1", "", None, 9)] == rows[::-1]
    assert [saver.storage.load("1", "", one.id).row for one in rows] == rows


def test_graphs_side_by_side_lose_nothing(saver: PostgresSaver, db: psycopg.Connection[Any]) -> None:
    """Each commit closes the tail or adds to it, and so does the next one, which may have waited for it."""
    saver.storage.commit(Batch("1", "", 0, None, 0, 1, logs=b"", row=row(1)))

    def write(number: int) -> list[Row]:
        rows = [row(number + 10 * step, number + 10 * step - 10 if step > 1 else None, b"x" * 300) for step in range(1, 40)]
        for one in rows:
            batch = Batch("1", f"child {number}", number, one.parent, 1, logs=b"", row=one)
            saver.storage.commit(batch)
        return rows

    with ThreadPoolExecutor(6) as pool:
        written = list(pool.map(write, range(1, 7)))
    for number, rows in enumerate(written, 1):
        assert [one.row for one in saver.storage.scan("1", f"child {number}", None, 1000)] == rows[::-1]
        assert all(saver.storage.load("1", f"child {number}", one.id).row == one for one in rows)
    assert saver.storage.weigh("1").checkpoints == (1 + 6 * 39, 4 + 6 * 39 * 300)
    assert saver.storage.threads()[0].checkpoints == 1 + 6 * 39
    assert (db.execute("select count(*) from clew_segment").fetchone() or (0,))[0] > 10


def test_a_thread_is_changed_where_it_stands(postgres_server: PostgresServer) -> None:
    """What an update leaves behind is room for the next one."""
    url = postgres_server.database()
    with PostgresSaver(url) as saver, psycopg.connect(url) as db:
        talked(saver)
        assert db.execute("select pg_relation_size('clew_thread') / 8192").fetchone() == (1,)


def test_a_segment_of_which_nothing_is_left_goes(saver: PostgresSaver, db: psycopg.Connection[Any]) -> None:
    talked(saver)
    head = saver.storage.load("1", "", None)
    assert head.row is not None
    gone = [seq for seq in range(1, head.row.seq) if seq not in (5, 100)]
    saver.storage.prune(Pruning("1", head.epoch, rows=gone))
    assert db.execute("select count(*) from clew_segment").fetchone() == (2,)
    assert [one.row and one.row.seq for one in saver.storage.scan("1", "", None, 99)] == [head.row.seq, 100, 5]
    saver.storage.prune(Pruning("1", head.epoch, rows=[5, 100, head.row.seq]))
    assert db.execute("select count(*) from clew_segment").fetchone() == (0,)
    assert saver.storage.scan("1", "", None, 99) == saver.storage.threads() == []
    saver.storage.commit(Batch("1", "", 0, head.row.seq, head.epoch, logs=b"", row=row(1000)))
    assert [one.row for one in saver.storage.scan("1", "", None, 99)] == [row(1000)]
