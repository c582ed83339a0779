"""What is measured, written once for both libraries: the package's name is a parameter, and changes the import root alone.

Every function here is complete in itself (it opens, warms up, measures, closes) and runs in a process that has imported one
of the two libraries only. What differs between them beyond the name is in the two constants below. No tables, no ratios.
"""

import asyncio
import gc
import random
import sqlite3
import statistics
import string
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal, NamedTuple, TypedDict
from unittest.mock import patch

import ormsgpack

Face = Literal["sync", "async"]
Store = Literal["none", "memory", "sqlite"]
Node = Literal["writes", "none"]

STEPS: Final = 100
SEED: Final = 20
AROUND: Final = 10
"""A turn's cost is the median of the turns up to this far before and after it."""
COLD_TURNS: Final = 11
PRAGMAS: Final = ("journal_mode", "synchronous", "page_size", "wal_autocheckpoint")

SYNC_DURABILITY: Final[dict[str, dict[str, str]]] = {"clew": {}, "langgraph": {"durability": "sync"}}
"""How one asks that a step is kept before the next starts: Clew's default."""
SEPARATE_ASYNC_SAVER: Final = {"langgraph"}
"""Whose SqliteSaver does not serve `ainvoke`; the other's one object serves both faces."""


class Cost(NamedTuple):
    """Seconds of this process's CPU, over all its threads, and of the clock on the wall."""

    cpu: float
    wall: float


class Stopwatch:
    """Runs from its making, or from the start of its laps."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._laps, self._wall, self._cpu = 0, time.perf_counter(), time.process_time()

    def read(self) -> Cost:
        return Cost(time.process_time() - self._cpu, time.perf_counter() - self._wall)

    def laps(self, seconds: float) -> Iterator[None]:
        """Laps until the seconds are over, two at least, beginning with nothing left to the garbage collector."""
        gc.collect()
        self._start()
        while self._laps < 2 or time.perf_counter() - self._wall < seconds:
            self._laps += 1
            yield

    def of_one(self, parts: int) -> Cost:
        """A lap's cost so far, divided into its parts."""
        cpu, wall = self.read()
        return Cost(cpu / (self._laps * parts), wall / (self._laps * parts))


class Count(TypedDict):
    n: int


def load(package: str, module: str) -> Any:
    return import_module(f"{package}.{module}")


@contextmanager
def saver(package: str, store: Store, path: Path) -> Generator[Any]:
    if store == "none":
        yield None
    elif store == "memory":
        yield load(package, "checkpoint.memory").InMemorySaver()
    else:
        with load(package, "checkpoint.sqlite").SqliteSaver.from_conn_string(str(path)) as opened:
            yield opened


@asynccontextmanager
async def async_saver(package: str, store: Store, path: Path) -> AsyncGenerator[Any]:
    if store == "sqlite" and package in SEPARATE_ASYNC_SAVER:
        async with load(package, "checkpoint.sqlite.aio").AsyncSqliteSaver.from_conn_string(str(path)) as opened:
            yield opened
    else:
        with saver(package, store, path) as opened:
            yield opened


# -- a step that does nothing -------------------------------------------------------------------------------------------


def add_one(state: Count) -> Count:
    return {"n": state["n"] + 1}


async def async_add_one(state: Count) -> Count:
    return {"n": state["n"] + 1}


def nothing(state: Count) -> None:
    return None


async def async_nothing(state: Count) -> None:
    return None


NODES: Final[dict[tuple[Face, Node], Callable[[Count], Any]]] = {
    ("sync", "writes"): add_one,
    ("sync", "none"): nothing,
    ("async", "writes"): async_add_one,
    ("async", "none"): async_nothing,
}


def chain(package: str, face: Face, node: Node) -> Any:
    """A builder of `STEPS` nodes in a row."""
    graph = load(package, "graph")
    builder = graph.StateGraph(Count)
    names = [f"n{number}" for number in range(STEPS)]
    for name in names:
        builder.add_node(name, NODES[face, node])
    for before, after in pairwise([graph.START, *names, graph.END]):
        builder.add_edge(before, after)
    return builder


