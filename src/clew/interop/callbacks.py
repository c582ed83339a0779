"""The door to LangChain's callbacks: runs, tasks and routers as chains that its handlers see, nested as they are.

Like its neighbours this imports `langchain_core` as it is loaded, which is where somebody listens. What it gives is a span as
`clew.runtime.spans` wants one; it knows nothing of graphs.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final
from uuid import UUID

from langchain_core.callbacks import (
    AsyncCallbackManager,
    BaseCallbackHandler,
    BaseCallbackManager,
    CallbackManager,
)
from langchain_core.runnables.config import var_child_runnable_config

BODY, ROUTER = "seq:step:1", "seq:step:3"
"""Tags by which front ends of LangGraph know what runs in a node from what chooses after it."""
PASSED_OVER: Final = ("superstep", "commit")


class OfTask(BaseCallbackHandler):
    """A handler of ours, which belongs to one task: what runs in graphs inside it is not its concern."""

    run_inline = True
    raise_error = True

    @property
    def ignore_chain(self) -> bool:
        return True


class ModelCalls(OfTask):
    """Tells of the calls of models inside one task.

    Args:
        began: called with the model's name and metadata; what it returns is called at the end, with the error if there was one.
    """

    def __init__(self, began: Callable[[str, Mapping[str, Any]], Callable[[BaseException | None], None]]) -> None:
        self._began = began
        self._running: dict[UUID, Callable[[BaseException | None], None]] = {}

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, run_id: UUID, metadata: Any = None, name: str | None = None, **_: Any
    ) -> None:
        known: Mapping[str, Any] = serialized or {}
        called = name or known.get("name") or str((known.get("id") or ["model"])[-1])
        self._running[run_id] = self._began(called, metadata or {})

    def on_llm_start(self, serialized: Any, prompts: Any, *, run_id: UUID, **more: Any) -> None:
        self.on_chat_model_start(serialized, prompts, run_id=run_id, **more)

    def on_llm_end(self, response: Any, *, run_id: UUID, **_: Any) -> None:
        self._over(run_id, None)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self._over(run_id, error)

    def _over(self, run_id: UUID, error: BaseException | None) -> None:
        if ended := self._running.pop(run_id, None):
            ended(error)


def of_others(callbacks: Any) -> Any:
    """Callbacks without the handlers of the task that they come from; None where nothing is left."""
    if isinstance(callbacks, list):
        return [handler for handler in callbacks if not isinstance(handler, OfTask)] or None  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(callbacks, BaseCallbackManager):
        return callbacks
    found = callbacks.copy()
    for handler in [handler for handler in found.handlers if isinstance(handler, OfTask)]:
        found.remove_handler(handler)
    return found


def with_handler(callbacks: Any, handler: BaseCallbackHandler) -> Any:
    """Callbacks with one more handler, for whatever is called with them and all that runs in there."""
    if not callbacks:
        return [handler]
    if isinstance(callbacks, list):
        return [*callbacks, handler]
    found = callbacks.copy()
    found.add_handler(handler, inherit=True)
    return found


def enter(config: Any) -> None:
    """Makes this the config of whatever is called without one in this context."""
    var_child_runnable_config.set(config)


def listening(callbacks: Any, config: Mapping[str, Any], *, driven: bool) -> "Listeners | None":
    """Who listens to a run: these callbacks, or where there are none those of this context; None where nobody does.

    Args:
        driven: on the sync face.
    """
    around = var_child_runnable_config.get() or {}
    found = of_others(callbacks or around.get("callbacks"))
    kind: Any = CallbackManager if driven else AsyncCallbackManager
    manager = kind.configure(found, inheritable_tags=config["tags"], inheritable_metadata=config["metadata"])
    return Listeners(manager) if manager.handlers else None


class Listeners:
    """The handlers that a run is called with."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    async def begin(self, kind: str, name: str, given: Any, config: Mapping[str, Any]) -> "Chain":
        return await _begun(self._manager, kind, name, given, _uuid(config.get("run_id")))


class Chain:
    """One chain as handlers see it."""

    def __init__(self, run: Any, kind: str) -> None:
        self._made = run
        self._kind = kind

    @property
    def _run(self) -> Any:
        """The manager that fits here: plain code that async code has called runs in a thread that has no loop."""
        return self._made if driven(self._made) or _on_a_loop() else self._made.get_sync()

    async def begin(self, kind: str, name: str, given: Any, config: Mapping[str, Any]) -> "Chain | Within":
        if kind in PASSED_OVER:
            return Within(self)
        if kind == "router":
            return await _begun(self._run.get_child(ROUTER), kind, name, given)
        metadata = dict(config["metadata"])
        manager = self._run.get_child(f"graph:step:{metadata['langgraph_step']}" if self._kind == "run" else BODY)
        manager.add_metadata(metadata)
        return await _begun(manager, kind, name, given)

    def enter(self) -> None:
        """Its callbacks are what is to be found, and are in the config."""

    def callbacks(self, given: Any) -> Any:
        return self._run.get_child(BODY)

    async def end(self, returned: Any) -> None:
        run = self._run
        for handler in run.handlers if self._kind == "task" else ():
            await _tap(handler, run.run_id, returned, awaited=not driven(run))
        await _told(run.on_chain_end(returned))

    async def fail(self, error: BaseException) -> None:
        await _told(self._run.on_chain_error(error))


class Within:
    """What handlers know nothing of: what begins in it is seen in what it is in."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    async def begin(self, kind: str, name: str, given: Any, config: Mapping[str, Any]) -> "Chain | Within":
        return await self._chain.begin(kind, name, given, config)

    def enter(self) -> None: ...

    def callbacks(self, given: Any) -> Any:
        return self._chain.callbacks(given)

    async def end(self, returned: Any) -> None: ...

    async def fail(self, error: BaseException) -> None: ...


def _uuid(run_id: Any) -> UUID | None:
    """A run's id, where it is one that LangChain can have."""
    try:
        return None if run_id is None else UUID(str(run_id))
    except ValueError:
        return None


async def _begun(manager: Any, kind: str, name: str, given: Any, run_id: Any = None) -> Chain:
    return Chain(await _told(manager.on_chain_start(None, given, name=name, run_id=run_id)), kind)


def driven(manager: Any) -> bool:
    """Whether it is one of plain code."""
    return not hasattr(manager, "get_sync")


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _told(found: Any) -> Any:
    """What a manager returned, which only that of the async face has to be awaited for."""
    return await found if hasattr(found, "__await__") else found


async def _tap(handler: Any, run_id: Any, returned: Any, *, awaited: bool) -> None:
    """Shows a task's result to a handler that wants the chunks of streams (`astream_events`), as the only chunk it has."""
    if isinstance(handler, OfTask) or not hasattr(handler, "tap_output_iter"):
        return
    if awaited:
        async for _ in handler.tap_output_aiter(run_id, _only(returned)):
            pass
    else:
        for _ in handler.tap_output_iter(run_id, iter((returned,))):
            pass


async def _only(value: Any) -> AsyncIterator[Any]:
    yield value
