"""A conversation that grows: what a turn costs, what is kept, what it takes to open the thread again and to list its history.

The sides' conversations grow side by side in their own processes, and take turns around each mark.
"""

import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import ormsgpack
import postgres
from measure import Amount, Comparison, Goal, Record, Sides
from report import Progress, show_table
from workloads import FLOOR, POSTGRES, Cost, Place, Stopwatch, Store, fresh, load, must_be, rows_on_disk, saver, texts

MARKS: Final = (10, 100, 334, 1_000)
"""Turns; after 334 LangGraph has a thousand checkpoints."""
ROUND, ROUNDS = 7, 3
"""The turns right before a mark are timed in so many rounds of so many."""
COLD_TURNS: Final = 7
LISTED: Final = 1_000


class Talk:
    """A conversation in this process: one node that answers each message with one of the same size."""

    def __init__(self, package: str, store: Store, size: int, turns: int) -> None:
        from langchain_core.messages import AIMessage, HumanMessage

        graph = load(package, "graph")
        self.package, self.store = package, store
        self.said, self.ask = texts(2 * turns, size), HumanMessage
        self.config, self.done = fresh(), 0
        self.stack = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="bench-"))
        self.stack.callback(shutil.rmtree, self.folder)
        self.database = f"{package}_{os.getpid()}_{size}"
        if store == "postgres":
            postgres.make(os.environ[POSTGRES], self.database)
        self.place = Place(self.folder / "bench.db", f"{os.environ.get(POSTGRES, '')}/{self.database}")

        def model(state: Any) -> Any:
            return {"messages": [AIMessage(self.said[len(state["messages"])])]}

        self.builder = graph.StateGraph(graph.MessagesState)
        self.builder.add_node("model", model)
        self.builder.add_edge(graph.START, "model")
        self.builder.add_edge("model", graph.END)
        self.graph = self.builder.compile(checkpointer=self.stack.enter_context(saver(package, store, self.place)))

    def turn(self, graph: Any) -> None:
        graph.invoke({"messages": [self.ask(self.said[2 * self.done])]}, self.config, durability="sync")
        self.done += 1

    def again(self, stack: ExitStack) -> Any:
        """The graph on a saver of its own, as another process would have it."""
        place = self.place._replace(made=True)
        return self.builder.compile(checkpointer=stack.enter_context(saver(self.package, self.store, place)))


_talks: dict[str, Talk] = {}


def begin(package: str, store: Store, size: int, turns: int) -> None:
    _talks[package] = Talk(package, store, size, turns)


def end(package: str) -> None:
    _talks.pop(package).stack.close()


def warm(package: str, turns: int) -> list[Cost]:
    """So many turns more, with the saver kept open."""
    talk, costs = _talks[package], list[Cost]()
    for _ in range(turns):
        watch = Stopwatch()
        talk.turn(talk.graph)
        costs.append(watch.read())
    return costs


def cold(package: str) -> Cost:
    """A turn more, on a saver opened for it; the clock starts before."""
    talk, watch = _talks[package], Stopwatch()
    with ExitStack() as stack:
        talk.turn(talk.again(stack))
        return watch.read()


def state(package: str, reopened: bool) -> Cost:
    """`get_state`, with all of its messages read, on the saver kept open or on one opened for it."""
    talk, watch = _talks[package], Stopwatch()
    with ExitStack() as stack:
        graph = talk.again(stack) if reopened else talk.graph
        messages = graph.get_state(talk.config).values["messages"]
        read = [message.content for message in messages]
        cost = watch.read()
    must_be(read, talk.said[: 2 * talk.done])
    return cost


def history(package: str, limit: int, read: bool) -> Cost:
    """The newest checkpoints as a list; `read`: and the messages of each."""
    talk, watch = _talks[package], Stopwatch()
    found = list(talk.graph.get_state_history(talk.config, limit=limit))
    if read:
        _ = [len(state.values.get("messages", ())) for state in found]
    cost = watch.read()
    must_be([len(found), found[0].next], [limit, ()])
    return cost


class Size(NamedTuple):
    """Bytes: what is kept; and the messages as `[type, id, content]` in msgpack, each once."""

    kept: int
    unique: int


def size_of(package: str) -> Size:
    talk = _talks[package]
    if talk.store == "postgres":
        kept = postgres.size(os.environ[POSTGRES], talk.database)
    else:
        kept = rows_on_disk(talk.place.path)
    if package == FLOOR:
        return Size(kept, 0)
    messages = talk.graph.get_state(talk.config).values["messages"]
    return Size(kept, sum(len(ormsgpack.packb([message.type, message.id, message.content])) for message in messages))


# -- the cases ----------------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """A conversation. `until`: where theirs ends, which keeps the whole conversation at each checkpoint."""

    store: Store
    size: int
    until: int
    unique: Goal
    fewer: Goal | None = None
    cold: Goal | None = None
    warm: Goal | None = None
    lists: bool = False

    def __str__(self) -> str:
        return f"{self.store}, {self.size / 1_000:g} KB"


CASES: Final = (
    Case("sqlite full", 500, 1_000, Goal("≤", 1.5), Goal("≥", 800), Goal("≥", 15), Goal("≥", 40), lists=True),
    Case("sqlite full", 5_000, 100, Goal("≤", 1.5)),
    Case("postgres", 500, 1_000, Goal("≤", 1.5), Goal("≥", 250), lists=True),
    Case("postgres", 5_000, 100, Goal("≤", 1.5)),
)
DATABASE: Final = Goal("≤", 1.5, "wall")
"""How far above the floor."""
SLOPE, STATE, LISTING = Goal("≤", 1.02), Goal("≥", 10), Goal("≥", 400)


