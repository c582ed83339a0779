"""Writes threads as LangGraph does: `write.py URL STORY …`, each on a thread of the story's name.

Prints what LangGraph shows of them afterwards, as one JSON document by story: the state, and the history, oldest first.
"""

import contextlib
import json
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any


def translated(name: str) -> Any:
    """A module beside this one, with the name of the package changed."""
    text = Path(__file__).with_name(f"{name}.py").read_text()
    module = ModuleType(name)
    sys.modules[name] = module
    exec(compile(text.replace("from clew.", "from langgraph."), f"{name}.py", "exec"), module.__dict__)
    return module


graphs = translated("graphs")
Command: Any = graphs.Command


def saver(url: str) -> Any:
    if url.startswith("shallow+"):  # one checkpoint only, of each namespace
        shallow = import_module("langgraph.checkpoint.postgres.shallow").ShallowPostgresSaver
        return shallow.from_conn_string(url.removeprefix("shallow+"))
    if url.startswith("postgresql://"):
        return import_module("langgraph.checkpoint.postgres").PostgresSaver.from_conn_string(url)
    return import_module("langgraph.checkpoint.sqlite").SqliteSaver.from_conn_string(url)


class Thread:
    """The thread of one story."""

    def __init__(self, kept: Any, name: str) -> None:
        self.kept = kept
        self.config: Any = {"configurable": {"thread_id": name}, "metadata": {"by": "tests"}}

    def run(self, graph: Any, *inputs: Any, fails: tuple[str, ...] = ()) -> None:
        graphs.FAILING.update(fails)
        for given in inputs:
            with contextlib.suppress(ValueError):
                graph.invoke(given, self.config)
        graphs.FAILING.clear()


def ended(thread: Thread) -> Any:
    graph = graphs.chain("one", "two").compile(checkpointer=thread.kept)
    thread.run(graph, {"name": "a", "items": ["in"]}, {"items": ["again"]})
    return graph


def paused(thread: Thread) -> Any:
    graph = graphs.wide().compile(checkpointer=thread.kept)
    thread.run(graph, {"name": "a", "items": []}, Command(resume="a1"))
    return graph


def half(thread: Thread) -> Any:
    graph = graphs.pair().compile(checkpointer=thread.kept)
    thread.run(graph, {"items": []}, fails=("right",))
    return graph


def half_sent(thread: Thread) -> Any:
    graph = graphs.wide().compile(checkpointer=thread.kept)
    thread.run(graph, {"items": []}, fails=("sent 1", "beside"))
    return graph


def again(thread: Thread) -> Any:
    """Both fail, then one does not: it has an error and an outcome."""
    graph = graphs.pair().compile(checkpointer=thread.kept)
    thread.run(graph, {"items": []}, fails=("left", "right"))
    thread.run(graph, None, fails=("right",))
    return graph


def several(thread: Thread) -> Any:
    graph = graphs.two_ask().compile(checkpointer=thread.kept)
    thread.run(graph, {"items": []})
    return graph


def stopped(thread: Thread) -> Any:
    graph = graphs.chain("one", "two", "three").compile(checkpointer=thread.kept, interrupt_before=["two"])
    thread.run(graph, {"items": []})
    return graph


def forked(thread: Thread) -> Any:
    graph = graphs.chain("one", "two").compile(checkpointer=thread.kept)
    thread.run(graph, {"items": ["in"]})
    old = next(one for one in graph.get_state_history(thread.config) if one.next == ("two",))
    graph.invoke(None, old.config)
    edited = graph.update_state(old.config, {"items": ["edited"]}, as_node="one")
    graph.invoke(None, edited)
    return graph


def edited(thread: Thread) -> Any:
    graph = graphs.pair().compile(checkpointer=thread.kept)
    thread.run(graph, {"items": []}, fails=("both",))
    graph.update_state(thread.config, {"items": ["edited"]}, as_node="both")
    return graph


def sent(thread: Thread) -> Any:
    graph = graphs.going().compile(checkpointer=thread.kept)
    thread.run(graph, {"items": []}, fails=("sent 7",))
    return graph


def talk(thread: Thread) -> Any:
    graph = graphs.talking().compile(checkpointer=thread.kept)
    thread.run(graph, {"messages": [("user", "hi")]}, {"messages": {"role": "user", "content": "weather?"}})
    return graph


def family(thread: Thread) -> Any:
    graph = graphs.families().compile(checkpointer=thread.kept)
    thread.run(graph, {"items": []}, Command(resume="r1"), Command(resume="r2"), {"items": ["second"]}, Command(resume="s1"))
    return graph


def work(thread: Thread) -> Any:
    graph = graphs.workflow(thread.kept)
    thread.run(graph, 3, Command(resume="yes"), 5)
    return graph


def first_work(thread: Thread) -> Any:
    graph = graphs.workflow(thread.kept)
    thread.run(graph, 3)
    return graph


def exiting(thread: Thread) -> Any:
    graph = graphs.chain("one", "two").compile(checkpointer=thread.kept)
    graph.invoke({"items": ["in"]}, thread.config, durability="exit")
    graph.invoke({"items": ["again"]}, thread.config, durability="exit")
    return graph


@dataclass
class Elsewhere:
    """A type of the program that wrote the thread."""

    value: Any


def types(thread: Thread) -> Any:
    graph = translated("types_kept").keeping().compile(checkpointer=thread.kept)
    thread.run(graph, {"kept": {}})
    return graph


def foreign(thread: Thread) -> Any:
    graph = graphs.chain("one").compile(checkpointer=thread.kept)
    thread.run(graph, {"items": [Elsewhere([1, Elsewhere("deep")]), ValueError("kept as text")]})
    return graph


def pickled(thread: Thread) -> None:
    """What only pickle can keep."""
    JsonPlusSerializer: Any = import_module("langgraph.checkpoint.serde.jsonplus").JsonPlusSerializer
    plain, thread.kept.serde = thread.kept.serde, JsonPlusSerializer(pickle_fallback=True)
    graph = graphs.chain("one").compile(checkpointer=thread.kept)
    thread.run(graph, {"items": [complex(1, 2)]})
    thread.kept.serde = plain


STORIES = (
    ended,
    paused,
    half,
    half_sent,
    again,
    several,
    stopped,
    forked,
    edited,
    sent,
    talk,
    family,
    work,
    first_work,
    exiting,
    types,
    foreign,
)


def seen(graph: Any, config: Any) -> dict[str, Any]:
    state = graph.get_state(config)
    history = [
        {"source": one.metadata["source"], "step": one.metadata["step"], "values": one.values, "next": list(one.next),
         "id": one.config["configurable"]["checkpoint_id"], "created": one.created_at}
        for one in graph.get_state_history(config)
    ]  # fmt: skip
    asked = [one.value for task in state.tasks for one in task.interrupts]
    return {"values": state.values, "next": list(state.next), "asked": asked, "history": history[::-1]}


def plain(value: Any) -> Any:
    return value.model_dump(exclude={"id"}) if hasattr(value, "model_dump") else repr(value)


if __name__ == "__main__":
    url, *names = sys.argv[1:]
    with saver(url) as kept:
        if hasattr(kept, "setup"):
            kept.setup()
        told: dict[str, Any] = {}
        if "pickled" in names:
            pickled(Thread(kept, "pickled"))
        for story in STORIES:
            if not names or story.__name__ in names:
                thread = Thread(kept, story.__name__)
                told[story.__name__] = seen(story(thread), thread.config)
    print(json.dumps(told, default=plain))
