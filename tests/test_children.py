"""What graphs inside tasks keep: where they go on, what they remember, how they are read, edited and gone back to."""

import operator
from typing import Annotated, Any, TypedDict

import pytest
from support.faces import Face
from support.graphs import Log, says
from support.storages import CountingStorage
from support.tales import Tale, asks, line, place_of, waiting_within

from clew.checkpoint.base import Saver
from clew.errors import CheckpointNotFound, MultipleSubgraphs
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.types import Command, RetryPolicy, Send, interrupt

Config = dict[str, Any]
Remembers = bool | None


class Count(TypedDict, total=False):
    runs: Annotated[int, operator.add]
    said: str


class Said(TypedDict, total=False):
    said: str


# -- going on -------------------------------------------------------------------------------------------------------


def test_a_graph_within_that_failed_goes_on_at_its_failed_node(face: Face, saver: Saver, thread: Config) -> None:
    tale = Tale()
    tale.broken = {"b"}
    graph = line(tale.before, ("inner", line(tale.a, tale.b, tale.c)), tale.after, checkpointer=saver)
    with pytest.raises(OSError, match="b is broken"):
        face.invoke(graph, {"log": []}, thread)
    elsewhere = line(tale.before, ("inner", line(tale.a, tale.b, tale.c)), tale.after, checkpointer=Saver(saver.storage))
    face.invoke(elsewhere, None, thread)
    assert tale.ran == ["before", "a", "b", "b", "c", "after"]


@pytest.mark.parametrize("kind", [None, True])
def test_three_levels_down_only_what_had_not_finished_runs(face: Face, saver: Saver, thread: Config, kind: Remembers) -> None:
    tale = Tale()
    tale.broken = {"b"}

    def graph(saver: Saver) -> CompiledStateGraph:
        low = line(tale.a, tale.b, tale.c, checkpointer=kind)
        middle = line(tale.m, ("low", low), checkpointer=kind)
        return line(tale.top, ("middle", middle), tale.end, checkpointer=saver)

    with pytest.raises(OSError, match="b is broken"):
        face.invoke(graph(saver), {"log": []}, thread)
    face.invoke(graph(Saver(saver.storage)), None, thread)
    assert tale.ran == ["top", "m", "a", "b", "b", "c", "end"]


def test_a_graph_within_that_keeps_nothing_begins_anew(face: Face, saver: Saver, thread: Config) -> None:
    tale = Tale()
    tale.broken = {"b"}
    graph = line(tale.before, ("inner", line(tale.a, tale.b, checkpointer=False)), checkpointer=saver)
    with pytest.raises(OSError, match="b is broken"):
        face.invoke(graph, {"log": []}, thread)
    face.invoke(graph, None, thread)
    assert tale.ran == ["before", "a", "b", "a", "b"]


def test_a_graph_that_has_ended_answers_without_running_when_its_task_runs_again(
    face: Face, saver: Saver, thread: Config
) -> None:
    tale = Tale()
    child = line(tale.a, tale.b)

    def call(state: Log) -> Log:
        found = child.invoke({"log": ["given"]})["log"]
        return {"log": [*found, interrupt("well?"), *child.invoke({"log": []})["log"]]}

    graph = line(call, checkpointer=saver)
    face.invoke(graph, {"log": []}, thread)
    result = face.invoke(graph, Command(resume="yes"), thread)
    assert result["log"] == ["given", "a", "b", "yes", "a", "b"]
    assert tale.ran == ["a", "b", "a", "b"]


def test_a_second_try_of_a_node_goes_on_in_the_graph_that_failed(face: Face, saver: Saver, thread: Config) -> None:
    tale = Tale()
    tale.broken = {"b"}
    child = line(tale.a, tale.b)

    def call(state: Log) -> Log:
        return {"log": child.invoke({"log": []})["log"]}

    again = RetryPolicy(initial_interval=0, jitter=False, retry_on=OSError)
    graph = StateGraph(Log).add_node(call, retry_policy=again).add_edge(START, "call").compile(saver)
    assert face.invoke(graph, {"log": []}, thread)["log"] == ["a", "b"]
    assert tale.ran == ["a", "b", "b"]


