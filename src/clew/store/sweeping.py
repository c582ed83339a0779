"""The sweeper: a thread that deletes what has expired, every few minutes, for as long as its store is there."""

from __future__ import annotations

import threading
import warnings
import weakref
from typing import TYPE_CHECKING

from clew.awaited import Done
from clew.errors import ClewWarning

if TYPE_CHECKING:
    from clew.store.storage import Storage


class Sweeper(Done):
    """Sweeps a storage every so many minutes, first after the first of these.

    Attributes:
        sweeps: how often it has. swept: how many items it has deleted.
    """

    def __init__(self, storage: Storage, minutes: float) -> None:
        self.sweeps = 0
        self.swept = 0
        self._stop = threading.Event()
        # weak: a store that nobody holds any more is not kept open by what sweeps it
        kept = weakref.ref(storage, lambda _: self._stop.set())
        self._thread = threading.Thread(target=self._run, args=(kept, minutes * 60), name="clew-store-sweeper", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def stop(self, timeout: float | None = None) -> bool:
        """Ends it; waits so many seconds for a sweep that is under way. Returns whether it has ended."""
        self._stop.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self, kept: weakref.ref[Storage], seconds: float) -> None:
        while not self._stop.wait(seconds) and (storage := kept()) is not None:
            try:
                self.swept += storage.sweep()
            except Exception as error:  # the database may be back by the next time
                warnings.warn(ClewWarning(f"What has expired in a store could not be deleted: {error}"), stacklevel=1)
            self.sweeps += 1
            del storage
