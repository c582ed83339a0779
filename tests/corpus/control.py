# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeArguments=false, reportTypedDictNotRequiredAccess=false, reportIndexIssue=false, reportReturnType=false
# Written as users write, for two packages of which one may not have all of it yet: strict types are for what ships.
"""Which node runs when: edges, routes, Sends, Commands, joins, limits."""

import operator
from typing import Annotated, Any, Literal, TypedDict

from clew.checkpoint.memory import InMemorySaver
from clew.errors import GraphRecursionError
from clew.graph import END, START, StateGraph
from clew.managed import IsLastStep, RemainingSteps
from clew.types import Command, Send
from corpus.harness import Differs, Face, example, in_order, raised


class Log(TypedDict):
    log: Annotated[list[str], operator.add]


class Count(TypedDict):
    n: int


def says(word: str) -> Any:
    return lambda state: {"log": [word]}


@example("§5.5 sequence")
def sequence(face: Face) -> Any:
    def boil(state: Log) -> dict[str, Any]:
        return {"log": ["boil"]}

    def brew(state: Log) -> dict[str, Any]:
        return {"log": [f"brew after {len(state['log'])}"]}

    builder = StateGraph(Log).add_sequence([boil, ("steep", brew), brew])
    graph = builder.set_entry_point("boil").set_finish_point("brew").compile()
    return {"result": face.invoke(graph, {}), "updates": face.stream(graph, {"log": ["cup"]})}


@example("§5.5 branches: path_map, a list of names, END, Literal")
def branches(face: Face) -> Any:
    def kind(state: Log) -> Literal["short", "long"]:
        return "long" if len(state["log"][0]) > 3 else "short"

    def which(state: Log) -> str:
        return state["log"][-1]

    builder = StateGraph(Log)
    for name in ("read", "short", "long", "x", "y"):
        builder.add_node(name, says(name))
    builder.add_edge(START, "read").add_conditional_edges("read", kind)
    builder.add_conditional_edges("short", lambda state: ["x", "y"], ["x", "y"])
    builder.add_conditional_edges("long", which, {"long": "x", "other": END})
    builder.add_conditional_edges("y", lambda state: END)
    graph = builder.compile()
    return {"short": face.invoke(graph, {"log": ["abc"]}), "long": face.invoke(graph, {"log": ["abcd"]})}


@example(
    "§1.1 a router that gives no valid place",
    differs=Differs(
        "unknown `goto`/route targets and unknown update keys vanish",
        lambda there: there | {"None": {"raised": "InvalidUpdateError"}, "no such label": {"raised": "InvalidUpdateError"}},
    ),
)
def bad_routes(face: Face) -> Any:
    def runs(path: Any, *more: Any) -> Any:
        graph = StateGraph(Log).add_node("a", says("a")).add_edge(START, "a").add_conditional_edges("a", path, *more).compile()
        return raised(lambda: face.invoke(graph, {}))

    return {
        "None": runs(lambda state: None),
        "an empty list": runs(lambda state: []),
        "no such label": runs(lambda state: "nowhere", {"somewhere": END}),
    }


@example(
    "§1.3 goto and routes to nodes that are not there",
    differs=Differs(
        "unknown `goto`/route targets and unknown update keys vanish", lambda there: {k: {"raised": "Exception"} for k in there}
    ),
)
def unknown_targets(face: Face) -> Any:
    jumps = StateGraph(Log).add_node("a", lambda state: Command(goto="nowhere", update={"log": ["a"]})).add_edge(START, "a")
    routes = StateGraph(Log).add_node("a", says("a")).add_edge(START, "a").add_conditional_edges("a", lambda state: "nowhere")
    sends = StateGraph(Log).add_node("a", lambda state: Command(goto=Send("nowhere", {}))).add_edge(START, "a")
    made = {"goto": jumps, "route": routes, "send": sends}
    return {name: raised(lambda made=made: face.invoke(made.compile(), {})) for name, made in made.items()}


@example("§5.5 loop")
def loop(face: Face) -> Any:
    def step(state: Count) -> dict[str, Any]:
        return {"n": state["n"] * 2}

    def more(state: Count) -> str:
        return "step" if state["n"] < 50 else END

    graph = StateGraph(Count).add_node(step).add_edge(START, "step").add_conditional_edges("step", more).compile()
    return {"result": face.invoke(graph, {"n": 3}), "updates": face.stream(graph, {"n": 13})}


