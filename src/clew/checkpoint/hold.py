"""One run's hold on a thread: its epoch and lease, the numbers it hands out, what its namespaces share.

The run that holds a thread is the only one that can write to it (its epoch says so), so it may hand out the thread's numbers
itself: ids are known before anything is written. Journals of several namespaces, in several threads, share one hold.
"""

import itertools
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from clew.checkpoint.lease import LEASES, is_gone, this_process
from clew.checkpoint.prints import Known
from clew.checkpoint.storage import Batch, Flight, Found, Kept, Lease, Storage
from clew.errors import CheckpointNotFound, ThreadConflict
from clew.ids import id_text, new_epoch
from clew.types import Saved

NONE: Final = b""
MENDING: Final = b"mend"
"""How the id begins of what is no run but prunes the thread, or moves it: whoever comes by waits, as it takes a moment only."""


class Telling(Protocol):
    """The event log of a run (`clew.checkpoint.events`)."""

    @property
    def waiting(self) -> bool: ...
    def commit(self, commit: Callable[[Batch], bool], batch: Batch, more: Iterable[Any] = ()) -> bool: ...
    def keep(self, commit: Callable[[Batch], bool], batch: Batch) -> bool: ...


class Hold:
    """What one run knows of a thread as a whole.

    Attributes:
        thread: its name. seconds: for how long a lease is taken. run: the run's id, in the lease.
        epoch: under which it writes. claimed: its first write has raised the epoch. leased: it has the lease.
        lease: as it was found. stop: somebody who waits for the thread asks this run to stop.
        known: places of items that are stored, by their prints, over all namespaces. live: namespaces in use right now.
        flight: the write that is on its way, None where none is. waits: the run stands in the thread's queue.
        seq: the highest that a checkpoint had when the thread was found.
        fresh: the run has not committed a checkpoint yet.
        events: the run's event log, where its events are kept.
        over: the run has ended, so what still runs of it, in threads that nobody can stop, writes nothing any more.
        left: the thread as the run before left it: while its epoch is the same, nobody else has written anything.
    """

    __slots__ = ("_gate", "_lock", "_seqs", "_spaces", "_writing", "base", "claimed", "epoch", "events", "flight", "fresh",
                 "known", "lease", "leased", "left", "live", "over", "run", "seconds", "seq", "stop", "storage", "thread",
                 "waits")  # fmt: skip

    def __init__(self, storage: Storage, thread: str, seconds: float = 30.0) -> None:
        self.storage = storage
        self.thread = thread
        self.seconds = seconds
        self.run, self.waits, self.left = NONE, False, Found()
        self.fresh = self.over = False
        self._lock, self._writing = threading.Lock(), 0
        self._gate = threading.Condition(self._lock)
        self.events: Telling | None = None
        self.known = Known()
        self.live: dict[str, object] = {}
        self.stand(Found())

    def stand(self, found: Found) -> None:
        """Takes what the store has as what the next write is conditional on."""
        self.epoch = found.epoch
        self.claimed = self.leased = self.stop = False
        self.lease = found.lease
        self.base: bytes | None = None
        self.flight: Flight | None = None
        self.seq = found.seq
        self._seqs = itertools.count(found.seq + 1)
        self._spaces = itertools.count(found.spaces)

    def begin(self) -> None:
        """Another run has come; what is known of items that are stored stays."""
        known = Found(self.epoch, self.next_seq() - 1, self.next_space())
        ours = self.lease is None or (self.claimed and not self.mended)  # else another may be at work under that epoch
        self.left = known if ours else Found()
        self.run, self.waits = NONE, False
        self.events, self.over = None, False
        self.stand(Found())

    @property
    def busy(self) -> bool:
        """Whether another run holds the thread: its lease has not ended, and nothing says that its process has."""
        return self.lease is not None and self.lease.run != self.run and is_live(self.lease)

    @property
    def mended(self) -> bool:
        """Whether the lease that was found is of something that prunes the thread: what is read meanwhile may soon be gone."""
        return self.lease is not None and self.lease.run.startswith(MENDING)

    def named(self) -> bytes:
        """The run's id, to stand in the queue with and in the lease."""
        self.run = self.run or os.urandom(8)
        return self.run

    def next_seq(self) -> int:
        return next(self._seqs)

    def next_space(self) -> int:
        return next(self._spaces)

    @property
    def tells(self) -> bool:
        """Whether events wait to be kept."""
        return self.events is not None and self.events.waiting

    def tell(self) -> None:
        """Keeps the events that wait for it; it blocks. Raises ThreadConflict."""
        if self.events is not None:
            batch = Batch(self.thread, "", 0, None, self.epoch)
            self.stop = self.events.keep(self.storage.commit, batch) or self.stop

    # -- writing ----------------------------------------------------------------------------------------------------

    def dress(self, batch: Batch, *, leasing: bool, release: bool) -> None:
        """Adds to a batch what the hold has to say: the epoch, the claim, the lease."""
        batch.epoch, batch.claim = self.epoch, 0 if self.claimed else new_epoch(self.epoch)
        batch.release = release and (self.leased or not self.claimed)
        if leasing and not release and not self.leased:
            batch.lease = Lease(self.named(), this_process(), self.base, self.seconds)
            LEASES.expect(self.run)

    def written(self, batch: Batch, *, stop: bool) -> None:
        """A batch has been written."""
        if batch.claim:
            self.claimed, self.waits = True, False
            self.epoch = batch.claim
        if batch.lease is not None:
            self.leased = True
            LEASES.add(self.run, self.seconds, self.renew)
        if batch.release:
            self.let_go()
        self.stop = self.stop or stop

    def lose(self) -> None:
        """Another run has the thread by now: this one has to take it anew."""
        self.let_go()
        self.claimed = False

    def let_go(self) -> None:
        """The lease is not this run's any more; what is in the store says so, or will when it ends."""
        self.leased = False
        LEASES.remove(self.run)

    def renew(self) -> None:
        """Called by the thread that renews leases. Raises ThreadConflict where the thread was taken over."""
        lease = Lease(self.run, this_process(), self.base, self.seconds)
        try:
            self.stop = self.storage.commit(Batch(self.thread, "", 0, None, self.epoch, lease=lease)) or self.stop
        except ThreadConflict:
            LEASES.remove(self.run)
            raise

    def note(self, seq: int, task: str, body: bytes) -> None:
        """Keeps one row beside checkpoint `seq`, at once, from whatever thread. Raises ThreadConflict."""
        if self.flight is not None:
            self.flight.wait()
        self.commit(self.storage.commit, Batch(self.thread, "", 0, None, self.epoch, kept=[Kept(seq, task, body)]))

    def commit(self, commit: Callable[[Batch], bool], batch: Batch, told: Iterable[Any] = ()) -> bool:
        """Commits a batch, with the events that wait for it and those that are `told` by it. Raises ThreadConflict."""
        with self._lock:
            if self.over:
                raise ThreadConflict(f"The run of thread {self.thread!r} is over: nothing more of it is kept.")
            self._writing += 1
        try:
            return commit(batch) if self.events is None else self.events.commit(commit, batch, told)
        finally:
            with self._lock:
                self._writing -= 1
                if self.over:
                    self._gate.notify_all()

    def end(self) -> bool:
        """The run is over. Whether something of it is being written right now, which `quiet` waits for."""
        with self._lock:
            self.over = True
            return self._writing > 0

    def quiet(self) -> None:
        """Waits until nothing is being written any more."""
        with self._gate:
            while self._writing:
                self._gate.wait()


class Tells:
    """What one journal's next write tells (`clew.checkpoint.events`).

    Attributes:
        told: the events. shows: what is told of a checkpoint with the write of it.
    """

    __slots__ = ("shows", "told")

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.shows: Callable[[Saved], list[Any]] | None = None

    def show(self, saved: Saved) -> None:
        if self.shows is not None:
            self.told += self.shows(saved)

    def taken(self) -> list[Any]:
        told, self.told = self.told, []
        return told


def not_found(thread: str, checkpoint_id: bytes) -> CheckpointNotFound:
    return CheckpointNotFound(
        f"Thread {thread!r} has no checkpoint {id_text(checkpoint_id)!r}. Leave `checkpoint_id` out to go on from the newest "
        "one; `get_state_history` lists them all."
    )


def is_live(lease: Lease) -> bool:
    """Whether a lease has not ended, and nothing says that the process that took it has."""
    if lease.seconds <= 0:
        return False
    return lease.run in LEASES if lease.owner == this_process() else not is_gone(lease.owner)
