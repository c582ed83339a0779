"""What an import costs: time, modules, and the memory of the process after it."""

import json
import subprocess
import sys
from resource import RUSAGE_CHILDREN, getrusage
from typing import Final, NamedTuple

from measure import Amount, Comparison, Goal, Record, Sides
from report import Progress, number, show_table
from workloads import Cost, Stopwatch, middle

PART: Final = "import"
LINE: Final = "from {package}.graph import StateGraph, MessagesState, START"
CHILD: Final = """
import sys
before = set(sys.modules)
{line}
loaded = sorted(set(sys.modules) - before)
import json
from resource import RUSAGE_SELF, getrusage
try:
    resident = 4096 * int(open("/proc/self/statm").read().split()[1])
except OSError:  # not Linux: the most it has had
    resident = 1024 * getrusage(RUSAGE_SELF).ru_maxrss
print(json.dumps([loaded, resident]))
"""
HEAVY: Final = ("langchain", "langsmith", "pydantic")
"""What an import of the graph should not bring along, by the start of the name."""


class Child(NamedTuple):
    cost: Cost
    modules: list[str]
    resident: int


def suite(sides: Sides, progress: Progress, *, quick: bool) -> list[Record]:
    repeats = 3 if quick else 9
    programs = [CHILD.format(line=line) for line in ("", *(LINE.format(package=package) for package in sides.packages))]
    for program in programs:
        _child(program)  # compiles what is not compiled yet
    rounds: list[list[Child]] = []
    for done in range(repeats):
        progress(f"import, round {done + 1} of {repeats}")
        rounds.append([_child(program) for program in programs])
    bare, ours, theirs = (list(children) for children in zip(*rounds, strict=True))
    start = middle([child.cost for child in bare])
    net = [[Cost(c.cost.cpu - start.cpu, c.cost.wall - start.wall) for c in children] for children in (ours, theirs)]
    lines = [
        Comparison(PART, "the import alone", *net, unit="ms", goal=Goal("≥", 10)),
        Comparison(PART, "the whole process", *([c.cost for c in children] for children in (ours, theirs)), unit="ms"),
    ]
    counts = [len(children[0].modules) for children in (ours, theirs)]
    memory = [_memory(children) for children in (ours, theirs)]
    added = [each - _memory(bare) for each in memory]
    amounts = [
        Amount(PART, "modules loaded", *counts, goal=Goal("≤", 130), alone=True),
        Amount(PART, "memory the import adds", *added, unit="MB"),
        Amount(PART, "memory of the process", *memory, unit="MB"),
    ]
    notes = [f"A Python that imports nothing takes {number(start.cpu * 1e3)} ms of CPU; the first line is without it."]
    for package, children in zip(sides.packages, (ours, theirs), strict=True):
        heavy = sorted({name.partition(".")[0] for name in children[0].modules if name.startswith(HEAVY)})
        notes.append(f"{package} brings along, of {', '.join(f'{name}*' for name in HEAVY)}: {', '.join(heavy) or 'none'}")
    title = f"Import: {LINE.format(package='X')} (fresh processes, median of {repeats})"
    show_table(title, Comparison.heads("", "ms", *sides.packages), [line.row() for line in lines])
    show_table("Import: what it brings along", Amount.heads("", *sides.packages), [line.row() for line in amounts], notes)
    return [line.record() for line in (*lines, *amounts)]


def _memory(children: list[Child]) -> float:
    return sorted(child.resident for child in children)[len(children) // 2] / 1e6


def _child(program: str) -> Child:
    """What a fresh Python costs that runs the program, and what it says of itself."""
    before, watch = getrusage(RUSAGE_CHILDREN), Stopwatch()
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    wall, after = watch.read().wall, getrusage(RUSAGE_CHILDREN)
    cost = Cost(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall)
    return Child(cost, *json.loads(done.stdout))
