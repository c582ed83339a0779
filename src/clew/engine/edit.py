"""Editing a thread from outside: a superstep that no task ran. Pure; the stored frontier's rules (DESIGN §5).

update   as if a node had just run and written; it is the whole superstep, and drops what was pending
clear    what had finished counts, what had not is dropped
"""

from collections.abc import Sequence
from dataclasses import replace

from clew.constants import START
from clew.engine.apply import faded, in_order, stepped
from clew.engine.plan import Plan
from clew.engine.start import dropped
from clew.errors import InvalidUpdateError
from clew.types import Checkpoint, Result, Task


def stand_in(plan: Plan, parent: Checkpoint | None) -> str:
    """The node that an edit is by where it names none: the graph's only one, START on an empty thread, else the one that ran
    last.

    Raises:
        InvalidUpdateError: several ran last.
    """
    nodes = [name for name in plan.stations if name != START and name not in plan.aliases]
    if len(nodes) == 1:
        return nodes[0]
    acted = [plan.current(name) for name in parent.acted] if parent else []
    if len(acted) > 1:
        raise InvalidUpdateError(
            f"Ambiguous update, specify as_node: {acted} ran last. Say whose update it is, as in "
            f"`update_state(config, values, as_node={acted[0]!r})`."
        )
    return acted[0] if acted else START


def update(plan: Plan, parent: Checkpoint | None, edits: Sequence[tuple[str, Result]]) -> Checkpoint:
    """As if these nodes had just run, in one superstep. Tasks that were pending are dropped, their triggers spent."""
    base = dropped(plan, parent or Checkpoint(plan.initial()))
    ordered = sorted(((Task(node), result) for node, result in edits), key=lambda pair: pair[0].node)
    after = stepped(plan, base, ordered)
    return replace(faded(plan, after, [result for _, result in edits]), source="update")


def clear(plan: Plan, parent: Checkpoint, results: Sequence[Result | None]) -> Checkpoint:
    """Nothing is pending any more; what finished tasks of the open superstep wrote is applied, and they lead on."""
    base = dropped(plan, parent)
    after = stepped(plan, base, in_order(parent.frontier, results))
    return replace(after, source="update", acted=after.acted or base.acted)
