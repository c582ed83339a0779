"""Thirteen sample graphs, crashed at every storage call: on both faces, in memory and in SQLite, at every durability."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.sample_graphs import SAMPLES

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import MemoryStorage
from clew.checkpoint.sqlite import SqliteStorage
from clew.checkpoint.storage import Batch, Storage
from clew.graph.compiled import CompiledStateGraph
from clew.runtime.drive import drive
from clew.testing import crash_everywhere
from clew.types import Durability

FACES = pytest.mark.parametrize("run", [drive, pytest.param(asyncio.run, marks=pytest.mark.slow)], ids=["sync", "async"])
LATE = [pytest.param(level, marks=pytest.mark.slow) for level in ("async", "exit")]
LEVELS = pytest.mark.parametrize("durability", ["sync", *LATE])
ALL = pytest.mark.parametrize("name", list(SAMPLES))


@FACES
@LEVELS
@ALL
def test_in_memory(name: str, durability: Durability, run: Any) -> None:
    sample = SAMPLES[name]
    for late in (False, True) if durability == "async" else (False,):
        assert crash_everywhere(sample.build, *sample.given, durability=durability, run=run, late=late) >= 6


@pytest.mark.slow
@FACES
@LEVELS
@ALL
def test_in_sqlite(name: str, durability: Durability, run: Any, tmp_path: Path) -> None:
    sample, files = SAMPLES[name], iter(range(10_000))

    def storage() -> Storage:
        return SqliteStorage(str(tmp_path / f"{next(files)}.db"), synchronous="off", timeout=1)

    assert crash_everywhere(sample.build, *sample.given, durability=durability, run=run, storage=storage) >= 6


@pytest.mark.slow
@ALL
def test_whatever_order_tasks_end_in(name: str) -> None:
    sample = SAMPLES[name]
    orders: list[Callable[[int], int]] = [lambda waiting: waiting - 1, lambda waiting: waiting // 2]
    for choose in orders:
        crash_everywhere(sample.build, *sample.given, choose=choose)


# -- it finds what is wrong -----------------------------------------------------------------------------------------


class Forgetful(MemoryStorage):
    """Loses results that are kept while a superstep goes on."""

    def commit(self, batch: Batch) -> bool:
        if batch.row is None:
            batch.kept = []
        return super().commit(batch)


def test_it_finds_a_storage_that_loses_what_it_kept() -> None:
    with pytest.raises(AssertionError, match=r"crashed (before|after) storage call \d+.* ran"):
        crash_everywhere(SAMPLES["fan_out"].build, *SAMPLES["fan_out"].given, storage=Forgetful)


def test_it_finds_one_that_is_kept_later_than_it_says() -> None:
    def build(saver: Saver) -> CompiledStateGraph:
        graph = SAMPLES["nested"].build(saver)
        run_on = graph.run_on

        def later(*args: Any, **options: Any) -> Any:
            return run_on(*args, **{**options, "durability": "exit"})

        graph.run_on = later  # pyright: ignore[reportAttributeAccessIssue]
        return graph

    with pytest.raises(AssertionError, match=r"ran again, of which 1 may"):
        crash_everywhere(build, *SAMPLES["nested"].given)
