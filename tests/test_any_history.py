"""Whatever is committed and pruned, in whatever order: storages that keep many checkpoints in one row read as memory does."""

from collections.abc import Generator, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.postgres_server import PostgresServer

from clew.checkpoint import postgres
from clew.checkpoint.memory import MemoryStorage
from clew.checkpoint.postgres import PostgresStorage
from clew.checkpoint.postgres.writing import FULL
from clew.checkpoint.sqlite import SqliteStorage, history
from clew.checkpoint.storage import Batch, Found, Kept, Pruning, Row, Storage
from clew.clients.postgres import Connections

SPACES = ("", "child", "other")
LOGS = b"\x80"


class Thread:
    """What a run that holds the thread knows of it, and tells several storages alike."""

    def __init__(self, *storages: Storage) -> None:
        self.storages = storages
        self.epoch, self.seq = 0, 0
        self.skipped: list[int] = []
        self.rows: dict[str, list[Row]] = {}

    def commit(self, draw: Any) -> None:
        ns = draw(st.sampled_from(SPACES))
        mine = self.rows.setdefault(ns, [])
        head = mine[-1].seq if mine else None
        rows = [self.row(draw, mine) for _ in range(draw(st.integers(1, 3)))]
        if (head or 0) >= rows[0].seq or any(a.seq >= b.seq for a, b in pairwise(rows)):
            return  # of one namespace they come in order
        kept = [Kept(rows[-1].seq, "task", b"outcome")] if draw(st.booleans()) else []
        for storage in self.storages:
            number = SPACES.index(ns)
            batch = Batch("thread", ns, number, head, self.epoch, 0 if self.epoch else 7, LOGS, [], kept, rows[-1], rows[:-1])
            storage.commit(batch)
        self.epoch = 7
        mine += rows

    def row(self, draw: Any, mine: list[Row]) -> Row:
        if self.skipped and draw(st.booleans()):  # one that a graph beside took before it wrote
            seq = self.skipped.pop(0)
        else:
            self.seq += 1
            if draw(st.integers(0, 4)) == 0:
                self.skipped.append(self.seq)
                self.seq += 1
            seq = self.seq
        others = [row.seq for row in mine if row.seq < seq]
        named = st.none() | st.sampled_from([*others[-2:], *others]) if others else st.none()
        return Row(seq, bytes(12) + seq.to_bytes(4, "big"), draw(named), draw(named), bytes(draw(st.integers(0, 90))))

    def prune(self, draw: Any) -> None:
        rows = [row for mine in self.rows.values() for row in mine[:-1]]
        dead = {row.seq for row in rows if draw(st.booleans())}
        changed = [row._replace(parent=None, body=b"changed") for row in rows if row.seq not in dead and draw(st.booleans())]
        for storage in self.storages:
            storage.prune(Pruning("thread", self.epoch, rows=sorted(dead), changed=changed))
        new = {row.seq: row for row in changed}
        for ns, mine in self.rows.items():
            self.rows[ns] = [new.get(row.seq, row) for row in mine if row.seq not in dead]


def everything(storage: Storage, rows: dict[str, list[Row]]) -> Iterator[Any]:
    yield [line[:2] for line in storage.threads()]
    yield storage.spaces("thread"), storage.weigh("thread")
    for ns in SPACES:
        for checkpoint_id in (None, *(row.id for row in rows.get(ns, ()))):
            found = storage.load("thread", ns, checkpoint_id)
            yield found.epoch, found.seq, found.spaces, found.lease, told(found)
        for before in (None, *(row.seq for row in rows.get(ns, ()))):
            yield [told(found) for found in storage.scan("thread", ns, before, 3)]


def told(found: Found) -> Any:
    return (*(found.head, found.number, found.logs, found.row, found.base, found.parent_id, found.next), list(found.kept))


@pytest.mark.parametrize("full", [1, *(pytest.param(full, marks=pytest.mark.slow) for full in (150, history.FULL))])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_sqlite_reads_as_memory_does(data: st.DataObject, full: int) -> None:
    sqlite = SqliteStorage(":memory:", synchronous="off", timeout=1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("clew.checkpoint.sqlite.FULL", full)
        reads_as_memory_does(sqlite, data.draw)
    sqlite.close()


@pytest.fixture(scope="module", params=[1, 150, FULL])
def postgres_full(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> Generator[PostgresStorage]:
    """One that closes a tail above so many bytes."""
    full: int = request.param
    with pytest.MonkeyPatch.context() as patched:
        migrations = tuple(sql.replace(f" {FULL}", f" {full}") for sql in postgres.MIGRATIONS)
        assert migrations != postgres.MIGRATIONS or full == FULL
        patched.setattr(postgres, "MIGRATIONS", migrations)
        patched.setattr("clew.checkpoint.postgres.writing.FULL", full)
        patched.setattr("clew.checkpoint.postgres.reading.UP", 2)
        patched.setattr("clew.checkpoint.postgres.FEW", 100)
        storage = PostgresStorage(Connections(postgres_server.database(), postgres.USER, size=1, timeout=30), "public")
        yield storage
        storage.close()


@pytest.mark.slow
@pytest.mark.server
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_postgres_reads_as_memory_does(data: st.DataObject, postgres_full: PostgresStorage) -> None:
    postgres_full.drop("thread")
    reads_as_memory_does(postgres_full, data.draw)


def reads_as_memory_does(storage: Storage, draw: Any) -> None:
    memory = MemoryStorage()
    thread = Thread(memory, storage)
    for _ in range(draw(st.integers(1, 12))):
        thread.prune(draw) if thread.epoch and draw(st.integers(0, 5)) == 0 else thread.commit(draw)
    assert list(everything(storage, thread.rows)) == list(everything(memory, thread.rows))
