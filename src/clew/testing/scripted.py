"""A host for tests: the tasks of a superstep run one after the other, in the order the test chooses."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from clew.runtime.host import Action, Finished

T = TypeVar("T")


class ScriptedHost:
    """Runs the tasks that have been started when the loop waits for one, and the one that `choose` picks.

    It serves both faces: driven, as in `drive(graph.run_on(host, config).finish(input))`, and awaited.

    Args:
        choose: is told how many tasks wait, and returns the index of the one that ends next.
    """

    def __init__(self, choose: Callable[[int], int]) -> None:
        self._choose = choose
        self._waiting: list[Callable[[], Coroutine[Any, Any, Finished]]] = []

    async def blocking(self, fn: Callable[..., T], /, *args: Any) -> T:
        return fn(*args)

    async def call(self, action: Action, given: Any) -> Any:
        if action.plain is not None:
            return action.plain(given)
        assert action.awaited is not None
        return await action.awaited(given)

    def start(self, body: Callable[[], Coroutine[Any, Any, Finished]]) -> None:
        self._waiting.append(body)

    async def receive(self) -> Finished:
        return await self._waiting.pop(self._choose(len(self._waiting)))()

    def cancel(self) -> None:
        """Those that wait still run to their end, as threads would."""

    async def close(self) -> None:
        self._waiting.clear()
