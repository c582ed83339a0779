# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeArguments=false, reportTypedDictNotRequiredAccess=false, reportIndexIssue=false, reportReturnType=false
# Written as users write, for two packages of which one may not have all of it yet: strict types are for what ships.
"""What a stream yields: each mode alone, several at once, with subgraphs, in both versions."""

import operator
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, HumanMessage

from clew.checkpoint.memory import InMemorySaver
from clew.config import get_stream_writer
from clew.graph import START, MessagesState, StateGraph
from clew.types import StreamWriter
from corpus.harness import Differs, Face, example, in_order, raised

THREAD = {"configurable": {"thread_id": "1"}}


class Tea(TypedDict):
    kind: str
    log: Annotated[list[str], operator.add]


def boil(state: Tea) -> dict[str, Any]:
    get_stream_writer()({"boiling": 100})
    return {"log": ["boiled"]}


def steep(state: Tea, writer: StreamWriter) -> dict[str, Any]:
    writer("steeping")
    writer(["for", 3])
    return {"kind": state["kind"].upper(), "log": ["steeped"]}


def rest(state: Tea) -> None:
    return None


def tea(**options: Any) -> Any:
    return StateGraph(Tea).add_sequence([boil, steep, rest]).add_edge(START, "boil").compile(**options)


GIVEN = {"kind": "green"}


@example("§2.3 values, and the default mode")
def values_and_default(face: Face) -> Any:
    return {
        "values": face.stream(tea(), GIVEN, stream_mode="values"),
        "default": face.stream(tea(), GIVEN),
    }


@example("§2.3 updates: None, several writes of one key, parallel nodes")
def updates(face: Face) -> Any:
    builder = StateGraph(Tea).add_node(boil).add_node(rest).add_edge(START, "boil").add_edge(START, "rest")
    return in_order(face.stream(builder.compile(), GIVEN, stream_mode="updates"))


@example("§2.3 custom, from the parameter and from the function")
def custom(face: Face) -> Any:
    return face.stream(tea(), GIVEN, stream_mode="custom")


@example("§2.3 tasks")
def tasks(face: Face) -> Any:
    return face.stream(tea(), GIVEN, stream_mode="tasks")


@example("§2.3 tasks of a node that fails")
def tasks_that_fail(face: Face) -> Any:
    def fails(state: Tea) -> None:
        raise ValueError("no water")

    graph = StateGraph(Tea).add_node(fails).add_edge(START, "fails").compile(checkpointer=InMemorySaver())
    chunks = face.follow(graph, GIVEN, THREAD, stream_mode="tasks")
    state = face.get_state(graph, THREAD)
    return {"chunks": chunks, "kept": [state.next, [task.name for task in state.tasks]]}


@example("§2.3 checkpoints: with a saver, and without")
def checkpoints(face: Face) -> Any:
    return {
        "with": face.stream(tea(checkpointer=InMemorySaver()), GIVEN, THREAD, stream_mode="checkpoints"),
        "without": face.stream(tea(), GIVEN, stream_mode="checkpoints"),
    }


@example("§2.3 debug")
def debug(face: Face) -> Any:
    return face.stream(tea(checkpointer=InMemorySaver()), GIVEN, THREAD, stream_mode="debug")


@example("§2.2 a list of modes: pairs")
def several_modes(face: Face) -> Any:
    graph = tea(checkpointer=InMemorySaver())
    return {
        "three": face.stream(tea(), GIVEN, stream_mode=["values", "updates", "custom"]),
        "one in a list": face.stream(tea(), GIVEN, stream_mode=["updates"]),
        "all": [
            chunk[0]
            for chunk in face.stream(graph, GIVEN, THREAD, stream_mode=["debug", "tasks", "checkpoints", "values", "updates"])
        ],
    }


@example(
    "§2.2 a tuple of modes",
    differs=Differs(
        "a tuple as `stream_mode` loses its tags",
        lambda there: [{"tuple": ["custom" if n in (0, 2, 3) else "updates", chunk]} for n, chunk in enumerate(there)],
    ),
)
def tuple_of_modes(face: Face) -> Any:
    return face.stream(tea(), GIVEN, stream_mode=("updates", "custom"))


