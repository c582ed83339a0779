"""Workflows written as functions: `@entrypoint` and `@task`.

An entrypoint is a graph of one node, whose input is any value; a task is a function whose results are kept one by one, so that
an entrypoint (or a node) that runs again need not do again what was done.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Coroutine, Generator
from dataclasses import replace
from types import CodeType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from clew.channels import LastValue
from clew.constants import PREVIOUS
from clew.engine.plan import Plan, Station
from clew.errors import GraphError
from clew.graph.compiled import CompiledStateGraph
from clew.graph.node import check_name, is_generator, name_of
from clew.graph.state import Retries, StateGraph
from clew.runtime.asking import digest_of
from clew.runtime.attempt import Node, Policies, Program
from clew.runtime.context import GIVERS
from clew.runtime.events import ENTERED
from clew.runtime.host import Action, limit_of
from clew.runtime.spawn import Callee, spawn
from clew.schema import ROOT, View
from clew.types import RUNNING, CachePolicy, FinalValue, RetryPolicy, Task, Timeout

if TYPE_CHECKING:
    from clew.cache.base import BaseCache
    from clew.checkpoint.base import BaseCheckpointSaver
    from clew.store.base import BaseStore

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

CHANNELS = {ROOT: LastValue(), PREVIOUS: LastValue()}
VIEW = View((ROOT,), root=True)
COMPREHENSIONS = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}


class TaskFuture(Protocol[T_co]):
    """What calling a task returns: it has begun. Plain code asks for its `result()`, async code awaits it."""

    def result(self, timeout: float | None = None) -> T_co: ...
    def exception(self, timeout: float | None = None) -> BaseException | None: ...
    def done(self) -> bool: ...
    def __await__(self) -> Generator[Any, Any, T_co]: ...


class TaskFunction(Generic[P, T]):
    """A function that `@task` has made a task of.

    Attributes:
        name: what it is called in streams and on record.
    """

    def __init__(self, function: Callable[P, Any], name: str, policies: Policies | None) -> None:
        functools.update_wrapper(self, function)
        self.name = name
        plan = Plan(CHANNELS, {name: Station(Task(name))}, frozenset(), VIEW, frozenset(), VIEW, entry=name)
        self._callee = Callee(name, Node(name, _unpacking(name, function), VIEW, policies=policies), plan)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> TaskFuture[T]:
        """Starts the task and returns its future at once; where its result is on record, that.

        Raises:
            RuntimeError: nothing is running that it could be a part of. TaskMismatch, UnstorableValue.
        """
        context: Any = RUNNING.get()
        if context is None:
            raise RuntimeError(
                f"Task {self.name!r} was called outside of a run: call it in an @entrypoint, a node or another task; to call "
                f"the function itself, `{self.name}.__wrapped__(…)`."
            )
        return spawn(context, self._callee, args, dict(kwargs), digest_of(_calling()))

    def clear_cache(self, cache: BaseCache[Any]) -> None:
        """Forgets what `cache` holds of this task."""
        cache.clear(self._spaces())

    async def aclear_cache(self, cache: BaseCache[Any]) -> None:
        """`clear_cache`, awaited."""
        await cache.aclear(self._spaces())

    def _spaces(self) -> list[tuple[str, ...]]:
        policies = self._callee.node.policies
        return [policies.known_as] if policies and policies.cache else []


@overload
def task(
    func: None = None,
    *,
    name: str | None = None,
    retry_policy: Retries | None = None,
    cache_policy: CachePolicy | None = None,
    timeout: Timeout | None = None,
) -> _TaskMaker: ...
@overload
def task(func: Callable[P, Coroutine[Any, Any, T]]) -> TaskFunction[P, T]: ...
@overload
def task(func: Callable[P, T]) -> TaskFunction[P, T]: ...
def task(
    func: Any = None,
    *,
    name: str | None = None,
    retry_policy: Retries | None = None,
    cache_policy: CachePolicy | None = None,
    timeout: Timeout | None = None,
) -> Any:
    """Makes a function a task, which entrypoints, nodes and other tasks can call.

    A call starts it and returns a future at once: `.result()` in plain code, `await` in async code. Its result is kept before
    the caller gets it; when the caller runs again (after a crash, a failure, an answer), the same call is answered from the
    record. Whatever has side effects or is not the same each time belongs into a task.

    Calls are told apart by their order, the task's name and the arguments. A failure comes out where the future is read; one
    that nobody reads fails the caller.

    Args:
        name: default: the function's. retry_policy, cache_policy, timeout: as for `StateGraph.add_node`; a cache's `key_func`
            is called with the arguments.
    """
    if func is None:
        return functools.partial(task, name=name, retry_policy=retry_policy, cache_policy=cache_policy, timeout=timeout)
    if is_generator(func):
        raise NotImplementedError(f"Task {name_of(func)!r} is a generator, which a task cannot be: return a list.")
    known_as = name or name_of(func)
    check_name(known_as)
    retry = () if retry_policy is None else (retry_policy,) if isinstance(retry_policy, RetryPolicy) else tuple(retry_policy)
    limit = None if timeout is None else limit_of(timeout)
    spaces = ("clew", func.__module__, func.__qualname__, known_as)
    policies = Policies(retry, _by_arguments(cache_policy), limit, None, spaces)
    return TaskFunction[..., Any](func, known_as, policies if retry or cache_policy or limit else None)


def _calling() -> CodeType:
    """The function that calls a task. A comprehension, which is one of its own before Python 3.12, counts to that around it."""
    frame = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]  (the only way to know who calls)
    while frame.f_code.co_name in COMPREHENSIONS and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code


class _TaskMaker(Protocol):
    @overload
    def __call__(self, func: Callable[P, Coroutine[Any, Any, T]]) -> TaskFunction[P, T]: ...
    @overload
    def __call__(self, func: Callable[P, T]) -> TaskFunction[P, T]: ...


def _by_arguments(policy: CachePolicy | None) -> CachePolicy | None:
    if policy is None or policy.key_func is None:
        return policy
    key_func: Callable[..., str | bytes] = policy.key_func

    def by_arguments(given: Any) -> str | bytes:
        return key_func(*given[0], **given[1])

    return replace(policy, key_func=by_arguments)


def _unpacking(name: str, function: Callable[..., Any]) -> Action:
    """A function of its own arguments as one of a pair `(args, kwargs)`; what it asks for by name stands beside those."""
    parameters = inspect.signature(function).parameters
    wants = tuple(key for key in parameters if key in GIVERS and key not in ("error", "previous"))

    def arguments(given: Any, extra: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs = given
        if extra:
            said = inspect.signature(function).bind_partial(*args, **kwargs).arguments
            kwargs = {**{key: value for key, value in extra.items() if key not in said}, **kwargs}
        return args, kwargs

    def plain(given: Any, **extra: Any) -> Any:
        args, kwargs = arguments(given, extra)
        return function(*args, **kwargs)

    async def awaited(given: Any, **extra: Any) -> Any:
        args, kwargs = arguments(given, extra)
        return await function(*args, **kwargs)

    is_async = inspect.iscoroutinefunction(function)
    return Action(name, None if is_async else plain, awaited if is_async else None, wants)


class entrypoint:
    """Makes a function a graph, with all its verbs: `invoke`, `stream`, `get_state`, and so on.

    The function takes one input, of any type, and beside it what it asks for by name: `previous`, `runtime`, `config`, `store`,
    `writer`. What it returns is the result, and what the next run on the thread finds as `previous`; `entrypoint.final` parts
    the two. When a run is resumed the function runs again from its first line, and the tasks that it calls answer from the
    record: what has side effects, or is not the same each time, belongs into a `@task`.

    Args:
        checkpointer, store, cache: as for `StateGraph.compile`. context_schema: as for `StateGraph`.
        retry_policy, cache_policy, timeout: as for `StateGraph.add_node`.

    Raises:
        GraphError: the function takes no input. NotImplementedError: it is a generator.
    """

    final = FinalValue

    def __init__(
        self,
        checkpointer: BaseCheckpointSaver[Any] | bool | None = None,
        store: BaseStore | None = None,
        cache: BaseCache[Any] | None = None,
        context_schema: Any = None,
        cache_policy: CachePolicy | None = None,
        retry_policy: Retries | None = None,
        timeout: Timeout | None = None,
    ) -> None:
        self._compiled: dict[str, Any] = {"checkpointer": checkpointer, "store": store, "cache": cache}
        self._context = context_schema
        self._node: dict[str, Any] = {"cache_policy": cache_policy, "retry_policy": retry_policy, "timeout": timeout}

    def __call__(self, func: Callable[..., Any]) -> CompiledStateGraph[Any, Any, Any, Any]:
        name = name_of(func)
        if is_generator(func):
            raise NotImplementedError(f"Entrypoint {name!r} is a generator, which it cannot be: stream with `writer`.")
        if not inspect.signature(func).parameters:
            raise GraphError(f"Entrypoint {name!r} takes no input: give it one parameter, as in `def {name}(input): …`.")
        builder = StateGraph(cast("Any", object), context_schema=self._context).add_node(name, func, **self._node)
        graph = builder.add_edge("__start__", name).compile(**self._compiled, name=name)
        plan = replace(graph.program.plan, channels=CHANNELS, entry=name)
        nodes = {**graph.program.nodes, name: replace(graph.program.nodes[name], triggers=ENTERED)}
        graph.program = Program(plan, nodes, plan.keeps)
        functools.update_wrapper(cast("Any", graph), func, updated=())
        return graph
