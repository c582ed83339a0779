"""Where a run begins: three functions, one for each way, never one that infers which is meant.

begin    a new input: what was pending is dropped
resume   the newest checkpoint as it stands (no rule needed: a run simply goes on with it)
fork     an older checkpoint again: the same frontier, nothing of it done
"""

from dataclasses import replace

from clew.constants import START
from clew.engine.apply import spend
from clew.engine.plan import Plan
from clew.errors import UnknownNode
from clew.types import Checkpoint, Task, Write


def begin(plan: Plan, parent: Checkpoint | None, given: tuple[Write, ...]) -> Checkpoint:
    """The checkpoint of a new input: its only task is `(START, given)`.

    The parent's frontier is dropped and its triggers are spent; joins half arrived and deferred nodes that wait stay.
    """
    parent = parent or Checkpoint(plan.initial())
    spent = {task.node for task in parent.frontier if not task.sent}
    return Checkpoint(
        plan.completed(parent.values),
        (Task(START, given),),
        spend(parent.joins, spent),
        parent.waiting - spent,
        parent.acted,
        parent.step + 1,
        "input",
    )


def resume(plan: Plan, parent: Checkpoint) -> Checkpoint:
    """The newest checkpoint, ready to go on with.

    Raises:
        UnknownNode: it is about to run a node that the graph no longer has.
    """
    for task in parent.frontier:
        if task.node not in plan.stations:
            raise UnknownNode(
                f"The thread is about to run {task.node!r}, which is no longer a node of the graph. {plan.known()} Give the "
                "node that replaces it the old name, or begin anew with an input."
            )
    return replace(parent, values=plan.completed(parent.values))


def fork(plan: Plan, parent: Checkpoint) -> Checkpoint:
    """The same frontier again, nothing of it done, one step on."""
    return replace(resume(plan, parent), step=parent.step + 1, source="fork")
