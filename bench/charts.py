"""The results as pictures: small SVGs without a date in them, so that two of them differ where the figures do."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.ticker import NullLocator
from report import number

Results = Sequence[Mapping[str, Any]]

SIDES: Final = {"ours": ("#1b7f5c", "o"), "theirs": ("#c2571a", "s"), "floor": ("#8a8f98", "^")}
SAVERS: Final = {
    "no saver": "no saver",
    "memory": "memory, sync",
    "SQLite NORMAL": "sqlite normal, sync",
    "SQLite FULL": "sqlite full, sync",
    "PostgreSQL": "postgres, sync",
}
STYLE: Final = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "clew",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "legend.frameon": False,
}


def draw(results: Results, folder: Path, names: Mapping[str, str]) -> list[str]:
    """Writes each chart for which there are results; `names` are what the sides are called. Returns the files' names."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plot

    folder.mkdir(parents=True, exist_ok=True)
    drawn: list[str] = []
    with matplotlib.rc_context(STYLE):
        for name, (draws, size) in CHARTS.items():
            figure = plot.figure(figsize=size, layout="constrained")
            if draws(figure, results, names):
                figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None}, transparent=False)
                drawn.append(f"{name}.svg")
            plot.close(figure)
    return drawn


def _logarithmic(*axes: Any) -> None:
    """Plain numbers, and none in between: each would be an element of the file."""
    for axis in axes:
        axis.set_major_formatter(lambda value, _: f"{value:,g}")
        axis.set_minor_locator(NullLocator())


def _goals(figure: Any, results: Results, names: Mapping[str, str]) -> bool:
    """How many times theirs is ours, and what it must be."""
    judged = [result for result in results if result["goal"] and result["goal"]["sign"] == "≥"]
    if not judged:
        return False
    axes, places = figure.subplots(), range(len(judged))
    found = [_ratio(result) for result in judged]
    bounds = [result["goal"]["bound"] for result in judged]
    colours = [SIDES["ours"][0] if value >= bound else "#d9a520" for value, bound in zip(found, bounds, strict=True)]
    axes.barh(places, [value - 1 for value in found], left=1, color=colours, height=0.65)
    axes.scatter(bounds, places, marker="|", s=90, color="black", zorder=3, label="goal")
    for place, value, bound in zip(places, found, bounds, strict=True):
        axes.text(max(value, bound) * 1.1, place, f"{number(value)} ×", va="center", fontsize=7)
    labels = [f"{result['part']}: {result['case']}" for result in judged]
    axes.set_yticks(places, labels, fontsize=7)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xscale("log")
    _logarithmic(axes.xaxis)
    axes.set_xlim(0.8, 3 * max(*found, *bounds))
    title = f"{names['theirs']} in times of {names['ours']}: CPU time, wall time on databases, bytes, turns a second"
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    axes.legend(loc="lower right")
    return True


def _ratio(result: Mapping[str, Any]) -> float:
    ratio = result["ratio"]
    return ratio[result["goal"]["of"]] if isinstance(ratio, Mapping) else ratio


def _steps(figure: Any, results: Results, names: Mapping[str, str]) -> bool:
    """A step's wall time, by saver, on both faces."""
    cases = {(r["case"]): r for r in results if r["part"] == "step"}
    grid = figure.subplots(1, 2, sharey=True)
    for axes, face in zip(grid, ("sync", "async"), strict=True):
        chosen = {label: cases.get(f"100 nodes, {face}, {kept}") for label, kept in SAVERS.items()}
        if None in chosen.values():
            return False
        for index, (side, (colour, _)) in enumerate(SIDES.items()):
            found = [case["sides"].get(side, {}).get("wall", float("nan")) * 1e6 for case in chosen.values()]
            axes.bar([place + 0.27 * (index - 1) for place in range(len(found))], found, 0.25, color=colour, label=names[side])
        axes.set_xticks(range(len(chosen)), chosen, rotation=30, ha="right")
        axes.set_yscale("log")
        _logarithmic(axes.yaxis)
        axes.set_title(f"A step of 100, {face} (µs, wall)")
    grid[0].legend(loc="upper left")
    return True