def test_what_is_asked_within_is_answered_where_it_was_asked(face: Face, saver: Saver, thread: Config) -> None:
    tale = Tale()
    low = line(tale.a, tale.asks("asks", "one?", "two?"), tale.z)
    graph = line(tale.top, ("middle", line(tale.m, ("low", low))), tale.end, checkpointer=saver)
    first = face.invoke(graph, {"log": []}, thread)
    assert [found.value for found in first["__interrupt__"]] == ["one?"]
    second = face.invoke(graph, Command(resume=1), thread)
    assert [found.value for found in second["__interrupt__"]] == ["two?"]
    result = face.invoke(graph, Command(resume=2), thread)
    assert result["log"].count("end") == 1
    assert tale.ran == ["top", "m", "a", "asks", "asks", "asks", "z", "end"]


def test_an_answer_with_an_update_leaves_graphs_within_where_they_are(face: Face, saver: Saver, thread: Config) -> None:
    tale = Tale()
    low = line(tale.a, tale.asks("asks", "one?", "two?"))
    builder = StateGraph(Log).add_node("middle", line(tale.m, ("low", low))).add_node(*tale.side)
    builder.add_conditional_edges(START, lambda state: ["side", Send("middle", {"log": []})])
    graph = builder.compile(saver)
    first = face.invoke(graph, {"log": []}, thread)["__interrupt__"]
    second = face.invoke(graph, Command(resume=1, update={"log": ["on the way"]}), thread)["__interrupt__"]
    third = face.invoke(graph, Command(update={"log": ["and again"]}), thread)["__interrupt__"]
    assert [found.value for found in (*first, *second, *third)] == ["one?", "two?", "two?"]
    assert second[0].id == third[0].id == face.get_state(graph, thread).interrupts[0].id
    inside = face.get_state(graph, thread, subgraphs=True).tasks[0].state.tasks[0].state
    assert inside.interrupts[0].id == second[0].id
    assert face.invoke(graph, Command(resume={second[0].id: 2}), thread)["log"][-4:] == ["a", "asks", 1, 2]
    assert sorted(tale.ran) == ["a", "asks", "asks", "asks", "asks", "m", "side"]


def test_parallel_graphs_within_pause_side_by_side_and_are_answered_by_id(face: Face, saver: Saver, thread: Config) -> None:
    class Asked(Log):
        about: int

    def question(state: Asked) -> Log:
        return {"log": [interrupt(f"{state['about']}?")]}

    child = line("first", question, schema=Asked)
    builder = StateGraph(Log).add_node("child", child).add_node("end", says("end"))
    builder.add_conditional_edges(START, lambda state: [Send("child", {"log": [], "about": i}) for i in range(3)])
    graph = builder.add_edge("child", "end").compile(saver)
    asked = face.invoke(graph, {"log": []}, thread)["__interrupt__"]
    assert sorted(found.value for found in asked) == ["0?", "1?", "2?"]
    some = face.invoke(graph, Command(resume={asked[0].id: "x"}), thread)["__interrupt__"]
    assert {found.id for found in some} == {found.id for found in asked[1:]}
    result = face.invoke(graph, Command(resume={found.id: found.value for found in some}), thread)
    assert sorted(result["log"]) == sorted(["first"] * 3 + ["x", asked[1].value, asked[2].value] + ["end"])


# -- remembering ----------------------------------------------------------------------------------------------------


def counting(**options: Any) -> CompiledStateGraph:
    def count(state: Count) -> Count:
        return {"runs": 1, "said": f"run {state.get('runs', 0) + 1}"}

    return line(count, schema=Count, **options)


@pytest.mark.parametrize(("kind", "said"), [(None, "run 1"), (False, "run 1"), (True, "run 2")])
def test_what_a_graph_within_remembers(face: Face, saver: Saver, thread: Config, kind: Remembers, said: str) -> None:
    graph = line(("child", counting(checkpointer=kind)), schema=Said, checkpointer=saver)
    face.invoke(graph, {"said": ""}, thread)
    assert face.invoke(graph, {"said": ""}, thread)["said"] == said
    assert face.invoke(graph, {"said": ""}, {"configurable": {"thread_id": "other"}})["said"] == "run 1"


