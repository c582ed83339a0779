# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeArguments=false, reportTypedDictNotRequiredAccess=false, reportIndexIssue=false, reportReturnType=false
# Written as users write, for two packages of which one may not have all of it yet: strict types are for what ships.
"""Graphs within graphs."""

import operator
from typing import Annotated, Any, TypedDict

from clew.checkpoint.memory import InMemorySaver
from clew.graph import END, START, StateGraph
from clew.types import Command
from corpus.harness import Differs, Face, example, in_order, raised, shown

THREAD = {"configurable": {"thread_id": "1"}}


class Log(TypedDict):
    log: Annotated[list[str], operator.add]


class Text(TypedDict):
    text: str


@example("§5.5 subgraph with shared keys, as a node")
def shared_keys(face: Face) -> Any:
    class Inner(TypedDict):
        text: str
        own: str

    def shout(state: Inner) -> dict[str, Any]:
        return {"own": f"{sorted(state)}"}

    def close(state: Inner) -> dict[str, Any]:
        return {"text": f"{state['text']}! {state['own']}"}

    child = StateGraph(Inner).add_sequence([shout, close]).add_edge(START, "shout").compile()
    builder = StateGraph(Text).add_node("first", lambda state: {"text": f"hi {state['text']}"}).add_node("child", child)
    graph = builder.add_edge(START, "first").add_edge("first", "child").compile()
    return {
        "result": face.invoke(graph, {"text": "ada"}),
        "updates": face.stream(graph, {"text": "ada"}),
        "with the child's": face.stream(graph, {"text": "ada"}, subgraphs=True),
    }


