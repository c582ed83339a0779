"""The saver: what users hold and pass to `compile(checkpointer=…)`. Everything common to all backends stands here, once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, Protocol, TypeVar

from clew.awaited import Done, aside
from clew.checkpoint.classic import EXCLUDED_METADATA_KEYS as EXCLUDED_METADATA_KEYS
from clew.checkpoint.classic import WRITES_IDX_MAP as WRITES_IDX_MAP
from clew.checkpoint.classic import BaseCheckpointSaver as BaseCheckpointSaver
from clew.checkpoint.classic import ChannelVersions as ChannelVersions
from clew.checkpoint.classic import Checkpoint as Checkpoint
from clew.checkpoint.classic import CheckpointMetadata as CheckpointMetadata
from clew.checkpoint.classic import CheckpointTuple as CheckpointTuple
from clew.checkpoint.classic import PendingWrite as PendingWrite
from clew.checkpoint.classic import copy_checkpoint as copy_checkpoint
from clew.checkpoint.classic import empty_checkpoint as empty_checkpoint
from clew.checkpoint.classic import get_checkpoint_id as get_checkpoint_id
from clew.checkpoint.classic import get_checkpoint_metadata as get_checkpoint_metadata
from clew.checkpoint.classic import get_serializable_checkpoint_metadata as get_serializable_checkpoint_metadata
from clew.checkpoint.classic import writes_sort_key as writes_sort_key
from clew.checkpoint.crypt import Encryption
from clew.checkpoint.hold import Hold
from clew.checkpoint.hot import Hot
from clew.checkpoint.journal import Journal
from clew.checkpoint.reads import Reads
from clew.checkpoint.records import Record, listed
from clew.checkpoint.storage import Storage, ThreadRow, Waiting, Waits
from clew.closing import Closing
from clew.errors import MissingKey, TamperedRow

if TYPE_CHECKING:  # moving, mending and sealing are imported where they are asked for: a run needs none of them
    from clew.checkpoint.lane import Lane, Together
    from clew.checkpoint.pruning import Duration, Keep, Pruned
    from clew.checkpoint.retention import Retention
    from clew.checkpoint.stats import Stats

T = TypeVar("T")
CALLS: Final = 16
LEASE: Final = 30.0


class Waiter(Protocol):
    """What a saver needs of a host: how to wait for a blocking call, how to have one made beside the run, and which face it is
    of."""

    @property
    def blocking(self) -> Waits: ...
    @property
    def aside(self) -> Callable[[Callable[[], None]], None]: ...
    @property
    def driven(self) -> bool: ...


class Saver(Closing, Reads):
    """Keeps threads. One object serves both faces, any number of graphs, and may be used from many threads.

    It keeps the newest state of the threads used last, so that the next turn need not read it again; that is only used while
    the stored head is still the one it was made from.

    Args:
        lease: seconds for which a run that begins has its thread to itself (`on_busy`); renewed while it runs. That a run's
            process has died on this machine is seen at once; elsewhere, once its lease has ended.
        encryption: the keys with which everything is encrypted that the graph keeps; default: it is kept as it is.
        retention: what is kept of each thread, and for how long; seen to in a thread of its own while graphs run, and by
            `sweep`. By default everything is kept.
        serde: None, or a `JsonPlusSerializer`, which changes nothing: it stands for the codec that every saver here has.

    Raises:
        TypeError: `serde` is another serializer. ValueError: `lease` is no time.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        lease: float = LEASE,
        encryption: Encryption | None = None,
        retention: Retention | None = None,
        serde: object = None,
    ) -> None:
        if serde is not None:
            from clew.checkpoint.serde.jsonplus import must_be_usual

            must_be_usual(serde)
        if not lease > 0:
            raise ValueError(f"The lease is {lease!r}: expected seconds above 0, for how long a run has its thread to itself.")
        self.storage = storage
        if encryption:
            from clew.checkpoint.sealed import SealedStorage

            self.storage = SealedStorage(storage, encryption)
        self.lease = lease
        self.retention = retention
        self._closed = False
        self._sweeping = threading.Lock()
        self._hot = Hot()

    def on(self, host: Waiter) -> Waiting:
        """The storage as this host's face waits for it."""
        waiting = Waiting(self.storage, host.blocking, host.aside)
        if not host.driven:
            waiting.ask = self._lane.waits(host.aside)
        return waiting

    @cached_property
    def _lane(self) -> Lane:
        from clew.checkpoint.lane import Lane  # late: it needs asyncio

        return Lane(*self._calls())

    def _calls(self) -> tuple[int, Together | None]:
        """How many calls of the storage are made at once on the async face, and what holds those that are answered together."""
        return CALLS, None

    # -- for the engine ---------------------------------------------------------------------------------------------

    def journal(self, host: Waiter, thread: str, ns: str = "") -> Journal:
        """A journal of this thread for one run; give it back with `release` when the run is over."""
        found = self._hot.take(thread, ns)
        if found is None:
            return Journal(self.on(host), Hold(self.storage, thread, self.lease), ns)
        found.begin(self.on(host))
        return found

    def release(self, journal: Journal) -> None:
        """Takes a journal back, to be used again where it can be."""
        if self.retention is not None and journal.hold.claimed:
            from clew.checkpoint.retention import SWEEPER

            SWEEPER.ran(self)
        if journal.sound and journal.saved is not None:
            self._hot.put(journal)

    def history(
        self, host: Waiter, thread: str, ns: str = "", before: int | None = None, limit: int | None = None
    ) -> AsyncIterator[Record]:
        """Checkpoints below seq `before`, newest first, each with what its tasks came to; nothing that they name is read."""
        return listed(self.on(host), thread, ns, before, limit)

    # -- for users --------------------------------------------------------------------------------------------------

    def threads(self) -> list[ThreadRow]:
        """Every thread that is kept, the one moved last first."""
        return self.storage.threads()

    def delete_thread(self, thread_id: str) -> None:
        """Deletes a thread with its whole history; nothing where there is none."""
        self._hot.forget(str(thread_id))
        self.storage.drop(str(thread_id))

    async def adelete_thread(self, thread_id: str) -> None:
        """`delete_thread`, awaited."""
        await aside(self.delete_thread, thread_id)

    def prune(
        self,
        thread_ids: Sequence[str] | None = None,
        *,
        strategy: Literal["keep_latest", "delete"] | None = None,
        keep_last: int | None = None,
        older_than: Duration | None = None,
        keep: Keep | None = None,
    ) -> Pruned:
        """Deletes old checkpoints, and what only they held. A thread that is being run is left for the next time; runs that
        begin meanwhile wait, a moment each.

        Whatever is asked for, a thread keeps its head, the ends of branches where something is still to run or waits for an
        answer, checkpoints whose metadata have a `"name"`, and what those need: the graphs that ran within them, and memories.
        What is kept reads, resumes and forks as before; only a parent that is gone is None.

        Args:
            thread_ids: which threads; by default all of them.
            keep_last: a thread's newest so many stay. older_than: only older ones go: a timedelta, seconds, or text such as
                "30d" or "12h". Where both are given, what goes is older, and not among the newest.
            keep: ids or configs of checkpoints that stay, or a function of a checkpoint's metadata that says whether it does.
            strategy: `"keep_latest"` leaves the newest checkpoint of each namespace, `"delete"` nothing at all. It is
                "keep_latest" where threads are named and nothing is said.

        Raises:
            ValueError: nothing says what goes, or an argument that cannot be meant.
        """
        from clew.checkpoint.pruning import Pruned, Rule, prune_thread

        names = None if thread_ids is None else [str(thread) for thread in thread_ids]
        if strategy is None and keep_last is None and older_than is None:
            if names is None or keep is not None:
                raise ValueError('Nothing says what goes: pass keep_last=20, older_than="30d", or strategy="keep_latest".')
            strategy = "keep_latest"
        if strategy not in (None, "keep_latest", "delete"):
            raise ValueError(f'There is no strategy {strategy!r}: expected "keep_latest" or "delete".')
        if strategy is not None and (keep_last is not None or older_than is not None):
            raise ValueError(f"strategy={strategy!r} says already what goes: leave it out, or keep_last and older_than.")
        if strategy == "delete":
            return self._deleted(names)
        rule = Rule(latest=strategy is not None, keep_last=keep_last, older_than=older_than, keep=keep)
        now = time.time()
        done = Pruned()
        for thread in [row.thread for row in self.threads()] if names is None else names:
            done += prune_thread(
                self.storage, thread, lambda family: rule.roots(family, now), self.lease, thorough=names is not None
            )
        return done

    def _deleted(self, names: list[str] | None) -> Pruned:
        from clew.checkpoint.pruning import Pruned, all_of

        if names is None:
            raise ValueError('strategy="delete" deletes whole threads: name them, as in prune(["1", "2"], strategy="delete").')
        done = Pruned()
        for thread in names:
            done += all_of(self.storage.weigh(thread))
            self.delete_thread(thread)
        return done

    async def aprune(self, thread_ids: Sequence[str] | None = None, **which: Any) -> Pruned:
        """`prune`, awaited."""
        return await aside(self.prune, thread_ids, **which)

    def sweep(self) -> Pruned:
        """Sees to the retention at once, and to events that have expired. Raises ValueError where none is declared."""
        from clew.checkpoint.pruning import Pruned

        if self.retention is None:
            raise ValueError(
                "The saver has no retention: declare one, as in `SqliteSaver(path, retention=Retention(keep_last=20))`."
            )
        done = Pruned()
        with self._sweeping:
            self.storage.expire(1000)
            for row in () if self._closed else self.threads():
                if self._closed:
                    break
                done += self.retention.sweep(self.storage, row.thread, row.newest, time.time(), self.lease)
        return done

    async def asweep(self) -> Pruned:
        """`sweep`, awaited."""
        return await aside(self.sweep)

    def delete_for_runs(self, run_ids: Sequence[Any]) -> Pruned:
        """Deletes the checkpoints that these runs made, in whatever thread: those whose config had this `run_id`, at its top or
        in its metadata. A thread goes back to the newest checkpoint that is left, as a fork of it; where none is, it goes.
        """
        from clew.checkpoint.pruning import Pruned, delete_runs

        runs, done = frozenset(map(str, run_ids)), Pruned()
        for row in self.threads():
            done += delete_runs(self.storage, row.thread, runs, self.lease)
        return done

    async def adelete_for_runs(self, run_ids: Sequence[Any]) -> Pruned:
        """`delete_for_runs`, awaited."""
        return await aside(self.delete_for_runs, run_ids)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copies a thread under another name, with its history, graphs within and open questions; ids stay what they are.

        Raises:
            ThreadNotFound: there is no such source. ThreadExists: there is such a target. ThreadConflict: the source was taken
            by a run meanwhile.
        """
        from clew.checkpoint.moving import arrive, frames_of

        arrive(self.storage, frames_of(self.storage, str(source_thread_id)), str(target_thread_id), self.lease)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """`copy_thread`, awaited."""
        await aside(self.copy_thread, source_thread_id, target_thread_id)

    def export_thread(self, thread_id: str, file: str | os.PathLike[str] | BinaryIO) -> None:
        """Writes a thread with its whole history to a file, which any saver can `import_thread`.

        The values stand in it as they are, encrypted or not where they were. A file named by its path is only there once it
        is whole.

        Raises:
            ThreadNotFound: there is none. ThreadConflict: it was taken by a run meanwhile; what was written is no whole file.
        """
        from clew.checkpoint.moving import frames_of, write

        frames = frames_of(self.storage, str(thread_id))
        if not isinstance(file, str | os.PathLike):
            write(frames, file)
            return
        part = f"{os.fspath(file)}.part"
        try:
            with open(part, "wb") as made:
                write(frames, made)
            os.replace(part, file)
        finally:
            with suppress(FileNotFoundError):
                os.remove(part)

    async def aexport_thread(self, thread_id: str, file: str | os.PathLike[str] | BinaryIO) -> None:
        """`export_thread`, awaited."""
        await aside(self.export_thread, thread_id, file)

    def import_thread(self, file: str | os.PathLike[str] | BinaryIO, thread: str | None = None) -> str:
        """Makes a thread of a file that `export_thread` wrote, whole or not at all; nothing of it is seen before the file's
        digest was checked. Ids stay what they are, so that configs which name checkpoints lead there as before.

        Args:
            thread: the name that it is to have; default: the one it had. Returns the name.

        Raises:
            ThreadExists: there is one of this name. DatabaseError: the file is none of Clew's, or not whole.
        """
        from clew.checkpoint.moving import arrive, read

        if isinstance(file, str | os.PathLike):
            with open(file, "rb") as opened:
                return self.import_thread(opened, thread)
        return arrive(self.storage, read(file), thread, self.lease)

    async def aimport_thread(self, file: str | os.PathLike[str] | BinaryIO, thread: str | None = None) -> str:
        """`import_thread`, awaited."""
        return await aside(self.import_thread, file, thread)

    def stats(self, thread_id: str | None = None) -> Stats:
        """What is kept: bytes and counts by thread and channel, and what the whole database takes; of one thread or of all."""
        from clew.checkpoint.stats import Stats, stats_of

        names = [row.thread for row in self.threads()] if thread_id is None else [str(thread_id)]
        found = sorted([stats_of(self.storage, name) for name in names], key=lambda one: -one.bytes)
        return Stats(tuple(found), self.storage.occupies())

    async def astats(self, thread_id: str | None = None) -> Stats:
        """`stats`, awaited."""
        return await aside(self.stats, thread_id)

    def reclaim(self) -> None:
        """Gives back to the system what deleted rows have left free. It may take long, and hold up others meanwhile."""
        self.storage.reclaim()

    async def areclaim(self) -> None:
        """`reclaim`, awaited."""
        await aside(self.reclaim)

    def reseal(self, thread_id: str | None = None, *, plain: bool = False) -> list[str]:
        """Encrypts anew what was encrypted with another than the current key; of all threads, where none is named.

        A thread is done in small steps, and can be read meanwhile. One that is being run, or is begun to be run, is left as far
        as it has come: its run goes on, and what was not done is done by calling this again. Where all threads are meant, one
        that is refused is left as well; naming it says why.

        Args:
            plain: a thread that was kept without encryption is encrypted; whatever stands there is taken as true.

        Returns:
            The threads that were left. Where there are none, the older keys are needed for backups only.

        Raises:
            ValueError: the saver has no `encryption`. TamperedRow, MissingKey: the thread that is named is refused.
        """
        from clew.checkpoint.rotation import reseal
        from clew.checkpoint.sealed import SealedStorage

        storage = self.storage if isinstance(self.storage, SealedStorage) else None
        if storage is None:
            raise ValueError("This saver encrypts nothing: make it with `encryption=Encryption(key)`.")
        if thread_id is not None:
            return [] if reseal(storage, str(thread_id), plain=plain) else [str(thread_id)]
        left: list[str] = []
        for row in storage.threads():
            try:
                done = reseal(storage, row.thread, plain=plain)
            except (TamperedRow, MissingKey):  # of one thread, which the others need not wait for
                done = False
            left += [] if done else [row.thread]
        return left

    async def areseal(self, thread_id: str | None = None, *, plain: bool = False) -> list[str]:
        """`reseal`, awaited."""
        return await aside(self.reseal, thread_id, plain=plain)

    def setup(self) -> Done:
        """Makes ready what the backend needs. Done by itself on first use; calling it again does nothing.

        It is done when it returns; what it returns may be awaited all the same, as LangGraph's async savers want it."""
        return Done()

    async def asetup(self) -> None:
        """`setup`, awaited."""
        await aside(self.setup)

    def close(self) -> None:
        """Closes connections and files. The saver cannot be used after."""
        self._closed = True
        self._hot.forget()
        with self._sweeping:  # it stops before the next thread
            self.storage.close()
