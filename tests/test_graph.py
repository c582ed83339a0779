"""What a graph does when it runs: order, joins, routes, Sends, Commands, streams. Every behaviour on both faces."""

import operator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel
from support.faces import Face
from support.graphs import Log, drawn, says

from clew.errors import InvalidUpdateError
from clew.graph import END, START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.types import Command, Send


def test_a_sequence_runs_in_order_and_reducers_fold(face: Face) -> None:
    graph = StateGraph(Log).add_sequence([("a", says("a")), ("b", says("b"))]).set_entry_point("a").compile()
    assert face.invoke(graph, {"log": ["in"], "n": 1}) == {"log": ["in", "a", "b"], "n": 1}


def test_a_router_loops_until_it_ends(face: Face) -> None:
    def again(state: Log) -> Literal["a", "__end__"]:
        return "a" if len(state.get("log", [])) < 3 else "__end__"

    graph = drawn((START, "a")).add_conditional_edges("a", again).compile()
    assert face.invoke(graph, {}) == {"log": ["a", "a", "a"]}


@pytest.mark.parametrize("path_map", [{True: "b", False: "c"}, None])
def test_a_path_map_names_what_answers_stand_for(face: Face, path_map: dict[Any, str] | None) -> None:
    def answer(state: Log) -> Any:
        return True if path_map else "b"

    graph = drawn((START, "a"), ("b", END), ("c", END)).add_conditional_edges("a", answer, path_map).compile()
    assert face.invoke(graph, {})["log"] == ["a", "b"]


def test_a_command_updates_and_goes_beside_the_edges(face: Face) -> None:
    def a(state: Log) -> Command:
        return Command(update={"log": ["a"]}, goto=["b", Send("c", {}), END])

    builder = drawn(("b", END), ("c", END), ("d", END)).add_node("a", a).add_edge(START, "a").add_edge("a", "d")
    assert face.invoke(builder.compile(), {})["log"] == ["a", "b", "d", "c"]


def test_a_list_of_commands_is_applied_in_order(face: Face) -> None:
    def a(state: Log) -> list[Any]:
        return [Command(update=[("log", ["1"]), ("log", ["2"])]), {"log": ["3"]}]

    graph = StateGraph(Log).add_node(a).add_edge(START, "a").compile()
    assert face.invoke(graph, {}) == {"log": ["1", "2", "3"]}
    assert face.stream(graph, {}) == [{"a": [{"log": ["1"]}, {"log": ["2"]}, {"log": ["3"]}]}]


def test_a_node_that_returns_nothing_still_leads_on(face: Face) -> None:
    def nothing(state: Log) -> None: ...

    graph = drawn(("b", END)).add_node("a", nothing).add_edge(START, "a").add_edge("a", "b").compile()
    assert face.stream(graph, {}) == [{"a": None}, {"b": {"log": ["b"]}}]


@dataclass
class Data:
    log: Annotated[list[str], operator.add]
    n: int = 7


class Model(BaseModel):
    log: Annotated[list[str], operator.add] = ["default"]
    n: int = 7


@pytest.mark.parametrize("schema", [Data, Model])
def test_dataclass_and_pydantic_states_are_given_as_instances_and_returned_as_a_dict(face: Face, schema: Any) -> None:
    def node(state: Any) -> Any:
        assert type(state) is schema
        return {"log": [f"n={state.n}"]}

    graph = StateGraph(schema).add_node(node).add_edge(START, "node").compile()
    start = [] if schema is Data else ["default"]
    assert face.invoke(graph, {"log": ["in"]}) == {"log": [*start, "in", "n=7"]}
    assert face.invoke(graph, schema(log=["in"], n=8))["log"] == [*start, "in", "n=8"]


def test_async_nodes_run_side_by_side_on_the_async_face() -> None:
    import asyncio

    met: list[str] = []
    meeting: dict[str, asyncio.Event] = {}

    def waits(name: str, other: str) -> Any:
        async def node(state: Log) -> Log:
            meeting.setdefault(name, asyncio.Event()).set()
            await meeting.setdefault(other, asyncio.Event()).wait()
            met.append(name)
            return {"log": [name]}

        return node

    builder = StateGraph(Log).add_node("a", waits("a", "b")).add_node("b", waits("b", "a"))
    graph = builder.add_edge(START, "a").add_edge(START, "b").compile()
    assert asyncio.run(asyncio.wait_for(graph.ainvoke({}), 5)) == {"log": ["a", "b"]}
    assert sorted(met) == ["a", "b"]


