"""One task, from its input to its result: the node is called, what it returned is read, and where it leads is worked out.

A task is finished only when its routing is (DESIGN §10), so routers are called here, by the task itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from clew.engine.apply import fold
from clew.engine.plan import Plan
from clew.engine.writes import Returned, prepared, read_return, targets_of
from clew.errors import InvalidUpdateError
from clew.runtime.host import Action, Host
from clew.types import Result, Send, Task, Values


@dataclass(frozen=True, slots=True)
class Router:
    """A conditional edge: what chooses, and the names its answers stand for (None: they are the names)."""

    action: Action
    names: Mapping[Any, str] | None


@dataclass(frozen=True, slots=True)
class Node:
    """A node as it runs. START has no action."""

    name: str
    action: Action | None
    routers: Sequence[Router] = ()


async def attempt(plan: Plan, node: Node, host: Host, task: Task, values: Values) -> tuple[Result, Returned]:
    """Runs a task once. Returns its result, and what it returned as it is shown in streams.

    Whatever user code raises comes out as it is.
    """
    if node.action is None:
        returned = Returned(task.arg, ())
        writes = returned.writes
    else:
        given = task.arg if task.sent else plan.view(values)
        returned = read_return(plan, node.name, await host.call(node.action, given))
        writes = prepared(plan, returned.writes) if returned.writes else ()
    targets = returned.targets + plan.stations[node.name].edges
    if node.routers:
        targets += await _routed(plan, node, host, task, values, writes)
    return Result(writes, targets), returned


async def _routed(
    plan: Plan, node: Node, host: Host, task: Task, values: Values, writes: Sequence[Any]
) -> tuple[str | Send, ...]:
    """Where the routers lead. They see the committed state with this task's own writes, not its siblings'."""
    after = fold(plan, values, [(task, Result(tuple(writes)))])
    found: list[str | Send] = []
    for router in node.routers:
        answer = await host.call(router.action, plan.view(after))
        answers = cast("Sequence[Any]", answer) if isinstance(answer, list | tuple) else (answer,)
        found += targets_of(plan, node.name, [_named(node.name, router, one) for one in answers])
    return tuple(found)


def _named(node: str, router: Router, answer: Any) -> Any:
    if router.names is None or isinstance(answer, Send):
        return answer
    try:
        return router.names[answer]
    except (KeyError, TypeError):
        raise InvalidUpdateError(
            f"The router {router.action.name!r} after {node!r} answered {answer!r}, which its path_map does not have: "
            f"expected one of {list(router.names)}."
        ) from None
