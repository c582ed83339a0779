"""`runtime.once`: a side effect that never happens twice without a word.

The claim is kept before the call and the result after it. A claim without a result is what a crash in between leaves: nobody
can know whether it was done, so what is to happen then is the caller's to say.
"""

import inspect
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Literal

from clew.errors import GraphBubbleUp, OutcomeUnknown
from clew.runtime.notes import NOTHING

if TYPE_CHECKING:
    from clew.runtime.context import TaskContext
    from clew.runtime.notes import Notes

OnUnknown = Literal["ask", "retry", "fail"]
CLAIMED, DONE, FAILED = range(3)
POLICIES: Final = ("ask", "retry", "fail")


def once(task: "TaskContext", key: str, call: Callable[..., Any], args: Any, kwargs: Any, on_unknown: OnUnknown) -> Any:
    """See `Runtime.once`."""
    if on_unknown not in POLICIES:
        raise ValueError(f"There is no on_unknown={on_unknown!r}: expected one of {list(POLICIES)}.")
    place, notes = task.keeping(f"once/{key}")
    if inspect.iscoroutinefunction(call):
        return _awaited(task, key, place, notes, lambda: call(*args, **kwargs), on_unknown)
    done, value = _known(task, key, notes.get(place), on_unknown)
    if done:
        return value
    notes.keep(place, [CLAIMED, time.time_ns() // 1_000_000])
    try:
        value = call(*args, **kwargs)
    except (Exception, GraphBubbleUp):  # it says itself that it was not done
        notes.keep(place, [FAILED])
        raise
    notes.keep(place, [DONE, value])
    return value


async def _awaited(
    task: "TaskContext",
    key: str,
    place: str,
    notes: "Notes",
    call: Callable[[], Coroutine[Any, Any, Any]],
    on_unknown: OnUnknown,
) -> Any:
    keep = task.scope.host.blocking
    done, value = _known(task, key, notes.get(place), on_unknown)
    if done:
        return value
    await keep(notes.keep, place, [CLAIMED, time.time_ns() // 1_000_000])
    try:
        value = await call()
    except (Exception, GraphBubbleUp):
        await keep(notes.keep, place, [FAILED])
        raise
    await keep(notes.keep, place, [DONE, value])
    return value


def _known(task: "TaskContext", key: str, note: Any, on_unknown: OnUnknown) -> tuple[bool, Any]:
    """Whether it has been done, and what came of it.

    Raises:
        OutcomeUnknown: it was begun, and nobody knows. GraphInterrupt: somebody is asked.
    """
    if note is NOTHING or note[0] == FAILED:
        return False, None
    if note[0] == DONE:
        return True, note[1]
    if on_unknown == "retry":
        return False, None
    from datetime import UTC, datetime  # late: few claims are left behind

    begun = datetime.fromtimestamp(note[1] / 1000, UTC).isoformat()
    if on_unknown == "fail":
        raise OutcomeUnknown(
            f"{key!r} was begun at {begun} by node {task.node!r}, and the process ended before it was known whether it was "
            "done. Find out; then write what came of it with `update_state`, or let it be called again: `on_unknown='retry'`."
        )
    question = {"once": key, "begun": begun, "answer": 'expected {"result": …} if it was done, {"retry": True} if it was not'}
    answer = task.ask(question, f"once/{key}", None, False, once.__code__)
    if isinstance(answer, dict) and "result" in answer:
        return True, answer["result"]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(answer, dict) and answer.get("retry") is True:  # pyright: ignore[reportUnknownMemberType]
        return False, None
    raise OutcomeUnknown(f"Whether {key!r} was done was answered with {answer!r}: {question['answer']}.")
