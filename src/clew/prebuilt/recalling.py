"""What a thread knows of calls that have no result among its messages: results that were kept and dropped with their superstep,
and which calls were begun. It reads the thread's older checkpoints, and blocks; only asked where something is missing."""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, cast

from clew.checkpoint.codec import decode
from clew.constants import START
from clew.interop.tools import ToolMessage
from clew.prebuilt.settling import settled, unanswered
from clew.runtime.drive import drive
from clew.runtime.once import FAILED
from clew.runtime.past import grown_from
from clew.types import RUNNING, Command, Overwrite

if TYPE_CHECKING:
    from clew.checkpoint.records import Record
    from clew.runtime.context import TaskContext


def is_settled(messages: list[Any]) -> bool:
    return settled(messages) is messages


def settled_here(messages: list[Any], again: Collection[str] = ()) -> list[Any]:
    """`settled`, by what the thread of the task now running knows of its calls. `again`: tools of which nothing is noted."""
    if is_settled(messages):
        return messages
    results, begun = _known(messages, again)
    return settled(messages, results, begun)


def _known(messages: list[Any], again: Collection[str]) -> tuple[dict[str, Any], set[str] | None]:
    """Results by the ids of their calls, and the ids of those that may have been begun; None where nothing is kept."""
    task = cast("TaskContext | None", RUNNING.get())
    left = _askers(messages)
    if task is None or task.scope.journal is None or not left:
        return {}, None
    results: dict[str, Any] = {}
    begun = {call["id"] for call in unanswered(messages) if call["name"] in again}
    after: Record | None = None
    for record in grown_from(task):
        there = {message.id for message in drive(record.values()).get("messages", ())}
        for id in [id for id, asker in left.items() if asker not in there]:
            del left[id]
            if after is None or not _made_by_a_node(after):  # it came from elsewhere, where it may have been begun
                begun.add(id)
        if not left:
            break
        begun |= _begun(record, left)
        if after is not None and after.saved.checkpoint.source != "loop":  # its superstep never ended
            for message in _kept(record):
                if message.tool_call_id in left:
                    results.setdefault(message.tool_call_id, message)
        after = record
    return results, begun | left.keys()


def _askers(messages: list[Any]) -> dict[str, Any]:
    """The ids of calls without a result, each with that of the message that asked."""
    open_calls = {call["id"] for call in unanswered(messages)}
    return {
        call["id"]: message.id
        for message in messages
        if message.type == "ai"
        for call in message.tool_calls
        if call["id"] in open_calls
    }


def _made_by_a_node(record: "Record") -> bool:
    checkpoint = record.saved.checkpoint
    return checkpoint.source == "loop" and START not in checkpoint.acted


def _begun(record: "Record", ids: Collection[str]) -> set[str]:
    """Of these calls, those that the tasks of a checkpoint have noted, and that did not fail."""
    notes = {key.rpartition("once/tool ")[2]: body for key, body in record.notes.items() if "once/tool " in key}
    return {id for id in ids if id in notes and decode(notes[id])[0] != FAILED}


def _kept(record: "Record") -> Iterator[Any]:
    """The results of calls that a checkpoint's tasks had kept: as their own, as notes of one call, or of a call as a task."""
    for key, outcome in record.outcomes.items():
        if outcome is None:
            for write in drive(record.result(key)).writes:
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
