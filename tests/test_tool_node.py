"""`ToolNode`: what it is given and answers with, what fails, what tools return; as a node of a graph, and by itself."""

import asyncio
import operator
from collections.abc import Callable
from threading import Barrier
from typing import Annotated, Any, cast

import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import InjectedToolCallId, tool
from pydantic import BaseModel
from support.faces import ASYNC, Face
from support.tools import Outside, Shop, add, asks, broken, call, later, texts, told

from clew.errors import GraphError, InvalidUpdateError, WrongFace
from clew.graph import START, MessagesState, StateGraph
from clew.prebuilt import ToolNode
from clew.prebuilt.tool_node import ToolInvocationError
from clew.types import Command, Send

# -- what it is given, and what it answers with ---------------------------------------------------------------------


def test_results_stand_in_the_order_of_the_calls(face: Face) -> None:
    found = told(face, ToolNode([add]), call("add", "1", a=1, b=2), call("add", "2", a=3, b=4))
    assert [(m.content, m.tool_call_id, m.name, m.status) for m in found] == [
        ("3", "1", "add", "success"),
        ("7", "2", "add", "success"),
    ]


def test_it_works_by_itself_as_in_a_graph(face: Face) -> None:
    node = ToolNode([add])
    ai = asks(call("add", a=1, b=2))
    assert texts(Outside.invoke(face, node, {"messages": [HumanMessage("1+2"), ai]})["messages"]) == ["3"]
    assert texts(Outside.invoke(face, node, [ai])) == ["3"]
    assert texts(Outside.invoke(face, node, [call("add", a=5, b=6)])["messages"]) == ["11"]
    assert Outside.invoke(face, node, {"messages": [AIMessage("nothing to do")]}) == {"messages": []}


def test_another_key_of_messages(face: Face) -> None:
    given = {"inbox": [asks(call("add", a=1, b=2))]}
    assert texts(Outside.invoke(face, ToolNode([add], messages_key="inbox"), given)["inbox"]) == ["3"]


def test_a_state_may_be_an_object(face: Face) -> None:
    class State(BaseModel):
        messages: list[Any]

    assert texts(Outside.invoke(face, ToolNode([add]), State(messages=[asks(call("add", a=1, b=2))]))["messages"]) == ["3"]


@pytest.mark.parametrize("given", [{"messages": []}, {"messages": [HumanMessage("hi")]}, [], {}])
def test_without_an_ai_message_there_is_nothing_to_call(given: Any) -> None:
    with pytest.raises(ValueError, match="no AI message"):
        ToolNode([add]).invoke(given)


def test_functions_become_tools(face: Face) -> None:
    def double(a: int) -> int:
        """Doubles."""
        return 2 * a

    assert texts(told(face, ToolNode([double]), call("double", a=4))) == ["8"]


def test_calls_run_side_by_side(face: Face) -> None:
    met = Barrier(3, timeout=20)

    @tool
    def meet(x: int) -> int:
        """Waits for the others."""
        met.wait()
        return x

    calls = [call("meet", str(n), x=n) for n in range(3)]
    assert texts(told(face, ToolNode([meet]), *calls)) == ["0", "1", "2"]
    assert texts(Outside.invoke(face, ToolNode([meet]), [asks(*calls)])) == ["0", "1", "2"]


@pytest.mark.parametrize("limit", [1, 2, None])
def test_no_more_at_once_than_the_config_allows(limit: int | None) -> None:
    running, most = 0, 0

    @tool
    async def count(x: int) -> int:
        """Counts those that run."""
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(20):
            await asyncio.sleep(0)
        running -= 1
        return x

    node = ToolNode([count])
    graph = StateGraph(Shop).add_node("tools", node).add_edge(START, "tools").compile()
    given = asks(*[call("count", str(n), x=n) for n in range(5)])
    found = ASYNC.invoke(graph, {"messages": [given], "cart": []}, {"max_concurrency": limit})["messages"][1:]
    assert texts(found) == texts(asyncio.run(node.ainvoke([given], {"max_concurrency": limit}))) == ["0", "1", "2", "3", "4"]
    assert most == (limit or 5)


