"""A no-op chain: what a step costs, by the length of the chain, the face, the saver, and when a step is kept."""

import asyncio
import sqlite3
from collections.abc import Callable
from itertools import pairwise
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple, TypedDict, get_args
from unittest.mock import patch

from measure import Amount, Comparison, Goal, Record, Sides
from report import Progress, show_table
from workloads import (
    Cost,
    Durability,
    Face,
    Place,
    Store,
    Work,
    async_saver,
    cost_of,
    fresh,
    load,
    middle,
    must_be,
    place_in,
    saver,
)

PART: Final = "step"
PRAGMAS: Final = ("journal_mode", "synchronous", "page_size", "wal_autocheckpoint")
PLAIN: Final[dict[int, Goal]] = {100: Goal("≥", 12), 1_000: Goal("≥", 18)}
KEPT: Final[dict[Store, Goal]] = {
    "memory": Goal("≥", 10),
    "sqlite full": Goal("≥", 4, "wall"),
    "postgres": Goal("≥", 4.5, "wall"),
}
AS_SHIPPED, FLAT = Goal("≥", 20, "wall"), Goal("≤", 1.3)
ENGINE, DATABASE = Goal("≤", 3), Goal("≤", 1.5, "wall")
"""How far above the floor."""


class Count(TypedDict):
    n: int


def add_one(state: Count) -> Count:
    return {"n": state["n"] + 1}


async def async_add_one(state: Count) -> Count:
    return {"n": state["n"] + 1}


def nothing(state: Count) -> None:
    return None


async def async_nothing(state: Count) -> None:
    return None


NODES: Final[dict[tuple[Face, bool], Callable[[Count], Any]]] = {
    ("sync", True): add_one,
    ("sync", False): nothing,
    ("async", True): async_add_one,
    ("async", False): async_nothing,
}


def chain(package: str, face: Face, length: int, *, writes: bool = True, state: Any = Count) -> Any:
    """A builder of so many nodes in a row."""
    graph = load(package, "graph")
    builder = graph.StateGraph(state)
    names = [f"n{number}" for number in range(length)]
    for name in names:
        builder.add_node(name, NODES[face, writes])
    for before, after in pairwise([graph.START, *names, graph.END]):
        builder.add_edge(before, after)
    return builder


def steps(package: str, case: "Case", seconds: float) -> Cost:
    end, graph = {"n": case.length if case.writes else 0}, chain(package, case.face, case.length, writes=case.writes)
    work = Work(graph, lambda: {"n": 0}, lambda found: must_be(found, end), case.length)
    return cost_of(package, work, case.face, seconds, case.store, case.durability)


# -- the same durability ------------------------------------------------------------------------------------------------


def kept(package: str, face: Face, store: Store) -> dict[str, str]:
    """What one run left in SQLite: the pragmas read back from the saver's own connections, and the checkpoints."""
    opened: list[sqlite3.Connection] = []
    real = sqlite3.connect

    def connect(*args: Any, **options: Any) -> sqlite3.Connection:
        opened.append(real(*args, **{**options, "check_same_thread": False}))  # to be read from here
        return opened[-1]

    def pragmas() -> dict[str, str]:
        read = [[str(db.execute(f"pragma {name}").fetchone()[0]) for name in PRAGMAS] for db in opened]
        return {name: "/".join(sorted(set(values))) for name, values in zip(PRAGMAS, zip(*read, strict=True), strict=True)}

    builder, config, options = chain(package, face, 100), fresh(), {"durability": "sync"}

    async def run_async(place: Place) -> dict[str, str]:
        async with async_saver(package, store, place) as checkpointer:
            graph = builder.compile(checkpointer=checkpointer)
            await graph.ainvoke({"n": 0}, config, **options)
            return pragmas() | {"checkpoints": str(len([found async for found in graph.aget_state_history(config)]))}

    with TemporaryDirectory(prefix="bench-") as folder, patch.object(sqlite3, "connect", connect):
        place = place_in(folder, package)
        if face == "async":
            return asyncio.run(run_async(place))
        with saver(package, store, place) as checkpointer:
            graph = builder.compile(checkpointer=checkpointer)
            graph.invoke({"n": 0}, config, **options)
            return pragmas() | {"checkpoints": str(len(list(graph.get_state_history(config))))}


# -- the cases ----------------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    length: int
    face: Face
    store: Store
    durability: Durability
    writes: bool = True
    as_shipped: bool = False

    def __str__(self) -> str:
        kept = "no saver" if self.store == "none" else f"{self.store}, {self.durability}"
        theirs = " (theirs as it comes: full)" if self.as_shipped else ""
        return f"{self.length:,} nodes, {self.face}, {kept}{theirs}{'' if self.writes else ', returns None'}"


