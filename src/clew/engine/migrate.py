"""What was stored, in the words of the graph as it is by now: keys under the names they have, and nodes that are gone. Pure.

Nothing that is stored is changed: values stay under their old names as well, so that the code of before finds what it had.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, cast

from clew.constants import START
from clew.engine.plan import Plan
from clew.types import Checkpoint, Outcome, Result, Saved, Send, Task, Write


def current(plan: Plan, saved: Saved) -> Saved:
    """A checkpoint with what was kept of its tasks, in which keys have the names they have now, and results lead to nodes by
    theirs. Tasks keep the names they were stored under: what was kept of them is found by those."""
    if not (plan.renamed or plan.aliases):
        return saved
    checkpoint = saved.checkpoint
    frontier = tuple(_task(plan, task) for task in checkpoint.frontier)
    now = replace(checkpoint, values=plan.by_new_names(checkpoint.values), frontier=frontier)
    records = {key: _result(plan, kept) if isinstance(kept, Result) else kept for key, kept in saved.records.items()}
    return replace(saved, checkpoint=now, records=records)


def _task(plan: Plan, task: Task) -> Task:
    if task.node == START:
        return replace(task, arg=_writes(plan, task.arg))
    return replace(task, arg=_payload(plan, task.arg)) if task.sent else task


def _result(plan: Plan, result: Result) -> Result:
    targets = tuple(_target(plan, target) for target in result.targets)
    return replace(result, writes=_writes(plan, result.writes), targets=targets)


def _target(plan: Plan, target: str | Send) -> str | Send:
    if isinstance(target, str):
        return plan.current(target)
    return replace(target, node=plan.current(target.node), arg=_payload(plan, target.arg))


def _writes(plan: Plan, writes: Iterable[Write]) -> tuple[Write, ...]:
    return tuple(Write(plan.key(key), value) for key, value in writes)


def _payload(plan: Plan, arg: Any) -> Any:
    if type(arg) is not dict:
        return arg
    given = cast("dict[Any, Any]", arg)
    return {plan.key(key) if plan.key(key) not in given else key: value for key, value in given.items()}


# -- nodes that are gone --------------------------------------------------------------------------------------------


class Lost(NamedTuple):
    """A node that a checkpoint names and the graph no longer has, and what it is named for: `is about to run 'b'`."""

    node: str
    what: str


def lost(plan: Plan, checkpoint: Checkpoint, records: Mapping[str, Outcome]) -> Iterator[Lost]:
    """Without an answer to these a thread cannot go on: work would be lost, or never begun, without a word."""
    for node, what in _named(checkpoint, records):
        if node not in plan.stations:
            yield Lost(node, what)


def _named(checkpoint: Checkpoint, records: Mapping[str, Outcome]) -> Iterator[tuple[str, str]]:
    for task in checkpoint.frontier:
        yield task.node, f"is about to run {task.node!r}"
    for name in sorted(checkpoint.waiting):
        yield name, f"has yet to run {name!r}, which was deferred"
    for (sources, target), arrived in checkpoint.joins.items():
        for name in (*sources, target):
            yield name, f"waits at the join {list(sources)} → {target!r}, where {sorted(arrived)} arrived, for {name!r}"
    for key, outcome in records.items():
        for target in outcome.targets if isinstance(outcome, Result) else ():
            name = target if isinstance(target, str) else target.node
            yield name, f"has finished {key!r}, which leads to {name!r}"
