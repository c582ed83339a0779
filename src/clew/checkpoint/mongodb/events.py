"""The event logs of runs in MongoDB: a group of events stands in the document of the commit that brings it, under `ev`.

There `h` is the thread's number and the run's, `r` the run's name, `f` the first event's number and `x` the last one's, `d`
what they say; and of the log as that commit left it the thread's epoch `e`, the floor `w`, until when it is kept `u`, whether
it has ended `z`, and the number of the commit that began it `b`. So the newest of a log's documents says all of it. Of a commit
that a pruning has made void only this stays, until the log goes.
"""

from typing import Any, Final

from clew.checkpoint.mongodb.documents import Document, commit_key, logs_of_runs, run_key
from clew.checkpoint.storage import Events, EventsFound, Group, Lease

FIELDS: Final = {"ev": 1}
ALONE: Final[Document] = {"d": {"$exists": False}}
MINE: Final = "ev.h"


def of_commit(commits: Any, no: bytes, number: int, epoch: int, events: Events, now: float) -> Document:
    """What commit `number` of a thread says of a run's log."""
    mine = run_key(no, events.run)
    before = _newest(commits, mine)
    group = events.group or Group(before["ev"]["x"] + 1 if before else 1, 0, b"")
    floor = max(events.floor, before["ev"]["w"]) if before else events.floor
    last = max(group.first + group.length - 1, before["ev"]["x"] if before else 0)
    return {
        "h": mine,
        "e": epoch,
        "r": events.run,
        "f": group.first,
        "x": last,
        "d": group.body,
        "w": floor,
        "u": now + events.seconds,
        "z": events.ended,
        "b": before["ev"]["b"] if before else number,
    }


def drop_below(commits: Any, no: bytes, number: int, events: Events) -> None:
    """Drops the groups that end below the floor; commit `number`, the newest one of the log, says how it stands."""
    if events.floor > 1:
        below = {MINE: run_key(no, events.run), "ev.x": {"$lt": events.floor}}
        _forget(commits, {**below, "_id": {"$ne": commit_key(no, number)}})


def newest_run(commits: Any, no: bytes) -> str | None:
    """Whose log began last."""
    document = commits.find_one({MINE: logs_of_runs(no)}, {"ev.r": 1}, sort=[("ev.b", -1)])
    return document["ev"]["r"] if document else None


def found(commits: Any, no: bytes, run: str, after: int, limit: int, lease: Lease | None, now: float) -> EventsFound | None:
    mine = run_key(no, run)
    newest = _newest(commits, mine)
    if newest is None or is_expired(newest, lease, now):
        return None
    log, groups = newest["ev"], dict[int, Group]()
    if limit:
        for one in commits.find({MINE: mine, "ev.x": {"$gt": after}}, FIELDS).sort("_id", 1).limit(limit):
            first, length = one["ev"]["f"], one["ev"]["x"] - one["ev"]["f"] + 1
            if length:
                groups[first] = Group(first, length, one["ev"]["d"])  # one that was told again is the same
    latest = commits.find_one({MINE: logs_of_runs(no), "ev.b": {"$gt": log["b"]}}, {"_id": 1}) is None
    ordered = [groups[first] for first in sorted(groups)]
    return EventsFound(run, log["e"], latest, log["x"], log["w"], log["z"], lease, ordered)


def sizes(commits: Any, no: bytes) -> list[int]:
    """Bytes of the groups of a thread."""
    told = commits.find({MINE: logs_of_runs(no)}, FIELDS).sort("_id", 1)
    return list({(one["ev"]["h"], one["ev"]["f"]): len(one["ev"]["d"]) for one in told if one["ev"]["d"]}.values())


def over(commits: Any, now: float, limit: int) -> list[Document]:
    """The newest documents of logs whose time is over."""
    newest: dict[bytes, Document] = {}
    for one in commits.find({"ev.u": {"$lte": now}}, FIELDS):
        if one["ev"]["h"] not in newest:
            last = _newest(commits, one["ev"]["h"])
            if last is not None and last["ev"]["u"] <= now:
                newest[one["ev"]["h"]] = last
        if len(newest) >= limit:
            break
    return list(newest.values())


def forget(commits: Any, log: Document) -> None:
    _forget(commits, {MINE: log["ev"]["h"]})


def is_expired(newest: Document, lease: Lease | None, now: float) -> bool:
    log = newest["ev"]
    return log["u"] <= now and (log["z"] or lease is None or lease.seconds <= 0)


def _forget(commits: Any, which: Document) -> None:
    commits.delete_many(which | ALONE)
    commits.update_many(which, {"$unset": {"ev": 1}})


def _newest(commits: Any, mine: bytes) -> Document | None:
    return commits.find_one({MINE: mine}, FIELDS, sort=[(MINE, -1), ("_id", -1)])
