"""What the tasks of a run have posted and its loop has not read: all that both hosts have of it in common.

Any thread may post, one reads; that is safe as a list's own methods are, so a token takes no lock.
"""

import threading
import time
from typing import Any, Final

from clew.runtime.events import BURST, Event
from clew.runtime.host import Finished

BUFFER: Final = 512
"""How many events may wait for their reader before those who make them wait as well."""
BURSTS: Final = 128
"""How many of them are handed to the reader at once, at most."""
PARTS: Final = 3
FULL: Final = PARTS * (BUFFER - BURSTS)
"""How long the list is then: an event is three of its elements."""
END: Final = "end"
"""The mode that the end of a task has there."""
PATIENCE: Final = 0.005
"""Seconds for which the first event of a run waits to be read, at most."""
DENSE: Final = 0.002
"""Seconds for which a reader lets events gather, where the last one came sooner than that: a reader that is woken for each of
them costs more than they do. What ends a task wakes it at once, and so does an event after a pause."""


class Mailbox:
    """The base of both hosts: events and ends of tasks in the order they were posted."""

    __slots__ = ("_asleep", "_dense", "_ended", "_fresh", "_held", "_mail", "_most", "_waits")

    def __init__(self) -> None:
        self._mail: list[Any] = []
        self._ended: list[Finished] = []  # taken out at once, the first of them last
        self._held: threading.Event | None = None  # for those who wait for the reader, once tasks run beside it
        self._most = FULL  # how long the mail may be before an event asks whether it may be posted; 0 once nobody reads
        self._waits = False  # the reader
        self._asleep = False  # it does so for the next event
        self._dense = False  # events come fast, so it lets some gather
        self._fresh = True  # nothing has woken it yet

    # -- posting ----------------------------------------------------------------------------------------------------

    def emit(self, ns: tuple[str, ...], mode: str, data: Any) -> None:
        mail = self._mail
        if len(mail) >= self._most and not self._admitted():
            return
        mail += (ns, mode, data)
        if self._asleep:
            self._wake()

    def _admitted(self) -> bool:
        """Waits until half of the room is free. Returns whether anybody reads at all."""
        held = self._held
        while held and self._most and len(self._mail) >= FULL:
            self._ring()
            held.clear()
            if self._most and len(self._mail) >= FULL:  # still: whoever reads from now on sees that somebody waits
                held.wait()
        return self._most > 0

    def _wake(self) -> None:
        """Lets the reader come to its first event: a thread that never waits would keep the interpreter to itself for longer. A
        reader that does not come soon is not waited for."""
        self._asleep = False
        held, self._fresh = self._held if self._fresh else None, False
        if held is None:
            self._ring()
            return
        held.clear()
        if self._ring() and self._mail:
            held.wait(PATIENCE)
        held.set()  # it may have been cleared after the reader's last look: whoever waits for room looks for himself

    def _ring(self) -> bool:
        """Wakes the reader, where it waits. Returns whether that is another thread."""
        raise NotImplementedError

    def _begin(self) -> None:
        """A task is about to run beside the reader."""
        self._held = self._held or threading.Event()

    def _end(self, finished: Finished) -> None:
        """Posts how a task has ended, which nobody holds up."""
        self._mail += ((), END, finished)
        self._ring()

    def _close(self) -> None:
        """Nobody reads any more."""
        self._most = 0
        if self._held:
            self._held.set()

    # -- reading ----------------------------------------------------------------------------------------------------

    async def receive(self) -> Finished | Event:
        if not (self._ended or self._mail):
            self._waits = True
            await self._wait()
            self._waits = False
        message = self._taken()
        self._let_in()
        return message

    def _let_in(self) -> None:
        """There may be room, and the first event has been read."""
        if self._held and not self._held.is_set() and len(self._mail) <= FULL // 2:
            self._held.set()

    async def _wait(self) -> None:
        """Until something has come."""
        mail = self._mail
        if self._dense and not mail:
            await self._rest(DENSE)
            if mail:
                return
        began = time.perf_counter()
        while not mail:
            self._asleep = True
            if not mail:  # it may have come before they knew that it wakes
                await self._rest(None)
        self._asleep = False
        self._dense = time.perf_counter() - began < DENSE

    async def _rest(self, seconds: float | None) -> None:
        """Waits until the reader is woken, or so long; it may have been woken for what it has read already."""
        raise NotImplementedError

    def _taken(self) -> Finished | Event:
        """The first message, of which there is one; an event with those that come right after it, as a `BURST`."""
        if self._ended:
            return self._ended.pop()
        first = self._mail[: PARTS * BURSTS]
        modes = first[1::PARTS]
        if modes[0] == END:
            first = first[: PARTS * next((index for index, mode in enumerate(modes) if mode != END), BURSTS)]
            self._ended = first[2::PARTS][::-1]
        elif END in modes:
            first = first[: PARTS * modes.index(END)]
        del self._mail[: len(first)]
        return self._ended.pop() if self._ended else Event((), BURST, first)
