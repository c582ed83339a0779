# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeArguments=false, reportTypedDictNotRequiredAccess=false, reportIndexIssue=false, reportReturnType=false
# Written as users write, for two packages of which one may not have all of it yet: strict types are for what ships.
"""What graphs within graphs keep: pauses, reading, editing, going back; and when it is kept."""

import operator
from typing import Annotated, Any, TypedDict

from clew.checkpoint.memory import InMemorySaver
from clew.graph import START, StateGraph
from clew.types import Command, interrupt
from corpus.harness import Differs, Face, example, raised, shown

THREAD = {"configurable": {"thread_id": "1"}}


class Log(TypedDict):
    log: Annotated[list[str], operator.add]


class Text(TypedDict):
    text: str


class Inner(TypedDict):
    text: str
    own: str


def says(word: str, ran: list[str] | None = None) -> Any:
    def node(state: Any) -> dict[str, Any]:
        if ran is not None:
            ran.append(word)
        return {"text": f"{state['text']} {word}"}

    return node


def asks(question: str, ran: list[str] | None = None) -> Any:
    def node(state: Any) -> dict[str, Any]:
        if ran is not None:
            ran.append("asks")
        return {"text": f"{state['text']} {interrupt(question)}"}

    return node


def row(*nodes: tuple[str, Any], schema: Any = Text, **options: Any) -> Any:
    return StateGraph(schema).add_sequence(list(nodes)).add_edge(START, nodes[0][0]).compile(**options)


def two_deep(ran: list[str], **kinds: Any) -> Any:
    low = row(("a", says("a", ran)), ("asks", asks("well?", ran)), ("z", says("z", ran)), **kinds)
    middle = row(("m", says("m", ran)), ("low", low), **kinds)
    return row(("top", says("top", ran)), ("middle", middle), ("end", says("end", ran)), checkpointer=InMemorySaver())


@example("§4.1 an answer to a question two levels down: what had finished there does not run again")
def answered_within(face: Face) -> Any:
    def tale(**kinds: Any) -> Any:
        ran: list[str] = []
        graph = two_deep(ran, **kinds)
        asked = face.invoke(graph, {"text": "in"}, THREAD)
        return {
            "asked": [asked["text"], [found.value for found in asked["__interrupt__"]]],
            "answered": face.invoke(graph, Command(resume="yes"), THREAD),
            "ran": ran,
        }

    return {"inherits": tale(), "remembers": tale(checkpointer=True)}


@example("§4.1 a child without a memory asks: all of it runs again", faces=("sync",))
def answered_without_memory(face: Face) -> Any:
    ran: list[str] = []
    child = row(("a", says("a", ran)), ("asks", asks("well?", ran)), checkpointer=False)
    graph = row(("child", child), checkpointer=InMemorySaver())
    face.invoke(graph, {"text": "in"}, THREAD)
    return [face.invoke(graph, Command(resume="yes"), THREAD), ran]


@example("§3.7 the state of a graph that waits two levels down")
def states_within(face: Face) -> Any:
    graph = two_deep([])
    face.invoke(graph, {"text": "in"}, THREAD)
    state = face.get_state(graph, THREAD, subgraphs=True)
    middle = state.tasks[0].state
    low = middle.tasks[0].state
    return {
        "outer": shown(state),
        "middle": shown(middle),
        "low": shown(low),
        "the same question": [[found.value for found in one.interrupts] for one in (state, middle, low)],
        "one id": len({found.id for one in (state, middle, low) for found in one.interrupts}),
        "by config": shown(face.get_state(graph, middle.config)),
        "history": [shown(one) for one in face.history(graph, middle.tasks[0].state.config)][:1],
    }


@example("§4.1 editing the state of a graph that waits within another")
def edited_within(face: Face) -> Any:
    ran: list[str] = []
    child = row(("a", says("a", ran)), ("b", says("b", ran)), interrupt_before=["b"])
    graph = row(("child", child), ("end", says("end")), checkpointer=InMemorySaver())
    face.invoke(graph, {"text": "in"}, THREAD)
    inside = face.get_state(graph, THREAD, subgraphs=True).tasks[0].state
    graph.update_state(inside.config, {"text": "by hand"})
    return [face.invoke(graph, None, THREAD), ran]


