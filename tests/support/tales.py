"""Graphs in rows, and nodes that note when they run."""

from typing import Any

from clew.checkpoint.base import Saver
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.types import interrupt
from support.graphs import Log, says

Config = dict[str, Any]


def line(*nodes: Any, checkpointer: Any = None, schema: Any = Log, **options: Any) -> CompiledStateGraph:
    """Nodes in a row; a name stands for a node that says it."""
    builder = StateGraph(schema).add_sequence([(node, says(node)) if isinstance(node, str) else node for node in nodes])
    return builder.add_edge(START, next(iter(builder.nodes))).compile(checkpointer, **options)


def asks(question: str) -> tuple[str, Any]:
    def node(state: Log) -> Log:
        return {"log": [interrupt(question)]}

    return "asks", node


class Tale:
    """Nodes that note when they run, some of which break once or ask."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.broken: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        def node(state: Log) -> Log:
            self.ran.append(name)
            if name in self.broken:
                self.broken.remove(name)
                raise OSError(f"{name} is broken")
            return {"log": [name]}

        return (name, node)

    def asks(self, name: str, *questions: str) -> Any:
        def node(state: Log) -> Log:
            self.ran.append(name)
            return {"log": [name, *[interrupt(question) for question in questions]]}

        return (name, node)


def waiting_within(saver: Saver) -> CompiledStateGraph:
    low = line("a", asks("well?"), "z")
    return line("top", ("middle", line("m", ("low", low))), "end", checkpointer=saver)


def place_of(snapshot: Any) -> Config:
    """The config of the namespace that a snapshot was taken in."""
    kept = snapshot.config["configurable"]
    return {"configurable": {key: kept[key] for key in ("thread_id", "checkpoint_ns")}}
