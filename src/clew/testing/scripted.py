"""A host for tests: the tasks of a superstep run one after the other, in the order the test chooses."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from clew.runtime.context import TaskContext
from clew.runtime.drive import drive
from clew.runtime.events import Event
from clew.runtime.host import Action, Finished, Host, Limit
from clew.runtime.threads import done, heard, pending
from clew.types import RUNNING

T = TypeVar("T")


class ScriptedHost:
    """Runs the tasks that have been started when the loop waits for one, and the one that `choose` picks.

    It serves both faces: driven, as in `drive(graph.run_on(host, config).finish(input))`, and awaited.

    Args:
        choose: is told how many tasks wait, and returns the index of the one that ends next.
        late: what is to be written while the run goes on (durability `"async"`) is written as late as it can be: when
            somebody waits for it. Otherwise at once.
    """

    driven = True

    def __init__(self, choose: Callable[[int], int], *, late: bool = False) -> None:
        self._choose = choose
        self._late = late
        self._aside: list[Callable[[], None]] = []
        self._waiting: list[Callable[[], Coroutine[Any, Any, Finished]]] = []
        self._events: list[Event] = []
        self._ended: list[Finished] = []

    async def blocking(self, fn: Callable[..., T], /, *args: Any) -> T:
        while self._aside:
            self._aside.pop(0)()
        return fn(*args)

    def aside(self, job: Callable[[], None]) -> None:
        if self._late:
            self._aside.append(job)
        else:
            job()

    async def call(self, action: Action, given: Any, context: TaskContext, limit: Limit | None = None) -> Any:
        extra = context.given(action.wants)
        token = RUNNING.set(context)
        try:
            if action.plain is not None:
                return action.plain(given, **extra)
            assert action.awaited is not None
            return await action.awaited(given, **extra)
        finally:
            RUNNING.reset(token)

    def start(self, body: Callable[[], Coroutine[Any, Any, Finished]]) -> None:
        self._waiting.append(body)

    def spawn(self, body: Callable[[Host], Coroutine[Any, Any, Any]], node: Any) -> Any:
        """Runs at once, before the caller goes on."""
        future = pending()
        try:
            future.set_result(drive(body(self)))
        except BaseException as error:  # handed to whoever asks
            future.set_exception(error)
        return future

    def settled(self, value: Any) -> Any:
        return done(value)

    async def settle(self, futures: list[Any], *, cancel: bool) -> list[tuple[BaseException | None, bool]]:
        return [heard(future) for future in futures]  # they have all ended

    def emit(self, ns: tuple[str, ...], mode: str, data: Any) -> None:
        self._events.append(Event(ns, mode, data))

    async def room(self) -> None:
        """There is room for all of them."""

    async def receive(self) -> Finished | Event:
        if not self._events and not self._ended:
            self._ended.append(await self._waiting.pop(self._choose(len(self._waiting)))())
        return self._events.pop(0) if self._events else self._ended.pop(0)

    async def sleep(self, seconds: float) -> None:
        """No time passes here."""

    def cancel(self) -> None:
        """Those that wait still run to their end, as threads would."""

    async def close(self) -> None:
        self._waiting.clear()
