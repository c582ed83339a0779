"""The event logs of runs in PostgreSQL: what is asked of the functions, and what they answer."""

from collections.abc import Sequence
from typing import Any, Final

from clew.checkpoint.storage import Events, EventsFound, Group, Lease

TELL: Final = (
    "{}clew_tell(%b::bytea, %b::bigint, %b::bytea, %b::bigint, %b::integer, %b::bytea, %b::bigint, %b::float8, %b::boolean)"
)
FIND: Final = "select * from {}clew_told_of(%b::bytea, %b::bytea, %b::bigint, %b::integer)"
EXPIRE: Final = "select {}clew_expire(%b::integer)"
DROP: Final = "select {0}clew_untell(%b::bytea), {0}clew_drop(%b::bytea)"
WEIGH: Final = (
    "select count(*), coalesce(sum(octet_length(body)), 0)::bigint from {0}clew_events where told in "
    "(select no from {0}clew_told where thread = (select no from {0}clew_thread where name = %b::bytea))"
)


def told_with(commit: str) -> str:
    """A commit that tells: its function first, and after it, in the same transaction, this one."""
    return f"select stop, {TELL.replace('{}', '{0}')} from {commit.removeprefix('select ').replace('{}', '{0}')} as done (stop)"


def values_of(thread: bytes, epoch: int, run: bytes, events: Events) -> tuple[Any, ...]:
    return (thread, epoch, run, *(events.group or (None, None, None)), events.floor, events.seconds, events.ended)


def found(lines: Sequence[Sequence[Any]]) -> EventsFound | None:
    if not lines:
        return None
    run, epoch, latest, last, floor, ended, holder, owner, base, seconds, *_ = lines[0]
    lease = None if holder is None else Lease(holder, owner.decode("utf-8", "surrogatepass"), base, seconds)
    groups = [Group(*line[10:]) for line in lines if line[10] is not None]
    return EventsFound(run.decode("utf-8", "surrogatepass"), epoch, latest, last, floor, ended, lease, groups)
