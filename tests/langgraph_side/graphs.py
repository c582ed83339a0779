"""The graphs whose threads move, as their users write them. On LangGraph's side `clew` is read as `langgraph`.

What a node does is noted in RAN; those of FAILING raise.
"""

import operator
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from langchain_core.messages import AIMessage, ToolMessage
from typing_extensions import TypedDict

from clew.func import entrypoint, task
from clew.graph import START, MessagesState, StateGraph
from clew.types import Command, Send, interrupt

RAN: list[str] = []
FAILING: set[str] = set()


class Items(TypedDict):
    name: str
    items: Annotated[list[Any], operator.add]


def does(name: str, **update: Any) -> Any:
    """A node that notes that it ran, and writes its name."""

    def node(state: Any) -> Any:
        RAN.append(name)
        if name in FAILING:
            raise ValueError(f"{name} fails")
        return {"items": [name], **update}

    return node


def chain(*names: str) -> Any:
    builder = StateGraph(Items)
    for before, name in zip((START, *names), names, strict=False):
        builder.add_node(name, does(name))
        builder.add_edge(before, name)
    return builder


def chat(state: MessagesState) -> Any:
    """A model that calls a tool at its second turn, and asks before it does."""
    RAN.append("chat")
    last = state["messages"][-1]
    if last.content == "weather?":
        call: Any = {"name": "weather", "args": {"city": "Paris"}, "id": "call-1", "type": "tool_call"}
        return {"messages": [AIMessage("", tool_calls=[call], id="ai-tool")]}
    return {"messages": [AIMessage(f"you said {last.content}")]}


def tool(state: MessagesState) -> Any:
    RAN.append("tool")
    last: Any = state["messages"][-1]
    answer = interrupt({"call": last.tool_calls[0]["name"]})
    return {"messages": [ToolMessage(str(answer), tool_call_id="call-1")]}


def after_chat(state: MessagesState) -> Literal["tool", "__end__"]:
    last: Any = state["messages"][-1]
    return "tool" if last.tool_calls else "__end__"


def talking() -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("chat", chat)
    builder.add_node("tool", tool)
    builder.add_edge(START, "chat")
    builder.add_conditional_edges("chat", after_chat)
    builder.add_edge("tool", "chat")
    return builder


def asks(*questions: str) -> Any:
    def node(state: Any) -> Any:
        RAN.append("asks")
        return {"items": ["/".join(str(interrupt(question)) for question in questions)]}

    return node


def sent(state: Any) -> Any:
    RAN.append(f"sent {state['n']}")
    if f"sent {state['n']}" in FAILING:
        raise ValueError(f"sent {state['n']} fails")
    return {"items": [f"sent {state['n']}"]}


def fan(state: Items) -> Sequence[Send]:
    return [Send("sent", {"n": number}) for number in range(3)]


def wide() -> Any:
    """Everything at once: parallel nodes of which one asks twice, Sends, a join, a deferred node."""
    builder = StateGraph(Items)
    builder.add_node("first", does("first"))
    builder.add_node("asks", asks("q1", "q2"))
    builder.add_node("beside", does("beside"))
    builder.add_node("joined", does("joined"))
    builder.add_node("last", does("last"), defer=True)
    builder.add_node("sent", sent)
    builder.add_edge(START, "first")
    builder.add_conditional_edges("first", fan, ["sent"])
    for name in ("asks", "beside", "last"):
        builder.add_edge("first", name)
    builder.add_edge(["beside", "asks"], "joined")
    return builder


def pair() -> Any:
    """Two nodes beside one another, then one that waits for both, and a router after it."""
    builder = StateGraph(Items)
    for name in ("left", "right", "both", "end"):
        builder.add_node(name, does(name))
    builder.add_edge(START, "left")
    builder.add_edge(START, "right")
    builder.add_edge(["left", "right"], "both")
    builder.add_conditional_edges("both", lambda state: "end", ["end"])
    return builder


def two_ask() -> Any:
    builder = StateGraph(Items)
    builder.add_node("one", asks("one?"))
    builder.add_node("two", asks("two?"))
    builder.add_edge(START, "one")
    builder.add_edge(START, "two")
    return builder


def going() -> Any:
    """A node that says where to go next."""

    def goes(state: Items) -> Any:
        RAN.append("goes")
        return Command(update={"items": ["goes"]}, goto=["left", Send("sent", {"n": 7})])

    builder = StateGraph(Items)
    builder.add_node("goes", goes, destinations=("left", "sent"))
    builder.add_node("left", does("left"))
    builder.add_node("sent", sent)
    builder.add_edge(START, "goes")
    return builder


def families() -> Any:
    """A graph with graphs inside: one that begins anew each time and one that remembers, both of which ask."""
    inner = StateGraph(Items)
    inner.add_node("before", does("before"))
    inner.add_node("asks", asks("q1", "q2"))
    inner.add_edge(START, "before")
    inner.add_edge("before", "asks")
    middle = StateGraph(Items)
    middle.add_node("inner", inner.compile())
    middle.add_edge(START, "inner")
    counting = StateGraph(Items)
    counting.add_node("counts", does("counts"))
    counting.add_edge(START, "counts")
    builder = StateGraph(Items)
    builder.add_node("counter", counting.compile(checkpointer=True))
    builder.add_node("middle", middle.compile())
    builder.add_edge(START, "counter")
    builder.add_edge("counter", "middle")
    return builder


@task
def doubled(number: int) -> int:
    RAN.append("doubled")
    return number * 2


@task
def asked(number: int) -> str:
    return f"{interrupt('sure?')} {number}"


def workflow(saver: Any) -> Any:
    @entrypoint(checkpointer=saver)
    def work(number: int, *, previous: Any = None) -> Any:
        RAN.append("work")
        twice = doubled(number).result()
        return [previous, asked(twice).result()]

    return work
