"""`settled`: whatever a conversation has been through, every call has one result, right behind the message that asked."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from support.agents import problems

from clew.prebuilt import outcome_of, settled, unanswered
from clew.prebuilt.settling import marked


def asks(*ids: str, broken: tuple[str, ...] = ()) -> AIMessage:
    calls: list[Any] = [{"name": "buy", "args": {}, "id": id, "type": "tool_call"} for id in ids]
    wrong = [{"name": "buy", "args": "{", "id": id, "error": "no JSON", "type": "invalid_tool_call"} for id in broken]
    return AIMessage("", tool_calls=calls, invalid_tool_calls=wrong, id=f"asks {' '.join(ids)}")


def result(id: str) -> ToolMessage:
    return ToolMessage(f"result {id}", tool_call_id=id, id=f"result {id}")


def says(text: str) -> HumanMessage:
    return HumanMessage(text, id=text)


def short(messages: list[Any]) -> list[str]:
    """`h` for a human, `a` for one that asks, `t1` for a result of call 1, `t1?` where it is unknown, `t1!` cancelled."""
    marks = {None: "", "unknown": "?", "cancelled": "!"}
    return [f"t{m.tool_call_id}{marks[outcome_of(m)]}" if m.type == "tool" else m.type[0] for m in messages]


def test_what_needs_nothing_stays_the_same_object() -> None:
    whole = [SystemMessage("s"), says("hi"), asks("1", "2"), result("2"), result("1"), AIMessage("done"), says("bye")]
    assert settled(whole) is whole
    assert settled(tuple(whole)) == whole
    assert settled([]) == []
    assert unanswered(whole) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([says("hi"), asks("1")], ["h", "a", "t1?"]),
        ([asks("1", "2"), result("2"), says("hi")], ["a", "t2", "t1?", "h"]),
        ([asks("1"), says("hi"), result("1")], ["a", "t1", "h"]),
        ([asks("1", "2"), result("1"), says("hi"), result("2")], ["a", "t1", "t2", "h"]),
        ([asks("1"), asks("2"), says("hi")], ["a", "t1?", "a", "t2?", "h"]),
        ([asks("1"), says("hi"), asks("1"), result("1")], ["a", "t1?", "h", "a", "t1"]),
        ([asks("1"), result("1"), result("1"), says("hi")], ["a", "t1", "h"]),
        ([result("0"), says("hi"), asks("1"), result("1")], ["h", "a", "t1"]),
        ([asks("1", broken=("2",)), result("1"), says("hi")], ["a", "t1", "t2!", "h"]),
    ],
    ids=lambda given: " ".join(given) if isinstance(given[0], str) else "from",
)
def test_what_is_missing_or_misplaced_is_put_right(before: list[Any], after: list[str]) -> None:
    found = settled(before)
    assert short(found) == after
    assert settled(found) is found
    assert settled(before) == found  # ids as well
    assert unanswered(found) == []


def test_what_is_known_of_a_call_is_said() -> None:
    left = [asks("1", "2", "3"), says("hi")]
    found = settled(left, {"1": result("1")}, {"2"})
    assert short(found) == ["a", "t1", "t2?", "t3!", "h"]
    assert [m.status for m in found[1:4]] == ["success", "error", "error"]
    assert found[2].additional_kwargs == {"outcome": "unknown"}
    assert "may have been done" in found[2].text
    assert found[3].text == "This call was cancelled: it was not done."


def test_what_is_added_can_be_told_from_what_a_tool_said() -> None:
    (_, added, _) = settled([asks("1"), says("hi")])
    assert (added.tool_call_id, added.name, added.id, outcome_of(added)) == ("1", "buy", "asks 1:1", "unknown")
    assert outcome_of(result("1")) is None
    assert outcome_of(says("hi")) is None


def test_messages_are_left_alone() -> None:
    left = [asks("1"), says("hi")]
    settled(left)
    assert len(left) == 2


TURN = st.one_of(
    st.just(("says",)),
    st.tuples(st.just("asks"), st.integers(1, 3)),
    st.tuples(st.just("result"), st.integers(1, 4), st.integers(0, 3)),
)


def made(turns: list[Any]) -> list[Any]:
    """A conversation of these turns. A result is of the call of that number of the message so many turns before, if there is
    one; ids of calls are unique in a thread, as providers want it."""
    found: list[Any] = [says("first")]
    for number, (kind, *how) in enumerate(turns):
        match kind:
            case "asks":
                found.append(asks(*[f"{number}-{one}" for one in range(how[0])]))
            case "result":
                found.append(result(f"{number - how[0]}-{how[1]}"))
            case _:
                found.append(says(str(number)))
    return found


@given(st.lists(TURN, max_size=12))
def test_no_provider_refuses_what_was_settled(turns: list[Any]) -> None:
    messages = made(turns)
    found = settled(messages)
    assert problems(found) == []
    assert [m for m in found if m.type != "tool"] == [m for m in messages if m.type != "tool"]
    assert settled(found) is found
    if problems(messages) == []:
        assert found is messages


def test_a_mark_needs_no_id() -> None:
    assert marked({"name": "buy", "id": None}, "unknown", "who knows").tool_call_id == ""