def _chat(
    figure: Any, results: Results, names: Mapping[str, str], title: str, case: str, read: Callable[[Any], float | None]
) -> bool:
    """A figure of each chat over its turns; `case` begins the names of the results, after their number of turns."""
    parts = list(dict.fromkeys(result["part"] for result in results if result["part"].startswith("chat ")))
    if not parts:
        return False
    grid = figure.subplots(1, len(parts), sharey=True)
    for axes, part in zip(grid if len(parts) > 1 else [grid], parts, strict=True):
        found = [(turns, r) for r in results if r["part"] == part and (turns := _turns(r["case"], case)) is not None]
        for side, (colour, marker) in SIDES.items():
            points = [(turns, value) for turns, r in found if (value := read(r["sides"].get(side))) is not None]
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=4, label=names[side])
        axes.set_xscale("log")
        axes.set_yscale("log")
        _logarithmic(axes.xaxis, axes.yaxis)
        axes.set_xlabel("turns")
        axes.set_title(part.removeprefix("chat "))
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    (grid[0] if len(parts) > 1 else grid).legend(loc="upper left")
    return True


def _turns(case: str, kind: str) -> int | None:
    """Of `turn 1,000, saver kept open` and of `1,000 turns: bytes kept`, the number."""
    number = case.removeprefix("turn ").split(" ", 1)[0].rstrip(",").replace(",", "")
    return int(number) if case.endswith(kind) and number.isdigit() else None


def _bytes(figure: Any, results: Results, names: Mapping[str, str]) -> bool:
    return _chat(figure, results, names, "What a chat keeps (MB)", "turns: bytes kept", lambda amount: amount)


def _turn_times(figure: Any, results: Results, names: Mapping[str, str]) -> bool:
    title = "A turn of a chat, saver kept open (ms of CPU)"
    return _chat(figure, results, names, title, "saver kept open", lambda cost: cost and cost["cpu"] * 1e3)


def _crowds(figure: Any, results: Results, names: Mapping[str, str]) -> bool:
    """Turns a second, by how many conversations there are at once."""
    cases = {result["case"]: result for result in results if result["part"] == "crowd"}
    stores = list(dict.fromkeys(case.split(" at once, ")[1] for case in cases))
    if not stores:
        return False
    grid = figure.subplots(1, len(stores), sharey=True, squeeze=False)[0]
    for axes, store in zip(grid, stores, strict=True):
        found = {int(case.split()[0].replace(",", "")): r["sides"] for case, r in cases.items() if case.endswith(f" {store}")}
        for side, (colour, marker) in SIDES.items():
            rates = {many: 1 / sides[side]["wall"] for many, sides in found.items() if side in sides}
            axes.plot(list(rates), list(rates.values()), color=colour, marker=marker, markersize=4, label=names[side])
        axes.set_xscale("log")
        axes.set_yscale("log")
        _logarithmic(axes.xaxis, axes.yaxis)
        axes.set_xlabel("at once")
        axes.set_title(store)
    grid[0].legend(loc="lower left")
    figure.suptitle("Conversations at once: turns a second", x=0.01, ha="left", fontsize=10)
    return True


CHARTS: Final[dict[str, tuple[Callable[[Any, Results, Mapping[str, str]], bool], tuple[float, float]]]] = {
    "goals": (_goals, (9.5, 8.5)),
    "steps": (_steps, (9.5, 3.6)),
    "chat-bytes": (_bytes, (9.5, 3.0)),
    "chat-turns": (_turn_times, (9.5, 3.0)),
    "crowds": (_crowds, (9.5, 3.0)),
}
"""By file: what draws it, and its size in inches."""