class Result:
    """What one case gave, in rows of its tables."""

    def __init__(self) -> None:
        self.turns: list[Comparison] = []
        self.reads: list[Comparison] = []
        self.sizes: list[Amount] = []


def suite(sides: Sides, progress: Progress, *, quick: bool) -> list[Record]:
    records: list[Record] = []
    for case in CASES:
        if quick:
            case = case._replace(until=min(case.until, 100))
        found = Result()
        for side in range(3):
            sides.run(side, begin, case.store, case.size, MARKS[-1] + COLD_TURNS * len(MARKS))
        try:
            _talk_on(sides, progress, case, found, quick=quick)
        finally:
            for side in range(3):
                sides.run(side, end)
        heads = Comparison.heads("", "ms", *sides.packages)
        note = f"LangGraph stops after turn {case.until:,}: it keeps the whole conversation at each checkpoint."
        notes = [note] if case.until < MARKS[-1] else []
        show_table(
            f"Chat on {case}: two messages a turn (a turn, those before the mark)", heads, [c.row() for c in found.turns], notes
        )
        show_table(f"Chat on {case}: reading it", heads, [c.row() for c in found.reads])
        show_table(f"Chat on {case}: what is kept", Amount.heads("", *sides.packages), [a.row() for a in found.sizes], notes)
        records += [row.record() for row in (*found.turns, *found.reads, *found.sizes)]
    return records


def _talk_on(sides: Sides, progress: Progress, case: Case, found: Result, *, quick: bool) -> None:
    """Goes from mark to mark; after each come the cold turns, which are turns of the conversation as well."""
    part, done, kept = f"chat {case}", 0, dict[int, list[Size | None]]()
    goals = (case.warm, case.cold, case.fewer, DATABASE)
    for mark in MARKS:
        taking = [side for side in range(3) if side != 1 or mark <= case.until]
        timed = min(ROUND * ROUNDS, (mark - done) // 2) // ROUNDS
        for side in taking:
            progress(f"{part}: {(*sides.packages, FLOOR)[side]} talks to turn {mark:,}")
            sides.run(side, warm, mark - done - timed * ROUNDS)
        costs: list[list[Cost]] = [[], [], []]
        for side in (side for _ in range(ROUNDS) for side in taking):
            costs[side] += sides.run(side, warm, timed)
        warmed, cooled, fewer, limit = goals if mark == MARKS[-1] else (None,) * 4
        found.turns.append(_line(part, f"turn {mark:,}, saver kept open", costs, warmed, limit))
        kept[mark] = [sides.run(side, size_of) if side in taking else None for side in range(3)]
        found.sizes.append(_kept(part, mark, kept[mark], fewer))
        _read(sides, progress, case, found, mark, taking, quick=quick)
        if mark >= 100:
            costs = [[], [], []]
            for side in (side for _ in range(COLD_TURNS) for side in taking):
                costs[side].append(sides.run(side, cold))
            found.turns.append(_line(part, f"turn {mark:,}, saver opened for it", costs, cooled, limit))
        done = mark + (COLD_TURNS if mark >= 100 else 0)
    ours = kept[MARKS[-1]][0]
    unique = Amount(part, "1,000 turns: kept : unique content", ours.kept / ours.unique, unit="x", goal=case.unique, alone=True)
    found.sizes += [unique, _slope(part, kept)]


def _line(part: str, name: str, costs: Sequence[Sequence[Cost]], goal: Goal | None, limit: Goal | None = None) -> Comparison:
    return Comparison(part, name, *costs, unit="ms", goal=goal, limit=limit)


def _kept(part: str, mark: int, sizes: Sequence[Size | None], goal: Goal | None) -> Amount:
    ours, *others = (size.kept / 1e6 if size else None for size in sizes)
    return Amount(part, f"{mark:,} turns: bytes kept", ours, *others, unit="MB", goal=goal)


def _slope(part: str, kept: dict[int, list[Size | None]]) -> Amount:
    """Of log bytes over log turns, from 100 on: 1 is linear, 2 is quadratic."""
    found: list[float | None] = []
    for side in range(3):
        marks = [mark for mark, sizes in kept.items() if mark >= 100 and sizes[side]]
        first, last = marks[0], marks[-1]
        grown = kept[last][side].kept / kept[first][side].kept
        found.append(math.log(grown) / math.log(last / first) if last > first else None)
    return Amount(part, "slope of log bytes over log turns from 100 on", *found, goal=SLOPE, alone=True)


def _read(sides: Sides, progress: Progress, case: Case, found: Result, mark: int, taking: list[int], *, quick: bool) -> None:
    """`get_state` at the marks that matter, and the history where there are enough checkpoints."""
    part, taking = f"chat {case}", [side for side in taking if side != 2]  # the floor reads no history
    if mark in (100, 1_000):
        for reopened in (False, True):
            costs: list[list[Cost]] = [[], [], []]
            for side in (side for _ in range(7) for side in taking):
                costs[side].append(sides.run(side, state, reopened))
            how = "saver opened for it" if reopened else "saver kept open"
            goal = STATE if mark == 1_000 and case.store != "postgres" else None
            found.reads.append(_line(part, f"get_state of {2 * mark:,} messages, {how}", costs, goal))
    if case.lists and mark == (100 if quick else 334):
        count = 250 if quick else LISTED
        for read in (False, True):
            progress(f"{part}: listing {count:,} checkpoints")
            costs = [[], [], []]
            for side in (0, *taking, 0):  # theirs takes ten seconds and more
                costs[side].append(sides.run(side, history, count, read))
            how = "and reading each one's messages" if read else "without reading their values"
            found.reads.append(_line(part, f"history, {count:,} checkpoints, {how}", costs, None if read or quick else LISTING))