def fresh() -> dict[str, Any]:
    """The config of a thread of its own."""
    return {"configurable": {"thread_id": uuid.uuid4().hex}, "recursion_limit": 10 * STEPS}


def steps(package: str, face: Face, store: Store, node: Node, seconds: float) -> Cost:
    """One step's cost, over as many runs of the chain as fit into `seconds` (two at least), each on a fresh thread."""
    builder = chain(package, face, node)
    options = SYNC_DURABILITY[package] if store != "none" else {}
    end = {"n": STEPS if node == "writes" else 0}
    with TemporaryDirectory(prefix="bench-") as place:
        path = Path(place, "bench.db")
        if face == "async":
            return asyncio.run(_async_steps(package, store, path, builder, options, end, seconds))
        with saver(package, store, path) as opened:
            graph = builder.compile(checkpointer=opened)
            _must_be(graph.invoke({"n": 0}, fresh(), **options), end)
            watch = Stopwatch()
            for _ in watch.laps(seconds):
                graph.invoke({"n": 0}, fresh(), **options)
            return watch.of_one(STEPS)


async def _async_steps(
    package: str, store: Store, path: Path, builder: Any, options: dict[str, str], end: Any, seconds: float
) -> Cost:
    async with async_saver(package, store, path) as opened:
        graph = builder.compile(checkpointer=opened)
        _must_be(await graph.ainvoke({"n": 0}, fresh(), **options), end)
        watch = Stopwatch()
        for _ in watch.laps(seconds):
            await graph.ainvoke({"n": 0}, fresh(), **options)
        return watch.of_one(STEPS)


def _must_be(found: Any, expected: Any) -> None:
    """A workload that does something else than the other's is no comparison."""
    if found != expected:
        raise RuntimeError(f"the workload ended with {found!r}, expected {expected!r}")


# -- the same durability ------------------------------------------------------------------------------------------------


def kept(package: str, face: Face) -> dict[str, str]:
    """What one run of the chain left in SQLite: the pragmas read back from the saver's own connections, and the checkpoints."""
    opened: list[sqlite3.Connection] = []
    real = sqlite3.connect

    def connect(*args: Any, **options: Any) -> sqlite3.Connection:
        opened.append(real(*args, **{**options, "check_same_thread": False}))  # to be read from here
        return opened[-1]

    def pragmas() -> dict[str, str]:
        read = [[str(db.execute(f"pragma {name}").fetchone()[0]) for name in PRAGMAS] for db in opened]
        return {name: "/".join(sorted(set(values))) for name, values in zip(PRAGMAS, zip(*read, strict=True), strict=True)}

    builder, config, options = chain(package, face, "writes"), fresh(), SYNC_DURABILITY[package]

    async def run_async(path: Path) -> dict[str, str]:
        async with async_saver(package, "sqlite", path) as store:
            graph = builder.compile(checkpointer=store)
            await graph.ainvoke({"n": 0}, config, **options)
            return pragmas() | {"checkpoints": str(len([found async for found in graph.aget_state_history(config)]))}

    with TemporaryDirectory(prefix="bench-") as place, patch.object(sqlite3, "connect", connect):
        path = Path(place, "bench.db")
        if face == "async":
            return asyncio.run(run_async(path))
        with saver(package, "sqlite", path) as store:
            graph = builder.compile(checkpointer=store)
            graph.invoke({"n": 0}, config, **options)
            return pragmas() | {"checkpoints": str(len(list(graph.get_state_history(config))))}


# -- a conversation that grows ------------------------------------------------------------------------------------------


class Size(NamedTuple):
    """Bytes: the database file; the text of all messages; the messages as `[type, id, content]` in msgpack, each once."""

    file: int
    text: int
    unique: int


class Conversation(NamedTuple):
    """By turn: what it cost with the saver kept open, what with a saver opened for it, and the sizes after it."""

    warm: dict[int, Cost]
    cold: dict[int, Cost]
    sizes: dict[int, Size]


