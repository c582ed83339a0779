"""Calls that a process had begun when it died: what `on_unknown` says is done about them."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from support.faces import SYNC, Face
from support.tools import asks, call

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import InMemorySaver
from clew.errors import OutcomeUnknown
from clew.graph import START, MessagesState, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.prebuilt import ToolNode, outcome_of
from clew.types import Command, RetryPolicy, interrupt


class Gone(BaseException):
    """The process is."""


class Bank:
    """Tools that pay, and die the first time, before it is known or after it was done."""

    def __init__(self, *, die: bool = True) -> None:
        self.paid: Counter[str] = Counter()
        self.die = die

    @property
    def tools(self) -> list[Any]:
        def done(to: str) -> str:
            self.paid[to] += 1
            if self.die:
                self.die = False
                raise Gone
            return f"paid {to}"

        @tool
        def pay(to: str) -> str:
            """Pays."""
            return done(to)

        @tool
        async def transfer(to: str) -> str:
            """Pays, awaited."""
            return done(to)

        return [pay, transfer]


def one_node(bank: Bank, on_unknown: Any, saver: Saver) -> CompiledStateGraph:
    node = ToolNode(bank.tools, on_unknown=on_unknown, handle_tool_errors=True)
    return StateGraph(MessagesState).add_node("tools", node).add_edge(START, "tools").compile(checkpointer=saver)


def die(face: Face, graph: CompiledStateGraph, thread: Any, *calls: Any) -> None:
    with pytest.raises(Gone):
        face.invoke(graph, {"messages": [asks(*calls)]}, thread)


def pay(face: Face, id: str, to: str) -> dict[str, Any]:
    return call("pay" if face is SYNC else "transfer", id, to=to)


def test_by_default_the_model_is_told(face: Face, saver: Saver, thread: dict[str, Any]) -> None:
    bank = Bank()
    die(face, one_node(bank, "tell", saver), thread, pay(face, "1", "Bob"))
    found = face.invoke(one_node(bank, "tell", saver), None, thread)["messages"][-1]
    assert (outcome_of(found), found.status, found.tool_call_id) == ("unknown", "error", "1")
    assert bank.paid == {"Bob": 1}


def test_a_human_may_be_asked(face: Face, thread: dict[str, Any]) -> None:
    for answer, text, times in (({"result": "it was paid"}, "it was paid", 1), ({"retry": True}, "paid Bob", 2)):
        saver, bank = InMemorySaver(), Bank()
        die(face, one_node(bank, "ask", saver), thread, pay(face, "1", "Bob"))
        (asked,) = face.invoke(one_node(bank, "ask", saver), None, thread)["__interrupt__"]
        assert asked.value["once"] == "tool 1"
        found = face.invoke(one_node(bank, "ask", saver), Command(resume=answer), thread)
        assert found["messages"][-1].text == text
        assert bank.paid == {"Bob": times}


def test_it_may_be_called_again(face: Face, thread: dict[str, Any]) -> None:
    saver, bank = InMemorySaver(), Bank()
    policy = {"pay": "retry", "transfer": "retry"}
    die(face, one_node(bank, policy, saver), thread, pay(face, "1", "Bob"))
    assert face.invoke(one_node(bank, policy, saver), None, thread)["messages"][-1].text == "paid Bob"
    assert bank.paid == {"Bob": 2}


def test_it_may_be_an_error(face: Face, thread: dict[str, Any]) -> None:
    saver, bank = InMemorySaver(), Bank()
    die(face, one_node(bank, "fail", saver), thread, pay(face, "1", "Bob"))
    with pytest.raises(OutcomeUnknown, match="'tool 1' was begun"):  # though all errors are told to the model
        face.invoke(one_node(bank, "fail", saver), None, thread)
    assert bank.paid == {"Bob": 1}


def test_a_result_is_known_though_the_node_around_was_not_done(thread: dict[str, Any]) -> None:
    for calls in ([call("pay", "1", to="Bob")], [call("pay", "1", to="Bob"), call("pay", "2", to="Ann")]):
        bank, first = Bank(die=False), True
        node = ToolNode(bank.tools)

        def work(state: MessagesState, node: ToolNode = node) -> Any:
            nonlocal first
            found = node.invoke(state)
            if first:
                first = False
                raise Gone
            return found

        graph = StateGraph(MessagesState).add_node(work).add_edge(START, "work").compile(checkpointer=InMemorySaver())
        with pytest.raises(Gone):
            graph.invoke({"messages": [asks(*calls)]}, thread)
        found = graph.invoke(None, thread)["messages"][1:]
        assert [message.text for message in found] == ["paid Bob", "paid Ann"][: len(calls)]
        assert set(bank.paid.values()) == {1}


def test_a_tool_that_raised_was_not_done(face: Face, thread: dict[str, Any]) -> None:
    tried: list[str] = []

    @tool
    def shaky(to: str) -> str:
        """Fails the first time."""
        tried.append(to)
        if len(tried) == 1:
            raise ConnectionError("not yet")
        return f"paid {to}"

    builder = StateGraph(MessagesState)
    again = RetryPolicy(initial_interval=0, jitter=False)
    builder.add_node("tools", ToolNode([shaky]), retry_policy=again).add_edge(START, "tools")
    graph = builder.compile(checkpointer=InMemorySaver())
    found = face.invoke(graph, {"messages": [asks(call("shaky", "1", to="Bob"))]}, thread)
    assert found["messages"][-1].text == "paid Bob"
    assert tried == ["Bob", "Bob"]


def test_a_tool_that_waited_for_a_human_goes_on(face: Face, thread: dict[str, Any]) -> None:
    @tool
    def ask(what: str) -> str:
        """Asks."""
        return f"{what}: {interrupt(what)}"

    graph = StateGraph(MessagesState).add_node("tools", ToolNode([ask])).add_edge(START, "tools")
    graph = graph.compile(checkpointer=InMemorySaver())
    face.invoke(graph, {"messages": [asks(call("ask", "1", what="now?"))]}, thread)
    assert face.invoke(graph, Command(resume="yes"), thread)["messages"][-1].text == "now?: yes"


def test_cancelling_leaves_a_doubt(thread: dict[str, Any]) -> None:
    begun = asyncio.Event()

    @tool
    async def slow(to: str) -> str:
        """Never ends."""
        begun.set()
        await asyncio.Event().wait()
        return "never"

    graph = StateGraph(MessagesState).add_node("tools", ToolNode([slow])).add_edge(START, "tools")
    graph = graph.compile(checkpointer=InMemorySaver())

    async def story() -> Any:
        running = asyncio.create_task(graph.ainvoke({"messages": [asks(call("slow", "1", to="Bob"))]}, thread))
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return await graph.ainvoke(None, thread)

    assert outcome_of(asyncio.run(story())["messages"][-1]) == "unknown"


def test_the_same_id_in_another_turn_is_another_call(face: Face, thread: dict[str, Any]) -> None:
    """Some models count their calls from 0 in each turn."""
    bank = Bank(die=False)
    graph = one_node(bank, "tell", InMemorySaver())
    for turn in range(2):
        given = AIMessage("", tool_calls=[pay(face, "0", f"person {turn}")], id=f"turn {turn}")
        assert face.invoke(graph, {"messages": [given]}, thread)["messages"][-1].text == f"paid person {turn}"
