"""What a stream yields: which events pass, and in what shape (LangGraph's `version="v1"` shapes)."""

from collections.abc import Sequence
from typing import Any, Final, cast

from clew.engine.snapshot import update_shown
from clew.engine.writes import Returned
from clew.types import Result

MODES: Final = ("values", "updates")


def read_modes(stream_mode: Any) -> tuple[frozenset[str], bool]:
    """The modes asked for, and whether each event is to carry its mode: any sequence is a sequence, a lone string is not.

    Raises:
        ValueError: a mode there is none of.
    """
    alone = isinstance(stream_mode, str)
    modes: Sequence[Any] = (stream_mode,) if alone else tuple(cast("Sequence[Any]", stream_mode))
    for mode in modes:
        if mode not in MODES:
            raise ValueError(f"There is no stream mode {mode!r}: expected one or several of {list(MODES)}.")
    return frozenset(modes), not alone


def update_event(node: str, shown: Returned) -> dict[str, Any]:
    """What one task wrote, as it returned it."""
    return {node: update_shown(shown.writes)}


def cached_event(node: str, result: Result) -> dict[str, Any]:
    """What a task wrote that need not run again."""
    return {node: update_shown(result.writes), "__metadata__": {"cached": True}}
