"""Every clause that every store keeps to, on each of them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from clew.store.items import IndexConfig, TTLConfig
from clew.store.keeping import Store
from clew.store.memory import MemoryStorage
from clew.store.sqlite import SqliteStore
from clew.testing.stores import Clause, Make, cases


def memory() -> Make:
    storage = MemoryStorage()

    def make(*, index: IndexConfig | None = None, ttl: TTLConfig | None = None) -> Store:
        return Store(storage, index=index, ttl=ttl)

    return make


MAKERS: dict[str, Callable[[Path], Make]] = {
    "memory": lambda path: memory(),
    "sqlite": lambda path: partial(SqliteStore, path / "store.db", synchronous="normal"),
}


@pytest.mark.parametrize("backend", MAKERS)
@pytest.mark.parametrize(
    ("one", "face"),
    [pytest.param(one, face, id=f"{one.name}-{face}", marks=[pytest.mark.slow] * one.heavy) for one, face in cases()],
)
def test_clause(one: Clause, face: str, backend: str, tmp_path: Path) -> None:
    one.check(MAKERS[backend](tmp_path), face)
