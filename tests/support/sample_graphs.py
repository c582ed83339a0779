"""Thirteen graphs of the kinds that people draw, for tests that try every storage call of each."""

import operator
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypedDict

from langchain_core.tools import tool

from clew.checkpoint.base import Saver
from clew.func import entrypoint, task
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.prebuilt import create_react_agent
from clew.types import Command, RetryPolicy, Send, interrupt
from support.agents import Thinker, shop
from support.graphs import Log, says
from support.tales import asks, line

Build = Callable[[Saver], CompiledStateGraph]
IN: dict[str, Any] = {"log": ["in"]}


class Sample(NamedTuple):
    """A graph, and the inputs that one of its threads is given."""

    build: Build
    given: tuple[Any, ...] = (IN,)


def fan_out(saver: Saver) -> CompiledStateGraph:
    """Four nodes side by side, a join that waits for three of them, and one that does not."""
    builder = StateGraph(Log)
    for name in ("a", "b", "c", "d", "joined", "after"):
        builder.add_node(name, says(name))
    for name in "abcd":
        builder.add_edge(START, name)
    return builder.add_edge(["a", "b", "c"], "joined").add_edge("d", "after").compile(saver)


def map_reduce(saver: Saver) -> CompiledStateGraph:
    """A Send for each of the items, and one node that waits for all."""
    builder = StateGraph(Log).add_node("work", lambda item: {"log": [f"did {item}"]}).add_node("reduce", says("reduced"))
    builder.add_conditional_edges(START, lambda state: [Send("work", number) for number in range(4)])
    return builder.add_edge("work", "reduce").compile(saver)


def nested(saver: Saver) -> CompiledStateGraph:
    """Three levels of graphs as nodes, each with a node before and one after."""
    low = line("low-1", "low-2")
    middle = line("middle-1", ("low", low), "middle-2")
    return line("top-1", ("middle", middle), "top-2", checkpointer=saver)


def nested_calls(saver: Saver) -> CompiledStateGraph:
    """Graphs that functions call: the same one twice in one task, with another within."""
    low = line("low")

    def calls(state: Log) -> Log:
        return {"log": [*low.invoke({"log": []})["log"], "called"]}

    middle = line(calls)

    def twice(state: Log) -> Log:
        return {"log": [word for _ in range(2) for word in middle.invoke({"log": []})["log"]]}

    return line(twice, "end", checkpointer=saver)


def memory(saver: Saver) -> CompiledStateGraph:
    """A graph within that remembers, over two inputs, with one more within it that does."""

    class Count(TypedDict, total=False):
        runs: Annotated[int, operator.add]
        said: str

    def count(state: Count) -> Count:
        return {"runs": 1, "said": f"run {state.get('runs', 0) + 1}"}

    deep = line(count, schema=Count, checkpointer=True, name="deep")

    def both(state: Count) -> Count:
        return {"runs": 1, "said": f"{state.get('runs', 0) + 1} with {deep.invoke({})['said']}"}

    child = line(both, schema=Count, checkpointer=True)

    def call(state: Log) -> Log:
        return {"log": [child.invoke({})["said"]]}

    return line(call, "end", checkpointer=saver)


def two_questions(saver: Saver) -> CompiledStateGraph:
    """A node that asks, then calls a tool that asks, between two others."""

    @tool
    def approve(question: str) -> str:
        """Ask a human."""
        return interrupt(question)

    def twice(state: Log) -> Log:
        return {"log": [interrupt("one?"), approve.invoke({"question": "two?"})]}

    return line("before", twice, "after", checkpointer=saver)


def questions_side_by_side(saver: Saver) -> CompiledStateGraph:
    """Two that ask and one that does not, then one that waits for all three."""
    builder = StateGraph(Log).add_node("plain", says("plain")).add_node("end", says("end"))
    for name in ("ann", "bob"):
        builder.add_node(name, asks(f"{name}?")[1]).add_edge(START, name)
    return builder.add_edge(START, "plain").add_edge(["ann", "bob", "plain"], "end").compile(saver)


