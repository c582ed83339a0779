"""Tools and calls of them, as models make them, for the tests of `ToolNode` and of the agent."""

import asyncio
from typing import Any

from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool

from clew.graph import START, MessagesState, StateGraph
from clew.prebuilt import ToolNode
from support.faces import SYNC, Face


class Shop(MessagesState):
    cart: list[str]


@tool
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


@tool
async def later(a: int) -> str:
    """Waits."""
    await asyncio.sleep(0)
    return f"later {a}"


@tool
def broken(x: int) -> str:
    """Fails."""
    raise LookupError(f"nothing at {x}")


def call(name: str, id: str = "1", /, **args: Any) -> dict[str, Any]:
    return {"name": name, "args": args, "id": id, "type": "tool_call"}


def asks(*calls: dict[str, Any]) -> AIMessage:
    return AIMessage("", tool_calls=list(calls), id="asks")


def told(face: Face, node: ToolNode, *calls: dict[str, Any], **compiled: Any) -> list[ToolMessage]:
    """What a graph of this one node answers with."""
    graph = StateGraph(Shop).add_node("tools", node).add_edge(START, "tools").compile(**compiled)
    return face.invoke(graph, {"messages": [asks(*calls)], "cart": ["tea"]})["messages"][1:]


def texts(messages: list[Any]) -> list[Any]:
    return [message.content for message in messages]


class Outside:
    """A node that is called by itself, on either face."""

    @staticmethod
    def invoke(face: Face, node: ToolNode, given: Any) -> Any:
        return node.invoke(given) if face is SYNC else asyncio.run(node.ainvoke(given))
