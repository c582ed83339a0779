"""A graph that is a node is handed the state by the engine alone, and hands its own back: what is kept is not encoded again
for that, and is kept as it came to be all the same (DESIGN §4, the soundness rule)."""

import operator
from copy import deepcopy
from typing import Annotated, Any, TypedDict

import pytest
from support.faces import Face

from clew.checkpoint import ledger
from clew.checkpoint.base import Saver
from clew.checkpoint.memory import InMemorySaver
from clew.graph import START, StateGraph
from clew.types import Command

BIG = "x" * 200


class State(TypedDict, total=False):
    x: Annotated[list[Any], operator.add]
    y: Annotated[list[Any], operator.add]
    plain: Any


class Whole(TypedDict, total=False):
    """As `State`, but what is written takes the place of what is there: a graph inside gives back what it was given."""

    x: list[Any]
    y: list[Any]
    plain: Any
    table: dict[str, Any]


def chained(schema: Any, *nodes: Any, **options: Any) -> Any:
    builder: Any = StateGraph(schema)
    before = START
    for number, node in enumerate(nodes):
        builder.add_node(f"n{number}", node)
        builder.add_edge(before, f"n{number}")
        before = f"n{number}"
    return builder.compile(**options)


def both(face: Face, build: Any, *inputs: Any) -> tuple[Any, Any]:
    """The state in memory after some runs, and as another process reads it; with those of the graphs inside."""
    saver = InMemorySaver()
    graph = build(saver)
    config = {"configurable": {"thread_id": "1"}}
    for one in inputs:
        face.invoke(graph, deepcopy(one), config)
    return _states(graph, config), _states(build(Saver(saver.storage)), config)


def _states(graph: Any, config: Any) -> list[Any]:
    return [graph.get_state(config).values, *[one.values for one in graph.get_state_history(config)]]


def touch(state: Any) -> Any:
    state["x"][0]["seen"] = state["x"][0].get("seen", 0) + 1
    return {"x": [*state["x"]]}


def touch_in_silence_and_tell_elsewhere(state: Any) -> Any:
    state["x"][0]["seen"] = state["x"][0].get("seen", 0) + 1
    return {"y": [state["x"][0]]}


def nothing(state: Any) -> Any:
    return {}


def adds(state: Any) -> Any:
    return {"x": [*state["x"], {"text": BIG, "n": len(state["x"])}]}


def adds_one(state: Any) -> Any:
    return {"x": [{"text": BIG, "n": len(state["x"])}]}


def hands_up(state: Any) -> Any:
    state["x"][0]["seen"] = state["x"][0].get("seen", 0) + 1
    return Command(graph=Command.PARENT, update={"x": [*state["x"]]})


GIVEN: Any = {"x": [{"text": BIG}, {"text": "other"}], "plain": 7, "table": {"a": {"b": BIG}}}


@pytest.mark.parametrize("inner", [touch, touch_in_silence_and_tell_elsewhere, nothing, adds, hands_up])
@pytest.mark.parametrize("remembers", [None, True, False])
def test_what_a_graph_inside_makes_of_what_it_is_given_is_kept(face: Face, inner: Any, remembers: Any) -> None:
    def build(saver: Any) -> Any:
        return chained(Whole, chained(Whole, inner, checkpointer=remembers), nothing, checkpointer=saver)

    live, stored = both(face, build, GIVEN, {"plain": 8}, {"plain": 9})
    assert live == stored
    assert live[0]["x"][0].get("seen", 0) == {touch: 3, touch_in_silence_and_tell_elsewhere: 3, hands_up: 3}.get(inner, 0)
    assert len(live[0]["x"]) == (5 if inner is adds else 2)


@pytest.mark.parametrize("inner", [touch, touch_in_silence_and_tell_elsewhere, nothing, adds])
def test_through_three_levels(face: Face, inner: Any) -> None:
    def build(saver: Any) -> Any:
        third = chained(Whole, inner, nothing)
        return chained(Whole, chained(Whole, nothing, chained(Whole, third, nothing)), nothing, checkpointer=saver)

    live, stored = both(face, build, GIVEN, {"plain": 8})
    assert live == stored


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_whenever_it_is_kept(face: Face, durability: Any) -> None:
    saver = InMemorySaver()
    graph = chained(Whole, chained(Whole, touch), chained(Whole, adds), checkpointer=saver)
    config: Any = {"configurable": {"thread_id": "1"}}
    for one in (GIVEN, {"plain": 8}):
        face.invoke(graph, deepcopy(one), config, durability=durability)
    other = chained(Whole, chained(Whole, touch), chained(Whole, adds), checkpointer=Saver(saver.storage))
    assert other.get_state(config).values == graph.get_state(config).values
    assert [one.get("seen") for one in graph.get_state(config).values["x"]] == [2, None, None, None]


@pytest.mark.parametrize("first", ["a", "z"])
def test_a_sibling_that_touches_what_a_graph_was_given_at_the_same_time(face: Face, first: str) -> None:
    """Named before or after the graph, so that it is folded before or after."""

    def build(saver: Any) -> Any:
        builder: Any = StateGraph(State)
        builder.add_node("graph", chained(State, nothing))
        builder.add_node(first, touch_in_silence_and_tell_elsewhere)
        builder.add_edge(START, "graph")
        builder.add_edge(START, first)
        return builder.compile(checkpointer=saver)

    live, stored = both(face, build, {"x": [{"text": BIG}]}, {"plain": 8})
    assert live[0] == stored[0]
    assert live[0]["x"][0]["seen"] == 2


def test_a_reducer_that_adds_what_comes_back_to_what_is_there(face: Face) -> None:
    def build(saver: Any) -> Any:
        return chained(State, chained(State, touch), nothing, checkpointer=saver)

    live, stored = both(face, build, {"x": GIVEN["x"]}, {"plain": 8})
    assert live == stored


def test_what_a_function_hands_on_is_looked_at_again(face: Face) -> None:
    """It is user code, and may have changed it."""
    inside = chained(Whole, nothing)

    def calls(state: Any) -> Any:
        state["x"][0]["seen"] = True
        return inside.invoke(state)

    def build(saver: Any) -> Any:
        return chained(Whole, calls, checkpointer=saver)

    live, stored = both(face, build, GIVEN)
    assert live[0] == stored[0]
    assert stored[0]["x"][0]["seen"] is True


def test_a_graph_that_is_handed_the_whole_list_encodes_what_is_new(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the list is."""
    counted: list[int] = []
    encode = ledger.encode

    def counting(value: Any) -> bytes:
        counted.append(1)
        return encode(value)

    monkeypatch.setattr(ledger, "encode", counting)
    graph = chained(Whole, chained(State, adds_one), chained(Whole, chained(Whole, nothing)), checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    face.invoke(graph, {"x": []}, config)
    took: list[int] = []
    for turn in range(100):
        counted.clear()
        face.invoke(graph, {"plain": turn}, config)
        took.append(len(counted))
    assert took[2] == took[99]
