"""What the workloads share: the libraries by name, their savers, a stopwatch, and how a graph is run again and again.

Workloads are written once for all sides: the package's name is a parameter, and changes the import root alone. They run in a
process that has imported one of the libraries only. What differs between them beyond the name is in the constants below. No
tables, no ratios.
"""

import asyncio
import gc
import os
import random
import sqlite3
import statistics
import string
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal, NamedTuple

Face = Literal["sync", "async"]
Store = Literal["none", "memory", "sqlite full", "sqlite normal", "postgres"]
Durability = Literal["sync", "async", "exit"]

FLOOR: Final = "floor"
OWN_ASYNC_SAVERS: Final = {"langgraph"}
"""Whose savers of databases serve one face only; the others' objects serve both."""
POSTGRES: Final = "BENCH_POSTGRES"
"""The variable that says where the server is; each side has a database of its name there."""
SEED: Final = 20


class Cost(NamedTuple):
    """Seconds of this process's CPU, over all its threads, and of the clock on the wall."""

    cpu: float
    wall: float

    def shared(self, parts: int) -> "Cost":
        return Cost(self.cpu / parts, self.wall / parts)


class Stopwatch:
    """Runs from its making, or from the start of its laps."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._laps, self._wall, self._cpu = 0, time.perf_counter(), time.process_time()

    def read(self) -> Cost:
        return Cost(time.process_time() - self._cpu, time.perf_counter() - self._wall)

    def laps(self, seconds: float) -> Iterator[None]:
        """Laps until the seconds are over, one at least, beginning with nothing left to the garbage collector."""
        gc.collect()
        self._start()
        while self._laps < 1 or time.perf_counter() - self._wall < seconds:
            self._laps += 1
            yield

    def of_one(self, parts: int = 1) -> Cost:
        """A lap's cost so far, divided into its parts."""
        return self.read().shared(self._laps * parts)


def middle(costs: Sequence[Cost]) -> Cost:
    """The medians, of each column for itself."""
    return Cost(statistics.median(cost.cpu for cost in costs), statistics.median(cost.wall for cost in costs))


# -- the libraries ------------------------------------------------------------------------------------------------------


def load(package: str, module: str) -> Any:
    """A module of the library; the floor is one module."""
    return import_module(FLOOR if package == FLOOR else f"{package}.{module}")


class Place(NamedTuple):
    """Where a saver keeps threads: a file, or a database of PostgreSQL; and whether its tables are there already."""

    path: Path
    url: str
    made: bool = False


def place_in(folder: str, package: str) -> Place:
    """A file in the folder, or the side's own database."""
    return Place(Path(folder, "bench.db"), f"{os.environ.get(POSTGRES, '')}/{package}")


@contextmanager
def saver(package: str, store: Store, place: Place) -> Generator[Any]:
    """The library's saver, with its tables made."""
    if store == "none":
        yield None
    elif package == FLOOR:
        with _floor(store, place) as opened:
            yield opened
    elif store == "memory":
        yield load(package, "checkpoint.memory").InMemorySaver()
    elif store == "postgres":
        with load(package, "checkpoint.postgres").PostgresSaver.from_conn_string(place.url) as opened:
            if not place.made:
                opened.setup()
            yield opened
    else:
        with _sqlite(package, store, place.path) as opened:
            yield opened


@contextmanager
def _sqlite(package: str, store: Store, path: Path) -> Generator[Any]:
    kind, synchronous = load(package, "checkpoint.sqlite").SqliteSaver, store.split()[1]
    if package in OWN_ASYNC_SAVERS:  # it has no option for it: one sets it on the connection
        with kind.from_conn_string(str(path)) as opened:
            opened.setup()
            opened.conn.execute(f"pragma synchronous = {synchronous}")
            yield opened
    else:
        with kind(path, synchronous=synchronous) as opened:
            opened.setup()
            yield opened


@contextmanager
def _floor(store: Store, place: Place) -> Generator[Any]:
    import floor_log

    if store == "postgres":
        if not place.made:
            floor_log.PostgresLog.set_up(place.url)
        with floor_log.psycopg.connect(place.url, autocommit=True) as db:
            yield floor_log.PostgresLog(db)
    else:
        log = floor_log.SqliteLog(str(place.path), store.split()[1])
        yield log
        log.close()


