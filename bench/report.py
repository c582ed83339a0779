"""How results are shown: aligned tables on stdout, all samples as JSON, and a sign of life on stderr. Measures nothing."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

EVERY: Final = 2.0

shown: Final[list[str]] = []
"""The tables of this run so far, as they were printed."""


class Progress:
    """Says on stderr what is going on, every two seconds at most, so that short runs stay silent."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, what: str) -> None:
        if time.monotonic() - self._last >= EVERY:
            print(f"  ... {what}", file=sys.stderr, flush=True)
            self._last = time.monotonic()


def show_facts(facts: Mapping[str, str]) -> None:
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")
    sys.stdout.flush()


def show_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> None:
    """The first column left, the others right, the last (a verdict) left."""
    widths = [max(len(line[column]) for line in (heads, *rows)) for column in range(len(heads))]
    lines = [title]
    for line in (heads, ["-" * width for width in widths], *rows):
        first, *middle, last = (text.rjust(width) for text, width in zip(line, widths, strict=True))
        lines.append("  ".join([first.strip().ljust(widths[0]), *middle, last.strip()]).rstrip())
    shown.append("\n".join([*lines, *(f"  {note}" for note in notes)]))
    print(f"\n{shown[-1]}", flush=True)


def show_goals(results: Sequence[Mapping[str, Any]]) -> None:
    """Every goal and limit, and whether it was met."""
    rows = [
        [
            f"{result['part']}: {result['case']}",
            what,
            number(value),
            f"{goal['sign']} {goal['bound']:g}",
            goal["verdict"].split()[-1],
        ]
        for result in results
        for what, goal, value in _judged(result)
    ]
    if rows:
        missed = sum(row[-1] == "MISSED" for row in rows)
        show_table(f"Goals: {len(rows) - missed} met, {missed} missed", ["", "of", "found", "must be", ""], rows)


def _judged(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], float]]:
    """A result's goals: of what, the goal, and the value that it is for."""
    found: list[tuple[str, Mapping[str, Any], float]] = []
    if goal := result["goal"]:
        ratio = result["ratio"]
        if ratio is None:
            found.append(("ours", goal, result["sides"]["ours"]))
        elif isinstance(ratio, Mapping):
            found.append((f"theirs : ours, {goal['of']}", goal, ratio[goal["of"]]))
        else:
            found.append(("theirs : ours", goal, ratio))
    if limit := result.get("limit"):
        found.append((f"ours : floor, {limit['of']}", limit, result["above floor"][limit["of"]]))
    return found


def write_json(path: Path, facts: Mapping[str, str], results: Sequence[Mapping[str, Any]]) -> None:
    path.write_text(
        json.dumps({"environment": facts, "results": results}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def number(value: float | None) -> str:
    """Three digits or more; a dash for what was not measured."""
    if value is None:
        return "-"
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3}f}"
