"""A SQLite file's checkpoints as rows of a table, for tests that alter one of them by SQL: unfolded, and folded again."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from clew.checkpoint.segments import compressed, record, records, whole
from clew.checkpoint.storage import Row

ROOT = "space is not null"


@contextmanager
def unfolded(path: Path) -> Generator[sqlite3.Connection]:
    """A connection that has a table `checkpoint`, and the heads of graphs themselves in `head`. Commits at the end."""
    with sqlite3.connect(path) as connection:
        connection.execute("create temp table checkpoint (thread, seq, ns, id, parent, base, body)")
        tails = connection.execute("select no, tail from thread").fetchall()
        closed = [(no, whole(data)) for no, data in connection.execute("select thread, data from segment")]
        for no, segment in (*tails, *closed):
            for number, row in records(segment):
                values = (no, row.seq, number, row.id, row.parent, row.base, row.body)
                connection.execute("insert into checkpoint values (?, ?, ?, ?, ?, ?, ?)", values)
        connection.execute(f"insert into head select no, '', space, head, logs from thread where {ROOT}")
        yield connection
        for (no,) in connection.execute("select no from thread").fetchall():
            _fold(connection, no)
        connection.execute("drop table checkpoint")
    connection.close()


def _fold(connection: sqlite3.Connection, no: int) -> None:
    connection.execute("delete from segment where thread = ?", (no,))
    found = connection.execute(
        "select ns, seq, id, parent, base, body from checkpoint where thread = ? order by seq desc", (no,)
    ).fetchall()
    rows = [record(number, Row(*row)) for number, *row in found]
    if older := b"".join(rows[3:]):
        values = (no, min(row[1] for row in found[3:]), max(row[1] for row in found), compressed(older))
        connection.execute("insert into segment values (?, ?, ?, ?)", values)
    head = connection.execute("select no, seq, logs from head where thread = ? and ns = ''", (no,)).fetchone()
    sql = "update thread set tail = ?, space = ?, head = ?, logs = ? where no = ?"
    connection.execute(sql, (b"".join(rows[:3]), *(head or (None, None, None)), no))
    connection.execute("delete from head where thread = ? and ns = ''", (no,))
