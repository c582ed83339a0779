"""Whether a run may take another superstep: nobody has asked it to stop, and it has some left."""

from collections.abc import Sequence

from clew.errors import GraphDrained, GraphRecursionError
from clew.runtime.scope import Scope
from clew.types import Task


def may_go_on(scope: Scope, left: int, frontier: Sequence[Task]) -> None:
    """Raises GraphDrained where the run was asked to stop, GraphRecursionError where it may take no further superstep."""
    journal = scope.journal
    if scope.control is not None and scope.control.drain_requested:
        raise GraphDrained(scope.control.drain_reason or "", kept=journal is not None)
    if journal is not None and journal.hold.stop:
        raise GraphDrained("another run wants the thread, with `on_busy='interrupt'`")
    if left <= 0:
        raise GraphRecursionError(_exhausted(scope, frontier))


def _exhausted(scope: Scope, frontier: Sequence[Task]) -> str:
    names = sorted({task.node for task in frontier})
    within = [segment.partition(":")[0] for segment in scope.ns]
    inside = f", in the graph within {' / '.join(within)!r}" if within else ""
    thread = "" if scope.journal is None else " The thread is kept: go on with `invoke(None, config)`."
    return (
        f"The run took {scope.settings.recursion_limit} supersteps and is not at its end; {names} would run next{inside}. "
        'Does a loop have no way out? Otherwise allow more: `config={"recursion_limit": 1000}`.' + thread
    )
