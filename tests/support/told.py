"""What a reader makes of the events of runs: without what was taken back, and without what differs from run to run."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from clew.types import RunEvent

MODES = ["values", "updates", "custom", "messages", "tasks", "checkpoints"]


def standing(parts: Iterable[RunEvent]) -> list[RunEvent]:
    """The parts that were not taken back."""
    found: list[RunEvent] = []
    for part in parts:
        if part.mode != "attempt":
            found.append(part)
            continue
        void = part.data
        assert void["attempt"] >= 2
        assert any(one.task == void["task"] and one.seq == void["since"] for one in found), "it takes back what was told"
        found = [one for one in found if not (one.task == void["task"] and one.seq >= void["since"])]
    return found


def said(parts: Iterable[RunEvent]) -> Counter[str]:
    """What stands, as text without ids."""
    return Counter(_plain(part) for part in standing(parts))


def _plain(part: RunEvent) -> str:
    ns = "/".join(segment.partition(":")[0] for segment in part.ns)
    data: Any = part.data
    match part.mode:
        case "tasks":
            shown = [
                data["name"],
                "ended" if "result" in data else "begun",
                str(data.get("result")),
                type(data.get("error")).__name__ != "NoneType",
            ]
        case "checkpoints":
            shown = [data["metadata"]["step"], data["metadata"]["source"], data["next"], data["values"]]
        case "metadata":
            shown = []
        case "messages":
            shown = [data[0].content, data[1]["langgraph_node"]]
        case _:
            asked = data.get("__interrupt__") if isinstance(data, dict) else None  # pyright: ignore
            shown = [one.value for one in asked] if asked else data  # pyright: ignore
            if isinstance(shown, dict):
                shown = {key: value for key, value in shown.items() if key != "__metadata__"}  # pyright: ignore
    return f"{ns} {part.mode} {shown}"


def numbers(parts: Sequence[RunEvent]) -> list[int]:
    return [part.seq for part in parts]


def same(parts: Sequence[RunEvent], others: Sequence[RunEvent]) -> bool:
    """Whether these are the same events; an error comes back as its type and its text."""
    both = [[(one.seq, one.run_id, one.ns, one.task, _plain(one)) for one in some] for some in (parts, others)]
    return both[0] == both[1]