def nested() -> Any:
    class Kind(TypedDict):
        kind: str

    def inner(state: Kind) -> dict[str, Any]:
        get_stream_writer()("inner writes")
        return {"kind": f"{state['kind']} tea"}

    low = StateGraph(Kind).add_node("inner", inner).add_edge(START, "inner").compile()
    middle = StateGraph(Kind).add_node("low", low).add_edge(START, "low").compile()

    def outer(state: Tea) -> dict[str, Any]:
        get_stream_writer()("outer writes")
        return middle.invoke({"kind": state["kind"]})

    return StateGraph(Tea).add_node(outer).add_edge(START, "outer").compile()


@example("§2.2 subgraphs=True: namespaces, alone and with several modes")
def from_subgraphs(face: Face) -> Any:
    return {
        "updates": face.stream(nested(), GIVEN, subgraphs=True),
        "several": face.stream(nested(), GIVEN, stream_mode=["values", "custom"], subgraphs=True),
        "without": face.stream(nested(), GIVEN, stream_mode=["updates", "custom"]),
    }


@example("§2.2 values of a child: as much as its output schema shows")
def values_of_a_child(face: Face) -> Any:
    class Kind(TypedDict):
        kind: str

    class Notes(Kind):
        notes: str

    child = StateGraph(Notes, output_schema=Kind).add_node("note", lambda state: {"notes": "n", "kind": "k"})
    child = child.add_edge(START, "note").compile()
    graph = StateGraph(Tea).add_node("child", child).add_edge(START, "child").compile()
    return {
        "within": face.stream(graph, GIVEN, stream_mode=["values", "updates"], subgraphs=True),
        "alone": face.stream(child, GIVEN, stream_mode=["values", "updates"]),
    }


@example('§2.2 version="v2": every chunk says what it is')
def version_2(face: Face) -> Any:
    return {
        "one mode": face.stream(tea(), GIVEN, stream_mode="updates", version="v2"),
        "several": face.stream(tea(), GIVEN, stream_mode=["values", "custom"], version="v2"),
        "subgraphs": face.stream(nested(), GIVEN, stream_mode="values", subgraphs=True, version="v2"),
    }


@example('§2.1 invoke with version="v2", and the state as its schema')
def invoke_version_2(face: Face) -> Any:
    @dataclass
    class Cup:
        kind: str
        full: bool = False

    graph = StateGraph(Cup).add_node("fill", lambda state: {"full": True}).add_edge(START, "fill").compile()
    plain, typed = face.invoke(tea(), GIVEN, version="v2"), face.invoke(graph, GIVEN, version="v2")
    return {
        "a dict": [plain.value, plain.interrupts],
        "an instance": [typed.value, typed.interrupts],
        "streamed": face.stream(graph, GIVEN, stream_mode="values", version="v2"),
    }


@example("§2.1 output_keys: one, several, one that is not there")
def output_keys(face: Face) -> Any:
    return {
        "one": [
            face.invoke(tea(), GIVEN, output_keys="kind"),
            face.stream(tea(), GIVEN, stream_mode="values", output_keys="kind"),
        ],
        "several": face.stream(tea(), GIVEN, stream_mode="values", output_keys=["log"]),
        "of updates": face.stream(tea(), GIVEN, stream_mode="updates", output_keys=["log"]),
        "unknown": raised(lambda: face.invoke(tea(), GIVEN, output_keys="nope")),
    }


@example("§2.1 invoke with another stream mode: the list of what is streamed")
def invoke_with_a_mode(face: Face) -> Any:
    return [face.invoke(tea(), GIVEN, stream_mode="updates"), face.invoke(tea(), GIVEN, stream_mode=["values", "custom"])]


@example("§2.3 messages: whole messages that nodes return, by node")
def messages(face: Face) -> Any:
    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("first", id="a1"), AIMessage("second", id="a2")]}

    def echo(state: MessagesState) -> dict[str, Any]:
        return {"messages": [state["messages"][-1], AIMessage("third", id="a3")]}

    graph = StateGraph(MessagesState).add_sequence([ask, echo]).add_edge(START, "ask").compile()
    keys = ("langgraph_node", "langgraph_step")
    chunks = face.stream(graph, {"messages": [HumanMessage("hi", id="h")]}, stream_mode="messages")
    return [[message, {key: metadata[key] for key in keys}] for message, metadata in chunks]


@example("§2.7 a stream left half-way: what was done is kept, and goes on")
def left_half_way(face: Face) -> Any:
    graph = tea(checkpointer=InMemorySaver())
    for chunk in graph.stream(GIVEN, THREAD, stream_mode="updates"):
        first = chunk
        break
    state = face.get_state(graph, THREAD)
    return {"first": first, "kept": "log" in state.values, "gone on": face.invoke(graph, None, THREAD)}
