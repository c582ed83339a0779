"""Any story of a thread on which people are asked: by two processes in turn, with updates, failures and new inputs between.

What was asked stays asked, under the same id, until it is answered or dropped; what has run does not run again.
"""

import operator
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Final, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.faces import Face

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import MemoryStorage
from clew.errors import DroppedWorkWarning, EmptyInputError, UnknownInterrupt
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.types import Command, Send, interrupt

THREAD: Final[dict[str, Any]] = {"configurable": {"thread_id": "1"}}
ACTS: Final = ("new", "answer", "answer", "answer and fail", "update", "goto", "resume", "edit", "unknown")
ASKED: Final = ["node 0?", "sent 1?", "sent 2?", "within 0?"]


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    turn: int


class Story:
    """Two processes over one storage. A turn asks in a node, in two Sends and in a graph within, all beside one another.

    Attributes:
        open: what is asked, by the ids. ran: how often each node that asks nothing has run in a turn.
    """

    def __init__(self) -> None:
        self.storage = MemoryStorage()
        self.open: dict[str, str] = {}
        self.ran = Counter[tuple[str, int]]()
        self.turn = 0
        self.failing = False
        self.graphs = [self.build(), self.build()]

    def build(self) -> CompiledStateGraph:
        inner = StateGraph(State).add_node("before", self.quick("before")).add_node("ask", self.asking("within"))
        inner.add_edge(START, "before").add_edge("before", "ask")
        builder = StateGraph(State).add_node("within", inner.compile()).add_node("node", self.asking("node"))
        builder.add_node("sent", self.asking("sent")).add_node("quick", self.quick("quick"))
        builder.add_conditional_edges(
            START, lambda state: ["node", "within", "quick", Send("sent", {"n": 1}), Send("sent", {"n": 2})]
        )
        return builder.compile(Saver(self.storage))

    def quick(self, name: str) -> Callable[[State], State]:
        def node(state: State) -> State:
            self.ran[name, state.get("turn", 0)] += 1
            return {"log": [name]}

        return node

    def asking(self, name: str) -> Callable[[Any], State]:
        def node(state: Any) -> State:
            asked = f"{name} {state.get('n', 0)}?"
            answer = interrupt(asked)
            if self.failing:
                raise OSError("as told")
            return {"log": [f"{asked} {answer}"]}

        return node

    def act(self, who: int, what: str, which: int) -> None:
        """Does it, and sees that what stays open does."""
        graph, staying = self.graphs[who], dict(self.open)
        self.failing = what == "answer and fail"
        given: Any = None
        if what.startswith("answer") and self.open:
            answered = sorted(self.open)[which % len(self.open)]
            del staying[answered]
            given = Command(resume={answered: which})
        elif what == "update":
            given = Command(update={"log": ["beside"]})
        elif what == "goto":
            given = Command(goto=["node", "within"][which % 2])
        elif what == "unknown":
            given = Command(resume={"0" * 32: which})
        elif what == "new":
            self.turn, staying = self.turn + 1, {}
            given = {"turn": self.turn}
        with warnings.catch_warnings(), suppress(OSError, EmptyInputError, UnknownInterrupt):
            warnings.simplefilter("ignore", DroppedWorkWarning)
            if what == "edit":
                staying = {}
                graph.update_state(THREAD, {"log": ["edited"]}, "quick")
            else:
                graph.invoke(given, THREAD)
        self.open = self.read()
        assert staying.items() <= self.open.items()

    def read(self) -> dict[str, str]:
        """What is open, as both processes and a third one see it."""
        first, *others = [graph.get_state(THREAD) for graph in (*self.graphs, self.build())]
        assert all(other == first for other in others)
        return {found.id: found.value for found in first.interrupts}


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from(ACTS), st.integers(0, 30)), max_size=9))
def test_what_was_asked_stays_asked(acts: list[tuple[int, str, int]]) -> None:
    story = Story()
    story.act(0, "new", 0)
    assert sorted(story.open.values()) == ASKED
    for act in acts:
        story.act(*act)
    assert all(times == 1 for (name, _), times in story.ran.items() if name == "quick")


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_answers_with_updates_between_end_the_turn(order: tuple[int, ...]) -> None:
    story = Story()
    story.act(0, "new", 0)
    ids = sorted(story.open)
    for number, place in enumerate(order):
        story.graphs[0].invoke(Command(update={"log": ["beside"]}), THREAD)
        story.graphs[1].invoke(Command(resume={ids[place]: number}), THREAD)
        story.open = story.read()
    state = story.graphs[0].get_state(THREAD)
    assert (state.next, story.open) == ((), {})
    assert sorted(line[:-2] for line in state.values["log"] if "?" in line) == ASKED
    assert story.ran == {("quick", 1): 1, ("before", 1): 1}


@pytest.mark.parametrize("goto", [(), ("within",)])
def test_an_update_beside_a_question_leaves_it_what_it_was(face: Face, saver: Saver, goto: tuple[str, ...]) -> None:
    story = Story()
    inner = StateGraph(State).add_node("before", story.quick("before")).add_node("ask", story.asking("within"))
    inner.add_edge(START, "before").add_edge("before", "ask")
    graph = StateGraph(State).add_node("within", inner.compile()).add_edge(START, "within").compile(saver)
    asked = face.invoke(graph, {"turn": 1}, THREAD)["__interrupt__"]
    task = face.get_state(graph, THREAD).tasks[0].id
    again = face.invoke(graph, Command(update={"log": ["beside"]}, goto=goto), THREAD)
    assert (again["log"], again["__interrupt__"]) == (["beside"], asked)
    assert face.get_state(graph, THREAD).tasks[0].id == task
    after = face.invoke(graph, Command(resume={asked[0].id: "yes"}), THREAD)
    assert after["log"] == ["beside", "before", "within 0? yes"]
    assert story.ran.total() == 1
