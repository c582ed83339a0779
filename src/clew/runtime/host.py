"""What differs between the faces: how user code is called, how tasks run beside one another, how one waits (DESIGN §3).

The loop awaits only what a `Host` and a journal give it. `threads.py` and `tasks.py` are the two that ship.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from clew.engine.writes import Returned
from clew.types import Result

if TYPE_CHECKING:
    from clew.checkpoint.storage import Waits


@dataclass(frozen=True, slots=True)
class Action:
    """What a node does, for each face it can serve: a plain function, an async one, or both."""

    name: str
    plain: Callable[[Any], Any] | None
    awaited: Callable[[Any], Coroutine[Any, Any, Any]] | None


@dataclass(frozen=True, slots=True)
class Finished:
    """A task has ended: the message it posts. `shown` is what it returned before `prepare`, for streams."""

    index: int
    result: Result | None
    shown: Returned | None
    error: BaseException | None


class Host(Protocol):
    """One run's means of one face."""

    @property
    def blocking(self) -> "Waits":
        """Waits for a blocking call (a database's)."""
        ...

    async def call(self, action: Action, given: Any) -> Any:
        """Calls user code and returns what it returned.

        Raises:
            WrongFace: the action is async only and this face is not.
        """
        ...

    def start(self, body: Callable[[], Coroutine[Any, Any, Finished]]) -> None:
        """Runs `body` beside the others; what it returns is received as a message. `body` does not raise."""
        ...

    async def receive(self) -> Finished:
        """The next message, in the order they were posted."""
        ...

    def cancel(self) -> None:
        """Asks the tasks still running to stop, where the face can; each of them still posts its message."""
        ...

    async def close(self) -> None:
        """Ends what still runs, where the face can. Nothing is received after."""
        ...
