"""Which records agree: LangGraph's, after the difference that the example declares, beside Clew's."""

import json
from difflib import unified_diff
from typing import Any, Final

from corpus.harness import Mark
from corpus.load import HERE, examples, mark_of, marks, of_face, record

Records = dict[str, dict[str, Any]]
PENDING: Final = HERE / "pending.txt"
"""Examples that Clew cannot run yet, one a line. It is to become empty."""


def pending() -> set[str]:
    return set(PENDING.read_text().split())


def expected(mark: Mark, theirs: Any) -> Any:
    """What Clew must give where LangGraph gives `theirs`."""
    return mark.differs.here(theirs) if mark.differs else theirs


def wrong(theirs: Records, ours: Records) -> dict[str, list[str]]:
    """The faces on which an example differs and should not, by example."""
    found = {
        name: [face for face in mark.faces if of_face(ours[name], face) != expected(mark, of_face(theirs[name], face))]
        for name, mark in marks().items()
    }
    return {name: faces for name, faces in found.items() if faces}


def table(theirs: Records, ours: Records) -> list[str]:
    """A line for every example, and how many are as they should be."""
    off, late = wrong(theirs, ours), pending()
    lines = [f"{name:<38} {_verdict(name, mark, off, late, ours)}" for name, mark in marks().items()]
    known = len(off.keys() & late)
    return [
        *lines,
        f"{len(lines)} examples: {len(lines) - len(off)} as they should be, {known} pending, {len(off) - known} wrong",
    ]


def difference(name: str, theirs: Any) -> list[str]:
    """What Clew gives and should not (`-`), and what it should (`+`), on each face of one example."""
    found = examples("clew")[name]
    mark = mark_of(found)
    lines: list[str] = []
    for face in mark.faces:
        ours, right = _lines(record(found, face)), _lines(expected(mark, of_face(theirs, face)))
        lines += unified_diff(ours, right, f"{name} on clew ({face})", f"as it should be ({face})", lineterm="", n=2)
    return lines


def _lines(plain: Any) -> list[str]:
    return json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False).splitlines()


def _verdict(name: str, mark: Mark, off: dict[str, list[str]], late: set[str], ours: Records) -> str:
    if name not in off:
        row = f"differs on purpose: {mark.differs.row}" if mark.differs else "same"
        return f"{row} (take it out of {PENDING.name})" if name in late else row
    found: Any = of_face(ours[name], off[name][0])
    why = found.get("did not run", "") if isinstance(found, dict) else ""  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return f"{'pending' if name in late else 'DIFFERENT'} ({', '.join(off[name])}) {why}".rstrip()
