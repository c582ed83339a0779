# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeArguments=false, reportTypedDictNotRequiredAccess=false, reportIndexIssue=false, reportReturnType=false
# Written as users write, for two packages of which one may not have all of it yet: strict types are for what ships.
"""Waiting for a human: questions in nodes, side by side, one after the other, in Sends and in graphs within graphs."""

import operator
from typing import Annotated, Any, Literal, TypedDict

from clew.checkpoint.memory import InMemorySaver
from clew.graph import START, StateGraph
from clew.types import Command, Send, interrupt
from corpus.harness import Differs, Face, example, in_order, raised

ONE: dict[str, Any] = {"configurable": {"thread_id": "1"}}


class Log(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    n: int


def says(word: str) -> Any:
    return lambda state: {"log": [word]}


def asks(*questions: str) -> Any:
    def node(state: Log) -> Any:
        return {"log": [f"{question} {interrupt(question)}" for question in questions]}

    return node


def asking(**nodes: Any) -> Any:
    builder = StateGraph(Log)
    for name, node in nodes.items():
        builder.add_node(name, node).add_edge(START, name)
    return builder.compile(checkpointer=InMemorySaver())


def open_ids(state: Any) -> list[str]:
    return [found.id for found in state.interrupts]


@example("§5.3 wait for user input")
def wait_for_input(face: Face) -> Any:
    builder = StateGraph(Log).add_node("ask", asks("name?")).add_node("after", says("after")).add_edge(START, "ask")
    graph = builder.add_edge("ask", "after").compile(checkpointer=InMemorySaver())
    paused = face.stream(graph, {"n": 1}, ONE, stream_mode=["values", "updates", "tasks"])
    state = face.get_state(graph, ONE)
    resumed = face.stream(graph, Command(resume="Ann"), ONE, stream_mode=["values", "updates", "tasks"])
    return {"paused": paused, "next": state.next, "asked": state.interrupts, "tasks": state.tasks, "resumed": resumed}


@example("§3.6 a question beside a node that finishes")
def beside_another(face: Face) -> Any:
    graph = asking(ask=asks("?"), other=says("other"))
    paused = face.stream(graph, {"n": 1}, ONE, stream_mode="values")
    state = face.get_state(graph, ONE)
    resumed = face.stream(graph, Command(resume="yes"), ONE, stream_mode=["values", "updates"])
    return {"paused": in_order(paused), "now": [state.values, state.next, state.interrupts], "resumed": resumed}


@example("§6.3.9 two questions in a node: its body runs three times")
def twice_in_a_node(face: Face) -> Any:
    ran = []

    def node(state: Log) -> Any:
        ran.append("node")
        return {"log": [interrupt("first?"), interrupt("second?")]}

    graph = asking(node=node)
    results = [face.invoke(graph, given, ONE) for given in ({"n": 1}, Command(resume="a"), Command(resume="b"))]
    return {"results": results, "ran": ran}


@example("§6.3.10 two questions side by side: one bare answer is refused, one by its id leaves the other open")
def side_by_side(face: Face) -> Any:
    graph = asking(a=asks("a?"), b=asks("b?"))
    face.invoke(graph, {"n": 1}, ONE)
    refused = raised(lambda: face.invoke(graph, Command(resume="?"), ONE))
    first, second = open_ids(face.get_state(graph, ONE))
    half = face.invoke(graph, Command(resume={first: "yes"}), ONE)
    still = open_ids(face.get_state(graph, ONE))
    return {
        "refused": refused,
        "half": half,
        "the other stays": still == [second],
        "both": face.invoke(graph, Command(resume={second: "no"}), ONE),
    }


@example("§3.6 both answered at once, by their ids")
def both_at_once(face: Face) -> Any:
    graph = asking(a=asks("a?"), b=asks("b?"))
    face.invoke(graph, {"n": 1}, ONE)
    answers = {found.id: f"to {found.value}" for found in face.get_state(graph, ONE).interrupts}
    return face.invoke(graph, Command(resume=answers), ONE)


@example("§3.6 questions of Sends")
def questions_of_sends(face: Face) -> Any:
    builder = StateGraph(Log).add_node("each", lambda state: {"log": [interrupt(f"item {state['n']}?")]})
    builder.add_conditional_edges(START, lambda state: [Send("each", {"n": n}) for n in range(3)], ["each"])
    graph = builder.compile(checkpointer=InMemorySaver())
    face.invoke(graph, {"n": 1}, ONE)
    answers = {found.id: found.value.upper() for found in face.get_state(graph, ONE).interrupts}
    return face.invoke(graph, Command(resume=answers), ONE)


@example("§3.6 an answer with an update: the node sees it; None and a new input while a question is open")
def answers_and_inputs(face: Face) -> Any:
    graph = asking(ask=lambda state: {"log": [f"{interrupt('?')} {state.get('n')}"]})
    face.invoke(graph, {"n": 1}, ONE)
    again = face.invoke(graph, None, ONE)
    updated = face.invoke(graph, Command(resume="yes", update={"n": 7}), ONE)
    face.invoke(graph, {"n": 2}, ONE)
    return {"again": again, "updated": updated, "abandoned": face.invoke(graph, {"n": 3}, ONE)}


@example("§5.3 review of a tool call: the answer decides where to go")
def review(face: Face) -> Any:
    def ask(state: Log) -> Command[Literal["do", "dont"]]:
        return Command(goto="do" if interrupt({"call": "pay", "amount": 7}) == "approve" else "dont")

    builder = StateGraph(Log).add_node("ask", ask).add_node("do", says("done")).add_node("dont", says("left"))
    graph = builder.add_edge(START, "ask").compile(checkpointer=InMemorySaver())
    results = []
    for thread, answer in (("1", "approve"), ("2", "reject")):
        config = {"configurable": {"thread_id": thread}}
        results += [face.invoke(graph, {}, config), face.invoke(graph, Command(resume=answer), config)]
    return results


@example("§3.6 an answer when nothing is asked")
def nothing_asked(face: Face) -> Any:
    graph = asking(a=says("a"))
    face.invoke(graph, {"n": 1}, ONE)
    return face.invoke(graph, Command(resume="to whom?"), ONE)


@example(
    "§3.6 answers that are falsy",
    differs=Differs(
        "answers are matched by position only; unknown ids ignored; `None`, `{}` and 32-hex dicts cannot be answers; "
        "`invoke(None)` feeds an old answer to a new question",
        lambda there: {**there, "{}": {"log": ["{}"]}, "None": {"log": ["None"]}},
    ),
)
def falsy_answers(face: Face) -> Any:
    found = {}
    for answer in (False, 0, "", [], {}, None):
        graph = asking(ask=lambda state: {"log": [repr(interrupt("?"))]})
        face.invoke(graph, {}, ONE)
        try:
            found[repr(answer)] = face.invoke(graph, Command(resume=answer), ONE)
        except Exception as error:
            found[repr(answer)] = type(error).__name__
    return found


@example("§3.6 a question in a graph within a graph, two levels down")
def within_graphs(face: Face) -> Any:
    low = StateGraph(Log).add_node("ask", asks("low?")).add_edge(START, "ask").compile()
    middle = StateGraph(Log).add_node("low", low).add_edge(START, "low").compile()
    graph = asking(middle=middle)
    paused = face.invoke(graph, {"n": 1}, ONE)
    state = face.get_state(graph, ONE)
    return {"paused": paused, "next": state.next, "resumed": face.invoke(graph, Command(resume="yes"), ONE)}


@example("§2.2 pauses in version 2")
def in_version_2(face: Face) -> Any:
    graph = asking(ask=asks("?"))
    invoked = face.invoke(graph, {"n": 1}, ONE, version="v2")
    other = {"configurable": {"thread_id": "2"}}
    return {
        "value": invoked.value,
        "interrupts": list(invoked.interrupts),
        "streamed": face.stream(graph, {"n": 1}, other, version="v2", stream_mode=["values", "updates"]),
    }


@example("§3.7 what history shows of a question that was answered")
def history_of_a_question(face: Face) -> Any:
    graph = asking(ask=asks("?"))
    face.invoke(graph, {"n": 1}, ONE)
    before = face.history(graph, ONE)
    face.invoke(graph, Command(resume="yes"), ONE)
    after = face.history(graph, ONE)
    return [
        [[found.next, found.interrupts, [task.result for task in found.tasks]] for found in part] for part in (before, after)
    ]


def line(**options: Any) -> Any:
    builder = StateGraph(Log).add_sequence([("a", says("a")), ("b", says("b")), ("c", says("c"))]).add_edge(START, "a")
    return builder.compile(checkpointer=InMemorySaver(), **options)


@example("§2.5 breakpoints before and after, as compiled and at a call")
def breakpoints(face: Face) -> Any:
    found = {}
    for name, compiled, called in (
        ("before", {"interrupt_before": ["b"]}, {}),
        ("after", {"interrupt_after": ["b"]}, {}),
        ("every", {"interrupt_before": "*"}, {}),
        ("at a call", {}, {"interrupt_before": ["c"]}),
        ("in place of its own", {"interrupt_before": ["b"]}, {"interrupt_before": ["c"]}),
    ):
        graph = line(**compiled)
        runs = [face.stream(graph, {"n": 1}, ONE, stream_mode=["values", "updates"], **called)]
        while face.get_state(graph, ONE).next:
            runs.append([face.get_state(graph, ONE).next, face.invoke(graph, None, ONE, **called)])
        found[name] = runs
    return found


@example("§5.3 edit the state at a breakpoint, and go on")
def edited_at_a_breakpoint(face: Face) -> Any:
    graph = line(interrupt_before=["b"])
    face.invoke(graph, {"n": 1}, ONE)
    graph.update_state(ONE, {"log": ["by hand"]})
    return {"next": face.get_state(graph, ONE).next, "done": face.invoke(graph, None, ONE)}


@example("§3.6 an answer passes a breakpoint as well; a loop stops at each visit")
def breakpoints_passed(face: Face) -> Any:
    graph = line(interrupt_before=["b"])
    face.invoke(graph, {"n": 1}, ONE)
    passed = face.invoke(graph, Command(resume="unused"), ONE)
    builder = StateGraph(Log).add_node("a", says("a")).add_edge(START, "a")
    builder.add_conditional_edges("a", lambda state: "a" if len(state["log"]) < 3 else "__end__", ["a", "__end__"])
    loop = builder.compile(checkpointer=InMemorySaver(), interrupt_before=["a"])
    visits = [face.invoke(loop, {"n": 1}, ONE)]
    while face.get_state(loop, ONE).next:
        visits.append(face.invoke(loop, None, ONE))
    return {"passed": passed, "visits": visits}
