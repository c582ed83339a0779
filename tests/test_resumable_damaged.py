"""Event logs that somebody has damaged or forged: said, never passed over; and what an encrypted saver gives away of them."""

import sqlite3
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from support.faces import Face
from support.graphs import chain

from clew.checkpoint.crypt import Encryption
from clew.checkpoint.sqlite import SqliteSaver
from clew.errors import DamagedData, TamperedRow
from clew.graph.compiled import CompiledStateGraph

CONFIG: dict[str, Any] = {"configurable": {"thread_id": "1"}}
OTHER: dict[str, Any] = {"configurable": {"thread_id": "2"}}
SECRET = "a most secret word"


def told(path: Path, encryption: Encryption | None = None) -> CompiledStateGraph:
    """Two threads, with a run each."""
    graph = chain(SqliteSaver(path, encryption=encryption), "a", "b", "c")
    for config in (CONFIG, OTHER):
        for _ in graph.stream({"log": [SECRET]}, config, stream_mode=["updates", "values"], resumable=True):
            pass
    return graph


def change(path: Path, sql: str, *values: Any) -> None:
    with sqlite3.connect(path) as db:
        assert db.execute(sql, values).rowcount > 0
    db.close()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"plain text",
        ormsgpack.packb([]),
        ormsgpack.packb([0, []]),
        ormsgpack.packb([0, [["custom", [], [], 0, b"\xc1"]] * 9]),
        ormsgpack.packb(["since", [["custom", [], [], 0, b"\xc0"]]]),
        ormsgpack.packb([0, [["custom", [7], [], 0, b"\xc0"]]]),
        ormsgpack.packb([0, [["custom", [], [], 0]]]),
        ormsgpack.packb({"a": "map"}),
    ],
)
def test_a_forged_group_is_refused(face: Face, tmp_path: Path, body: bytes) -> None:
    graph = told(tmp_path / "db")
    change(tmp_path / "db", "update events set body = ? where thread = 1 and first > 1", body)
    with pytest.raises(DamagedData):
        face.join(graph, CONFIG)
    assert face.join(graph, OTHER)[-1].mode == "end", "the other thread's can be read"


def test_a_group_that_is_gone_is_missed(face: Face, tmp_path: Path) -> None:
    graph = told(tmp_path / "db")
    length = len(face.join(graph, CONFIG))
    change(tmp_path / "db", "delete from events where thread = 1 and first > 1 and first + count <= ?", length)
    with pytest.raises(DamagedData, match="is gone from the database"):
        face.join(graph, CONFIG)
    change(tmp_path / "db", "delete from events where thread = 1")
    with pytest.raises(DamagedData, match="Event 1 of run"):
        face.join(graph, CONFIG)


def test_what_is_sealed_is_neither_read_nor_moved(face: Face, tmp_path: Path) -> None:
    graph = told(tmp_path / "db", Encryption(bytes(32)))
    assert face.join(graph, CONFIG)[-1].mode == "end"
    with sqlite3.connect(tmp_path / "db") as db:
        bodies = [body for (body,) in db.execute("select body from events")]
    db.close()
    assert bodies
    assert all(SECRET.encode() not in body for body in bodies)
    moved = (
        "update events set body = (select body from events o where o.thread = 2 and o.first = events.first) where thread = 1"
    )
    change(tmp_path / "db", moved)
    with pytest.raises(TamperedRow, match=r"what run .* has told from event 1 on is not what was sealed there"):
        face.join(graph, CONFIG)