@example("§5.5 recursion limit, and going on from it")
def recursion_limit(face: Face) -> Any:
    builder = StateGraph(Count).add_node("up", lambda state: {"n": state["n"] + 1}).add_edge(START, "up").add_edge("up", "up")
    graph = builder.compile(checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}, "recursion_limit": 4}
    error = raised(lambda: face.invoke(graph, {"n": 0}, thread))
    state = face.get_state(graph, thread)
    return {
        "error": error,
        "by its class": isinstance(error, GraphRecursionError),
        "by its base": isinstance(error, RecursionError),
        "kept": [state.values, state.next],
        "a limit below one": raised(lambda: face.invoke(graph, {"n": 0}, thread | {"recursion_limit": 0})),
    }


@example(
    "§2.6 as many supersteps as the limit, and a run that goes on",
    differs=Differs(
        "N nodes need `recursion_limit ≥ N+1`, a resumed run gets two more",
        lambda there: {"three nodes, limit 3": {"log": ["a", "b", "c"]}, "then": 2, "gone on": 5},
    ),
)
def recursion_limit_counts(face: Face) -> Any:
    three = StateGraph(Log).add_sequence([("a", says("a")), ("b", says("b")), ("c", says("c"))]).add_edge(START, "a").compile()
    builder = StateGraph(Count).add_node("up", lambda state: {"n": state["n"] + 1}).add_edge(START, "up").add_edge("up", "up")
    endless = builder.compile(checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}}
    exact = raised(lambda: face.invoke(three, {}, {"recursion_limit": 3}))
    raised(lambda: face.invoke(endless, {"n": 0}, thread | {"recursion_limit": 2}))
    first = face.get_state(endless, thread).values["n"]
    raised(lambda: face.invoke(endless, None, thread | {"recursion_limit": 3}))
    return {"three nodes, limit 3": exact, "then": first, "gone on": face.get_state(endless, thread).values["n"]}


@example(
    "§5.5 RemainingSteps and IsLastStep: ending before the limit does",
    differs=Differs(
        "N nodes need `recursion_limit ≥ N+1`, a resumed run gets two more",
        lambda there: {"log": ["5 left, last: False", *there["log"]]},
    ),
)
def remaining_steps(face: Face) -> Any:
    class Managed(TypedDict):
        log: Annotated[list[str], operator.add]
        left: RemainingSteps
        last: IsLastStep

    def work(state: Managed) -> dict[str, Any]:
        return {"log": [f"{state['left']} left, last: {state['last']}"]}

    def more(state: Managed) -> str:
        return "wrap_up" if state["left"] <= 2 else "work"

    def wrap_up(state: Managed) -> dict[str, Any]:
        return {"log": [f"wrapped up with {state['left']}, last: {state['last']}"]}

    builder = StateGraph(Managed).add_node(work).add_node(wrap_up).add_edge(START, "work").add_conditional_edges("work", more)
    return face.invoke(builder.compile(), {"log": []}, {"recursion_limit": 5})


@example("§5.5 map-reduce with Send")
def map_reduce(face: Face) -> Any:
    class Topics(TypedDict):
        subject: str
        topics: list[str]
        jokes: Annotated[list[str], operator.add]
        best: str

    class One(TypedDict):
        topic: str

    def plan(state: Topics) -> dict[str, Any]:
        return {"topics": [f"{state['subject']} {n}" for n in (3, 1, 2)]}

    def spread(state: Topics) -> list[Send]:
        return [Send("joke", {"topic": topic}) for topic in state["topics"]]

    def joke(state: One) -> dict[str, Any]:
        return {"jokes": [f"on {state['topic']}; sees {sorted(state)}"]}

    def pick(state: Topics) -> dict[str, Any]:
        return {"best": min(state["jokes"])}

    builder = StateGraph(Topics).add_node(plan).add_node(joke).add_node(pick)
    builder.add_edge(START, "plan").add_conditional_edges("plan", spread, ["joke"]).add_edge("joke", "pick")
    graph = builder.compile()
    return {"result": face.invoke(graph, {"subject": "cats"}), "updates": in_order(face.stream(graph, {"subject": "cats"}))}


@example("§1.3 Sends beside edges, and a Send returned from a node")
def sends_beside_edges(face: Face) -> Any:
    def start(state: Log) -> Any:
        return Command(update={"log": ["start"]}, goto=[Send("echo", {"log": ["z"]}), "named", Send("echo", {"log": ["y"]})])

    def echo(state: Log) -> dict[str, Any]:
        return {"log": [f"echo {state['log']}"]}

    def send_only(state: Log) -> Any:
        return Send("echo", {"log": ["w"]})

    builder = StateGraph(Log).add_node(start).add_node(echo).add_node("named", says("named")).add_node("edge", says("edge"))
    builder.add_node(send_only).add_edge(START, "start").add_edge("start", "edge").add_edge("edge", "send_only")
    return face.invoke(builder.compile(), {"log": ["in"]})