def test_async_tools_run_side_by_side_on_the_loop() -> None:
    async def run() -> Any:
        met = asyncio.Barrier(2)

        @tool
        async def meet(x: int) -> int:
            """Waits for the others."""
            await met.wait()
            return x

        node = ToolNode([meet, add])
        graph = StateGraph(Shop).add_node("tools", node).add_edge(START, "tools").compile()
        given: Any = [asks(call("meet", "1", x=1), call("add", "2", a=1, b=1), call("meet", "3", x=3))]
        return (await graph.ainvoke(cast("Any", {"messages": given, "cart": []})))["messages"][1:], await node.ainvoke(given)

    inside, outside = asyncio.run(asyncio.wait_for(run(), 20))
    assert texts(inside) == texts(outside) == ["1", "2", "3"]


def test_an_async_tool_needs_the_async_face() -> None:
    node = ToolNode([later], handle_tool_errors=True)  # no mistake of the model's
    with pytest.raises(WrongFace, match="Tool 'later' is async"):
        node.invoke([asks(call("later", a=1))])
    assert texts(asyncio.run(node.ainvoke([asks(call("later", a=1))]))) == ["later 1"]


def test_two_tools_of_one_name() -> None:
    with pytest.raises(GraphError, match="Two tools are called 'add'"):
        ToolNode([add, add.model_copy()])


def test_fallbacks_of_langchain(face: Face) -> None:
    def instead(given: Any) -> Any:
        last = given["messages"][-1].tool_calls
        return {"messages": [ToolMessage(f"{given['error']!r}", tool_call_id=one["id"]) for one in last]}

    node: Any = ToolNode([broken], handle_tool_errors=False).with_fallbacks([RunnableLambda(instead)], exception_key="error")
    assert texts(told(face, node, call("broken", x=1))) == ["LookupError('nothing at 1')"]


# -- what goes wrong ------------------------------------------------------------------------------------------------


def test_an_unknown_tool_is_told_to_the_model(face: Face) -> None:
    (found,) = told(face, ToolNode([add, broken], handle_tool_errors=False), call("subtract"))
    assert found.status == "error"
    assert found.content == "There is no tool 'subtract'. The tools are: add, broken."


def test_arguments_that_do_not_fit_are_told_to_the_model_by_default(face: Face) -> None:
    (found,) = told(face, ToolNode([add]), call("add", a="one", b=2))
    assert found.status == "error"
    assert "{'a': 'one', 'b': 2}: a: Input should be a valid integer" in found.text


def test_what_a_tool_raises_is_raised_by_default(face: Face) -> None:
    with pytest.raises(LookupError, match="nothing at 1"):
        told(face, ToolNode([broken]), call("broken", x=1))


def takes_lookup(error: LookupError) -> str:
    return f"looked up: {error}"


def takes_either(error: LookupError | KeyError) -> str:
    return f"either: {error}"


def takes_value(error: ValueError) -> str:
    return f"value: {error}"


IN_GENERAL = "The tool failed: LookupError('nothing at 1'). Call it in another way, or go on without it."


def takes_any(error: Any) -> str:
    return f"any: {error}"


TOLD: list[tuple[Any, str]] = [
    (True, IN_GENERAL),
    ("try again", "try again"),
    (LookupError, IN_GENERAL),
    ((ValueError, LookupError), IN_GENERAL),
    (takes_any, "any: nothing at 1"),
    (takes_lookup, "looked up: nothing at 1"),
    (takes_either, "either: nothing at 1"),
]


@pytest.mark.parametrize(("handle", "expected"), TOLD)
def test_errors_that_are_told(face: Face, handle: Any, expected: str) -> None:
    (found,) = told(face, ToolNode([broken], handle_tool_errors=handle), call("broken", x=1))
    assert (found.content, found.status, found.tool_call_id) == (expected, "error", "1")


@pytest.mark.parametrize("handle", [False, ValueError, (TypeError, KeyError), takes_value])
def test_errors_that_are_not_told(face: Face, handle: Any) -> None:
    with pytest.raises(LookupError, match="nothing at 1"):
        told(face, ToolNode([broken], handle_tool_errors=handle), call("broken", x=1))


def test_wrong_arguments_are_an_error_of_their_own(face: Face) -> None:
    for handle in (False, ValueError, takes_value):
        with pytest.raises(ToolInvocationError) as raised:
            told(face, ToolNode([add], handle_tool_errors=handle), call("add", a="one", b=2))
        assert (raised.value.tool_name, raised.value.tool_kwargs) == ("add", {"a": "one", "b": 2})


def test_an_error_of_pydantic_within_a_tool_is_the_tools_own(face: Face) -> None:
    class Inner(BaseModel):
        n: int

    @tool
    def parses(text: str) -> str:
        """Parses."""
        return str(Inner.model_validate({"n": text}))

    with pytest.raises(ValueError, match="Inner"):
        told(face, ToolNode([parses]), call("parses", text="x"))


