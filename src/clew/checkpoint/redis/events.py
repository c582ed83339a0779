"""The event logs of runs in Redis: what goes to the scripts, and what comes back; how it is kept says `lua/told.lua`."""

from collections.abc import Mapping
from typing import Any, Final

from clew.checkpoint.storage import Events, EventsFound, Group, Lease

MARK: Final = b"~"


def packed(events: Events, put: Any) -> dict[str, Any]:
    """What a batch adds; `put` takes bytes, and says where the script finds them."""
    group = events.group
    told = {} if group is None else {"first": str(group.first), "count": str(group.length), "body": put(group.body)}
    run, ms = put(events.run.encode("utf-8", "surrogatepass")), int(events.seconds * 1000)
    return {"run": run, "floor": str(events.floor), "ms": ms, "ended": events.ended, **told}


def found(run: str, answer: list[Any]) -> EventsFound:
    header, holder, owner, base, ms, *groups = answer
    latest, last, floor, ended, epoch = map(int, header.split(b" "))
    lease = None if holder is None else Lease(holder, owner.decode("utf-8", "surrogatepass"), base, int(ms) / 1000)
    return EventsFound(run, epoch, bool(latest), last, floor, bool(ended), lease, [_group(member) for member in groups])


def runs(fields: Mapping[bytes, bytes]) -> list[str]:
    """The runs of whose logs a thread's head tells, the newest last."""
    named = sorted((int(log.split(b" ", 1)[0]), name[1:]) for name, log in fields.items() if name.startswith(MARK))
    return [name.decode("utf-8", "surrogatepass") for _, name in named]


def _group(member: bytes) -> Group:
    first, count, body = member.split(b" ", 2)
    return Group(int(first), int(count), body)


def size_of(member: bytes) -> int:
    return len(_group(member).body)
