# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeArguments=false, reportTypedDictNotRequiredAccess=false, reportIndexIssue=false, reportReturnType=false
# Written as users write, for two packages of which one may not have all of it yet: strict types are for what ships.
"""Keys whose annotation names the channel that keeps them."""

import operator
from typing import Annotated, Any, TypedDict

from clew.channels import AnyValue, BinaryOperatorAggregate, EphemeralValue, LastValue, Topic, UntrackedValue
from clew.checkpoint.memory import InMemorySaver
from clew.graph import START, StateGraph
from corpus.harness import Face, example, raised


@example("§1.7 EphemeralValue: there for one superstep")
def ephemeral_value(face: Face) -> Any:
    class State(TypedDict):
        flash: Annotated[str, EphemeralValue]
        seen: Annotated[list[str], operator.add]

    def first(state: State) -> dict[str, Any]:
        return {"seen": [state.get("flash", "gone")], "flash": "from first"}

    def second(state: State) -> dict[str, Any]:
        return {"seen": [state.get("flash", "gone")]}

    def third(state: State) -> dict[str, Any]:
        return {"seen": [state.get("flash", "gone")]}

    graph = StateGraph(State).add_sequence([first, second, third]).add_edge(START, "first").compile()
    return {
        "result": face.invoke(graph, {"flash": "from the caller"}),
        "values": face.stream(graph, {"flash": "from the caller"}, stream_mode="values"),
    }


@example("§1.7 Topic: a list of the superstep, or of all of them")
def topic(face: Face) -> Any:
    class State(TypedDict):
        step: Annotated[list[str], Topic(str)]
        every: Annotated[list[str], Topic(str, accumulate=True)]
        seen: Annotated[list[str], operator.add]

    def first(state: State) -> dict[str, Any]:
        return {"step": ["a", "b"], "every": "a"}

    def second(state: State) -> dict[str, Any]:
        return {"seen": [f"{state.get('step')} {state.get('every')}"], "every": ["c"]}

    def third(state: State) -> dict[str, Any]:
        return {"seen": [f"{state.get('step')} {state.get('every')}"]}

    graph = StateGraph(State).add_sequence([first, second, third]).add_edge(START, "first").compile()
    return {"seen": face.invoke(graph, {"seen": []})["seen"], "values": face.stream(graph, {"seen": []}, stream_mode="values")}


@example("§1.7 AnyValue: many may write, as they agree")
def any_value(face: Face) -> Any:
    class State(TypedDict):
        agreed: Annotated[str, AnyValue]
        seen: Annotated[list[str], operator.add]

    def b(state: State) -> dict[str, Any]:
        return {"agreed": "yes", "seen": ["b"]}

    def a(state: State) -> dict[str, Any]:
        return {"agreed": "yes", "seen": ["a"]}

    def end(state: State) -> dict[str, Any]:
        return {"seen": [state.get("agreed", "gone")]}

    builder = StateGraph(State).add_node(b).add_node(a).add_node(end)
    graph = builder.add_edge(START, "a").add_edge(START, "b").add_edge(["a", "b"], "end").compile()
    return face.stream(graph, {"seen": ["in"]}, stream_mode="values")


@example("§1.7 UntrackedValue: for the run, never kept")
def untracked_value(face: Face) -> Any:
    class State(TypedDict):
        handle: Annotated[Any, UntrackedValue]
        seen: Annotated[list[str], operator.add]

    def opens(state: State) -> dict[str, Any]:
        return {"handle": object(), "seen": ["open" if "handle" in state else "shut"]}

    def uses(state: State) -> dict[str, Any]:
        return {"seen": ["open" if "handle" in state else "shut"]}

    builder = StateGraph(State).add_sequence([opens, uses]).add_edge(START, "opens")
    graph = builder.compile(checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}}
    first = face.invoke(graph, {"seen": []}, thread)
    second = face.invoke(graph, {"seen": ["again"]}, thread)
    return {"seen": [first["seen"], second["seen"]], "kept": sorted(face.get_state(graph, thread).values)}


@example("§1.7 BinaryOperatorAggregate and LastValue by name")
def aggregate_by_name(face: Face) -> Any:
    class State(TypedDict):
        total: Annotated[int, BinaryOperatorAggregate(int, operator.add)]
        most: Annotated[int, BinaryOperatorAggregate(int, lambda old, new: max(old, new))]
        last: Annotated[str, LastValue(str)]

    def a(state: State) -> dict[str, Any]:
        return {"total": 2, "most": 9, "last": f"{state['total']} {state['most']}"}

    def b(state: State) -> dict[str, Any]:
        return {"total": 3, "most": 4}

    graph = StateGraph(State).add_node(a).add_node(b).add_edge(START, "a").add_edge(START, "b").compile()
    return [face.invoke(graph, {"total": 1}), face.invoke(graph, {"most": 10, "last": "in"})]


@example("§1.7 two writers of an EphemeralValue, guarded and not")
def guard_of_an_ephemeral_value(face: Face) -> Any:
    class Guarded(TypedDict):
        one: Annotated[str, EphemeralValue(str)]
        seen: str

    class Open(TypedDict):
        one: Annotated[str, EphemeralValue(str, guard=False)]
        seen: str

    def runs(state: Any) -> Any:
        builder = StateGraph(state).add_node("a", lambda state: {"one": "a"}).add_node("b", lambda state: {"one": "b"})
        builder.add_node("c", lambda state: {"seen": state.get("one")})
        graph = builder.add_edge(START, "a").add_edge(START, "b").add_edge(["a", "b"], "c").compile()
        return raised(lambda: face.invoke(graph, {"seen": ""}))

    return {"guarded": runs(Guarded), "open": runs(Open)}
