"""`runtime.once`: a side effect that never happens twice without a word.

The claim is kept before the call and the result after it. A claim without a result is what a crash in between leaves: nobody
can know whether it was done, so what is to happen then is the caller's to say.
"""

import inspect
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Literal

from clew.channels import own
from clew.errors import GraphBubbleUp, OutcomeUnknown
from clew.runtime.notes import NOTHING

if TYPE_CHECKING:
    from clew.runtime.context import TaskContext

OnUnknown = Literal["ask", "retry", "fail"]
CLAIMED, DONE, FAILED = range(3)
POLICIES: Final = ("ask", "retry", "fail")


def once(task: "TaskContext", key: str, call: Callable[..., Any], args: Any, kwargs: Any, on_unknown: OnUnknown) -> Any:
    """See `Runtime.once`."""
    if on_unknown not in POLICIES:
        raise ValueError(f"There is no on_unknown={on_unknown!r}: expected one of {list(POLICIES)}.")
    claim = Claim(task, key, on_unknown)
    if inspect.iscoroutinefunction(call):
        return _awaited(claim, lambda: call(*args, **kwargs))
    if claim.done:
        return claim.value
    claim.note(*claim.begun)
    try:
        value = call(*args, **kwargs)
        if inspect.iscoroutine(value):
            value.close()  # it has not begun, so nothing was done
            raise TypeError(
                f"{key!r}: {call!r} returned a coroutine. Hand in the async function itself, and await what comes of it: "
                "`await runtime.once(key, function, …)`."
            )
    except (Exception, GraphBubbleUp):  # it says itself that it was not done
        claim.note(FAILED, *claim.begun[1:])
        raise
    claim.note(DONE, value)
    return value


async def _awaited(claim: "Claim", call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    keep = claim.task.scope.host.blocking
    if claim.done:
        return claim.value
    await keep(claim.note, *claim.begun)
    try:
        value = await call()
    except (Exception, GraphBubbleUp):
        await keep(claim.note, FAILED, *claim.begun[1:])
        raise
    await keep(claim.note, DONE, value)
    return value


class Claim:
    """One call, as it stands on record.

    Attributes:
        done: whether it has been done, and what came of it is known. value: what came of it.
        begun: what is noted when it is called: that it is claimed, since when (milliseconds since 1970), and how often it was.

    Raises:
        OutcomeUnknown: it was begun, and nobody knows. GraphInterrupt: somebody is asked.
    """

    __slots__ = ("_notes", "_place", "begun", "done", "task", "value")

    def __init__(self, task: "TaskContext", key: str, on_unknown: OnUnknown) -> None:
        self.task = task
        self._place, self._notes = task.keeping(f"once/{key}")
        note: Any = self._notes.get(self._place)
        kind, *known = (FAILED, 0, 0) if note is NOTHING else note
        self.done, self.value = kind == DONE, own(known[0])
        if kind == CLAIMED:
            self.done, self.value = self._unknown(key, on_unknown, *known)
        self.begun = (CLAIMED, time.time_ns() // 1_000_000, 0 if self.done else known[1] + 1)

    def note(self, *note: Any) -> None:
        """Keeps how it stands; it may block."""
        self._notes.keep(self._place, [*note[:-1], own(note[-1])])

    def _unknown(self, key: str, on_unknown: OnUnknown, at: int, number: int) -> tuple[bool, Any]:
        """What is to count of a call that was begun and has no end on record."""
        if on_unknown == "retry":
            return False, None
        from datetime import UTC, datetime  # late: few claims are left behind

        begun = datetime.fromtimestamp(at / 1000, UTC).isoformat()
        if on_unknown == "fail":
            raise OutcomeUnknown(
                f"{key!r} was begun at {begun} by node {self.task.node!r}, and the process ended before it was known whether "
                "it was done. Find out; then write what came of it with `update_state`, or let it be called again: "
                "`on_unknown='retry'`."
            )
        expected = 'expected {"result": …} if it was done, {"retry": True} if it was not'

        def read(answer: Any) -> tuple[bool, Any]:
            if isinstance(answer, dict) and "result" in answer:
                return True, answer["result"]  # pyright: ignore[reportUnknownVariableType]
            if isinstance(answer, dict) and answer.get("retry") is True:  # pyright: ignore[reportUnknownMemberType]
                return False, None
            raise OutcomeUnknown(f"Whether {key!r} was done was answered with {answer!r}: {expected}. Answer anew.")

        question = {"once": key, "begun": begun, "answer": expected}
        # the number: an answer is for the call it was asked about, and for none that is made after it
        return self.task.ask(question, f"once/{key}/{number}", None, False, once.__code__, read)