@pytest.mark.parametrize("handle", [3, (int,), [ValueError]])
def test_what_is_no_handling_is_refused(handle: Any) -> None:
    with pytest.raises(GraphError, match="handle_tool_errors"):
        ToolNode([add], handle_tool_errors=handle)


def test_a_handler_of_what_is_no_error_is_refused() -> None:
    def handler(error: int) -> str:
        return str(error)

    with pytest.raises(GraphError, match="annotate its parameter"):
        ToolNode([add], handle_tool_errors=cast("Any", handler))


# -- what tools return ----------------------------------------------------------------------------------------------


def returning(result: Callable[[str], Any]) -> ToolNode:
    @tool
    def it(id: Annotated[str, InjectedToolCallId]) -> Any:
        """Returns it."""
        return result(id)

    return ToolNode([it, add])


def message(id: str, text: str = "done") -> ToolMessage:
    return ToolMessage(text, tool_call_id=id)


RETURNED: list[tuple[Callable[[str], Any], list[Any]]] = [
    (lambda id: None, ["null"]),
    (lambda id: {"a": 1}, ['{"a": 1}']),
    (lambda id: [{"type": "text", "text": "block"}], [[{"type": "text", "text": "block"}]]),
    (lambda id: message(id, "own"), ["own"]),
    (lambda id: [message(id)], ["done"]),
    (lambda id: Command(update={"messages": [message(id)], "cart": ["cup"]}), ["done"]),
    (lambda id: Command(update=[("messages", message(id)), ("cart", ["cup"])]), ["done"]),
    (lambda id: Command(update={"messages": {"role": "tool", "content": "dict", "tool_call_id": id}}), ["dict"]),
    (lambda id: [Command(update={"cart": ["cup"]}), message(id)], ["done"]),
]


@pytest.mark.parametrize(("result", "expected"), RETURNED)
def test_what_a_tool_may_return(face: Face, result: Any, expected: list[Any]) -> None:
    assert texts(told(face, returning(result), call("it"))) == expected
    with_another = told(face, returning(result), call("it"), call("add", "2", a=1, b=1))
    assert texts(with_another) == [*expected, "2"]


REFUSED: list[tuple[Callable[[str], Any], str]] = [
    (lambda id: Command(update={"cart": []}), "0 results for its call '1'"),
    (lambda id: Command(update={"messages": [message("other")]}), "0 results for its call '1'"),
    (lambda id: message("other"), "0 results for its call '1'"),
    (lambda id: [message(id), message(id)], "2 results for its call '1'"),
    (lambda id: Command(update=[message(id)]), "a list of messages is for a node that was given one"),
]


@pytest.mark.parametrize(("result", "why"), REFUSED)
def test_a_call_must_have_its_one_result(face: Face, result: Any, why: str) -> None:
    for handle in (False, True):
        node = ToolNode(list(returning(result).tools_by_name.values()), handle_tool_errors=handle)
        with pytest.raises(InvalidUpdateError, match=why):
            told(face, node, call("it"))


def test_a_command_may_clear_all_messages(face: Face) -> None:
    clear = returning(lambda id: Command(update={"messages": [RemoveMessage(id="__remove_all__")]}))
    assert told(face, clear, call("it")) == []


def test_messages_given_as_a_list_may_be_answered_so(face: Face) -> None:
    (found,) = Outside.invoke(face, returning(lambda id: Command(update=[message(id)])), [asks(call("it"))])
    assert texts(found.update) == ["done"]


def test_commands_for_the_graph_around_go_up_together(face: Face) -> None:
    @tool
    def hand_over(to: str, id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Hands over."""
        return Command(graph=Command.PARENT, goto=[Send(to, {"messages": [message(id, f"for {to}")]})], update={"cart": [to]})

    team = StateGraph(Shop).add_node("tools", ToolNode([hand_over])).add_edge(START, "tools").compile()

    class Job(MessagesState):
        cart: Annotated[list[str], operator.add]

    def worker(state: MessagesState) -> Any:
        return {"messages": state["messages"]}

    builder = StateGraph(Job).add_node("team", team).add_node("cook", worker).add_node("wash", worker).add_edge(START, "team")
    both = asks(call("hand_over", "1", to="cook"), call("hand_over", "2", to="wash"))
    found = face.invoke(builder.compile(), {"messages": [both], "cart": []})
    assert found["cart"] == ["cook", "wash"]
    assert texts(found["messages"][1:]) == ["for cook", "for wash"]
