"""What is injected into tools, and that no model has a say in it."""

from collections.abc import Callable
from typing import Annotated, Any, cast

import pytest
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, InjectedToolArg, InjectedToolCallId, tool
from pydantic import BaseModel, Field
from support.faces import Face
from support.tools import Outside, Shop, asks, call, texts, told

from clew.checkpoint.memory import InMemorySaver
from clew.errors import GraphError
from clew.graph import START, StateGraph
from clew.prebuilt import InjectedState, InjectedStore, ToolNode, ToolRuntime
from clew.prebuilt.tool_node import ToolCallRequest
from clew.store.memory import InMemoryStore
from clew.types import Send

STORE = InMemoryStore()

# -- what is injected -----------------------------------------------------------------------------------------------


@tool
def look(
    q: str,
    state: Annotated[Any, InjectedState],
    cart: Annotated[Any, InjectedState("cart")],
    store: Annotated[Any, InjectedStore()],
    id: Annotated[str, InjectedToolCallId],
    run: ToolRuntime,
    config: RunnableConfig,
) -> str:
    """Looks at all it can get."""
    metadata = cast("Any", config)["metadata"]
    return (
        f"{q} {sorted(state)} {cart} {store is STORE} {id} {run.tool_call_id} {run.state is state} {metadata['langgraph_node']}"
    )


SEEN = "tea ['cart', 'messages'] ['tea'] True 7 7 True tools"


def test_models_see_nothing_of_what_is_injected() -> None:
    assert list(cast("Any", look.tool_call_schema).model_json_schema()["properties"]) == ["q"]


def test_injected_values_reach_the_tool(face: Face) -> None:
    assert texts(told(face, ToolNode([look]), call("look", "7", q="tea"), store=STORE)) == [SEEN]


EVIL = {"state": {"admin": True}, "cart": ["gold"], "store": "mine", "id": "9", "run": {"state": 1}, "config": {"metadata": 1}}


def test_a_model_cannot_supply_what_is_injected(face: Face) -> None:
    hostile = call("look", "7", q="tea", **EVIL)
    assert texts(told(face, ToolNode([look]), hostile, store=STORE)) == [SEEN]
    assert texts(told(face, ToolNode([look]), hostile, {**hostile, "id": "7"}, store=STORE)) == [SEEN, SEEN]


def test_a_model_cannot_supply_it_by_another_name(face: Face) -> None:
    class Arguments(BaseModel):
        q: str
        user: Annotated[Any, InjectedState("cart")] = Field(alias="who")

    class Look(BaseTool):
        name: str = "look"
        description: str = "Looks."
        args_schema: Any = Arguments

        def _run(self, q: str, user: Any = "nobody") -> str:
            return f"{q} {user}"

    for name in ("user", "who"):
        assert texts(told(face, ToolNode([Look()]), call("look", q="x", **{name: ["gold"]}))) == ["x ['tea']"]


def test_what_others_inject_is_thrown_away_as_well(face: Face) -> None:
    @tool
    def pay(to: str, user: Annotated[str, InjectedToolArg] = "nobody") -> str:
        """Pays."""
        return f"{user} pays {to}"

    assert texts(told(face, ToolNode([pay]), call("pay", to="Bob", user="Alice"))) == ["nobody pays Bob"]

    def as_alice(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Any]) -> Any:
        assert request.tool_call["args"] == {"to": "Bob"}
        return execute(request.override(tool_call={**request.tool_call, "args": {"to": "Bob", "user": "Alice"}}))

    node = ToolNode([pay], wrap_tool_call=as_alice)
    assert texts(told(face, node, call("pay", to="Bob", user="Eve"))) == ["Alice pays Bob"]


def test_a_key_that_the_state_lacks(face: Face) -> None:
    @tool
    def needs(x: Annotated[Any, InjectedState("missing")]) -> str:
        """Needs it."""
        return f"{x}"

    @tool
    def wants(x: Annotated[Any, InjectedState("missing")] = "a default") -> str:
        """Would like it."""
        return f"{x}"

    with pytest.raises(KeyError, match="takes 'missing' of the state"):
        told(face, ToolNode([needs]), call("needs"))
    assert texts(told(face, ToolNode([wants]), call("wants"))) == ["a default"]


def test_a_store_that_is_not_there(face: Face) -> None:
    with pytest.raises(GraphError, match="compile the graph with `store=…`"):
        told(face, ToolNode([look]), call("look", "7", q="tea"))


def test_a_bare_call_is_given_the_state_of_the_graph(face: Face) -> None:
    @tool
    def cart(state: Annotated[Any, InjectedState]) -> str:
        """Says what is in the cart."""
        return f"{sorted(state)} {state['cart']}"

    graph = StateGraph(Shop).add_node("tools", ToolNode([cart]))
    graph.add_conditional_edges(START, lambda state: [Send("tools", [call("cart", "1")])], ["tools"])
    found = face.invoke(graph.compile(), {"messages": ["hi"], "cart": ["tea"]})
    assert found["messages"][-1].content == "['cart', 'messages'] ['tea']"


def test_the_runtime_of_a_tool(face: Face) -> None:
    @tool
    def speak(run: ToolRuntime) -> str:
        """Says where it is."""
        run.stream_writer(f"context {run.context}")
        assert run.execution_info is not None
        return f"{run.execution_info.thread_id} {[one.name for one in run.tools]} {run.config['configurable']['user']}"

    graph = StateGraph(Shop, context_schema=cast("Any", str)).add_node("tools", ToolNode([speak])).add_edge(START, "tools")
    graph = graph.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t", "user": "Ada"}}
    given = {"messages": [asks(call("speak", "1"), call("speak", "2"))], "cart": []}
    chunks = face.stream(graph, given, config, stream_mode=["custom", "updates"], context="blue")
    assert [chunk for mode, chunk in chunks if mode == "custom"] == ["context blue"] * 2
    assert texts(next(chunk for mode, chunk in chunks if mode == "updates")["tools"]["messages"]) == ["t ['speak'] Ada"] * 2
    assert [list(chunk) for mode, chunk in chunks if mode == "updates"] == [["tools"]]  # no task of its own is seen


def test_outside_of_a_run_there_is_no_runtime(face: Face) -> None:
    @tool
    def speak(run: ToolRuntime) -> str:
        """Says where it is."""
        run.stream_writer("nobody hears")
        with pytest.raises(RuntimeError, match="outside of a run"):
            run.once("key", print)
        return f"{run.context} {run.store} {run.execution_info}"

    assert texts(Outside.invoke(face, ToolNode([speak]), [asks(call("speak"))])) == ["None None None"]
