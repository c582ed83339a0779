"""What a thread knows of calls that have no result among its messages: results that were kept and dropped with their superstep,
and which calls were begun. It reads the thread's older checkpoints, and blocks; only asked where something is missing."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, cast

from clew.checkpoint.codec import decode
from clew.engine.apply import task_key
from clew.interop.tools import ToolMessage
from clew.prebuilt.payload import is_payload
from clew.prebuilt.settling import FAILED_TEXT, calls_of, marked, settled, unanswered
from clew.runtime.once import FAILED
from clew.runtime.past import grown_from
from clew.types import RUNNING, Command, Failed, Late, Overwrite

if TYPE_CHECKING:
    from clew.checkpoint.records import Record
    from clew.runtime.context import TaskContext

CLAIMED: Final = "once/tool "  # in a note's key, before the id of the call: see `calling`


def is_settled(messages: list[Any]) -> bool:
    return settled(messages) is messages


def settled_here(messages: list[Any]) -> list[Any]:
    """`settled`, by what the thread of the task now running knows of its calls."""
    if is_settled(messages):
        return messages
    results, begun = _known(messages)
    return settled(messages, results, begun)


def _known(messages: list[Any]) -> tuple[dict[str, Any], set[str] | None]:
    """Results by the ids of their calls, and the ids of those that may have been done; None where nothing is kept.

    Only of a call that the agent has sent, and whose tool notes that it begins, can it be known that it did not. Others may
    have come in with an input, or from a process that noted nothing.
    """
    task = cast("TaskContext | None", RUNNING.get())
    calls, left = {call["id"]: call for call in unanswered(messages)}, _askers(messages)
    if task is None or task.scope.journal is None or not left:
        return {}, None
    results: dict[str, Any] = {}
    begun = set(left)
    source = "loop"  # of the checkpoint that grew from this one: the superstep of any other's parent never ended
    for record in grown_from(task):
        if source != "loop":
            results |= {message.tool_call_id: message for message in _kept(record) if message.tool_call_id in left}
            sent = {id: key for id, key in _sent(record).items() if id in left}
            begun -= sent.keys() - _noted(record)
            for id in sent.keys() - begun - results.keys():
                if isinstance(record.outcomes.get(sent[id]), Failed):
                    results[id] = marked(calls[id], "failed", FAILED_TEXT, f"{left[id]}:{id}")
            left = {id: asker for id, asker in left.items() if id not in sent and id not in results}
        there = {message.id for message in record.saved.checkpoint.values.get("messages", ())} if left else ()
        left = {id: asker for id, asker in left.items() if asker in there}
        if not left:
            break
        source = record.saved.checkpoint.source
    return results, begun


def _askers(messages: list[Any]) -> dict[str, Any]:
    """The ids of calls without a result, each with that of the message that asked."""
    open_calls = {call["id"] for call in unanswered(messages)}
    return {call["id"]: message.id for message in messages for call in calls_of(message) if call["id"] in open_calls}


def _sent(record: "Record") -> dict[str, str]:
    """The calls that the agent has sent to be made by tasks of this checkpoint, and that are noted as they begin; each with the
    key of its task."""
    frontier = record.saved.checkpoint.frontier
    given = [(task.arg(), task_key(frontier, index)) for index, task in enumerate(frontier) if task.sent]
    return {one["tool_call"]["id"]: key for one, key in given if is_payload(one) and one["state"].noted}


def _noted(record: "Record") -> set[str]:
    """The calls that tasks of this checkpoint have begun, and that did not say themselves that they were not done."""
    notes = {key.rpartition(CLAIMED)[2]: body for key, body in record.notes.items() if CLAIMED in key}
    return {id for id, body in notes.items() if decode(body)[0] != FAILED}


def _kept(record: "Record") -> Iterator[Any]:
    """The results of calls that a checkpoint's tasks had kept: as their own, as notes of one call, or of a call as a task."""
    for outcome in record.outcomes.values():
        if type(outcome) is Late:
            for write in outcome().writes:
                yield from _results_in(write.value)
    for body in record.notes.values():
        yield from _results_in(decode(body))


def _results_in(value: Any) -> Iterator[Any]:
    if isinstance(value, ToolMessage):
        yield value
    elif isinstance(value, Command | Overwrite):
        yield from _results_in(value.update if isinstance(value, Command) else value.value)
    elif isinstance(value, list | tuple | dict):
        for part in cast("dict[Any, Any]", value).values() if isinstance(value, dict) else cast("list[Any]", value):
            yield from _results_in(part)
