"""One superstep: a checkpoint and what its tasks produced go in, the next checkpoint comes out.

The rules of the stored frontier (DESIGN §5), pure. Only what ran and what was written is looked at, never the whole graph.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clew.channels import MISSING
from clew.engine.plan import Plan
from clew.types import Checkpoint, Join, Result, Send, Task, Values


def task_key(frontier: Sequence[Task], index: int) -> str:
    """What names a task while its superstep is open: the node, or for a Send its number and node.

    Sends stand first in a frontier, so the index is the number.
    """
    task = frontier[index]
    return f"{index}:{task.node}" if task.sent else task.node


def in_order(frontier: Sequence[Task], results: Sequence[Result]) -> list[tuple[Task, Result]]:
    """Tasks in the order their writes are applied: nodes by name, then Sends by number."""
    pairs = list(zip(frontier, results, strict=True))
    if len(pairs) == 1 or not pairs[0][0].sent:
        return pairs
    sends = sum(task.sent for task in frontier)
    return pairs[sends:] + pairs[:sends]


def fold(plan: Plan, values: Values, ordered: Iterable[tuple[Task, Result]]) -> dict[str, Any]:
    """The values after one superstep's writes.

    Raises:
        InvalidUpdateError: two writers on a plain key. Whatever a reducer raises comes out with a note that names the key.
    """
    written: dict[str, list[Any]] = {}
    for _, result in ordered:
        for key, value in result.writes:
            if key in written:
                written[key].append(value)
            else:
                written[key] = [value]
    after = dict(values)
    for key, writes in written.items():
        try:
            after[key] = plan.channels[key].fold(key, after.get(key, MISSING), writes)
        except Exception as error:
            if hasattr(error, "add_note"):
                error.add_note(f"While folding {len(writes)} write(s) into the key {key!r}")
            raise
    return after


def full(joins: Mapping[Join, frozenset[str]]) -> list[Join]:
    return [join for join, arrived in joins.items() if len(arrived) == len(join[0])]


def spend(joins: Mapping[Join, frozenset[str]], spent: set[str]) -> dict[Join, frozenset[str]]:
    """The joins without those that were full and whose target has run or was dropped; half arrived ones stay."""
    return {join: arrived for join, arrived in joins.items() if join[1] not in spent or len(arrived) < len(join[0])}


def apply(plan: Plan, checkpoint: Checkpoint, results: Sequence[Result]) -> Checkpoint:
    """The checkpoint after the whole frontier of `checkpoint` has run; `results` stand in the frontier's order.

    The next frontier is the Sends in order, then by name the nodes reached and those whose join is complete; where that is
    empty, the deferred nodes that wait.
    """
    frontier = checkpoint.frontier
    ordered = in_order(frontier, results)
    spent = {task.node for task in frontier if not task.sent}
    joins = spend(checkpoint.joins, spent) if checkpoint.joins else {}
    waiting = set(checkpoint.waiting - spent)
    sends: list[Task] = []
    reached: set[str] = set()
    for task, result in ordered:
        for target in result.targets:
            if isinstance(target, Send):
                sends.append(Task(target.node, target.arg, True))
            elif target in plan.deferred:
                waiting.add(target)
            else:
                reached.add(target)
        for join in plan.stations[task.node].joins:
            joins[join] = joins.get(join, frozenset()) | {task.node}
    for _, target in full(joins) if joins else ():
        (waiting if target in plan.deferred else reached).add(target)
    if waiting and not reached and not sends:
        reached = waiting
    return Checkpoint(
        fold(plan, checkpoint.values, ordered),
        (*sends, *[Task(name) for name in sorted(reached)]),
        joins,
        frozenset(waiting),
        tuple(sorted({task.node for task in frontier})),
        checkpoint.step + 1,
        "loop",
    )
