"""What of a checkpoint and a result is stored: all but the keys of channels that live only as long as their run."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

from clew.constants import START
from clew.engine.plan import Plan
from clew.types import Checkpoint, Result, Send, Task, Write


def stored_result(plan: Plan, result: Result) -> Result:
    if not plan.unstored:
        return result
    targets = [replace(t, arg=_without(plan, t.arg)) if isinstance(t, Send) else t for t in result.targets]
    return replace(result, writes=_writes(plan, result.writes), targets=tuple(targets))


def stored_checkpoint(plan: Plan, checkpoint: Checkpoint) -> Checkpoint:
    if not plan.unstored:
        return checkpoint
    values = {key: value for key, value in checkpoint.values.items() if key not in plan.unstored}
    return replace(checkpoint, values=values, frontier=tuple(_task(plan, task) for task in checkpoint.frontier))


def _task(plan: Plan, task: Task) -> Task:
    if task.node == START:
        return replace(task, arg=_writes(plan, task.arg))
    return replace(task, arg=_without(plan, task.arg)) if task.sent else task


def _writes(plan: Plan, writes: Iterable[Write]) -> tuple[Write, ...]:
    return tuple(write for write in writes if write.key not in plan.unstored)


def _without(plan: Plan, arg: Any) -> Any:
    if not isinstance(arg, Mapping):
        return arg
    return {key: value for key, value in cast("Mapping[Any, Any]", arg).items() if key not in plan.unstored}
