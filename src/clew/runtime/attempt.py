"""One try of one task: the node is called, what it returned is read and checked, and where it leads is worked out.

A task is finished only when its routing is (DESIGN §10), so routers are called here, by the task itself.
"""

from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from clew.channels import own
from clew.constants import START
from clew.engine.apply import fold
from clew.engine.plan import Plan
from clew.engine.writes import Returned, prepared, read_return, targets_of
from clew.errors import GraphBubbleUp, GraphInterrupt, InvalidUpdateError, ParentCommand
from clew.nouns import noun
from clew.runtime.context import TaskContext
from clew.runtime.host import Action, Host, Limit
from clew.schema import View, refused
from clew.types import CachePolicy, Checkpoint, Result, RetryPolicy, Send, Task, Values

if TYPE_CHECKING:
    from clew.runtime.spans import Span


@dataclass(frozen=True, slots=True)
class Router:
    """A conditional edge: what chooses, how it sees the state, and the names its answers stand for (None: they are names)."""

    action: Action
    names: Mapping[Any, str] | None
    view: View | None = None


class Policies(NamedTuple):
    """What is to be done when a node fails, takes long, or was given the same before; `known_as` names it in the cache."""

    retry: tuple[RetryPolicy, ...] = ()
    cache: CachePolicy | None = None
    limit: Limit | None = None
    handler: Action | None = None
    known_as: tuple[str, ...] = ()


@noun
class Node:
    """A node as it runs. START has no action. A `hidden` one is left out of streams (`TAG_HIDDEN`); a `whole` is a graph."""

    name: str
    action: Action | None
    view: View
    routers: Sequence[Router] = ()
    policies: Policies | None = None
    metadata: Mapping[str, Any] | None = None
    triggers: tuple[str, ...] = ()
    hidden: bool = False
    whole: bool = False


class Stops(NamedTuple):
    """Breakpoints: the nodes before which, and after which, a run stops."""

    before: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset()

    def hit(self, checkpoint: Checkpoint, *, entered: bool) -> bool:
        """Whether a run stops at this checkpoint; `entered` says that it has just gone in there, and ran nothing before."""
        frontier = checkpoint.frontier
        if not frontier or frontier[0].node == START:
            return False
        return any(task.node in self.before for task in frontier) or (
            not entered and not self.after.isdisjoint(checkpoint.acted)
        )


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled graph as the loop runs it: the rules' plan and, by the same names, the nodes that do the work."""

    plan: Plan
    nodes: Mapping[str, Node]
    keeps: Mapping[str, bool]


def attempt(
    plan: Plan, node: Node, host: Host, task: Task, values: Values, context: TaskContext, limit: Limit | None = None
) -> Coroutine[Any, Any, tuple[Result, Returned]]:
    """Runs a task once. Its result, and what it returned as it is shown in streams.

    Whatever user code raises comes out as it is.
    """
    given = given_to(node, task, values, context) if node.action else None
    work = _done(plan, node, host, task, values, context, limit, given)
    if not context.scope.watch or node.action is None:
        return work
    from clew.runtime.spans import tried  # late: few runs are watched

    return tried(context, given, work)


async def _done(
    plan: Plan, node: Node, host: Host, task: Task, values: Values, context: TaskContext, limit: Limit | None, given: Any
) -> tuple[Result, Returned]:
    if node.action is None:
        returned, writes = Returned(task.arg, ()), task.arg
    else:
        returned = await called(plan, node.name, node.action, host, given, context, limit)
        writes = prepared(plan, returned.writes) if plan.prepares else returned.writes
    if node.routers or plan.check is not None:
        targets = returned.targets + await led(plan, node, host, task, values, context, writes)
    else:
        targets = returned.targets + plan.stations[node.name].edges
    if context.scope.told is not None and not node.hidden:
        tell_messages(context, given, returned)
    return Result(writes, targets, context.heads), returned


def given_to(node: Node, task: Task, values: Values, context: TaskContext) -> Any:
    """What a node is called with: the Send's own input or its view of the state; containers are copies.

    What a class of the user's refuses comes out as it is, with a note of what stands where, and how to mend it.
    """
    if task.sent:
        return own(task.arg)
    try:
        return node.view(values, context.left)
    except Exception as error:
        thread = context.scope.settings.thread
        if thread is not None:
            error.add_note(_refusal(node, thread, error))
        raise


