"""The saver: what users hold and pass to `compile(checkpointer=…)`. Everything common to all backends stands here, once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Final, Protocol, Self

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
from clew.checkpoint.journal import Journal
from clew.checkpoint.reads import Reads
from clew.checkpoint.records import Record, listed
from clew.checkpoint.rotation import reseal
from clew.checkpoint.sealed import SealedStorage
from clew.checkpoint.storage import Storage, ThreadRow, Waiting, Waits
from clew.errors import MissingKey, TamperedRow

HOT: Final = 32
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


class Saver(Reads):
    """Keeps threads. One object serves both faces, any number of graphs, and may be used from many threads.

    It keeps the newest state of the threads used last, so that the next turn need not read it again; that is only used while
    the stored head is still the one it was made from.

    Args:
        lease: seconds for which a run that begins has its thread to itself (`on_busy`); renewed while it runs. That a run's
            process has died on this machine is seen at once; elsewhere, once its lease has ended.
        encryption: the keys with which everything is encrypted that the graph keeps; default: it is kept as it is.
    """

    def __init__(self, storage: Storage, *, lease: float = LEASE, encryption: Encryption | None = None) -> None:
        if not lease > 0:
            raise ValueError(f"The lease is {lease!r}: expected seconds above 0, for how long a run has its thread to itself.")
        self.storage = SealedStorage(storage, encryption) if encryption else storage
        self.lease = lease
        self._hot: OrderedDict[tuple[str, str], Journal] = OrderedDict()
        self._lock = threading.Lock()

    def on(self, host: Waiter) -> Waiting:
        """The storage as this host's face waits for it."""
        return Waiting(self.storage, host.blocking, host.aside)

    # -- for the engine ---------------------------------------------------------------------------------------------

    def journal(self, host: Waiter, thread: str, ns: str = "") -> Journal:
        """A journal of this thread for one run; give it back with `release` when the run is over."""
        with self._lock:
            found = self._hot.pop((thread, ns), None)
        if found is None:
            return Journal(self.on(host), Hold(self.storage, thread, self.lease), ns)
        found.begin(self.on(host))
        return found

    def release(self, journal: Journal) -> None:
        """Takes a journal back, to be used again where it can be."""
        if not journal.sound or journal.saved is None:
            return
        with self._lock:
            self._hot[journal.thread, journal.ns] = journal
            if len(self._hot) > HOT:
                self._hot.popitem(last=False)

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
        with self._lock:
            for key in [key for key in self._hot if key[0] == str(thread_id)]:
                del self._hot[key]
        self.storage.drop(str(thread_id))

    async def adelete_thread(self, thread_id: str) -> None:
        """`delete_thread`, awaited."""
        import asyncio  # late: it is most of what importing Clew would cost

        await asyncio.to_thread(self.delete_thread, thread_id)

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
        import asyncio

        return await asyncio.to_thread(lambda: self.reseal(thread_id, plain=plain))

    def setup(self) -> None:
        """Makes ready what the backend needs. Done by itself on first use; calling it again does nothing."""

    async def asetup(self) -> None:
        """`setup`, awaited."""
        import asyncio

        await asyncio.to_thread(self.setup)

    def close(self) -> None:
        """Closes connections and files. The saver cannot be used after."""
        with self._lock:
            self._hot.clear()
        self.storage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
