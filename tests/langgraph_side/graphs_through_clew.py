"""LangGraph's own graphs on a Clew saver: a chat, questions, time travel, graphs within, parallel tasks, on both faces.

Prints what differs from LangGraph's own saver in memory, which should be nothing, and `ok`.
"""

import asyncio
import dataclasses
import operator
import re
import sys
from collections.abc import Callable
from typing import Annotated, Any, TypedDict, cast

from langchain_core.messages import AIMessage
from langgraph import graph as theirs
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, Send, interrupt
from support_savers import opened

from clew.interop.langgraph import as_langgraph_saver

StateGraph: Any = theirs.StateGraph  # its types say little to a strict reader
MessagesState = theirs.MessagesState
START = theirs.START


@dataclasses.dataclass
class Odd:
    """Clew's codec has not heard of it."""

    n: int


class State(TypedDict):
    log: Annotated[list[str], operator.add]
    odd: Odd


def chat(saver: Any) -> Any:
    def say(state: MessagesState) -> Any:
        return {"messages": [AIMessage(f"answer {len(state['messages'])}", id=f"a{len(state['messages'])}")]}

    return StateGraph(MessagesState).add_node(say).add_edge(START, "say").compile(checkpointer=saver)


def asking(saver: Any) -> Any:
    def first(state: State) -> Any:
        return {"log": ["first"], "odd": Odd(len(state["log"]))}

    def second(state: State) -> Any:
        return {"log": [f"{interrupt('which?')} {interrupt('sure?')} {state['odd'].n}"]}

    builder = StateGraph(State).add_node(first).add_node(second)
    return builder.add_edge(START, "first").add_edge("first", "second").compile(checkpointer=saver)


def nested(saver: Any) -> Any:
    def within(state: State) -> Any:
        return {"log": [interrupt("inside?")]}

    def end(state: State) -> Any:
        return {"log": ["end"]}

    inner = StateGraph(State).add_node(within).add_edge(START, "within")
    outer = StateGraph(State).add_node("child", inner.compile()).add_node(end)
    return outer.add_edge(START, "child").add_edge("child", "end").compile(checkpointer=saver)


def fan_out(saver: Any) -> Any:
    def some(state: State) -> Any:
        return [Send("work", {"log": [str(n)]}) for n in range(5)]

    def plan(state: State) -> Any:
        return {"log": ["plan"]}

    def work(state: State) -> Any:
        return {"log": [f"did {state['log'][0]}"]}

    builder = StateGraph(State).add_node(plan).add_node(work)
    return builder.add_edge(START, "plan").add_conditional_edges("plan", some, ["work"]).compile(checkpointer=saver)


Story = list[Any]
CONFIG: Any = {"configurable": {"thread_id": "1"}}


def seen(snapshot: Any) -> Any:
    metadata: dict[str, Any] = snapshot.metadata or {}
    meta = metadata.get("source"), metadata.get("step")
    return snapshot.values, snapshot.next, meta, [(task.name, task.error, len(task.interrupts)) for task in snapshot.tasks]


def plain(story: Story, durability: str) -> Any:
    def told(graph: Any) -> Story:
        found: Story = []
        for given in story:
            if callable(given):
                config, value = cast("Any", given)(graph)
                found.append(graph.invoke(value, config, durability=durability))
            else:
                found.append(graph.invoke(given, CONFIG, durability=durability))
        found += [seen(one) for one in graph.get_state_history(CONFIG)]
        found.append(seen(graph.get_state(CONFIG, subgraphs=True)))
        return found

    return told


def awaited(story: Story, durability: str) -> Any:
    async def told(graph: Any) -> Story:
        found: Story = []
        for given in story:
            if callable(given):
                config, value = cast("Any", given)(graph)
                found.append(await graph.ainvoke(value, config, durability=durability))
            else:
                found.append(await graph.ainvoke(given, CONFIG, durability=durability))
        found += [seen(one) async for one in graph.aget_state_history(CONFIG)]
        found.append(seen(await graph.aget_state(CONFIG, subgraphs=True)))
        return found

    def driven(graph: Any) -> Story:
        return asyncio.run(told(graph))

    return driven


def _older(graph: Any, steps: int) -> Any:
    history = list(graph.get_state_history(CONFIG))  # with durability "exit" there are few
    return history[min(steps, len(history) - 1)]


def back(steps: int) -> Callable[[Any], Any]:
    """Goes on from an older checkpoint."""
    return lambda graph: (_older(graph, steps).config, None)


def edited(graph: Any) -> Any:
    """Edits an older checkpoint, and goes on from there."""
    return graph.update_state(_older(graph, 2).config, {"log": ["edited"]}), None


def answer(value: Any) -> Any:
    return Command(resume=value)


STORIES: dict[str, tuple[Any, Story]] = {
    "chat": (chat, [{"messages": [("user", f"hello {n}")]} for n in range(6)]),
    "questions": (asking, [{"log": ["in"]}, answer("left"), answer("yes")]),
    "time travel": (asking, [{"log": ["in"]}, answer("left"), answer("yes"), back(2), answer("right"), answer("no")]),
    "an edit": (asking, [{"log": ["in"]}, answer("left"), answer("yes"), edited]),
    "within": (nested, [{"log": ["in"]}, answer("inner"), {"log": ["again"]}, answer("once more")]),
    "fan out": (fan_out, [{"log": ["in"]}, {"log": ["again"]}]),
}


def shown(story: Story) -> list[str]:
    """Ids are made anew by every run."""
    return [re.sub(r"id='[0-9a-f-]{32,36}'", "id", repr(one)) for one in story]


def main() -> None:
    wrong = 0
    for name, (graph, story) in STORIES.items():
        for face in (plain, awaited):
            for durability in ("sync", "async", "exit"):
                theirs = shown(face(story, durability)(graph(InMemorySaver())))
                with opened(*sys.argv[1:]) as saver:
                    saver.delete_thread("1")
                    ours = shown(face(story, durability)(graph(as_langgraph_saver(saver))))
                for there, here in zip(theirs, ours, strict=True):
                    if there != here:
                        wrong += 1
                        print(f"{name}, {face.__name__}, {durability}:\n  LangGraph's: {there}\n  Clew's:      {here}")
    print("ok" if not wrong else f"{wrong} differ")


main()