def test_going_back_takes_what_a_graph_within_remembers_along(face: Face, saver: Saver, thread: Config) -> None:
    graph = line(("child", counting(checkpointer=True)), schema=Said, checkpointer=saver)
    for _ in range(3):
        face.invoke(graph, {"said": ""}, thread)
    second = [state for state in face.history(graph, thread) if state.next == ("child",)][1]
    assert face.invoke(graph, None, second.config)["said"] == "run 2"
    assert face.invoke(graph, {"said": ""}, thread)["said"] == "run 3"


def test_a_run_that_failed_after_the_graph_within_counts_it_once(face: Face, saver: Saver, thread: Config) -> None:
    child, broken = counting(checkpointer=True), [True]

    def call(state: Count) -> Count:
        said = child.invoke({})["said"]
        if broken:
            broken.pop()
            raise OSError("after")
        return {"said": said}

    graph = line(call, schema=Count, checkpointer=saver)
    with pytest.raises(OSError, match="after"):
        face.invoke(graph, {"said": ""}, thread)
    assert face.invoke(graph, None, thread)["said"] == "run 1"
    assert face.invoke(graph, {"said": ""}, thread)["said"] == "run 2"


def test_graphs_that_remember_are_told_by_their_names_and_then_by_their_order(face: Face, saver: Saver, thread: Config) -> None:
    tea, milk = (line((name, says(name)), checkpointer=True, name=name) for name in ("tea", "milk"))
    plain = line("plain", checkpointer=True)
    orders = iter([[tea, milk, plain, plain], [milk, tea, plain, plain]])

    def call(state: Log) -> Log:
        return {"log": [str(child.invoke({"log": []})["log"]) for child in next(orders)]}

    graph = line(call, checkpointer=saver)
    face.invoke(graph, {"log": []}, thread)
    after = face.invoke(graph, {"log": []}, thread)["log"][4:]
    assert after == ["['milk', 'milk']", "['tea', 'tea']", "['plain', 'plain']", "['plain', 'plain']"]


def test_one_that_is_called_twice_by_name_in_one_task_remembers_between_the_calls(
    face: Face, saver: Saver, thread: Config
) -> None:
    child = counting(checkpointer=True, name="counter")

    def call(state: Count) -> Count:
        said = [child.invoke({})["said"] for _ in range(2)]
        return {"said": f"{said} {interrupt('well?')}"}

    graph = line(call, schema=Count, checkpointer=saver)
    face.invoke(graph, {"said": ""}, thread)
    assert face.invoke(graph, Command(resume="yes"), thread)["said"] == "['run 1', 'run 2'] yes"


def test_two_at_once_in_one_memory_are_refused(face: Face, saver: Saver, thread: Config) -> None:
    child = counting(checkpointer=True, name="child")

    def both(state: Said) -> Said:
        for _ in child.stream({}, stream_mode="values"):
            child.invoke({})
        return {}

    with pytest.raises(MultipleSubgraphs, match=r"'both\|child' of thread '1'"):
        face.invoke(line(both, schema=Said, checkpointer=saver), {"said": ""}, thread)


def test_a_graph_that_would_remember_needs_one_around_it(face: Face, thread: Config) -> None:
    with pytest.raises(RuntimeError, match="checkpointer=True cannot be used for root graphs"):
        face.invoke(counting(checkpointer=True), {}, thread)


# -- reading and editing --------------------------------------------------------------------------------------------


def test_the_state_of_graphs_within_is_seen_all_the_way_in(face: Face, saver: Saver, thread: Config) -> None:
    graph = waiting_within(saver)
    asked = face.invoke(graph, {"log": ["in"]}, thread)["__interrupt__"]
    state = face.get_state(graph, thread, subgraphs=True)
    middle = state.tasks[0].state
    low = middle.tasks[0].state
    assert (state.next, middle.next, low.next) == (("middle",), ("low",), ("asks",))
    assert low.values["log"][-1] == "a"
    assert list(low.interrupts) == list(middle.interrupts) == list(state.interrupts) == asked
    assert low.metadata["parents"] == {
        "": state.config["configurable"]["checkpoint_id"],
        middle.config["configurable"]["checkpoint_ns"]: middle.config["configurable"]["checkpoint_id"],
    }
    plain = face.get_state(graph, thread)
    assert plain.tasks[0].state == {
        "configurable": {"thread_id": "1", "checkpoint_ns": middle.config["configurable"]["checkpoint_ns"]}
    }
    assert face.get_state(graph, plain.tasks[0].state).values == middle.values
    assert [found.next for found in face.history(graph, place_of(low))][:2] == [("asks",), ("a",)]


