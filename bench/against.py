"""This run beside an earlier one's docs/bench/results.json: what has become slower, or more, than these machines' noise.

Two runs are compared by what theirs is in times of ours, for both sides were measured on the same machine at the same time.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from report import number, show_table

NOISE: Final = 1.3
"""Ratios move by so much from run to run."""
STEADY: Final = 1.05
"""Bytes and modules do not."""
TIMED: Final = ("ms", "µs", "x CPU", "x wall")

Results = Sequence[Mapping[str, Any]]


def show(path: Path, results: Results) -> None:
    """Lists what is worse than there; one line says that nothing is."""
    rows = list(_worse(json.loads(path.read_text())["results"], results))
    if rows:
        show_table(f"Worse than in {path.name}", ["", "there", "here", "of", ""], rows)
    else:
        print(f"\nNothing is worse than in {path.name}.")


def _worse(before: Results, now: Results) -> Iterator[list[str]]:
    known = {(result["part"], result["case"]): result for result in before}
    for result in now:
        earlier = known.get((result["part"], result["case"]))
        if earlier is None:
            continue
        was, here = earlier["ratio"], result["ratio"]
        if isinstance(was, Mapping) and isinstance(here, Mapping):
            of = (result["goal"] or {"of": "cpu"})["of"]
            found, bound, what = (was[of], here[of]), NOISE, f"theirs : ours, {of}"
            worse = was[of] / here[of] if here[of] > 0 else 0
        elif not isinstance(earlier["sides"].get("ours"), Mapping):
            found, what = (earlier["sides"]["ours"], result["sides"]["ours"]), result["unit"] or "ours"
            bound = NOISE if what in TIMED else STEADY
            worse = found[1] / found[0]
        else:
            continue
        if worse > bound:
            yield [f"{result['part']}: {result['case']}", *map(number, found), what, f"{number(worse)} x worse"]
