"""The threads that may soon go on: the journals of those that ran last, with all that these remember.

What is remembered holds only while the stored head is the one it was built from, which `Journal.open` finds out.
"""

import threading
from collections import OrderedDict
from typing import Final

from clew.checkpoint.journal import Journal

THREADS: Final = 1024
ELEMENTS: Final = 1 << 16  # of all their values together, and items that are known, but for the last thread's


class Hot:
    """Journals by thread and namespace; those that have not been used for the longest time go."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._journals: OrderedDict[tuple[str, str], tuple[Journal, int]] = OrderedDict()
        self._elements = 0

    def take(self, thread: str, ns: str) -> Journal | None:
        """The journal of a thread, which is the caller's alone until it is put back."""
        with self._lock:
            return self._removed((thread, ns))

    def put(self, journal: Journal) -> None:
        elements = max(sum(len(kept.elements) for kept in journal.ledger.kept.values()), len(journal.hold.known))
        with self._lock:
            self._removed((journal.thread, journal.ns))
            self._journals[journal.thread, journal.ns] = journal, elements
            self._elements += elements
            while len(self._journals) > 1 and (len(self._journals) > THREADS or self._elements > ELEMENTS):
                self._removed(next(iter(self._journals)))

    def forget(self, thread: str | None = None) -> None:
        """Forgets a thread, or all of them."""
        with self._lock:
            for key in [key for key in self._journals if thread in (None, key[0])]:
                self._removed(key)

    def _removed(self, key: tuple[str, str]) -> Journal | None:
        journal, elements = self._journals.pop(key, (None, 0))
        self._elements -= elements
        return journal
