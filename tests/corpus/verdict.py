"""Which records agree: LangGraph's, after the difference that the example declares, beside Clew's."""

from typing import Any

from corpus.harness import Mark
from corpus.load import marks, of_face


def expected(mark: Mark, theirs: Any) -> Any:
    """What Clew must give where LangGraph gives `theirs`."""
    return mark.differs.here(theirs) if mark.differs else theirs


def table(theirs: dict[str, dict[str, Any]], ours: dict[str, dict[str, Any]]) -> tuple[list[str], int]:
    """A line for every example and the count of those that differ though they should not."""
    lines: list[str] = []
    wrong = 0
    for name, mark in marks().items():
        off = [face for face in mark.faces if of_face(ours[name], face) != expected(mark, of_face(theirs[name], face))]
        wrong += bool(off)
        lines.append(f"{name:<34} {_verdict(mark, off, ours[name])}")
    total = len(lines)
    lines.append(f"{total} examples: {total - wrong} as they should be, {wrong} not")
    return lines, wrong


def _verdict(mark: Mark, off: list[str], ours: dict[str, Any]) -> str:
    if not off:
        return f"differs as meant   {mark.differs.row}" if mark.differs else "same"
    found = of_face(ours, off[0])
    why: Any = found.get("did not run", "") if isinstance(found, dict) else ""  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return f"DIFFERENT ({', '.join(off)})   {why}"
