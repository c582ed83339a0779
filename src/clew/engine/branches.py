"""Which branches a thread has, and how two states differ. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from clew.types import Change, Saved


@dataclass(slots=True)
class Line:
    """The checkpoints of one branch, oldest first, and the one that it left an older branch at."""

    fork_point: bytes | None
    checkpoints: list[Saved]

    def name(self, number: int) -> str:
        """What its newest run called it; else what it is by its number in the order in which branches began, from 0."""
        given = (saved.metadata.get("branch") for saved in reversed(self.checkpoints))
        return str(next((name for name in given if name), f"branch-{number}" if number else "main"))


def lines(checkpoints: Iterable[Saved]) -> list[Line]:
    """The branches of a namespace, in the order in which they began; `checkpoints` are all of it, oldest first.

    Where two grow from one checkpoint, the older goes on with the line it was on, and the younger begins a branch.
    """
    found: list[Line] = []
    ends: dict[bytes, Line] = {}
    known: set[bytes] = set()
    for saved in checkpoints:
        line = ends.pop(saved.parent, None) if saved.parent else None
        if line is None:
            line = Line(saved.parent if saved.parent in known else None, [])
            found.append(line)
        line.checkpoints.append(saved)
        ends[saved.id] = line
        known.add(saved.id)
    return found


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Change]:
    """Key by key what differs, in the order of `after`, then what is gone."""
    found: dict[str, Change] = {}
    for key, value in after.items():
        if key not in before:
            found[key] = Change("added", None, value)
        elif _differ(before[key], value):
            found[key] = Change("grew" if _grew(before[key], value) else "changed", before[key], value)
    found.update({key: Change("removed", value, None) for key, value in before.items() if key not in after})
    return found


def _differ(before: Any, after: Any) -> bool:
    try:
        return type(before) is not type(after) or bool(before != after)
    except Exception:  # what cannot say whether it is the same (an array) is told by what it looks like
        return repr(before) != repr(after)


def _grew(before: Any, after: Any) -> bool:
    kind = cast("Any", type(before))
    return kind in (list, tuple, str) and kind is type(after) and len(before) > 0 and after[: len(before)] == before
