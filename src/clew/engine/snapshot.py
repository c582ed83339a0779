"""A saved checkpoint as users read it. Pure: what is shown is worked out from what was kept, nothing runs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clew.constants import START
from clew.engine.answers import Open, answers_shown, open_questions
from clew.engine.answers import shown as asked
from clew.engine.apply import fold, in_order, recorded, task_key
from clew.engine.migrate import current
from clew.engine.plan import Plan
from clew.ids import created_ms, id_text, task_id
from clew.schema import ROOT
from clew.types import Failed, Interrupt, Late, Outcome, PregelTask, Result, Saved, StateSnapshot, Task, Values, Write


@dataclass(frozen=True, slots=True)
class Place:
    """Where a snapshot was taken: what a config needs to lead back to it."""

    thread: str
    ns: str = ""

    def config(self, checkpoint_id: bytes) -> dict[str, Any]:
        inner = {"thread_id": self.thread, "checkpoint_ns": self.ns, "checkpoint_id": id_text(checkpoint_id)}
        return {"configurable": inner}


def empty(configurable: Mapping[str, Any]) -> StateSnapshot:
    """The snapshot of a thread on which nothing is kept; its config is the one it was asked for with."""
    return StateSnapshot({}, (), {"configurable": dict(configurable)}, None, None, None, ())


def live(plan: Plan, place: Place, saved: Saved) -> StateSnapshot:
    """The newest checkpoint as it stands: what finished tasks wrote is in the values, and they do not run next."""
    saved = current(plan, saved)
    results = recorded(saved.checkpoint, saved.records)
    left = [task for task, result in zip(saved.checkpoint.frontier, results, strict=True) if result is None]
    values = _with_finished(plan, saved, results)
    tasks = _tasks(plan, saved, saved.records, open_questions(saved))
    return _shown(plan, place, saved, values, _names(left), tasks, _interrupts(tasks))


def record(plan: Plan, place: Place, saved: Saved, outcomes: Mapping[str, Outcome | Late]) -> StateSnapshot:
    """A checkpoint as it stood at the start of its superstep: all its tasks, each with what it came to write.

    Values, results and START's input may be late ones, which are not touched here.
    """
    checkpoint = saved.checkpoint
    tasks = Late(lambda: _recorded_tasks(plan, saved, outcomes))
    interrupts = Late(lambda: _interrupts(tasks()))
    return _shown(plan, place, saved, checkpoint.values, _names(checkpoint.frontier), tasks, interrupts)


def _recorded_tasks(plan: Plan, saved: Saved, outcomes: Mapping[str, Outcome | Late]) -> tuple[PregelTask, ...]:
    waiting = open_questions(replace(saved, answers={}))  # whatever was asked, answered or not
    return _tasks(plan, saved, {**saved.records, **outcomes}, waiting)


def _with_finished(plan: Plan, saved: Saved, results: Sequence[Result | None]) -> Values:
    values = plan.completed(saved.checkpoint.values)
    try:
        return fold(plan, values, in_order(saved.checkpoint.frontier, results))
    except Exception:  # reading always works: writes that cannot be folded are left to the run, which raises for them
        return values


def _shown(
    plan: Plan,
    place: Place,
    saved: Saved,
    values: Values,
    next: tuple[str, ...],
    tasks: Any,
    interrupts: Any,
) -> StateSnapshot:
    checkpoint = saved.checkpoint
    metadata: dict[str, Any] = {"source": checkpoint.source, "step": checkpoint.step}
    metadata["parents"] = {link.ns: id_text(link.checkpoint) for link in saved.begun}
    if answers := answers_shown(saved):
        metadata["answers"] = {id_: {"at": _moment(at) if at else None, **by} for id_, (at, by) in answers.items()}
    known: Any = plan.values(values) if isinstance(values, dict) else Late(lambda: plan.values(values))
    created: Any = Late(lambda: _moment(created_ms(saved.id)))
    return StateSnapshot(
        known,
        next,
        place.config(saved.id),
        {**metadata, **saved.metadata},
        created,
        place.config(saved.parent) if saved.parent else None,
        tasks,
        interrupts,
    )


def _tasks(plan: Plan, saved: Saved, outcomes: Mapping[str, Outcome | Late], waiting: Sequence[Open]) -> tuple[PregelTask, ...]:
    frontier = saved.checkpoint.frontier
    keyed = [(task, task_key(frontier, index)) for index, task in enumerate(frontier)]
    return tuple(
        _task(plan, saved, task, key, _input(task) if task.node == START else outcomes.get(key), waiting) for task, key in keyed
    )


def _interrupts(tasks: Iterable[PregelTask]) -> tuple[Interrupt, ...]:
    return tuple(found for task in tasks for found in task.interrupts)


def _moment(ms: int) -> str:
    from datetime import UTC, datetime  # late: a run that nobody looks at needs no calendar

    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def _input(task: Task) -> Result | Late:
    arg: Any = task.arg
    return Late(lambda: Result(arg())) if type(arg) is Late else Result(arg)


def _result(plan: Plan, outcome: Outcome | Late | None) -> Any:
    """What a task wrote, as tasks show it; older code may have written keys that have other names by now, or are gone."""

    def shown(result: Result) -> Any:
        writes = [Write(plan.key(key), value) for key, value in result.writes]
        return update_shown(tuple(write for write in writes if write.key in plan.channels))

    if type(outcome) is Late:
        return Late(lambda: shown(outcome()))
    return shown(outcome) if isinstance(outcome, Result) else None


def _names(tasks: Iterable[Task]) -> tuple[str, ...]:
    return tuple(task.node for task in tasks)


def _task(
    plan: Plan, saved: Saved, task: Task, key: str, outcome: Outcome | Late | None, waiting: Sequence[Open]
) -> PregelTask:
    index = int(key.partition(":")[0]) if task.sent and task.node != plan.entry else None
    path = ("__pregel_pull", task.node) if index is None else ("__pregel_push", index)
    return PregelTask(
        task_id(*(task.origin or (saved.id, key))),
        task.node,
        path,
        outcome if isinstance(outcome, Failed) else None,
        asked(found for found in waiting if found.key == key),
        result=_result(plan, outcome),
    )


def update_shown(writes: Sequence[tuple[str, Any]]) -> Any:
    """Writes as streams and tasks show them: a dict; a list of dicts where a key was written more than once; None for none. Of
    a state that is one value, that."""
    if not writes:
        return None
    shown = dict(writes)
    if ROOT in shown:
        return shown[ROOT]
    return shown if len(shown) == len(writes) else [{key: value} for key, value in writes]