def _refusal(node: Node, thread: str, error: Exception) -> str:
    kind = getattr(node.view.build, "__name__", "its schema")
    wrong = [key for key in refused(error) if key]
    update = f"{{{', '.join(f'{key!r}: …' for key in wrong)}}}" if wrong else "{…}"
    return (
        f"Node {node.name!r} reads the state as {kind}, which does not take what thread {thread!r} has"
        f"{f' under {wrong}' if wrong else ''}. Mend it with "
        f"`update_state(config, {update}, as_node=…)`, and `invoke(None, config)`."
    )


async def called(
    plan: Plan, name: str, action: Action, host: Host, given: Any, context: TaskContext, limit: Limit | None = None
) -> Returned:
    """Calls a node's function, or an error handler, and reads what it returned.

    Raises:
        ParentCommand: it is for the graph around this one.
    """
    answer = None
    try:
        try:
            answer = await host.call(action, given, context, limit)
        except BaseException as error:
            if context.spawned is None:
                raise
            await _others(context, host, error)
        if context.spawned is not None:
            await _others(context, host, None)
    except (ParentCommand, BaseExceptionGroup) as raised:
        # from a graph that runs inside this node: as if the node itself had returned it
        up = raised if isinstance(raised, ParentCommand) else _on_its_way(raised)
        answer = replace(up.command, graph=None)
    context.answer = answer
    try:
        return read_return(plan, name, answer)
    except ParentCommand as up:
        if context.scope.nested:
            raise
        raise InvalidUpdateError(
            f"{name!r} returned a Command for the graph {up.command.graph!r}, and there is no graph around this one."
        ) from None


async def _others(context: TaskContext, host: Host, raised: BaseException | None) -> None:
    """Waits for the tasks that a function has called; raises what it has `raised`, and what they have."""
    from clew.runtime.spawn import ended  # late: it stands above this

    await ended(context, host, raised)


def _on_its_way(raised: BaseExceptionGroup[BaseException]) -> ParentCommand:
    """The Command that is going up, out of the groups that an `asyncio.TaskGroup` has wrapped it in; pauses go on as one."""
    found = [error for error in _leaves(raised) if isinstance(error, GraphBubbleUp)]
    if len(found) < len(_leaves(raised)):
        raise raised  # something else has failed as well, which counts for more
    pauses = [error for error in found if isinstance(error, GraphInterrupt)]
    if pauses:
        raise GraphInterrupt(*[question for pause in pauses for question in pause.questions]) from None
    return cast("ParentCommand", found[0])


def _leaves(raised: BaseException) -> list[BaseException]:
    if not isinstance(raised, BaseExceptionGroup):
        return [raised]
    return [leaf for error in cast("Any", raised).exceptions for leaf in _leaves(error)]


async def led(
    plan: Plan, node: Node, host: Host, task: Task, values: Values, context: TaskContext, writes: Sequence[Any]
) -> tuple[str | Send, ...]:
    """Where a node's edges and routers lead once it has written. Routers see the committed state with these writes, not with
    those of the node's siblings."""
    edges = plan.stations[node.name].edges
    if not node.routers and (plan.check is None or not writes):
        return edges
    after = context.after = fold(plan, values, [(task, Result(tuple(writes)))])
    if plan.check is not None:
        plan.check(after, {write.key for write in writes})
    found: list[str | Send] = [*edges]
    for router in node.routers:
        seen = (router.view or plan.state)(after, context.left)
        work = host.call(router.action, seen, context)
        answer = await (chosen(context.span, router.action.name, seen, work) if context.span else work)
        answers = cast("Sequence[Any]", answer) if isinstance(answer, list | tuple) else (answer,)
        found += targets_of(plan, node.name, [_named(node.name, router, one) for one in answers])
    return tuple(found)


def tell_messages(context: TaskContext, given: Any, returned: Returned) -> None:
    """Tells readers of `messages` those that a node has returned."""
    from clew.runtime.spans import tell_messages  # late: few runs are read so

    tell_messages(context, given, returned.writes)


async def chosen(span: "Span", name: str, seen: Any, work: Coroutine[Any, Any, Any]) -> Any:
    """What a router answers, as a span."""
    from clew.runtime.spans import within  # late: few runs are watched

    return await within(span.begin("router", name, seen, {}), work)


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
