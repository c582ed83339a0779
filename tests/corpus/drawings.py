# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeArguments=false, reportTypedDictNotRequiredAccess=false, reportIndexIssue=false, reportReturnType=false
# Written as users write, for two packages of which one may not have all of it yet: strict types are for what ships.
"""What a graph looks like: the Mermaid text, with and without styles, and the edges as data."""

from typing import Any, TypedDict

from clew.graph import END, START, StateGraph
from corpus.harness import SYNC, Face, example


class State(TypedDict, total=False):
    x: int


def nothing(state: Any) -> Any:
    return {}


def shown(builder: Any, **options: Any) -> Any:
    drawing = builder.compile().get_graph(**options)
    data = drawing.to_json()
    return {
        "mermaid": drawing.draw_mermaid().splitlines(),
        "plain": drawing.draw_mermaid(with_styles=False).splitlines(),
        "nodes": [node["id"] for node in data["nodes"]],
        "edges": data["edges"],
    }


@example("§4.8 a loop with labels", faces=(SYNC,))
def a_loop(face: Face) -> Any:
    builder = StateGraph(State)
    for name in ("agent", "tools", "a long name"):
        builder.add_node(name, nothing)
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", nothing, {"continue": "tools", "rest": "a long name", END: END})
    builder.add_edge("tools", "agent")
    return shown(builder)


@example("§4.8 a join and a deferred node", faces=(SYNC,))
def a_join(face: Face) -> Any:
    builder = StateGraph(State)
    for name in ("z", "b", "a", "m"):
        builder.add_node(name, nothing, defer=name == "m")
    builder.add_edge(START, "z").add_edge("z", "b").add_edge("z", "a").add_edge(["b", "a"], "m")
    return shown(builder)


@example("§4.8 a conditional entry, a long label, a name that is not ASCII", faces=(SYNC,))
def an_entry(face: Face) -> Any:
    builder = StateGraph(State)
    builder.add_node("a", nothing).add_node("wörld", nothing)
    builder.add_conditional_edges(START, nothing, {"left": "a", "one two three four five six seven eight nine ten": "wörld"})
    return shown(builder)


@example("§4.8 breakpoints", faces=(SYNC,))
def stops(face: Face) -> Any:
    builder = StateGraph(State).add_node("a", nothing).add_node("b", nothing).add_edge(START, "a").add_edge("a", "b")
    graph = builder.compile(interrupt_before=["b"], interrupt_after=["a", "b"])
    return graph.get_graph().draw_mermaid().splitlines()


@example("§4.8 graphs that are nodes, seen from the inside", faces=(SYNC,))
def an_xray(face: Face) -> Any:
    deep = StateGraph(State).add_node("a", nothing).add_node("b", nothing).add_edge(START, "a").add_edge("a", "b").compile()
    middle = StateGraph(State).add_node("deep", deep).add_node("after", nothing)
    middle = middle.add_edge(START, "deep").add_edge("deep", "after").compile()
    builder = StateGraph(State).add_node("top", middle).add_node("last", nothing).add_edge(START, "top").add_edge("top", "last")
    return {"whole": shown(builder), "one level": shown(builder, xray=1), "all": shown(builder, xray=True)}
