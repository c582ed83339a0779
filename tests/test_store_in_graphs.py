"""What code inside a graph finds of a store: nodes, tasks, entrypoints, graphs inside nodes, on both faces."""

import asyncio
from collections.abc import Iterable
from typing import Any, TypedDict

import pytest
from support.faces import ASYNC, Face

from clew.checkpoint.memory import InMemorySaver
from clew.config import get_store
from clew.func import entrypoint, task
from clew.graph import START, StateGraph
from clew.runtime import Runtime
from clew.store.base import BaseStore, Item, Op, Result
from clew.store.memory import InMemoryStore


class State(TypedDict, total=False):
    name: str
    seen: list[str]
    item: Item | None


def config(user: str, thread: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread, "user_id": user}}


def remember(state: State, config: dict[str, Any], *, store: BaseStore) -> State:
    ns = ("memories", config["configurable"]["user_id"])
    store.put(ns, state.get("name", ""), {"said": state.get("name")})
    return {"seen": [item.key for item in store.search(ns)]}


async def remember_awaited(state: State, config: dict[str, Any], *, store: BaseStore) -> State:
    ns = ("memories", config["configurable"]["user_id"])
    await store.aput(ns, state.get("name", ""), {"said": state.get("name")})
    return {"seen": [item.key for item in await store.asearch(ns)]}


def test_threads_of_one_user_share_what_others_do_not_see(face: Face) -> None:
    node = remember_awaited if face is ASYNC else remember
    graph = StateGraph(State).add_node("node", node).add_edge(START, "node")
    made = graph.compile(checkpointer=InMemorySaver(), store=InMemoryStore())
    assert face.invoke(made, {"name": "a"}, config("ann", "1"))["seen"] == ["a"]
    assert face.invoke(made, {"name": "b"}, config("ann", "2"))["seen"] == ["b", "a"]
    assert face.invoke(made, {"name": "c"}, config("bob", "3"))["seen"] == ["c"]


def test_a_store_serves_the_sync_calls_of_code_on_a_loop(face: Face) -> None:
    graph = StateGraph(State).add_node("node", remember).add_edge(START, "node")
    assert face.invoke(graph.compile(store=InMemoryStore()), {"name": "a"}, config("ann", "1"))["seen"] == ["a"]


def test_parameter_runtime_and_get_store_are_one(face: Face) -> None:
    store, found = InMemoryStore(), list[Any]()

    def node(state: State, store: BaseStore, runtime: Runtime[Any]) -> None:
        found.extend((store, runtime.store, get_store()))

    builder = StateGraph(State).add_node("node", node).add_edge(START, "node")
    face.invoke(builder.compile(store=store), {})
    assert found == [store] * 3
    found.clear()
    face.invoke(builder.compile(), {})
    assert found == [None] * 3


def test_a_graph_inside_has_the_store_of_the_one_around(face: Face) -> None:
    outer, inner = InMemoryStore(), InMemoryStore()

    def node(state: State, store: BaseStore) -> None:
        store.put(("a",), "k", {})

    inside = StateGraph(State).add_node("node", node).add_edge(START, "node").compile(store=inner)
    around = StateGraph(State).add_node("inside", inside).add_edge(START, "inside")
    face.invoke(around.compile(store=outer), {})
    assert (len(outer.search(())), len(inner.search(()))) == (1, 0)
    face.invoke(around.compile(), {})
    assert (len(outer.search(())), len(inner.search(()))) == (1, 1)


def test_entrypoints_and_their_tasks_have_it(face: Face) -> None:
    @task
    def keep(name: str, store: BaseStore) -> int:
        store.put(("names",), name, {})
        found = get_store()
        assert found is store
        return len(store.search(("names",)))

    @entrypoint(checkpointer=InMemorySaver(), store=InMemoryStore())
    def workflow(name: str, *, store: BaseStore) -> int:
        return keep(name, store).result()

    assert face.invoke(workflow, "a", config("ann", "1")) == 1
    assert face.invoke(workflow, "b", config("ann", "2")) == 2


def test_an_item_may_stand_in_the_state(face: Face) -> None:
    def node(state: State, store: BaseStore) -> State:
        store.put(("a",), "k", {"x": 1})
        return {"item": store.get(("a",), "k")}

    store, saver = InMemoryStore(), InMemorySaver()
    graph = StateGraph(State).add_node("node", node).add_edge(START, "node").compile(checkpointer=saver, store=store)
    face.invoke(graph, {}, config("ann", "1"))
    again = StateGraph(State).add_node("node", node).add_edge(START, "node").compile(checkpointer=saver)
    assert face.get_state(again, config("ann", "1")).values["item"] == store.get(("a",), "k")


def test_what_is_no_store_is_refused() -> None:
    graph: Any = StateGraph(State).add_node("node", remember).add_edge(START, "node")
    with pytest.raises(TypeError, match=r"Invalid store 'memory': expected one such as InMemoryStore\(\)"):
        graph.compile(store="memory")


class Own(BaseStore):
    """A store as users write one."""

    def __init__(self) -> None:
        self.inner = InMemoryStore()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        return self.inner.batch(ops)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        return await self.inner.abatch(ops)


def test_a_store_of_ones_own_has_two_methods(face: Face) -> None:
    node = remember_awaited if face is ASYNC else remember
    graph = StateGraph(State).add_node("node", node).add_edge(START, "node").compile(store=Own())
    assert face.invoke(graph, {"name": "a"}, config("ann", "1"))["seen"] == ["a"]


def test_what_updates_may_be_async_and_may_delete() -> None:
    async def counted(value: dict[str, Any] | None) -> dict[str, Any] | None:
        await asyncio.sleep(0)
        return {"n": value["n"] + 1} if value else {"n": 1}

    def gone(value: dict[str, Any] | None) -> None:
        return None

    async def run(store: BaseStore) -> list[Any]:
        found: list[Any] = []
        for change in (counted, counted, gone, counted):
            await store.aupdate(("a",), "k", change)
            item = await store.aget(("a",), "k")
            found.append(item and item.value)
        return found

    assert asyncio.run(run(InMemoryStore())) == [{"n": 1}, {"n": 2}, None, {"n": 1}]
