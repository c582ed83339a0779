"""Whatever may be done to a thread as rows, by chance: runs, forks, outcomes that are replaced, prunings. For tests that do the
same to two storages and compare what is read."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from clew.checkpoint.storage import Batch, Found, Kept, Lease, Pruning, Row, Space, Storage
from clew.ids import new_checkpoint_id, new_epoch, stamped

THREAD = "t"
NAMES = ("", "child", "child|inner", "other", "last")


@dataclass
class Place:
    """A namespace as whoever writes knows it."""

    number: int
    head: int | None = None
    ends: int = 0
    rows: list[Row] = field(default_factory=list[Row])


class Tale:
    """`tell` does one thing to all storages that it is given, each time one of them."""

    def __init__(self, seed: int, storages: Callable[[], tuple[Storage, ...]]) -> None:
        self.chance = random.Random(seed)
        self.storages = storages
        self.epoch = self.seq = self.numbers = 0
        self.places: dict[str, Place] = {}
        self.skipped: list[int] = []
        self.logs = 0

    def tell(self) -> None:
        if self.epoch and self.chance.random() < 0.2:
            self.prune()
        else:
            self.run()

    def commit(self, batch: Batch) -> None:
        for storage in self.storages():
            storage.commit(batch)
        self.epoch = batch.claim or self.epoch

    # -- a run ------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        steps = self.chance.randrange(1, 6)
        leased = self.chance.random() < 0.8
        for step in range(steps):
            batch = self.batch()
            if step == 0:
                batch.claim = new_epoch(self.epoch)
                batch.lease = Lease(b"run", "owner", None, 60.0) if leased else None
            batch.release = leased and 0 < step == steps - 1
            self.commit(batch)
        if leased and (steps == 1 or self.chance.random() < 0.3):
            self.commit(Batch(THREAD, "", 0, None, self.epoch, release=True))

    def batch(self) -> Batch:
        """One commit of a namespace: of rows, or of outcomes, or of how its logs end."""
        name = "" if not self.places else self.chance.choice(NAMES)
        if name not in self.places:
            self.places[name] = Place(self.numbers)
            self.numbers += 1
        place = self.places[name]
        batch = Batch(THREAD, name, place.number, place.head, self.epoch)
        batch.kept = [self.outcome() for _ in range(self.chance.randrange(3)) if self.rows()]
        if place.head is None or self.chance.random() < 0.8:
            self.logs += 1
            batch.logs = b"logs %d" % self.logs
            log = place.number << 16
            for _ in range(self.chance.randrange(4)):
                batch.items.append((log, place.ends, self.bytes()))
                place.ends += self.chance.choice((1, 1, 1, 5))
            if place.head is None or self.chance.random() < 0.9:
                *batch.history, batch.row = [self.row(place) for _ in range(self.chance.choice((1, 1, 2, 3)))]
                place.head = batch.row.seq
        elif not batch.kept:
            batch.kept = [self.outcome()]
        return batch

    def row(self, place: Place) -> Row:
        seq = self.next_seq(place)
        before = place.rows[-1].seq if place.rows else None
        if place.rows and self.chance.random() < 0.2:
            before = self.chance.choice(place.rows).seq
        base = self.chance.choice(self.rows()).seq if self.rows() and self.chance.random() < 0.5 else None
        place.rows.append(Row(seq, stamped(new_checkpoint_id(), seq), before, base, self.bytes()))
        return place.rows[-1]

    def next_seq(self, place: Place) -> int:
        """Or one that a graph beside took before it wrote."""
        for seq in self.skipped:
            if seq > max([place.head or 0, *(row.seq for row in place.rows)]) and self.chance.random() < 0.5:
                self.skipped.remove(seq)
                return seq
        more = self.chance.choice((1, 1, 1, 2, 7))
        self.skipped += range(self.seq + 1, self.seq + more)
        self.seq += more
        return self.seq

    def outcome(self) -> Kept:
        return Kept(self.chance.choice(self.rows()).seq, self.chance.choice(("a", "b")), self.bytes())

    def bytes(self) -> bytes:
        return self.chance.randbytes(self.chance.choice((0, 3, 20, 200)))

    def rows(self) -> list[Row]:
        return [row for place in self.places.values() for row in place.rows]

    # -- a pruning ----------------------------------------------------------------------------------------------------

    def prune(self) -> None:
        self.commit(Batch(THREAD, "", 0, None, self.epoch, claim=new_epoch(self.epoch), lease=Lease(b"mend", "x", None, 60.0)))
        pruning = Pruning(THREAD, self.epoch)
        if self.chance.random() < 0.3 and len(self.places) > 2:
            name = self.chance.choice([name for name in self.places if name])
            place = self.places.pop(name)
            pruning.rows = [row.seq for row in place.rows]
            pruning.ranges = [(place.number << 16, 0, 1 << 16)]
            self.apply(pruning)  # as Clew prunes: rows go first, and then their namespace
            pruning = Pruning(THREAD, self.epoch, spaces=[place.number])
        else:
            self.choose(pruning)
        self.apply(pruning)
        self.commit(Batch(THREAD, "", 0, None, self.epoch, release=True))

    def choose(self, pruning: Pruning) -> None:
        for place in self.places.values():
            dead = [row for row in place.rows if row.seq != place.head and self.chance.random() < 0.4]
            pruning.rows += [row.seq for row in dead]
            place.rows = [row for row in place.rows if row not in dead]
            if place.rows and self.chance.random() < 0.5:
                i = self.chance.randrange(len(place.rows))
                place.rows[i] = place.rows[i]._replace(body=self.bytes(), base=None)
                pruning.changed.append(place.rows[i])
            if place.ends and self.chance.random() < 0.5:
                lo = self.chance.randrange(place.ends)
                pruning.ranges.append((place.number << 16, lo, lo + self.chance.randrange(1, 9)))

    def apply(self, pruning: Pruning) -> None:
        for storage in self.storages():
            storage.prune(pruning)

    # -- what is read -------------------------------------------------------------------------------------------------

    def read(self, storage: Storage, seed: int) -> Any:
        """All that there is to be read, in whatever way."""
        chance = random.Random(seed)
        spaces = list(storage.spaces(THREAD))
        alone = [told(storage.load(THREAD, space.ns, row.id)) for space in spaces for row in self._rows_of(space)]
        heads = [told(storage.load(THREAD, name, None)) for name in (*NAMES, "no such")]
        whole = [[listed(one) for one in storage.scan(THREAD, space.ns, None, 1000)] for space in spaces]
        parts = [
            [listed(one) for one in storage.scan(THREAD, space.ns, before, 2)]
            for space in spaces
            for before in chance.sample(range(1, self.seq + 2), 2)
        ]
        walked = list(storage.walk(THREAD, (-1, -1), 10_000))
        ranges = [(place.number << 16, 2, 9) for place in self.places.values()]
        return spaces, alone, heads, whole, parts, walked, storage.items(THREAD, ranges), storage.weigh(THREAD)

    def _rows_of(self, space: Space) -> list[Row]:
        return self.places[space.ns].rows


def told(found: Found) -> Any:
    """What was found, to be compared; of a lease whose it is."""
    lease = found.lease and found.lease.run
    stand = (found.epoch, found.seq, found.spaces, found.head, found.number, bytes(found.logs), lease)
    return stand, listed(found)


def listed(found: Found) -> Any:
    """Likewise of one among others."""
    return found.row, found.base, found.parent_id, found.next, sorted(found.kept)
