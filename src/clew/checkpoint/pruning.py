"""Pruning: checkpoints that nobody wants any more go, and then the items that none of the others names.

A thread is taken as a run takes it, so that nobody reads or writes it by what it remembers; whoever comes meanwhile waits. What
is deleted goes in small steps, each of which leaves a thread on which every checkpoint that is kept reads as before.
"""

import os
import re
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import timedelta
from itertools import islice
from typing import Any, Final, Self, TypeAlias, cast

from clew.checkpoint.hold import MENDING, Hold
from clew.checkpoint.living import Family, Named, chunked, family_of, logs_of
from clew.checkpoint.manifest import SOURCES, fields_of, packed, read_body
from clew.checkpoint.storage import Batch, Events, Found, Pruning, Row, Storage, Weight
from clew.errors import ThreadConflict
from clew.ids import created_ms, id_bytes, new_checkpoint_id, stamped

ROWS: Final = 200  # that go at once
ITEMS: Final = 10_000  # likewise
SOURCE, ENTRIES, FRONTIER, OUTCOMES, APART, RESULTS = 1, 2, 3, 7, 11, 12  # where they stand among a row's fields
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

Duration: TypeAlias = timedelta | float | str
Keep: TypeAlias = Callable[[dict[str, Any]], bool] | Sequence[Any]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What pruning came to.

    Attributes:
        threads: from how many something was deleted. checkpoints, items: how many were.
        bytes: that these held; what a database gives back to the system of it is `reclaim`'s business.
        busy: how many threads were being run, and are left for the next time.
    """

    threads: int = 0
    checkpoints: int = 0
    items: int = 0
    bytes: int = 0
    busy: int = 0

    def __add__(self, other: Self) -> "Pruned":
        return Pruned(*[getattr(self, field.name) + getattr(other, field.name) for field in fields(self)])


def seconds_of(duration: Duration, what: str) -> float:
    """A duration in seconds: a timedelta, seconds, or text such as "30d", "12h", "90s". Raises ValueError where it is none."""
    if isinstance(duration, timedelta):
        duration = duration.total_seconds()
    if isinstance(duration, str) and (found := re.fullmatch(r"(\d+(?:\.\d+)?) ?([smhdw])", duration.strip())):
        duration = float(found[1]) * UNITS[found[2]]
    if not isinstance(duration, int | float) or isinstance(duration, bool) or not duration >= 0:
        raise ValueError(f'{what} is {duration!r}: expected seconds, a timedelta, or text such as "30d", "12h" or "90s".')
    return float(duration)


class Rule:
    """Which checkpoints are kept: the newest, the young, and those that are asked for; see `Saver.prune`.

    Raises:
        ValueError, TypeError: an argument that cannot be meant.
    """

    def __init__(
        self,
        *,
        latest: bool = False,
        keep_last: int | None = None,
        older_than: Duration | None = None,
        keep: Keep | None = None,
    ) -> None:
        if keep_last is not None and (type(keep_last) is not int or keep_last < 1):
            raise ValueError(f"keep_last is {keep_last!r}: expected how many of the newest checkpoints stay, 1 at least.")
        self.latest = latest
        self.keep_last = keep_last
        self.older_than = None if older_than is None else seconds_of(older_than, "older_than")
        self.wanted: Callable[[dict[str, Any]], bool] | None = keep if callable(keep) else None
        self.ids = frozenset(_identity(one) for one in (() if keep is None or callable(keep) else keep))

    def roots(self, family: Family, now: float) -> set[int]:
        """The checkpoints that stay for their own sake; `now` is in seconds since 1970."""
        found = family.always()
        if self.latest:
            found.update(family.heads.values())
        else:
            since = None if self.older_than is None else (now - self.older_than) * 1000
            for number, (seq, member) in enumerate(family.outermost.items()):
                late = self.keep_last is not None and number < self.keep_last
                if late or (since is not None and created_ms(member.id) >= since):
                    found.add(seq)
        for seq, member in family.members.items():
            if member.id in self.ids or (self.wanted is not None and self.wanted(member.metadata)):
                found.add(seq)
        return found


def _identity(given: Any) -> bytes:
    """A checkpoint as users name one: by its id, or a config that has it."""
    inner: dict[str, Any] = cast("dict[str, Any]", given).get("configurable", {}) if isinstance(given, dict) else {}
    text: Any = inner.get("checkpoint_id", given)
    if (found := id_bytes(text)) is None:
        raise ValueError(
            f"keep has {given!r}: expected ids of checkpoints, configs that have one, or a function of the metadata."
        )
    return found


def prune_thread(
    storage: Storage, thread: str, roots: Callable[[Family], Iterable[int]], lease: float, *, thorough: bool = False
) -> Pruned:
    """Deletes the checkpoints of a thread that are not among the roots, nor needed by them, and the items that nothing names.

    Args:
        roots: of those there are, the seqs of those that are kept. lease: seconds, as for a run.
        thorough: items are looked after where no checkpoint goes, too. That is done anyway where pruning was cut short.
    """
    hold = Hold(storage, thread, lease)
    hold.stand(storage.load(thread, "", None))
    if not (thorough or hold.mended):
        family = family_of(storage, thread)
        if family.closed(roots(family)) == family.members.keys():
            return Pruned()
    with taken(hold) as epoch:
        if epoch is not None:
            with suppress(ThreadConflict):  # it was overtaken: what is gone by now need not go again
                return _pruned(storage, thread, epoch, roots)
    return Pruned(busy=int(hold.epoch > 0))


def delete_runs(storage: Storage, thread: str, runs: frozenset[str], lease: float) -> Pruned:
    """Deletes the checkpoints of a thread that these runs made; all of it where there are no others. A thread whose head goes
    goes back to the newest of those that stay, as a fork of it."""

    def roots(family: Family) -> set[int]:
        own = [seq for seq, member in family.members.items() if member.ns == "" or not member.begun]
        return {seq for seq in own if family.run_of(seq) not in runs}

    hold = Hold(storage, thread, lease)
    hold.stand(storage.load(thread, "", None))
    family = family_of(storage, thread)
    if all(family.run_of(seq) not in runs for seq in family.members):
        return Pruned()
    with taken(hold) as epoch:
        if epoch is not None:
            with suppress(ThreadConflict):
                family = family_of(storage, thread)
                stay = [seq for seq in family.outermost if seq in roots(family)]
                if not stay:
                    gone = all_of(storage.weigh(thread))
                    storage.drop(thread)
                    return gone
                for run in runs:
                    _forget_events(storage, thread, run, epoch)
                if (head := family.heads.get("")) is not None and head not in stay:
                    _go_back(storage, thread, hold, head, family.members[stay[0]].id)
                return _pruned(storage, thread, epoch, roots)
    return Pruned(busy=int(hold.epoch > 0))


def _forget_events(storage: Storage, thread: str, run: str, epoch: int) -> None:
    """Empties the event log of a run, which is expired from then on."""
    if (found := storage.events(thread, run, 0, 0)) is not None:
        nothing = Events(run, None, found.last + 1, 0.0, ended=True)
        storage.commit(Batch(thread, "", 0, None, epoch, events=nothing))


def _go_back(storage: Storage, thread: str, hold: Hold, head: int, to: bytes) -> None:
    found = storage.load(thread, "", to)
    assert found.row is not None
    assert found.number is not None
    seq = hold.next_seq()
    row = Row(seq, stamped(new_checkpoint_id(), seq), found.row.seq, found.row.base, _forked(found.row.body))
    storage.commit(Batch(thread, "", found.number, head, hold.epoch, logs=found.logs, row=row))


def mending() -> bytes:
    """An id for a lease that runs wait for."""
    return MENDING + os.urandom(4)


@contextmanager
def taken(hold: Hold) -> Generator[int | None]:
    """Takes a thread, of which `hold` knows how it stands, from runs, which wait until it is given back. Yields the epoch to
    write under; None where a run has it, or where there is no thread."""
    hold.run = mending()
    batch = Batch(hold.thread, "", 0, None, hold.epoch)
    try:
        if hold.epoch and not hold.busy:
            hold.dress(batch, leasing=True, release=False)
            with suppress(ThreadConflict):
                hold.storage.commit(batch)
                hold.written(batch, stop=False)
        yield hold.epoch if hold.claimed else None
    finally:
        hold.let_go()
        if hold.claimed:
            with suppress(ThreadConflict):
                hold.storage.commit(Batch(hold.thread, "", 0, None, hold.epoch, release=True))


def _pruned(storage: Storage, thread: str, epoch: int, roots: Callable[[Family], Iterable[int]]) -> Pruned:
    before = storage.weigh(thread)
    family = family_of(storage, thread)
    alive = family.closed(roots(family))
    dead = family.members.keys() - alive
    _loosen(storage, thread, epoch, family, dead)
    # what needs another goes before it: so a dead one never reads as something else than it was, however far this comes
    left = iter(sorted(dead, key=lambda seq: (family.members[seq].ns.count("|") + bool(family.members[seq].ns), -seq)))
    while rows := list(islice(left, ROWS)):
        storage.prune(Pruning(thread, epoch, rows=rows))
    named = Named(storage, thread)
    unnamed = (gap for gap in named.dead() if before.items.get(gap[0], (0, 0))[0] > named.count(gap[0]))
    for ranges in chunked(unnamed, ITEMS):
        storage.prune(Pruning(thread, epoch, ranges=ranges))
    _forsake(storage, thread, epoch, family, alive, named)
    return _difference(before, storage.weigh(thread))


def _loosen(storage: Storage, thread: str, epoch: int, family: Family, dead: set[int]) -> None:
    """Writes anew the checkpoints that stay and have something in one that goes: part of their manifest, or their results."""
    changed: list[Row] = []
    for seq, member in sorted(family.members.items()):
        if seq in dead or (member.base not in dead and member.next not in dead):
            continue
        found = storage.load(thread, member.ns, member.id)
        row = found.row
        assert row is not None
        base = found.base if member.base in dead else None
        following = found.next if member.next in dead else None
        results = _results(found) if following else []
        if base is None and not results:
            continue
        body = _rewritten(row.body, base.body if base else None, results)
        changed.append(row._replace(base=None if base else row.base, body=body))
        if len(changed) == ROWS:
            storage.prune(Pruning(thread, epoch, changed=changed))
            changed = []
    if changed:
        storage.prune(Pruning(thread, epoch, changed=changed))


def _forsake(storage: Storage, thread: str, epoch: int, family: Family, alive: set[int], named: Named) -> None:
    """Deletes the heads of namespaces of which nothing is left. One whose items others name stays: its number must not be given
    to another, which would write in their places."""
    lived = {family.members[seq].ns for seq in alive}
    gone = [
        space.number
        for space in family.spaces
        if space.ns and space.ns not in lived
        if not any(named.count(log) for log, _, _ in logs_of(space))
    ]
    if gone:
        storage.prune(Pruning(thread, epoch, spaces=gone))


def all_of(weight: Weight) -> Pruned:
    """What goes where all of a thread does."""
    return _difference(weight, Weight({}, (0, 0), (0, 0)))


def _difference(before: Weight, after: Weight) -> Pruned:
    items = [sum(count for count, _ in weight.items.values()) for weight in (before, after)]
    rows, gone = before.checkpoints[0] - after.checkpoints[0], items[0] - items[1]
    return Pruned(int(rows + gone > 0), rows, gone, before.bytes - after.bytes)


# -- rows that are written anew -----------------------------------------------------------------------------------------


def _rewritten(data: bytes, base: bytes | None, results: list[Any]) -> bytes:
    """A row's bytes without the row that its manifest adds to, and without the first one that grew from it: it names every key
    itself, and has what its tasks came to."""
    fields = fields_of(data)
    if base is not None:
        whole = read_body(data).on(read_body(base).on(None))
        fields[ENTRIES], fields[FRONTIER], fields[OUTCOMES], fields[APART] = (
            whole.entries,
            whole.frontier,
            whole.outcomes,
            False,
        )
    fields[RESULTS] = fields[RESULTS] or results
    return packed(fields)


def _results(found: Found) -> list[Any]:
    """What a checkpoint's tasks came to, as the first one that grew from it says."""
    assert found.row is not None
    assert found.next is not None
    base = read_body(found.base.body).on(None) if found.base else None
    rows = {found.row.seq: read_body(found.row.body).on(base), found.row.base: base}
    return read_body(found.next.body).on(rows[found.next.base] if found.next.base else None).outcomes


def _forked(data: bytes) -> bytes:
    """A row's bytes as those of a fork: the same state and tasks, of which nothing is on record."""
    fields = fields_of(data)
    fields[SOURCE], fields[OUTCOMES], fields[RESULTS] = SOURCES.index("fork"), [], []
    return packed(fields)