@asynccontextmanager
async def async_saver(package: str, store: Store, place: Place) -> AsyncGenerator[Any]:
    """The same for the asyncio face."""
    if package == FLOOR and store == "postgres":
        import floor_log

        floor_log.PostgresLog.set_up(place.url)
        async with await floor_log.psycopg.AsyncConnection.connect(place.url, autocommit=True) as db:
            yield floor_log.PostgresLog(db)
    elif package not in OWN_ASYNC_SAVERS or store in ("none", "memory"):
        with saver(package, store, place) as opened:
            yield opened
    elif store == "postgres":
        kind = load(package, "checkpoint.postgres.aio").AsyncPostgresSaver
        async with kind.from_conn_string(place.url) as opened:
            await opened.setup()
            yield opened
    else:
        kind = load(package, "checkpoint.sqlite.aio").AsyncSqliteSaver
        async with kind.from_conn_string(str(place.path)) as opened:
            await opened.setup()
            await opened.conn.execute(f"pragma synchronous = {store.split()[1]}")
            yield opened


# -- running ------------------------------------------------------------------------------------------------------------


class Work(NamedTuple):
    """A graph to be run: its builder, what it is given, what must come out, and into how many parts a run's cost is divided.

    `check` raises for a result that is not the expected one: a workload that does something else is no comparison.
    """

    builder: Any
    given: Callable[[], Any]
    check: Callable[[Any], None]
    parts: int


def fresh() -> dict[str, Any]:
    """The config of a thread of its own."""
    return {"configurable": {"thread_id": uuid.uuid4().hex}, "recursion_limit": 100_000}


def cost_of(
    package: str, work: Work, face: Face, seconds: float, store: Store = "none", durability: Durability = "sync"
) -> Cost:
    """A part's cost, over as many runs as fit into `seconds` (one at least, after one that is not counted), each on a fresh
    thread."""
    options = {"durability": durability} if store != "none" else {}
    with TemporaryDirectory(prefix="bench-") as folder:
        place = place_in(folder, package)
        if face == "async":
            return asyncio.run(_async_cost_of(package, work, seconds, store, place, options))
        with saver(package, store, place) as opened:
            graph = work.builder.compile(checkpointer=opened)
            work.check(graph.invoke(work.given(), fresh(), **options))
            watch = Stopwatch()
            for _ in watch.laps(seconds):
                graph.invoke(work.given(), fresh(), **options)
            return watch.of_one(work.parts)


async def _async_cost_of(package: str, work: Work, seconds: float, store: Store, place: Place, options: dict[str, Any]) -> Cost:
    async with async_saver(package, store, place) as opened:
        graph = work.builder.compile(checkpointer=opened)
        work.check(await graph.ainvoke(work.given(), fresh(), **options))
        watch = Stopwatch()
        for _ in watch.laps(seconds):
            await graph.ainvoke(work.given(), fresh(), **options)
        return watch.of_one(work.parts)


def must_be(found: Any, expected: Any) -> None:
    if found != expected:
        raise RuntimeError(f"the workload ended with {found!r}, expected {expected!r}")


def texts(count: int, size: int) -> list[str]:
    """So many different texts of random words, of `size` bytes each, the same in every run."""
    chance = random.Random(SEED)
    words = ["".join(chance.choices(string.ascii_lowercase, k=chance.randint(2, 10))) for _ in range(5_000)]
    made = [" ".join(chance.choices(words, k=size // 3 + 1))[:size] for _ in range(count)]
    must_be(len(set(made)), count)
    return made


def rows_on_disk(path: Path) -> int:
    """Bytes of the database and its log, once the log is folded in."""
    db = sqlite3.connect(path)
    busy, *_ = db.execute("pragma wal_checkpoint(truncate)").fetchone()
    db.close()
    must_be(busy, 0)
    return sum(file.stat().st_size for file in (path, Path(f"{path}-wal")) if file.exists())