def test_a_graph_within_that_has_ended_is_seen_at_the_checkpoint_it_ran_at(face: Face, saver: Saver, thread: Config) -> None:
    graph = line("top", ("inner", line("a", "b")), checkpointer=saver)
    face.invoke(graph, {"log": []}, thread)
    before = next(state for state in face.history(graph, thread) if state.next == ("inner",))
    inside = face.get_state(graph, before.config, subgraphs=True).tasks[0].state
    assert (inside.next, inside.values["log"]) == ((), ["top", "a", "b"])


@pytest.mark.parametrize("kind", [None, True])
def test_an_edit_within_is_what_the_graph_goes_on_from(face: Face, saver: Saver, thread: Config, kind: Remembers) -> None:
    def counts(state: Log) -> Log:
        return {"log": [f"{len(state.get('log', []))}", interrupt("well?")]}

    child = line("a", counts, checkpointer=kind)
    graph = line(("inner", child), checkpointer=saver)
    face.invoke(graph, {"log": []}, thread)
    inside = face.get_state(graph, thread, subgraphs=True).tasks[0].state
    edited = face.update(graph, inside.config, {"log": ["by hand", "twice"]}, "a")
    assert edited["configurable"]["checkpoint_ns"] == inside.config["configurable"]["checkpoint_ns"]
    again = face.invoke(graph, None, thread)["__interrupt__"]
    assert [found.value for found in again] == ["well?"]
    assert face.invoke(graph, Command(resume="yes"), thread)["log"] == ["a", "by hand", "twice", "3", "yes"]


def test_an_edit_as_the_pending_node_answers_for_it(face: Face, saver: Saver, thread: Config) -> None:
    graph = line(("inner", line("a", asks("well?"), "z")), checkpointer=saver)
    face.invoke(graph, {"log": []}, thread)
    inside = face.get_state(graph, thread, subgraphs=True).tasks[0].state
    face.update(graph, inside.config, {"log": ["by hand"]}, "asks")
    assert face.invoke(graph, None, thread)["log"] == ["a", "by hand", "z"]


def test_an_edit_in_a_namespace_that_is_not_there_is_refused(face: Face, saver: Saver, thread: Config) -> None:
    graph = line(("inner", line("a")), checkpointer=saver)
    face.invoke(graph, {"log": []}, thread)
    for ns, error in (("nobody:1", ValueError), ("inner:1", CheckpointNotFound)):
        with pytest.raises(error, match=rf"{ns}'.*subgraphs=True"):
            face.update(graph, {"configurable": {"thread_id": "1", "checkpoint_ns": ns}}, {"log": ["x"]})


# -- storage --------------------------------------------------------------------------------------------------------


def test_what_a_graph_within_is_given_and_gives_back_is_stored_once(face: Face, thread: Config) -> None:
    class Texts(TypedDict, total=False):
        texts: list[str]

    storage = CountingStorage()
    given = [f"{i}" * 500 for i in range(20)]

    def grows(state: Texts) -> Texts:
        return {"texts": [*state.get("texts", []), "new" * 200]}

    graph = line(("inner", line(grows, schema=Texts)), schema=Texts, checkpointer=Saver(storage))
    face.invoke(graph, {"texts": given}, thread)
    unique = sum(map(len, given)) + 600
    assert storage.item_bytes < 1.1 * unique


def test_a_graph_within_that_fails_writes_its_failure_and_no_more(face: Face, thread: Config) -> None:
    def breaks(state: Log) -> Log:
        raise OSError("broken")

    storage = CountingStorage()
    graph = line(("inner", line("a", breaks)), checkpointer=Saver(storage))
    with pytest.raises(OSError, match="broken"):
        face.invoke(graph, {"log": []}, thread)
    outer, inner, failures, release = 1, 2, 2, 1
    assert storage.commits == outer + inner + failures + release
