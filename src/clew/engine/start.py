"""Where a run begins: three functions, one for each way, never one that infers which is meant.

begin    a new input: what was pending is dropped
resume   the newest checkpoint as it stands (no rule needed: a run simply goes on with it)
fork     an older checkpoint again: the same frontier, nothing of it done
"""

from collections.abc import Iterable
from dataclasses import replace

from clew.constants import START
from clew.engine.apply import spend
from clew.engine.plan import Plan
from clew.errors import UnknownNode
from clew.schema import ROOT
from clew.types import Checkpoint, Join, Task, Write


def begin(plan: Plan, parent: Checkpoint | None, given: tuple[Write, ...]) -> Checkpoint:
    """The checkpoint of a new input: its only task is `(START, given)`.

    The parent's frontier is dropped; see `dropped`. With an entry plan the task is the entry itself, which is given the value;
    what the last run came to is no result of this one.
    """
    parent = dropped(plan, parent or Checkpoint(plan.initial()))
    if plan.entry is not None:
        values = {key: value for key, value in parent.values.items() if key != ROOT}
        frontier = (Task(plan.entry, given[0].value, sent=True),)
        return replace(parent, values=values, frontier=frontier, step=parent.step + 1, source="input")
    return replace(parent, frontier=(Task(START, given),), step=parent.step + 1, source="input")


def dropped(plan: Plan, parent: Checkpoint) -> Checkpoint:
    """A checkpoint without what is pending, whose triggers are spent; joins half arrived and deferred nodes that wait stay."""
    if plan.aliases:
        parent = _renamed(plan, parent)
    spent = {plan.current(task.node) for task in parent.frontier if not task.sent}
    return replace(
        parent,
        values=plan.completed(parent.values),
        frontier=(),
        joins=spend(parent.joins, spent),
        waiting=parent.waiting - spent,
    )


def resume(plan: Plan, parent: Checkpoint) -> Checkpoint:
    """The newest checkpoint, ready to go on with.

    Raises:
        UnknownNode: it is about to run a node that the graph no longer has.
    """
    for node in unknown(plan, parent):
        raise UnknownNode(
            f"The thread is about to run {node!r}, which is no longer a node of the graph. {plan.known()} Give the "
            f"node that replaces it the old name as well, `add_node(…, aliases=[{node!r}])`, or begin anew."
        )
    if plan.aliases:
        parent = _renamed(plan, parent)
    return replace(parent, values=plan.completed(parent.values))


def unknown(plan: Plan, parent: Checkpoint) -> list[str]:
    """The nodes that a checkpoint is about to run, at once or when nothing else can, which the graph does not have."""
    pending = [*[task.node for task in parent.frontier], *sorted(parent.waiting)]
    return [node for node in dict.fromkeys(pending) if node not in plan.stations]


def _renamed(plan: Plan, parent: Checkpoint) -> Checkpoint:
    """With the names that nodes have now, but for the frontier: its tasks are known by the names they were stored under."""

    def now(names: Iterable[str]) -> list[str]:
        return [plan.current(name) for name in names]

    joins: dict[Join, frozenset[str]] = {
        (tuple(sorted(now(sources))), plan.current(target)): frozenset(now(arrived))
        for (sources, target), arrived in parent.joins.items()
    }
    return replace(parent, joins=joins, waiting=frozenset(now(parent.waiting)), acted=tuple(now(parent.acted)))


def fork(plan: Plan, parent: Checkpoint) -> Checkpoint:
    """The same frontier again, nothing of it done, one step on."""
    parent = resume(plan, parent)
    tasks = tuple(replace(task, origin=None) for task in parent.frontier)
    return replace(parent, frontier=tasks, step=parent.step + 1, source="fork")