def test_sync_nodes_run_side_by_side_on_both_faces(face: Face) -> None:
    import threading

    both = threading.Barrier(2, timeout=5)

    def node(state: Log) -> Log:
        both.wait()
        return {"log": ["x"]}

    builder = StateGraph(Log).add_node("a", node).add_node("b", node).add_edge(START, "a").add_edge(START, "b")
    assert face.invoke(builder.compile(), {}) == {"log": ["x", "x"]}


def test_max_concurrency_bounds_how_many_run_at_once(face: Face) -> None:
    running: list[int] = [0, 0]

    def node(state: Any) -> Log:
        running[0] += 1
        running[1] = max(running)
        running[0] -= 1
        return {"log": ["x"]}

    builder = StateGraph(Log).add_node("w", node).add_node("a", lambda state: [Command(goto=[Send("w", i) for i in range(9)])])
    graph = builder.add_edge(START, "a").compile()
    assert len(face.invoke(graph, {}, {"max_concurrency": 1})["log"]) == 9
    assert running[1] == 1


# -- streams --------------------------------------------------------------------------------------------------------


def chain() -> CompiledStateGraph:
    return drawn((START, "a"), ("a", "b")).compile()


def test_values_come_after_the_input_and_after_each_step_that_wrote(face: Face) -> None:
    assert face.stream(chain(), {}, stream_mode="values") == [{"log": ["a"]}, {"log": ["a", "b"]}]
    assert face.stream(chain(), {"log": ["in"]}, stream_mode="values") == [
        {"log": ["in"]},
        {"log": ["in", "a"]},
        {"log": ["in", "a", "b"]},
    ]


def test_updates_are_the_default_and_say_who_wrote_what(face: Face) -> None:
    assert face.stream(chain(), {}) == [{"a": {"log": ["a"]}}, {"b": {"log": ["b"]}}]


def test_invoke_with_another_mode_returns_the_chunks(face: Face) -> None:
    assert face.invoke(chain(), {}, stream_mode="updates") == [{"a": {"log": ["a"]}}, {"b": {"log": ["b"]}}]


def test_an_unknown_mode_is_refused(face: Face) -> None:
    with pytest.raises(ValueError, match=r"no stream mode 'valuse'.*'values', 'updates'"):
        face.stream(chain(), {}, stream_mode="valuse")


def test_batch_keeps_the_order_of_its_inputs(face: Face) -> None:
    found = face.batch(chain(), [{"log": [str(i)]} for i in range(5)], {"max_concurrency": 2})
    assert [state["log"][0] for state in found] == list("01234")


def test_batch_hands_back_exceptions_where_asked(face: Face) -> None:
    first, second = face.batch(chain(), [{}, 3], return_exceptions=True)
    assert first == {"log": ["a", "b"]}
    assert isinstance(second, InvalidUpdateError)
    with pytest.raises(InvalidUpdateError):
        face.batch(chain(), [{}, 3])


def test_the_sync_face_works_inside_a_running_loop() -> None:
    import asyncio

    async def cell() -> None:
        assert chain().invoke({}) == {"log": ["a", "b"]}
        stream = chain().stream({})
        assert next(stream) == {"a": {"log": ["a"]}}
        assert list(stream) == [{"b": {"log": ["b"]}}]

    asyncio.run(cell())


def test_the_error_of_a_node_comes_out_as_it_is_with_its_name_and_no_frame_of_ours_above_it(face: Face) -> None:
    import traceback

    def broken(state: Log) -> Log:
        raise KeyError("mine")

    graph = StateGraph(Log).add_node(broken).add_edge(START, "broken").compile()
    with pytest.raises(KeyError) as caught:
        face.invoke(graph, {})
    assert caught.value.__notes__ == ["During task with name 'broken'"]
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[-1] == "broken"
    assert [name for name in frames if name in ("attempt", "call", "_alone", "finish", "drive")] == []