@example("§5.5 Command: update and goto in one")
def command_routing(face: Face) -> Any:
    def triage(state: Log) -> Command[Literal["fix", "thank"]]:
        return Command(update={"log": ["triage"]}, goto="fix" if "broken" in state["log"][0] else "thank")

    def fix(state: Log) -> Command[Literal["thank"]]:
        return Command(update={"log": ["fix"]}, goto="thank")

    def thank(state: Log) -> Command[Literal["__end__"]]:
        return Command(update={"log": ["thank"]}, goto=END)

    graph = StateGraph(Log).add_node(triage).add_node(fix).add_node(thank).add_edge(START, "triage").compile()
    return [face.invoke(graph, {"log": ["broken cup"]}), face.stream(graph, {"log": ["nice cup"]})]


@example("§2.8 a Command's goto and the node's static edges: both run")
def goto_and_edges(face: Face) -> Any:
    builder = StateGraph(Log).add_node("a", lambda state: Command(goto=["b", "b"], update={"log": ["a"]}))
    builder.add_node("b", says("b")).add_node("c", says("c")).add_edge(START, "a").add_edge("a", "c")
    return face.invoke(builder.compile(), {})


@example("§2.8 fan-out, fan-in: a join once, plain edges as often as they are reached")
def joins(face: Face) -> Any:
    def drawn(*edges: Any) -> Any:
        builder = StateGraph(Log)
        for name in ("a", "b", "b2", "c"):
            builder.add_node(name, says(name))
        for start, end in [(START, "a"), (START, "b"), ("b", "b2"), *edges]:
            builder.add_edge(start, end)
        return builder.compile()

    return {
        "join": face.invoke(drawn((["a", "b2"], "c")), {}),
        "edges": face.invoke(drawn(("a", "c"), ("b2", "c")), {}),
        "same length": face.invoke(drawn(("a", "c"), ("b", "c")), {}),
    }


@example("§2.8 a join that one source never reaches, and a later run that completes it")
def half_a_join(face: Face) -> Any:
    builder = StateGraph(Log).add_node("a", says("a")).add_node("b", says("b")).add_node("c", says("c"))
    builder.add_conditional_edges(START, lambda state: state["log"][-1], ["a", "b"]).add_edge(["a", "b"], "c")
    graph = builder.compile(checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}}
    return [face.invoke(graph, {"log": [which]}, thread) for which in ("a", "a", "b", "b")]


@example("§5.5 defer: when nothing else is left")
def deferred(face: Face) -> Any:
    builder = StateGraph(Log)
    for name in ("long", "longer", "longest", "short"):
        builder.add_node(name, says(name))
    builder.add_node("sum", lambda state: {"log": [f"sum of {len(state['log'])}"]}, defer=True)
    for start, end in [
        (START, "long"),
        (START, "short"),
        ("long", "longer"),
        ("longer", "longest"),
        ("longest", "sum"),
        ("short", "sum"),
    ]:
        builder.add_edge(start, end)
    graph = builder.compile()
    return {"result": face.invoke(graph, {}), "updates": len(face.stream(graph, {}))}


@example("§1.1 a router sees its own node's write and not its sibling's")
def what_a_router_sees(face: Face) -> Any:
    def path(state: Log) -> str:
        return "saw_" + "_".join(state["log"])

    builder = StateGraph(Log).add_node("a", says("a")).add_node("b", says("b"))
    builder.add_node("saw_in_a", says("routed by a")).add_node("saw_in_b", says("routed by b"))
    builder.add_edge(START, "a").add_edge(START, "b")
    builder.add_conditional_edges("a", path, ["saw_in_a", "saw_in_b"]).add_conditional_edges(
        "b", path, ["saw_in_a", "saw_in_b"]
    )
    return face.invoke(builder.compile(), {"log": ["in"]})


@example("§1.1 the first node chosen by the input")
def conditional_entry(face: Face) -> Any:
    builder = StateGraph(Log).add_node("tea", says("tea")).add_node("coffee", says("coffee"))
    builder.set_conditional_entry_point(lambda state: state["log"][0], {"t": "tea", "c": "coffee", "both": END})
    graph = builder.compile()
    return {key: face.invoke(graph, {"log": [key]}) for key in ("t", "c", "both")}
