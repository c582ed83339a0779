"""Graphs inside graphs: what goes in and comes out, how they call up, what they inherit, when they are on their own."""

import asyncio
import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from pydantic import BaseModel
from support.faces import Face
from support.graphs import Log, says

from clew.checkpoint.memory import InMemorySaver
from clew.config import get_config
from clew.errors import GraphRecursionError, InvalidUpdateError, UnknownNode
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.runtime import Runtime, get_runtime
from clew.store.memory import InMemoryStore
from clew.types import Command, Send

LogList = Annotated[list[str], operator.add]


def one(node: Any, name: str = "node", schema: Any = Log, **compiled: Any) -> CompiledStateGraph:
    return StateGraph(schema).add_node(name, node).add_edge(START, name).compile(**compiled)


def up(*goto: Any, **update: Any) -> Callable[[Any], Any]:
    return lambda state: Command(graph=Command.PARENT, update=update, goto=list(goto))


# -- what goes in and comes out -------------------------------------------------------------------------------------


class Other(TypedDict, total=False):
    n: int
    private: str


class Model(BaseModel):
    log: LogList = []
    n: int = 0


def test_a_child_shares_the_keys_that_both_have_and_no_other(face: Face) -> None:
    seen: list[Any] = []

    def node(state: Other) -> Other:
        seen.append(dict(state))
        return {"n": state.get("n", 0) + 1, "private": "mine"}

    graph = one(one(node, schema=Other))
    assert face.invoke(graph, {"log": ["in"], "n": 1, "other": "kept"}) == {"log": ["in"], "n": 2, "other": "kept"}
    assert seen == [{"n": 1}]


def test_a_child_that_folds_gives_back_the_whole_which_is_folded_again(face: Face) -> None:
    assert face.invoke(one(one(says("x"))), {"log": ["in"]})["log"] == ["in", "in", "x"]


def test_a_child_of_another_schema_is_called_from_a_node_that_translates(face: Face) -> None:
    child = one(lambda state: {"n": state["n"] * 2}, schema=Other)  # pyright: ignore[reportUnknownLambdaType]
    graph = one(lambda state: {"log": [str(child.invoke({"n": len(state["log"])})["n"])]})  # pyright: ignore
    assert face.invoke(graph, {"log": ["a", "b"]})["log"] == ["a", "b", "4"]


def test_a_child_whose_state_is_one_value_in_a_parent_whose_state_is_one_value(face: Face) -> None:
    child = one(lambda state: [str(len(state))], schema=LogList)  # pyright: ignore
    assert face.invoke(one(child, schema=LogList), ["in"]) == ["in", "in", "1"]


def test_a_typed_dict_child_in_a_pydantic_parent_and_the_other_way_round(face: Face) -> None:
    plain = one(lambda state: {"n": state["n"] + 1})  # pyright: ignore
    assert face.invoke(one(plain, schema=Model), {"n": 1})["n"] == 2
    model = one(lambda state: {"n": state.n + 1}, schema=Model)  # pyright: ignore
    assert face.invoke(one(model), {"n": 1})["n"] == 2


# -- calling up -----------------------------------------------------------------------------------------------------


def parent(child: Any) -> StateGraph:
    """A graph with this child between others."""
    builder = StateGraph(Log).add_node("child", child).add_node("next", says("next")).add_node("far", says("far"))
    return builder.add_edge(START, "child").add_edge("child", "next")


def test_a_command_for_the_parent_counts_as_the_childs_own(face: Face) -> None:
    graph = parent(one(up("far", log=["up"]))).compile()
    assert face.invoke(graph, {"log": ["in"]})["log"] == ["in", "up", "far", "next"]
    assert face.stream(graph, {})[0] == {"child": {"log": ["up"]}}


def test_a_command_for_the_parent_drops_what_the_child_had_left(face: Face) -> None:
    builder = StateGraph(Log).add_node("a", up("far")).add_node("b", says("never")).add_edge(START, "a").add_edge("a", "b")
    assert face.invoke(parent(builder.compile()).compile(), {})["log"] == ["far", "next"]


def test_two_levels_up_is_twice_one_level(face: Face) -> None:
    middle = StateGraph(Log).add_node("inner", one(up("relay", n=1))).add_node("relay", up("far", log=["relayed"]))
    graph = parent(middle.add_edge(START, "inner").compile()).compile()
    assert face.invoke(graph, {})["log"] == ["relayed", "far", "next"]


def test_a_command_for_the_parent_leaves_siblings_alone(face: Face) -> None:
    builder = parent(one(up("far", log=["up"]))).add_node("sibling", says("sibling")).add_edge(START, "sibling")
    assert face.invoke(builder.compile(), {})["log"] == ["up", "sibling", "far", "next"]


def test_two_children_may_call_up_in_one_step(face: Face) -> None:
    builder = parent(one(up("far", log=["one"]))).add_node("twin", one(up("far", log=["two"]))).add_edge(START, "twin")
    assert face.invoke(builder.compile(), {})["log"] == ["one", "two", "far", "next"]


def test_a_command_for_the_parent_from_a_sent_task(face: Face) -> None:
    child = one(lambda state: Command(graph=Command.PARENT, update={"log": [f"up {state['n']}"]}, goto="far"))  # pyright: ignore
    builder = StateGraph(Log).add_node("child", child).add_node("far", says("far"))
    builder.add_node("fan", lambda state: Command(goto=[Send("child", {"n": i}) for i in range(3)])).add_edge(START, "fan")
    assert face.invoke(builder.compile(), {})["log"] == ["up 0", "up 1", "up 2", "far"]


