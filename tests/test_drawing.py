"""Bad input and wrong drawings: each is refused, says what was found and what there is, and how to mend it."""

from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from support.faces import Face
from support.graphs import Log, drawn, says

from clew.errors import (
    EmptyInputError,
    GraphError,
    GraphRecursionError,
    InvalidUpdateError,
    UnknownKeyWarning,
    UnknownNode,
    WrongFace,
)
from clew.graph import END, START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.types import Command, Send

# -- bad input ------------------------------------------------------------------------------------------------------


def returning(value: Any) -> CompiledStateGraph:
    return StateGraph(Log).add_node("a", lambda state: value).add_edge(START, "a").compile()


@pytest.mark.parametrize("value", ["text", 3, [], [1]])
def test_a_node_that_returns_nonsense_is_told_what_to_return(face: Face, value: Any) -> None:
    with pytest.raises(InvalidUpdateError) as caught:
        face.invoke(returning(value), {})
    assert f"Expected dict, got {value!r} from node 'a'" in str(caught.value)
    assert "'log', 'n'" in str(caught.value)


def test_two_writers_on_a_plain_key_are_told_about_reducers(face: Face) -> None:
    builder = StateGraph(Log)
    for name in ("a", "b"):
        builder.add_node(name, lambda state: {"n": 1}).add_edge(START, name)
    with pytest.raises(InvalidUpdateError, match=r"2 nodes wrote the key 'n'.*Annotated\[list, operator.add\]"):
        face.invoke(builder.compile(), {})


@pytest.mark.parametrize("value", [Command(goto="nowhere"), Send("nowhere", 1)])
def test_an_unknown_target_is_refused_naming_those_there_are(face: Face, value: Any) -> None:
    with pytest.raises(UnknownNode, match=r"'a' leads to 'nowhere', which is not a node.*\['a'\]"):
        face.invoke(returning(value), {})


def test_a_router_that_answers_nothing_is_told_what_to_answer(face: Face) -> None:
    graph = drawn((START, "a")).add_conditional_edges("a", lambda state: None).compile()
    with pytest.raises(InvalidUpdateError, match=r"'a' leads to None.*return END or \[\]"):
        face.invoke(graph, {})


def test_an_answer_the_path_map_does_not_have_is_refused(face: Face) -> None:
    graph = drawn((START, "a")).add_conditional_edges("a", lambda state: "maybe", {"yes": END}).compile()
    with pytest.raises(InvalidUpdateError, match=r"answered 'maybe'.*\['yes'\]"):
        face.invoke(graph, {})


def test_an_unknown_key_is_left_out_with_a_warning(face: Face) -> None:
    with pytest.warns(UnknownKeyWarning, match=r"Node 'a' wrote the key 'lgo'.*\['log', 'n', 'other'\]"):
        assert face.invoke(returning({"lgo": 1}), {"n": 2}) == {"log": [], "n": 2}


def test_an_async_node_under_invoke_says_what_to_call() -> None:
    async def node(state: Log) -> Log:
        return {}

    graph = StateGraph(Log).add_node(node).add_edge(START, "node").compile()
    with pytest.raises(WrongFace, match=r"Node 'node' is async.*ainvoke"):
        graph.invoke({})


def test_input_that_is_no_dict_is_refused(face: Face) -> None:
    with pytest.raises(InvalidUpdateError, match=r"Expected dict as input, got 'hi'.*'log', 'n'"):
        face.invoke(drawn((START, "a"), ("a", "b")).compile(), "hi")


def test_no_input_without_a_saver_is_refused(face: Face) -> None:
    with pytest.raises(EmptyInputError, match="keeps no state"):
        face.invoke(drawn((START, "a"), ("a", "b")).compile(), None)


def test_the_recursion_limit_counts_supersteps_exactly(face: Face) -> None:
    assert face.invoke(drawn((START, "a"), ("a", "b")).compile(), {}, {"recursion_limit": 2}) == {"log": ["a", "b"]}
    with pytest.raises(GraphRecursionError, match=r"took 1 supersteps.*\['b'\] would run next"):
        face.invoke(drawn((START, "a"), ("a", "b")).compile(), {}, {"recursion_limit": 1})


def test_a_recursion_limit_below_one_is_refused(face: Face) -> None:
    with pytest.raises(ValueError, match="recursion_limit is 0"):
        face.invoke(drawn((START, "a"), ("a", "b")).compile(), {}, {"recursion_limit": 0})


# -- drawing --------------------------------------------------------------------------------------------------------

DRAWINGS: list[tuple[Callable[[StateGraph], Any], str]] = [
    (lambda b: b.add_node("b", says("b")), "Node `b` already present"),
    (lambda b: b.add_node("lonely"), "has nothing to do"),
    (lambda b: b.add_node(START, says("x")), "is reserved"),
    (lambda b: b.add_node("a:b", says("x")), "contains ':'"),
    (lambda b: b.add_node("x", 3), "cannot be called"),
    (lambda b: b.add_edge(END, "b"), "END cannot be a start node"),
    (lambda b: b.add_edge("b", START), "START cannot be an end node"),
    (lambda b: b.add_edge([], "b"), "waits for nothing"),
    (lambda b: b.add_edge("nope", "b").compile(), r"starts from 'nope', which is not a node.*add_node\('nope'"),
    (lambda b: b.add_edge("b", "nope").compile(), "ends at 'nope'"),
    (lambda b: b.add_edge(["b", "nope"], "b").compile(), "waits for 'nope'"),
    (lambda b: b.add_conditional_edges("b", says("r"), ["nope"]).compile(), "leads to 'nope'"),
    (lambda b: b.compile(), r"must have an entrypoint.*add_edge\(START, 'b'\)"),
    (lambda b: b.add_sequence([]), "sequence is empty"),
]


@pytest.mark.parametrize(("draw", "message"), DRAWINGS, ids=[message[:20] for _, message in DRAWINGS])
def test_a_wrong_drawing_names_the_fix(draw: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        draw(StateGraph(Log).add_node("b", says("b")))


def test_a_second_branch_of_the_same_name_is_refused() -> None:
    builder = drawn((START, "a")).add_conditional_edges("a", says("r"))
    with pytest.raises(GraphError, match="already has a conditional edge 'node'"):
        builder.add_conditional_edges("a", says("r"))


def one_argument(current: list[str]) -> list[str]:
    return current


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (3, "cannot be a state schema"),
        (TypedDict("Empty", {}), "has no keys"),
        (TypedDict("Bad", {"log": Annotated[list[str], one_argument]}), "Invalid reducer signature for Bad.log"),
        (TypedDict("Reserved", {"configurable": int}), "is reserved"),
    ],
)
def test_a_wrong_schema_says_what_is_wrong(schema: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        StateGraph(schema)


def test_a_graph_that_was_compiled_is_not_changed_by_drawing_on() -> None:
    builder = drawn((START, "a"))
    graph = builder.compile()
    builder.add_node("b", says("b")).add_edge("a", "b")
    assert graph.invoke({}) == {"log": ["a"]}
    assert builder.compile().invoke({}) == {"log": ["a", "b"]}


def test_something_that_is_no_saver_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Invalid checkpointer 'memory'.*InMemorySaver\(\)"):
        drawn((START, "a")).compile(checkpointer="memory")  # pyright: ignore
