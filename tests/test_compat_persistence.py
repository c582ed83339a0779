"""What a re-implementation must pin of threads that are kept (behaviour §6.3), by its number there.

16 is test_durability.py: each durability, whether a run ends well, fails, pauses, is cancelled or cannot be saved.
"""

from typing import Any

import pytest
from support.faces import Face
from support.graphs import Log, chain, says
from support.tales import Tale, line

from clew.checkpoint.base import Saver
from clew.errors import UnknownInterrupt
from clew.func import entrypoint, task
from clew.graph import START, StateGraph
from clew.types import Command, interrupt

Config = dict[str, Any]


def test_02_the_golden_trace(face: Face, saver: Saver, thread: Config) -> None:
    """START → a → b → END, where b asks: four checkpoints, with what was written on each."""

    def asks(state: Log) -> Log:
        return {"other": "b", "log": [interrupt("q")]}

    builder = StateGraph(Log).add_node("a", lambda state: {"other": "a", "log": ["a"]}).add_node("b", asks)
    graph = builder.add_edge(START, "a").add_edge("a", "b").compile(saver)
    config = {**thread, "metadata": {"u": "x"}}
    face.invoke(graph, {"other": ""}, config)
    face.invoke(graph, Command(resume="ans"), config)
    found = face.history(graph, thread)
    for state, older in zip(found, [*found[1:], None], strict=True):
        assert state.parent_config == (older.config if older else None)
        assert (state.metadata or {})["u"] == "x"
    trace = [
        ((s.metadata or {})["step"], (s.metadata or {})["source"], s.values, s.next, [task.result for task in s.tasks])
        for s in reversed(found)
    ]
    assert trace == [
        (-1, "input", {"log": []}, ("__start__",), [{"other": ""}]),
        (0, "loop", {"log": [], "other": ""}, ("a",), [{"other": "a", "log": ["a"]}]),
        (1, "loop", {"log": ["a"], "other": "a"}, ("b",), [{"other": "b", "log": ["ans"]}]),
        (2, "loop", {"log": ["a", "ans"], "other": "b"}, (), []),
    ]
    assert [found.value for found in found[1].interrupts] == ["q"]


def test_09_a_node_with_two_interrupts_runs_three_times_and_the_ids_differ(face: Face, saver: Saver, thread: Config) -> None:
    ran: list[int] = []

    def twice(state: Log) -> Log:
        ran.append(1)
        return {"log": [interrupt("one?"), interrupt("two?")]}

    graph = StateGraph(Log).add_node(twice).add_edge(START, "twice").compile(saver)
    first = face.invoke(graph, {}, thread)["__interrupt__"]
    second = face.invoke(graph, Command(resume="1"), thread)["__interrupt__"]
    assert first[0].id != second[0].id
    assert face.invoke(graph, Command(resume="2"), thread)["log"] == ["1", "2"]
    assert len(ran) == 3


def test_10_two_parallel_interrupts_a_bare_answer_is_an_error_and_one_by_its_id_leaves_the_other(
    face: Face, saver: Saver, thread: Config
) -> None:
    builder = StateGraph(Log)
    for name in ("ann", "bob"):
        builder.add_node(name, lambda state, name=name: {"log": [interrupt(name)]}).add_edge(START, name)
    graph = builder.compile(saver)
    asked = face.invoke(graph, {}, thread)["__interrupt__"]
    with pytest.raises(UnknownInterrupt, match="multiple pending interrupts"):
        face.invoke(graph, Command(resume="x"), thread)
    left = face.invoke(graph, Command(resume={asked[0].id: "x"}), thread)["__interrupt__"]
    assert [found.id for found in left] == [asked[1].id]


def test_11_a_breakpoint_stops_once_at_each_visit_and_none_passes_it(face: Face, saver: Saver, thread: Config) -> None:
    def again(state: Log) -> Any:
        return "body" if len(state.get("log", [])) < 3 else []

    builder = StateGraph(Log).add_node("body", says("x")).add_edge(START, "body").add_conditional_edges("body", again)
    graph = builder.compile(saver, interrupt_before=["body"])
    seen = [len(face.invoke(graph, {"log": []}, thread)["log"])]
    while face.get_state(graph, thread).next:
        seen.append(len(face.invoke(graph, None, thread)["log"]))
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("kind", "ran", "within"),
    [
        (None, ["top", "m", "a", "asks", "asks", "z", "end"], "while pending"),
        (True, ["top", "m", "a", "asks", "asks", "z", "end"], "at any time"),
        (False, ["top", "m", "a", "asks", "m", "a", "asks", "z", "end"], "never"),
    ],
)
def test_15_children_that_inherit_remember_and_forget_three_levels_deep(
    face: Face, saver: Saver, thread: Config, kind: Any, ran: list[str], within: str
) -> None:
    tale = Tale()
    low = line(tale.a, tale.asks("asks", "well?"), tale.z, checkpointer=kind)
    graph = line(tale.top, ("middle", line(tale.m, ("low", low), checkpointer=kind)), tale.end, checkpointer=saver)
    assert [found.value for found in face.invoke(graph, {"log": []}, thread)["__interrupt__"]] == ["well?"]
    pending = face.get_state(graph, thread, subgraphs=True).tasks[0].state
    if within == "never":
        assert pending is None
    else:
        assert (pending.next, pending.tasks[0].state.next) == (("low",), ("asks",))
    face.invoke(graph, Command(resume="yes"), thread)
    assert tale.ran == ran
    at = {"configurable": {"thread_id": "1", "checkpoint_ns": "middle|low"}}
    assert bool(face.get_state(graph, at).values.get("log")) == (within == "at any time")


def test_18_tasks_that_finished_are_not_run_again_final_parts_value_and_save_and_previous_is_what_was_saved(
    face: Face, saver: Saver, thread: Config
) -> None:
    ran: list[int] = []

    @task
    def work(number: int) -> int:
        ran.append(number)
        return number * 10

    @entrypoint(checkpointer=saver)
    def flow(number: int, *, previous: list[int] | None = None) -> Any:
        done = work(number).result()
        answer = interrupt("go on?")
        return entrypoint.final(value=f"{done} {answer}", save=[*(previous or []), done])

    for number, saved in ((1, [10]), (2, [10, 20])):
        face.invoke(flow, number, thread)
        assert face.invoke(flow, Command(resume="yes"), thread) == f"{number * 10} yes"
        assert face.get_state(flow, thread).values == f"{number * 10} yes"
        assert ran == [one // 10 for one in saved]

    @entrypoint(checkpointer=saver)
    def shows(number: int, *, previous: Any = None) -> Any:
        return previous

    assert face.invoke(shows, 0, thread) == [10, 20]


def test_01_and_a_graph_that_keeps_nothing_remembers_nothing(face: Face, saver: Saver, thread: Config) -> None:
    assert face.invoke(chain(saver, "a"), {"log": ["in"]}, thread)["log"] == ["in", "a"]
    assert face.invoke(chain(saver, "a"), {"log": ["in"]}, thread)["log"] == ["in", "a", "in", "a"]
    assert face.invoke(chain(None, "a"), {"log": ["in"]}, thread)["log"] == ["in", "a"]
