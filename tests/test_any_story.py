"""Any story of a thread: runs, failures, resumptions and forks, by two processes in turn. Whoever reads it reads the same."""

import operator
import warnings
from typing import Annotated, Any, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import MemoryStorage
from clew.errors import DroppedWorkWarning, EmptyInputError
from clew.graph import START, StateGraph, add_messages
from clew.graph.compiled import CompiledStateGraph
from clew.testing.values import same

THREAD: dict[str, Any] = {"configurable": {"thread_id": "1"}}


def last_five(current: list[Any], update: list[Any]) -> list[Any]:
    """A reducer that promises nothing: it drops, turns round, and changes in place."""
    current.extend(update)
    return current[:-6:-1]


class State(TypedDict, total=False):
    messages: Annotated[list[Any], add_messages]
    log: Annotated[list[Any], operator.add]
    few: Annotated[list[Any], last_five]
    facts: Annotated[dict[str, Any], operator.or_]  # pyright: ignore[reportUnknownMemberType]  (untyped in typeshed)
    plain: Any


class Story:
    """Two processes, each with a saver of its own that remembers, over one storage."""

    def __init__(self) -> None:
        self.storage = MemoryStorage()
        self.failing = False
        self.turns = 0
        self.graphs = [self.build(), self.build()]

    def build(self) -> CompiledStateGraph:
        builder = StateGraph(State).add_node("one", self.one).add_node("two", self.two).add_node("three", self.three)
        builder.add_edge(START, "one").add_edge(START, "two").add_edge(["one", "two"], "three")
        return builder.compile(Saver(self.storage))

    def one(self, state: State) -> Any:
        self.turns += 1
        log = state.get("log", [])
        if log and self.turns % 3 == 0:
            log[-1]["seen"] = self.turns  # changed in place, and returned
            return {"log": [log[-1]], "plain": (self.turns, {"of": [log[0]]})}
        return {"log": [{"turn": self.turns, "text": "x" * 100}], "facts": {str(self.turns % 4): {"since": self.turns}}}

    def two(self, state: State) -> Any:
        if self.failing:
            raise OSError("as told")
        return {"few": [self.turns, "y" * 80], "facts": {"two": [self.turns]}}

    def three(self, state: State) -> Any:
        messages = state.get("messages", [])
        if len(messages) > 3 and self.turns % 2:
            return {"messages": [RemoveMessage(id=messages[0].id), AIMessage("edited", id=messages[1].id)]}
        return {"messages": AIMessage(f"answer {self.turns}" + "z" * 100)}

    def act(self, who: int, what: str, which: int) -> None:
        graph = self.graphs[who]
        self.failing = what == "fails"
        past = list(graph.get_state_history(THREAD))
        at = past[which % len(past)].config if past and what == "from" else THREAD
        if what == "edit":
            self.edit(graph, past[which % len(past)].config if past and which % 2 else THREAD, which)
            return
        given = None if what in ("resume", "from") else {"messages": [HumanMessage(f"hello {which}")], "few": [which]}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DroppedWorkWarning)
                graph.invoke(given, at)
        except (OSError, EmptyInputError):
            pass

    def edit(self, graph: CompiledStateGraph, at: Any, which: int) -> None:
        log = graph.get_state(at).values.get("log", [])
        edited = [{**log[0], "edited": which}] if log else []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DroppedWorkWarning)
            graph.update_state(at, {"log": edited, "few": [which], "facts": {"edit": which}}, ["one", "three"][which % 2])

    def readers(self) -> list[Any]:
        return [graph.get_state(THREAD) for graph in (*self.graphs, self.build())]


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from(["run", "fails", "resume", "from", "edit"]), st.integers(0, 30)),
        max_size=9,
    )
)
def test_whoever_reads_a_thread_reads_the_same(acts: list[tuple[int, str, int]]) -> None:
    story = Story()
    for act in acts:
        story.act(*act)
        first, *others = story.readers()
        for other in others:
            assert same(first.values, other.values)
            assert first == other
    whole = [list(graph.get_state_history(THREAD)) for graph in (*story.graphs, story.build())]
    assert whole[0] == whole[1] == whole[2]
    for shown in whole[0]:
        assert story.build().get_state(shown.config) == shown
