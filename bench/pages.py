"""What is committed of a run: docs/bench, with the tables as they were printed, the medians, and the charts."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import charts
import report
from environment import ROOT

FOLDER: Final = ROOT / "docs" / "bench"
HEAD: Final = """# Results

Made by `make bench ARGS=--publish`; not to be edited. [What each row means](../explanation/performance.md).

"""


def publish(facts: Mapping[str, str], results: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> None:
    """Writes all of it anew."""
    drawn = charts.draw(results, FOLDER, names)
    machine = "".join(f"- {name}: {value}\n" for name, value in facts.items())
    pictures = "".join(f"![{name.removesuffix('.svg')}]({name})\n\n" for name in drawn)
    *tables, goals = report.shown
    texts = "".join(f"```text\n{table}\n```\n\n" for table in (goals, *tables))
    (FOLDER / "results.md").write_text(f"{HEAD}{machine}\n{pictures}{texts}".rstrip() + "\n", encoding="utf-8")
    text = json.dumps({"environment": facts, "results": _rounded(results)}, indent=1, ensure_ascii=False)
    (FOLDER / "results.json").write_text(text + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    """Without the samples, and with numbers of three digits, as in the tables."""
    if isinstance(value, Mapping):
        return {name: _rounded(inner) for name, inner in value.items() if name != "samples"}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.3g}") if isinstance(value, float) else value
