"""The soundness rule of the journal, clause by clause (DESIGN §4): what is kept is what the state came to be."""

from typing import Annotated, Any, TypedDict

import pytest
from support.graphs import Adding, of
from support.storages import CountingStorage

import clew
from clew.channels import reducer
from clew.checkpoint.base import Saver
from clew.checkpoint.memory import InMemorySaver
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph

BIG = "x" * 200


def kept_state(build: Any, *inputs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The state in memory after some runs, and as another process reads it."""
    saver = InMemorySaver()
    graph: CompiledStateGraph = build(saver)
    config = {"configurable": {"thread_id": "1"}}
    for one in inputs:
        graph.invoke(one, config)
    return graph.get_state(config).values, build(Saver(saver.storage)).get_state(config).values


def extend_in_place(current: list[Any], update: list[Any]) -> list[Any]:
    current.extend(update)
    return current


class Extending(TypedDict):
    x: Annotated[list[Any], reducer(keeps_elements=True)(extend_in_place)]


def test_a_reducer_may_extend_in_place() -> None:
    live, stored = kept_state(of(Extending, lambda state: {"x": [len(state["x"])]}), {"x": ["a"]}, {"x": ["b"]})
    assert live == stored == {"x": ["a", 1, "b", 3]}


def test_a_returned_element_that_was_changed_in_place_is_kept_as_it_is() -> None:
    def node(state: Adding) -> Adding:
        element = state.get("x", [])[0]
        element["seen"] = element.get("seen", 0) + 1
        return {"x": [element]}

    live, stored = kept_state(of(Adding, node), {"x": [{"text": BIG}]})
    assert live == stored
    assert [element["seen"] for element in stored["x"]] == [1, 1]


def test_an_element_written_to_another_key_is_looked_at_again() -> None:
    def node(state: Adding) -> Adding:
        element = state.get("x", [])[0]
        element["seen"] = True
        return {"y": {"last": [element]}}

    live, stored = kept_state(of(Adding, node), {"x": [{"text": BIG}, {"text": "other"}]})
    assert live == stored
    assert stored["x"][0]["seen"] is True


class Replaced(TypedDict, total=False):
    x: Any
    y: Any


@pytest.mark.parametrize("value", [{"a": {"text": BIG}}, [{"text": BIG}]])
def test_a_plain_value_whose_part_was_changed_and_written_elsewhere_is_looked_at_again(value: Any) -> None:
    def node(state: Replaced) -> Replaced:
        held: Any = state.get("x")
        part: Any = held["a" if type(held) is dict else 0]
        part["seen"] = True
        return {"y": part}

    live, stored = kept_state(of(Replaced, node), {"x": value})
    assert live == stored
    assert "seen" in str(stored["x"])


def touching(current: list[Any], update: list[Any]) -> list[Any]:
    """A reducer that changes inside what it keeps."""
    for element in current:
        element["age"] = element.get("age", 0) + 1
    return [*current, *update]


class Touched(TypedDict):
    x: Annotated[list[Any], touching]


def test_a_reducer_that_touches_what_it_keeps_is_believed_nothing() -> None:
    live, stored = kept_state(of(Touched, lambda state: {"x": [{"text": BIG}]}), {"x": [{"text": "first" + BIG}]}, {"x": []})
    assert live == stored
    assert [element.get("age") for element in stored["x"]] == [3, 2, None]


def test_an_element_of_a_sibling_that_failed_before_is_kept_as_it_came_to_be() -> None:
    shared: dict[str, Any] = {"text": BIG}
    broken = [True]

    def first(state: Adding) -> Adding:
        return {"x": [shared]}

    def second(state: Adding) -> Adding:
        if broken.pop() if broken else False:
            raise OSError("once")
        return {"y": 1}

    def build(saver: Saver) -> CompiledStateGraph:
        builder = StateGraph(Adding).add_node(first).add_node(second)
        return builder.add_edge(START, "first").add_edge(START, "second").compile(saver)

    saver = InMemorySaver()
    config = {"configurable": {"thread_id": "1"}}
    with pytest.raises(OSError, match="once"):
        build(saver).invoke({}, config)
    assert build(saver).invoke(None, config) == build(Saver(saver.storage)).get_state(config).values == {"x": [shared], "y": 1}


def test_reducers_of_ones_own_may_declare_that_they_keep_elements() -> None:
    @clew.reducer(keeps_elements=True)
    def newest(current: list[str], update: list[str]) -> list[str]:
        return [*current, *update][-5:]

    class State(TypedDict):
        x: Annotated[list[str], newest]

    storage = CountingStorage()
    graph = of(State, lambda state: {"x": []})(Saver(storage))
    for i in range(20):
        graph.invoke({"x": [f"{i} {BIG}"]}, {"configurable": {"thread_id": "1"}})
    assert storage.items_written == 20