@example("§5.5 subgraph with another schema, called in a function; inputs and outputs transformed")
def different_schemas(face: Face) -> Any:
    class Inner(TypedDict):
        number: int
        trace: Annotated[list[int], operator.add]

    def square(state: Inner) -> dict[str, Any]:
        return {"number": state["number"] ** 2, "trace": [state["number"]]}

    def half(state: Inner) -> dict[str, Any]:
        return {"number": state["number"] // 2, "trace": [state["number"]]}

    child = StateGraph(Inner).add_sequence([square, half]).add_edge(START, "square").compile()

    def call_child(state: Text) -> dict[str, Any]:
        answer = child.invoke({"number": len(state["text"]), "trace": [-1]})
        return {"text": f"{answer['number']} by {answer['trace']}"}

    graph = StateGraph(Text).add_node(call_child).add_edge(START, "call_child").compile()
    return {
        "result": face.invoke(graph, {"text": "abcd"}),
        "values": face.stream(graph, {"text": "abcd"}, stream_mode="values", subgraphs=True),
    }


@example("§5.5 three levels")
def three_levels(face: Face) -> Any:
    class Grandchild(TypedDict):
        deep: str

    class Child(TypedDict):
        middle: str

    low = (
        StateGraph(Grandchild).add_node("low", lambda state: {"deep": f"low({state['deep']})"}).add_edge(START, "low").compile()
    )

    def to_low(state: Child) -> dict[str, Any]:
        return {"middle": low.invoke({"deep": f"to_low({state['middle']})"})["deep"]}

    middle = StateGraph(Child).add_node(to_low).add_edge(START, "to_low").compile()

    def to_middle(state: Text) -> dict[str, Any]:
        return {"text": middle.invoke({"middle": f"to_middle({state['text']})"})["middle"]}

    builder = StateGraph(Text).add_node(to_middle).add_node("after", lambda state: {"text": state["text"] + "."})
    graph = builder.add_edge(START, "to_middle").add_edge("to_middle", "after").compile()
    return {"result": face.invoke(graph, {"text": "x"}), "updates": face.stream(graph, {"text": "x"}, subgraphs=True)}


@example("§5.5 async subgraph in an async node", faces=("async",))
def awaited_subgraph(face: Face) -> Any:
    async def whisper(state: Text) -> dict[str, Any]:
        return {"text": state["text"].lower()}

    child = StateGraph(Text).add_node(whisper).add_edge(START, "whisper").compile()

    async def call(state: Text) -> dict[str, Any]:
        chunks = [chunk async for chunk in child.astream(state, stream_mode="values")]
        return {"text": f"{len(chunks)} {(await child.ainvoke(state))['text']}"}

    graph = StateGraph(Text).add_node(call).add_edge(START, "call").compile()
    return [face.invoke(graph, {"text": "ADA"}), face.stream(graph, {"text": "ADA"}, subgraphs=True)]


@example("§4.1 a child that returns a reduced key: its inherited items are folded in once more")
def shared_reducer(face: Face) -> Any:
    child = StateGraph(Log).add_node("in", lambda state: {"log": ["child"]}).add_edge(START, "in").compile()
    graph = StateGraph(Log).add_node("child", child).add_edge(START, "child").compile()
    return face.invoke(graph, {"log": ["parent"]})


@example("§5.5 a child goes on in its parent: Command(graph=Command.PARENT)")
def command_to_the_parent(face: Face) -> Any:
    def decide(state: Log) -> Command:
        return Command(graph=Command.PARENT, goto="rescue", update={"log": ["sent up"]})

    child = StateGraph(Log).add_node(decide).add_node("never", lambda state: {"log": ["never"]})
    child = child.add_edge(START, "decide").add_edge("decide", "never").compile()
    builder = StateGraph(Log).add_node("child", child).add_node("rescue", lambda state: {"log": ["rescued"]})
    builder.add_node("edge", lambda state: {"log": ["by the edge"]}).add_edge(START, "child").add_edge("child", "edge")
    graph = builder.compile()
    return {
        "result": face.invoke(graph, {"log": ["in"]}),
        "updates": in_order(face.stream(graph, {"log": ["in"]})),
        "with the child's": in_order(face.stream(graph, {"log": ["in"]}, subgraphs=True)),
    }


def counting(**options: Any) -> Any:
    """A child that counts how often it ran, as far as it remembers."""

    class Inner(TypedDict):
        runs: Annotated[int, operator.add]
        said: str

    builder = StateGraph(Inner).add_node("count", lambda state: {"runs": 1, "said": f"run {state['runs'] + 1}"})
    return builder.add_edge(START, "count").compile(**options)


@example("§4.1 what a child remembers: inherited, its own, none")
def memory_of_a_child(face: Face) -> Any:
    def runs(child: Any) -> Any:
        def call(state: Log) -> dict[str, Any]:
            return {"log": [child.invoke({"runs": 0})["said"]]}

        graph = StateGraph(Log).add_node(call).add_edge(START, "call").compile(checkpointer=InMemorySaver())
        return [face.invoke(graph, {"log": [word]}, THREAD) for word in ("one", "two")][-1]

    kinds = {"inherits": None, "of its own": True, "none": False}
    return {name: runs(counting(checkpointer=kind)) for name, kind in kinds.items()}


@example("§4.1 a child as a node that remembers, on two threads")
def child_with_memory_as_a_node(face: Face) -> Any:
    class Outer(TypedDict):
        said: str

    builder = StateGraph(Outer).add_node("child", counting(checkpointer=True)).add_edge(START, "child")
    graph = builder.compile(checkpointer=InMemorySaver())
    other = {"configurable": {"thread_id": "2"}}
    return [face.invoke(graph, {"said": "?"}, thread)["said"] for thread in (THREAD, THREAD, other, THREAD)]


@example("§2.2 the namespaces of children: called twice in one task, with a memory of their own")
def namespaces_of_children(face: Face) -> Any:
    def chunks(child: Any) -> Any:
        def node(state: Text) -> dict[str, Any]:
            return {"text": f"{child.invoke({'runs': 0})['said']}, {child.invoke({'runs': 0})['said']}"}

        graph = StateGraph(Text).add_node(node).add_edge(START, "node").compile(checkpointer=InMemorySaver())
        return face.stream(graph, {"text": ""}, THREAD, subgraphs=True)

    return {"inherits": chunks(counting()), "of its own": chunks(counting(checkpointer=True))}


@example(
    "§4.1 two children with memories of their own in one node, called in another order the next time",
    differs=Differs(
        "stateful subgraph calls told apart by position only",
        lambda there: {"log": ["tea ['tea']", "milk ['milk']", "milk ['milk', 'milk']", "tea ['tea', 'tea']"]},
    ),
)
def children_told_apart(face: Face) -> Any:
    def remembers(name: str) -> Any:
        builder = StateGraph(Log).add_node("add", lambda state: {"log": [name]}).add_edge(START, "add")
        return builder.compile(checkpointer=True, name=name)

    children = {"tea": remembers("tea"), "milk": remembers("milk")}

    def call(state: Log) -> dict[str, Any]:
        order = ["milk", "tea"] if state["log"] else ["tea", "milk"]
        return {"log": [f"{name} {children[name].invoke({'log': []})['log']}" for name in order]}

    graph = StateGraph(Log).add_node(call).add_edge(START, "call").compile(checkpointer=InMemorySaver())
    return [face.invoke(graph, {"log": []}, THREAD) for _ in range(2)][-1]


@example("§4.1 a root graph whose memory would be its parent's")
def root_without_a_parent(face: Face) -> Any:
    return raised(lambda: face.invoke(counting(checkpointer=True), {"runs": 0}, THREAD))


@example("§5.1 reading a child's state from the history of its parent")
def reading_a_child(face: Face) -> Any:
    class Inner(TypedDict):
        text: str
        own: str

    child = StateGraph(Inner).add_sequence(
        [("a", lambda state: {"own": "a's"}), ("b", lambda state: {"text": f"b {state['own']}"})]
    )
    builder = (
        StateGraph(Text)
        .add_node("first", lambda state: {"text": "first"})
        .add_node("child", child.add_edge(START, "a").compile())
    )
    graph = builder.add_edge(START, "first").add_edge("first", "child").compile(checkpointer=InMemorySaver())
    face.invoke(graph, {"text": "in"}, THREAD)
    before = next(one for one in face.history(graph, THREAD) if one.next == ("child",))
    inside = face.get_state(graph, before.config, subgraphs=True).tasks[0].state
    namespace = before.tasks[0].state["configurable"]["checkpoint_ns"]
    history = face.history(graph, before.tasks[0].state)
    return {
        "live": shown(face.get_state(graph, THREAD)),
        "namespace": namespace,
        "inside": shown(inside) if inside is not None else None,
        "history of the child": [shown(one) for one in history],
    }


@example("§4.1 a child that fails is seen while it is pending, and goes on where it stopped")
def child_that_fails(face: Face) -> Any:
    ran: list[str] = []

    def first(state: Log) -> dict[str, Any]:
        ran.append("first")
        return {"log": ["first"]}

    def shaky(state: Log) -> dict[str, Any]:
        ran.append("shaky")
        if ran.count("shaky") == 1:
            raise ConnectionError("down")
        return {"log": ["shaky"]}

    child = StateGraph(Log).add_sequence([first, shaky]).add_edge(START, "first").compile()
    graph = StateGraph(Log).add_node("child", child).add_edge(START, "child").add_edge("child", END)
    graph = graph.compile(checkpointer=InMemorySaver())
    error = raised(lambda: face.invoke(graph, {"log": []}, THREAD))
    state = face.get_state(graph, THREAD, subgraphs=True)
    inside = state.tasks[0].state
    return {
        "error": error,
        "pending": [state.next, inside.next, inside.values],
        "gone on": face.invoke(graph, None, THREAD),
        "ran": ran,
    }


@example("§2.1 the subgraphs of a graph by name")
def subgraphs_by_name(face: Face) -> Any:
    low = StateGraph(Log).add_node("n", lambda state: None).add_edge(START, "n").compile()
    middle = StateGraph(Log).add_node("low", low).add_edge(START, "low").compile()
    graph = StateGraph(Log).add_node("middle", middle).add_node("plain", lambda state: None).add_edge(START, "middle").compile()
    return {
        "one level": [name for name, _ in graph.get_subgraphs()],
        "all": [name for name, _ in graph.get_subgraphs(recurse=True)],
        "by name": [name for name, _ in graph.get_subgraphs(namespace="middle")],
    }
