"""Events that come fast are read together: what wakes their reader and what does not, counted.

Here events gather for as long as the reader lets them, so that no count hangs on the clock.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from support.faces import ASYNC, Face
from support.speaking import IN_TIME, follow, says

from clew.graph import START, MessagesState, StateGraph
from clew.runtime import mail
from clew.runtime.tasks import Tasks
from clew.runtime.threads import Threads
from clew.types import StreamWriter

TOKENS = 1_000
FEW = 5
"""Once, for the first; and a reader may be woken for what it has read already."""
HELLO: dict[str, Any] = {"messages": ["hi"]}


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a reader was woken by an event, and how many bursts it was handed, of which hosts."""
    found: Counter[str] = Counter()

    def counting(kind: Any, name: str) -> None:
        verb = getattr(kind, name)

        def counted(self: Any) -> Any:
            found[name] += 1
            return verb(self)

        monkeypatch.setattr(kind, name, counted)

    counting(mail.Mailbox, "_taken")
    counting(Threads, "_wake")
    counting(Tasks, "_wake")
    monkeypatch.setattr(mail, "DENSE", 3 * IN_TIME)
    return found


def one(node: Callable[..., Any]) -> Any:
    return StateGraph(MessagesState).add_node("node", node).add_edge(START, "node").compile()


def speaking(face: Face) -> Any:
    model = says(*["word"] * TOKENS)

    def plain(state: MessagesState) -> Any:
        return {"messages": [model.invoke(state["messages"])]}

    async def awaiting(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return one(awaiting if face is ASYNC else plain)


def test_a_thousand_tokens_hardly_wake_their_reader(face: Face, counts: Counter[str]) -> None:
    chunks = face.stream(speaking(face), HELLO, stream_mode="messages")
    assert [message.text for message, _ in chunks if message.text] == ["word"] * TOKENS
    assert counts["_wake"] <= FEW
    assert counts["_taken"] <= TOKENS / 10


def test_a_writer_that_awaits_hardly_wakes_its_reader(counts: Counter[str]) -> None:
    async def node(state: MessagesState, writer: StreamWriter) -> None:
        for number in range(TOKENS):
            writer(number)
            await asyncio.sleep(0)

    assert ASYNC.stream(one(node), HELLO, stream_mode="custom") == list(range(TOKENS))
    assert counts["_wake"] <= FEW
    assert counts["_taken"] <= TOKENS / 10


def test_a_plain_node_beside_a_loop_hardly_wakes_its_reader(counts: Counter[str]) -> None:
    def node(state: MessagesState, writer: StreamWriter) -> None:
        for number in range(TOKENS):
            writer(number)

    assert ASYNC.stream(one(node), HELLO, stream_mode="custom") == list(range(TOKENS))
    assert counts["_wake"] <= FEW
    assert counts["_taken"] <= TOKENS / 10


def test_the_end_of_a_task_wakes_a_reader_that_lets_events_gather(face: Face, counts: Counter[str]) -> None:
    """Of each node the first event is read before it goes on; what it tells after that comes with its end."""
    read = {name: threading.Event() for name in "abc"}

    def tells(name: str) -> Callable[..., Any]:
        def node(state: MessagesState, writer: StreamWriter) -> None:
            writer((name, 0))
            assert name != "a" or read[name].wait(IN_TIME)
            writer((name, 1))

        return node

    builder = StateGraph(MessagesState).add_sequence([(name, tells(name)) for name in "abc"]).add_edge(START, "a")
    found: list[Any] = []

    def seen(chunk: Any) -> None:
        found.append(chunk)
        read[chunk[0]].set()

    follow(face, builder.compile(), HELLO, seen, stream_mode="custom")
    assert found == [(name, number) for name in "abc" for number in (0, 1)]
    assert counts["_wake"] <= FEW


def test_an_event_after_a_pause_wakes_its_reader(face: Face, counts: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Any pause is one that is longer than no time at all."""
    monkeypatch.setattr(mail, "DENSE", 0.0)
    heard = [threading.Event() for _ in range(10)]

    def node(state: MessagesState, writer: StreamWriter) -> None:
        for number, event in enumerate(heard):
            writer(number)
            assert event.wait(IN_TIME)

    found: list[int] = []

    def seen(number: int) -> None:
        found.append(number)
        heard[number].set()

    follow(face, one(node), HELLO, seen, stream_mode="custom")
    assert found == list(range(10))


def test_the_first_event_is_read_before_a_node_that_never_waits_has_told_all(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "PATIENCE", IN_TIME)  # the machine may be busy
    told: list[int] = []
    when_read: list[int] = []

    def node(state: MessagesState, writer: StreamWriter) -> None:
        for number in range(mail.FULL // 2):
            writer(number)
            told.append(number)

    follow(face, one(node), HELLO, lambda _: when_read.append(len(told)), stream_mode="custom")
    assert when_read[0] < mail.FULL // 2 == len(when_read)
