"""For how long threads are kept, declared with their saver, and the one thread of a process that sees to it.

What goes is decided and deleted as by `Saver.prune`, by threads one after the other; so any number of processes may do it at
once, and whatever a crash leaves undone the next one does.
"""

import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from clew.checkpoint.hold import Hold
from clew.checkpoint.living import Family, family_of
from clew.checkpoint.pruning import Duration, Pruned, Rule, all_of, prune_thread, seconds_of, taken
from clew.checkpoint.storage import Storage
from clew.errors import DamagedData
from clew.ids import created_ms

if TYPE_CHECKING:
    import logging


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept of each thread, and for how long. Durations are a timedelta, seconds, or text such as "30d" or "12h".

    Args:
        keep_last, older_than, keep: as for `Saver.prune`: what goes is older, and not among a thread's newest so many.
        idle: threads that nothing has moved on for so long go whole, unless something in them waits for an answer or a
            checkpoint is named.
        every: how often it is seen to while a process runs graphs; the first time once its first run has ended.

    Raises:
        ValueError: nothing says what goes, or an argument that cannot be meant.
    """

    keep_last: int | None = None
    older_than: Duration | None = None
    idle: Duration | None = None
    every: Duration = "10m"
    keep: Callable[[dict[str, Any]], bool] | None = None

    def __post_init__(self) -> None:
        if self.keep_last is None and self.older_than is None and self.idle is None:
            raise ValueError('The retention keeps everything: pass keep_last=20, older_than="30d", or idle="90d".')
        self.rule()
        for name in ("idle", "every"):
            if (given := getattr(self, name)) is not None:
                seconds_of(given, name)

    def rule(self) -> Rule | None:
        """What of a thread goes; None where only idle ones do."""
        if self.keep_last is None and self.older_than is None:
            return None
        return Rule(keep_last=self.keep_last, older_than=self.older_than, keep=self.keep)

    def sweep(self, storage: Storage, thread: str, newest: bytes, now: float, lease: float) -> Pruned:
        """Sees to one thread, whose newest checkpoint is this; `now` in seconds since 1970."""
        try:
            return self._swept(storage, thread, newest, now, lease)
        except DamagedData as error:  # of what cannot be read nobody knows what it needs; the other threads are seen to
            log().warning("Thread %r is left as it is, for it is damaged: %s", thread, error)
            return Pruned()

    def _swept(self, storage: Storage, thread: str, newest: bytes, now: float, lease: float) -> Pruned:
        if self.idle is not None and _is_idle(newest, now - seconds_of(self.idle, "idle")):
            return _drop_idle(storage, thread, now - seconds_of(self.idle, "idle"), lease)
        rule = self.rule()
        return Pruned() if rule is None else prune_thread(storage, thread, lambda family: rule.roots(family, now), lease)


def log() -> "logging.Logger":
    """Where what happens in the thread of `Sweeper` is told, as nobody calls it: `clew.retention`."""
    import logging  # late: it is rarely needed

    return logging.getLogger("clew.retention")


def _is_idle(newest: bytes, since: float) -> bool:
    return created_ms(newest) < since * 1000


def _drop_idle(storage: Storage, thread: str, since: float, lease: float) -> Pruned:
    hold = Hold(storage, thread, lease)
    hold.stand(storage.load(thread, "", None))
    family = family_of(storage, thread)
    if _is_wanted(family) or not all(_is_idle(member.id, since) for member in family.members.values()):
        return Pruned()
    with taken(hold) as epoch:  # which nobody has raised since the thread was looked at
        if epoch is None:
            return Pruned(busy=int(hold.epoch > 0))
        gone = all_of(storage.weigh(thread))
        storage.drop(thread)
        return gone


def _is_wanted(family: Family) -> bool:
    parents = {member.parent for member in family.members.values()}
    return any(member.metadata.get("name") or (member.asks and seq not in parents) for seq, member in family.members.items())


# -- seeing to it ---------------------------------------------------------------------------------------------------


class Swept(Protocol):
    """A saver, as far as it is seen to."""

    retention: Retention | None

    def sweep(self) -> Pruned: ...


class Sweeper:
    """The savers of this process that have a retention, and the one daemon thread that sees to them."""

    def __init__(self) -> None:
        self._due: weakref.WeakKeyDictionary[Swept, float] = weakref.WeakKeyDictionary()
        self._ran: weakref.WeakSet[Swept] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def ran(self, saver: Swept) -> None:
        """A run of this saver has ended: it is seen to when its time has come."""
        with self._lock:
            if saver in self._ran:
                return
            self._ran.add(saver)
            self._due.setdefault(saver, 0.0)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="clew retention", daemon=True)
                self._thread.start()
        self._wake.set()

    def _work(self) -> None:
        while True:
            self._wake.wait(self._see_to())
            self._wake.clear()

    def _see_to(self) -> float | None:
        """Sweeps what is due. Returns for how many seconds there is nothing to do then; None: until a run ends."""
        now = time.monotonic()
        with self._lock:
            waiting = {saver: self._due[saver] for saver in self._ran}
            due = [saver for saver, at in waiting.items() if at <= now]
            for saver in due:
                self._ran.discard(saver)
                self._due[saver] = now + seconds_of(saver.retention.every if saver.retention else 0, "every")
        for saver in due:
            try:
                saver.sweep()
            except Exception:
                log().exception("Seeing to the retention of %r failed; tried again later.", saver)
        later = [at for saver, at in waiting.items() if saver not in due]
        return max(0.0, min(later) - now) if later else None

    def forget(self) -> None:
        """A forked child has none of its parent's threads."""
        self.__init__()


SWEEPER: Final = Sweeper()
with suppress(AttributeError):  # where there is no fork
    os.register_at_fork(after_in_child=SWEEPER.forget)
