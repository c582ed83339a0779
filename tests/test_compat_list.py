"""What a re-implementation must pin (behaviour §6.3), by its number there; those of the graph language and of a failed step.

1 is `test_a_thread_remembers_and_another_does_not`, 12 `test_an_open_step_reads_live_and_by_id`, both in test_threads.py; 14 is
test_editing.py: inference and its ambiguity, END, routers, START, each a test of its own; 19 is `test_the_shape_of_a_chunk` in
test_streams.py; 20 is test_codec.py. Those of threads that are kept stand in test_compat_persistence.py.
"""

from collections import Counter
from typing import Any

import pytest
from support.faces import SYNC, Face
from support.graphs import Log, chain, drawn

from clew.checkpoint.base import Saver
from clew.errors import GraphRecursionError, InvalidUpdateError
from clew.graph import END, START, StateGraph
from clew.types import Command, Send

Config = dict[str, Any]


def test_03_parallel_writes_are_folded_by_name_whatever_the_order_of_drawing(face: Face) -> None:
    graph = drawn((START, "b"), (START, "a"), (START, "c")).compile()
    assert face.invoke(graph, {}) == {"log": ["a", "b", "c"]}


def test_03_sends_are_folded_in_their_order_after_the_nodes(face: Face) -> None:
    def worker(given: dict[str, int]) -> dict[str, Any]:
        return {"log": [f"w{given['i']}"]}

    def fan(state: Log) -> list[Any]:
        return [*[Send("w", {"i": i}) for i in (2, 0, 1)], "z"]

    builder = drawn((START, "a"), ("z", END)).add_node("w", worker).add_conditional_edges("a", fan)
    assert face.invoke(builder.compile(), {})["log"] == ["a", "z", "w2", "w0", "w1"]


def test_04_two_writers_of_a_plain_key_and_nothing_of_the_step_is_kept(face: Face, saver: Saver, thread: Config) -> None:
    builder = StateGraph(Log).add_node("a", lambda state: {"n": 1, "log": ["a"]}).add_node("b", lambda state: {"n": 2})
    graph = builder.add_edge(START, "a").add_edge(START, "b").compile(saver)
    for given in ({"log": ["in"]}, None):  # what a resumed run does: the same, until the nodes are mended
        with pytest.raises(InvalidUpdateError, match="2 nodes wrote the key 'n' in one superstep"):
            face.invoke(graph, given, thread)
        assert face.get_state(graph, thread).values == {"log": ["in"]}


def test_05_a_join_fires_once_and_plain_edges_twice(face: Face) -> None:
    branches = ((START, "a"), (START, "b"), ("b", "b2"))
    joined = drawn(*branches, (["a", "b2"], "c")).compile()
    plain = drawn(*branches, ("a", "c"), ("b2", "c")).compile()
    assert face.invoke(joined, {})["log"] == ["a", "b", "b2", "c"]
    assert face.invoke(plain, {})["log"].count("c") == 2


def test_05_a_deferred_node_waits_for_everything_else(face: Face) -> None:
    graph = drawn((START, "z"), (START, "b"), ("b", "b2"), ("b2", "b3"), defer=("z",)).compile()
    assert face.invoke(graph, {})["log"] == ["b", "b2", "b3", "z"]


def test_05_a_deferred_node_with_plain_edges_runs_once(face: Face) -> None:
    graph = drawn((START, "a"), (START, "b"), ("b", "b2"), ("a", "c"), ("b2", "c"), defer=("c",)).compile()
    assert face.invoke(graph, {})["log"] == ["a", "b", "b2", "c"]


def test_06_a_router_sees_its_own_write_and_not_its_siblings(face: Face) -> None:
    seen: list[list[str]] = []

    def route(state: Log) -> str:
        seen.append(state.get("log", []))
        return END

    graph = drawn((START, "a"), (START, "b")).add_conditional_edges("a", route).compile()
    face.invoke(graph, {})
    assert seen == [["a"]]


def test_07_one_of_three_parallel_nodes_fails_and_alone_runs_again(face: Face, saver: Saver, thread: Config) -> None:
    ran: Counter[str] = Counter()

    def counted(name: str) -> Any:
        def node(state: Log) -> Log:
            ran[name] += 1
            if name == "b" and ran[name] == 1:
                raise OSError("no disk")
            return {"log": [name]}

        return node

    builder = StateGraph(Log)
    for name in ("a", "b", "c"):
        builder.add_node(name, counted(name)).add_edge(START, name)
    graph = builder.compile(saver)
    with pytest.raises(OSError, match="no disk"):
        SYNC.invoke(graph, {}, thread)  # the sync face, on which siblings are always awaited
    assert face.invoke(graph, None, thread)["log"] == ["a", "b", "c"]
    assert ran == {"a": 1, "b": 2, "c": 1}


def test_08_one_of_ten_sends_fails_and_alone_runs_again(face: Face, saver: Saver, thread: Config) -> None:
    ran: Counter[int] = Counter()

    def worker(number: int) -> Any:
        ran[number] += 1
        if number == 4 and ran[4] == 1:
            raise OSError("no disk")
        return {"log": [str(number)]}

    builder = StateGraph(Log).add_node("w", worker)
    builder.add_node("fan", lambda state: Command(goto=[Send("w", i) for i in range(10)]))
    graph = builder.add_edge(START, "fan").compile(saver)
    with pytest.raises(OSError, match="no disk"):
        SYNC.invoke(graph, {}, thread)
    assert face.invoke(graph, None, thread)["log"] == list("0123456789")
    assert ran == {**dict.fromkeys(range(10), 1), 4: 2}


def test_13_from_the_middle_what_follows_runs_again_and_the_old_branch_stays(face: Face, saver: Saver, thread: Config) -> None:
    ran: Counter[str] = Counter()

    def counted(name: str) -> Any:
        def node(state: Log) -> Log:
            ran[name] += 1
            return {"log": [f"{name}{ran[name]}"]}

        return node

    builder = StateGraph(Log).add_sequence([(name, counted(name)) for name in ("a", "b", "c")]).add_edge(START, "a")
    graph = builder.compile(saver)
    face.invoke(graph, {}, thread)
    old = face.history(graph, thread)
    before_b = next(snapshot for snapshot in old if snapshot.next == ("b",))
    assert face.invoke(graph, None, before_b.config)["log"] == ["a1", "b2", "c2"]
    assert ran == {"a": 1, "b": 2, "c": 2}
    history = face.history(graph, thread)
    assert [(snapshot.metadata or {})["source"] for snapshot in history[:3]] == ["loop", "loop", "fork"]
    assert history[2].parent_config == before_b.config
    assert history[3:] == old
    assert old[0].values["log"] == ["a1", "b1", "c1"]


def test_17_out_of_supersteps_the_thread_is_kept_and_goes_on(face: Face, saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a", "b", "c")
    with pytest.raises(GraphRecursionError, match=r"invoke\(None, config\)"):
        face.invoke(graph, {}, {**thread, "recursion_limit": 2})
    assert face.invoke(graph, None, {**thread, "recursion_limit": 1})["log"] == ["a", "b", "c"]
