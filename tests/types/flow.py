# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""What type checkers make of a graph: types flow from `StateGraph` to `invoke`, and mistakes are found.

Nothing here runs: `make check` reads it with pyright, for which an ignore without an error to ignore is an error, so each
`pyright: ignore` below asserts that there is one.
"""

import operator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict, assert_type

from pydantic import BaseModel

from clew.graph import START, MessagesState, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.runtime import Runtime, get_runtime
from clew.types import Command, GraphOutput, RetryPolicy, Send


class State(TypedDict):
    log: Annotated[list[str], operator.add]
    n: int


class Question(TypedDict):
    text: str


class Answer(TypedDict):
    n: int


@dataclass
class Context:
    user: str


class Model(BaseModel):
    n: int = 0


def node(state: State) -> dict[str, Any]:
    return {"n": state["n"] + 1}


def routed(state: State) -> Command[Literal["node"]]:
    return Command(goto="node", update={"n": state["n"]})


def asked(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    assert_type(runtime.context, Context)
    assert_type(get_runtime(Context).context, Context)
    return {"log": [runtime.context.user]}


# -- from the schemas to the graph ------------------------------------------------------------------------------------

builder = StateGraph(State)
assert_type(builder, StateGraph[State, Any, State, State])
graph = builder.add_node(node).add_node("routed", routed).add_edge(START, "node").compile()
assert_type(graph, CompiledStateGraph[State, Any, State, State])

whole = StateGraph(State, Context, input_schema=Question, output_schema=Answer).add_node(asked).compile()
assert_type(whole, CompiledStateGraph[State, Context, Question, Answer])

# -- from the graph to its verbs --------------------------------------------------------------------------------------

assert_type(graph.invoke({"log": [], "n": 1}), dict[str, Any])
assert_type(graph.invoke(None), dict[str, Any])
assert_type(graph.invoke(Command(goto="node")), dict[str, Any])
assert_type(whole.invoke({"text": "?"}, context=Context("ann"), version="v2"), GraphOutput[Answer])
assert_type(whole.invoke({"text": "?"}, version="v2").value["n"], int)
assert_type(StateGraph(Model).compile().invoke(Model(), version="v2").value, Model)
graph.invoke({"log": ["x"], "n": 1}, {"configurable": {"thread_id": "1"}, "recursion_limit": 5})
StateGraph(MessagesState).compile().stream({"messages": []}, stream_mode=["values", "custom"])


async def awaited() -> None:
    assert_type(await graph.ainvoke({"log": [], "n": 1}), dict[str, Any])
    assert_type(await whole.ainvoke({"text": "?"}, version="v2"), GraphOutput[Answer])


# -- mistakes ---------------------------------------------------------------------------------------------------------

graph.stream({"log": [], "m": 1})  # pyright: ignore[reportArgumentType]  (no such key)
graph.stream({"log": "text", "n": 1})  # pyright: ignore[reportArgumentType]  (not a list)
graph.stream("text")  # pyright: ignore[reportArgumentType]
whole.stream({"log": [], "n": 1})  # pyright: ignore[reportArgumentType]  (the state is not the input)
whole.stream({"text": "?"}, context={"user": "ann"}, version="v3")  # pyright: ignore[reportArgumentType]
whole.stream({"text": "?"}, context="ann")  # pyright: ignore[reportArgumentType]
builder.add_node("node", node, retry_policy=3)  # pyright: ignore[reportCallIssue, reportArgumentType]
builder.add_node("node", node, defer="yes")  # pyright: ignore[reportCallIssue, reportArgumentType]
builder.add_node("node", node, retry=RetryPolicy())  # pyright: ignore[reportCallIssue]  (an old spelling)
builder.add_edge("node", 1)  # pyright: ignore[reportArgumentType]
Command("node")  # pyright: ignore[reportCallIssue]  (by name only)
Command(goto=3)  # pyright: ignore[reportArgumentType]
Send("node")  # pyright: ignore[reportCallIssue]
print(get_runtime(Context).context.name)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
