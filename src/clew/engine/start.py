"""Where a run begins: three functions, one for each way, never one that infers which is meant.

begin    a new input: what was pending is dropped
resume   the newest checkpoint as it stands (no rule needed: a run simply goes on with it)
fork     an older checkpoint again: the same frontier, nothing of it done
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from clew.constants import START
from clew.engine.apply import spend
from clew.engine.migrate import lost
from clew.engine.plan import Plan
from clew.errors import UnknownNode
from clew.schema import ROOT
from clew.types import Checkpoint, Join, Outcome, Task, Write

NONE: Mapping[str, Outcome] = {}
NEW: Final = Checkpoint({})


def begin(plan: Plan, parent: Checkpoint | None, given: tuple[Write, ...]) -> Checkpoint:
    """The checkpoint of a new input: its only task is `(START, given)`.

    The parent's frontier is dropped; see `dropped`. With an entry plan the task is the entry itself, which is given the value;
    what the last run came to is no result of this one.
    """
    parent = NEW if parent is None else dropped(plan, parent)
    values, task = plan.initial() if parent is NEW else parent.values, Task(START, given)
    if plan.entry is not None:
        values = {key: value for key, value in values.items() if key != ROOT}
        task = Task(plan.entry, given[0].value, sent=True)
    joins, waiting, acted, children = parent.joins, parent.waiting, parent.acted, parent.children
    return Checkpoint(values, (task,), joins, waiting, acted, parent.step + 1, "input", children)


def dropped(plan: Plan, parent: Checkpoint) -> Checkpoint:
    """A checkpoint without what is pending, whose triggers are spent; joins half arrived and deferred nodes that wait stay,
    but for those that name a node the graph no longer has."""
    if plan.aliases:
        parent = _renamed(plan, parent)
    spent = {plan.current(task.node) for task in parent.frontier if not task.sent}
    return replace(
        parent,
        values=plan.completed(parent.values),
        frontier=(),
        joins={
            join: arrived for join, arrived in spend(parent.joins, spent).items() if plan.stations.keys() >= {*join[0], join[1]}
        },
        waiting=frozenset(name for name in parent.waiting - spent if name in plan.stations),
    )


def resume(plan: Plan, parent: Checkpoint, records: Mapping[str, Outcome] = NONE, thread: str | None = None) -> Checkpoint:
    """The newest checkpoint, ready to go on with; `records` is what was kept of its tasks, `thread` is for the message.

    Raises:
        UnknownNode: it names a node that the graph no longer has.
    """
    for name, what in lost(plan, parent, records):
        raise UnknownNode(
            f"{'The thread' if thread is None else f'Thread {thread!r}'} {what}. The graph has no such node any more. "
            f"{plan.known()} Give the node that replaces it the old name as well, `add_node(…, aliases=[{name!r}])`; or go on "
            "from elsewhere with `update_state(config, …, as_node=…)`; or begin anew with a new input."
        )
    if plan.aliases:
        parent = _renamed(plan, parent)
    return replace(parent, values=plan.completed(parent.values))


def _renamed(plan: Plan, parent: Checkpoint) -> Checkpoint:
    """With the names that nodes have now, but for the frontier: its tasks are known by the names they were stored under."""

    def now(names: Iterable[str]) -> list[str]:
        return [plan.current(name) for name in names]

    joins: dict[Join, frozenset[str]] = {
        (tuple(sorted(now(sources))), plan.current(target)): frozenset(now(arrived))
        for (sources, target), arrived in parent.joins.items()
    }
    return replace(parent, joins=joins, waiting=frozenset(now(parent.waiting)), acted=tuple(now(parent.acted)))


def fork(plan: Plan, parent: Checkpoint, thread: str | None = None) -> Checkpoint:
    """The same frontier again, nothing of it done, one step on."""
    parent = resume(plan, parent, thread=thread)
    tasks = tuple(replace(task, origin=None) for task in parent.frontier)
    return replace(parent, frontier=tasks, step=parent.step + 1, source="fork")