def deep_questions(saver: Saver) -> CompiledStateGraph:
    """A question two levels down, in one of two graphs that run side by side."""
    low = line("low-1", asks("deep?"), "low-2")
    builder = StateGraph(Log).add_node("asking", line("middle", ("low", low))).add_node("other", line("other-1", "other-2"))
    builder.add_node("end", says("end")).add_edge(START, "asking").add_edge(START, "other")
    return builder.add_edge(["asking", "other"], "end").compile(saver)


def retries(saver: Saver) -> CompiledStateGraph:
    """A node that fails once, one whose graph within does, and an error handler."""
    failed: set[str] = set()

    def once(name: str) -> Any:
        def node(state: Log) -> Log:
            if name not in failed:
                failed.add(name)
                raise OSError(name)
            return {"log": [name]}

        return node

    def hopeless(state: Log) -> Log:
        raise ValueError("hopeless")

    def mend(state: Log) -> Log:
        return {"log": ["mended"]}

    again = RetryPolicy(initial_interval=0, jitter=False, retry_on=OSError)
    child = line("within-1", ("within-2", once("within-2")))
    builder = StateGraph(Log).add_node("shaky", once("shaky"), retry_policy=again)
    builder.add_node("child", child, retry_policy=again).add_node("hopeless", hopeless, error_handler=mend)
    return builder.add_edge(START, "shaky").add_edge("shaky", "child").add_edge("child", "hopeless").compile(saver)


def loop(saver: Saver) -> CompiledStateGraph:
    """A router that loops, a Command that goes and sends, a deferred node."""

    def again(state: Log) -> Any:
        return "body" if len(state.get("log", [])) < 6 else "leave"

    def leave(state: Log) -> Any:
        return Command(update={"n": 1}, goto=[Send("sent", 1), "named"])

    builder = StateGraph(Log).add_node("body", says("body")).add_node("leave", leave)
    builder.add_node("sent", lambda number: {"log": [f"sent {number}"]}).add_node("named", says("named"))
    builder.add_node("last", says("last"), defer=True).add_edge(START, "body").add_edge(START, "last")
    return builder.add_conditional_edges("body", again).compile(saver)


def calling_up(saver: Saver) -> CompiledStateGraph:
    """A graph within that goes on in the one around it, and a breakpoint in another."""

    def up(state: Log) -> Any:
        return Command(graph=Command.PARENT, goto="rescued", update={"log": ["up"]})

    builder = StateGraph(Log).add_node("child", line("first", up)).add_node("rescued", says("rescued"))
    builder.add_node("stops", line("stop-1", "stop-2", interrupt_before=["stop-2"])).add_edge("rescued", "stops")
    return builder.add_edge(START, "child").compile(saver)


def workflow(saver: Saver) -> CompiledStateGraph:
    """An entrypoint with tasks, one of which asks and one calls a graph; it remembers what it returned."""
    child = line("within")

    @task
    def work(number: int) -> str:
        return f"did {number}"

    @task
    def ask(question: str) -> str:
        return f"{question} {interrupt(question)}"

    @task
    def call() -> list[str]:
        return child.invoke({"log": []})["log"]

    @entrypoint(checkpointer=saver)
    def flow(given: Any, *, previous: Any = None) -> Any:
        done = [work(number).result() for number in range(2)]
        return entrypoint.final(value=[previous, *done, ask("well?").result(), *call().result()], save=given)

    return flow


def agent(saver: Saver) -> CompiledStateGraph:
    """A prebuilt agent with two calls at once, of tools that may run twice."""
    return create_react_agent(Thinker(), shop(Counter()), checkpointer=saver, on_unknown="retry")


ASKED = tuple({"messages": [{"role": "user", "content": text, "id": text}]} for text in ("buy tea, buy cup", "thanks"))
SAMPLES: dict[str, Sample] = {
    build.__name__: Sample(build, given)
    for build, given in (
        (fan_out, (IN,)),
        (map_reduce, (IN,)),
        (nested, (IN,)),
        (nested_calls, (IN,)),
        (memory, (IN, IN)),
        (two_questions, (IN,)),
        (questions_side_by_side, (IN,)),
        (deep_questions, (IN,)),
        (retries, (IN,)),
        (loop, (IN, IN)),
        (calling_up, (IN,)),
        (workflow, (1, 2)),
        (agent, ASKED),
    )
}
