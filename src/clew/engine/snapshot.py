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
from clew.types import Failed, Late, Outcome, PregelTask, Result, Saved, StateSnapshot, Task, Values, Write


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
    return _shown(plan, place, saved, values, saved.records, open_questions(saved))._replace(next=_names(left))


def record(plan: Plan, place: Place, saved: Saved, results: Mapping[str, Outcome | Late]) -> StateSnapshot:
    """A checkpoint as it stood at the start of its superstep: all its tasks, each with what it came to write.

    Values, results and START's input may be late ones, which are not touched here.
    """
    waiting = open_questions(replace(saved, answers={}))  # whatever was asked, answered or not
    return _shown(plan, place, saved, saved.checkpoint.values, {**saved.records, **results}, waiting)


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
    outcomes: Mapping[str, Outcome | Late],
    waiting: Sequence[Open],
) -> StateSnapshot:
    checkpoint = saved.checkpoint
    metadata: dict[str, Any] = {"source": checkpoint.source, "step": checkpoint.step}
    metadata["parents"] = {link.ns: id_text(link.checkpoint) for link in saved.begun}
    if answers := answers_shown(saved):
        metadata["answers"] = {id_: {"at": _moment(at) if at else None, **by} for id_, (at, by) in answers.items()}
    keyed = [(task, task_key(checkpoint.frontier, index)) for index, task in enumerate(checkpoint.frontier)]
    shown = [(task, _input(task) if task.node == START else outcomes.get(key), key) for task, key in keyed]
    known: Any = plan.values(values) if isinstance(values, dict) else Late(lambda: plan.values(values))
    return StateSnapshot(
        known,
        _names(checkpoint.frontier),
        place.config(saved.id),
        {**metadata, **saved.metadata},
        _moment(created_ms(saved.id)),
        place.config(saved.parent) if saved.parent else None,
        tasks := tuple(_task(plan, saved, task, key, outcome, waiting) for task, outcome, key in shown),
        tuple(found for task in tasks for found in task.interrupts),
    )


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


def update_shown(writes: tuple[Write, ...]) -> Any:
    """Writes as streams and tasks show them: a dict; a list of dicts where a key was written more than once; None for none. Of
    a state that is one value, that."""
    if not writes:
        return None
    shown = dict(writes)
    if ROOT in shown:
        return shown[ROOT]
    return shown if len(shown) == len(writes) else [{key: value} for key, value in writes]
