"""Calls over a network that are made again where the connection was lost."""

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from clew.errors import DatabaseError

T = TypeVar("T")
SHORTEST: Final = 0.02  # seconds before a call whose connection was lost is made again
LONGEST: Final = 1.0


class Patience:
    """Makes calls, for so many seconds at most.

    Args:
        lost: what the driver raises where a connection is lost. seconds: how long.
        then: what to do after that, for the message. sleep: how one waits.
    """

    def __init__(
        self, lost: tuple[type[Exception], ...], seconds: float, then: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.seconds = seconds
        self._sleep = sleep
        self._lost = lost
        self._then = then

    def call(self, verb: Callable[..., T], /, *args: Any, **given: Any) -> T:
        """What the call comes to.

        Raises:
            DatabaseError: the database could not be reached all the while.
        """
        until, pause = time.monotonic() + self.seconds, SHORTEST
        while True:
            try:
                return verb(*args, **given)
            except self._lost as error:
                if time.monotonic() + pause > until:
                    raise DatabaseError(
                        f"The database could not be reached for {self.seconds:g} s ({error}). Is it running? {self._then}"
                    ) from error
            self._sleep(pause)
            pause = min(2 * pause, LONGEST)
