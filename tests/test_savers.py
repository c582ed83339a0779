"""The savers that ship keep to the clauses that all savers keep to; and the clauses find what does not."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from support.mongo_server import MongoServer

from clew.checkpoint.base import Saver
from clew.checkpoint.crypt import Encryption
from clew.checkpoint.memory import MemoryStorage
from clew.checkpoint.mongodb import MongoDBSaver
from clew.checkpoint.postgres import PostgresSaver
from clew.checkpoint.sqlite import SqliteSaver
from clew.checkpoint.storage import Batch, Found, Storage
from clew.checkpoint.through import Through
from clew.testing.savers import FACES, Clause, Make, check_saver, clauses

CASES = [
    pytest.param(one, face, id=f"{one.name}-{face}", marks=[pytest.mark.slow] if one.heavy else [])
    for one in clauses()
    for face in FACES
]


class InOneProcess:
    """Opens savers over one storage in memory: what another process would be is another saver."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def __call__(self) -> Saver:
        return Saver(self.storage)


@pytest.mark.parametrize(("one", "face"), CASES)
def test_in_memory(one: Clause, face: str) -> None:
    if one.name != "processes_lose_no_update":  # memory is one process's
        one.check(InOneProcess(MemoryStorage()), face)


@pytest.mark.parametrize(("one", "face"), CASES)
def test_sqlite(one: Clause, face: str, tmp_path: Path) -> None:
    one.check(partial(SqliteSaver, str(tmp_path / "threads.db"), synchronous="normal"), face)


@pytest.mark.slow
@pytest.mark.parametrize(("one", "face"), CASES)
def test_sqlite_encrypted(one: Clause, face: str, tmp_path: Path) -> None:
    if one.name not in ("a_thread_can_be_weighed", "pruning_deletes_what_is_named"):  # they weigh bytes: sealed, there are more
        file = str(tmp_path / "threads.db")
        one.check(partial(SqliteSaver, file, synchronous="normal", encryption=Encryption(bytes(32))), face)


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize(("one", "face"), [case for case in CASES if case.id != "threads_may_be_long-async"])  # minutes, twice
def test_mongodb(one: Clause, face: str, mongodb_server: MongoServer, mongodb_name: str) -> None:
    one.check(partial(MongoDBSaver, mongodb_server.url, mongodb_name), face)


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize(("one", "face"), CASES)
def test_postgres(one: Clause, face: str, postgres_url: str) -> None:
    one.check(partial(PostgresSaver, postgres_url), face)


# -- they find what is wrong ------------------------------------------------------------------------------------------


class Blind(MemoryStorage):
    """Takes whatever comes, as savers do that know no conditions."""

    def commit(self, batch: Batch) -> bool:
        kept = self._threads.get(batch.thread)
        batch.epoch = kept.epoch if kept else 0
        if kept and batch.ns in kept.namespaces:
            batch.head = kept.namespaces[batch.ns].head
        return super().commit(batch)


class Forgetful(Through):
    def load(self, thread: str, ns: str, checkpoint_id: bytes | None) -> Found:
        found = super().load(thread, ns, checkpoint_id)
        found.kept = ()
        return found


class Unordered(Through):
    def items(self, thread: str, ranges: Sequence[tuple[int, int, int]]) -> list[bytes]:
        return sorted(super().items(thread, ranges))


@pytest.mark.parametrize(
    ("storage", "name"),
    [
        (Blind, "a_head_moves_from_where_it_stands_only"),
        (Blind, "only_the_epochs_owner_writes"),
        (Blind, "who_slept_through_a_deletion_writes_nothing"),
        (lambda: Forgetful(MemoryStorage()), "finished_work_is_not_done_again"),
        (lambda: Unordered(MemoryStorage()), "items_come_in_the_order_asked_for"),
    ],
)
def test_a_broken_saver_is_found(storage: Callable[[], Storage], name: str) -> None:
    make: Make = InOneProcess(storage())
    found = check_saver(make, only=lambda one: one.name == name)
    assert [(broken.clause.name, broken.face) for broken in found] == [(name, "sync"), (name, "async")]