def test_a_command_for_the_parent_comes_out_of_a_task_group() -> None:
    child = one(up("far", log=["up"]))

    async def node(state: Log) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child.ainvoke({}))

    assert asyncio.run(parent(node).compile().ainvoke({}))["log"] == ["up", "far", "next"]


def test_errors_beside_a_command_for_the_parent_come_out_of_a_task_group_as_they_are() -> None:
    child = one(up("far"))

    async def fails() -> None:
        raise OSError("beside")

    async def node(state: Log) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            group.create_task(child.ainvoke({}))

    with pytest.raises(BaseExceptionGroup) as caught:
        asyncio.run(parent(node).compile().ainvoke({}))
    assert caught.group_contains(OSError, match="beside")


def test_a_target_that_the_parent_does_not_have_is_named(face: Face) -> None:
    with pytest.raises(UnknownNode, match=r"'child' leads to 'nowhere'.*\['child', 'far', 'next'\]"):
        face.invoke(parent(one(up("nowhere"))).compile(), {})


def test_an_update_that_the_parent_cannot_take_is_its_own_error(face: Face) -> None:
    child = one(lambda state: Command(graph=Command.PARENT, update="nonsense"))  # pyright: ignore[reportUnknownLambdaType]
    with pytest.raises(InvalidUpdateError, match="from node 'child'"):
        face.invoke(parent(child).compile(), {})


# -- what is inherited ----------------------------------------------------------------------------------------------


def test_context_store_and_config_reach_the_child(face: Face) -> None:
    seen: list[Any] = []

    def node(state: Log, runtime: Runtime[Any]) -> None:
        config = get_config()
        own = {key: config["configurable"].get(key) for key in ("mine", "thread_id")}
        seen.append(
            (runtime.context, runtime.store, own, config["metadata"]["user"], config["tags"], config["recursion_limit"])
        )

    config = {
        "configurable": {"mine": 1, "thread_id": "1"},
        "metadata": {"user": "u"},
        "tags": ["t"],
        "recursion_limit": 7,
    }
    store = InMemoryStore()
    face.invoke(one(one(one(node)), store=store), {}, config, context={"who": "me"})
    assert seen == [({"who": "me"}, store, {"mine": 1, "thread_id": "1"}, "u", ["t"], 7)]


def test_passing_the_injected_config_on_stays_inside_and_doubles_nothing(face: Face) -> None:
    seen: list[Any] = []
    saver = InMemorySaver()
    child = one(lambda state, config: seen.append(config["tags"]), checkpointer=saver)  # pyright: ignore

    def node(state: Log, config: Any) -> None:
        child.invoke({}, config)

    graph = one(node, checkpointer=InMemorySaver())
    chunks = face.stream(graph, {}, {"configurable": {"thread_id": "1"}, "tags": ["t"]}, stream_mode="updates", subgraphs=True)
    assert [len(ns) for ns, _ in chunks] == [1, 0]
    assert seen == [["t"]]
    assert saver.threads() == []


@pytest.mark.parametrize("bound", [False, True], ids=["given", "bound"])
def test_a_config_that_names_a_thread_of_its_own_makes_a_run_of_its_own(face: Face, bound: bool) -> None:
    saver, own = InMemorySaver(), {"configurable": {"thread_id": "own"}}
    child = one(says("x"), checkpointer=saver)

    def node(state: Log) -> None:
        child.with_config(own).invoke({}) if bound else child.invoke({}, own)  # pyright: ignore[reportArgumentType]

    graph = one(node, checkpointer=InMemorySaver())
    chunks = face.stream(graph, {}, {"configurable": {"thread_id": "1"}}, subgraphs=True)
    assert [ns for ns, _ in chunks] == [()]
    assert face.get_state(child, own).values == {"log": ["x"]}
    assert [row.thread for row in saver.threads()] == ["own"]


def test_a_bound_config_without_a_thread_stays_inside(face: Face) -> None:
    child = one(says("x"), name="inner").with_config({"metadata": {"k": 1}, "recursion_limit": 3})
    chunks = face.stream(one(lambda state: child.invoke({})), {}, subgraphs=True)  # pyright: ignore
    assert [len(ns) for ns, _ in chunks] == [1, 0]


def test_a_batch_inside_a_node_is_many_children(face: Face) -> None:
    child = one(lambda state: {"log": [str(state["n"])]})  # pyright: ignore

    def node(state: Log) -> Log:
        return {"log": [found["log"][0] for found in child.batch([{"n": i} for i in range(5)])]}

    chunks = face.stream(one(node), {}, subgraphs=True)
    assert chunks[-1] == ((), {"node": {"log": list("01234")}})
    assert len({ns for ns, _ in chunks}) == 6


def test_the_error_of_a_child_names_the_nodes_on_its_way(face: Face) -> None:
    def broken(state: Log) -> None:
        raise OSError("no disk")

    with pytest.raises(OSError, match="no disk") as caught:
        face.invoke(one(one(one(broken, "c"), "b"), "a"), {})
    assert caught.value.__notes__ == [f"During task with name {name!r}" for name in "cba"]


def test_a_child_counts_its_own_supersteps_by_the_same_limit(face: Face) -> None:
    child = StateGraph(Log).add_node("x", says("x")).add_edge(START, "x").add_edge("x", "x").compile()
    with pytest.raises(GraphRecursionError, match="took 5 supersteps"):
        face.invoke(one(child), {}, {"recursion_limit": 5})
    assert face.invoke(one(StateGraph(Log).add_sequence([(n, says(n)) for n in "abc"]).add_edge(START, "a").compile()), {},
                       {"recursion_limit": 3})["log"] == ["a", "b", "c"]  # fmt: skip


def test_nothing_is_running_outside_of_a_node() -> None:
    with pytest.raises(RuntimeError, match=r"get_runtime\(\) was called outside of a node"):
        get_runtime()
