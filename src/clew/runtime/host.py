"""What differs between the faces: how user code is called, how tasks run beside one another, how one waits (DESIGN §3).

The loop awaits only what a `Host` and a journal give it. `threads.py` and `tasks.py` are the two that ship.
"""

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from clew.engine.writes import Returned
from clew.errors import GraphError
from clew.nouns import noun
from clew.runtime.events import Event
from clew.types import Result, Timeout, TimeoutPolicy

if TYPE_CHECKING:
    from clew.checkpoint.storage import Waits
    from clew.runtime.context import TaskContext


QUICK: Final = 0.0001
"""Seconds that a plain function may take to be waited for on the loop when it is called next."""


class Pace:
    """What is known of how long a plain function takes.

    Attributes:
        slow: it was when it was called last, in whatever run.
    """

    def __init__(self, is_instant: Callable[[], bool] = lambda: False) -> None:
        self.slow = False
        self._is_instant = is_instant

    @cached_property
    def instant(self) -> bool:
        """Whether its code is seen to wait for nothing, wherever it is called; looked at when first asked."""
        return self._is_instant()

    def timed(self, call: Callable[..., Any], *args: Any) -> Any:
        """Calls the function, by `call`."""
        began = time.perf_counter()
        try:
            return call(*args)
        finally:
            self.slow = time.perf_counter() - began > QUICK


@dataclass(frozen=True, slots=True)
class Action:
    """What a node does, for each face it can serve: a plain function, an async one, or both.

    `wants` names what else it is called with; see `TaskContext.given`.
    """

    name: str
    plain: Callable[..., Any] | None
    awaited: Callable[..., Coroutine[Any, Any, Any]] | None
    wants: tuple[str, ...] = ()
    pace: Pace = field(default_factory=Pace, compare=False, repr=False)


@noun
class Finished:
    """A task has ended: the message it posts. `shown` is what it returned before `prepare`, for streams; `context` what it ran
    as."""

    index: int
    result: Result | None
    shown: Returned | None
    error: BaseException | None
    context: "TaskContext"


class Limit(NamedTuple):
    """How long one try may take: seconds in all, and since its last sign of life."""

    run: float | None
    idle: float | None
    heartbeat_only: bool = False

    def left(self, context: "TaskContext", began: float) -> float:
        """Seconds until it is over, which may be below zero."""
        now = time.monotonic()
        ends = [] if self.run is None else [began + self.run]
        if self.idle is not None:
            spoke = 0.0 if self.heartbeat_only else context.spoke
            ends.append(max(began, context.beat, spoke) + self.idle)
        return min(ends) - now

    def __str__(self) -> str:
        whole = [] if self.run is None else [f"{self.run:g} s"]
        idle = [] if self.idle is None else [f"{self.idle:g} s without a sign of life"]
        return " or ".join(whole + idle)


def limit_of(timeout: "Timeout") -> Limit:
    """Raises GraphError where it is not a time above zero."""
    policy = timeout if isinstance(timeout, TimeoutPolicy) else TimeoutPolicy(run_timeout=timeout)
    seconds: list[float | None] = []
    given: Any  # a timedelta is known by what it has: its module is not worth an import here
    for given in (policy.run_timeout, policy.idle_timeout):
        found = given.total_seconds() if hasattr(given, "total_seconds") else given
        if found is not None and (not isinstance(found, int | float) or isinstance(found, bool) or not found > 0):
            raise GraphError(f"The timeout is {given!r}: expected seconds above 0, a timedelta, or a TimeoutPolicy of those.")
        seconds.append(found)
    if seconds == [None, None]:
        raise GraphError(f"{policy!r} sets no time: give it `run_timeout=` or `idle_timeout=`, in seconds.")
    return Limit(seconds[0], seconds[1], policy.refresh_on == "heartbeat")


class Host(Protocol):
    """One run's means of one face."""

    @property
    def blocking(self) -> "Waits":
        """Waits for a blocking call (a database's)."""
        ...

    @property
    def aside(self) -> Callable[[Callable[[], None]], None]:
        """Runs a job, which does not raise, beside the run, in a thread."""
        ...

    @property
    def driven(self) -> bool:
        """Whether its coroutines never suspend (`clew.runtime.drive`)."""
        ...

    async def call(self, action: Action, given: Any, context: "TaskContext", limit: Limit | None = None) -> Any:
        """Calls user code as `context` and returns what it returned.

        Raises:
            WrongFace: the action is async only and this face is not.
            NodeTimeoutError: it took longer than `limit`; what it still does is of no account.
        """
        ...

    def start(self, body: Callable[[], Coroutine[Any, Any, Finished]]) -> None:
        """Runs `body` beside the others; what it returns is received as a message. `body` does not raise."""
        ...

    def spawn(self, body: "Callable[[Host], Coroutine[Any, Any, Any]]", node: Any) -> Any:
        """Starts what a task has called, a `node` (`clew.runtime.attempt.Node`), beside it; `body` is told the host to run on.

        Returns a future of the kind that the caller can wait for: to be awaited on a loop, to be asked for its result
        elsewhere.
        """
        ...

    def settled(self, value: Any) -> Any:
        """A future like that of `spawn` which has a result already."""
        ...

    async def settle(self, futures: list[Any], *, cancel: bool) -> list[tuple[BaseException | None, bool]]:
        """Waits for the ends of these; of each what it raised, and whether somebody has heard of that.

        `cancel` is for those that nobody waits for any more: those that can be are stopped, the others are left to themselves.
        """
        ...

    def emit(self, ns: tuple[str, ...], mode: str, data: Any) -> None:
        """Posts an event, from any thread. Where many have not been read it waits, as far as the face can."""
        ...

    async def room(self) -> None:
        """Waits until there is room for more events, where `emit` could not."""
        ...

    async def receive(self) -> Finished | Event:
        """The next message, in the order they were posted; events that have come at once may be one, a `BURST`."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    def cancel(self) -> None:
        """Asks the tasks still running to stop, where the face can; each of them still posts its message."""
        ...

    async def close(self) -> None:
        """Ends what still runs, where the face can. Nothing is received after."""
        ...
