"""How two sides are compared: a process each, taking turns, medians, ratios, and whether a goal was met. Knows no workload.

With a process of its own neither side pays for what the other has loaded or left to the garbage collector.
"""

import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from report import number
from workloads import Cost, middle

T = TypeVar("T")
Record = dict[str, Any]


class Goal(NamedTuple):
    """What a ratio must be: `"≥"` or `"≤"`, and how much."""

    sign: str
    bound: float

    def verdict(self, value: float) -> str:
        met = value >= self.bound if self.sign == "≥" else value <= self.bound
        return f"{self.sign} {self.bound:g} {'met' if met else 'MISSED'}"


class Sides:
    """The two processes, ours first. A context manager: they end with it."""

    def __init__(self, ours: str, theirs: str) -> None:
        self.packages = (ours, theirs)
        self._pools = [ProcessPoolExecutor(1, get_context("spawn")) for _ in self.packages]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)

    def run(self, side: int, work: Callable[..., T], *arguments: Any) -> T:
        """`work(package, *arguments)` in that side's process."""
        return self._pools[side].submit(work, self.packages[side], *arguments).result()

    def in_turn(self, repeats: int, work: Callable[..., T], *arguments: Any) -> tuple[list[T], list[T]]:
        """A, B, A, B, ...: what each side gave."""
        rounds = [(self.run(0, work, *arguments), self.run(1, work, *arguments)) for _ in range(repeats)]
        return [ours for ours, _ in rounds], [theirs for _, theirs in rounds]


@dataclass(frozen=True)
class Comparison:
    """One case on both sides; no samples of theirs where it was not run there. The goal is for the ratio of CPU time."""

    workload: str
    case: str
    ours: Sequence[Cost]
    theirs: Sequence[Cost]
    unit: str = "ms"
    goal: Goal | None = None

    @property
    def medians(self) -> tuple[Cost, Cost | None]:
        return middle(self.ours), middle(self.theirs) if self.theirs else None

    @property
    def ratio(self) -> Cost | None:
        ours, theirs = self.medians
        return Cost(theirs.cpu / ours.cpu, theirs.wall / ours.wall) if theirs else None

    def row(self) -> list[str]:
        (ours, theirs), ratio, times = self.medians, self.ratio, {"ms": 1e3, "µs": 1e6}[self.unit]
        cells = [self.case]
        for column in ("cpu", "wall"):
            cells += [
                number(getattr(ours, column) * times),
                number(getattr(theirs, column) * times if theirs else None),
                f"{number(getattr(ratio, column))} x" if ratio else "-",
            ]
        return [*cells, self.goal.verdict(ratio.cpu) if self.goal and ratio else ""]

    def record(self) -> Record:
        ours, theirs = self.medians
        return {
            "workload": self.workload,
            "case": self.case,
            "unit": "seconds",
            "ours": ours._asdict() | {"samples": self.ours},
            "theirs": theirs._asdict() | {"samples": self.theirs} if theirs else None,
            "ratio": self.ratio._asdict() if self.ratio else None,
            "goal": self.goal.verdict(self.ratio.cpu) if self.goal and self.ratio else None,
        }


def heads(first: str, unit: str, ours: str, theirs: str) -> list[str]:
    """The column heads over `Comparison.row`."""
    return [first, f"CPU {unit}: {ours}", theirs, "ratio", f"wall {unit}: {ours}", theirs, "ratio", "must (CPU)"]


def growth(early: Sequence[Cost], late: Sequence[Cost]) -> Cost:
    """How many times the early cost the late one is; the median over the repeats, each taken for itself."""
    pairs = list(zip(early, late, strict=True))
    return Cost(
        statistics.median(after.cpu / before.cpu for before, after in pairs),
        statistics.median(after.wall / before.wall for before, after in pairs),
    )