def cases() -> list[Case]:
    """Every saver and durability at 100 nodes; the other lengths with each saver; without one, a node that writes nothing."""
    found: list[Case] = []
    for length in (10, 100, 1_000):
        for store in get_args(Store):
            levels = get_args(Durability) if length == 100 and store != "none" else ("sync",)
            found += [Case(length, face, store, level) for level in levels for face in get_args(Face)]
    return [*found, *(Case(100, face, "none", "sync", writes=False) for face in get_args(Face))]


def suite(sides: Sides, progress: Progress, *, quick: bool) -> list[Record]:
    lines: dict[Case, Comparison] = {}
    for case in cases():
        if quick and case.length != 100 and case.store != "none":
            continue
        progress(f"step: {case}")
        repeats, seconds = (3, 0.05) if quick else (5, 0.15)
        if case.length == 1_000 and case.store != "none":
            repeats = 1  # seconds a run there, which has a thousand steps
        sampled = sides.in_turn(repeats, steps, case, seconds, floor=case.store != "memory")
        lines[case] = Comparison(PART, str(case), *sampled, goal=_goal(case), limit=_limit(case))
    _add_as_shipped(lines)
    for length in (10, 100, 1_000):
        title = f"A no-op step: {length:,} nodes in a row, one int, a fresh thread a run (a step)"
        rows = [line.row() for case, line in lines.items() if case.length == length]
        show_table(title, Comparison.heads("", "µs", *sides.packages), rows, _kept(sides) if length == 100 else [])
    further = [*(_flatness(lines, face) for face in get_args(Face)), *_on_postgres(lines)]
    show_table("A no-op step: what follows", Amount.heads("", *sides.packages), [line.row() for line in further])
    return [line.record() for line in (*lines.values(), *further)]


def _goal(case: Case) -> Goal | None:
    """For theirs in times of ours."""
    if case.store == "none":
        return PLAIN.get(case.length) if case.writes else None
    if case.durability != "sync" or case.length != 100 or (case.store, case.face) == ("postgres", "async"):
        return None
    return KEPT.get(case.store)


def _limit(case: Case) -> Goal | None:
    """For ours in times of the floor."""
    if case.store == "none":
        return ENGINE
    return DATABASE if case.length == 100 and case.durability == "sync" and case.store != "memory" else None


def _add_as_shipped(lines: dict[Case, Comparison]) -> None:
    """Their saver has no option for NORMAL: what one gains who comes from theirs as it is and takes it here."""
    for face in get_args(Face):
        ours, theirs = (lines[Case(100, face, store, "sync")] for store in ("sqlite normal", "sqlite full"))
        case = Case(100, face, "sqlite normal", "sync", as_shipped=True)
        lines[case] = Comparison(PART, str(case), ours.ours, theirs.theirs, goal=AS_SHIPPED)


def _flatness(lines: dict[Case, Comparison], face: Face) -> Amount:
    late, early = (lines[Case(length, face, "none", "sync")] for length in (1_000, 100))
    found = [
        middle(b).cpu / middle(a).cpu for a, b in ((getattr(early, s), getattr(late, s)) for s in ("ours", "theirs", "floor"))
    ]
    return Amount(PART, f"1,000 : 100 nodes, {face}, no saver", *found, unit="x CPU", goal=FLAT, alone=True)


def _on_postgres(lines: dict[Case, Comparison]) -> list[Amount]:
    """The sync face's CPU time, which its row judges by the wall; and what the async face takes in times of the sync one."""
    sync, later = (lines[Case(100, face, "postgres", "sync")] for face in get_args(Face))
    cpu = [middle(samples).cpu * 1e6 for samples in (sync.ours, sync.theirs, sync.floor)]
    faces = [middle(b).wall / middle(a).wall for a, b in ((sync.ours, later.ours), (sync.theirs, later.theirs))]
    return [
        Amount(PART, "100 nodes, sync, postgres, sync: CPU", *cpu, unit="µs", goal=Goal("≥", 7)),
        Amount(PART, "100 nodes, postgres, sync: async : sync", *faces, unit="x wall", goal=Goal("≤", 1.5), alone=True),
    ]


def _kept(sides: Sides) -> list[str]:
    notes: list[str] = []
    for store, face in (
        ("sqlite full", "sync"),
        ("sqlite full", "async"),
        ("sqlite normal", "sync"),
        ("sqlite normal", "async"),
    ):
        found = [sides.run(side, kept, face, store) for side in (0, 1)]
        if found[0] == found[1]:
            notes.append(f"{store}, {face}, read back from both: {_listed(found[0])}")
        else:
            named = zip(sides.packages, found, strict=True)
            notes += [f"{store}, {face}: NOT THE SAME, {name}: {_listed(each)}" for name, each in named]
    return notes


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