@example("§4.1 editing as the node that waits within")
def edited_as_the_node(face: Face) -> Any:
    ran: list[str] = []
    child = row(("a", says("a", ran)), ("b", says("b", ran)), ("c", says("c", ran)), interrupt_before=["b"])
    graph = row(("child", child), ("end", says("end")), checkpointer=InMemorySaver())
    face.invoke(graph, {"text": "in"}, THREAD)
    inside = face.get_state(graph, THREAD, subgraphs=True).tasks[0].state
    graph.update_state(inside.config, {"text": "by hand"}, as_node="b")
    return [face.invoke(graph, None, THREAD), ran]


@example("§5.1 editing outside as the node that is the graph")
def edited_as_the_graph(face: Face) -> Any:
    ran: list[str] = []
    child = row(("a", says("a", ran)), ("b", says("b", ran)), interrupt_before=["b"])
    graph = row(("child", child), ("end", says("end")), checkpointer=InMemorySaver())
    face.invoke(graph, {"text": "in"}, THREAD)
    graph.update_state(THREAD, {"text": "by hand"}, as_node="child")
    return [face.invoke(graph, None, THREAD), ran]


@example("§2.5 a breakpoint within stops those around; None goes on")
def breakpoint_within(face: Face) -> Any:
    child = row(("a", says("a")), ("b", says("b")), interrupt_before=["b"])
    graph = row(("child", child), ("end", says("end")), checkpointer=InMemorySaver())
    first = face.stream(graph, {"text": "in"}, THREAD)
    state = face.get_state(graph, THREAD)
    return [first, state.next, list(state.interrupts), face.stream(graph, None, THREAD)]


@example("§2.5 a breakpoint within, nothing kept")
def breakpoint_unkept(face: Face) -> Any:
    child = row(("a", says("a")), ("b", says("b")), interrupt_before=["b"])
    return face.invoke(row(("child", child), ("end", says("end"))), {"text": "in"})


@example(
    "§3.7 going back to a checkpoint within a graph",
    differs=Differs(
        "Going back to a checkpoint takes its children along (DESIGN §5)", lambda there: {**there, "ran": ["b", "end"]}
    ),
)
def back_within(face: Face) -> Any:
    ran: list[str] = []
    child = row(("a", says("a", ran)), ("b", says("b", ran)))
    graph = row(("child", child), ("end", says("end", ran)), checkpointer=InMemorySaver())
    face.invoke(graph, {"text": "in"}, THREAD)
    before = next(one for one in face.history(graph, THREAD) if one.next == ("child",))
    at_b = next(one for one in face.history(graph, before.tasks[0].state) if one.next == ("b",))
    ran.clear()
    result = face.invoke(graph, None, at_b.config)
    return {"result": result, "ran": ran, "next": face.get_state(graph, THREAD).next}


@example("§4.1 a child that remembers, read at any time by its namespace")
def memory_by_namespace(face: Face) -> Any:
    class Runs(TypedDict):
        runs: Annotated[int, operator.add]

    child = row(("count", lambda state: {"runs": 1}), schema=Runs, checkpointer=True)
    graph = StateGraph(Text).add_node("child", lambda state: child.invoke({"runs": 0}) and None).add_edge(START, "child")
    graph = graph.compile(checkpointer=InMemorySaver())
    for _ in range(2):
        face.invoke(graph, {"text": "in"}, THREAD)
    inside = {"configurable": {"thread_id": "1", "checkpoint_ns": "child"}}
    return shown(face.get_state(graph, inside))


def durable(face: Face, level: str, node: Any) -> Any:
    graph = row(("a", says("a")), ("b", node), ("c", says("c")), checkpointer=InMemorySaver())
    result = raised(lambda: face.invoke(graph, {"text": "in"}, THREAD, durability=level))
    states = [shown(one) for one in face.history(graph, THREAD)]
    return [result if not isinstance(result, dict) else result["text"], [[one["step"], one["next"]] for one in states]]


def broken(state: Text) -> Text:
    raise ValueError("broken")


@example("§2.4 what is kept of a run that ends well, fails, or pauses, at each durability")
def durabilities(face: Face) -> Any:
    nodes = {"ends well": says("b"), "fails": broken, "pauses": asks("well?")}
    return {level: {name: durable(face, level, node) for name, node in nodes.items()} for level in ("sync", "async", "exit")}


@example("§2.4 going on after a run that was kept at its end only")
def on_after_exit(face: Face) -> Any:
    graph = row(("a", says("a")), ("asks", asks("well?")), ("c", says("c")), checkpointer=InMemorySaver())
    face.invoke(graph, {"text": "in"}, THREAD, durability="exit")
    return [
        face.invoke(graph, Command(resume="yes"), THREAD, durability="exit"),
        [[one.metadata["step"], one.next] for one in face.history(graph, THREAD)],
    ]
