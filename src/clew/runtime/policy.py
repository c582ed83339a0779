"""A task from its first try to its last: the cache is asked, failures are tried again, and in the end a handler steps in."""

import sys
import time
import warnings
from collections.abc import Coroutine, Sequence
from typing import Any, Final, cast

from clew.engine.plan import Plan
from clew.engine.writes import Returned, prepared
from clew.errors import CacheWarning, GraphDrained, NodeError, NodeTimeoutError, UnstorableValue
from clew.runtime.attempt import Node, Policies, attempt, called, given_to, tell_messages
from clew.runtime.context import TaskContext
from clew.runtime.host import Host, limit_of
from clew.types import CachePolicy, Result, RetryPolicy, Send, Task, Values, Write

OWN_MISTAKES: Final = (
    ValueError, TypeError, ArithmeticError, ImportError, LookupError, NameError, SyntaxError, RuntimeError, ReferenceError,
    StopIteration, StopAsyncIteration, OSError,
)  # fmt: skip


def run_task(
    plan: Plan, node: Node, host: Host, task: Task, values: Values, context: TaskContext
) -> Coroutine[Any, Any, tuple[Result, Returned]]:
    """Runs a task by its node's policies. Returns what `attempt` does."""
    if node.policies is None:
        limit = limit_of(task.timeout) if task.timeout is not None else None
        return attempt(plan, node, host, task, values, context, limit)
    return _by_policies(plan, node, node.policies, host, task, values, context)


async def _by_policies(
    plan: Plan, node: Node, policies: Policies, host: Host, task: Task, values: Values, context: TaskContext
) -> tuple[Result, Returned]:
    cache = context.scope.cache if policies.cache else None
    if cache is None or policies.cache is None:
        return await _handled(plan, node, policies, host, task, values, context)
    try:
        digest = _cache_key(policies.cache, given_to(node, task, values, context))
    except UnstorableValue as error:
        _warn(node, "input", error)
        return await _handled(plan, node, policies, host, task, values, context)
    key = (policies.known_as, digest)
    found = await host.blocking(cache.get, [key])
    if key in found:
        return _from_cache(found[key])
    result, shown = await _handled(plan, node, policies, host, task, values, context)
    if not shown.by:
        try:
            await host.blocking(cache.set, {key: (_for_cache(result), policies.cache.ttl)})
        except UnstorableValue as error:
            _warn(node, "result", error)
    return result, shown


def _warn(node: Node, what: str, error: UnstorableValue) -> None:
    """A cache is a courtesy: where it cannot serve, the node runs."""
    warnings.warn(f"The {what} of node {node.name!r} cannot be cached: {error.reason}", CacheWarning, stacklevel=2)


# -- trying again ---------------------------------------------------------------------------------------------------


async def _handled(
    plan: Plan, node: Node, policies: Policies, host: Host, task: Task, values: Values, context: TaskContext
) -> tuple[Result, Returned]:
    """After the last try, an error handler's answer counts as the node's; the node's own edges are not followed then."""
    try:
        return await _retried(plan, node, policies, host, task, values, context)
    except Exception as error:
        if policies.handler is None or isinstance(error, GraphDrained):
            raise
        name = policies.handler.name
        context = context.again()
        context.error = NodeError(node.name, error)
        given = given_to(node, task, values, context)
        try:
            returned = await called(plan, name, policies.handler, host, given, context)
            if context.scope.told is not None:
                tell_messages(context, given, returned)
        finally:
            context.over = True
        return Result(prepared(plan, returned.writes), returned.targets, context.heads), returned._replace(
            by=name, failed=error
        )


async def _retried(
    plan: Plan, node: Node, policies: Policies, host: Host, task: Task, values: Values, context: TaskContext
) -> tuple[Result, Returned]:
    limit = limit_of(task.timeout) if task.timeout is not None else policies.limit
    context.since = time.time()
    while True:
        try:
            return await attempt(plan, node, host, task, values, context, limit)
        except Exception as error:
            policy = next((policy for policy in policies.retry if _matches(policy, error)), None)
            if policy is None or context.attempt >= policy.max_attempts or isinstance(error, GraphDrained):
                raise
        finally:
            context.over = True  # nobody listens to what this try may still do
        await host.sleep(_wait(policy, context.attempt))
        context = context.again()


def _wait(policy: RetryPolicy, attempt: int) -> float:
    """Seconds before the next try."""
    seconds = min(policy.max_interval, policy.initial_interval * policy.backoff_factor ** (attempt - 1))
    if not policy.jitter:
        return seconds
    from random import random  # late: few runs fail, and it loads OpenSSL

    return seconds + random()


def _matches(policy: RetryPolicy, error: Exception) -> bool:
    on: Any = policy.retry_on
    if on is None:
        return worth_retrying(error)
    if isinstance(on, Sequence):
        return isinstance(error, tuple(cast("Sequence[type[Exception]]", on)))
    return isinstance(error, on) if isinstance(on, type) else bool(on(error))


def worth_retrying(error: Exception) -> bool:
    """The default `retry_on`: connections, timeouts of nodes, answers of 500 and above, and whatever is not a usual mistake of
    the code itself (`OWN_MISTAKES`). (LangGraph's rule; it also retries a 4xx of `requests`, which this does not.)"""
    if isinstance(error, ConnectionError | NodeTimeoutError):
        return True
    for library in ("httpx", "requests"):
        if library in sys.modules and isinstance(error, getattr(sys.modules[library], _STATUS_ERROR[library])):
            response = getattr(error, "response", None)
            return response is None or response.status_code >= 500
    return not isinstance(error, OWN_MISTAKES)


_STATUS_ERROR: Final = {"httpx": "HTTPStatusError", "requests": "HTTPError"}


# -- the cache ------------------------------------------------------------------------------------------------------


def _cache_key(policy: CachePolicy, given: Any) -> str:
    if policy.key_func is None:
        from clew.checkpoint.codec import encode  # late: a graph that keeps nothing need not import what keeps

        made: str | bytes = encode(given)
    else:
        made = policy.key_func(given)
    from hashlib import blake2b  # late, as above

    return blake2b(made.encode() if isinstance(made, str) else made, digest_size=16).hexdigest()


def _for_cache(result: Result) -> list[Any]:
    return [[[key, value] for key, value in result.writes], list(result.targets)]


def _from_cache(kept: list[Any]) -> tuple[Result, Returned]:
    writes = tuple(Write(key, value) for key, value in cast("list[list[Any]]", kept[0]))
    targets = cast("tuple[str | Send, ...]", tuple(kept[1]))
    return Result(writes, targets), Returned(writes, (), cached=True)