def texts(count: int, size: int) -> list[str]:
    """So many different texts of random words, of `size` bytes each, the same in every run."""
    chance = random.Random(SEED)
    words = ["".join(chance.choices(string.ascii_lowercase, k=chance.randint(2, 10))) for _ in range(5_000)]
    made = [" ".join(chance.choices(words, k=size // 3 + 1))[:size] for _ in range(count)]
    _must_be(len(set(made)), count)
    return made


class Chat:
    """One node that answers each message with one of the same size; the texts are laid out beforehand."""

    def __init__(self, package: str, turns: int, size: int) -> None:
        from langchain_core.messages import AIMessage, HumanMessage

        graph = load(package, "graph")
        self.said = said = texts(2 * turns, size)
        self.config, self.options, self.ask = fresh(), SYNC_DURABILITY[package], HumanMessage

        def model(state: dict[str, Any]) -> dict[str, Any]:
            return {"messages": [AIMessage(said[len(state["messages"])])]}

        self.builder = graph.StateGraph(graph.MessagesState)
        self.builder.add_node("model", model)
        self.builder.add_edge(graph.START, "model")
        self.builder.add_edge("model", graph.END)

    def turn(self, graph: Any, number: int) -> None:
        graph.invoke({"messages": [self.ask(self.said[2 * number - 2])]}, self.config, **self.options)


def chat(package: str, size: int, marks: Sequence[int], cold: Sequence[int]) -> Conversation:
    """A conversation up to the last of the `marks`, one message of `size` bytes from each side a turn, on SQLite.

    Around each mark the turns are timed, and right after its turn the database is measured. `cold` are those marks soon after
    which some turns get a saver and a graph of their own, and the clock starts before the file is opened.
    """
    late = {mark: range(mark + AROUND + 1, mark + AROUND + 1 + COLD_TURNS) for mark in cold}
    apart = {turn for turns in late.values() for turn in turns}
    total = max(marks[-1], *apart)
    talk = Chat(package, total, size)
    costs: list[Cost] = []
    files: dict[int, int] = {}
    with TemporaryDirectory(prefix="bench-") as place:
        path = Path(place, "bench.db")
        with saver(package, "sqlite", path) as opened:
            kept_open = talk.builder.compile(checkpointer=opened)
            for turn in range(1, total + 1):
                watch = Stopwatch()
                if turn in apart:
                    with saver(package, "sqlite", path) as own:
                        talk.turn(talk.builder.compile(checkpointer=own), turn)
                        costs.append(watch.read())
                else:
                    talk.turn(kept_open, turn)
                    costs.append(watch.read())
                if turn in marks:
                    files[turn] = _file_size(path)
            messages = kept_open.get_state(talk.config).values["messages"]
    _must_be([message.content for message in messages], talk.said)
    return Conversation(
        warm={mark: middle(costs[max(0, mark - AROUND - 1) : mark + AROUND]) for mark in marks},
        cold={mark: middle([costs[turn - 1] for turn in turns]) for mark, turns in late.items()},
        sizes={mark: _size(file, messages[: 2 * mark]) for mark, file in files.items()},
    )


def middle(costs: Sequence[Cost]) -> Cost:
    """The medians, of each column for itself."""
    return Cost(statistics.median(cost.cpu for cost in costs), statistics.median(cost.wall for cost in costs))


def _file_size(path: Path) -> int:
    """Bytes of the database and its log, once the log is folded in."""
    with closing(sqlite3.connect(path)) as db:
        busy, *_ = db.execute("pragma wal_checkpoint(truncate)").fetchone()
        _must_be(busy, 0)
    return sum(file.stat().st_size for file in (path, Path(f"{path}-wal")))


def _size(file: int, messages: Sequence[Any]) -> Size:
    unique = sum(len(ormsgpack.packb([message.type, message.id, message.content])) for message in messages)
    return Size(file, sum(len(message.content) for message in messages), unique)
