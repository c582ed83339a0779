"""How sides are compared: a process each, taking turns, medians, ratios, and whether a goal was met. Knows no workload.

With a process of its own no side pays for what another has loaded or left to the garbage collector.
"""

import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self, TypeVar

from report import number
from workloads import FLOOR, Cost, middle

T = TypeVar("T")
Record = dict[str, Any]
Unit = Literal["ms", "µs", "/s"]
TIMES: Final[dict[Unit, float]] = {"ms": 1e3, "µs": 1e6}


class Goal(NamedTuple):
    """What a number must be: `"≥"` or `"≤"`, and how much; for costs, of which column."""

    sign: Literal["≥", "≤"]
    bound: float
    of: Literal["cpu", "wall"] = "cpu"

    def met(self, value: float) -> bool:
        return value >= self.bound if self.sign == "≥" else value <= self.bound

    def verdict(self, value: float) -> str:
        return f"{self.sign} {self.bound:g} {'met' if self.met(value) else 'MISSED'}"


class Sides:
    """The processes: ours, theirs, and the floor's. A context manager: they end with it."""

    def __init__(self, ours: str, theirs: str) -> None:
        self.packages = (ours, theirs)
        self._pools = [ProcessPoolExecutor(1, get_context("spawn")) for _ in range(3)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)

    def run(self, side: int, work: Callable[..., T], *arguments: Any) -> T:
        """`work(package, *arguments)` in that side's process."""
        return self._pools[side].submit(work, (*self.packages, FLOOR)[side], *arguments).result()

    def in_turn(self, repeats: int, work: Callable[..., T], *arguments: Any, floor: bool = False) -> list[list[T]]:
        """A, B, A, B, ...: what each side gave; the floor third, where it takes part."""
        rounds = [[self.run(side, work, *arguments) for side in range(3 if floor else 2)] for _ in range(repeats)]
        return [list(found) for found in zip(*rounds, strict=True)]


@dataclass(frozen=True)
class Comparison:
    """What one case cost on the sides; no samples where it was not run.

    Attributes:
        goal: for theirs in times of ours. limit: for ours in times of the floor.
        unit: of the columns; with "/s" the wall column shows how many a second, and CPU is in ms.
    """

    part: str
    case: str
    ours: Sequence[Cost]
    theirs: Sequence[Cost] = ()
    floor: Sequence[Cost] = ()
    unit: Unit = "µs"
    goal: Goal | None = None
    limit: Goal | None = None

    @property
    def ratio(self) -> Cost | None:
        return _ratio(self.theirs, self.ours) if self.theirs else None

    @property
    def above(self) -> Cost | None:
        """Ours in times of the floor."""
        return _ratio(self.ours, self.floor) if self.floor else None

    def row(self) -> list[str]:
        cells = [self.case]
        for column in ("cpu", "wall"):
            cells += [self._cell(samples, column) for samples in (self.ours, self.theirs)]
            cells += [_times(self.ratio, column), self._cell(self.floor, column), _times(self.above, column)]
        return [*cells, ", ".join(verdict for verdict in self.verdicts() if verdict)]

    def _cell(self, samples: Sequence[Cost], column: str) -> str:
        if not samples:
            return "-"
        value = getattr(middle(samples), column)
        if self.unit == "/s":
            return number(value * 1e3 if column == "cpu" else 1 / value)
        return number(value * TIMES[self.unit])

    def verdicts(self) -> tuple[str, str]:
        """Of the goal and of the limit; empty where there is none."""
        goal = self.goal.verdict(getattr(self.ratio, self.goal.of)) if self.goal and self.ratio else ""
        limit = f"floor {self.limit.verdict(getattr(self.above, self.limit.of))}" if self.limit and self.above else ""
        return goal, limit

    def record(self) -> Record:
        sides = {"ours": self.ours, "theirs": self.theirs, "floor": self.floor}
        goal, limit = self.verdicts()
        return {
            "part": self.part,
            "case": self.case,
            "unit": "seconds",
            "sides": {name: middle(s)._asdict() | {"samples": s} for name, s in sides.items() if s},
            "ratio": self.ratio._asdict() if self.ratio else None,
            "above floor": self.above._asdict() if self.above else None,
            "goal": _goal(self.goal, goal),
            "limit": _goal(self.limit, limit),
        }

    @staticmethod
    def heads(first: str, unit: Unit, ours: str, theirs: str) -> list[str]:
        """The column heads over `row`."""
        cpu, wall = ("ms", "runs/s") if unit == "/s" else (unit, unit)
        others = [theirs, "ratio", FLOOR, "above"]
        return [first, f"CPU {cpu}: {ours}", *others, f"wall {wall}: {ours}", *others, "must"]


@dataclass(frozen=True)
class Amount:
    """What was counted on the sides: bytes, modules. The goal is for theirs in times of ours, or for ours where `alone`."""

    part: str
    case: str
    ours: float
    theirs: float | None = None
    floor: float | None = None
    unit: str = ""
    goal: Goal | None = None
    alone: bool = False
    details: Record = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        return self.theirs / self.ours if self.theirs and self.ours else None

    def verdict(self) -> str:
        value = self.ours if self.alone else self.ratio
        return self.goal.verdict(value) if self.goal and value is not None else ""

    def row(self) -> list[str]:
        ratio = f"{number(self.ratio)} x" if self.ratio and not (self.alone and self.goal) else "-"
        return [f"{self.case}", *map(number, (self.ours, self.theirs)), ratio, number(self.floor), self.unit, self.verdict()]

    def record(self) -> Record:
        sides = {"ours": self.ours, "theirs": self.theirs, "floor": self.floor}
        return {
            "part": self.part,
            "case": self.case,
            "unit": self.unit,
            "sides": {name: value for name, value in sides.items() if value is not None},
            "ratio": None if self.alone else self.ratio,
            "goal": _goal(self.goal, self.verdict()),
        } | self.details

    @staticmethod
    def heads(first: str, ours: str, theirs: str) -> list[str]:
        """The column heads over `row`."""
        return [first, ours, theirs, "ratio", FLOOR, "unit", "must"]


def _ratio(above: Sequence[Cost], below: Sequence[Cost]) -> Cost:
    return Cost(*(one / other for one, other in zip(middle(above), middle(below), strict=True)))


def _times(ratio: Cost | None, column: str) -> str:
    """A difference may come out below zero where the machine is busy, and then has no ratio."""
    value = getattr(ratio, column) if ratio else 0
    return f"{number(value)} x" if value > 0 else "-"


def _goal(goal: Goal | None, verdict: str) -> Record | None:
    return goal._asdict() | {"verdict": verdict} if goal and verdict else None


def growth(early: Sequence[Cost], late: Sequence[Cost]) -> Cost:
    """How many times the early cost the late one is; the median over the repeats, each taken for itself."""
    pairs = list(zip(early, late, strict=True))
    return Cost(
        statistics.median(after.cpu / before.cpu for before, after in pairs),
        statistics.median(after.wall / before.wall for before, after in pairs),
    )
