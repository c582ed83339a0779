"""Histories that every provider takes: each call of a tool has one result, right behind the message that asked for it.

A crash, a cancelled run or a message that came in between leaves calls without results, and providers refuse such a thread for
ever. `settled` gives each a result that says so. Nothing here calls a tool or a model.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal

from clew.interop.tools import ToolMessage

Outcome = Literal["unknown", "cancelled"]
MARK: Final = "outcome"

UNKNOWN_TEXT: Final = (
    "The outcome of this call is unknown: it was begun, and interrupted before its result was kept. It may have been done. "
    "Find out before you call it again."
)
CANCELLED_TEXT: Final = "This call was cancelled: it was not done."
UNTOLD_TEXT: Final = (
    "This call was cancelled, or its outcome is unknown: no result of it was kept. It may have been done. Find out before you "
    "call it again."
)


def settled(
    messages: Sequence[Any], results: Mapping[str, Any] | None = None, begun: Collection[str] | None = None
) -> list[Any]:
    """The messages such that every call of a tool has one result, right behind the message that asked.

    Results that stand elsewhere after the asking are moved there. A call without one is given a `ToolMessage` with
    `status="error"` whose `additional_kwargs["outcome"]` says what is known: `"cancelled"` (it was certainly not done) or
    `"unknown"` (it may have been). Results that answer no call are left out. Arguments of a call that are no JSON
    (`invalid_tool_calls`) count as cancelled.

    Args:
        messages: message objects, as the state has them; they are not changed.
        results: results that are known and not among the messages, by the ids of the calls.
        begun: the ids of calls that may have been begun; None where nothing is known of that, and so every one may.

    Returns:
        A new list; `messages` itself where it is a list and needs nothing. What is added has ids made of those of the message
        and the call, so that doing it again gives the same.
    """
    slots = _slots(messages)
    if slots is None:
        return messages if isinstance(messages, list) else list(messages)
    found: list[Any] = []
    for index, message in enumerate(messages):
        if index in slots:
            found.append(message)
            known = slots[index]
            found += [result for result in known.values() if result is not None]
            broken = {call["id"] for call in getattr(message, "invalid_tool_calls", ())}
            for call in calls_of(message):
                if known[call["id"]] is None:
                    found.append(_missing(message, call, results or {}, begun, broken=call["id"] in broken))
        elif message.type != "tool":
            found.append(message)
    return found


def calls_of(message: Any) -> list[Any]:
    """The calls that a message asks for, those with broken arguments included: providers want results of both."""
    if message.type != "ai" or not (message.tool_calls or message.invalid_tool_calls):
        return []
    return [call for call in (*message.tool_calls, *message.invalid_tool_calls) if call.get("id")]


def unanswered(messages: Sequence[Any]) -> list[Any]:
    """The calls that have no result after the message that asked, in their order."""
    open_calls: dict[str, Any] = {}
    for message in messages:
        for call in calls_of(message):
            open_calls[call["id"]] = call
        if message.type == "tool":
            open_calls.pop(message.tool_call_id, None)
    return list(open_calls.values())


def outcome_of(message: Any) -> Outcome | None:
    """What a result of `settled` says: `"unknown"` or `"cancelled"`; None for any other message."""
    return message.additional_kwargs.get(MARK) if message.type == "tool" else None


def marked(call: Any, outcome: Outcome, text: str, id: str | None = None) -> Any:
    """A result in place of one that is missing."""
    return ToolMessage(
        text, tool_call_id=call["id"] or "", name=call["name"], status="error", additional_kwargs={MARK: outcome}, id=id
    )


def _slots(messages: Sequence[Any]) -> dict[int, dict[str, Any]] | None:
    """By the place of each message that asks, its results in the order in which they stand, None for those that are missing
    (at the end); nothing where all of them stand right behind it, and no others anywhere."""
    slots: dict[int, dict[str, Any]] = {}
    asked_by: dict[str, int] = {}
    missing: dict[str, int] = {}
    in_place, right_behind = True, False
    for index, message in enumerate(messages):
        kind = message.type
        if kind == "tool":
            asker = asked_by.get(message.tool_call_id)
            if asker is None or message.tool_call_id not in missing:
                in_place = False  # answers no call, or one that has an answer
                continue
            del missing[message.tool_call_id]
            slots[asker].pop(message.tool_call_id)
            slots[asker][message.tool_call_id] = message
            in_place = in_place and right_behind
            continue
        if missing:
            right_behind = False
        if kind == "ai" and (calls := calls_of(message)):
            in_place = in_place and not missing
            slots[index] = {call["id"]: None for call in calls}
            asked_by.update(dict.fromkeys(slots[index], index))
            missing.update(dict.fromkeys(slots[index], index))
            right_behind = True
    if in_place and not missing:
        return None
    return {index: dict(sorted(known.items(), key=lambda item: item[1] is None)) for index, known in slots.items()}


def _missing(asker: Any, call: Any, results: Mapping[str, Any], begun: Collection[str] | None, *, broken: bool) -> Any:
    if call["id"] in results:
        return results[call["id"]]
    id = f"{asker.id}:{call['id']}" if asker.id else None
    if broken or (begun is not None and call["id"] not in begun):
        return marked(call, "cancelled", CANCELLED_TEXT, id)
    return marked(call, "unknown", UNTOLD_TEXT if begun is None else UNKNOWN_TEXT, id)
