"""A thread with something of everything in it, and what may be read of it from outside."""

import operator
from typing import Annotated, Any, TypedDict

from clew.checkpoint.base import Saver
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.types import interrupt

THREAD: dict[str, Any] = {"configurable": {"thread_id": "1"}, "metadata": {"tenant": "metadata-value"}}
SECRETS = [
    "first-message", "second-message", "metadata-value", "tenant", "secret_channel", "inner_channel", "the-question",
    "inner-message", "failure-message", "long-element",
]  # fmt: skip


class Inner(TypedDict, total=False):
    inner_channel: Annotated[list[str], operator.add]


class Secret(TypedDict, total=False):
    secret_channel: Annotated[list[Any], operator.add]
    inner_channel: Annotated[list[str], operator.add]


def secretive(saver: Saver) -> CompiledStateGraph:
    """A graph with a graph within, elements of several sizes, a node that fails, and one that asks."""

    def within(state: Inner) -> Inner:
        return {"inner_channel": ["inner-message " * 8]}

    def writes(state: Secret) -> Secret:
        return {"secret_channel": ["second-message " * 8, {"nested": ["long-element " * 100] * 3}]}

    def asks(state: Secret) -> Secret:
        return {"secret_channel": [interrupt("the-question")]}

    def fails(state: Secret) -> Secret:
        if len(state.get("secret_channel", [])) < 9:
            raise ValueError("failure-message")
        return {}

    inner = StateGraph(Inner).add_node("within", within).add_node("after", lambda state: {}).add_edge(START, "within")
    inner.add_edge("within", "after")
    builder = StateGraph(Secret).add_node("child", inner.compile(checkpointer=True)).add_node("writes", writes)
    builder.add_node("asks", asks).add_node("fails", fails)
    builder.add_edge(START, "child").add_edge("child", "writes").add_edge("writes", "asks").add_edge("writes", "fails")
    return builder.compile(saver)


def tell(graph: CompiledStateGraph, config: Any = THREAD) -> None:
    """Leaves a thread with a task that has failed and one that waits."""
    try:
        graph.invoke({"secret_channel": ["first-message " * 8]}, config)
    except ValueError:
        return
    raise AssertionError("the node `fails` did not")


def everything(graph: CompiledStateGraph, config: Any = THREAD) -> Any:
    """All that can be read of a thread: its newest state, its history, and the graph within."""
    within = {"configurable": {**config["configurable"], "checkpoint_ns": "child"}}
    states = [graph.get_state(config), *graph.get_state_history(config), graph.get_state(within)]
    states += graph.get_state_history(within)
    return [(state.values, state.next, state.metadata, state.tasks) for state in states]
