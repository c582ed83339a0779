"""What stands around calls of tools: wrappers, where a turn leads, and humans who are asked."""

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from support.faces import SYNC, Face
from support.tools import Shop, add, asks, call, texts, told

from clew.checkpoint.memory import InMemorySaver
from clew.errors import WrongFace
from clew.graph import START, StateGraph
from clew.prebuilt import InjectedState, ToolNode, tools_condition
from clew.prebuilt.tool_node import ToolCallRequest
from clew.types import Command, interrupt

# -- around a call --------------------------------------------------------------------------------------------------


def plus_ten(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Any]) -> Any:
    args = {**request.tool_call["args"], "a": 10}
    return execute(request.override(tool_call={**request.tool_call, "args": args}))


async def plus_hundred(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Any]) -> Any:
    args = {**request.tool_call["args"], "a": 100}
    return await execute(request.override(tool_call={**request.tool_call, "args": args}))


def test_a_wrapper_changes_what_is_asked(face: Face) -> None:
    asked = call("add", a=1, b=2)
    assert texts(told(face, ToolNode([add], wrap_tool_call=plus_ten), asked)) == ["12"]
    both = ToolNode([add], wrap_tool_call=plus_ten, awrap_tool_call=plus_hundred)
    assert texts(told(face, both, asked)) == ["12" if face is SYNC else "102"]


def test_an_async_wrapper_is_not_passed_over() -> None:
    node = ToolNode([add], awrap_tool_call=plus_hundred)
    with pytest.raises(WrongFace):
        node.invoke([asks(call("add", a=1, b=2))])


def test_a_wrapper_may_bring_a_tool(face: Face) -> None:
    @tool
    def extra(cart: Annotated[Any, InjectedState("cart")]) -> str:
        """Is not among the node's."""
        return f"extra {cart}"

    def bring(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Any]) -> Any:
        assert request.tool is None
        return execute(request.override(tool=extra))

    node = ToolNode([add], wrap_tool_call=bring)
    assert texts(told(face, node, call("extra", cart=["gold"]))) == ["extra ['tea']"]


def test_a_wrapper_sees_errors_that_are_not_told(face: Face) -> None:
    tries: list[int] = []

    @tool
    def shaky(x: int) -> str:
        """Works the second time."""
        tries.append(x)
        if len(tries) < 2:
            raise ConnectionError("not yet")
        return "at last"

    def retry(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Any]) -> Any:
        try:
            return execute(request)
        except ConnectionError:
            return execute(request)

    assert texts(told(face, ToolNode([shaky], wrap_tool_call=retry), call("shaky", x=1))) == ["at last"]
    assert tries == [1, 1]


# -- where to go ----------------------------------------------------------------------------------------------------


def test_tools_condition() -> None:
    ai = asks(call("add"))
    assert tools_condition({"messages": [ai]}) == tools_condition([ai]) == tools_condition({"inbox": [ai]}, "inbox") == "tools"
    assert tools_condition({"messages": [ai, HumanMessage("hi")]}) == tools_condition([AIMessage("")]) == "__end__"
    nothings: list[Any] = [{"messages": []}, {}, []]
    for nothing in nothings:
        with pytest.raises(ValueError, match="no messages"):
            tools_condition(nothing)


# -- questions within tools -----------------------------------------------------------------------------------------


def test_tools_ask_side_by_side_and_are_answered_apart(face: Face, thread: dict[str, Any]) -> None:
    ran: list[str] = []

    @tool
    def book(what: str) -> str:
        """Asks before it books."""
        answer = interrupt(f"book {what}?")
        ran.append(what)
        return f"{what}: {answer}"

    graph = StateGraph(Shop).add_node("tools", ToolNode([book, add], handle_tool_errors=True)).add_edge(START, "tools")
    graph = graph.compile(checkpointer=InMemorySaver())
    calls = [call("book", "1", what="hotel"), call("add", "2", a=1, b=1), call("book", "3", what="train")]
    found = face.invoke(graph, {"messages": [asks(*calls)], "cart": []}, thread)
    questions = {one.value: one.id for one in found["__interrupt__"]}
    assert set(questions) == {"book hotel?", "book train?"}
    answers = {questions["book hotel?"]: "yes", questions["book train?"]: "no"}
    found = face.invoke(graph, Command(resume=answers), thread)
    assert texts(found["messages"][1:]) == ["hotel: yes", "2", "train: no"]
    assert sorted(ran) == ["hotel", "train"]
