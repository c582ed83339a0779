"""What outlives a pause, a retry and a call up, at each durability; and what is written together."""

from collections.abc import Callable
from typing import Any, cast

import pytest
from support.faces import Face
from support.graphs import Log

from clew.checkpoint.base import Saver
from clew.checkpoint.storage import Batch
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.runtime.context import TaskContext
from clew.runtime.notes import NOTHING
from clew.types import RUNNING, Command, Durability, RetryPolicy, interrupt

levels = pytest.mark.parametrize("level", ["sync", "async", "exit"])


def counts(name: str) -> Callable[[Any], Any]:
    """A node that writes its name and how long the log was."""
    return lambda state: {"log": [f"{name}{len(state.get('log', []))}"]}


def asks(*questions: str) -> Callable[[Any], Any]:
    """A node that asks one question after the other, and writes the answers."""
    return lambda state: {"log": [f"asks: {interrupt(question)}" for question in questions]}


def line(*nodes: tuple[str, Any], saver: Saver | None = None, **compiled: Any) -> CompiledStateGraph:
    """Nodes one after the other."""
    builder = StateGraph(Log).add_sequence(list(nodes)).add_edge(START, nodes[0][0])
    return builder.compile(**compiled) if saver is None else builder.compile(saver, **compiled)


def written(saver: Saver) -> list[Batch]:
    """What is written from now on."""
    batches: list[Batch] = []
    commit = saver.storage.commit

    def noting(batch: Batch) -> bool:
        found = commit(batch)
        batches.append(batch)
        return found

    saver.storage.commit = noting  # pyright: ignore[reportAttributeAccessIssue]
    return batches


# -- what "exit" keeps ----------------------------------------------------------------------------------------------


def test_an_answer_outlives_the_next_question(face: Face, saver: Saver, thread: Any) -> None:
    graph = line(("asks", asks("one?", "two?", "three?")), saver=saver)
    face.invoke(graph, {"log": []}, thread, durability="exit")
    for answer in "123":
        assert len(face.get_state(graph, thread).interrupts) == 1
        face.invoke(graph, Command(resume=answer), thread, durability="exit")
    assert face.get_state(graph, thread).values["log"] == ["asks: 1", "asks: 2", "asks: 3"]


@levels
def test_a_note_outlives_every_question_that_follows(face: Face, saver: Saver, thread: Any, level: Durability) -> None:
    made: list[str] = []

    def node(state: Any) -> Any:
        answers: list[Any] = []
        for name in "abc":
            key, notes = cast("TaskContext", RUNNING.get()).keeping(name)
            if notes.get(key) is NOTHING:
                made.append(name)
                notes.keep(key, name)
            answers.append(interrupt(name))
        return {"log": answers}

    graph = line(("node", node), saver=saver)
    face.invoke(graph, {"log": []}, thread, durability=level)
    for answer in "123":
        found = face.invoke(graph, Command(resume=answer), thread, durability=level)
        if answer == "3":
            assert found["log"] == ["1", "2", "3"]
    assert made == ["a", "b", "c"]


@levels
def test_a_graph_that_has_ended_does_not_run_again_when_the_task_around_it_asks(
    face: Face, saver: Saver, thread: Any, level: Durability
) -> None:
    ran: list[str] = []

    def work(state: Any) -> Any:
        ran.append("work")
        return {"log": ["worked"]}

    worker, asker = line(("work", work)), line(("asks", asks("sure?")))

    def calls(state: Any) -> Any:
        return {"log": worker.invoke({})["log"] + asker.invoke({})["log"]}

    graph = line(("calls", calls), saver=saver)
    face.invoke(graph, {"log": []}, thread, durability=level)
    assert face.invoke(graph, Command(resume="yes"), thread, durability=level)["log"] == ["worked", "asks: yes"]
    assert ran == ["work"]


@levels
def test_a_graph_that_has_ended_does_not_run_again_when_the_task_around_it_is_tried_again(
    face: Face, saver: Saver, thread: Any, level: Durability
) -> None:
    ran: list[str] = []

    def work(state: Any) -> Any:
        ran.append("work")
        return {"log": ["worked"]}

    worker, failed = line(("work", work)), list[int]()

    def calls(state: Any) -> Any:
        log = worker.invoke({})["log"]
        if not failed:
            failed.append(1)
            raise ConnectionError
        return {"log": log}

    builder = StateGraph(Log).add_node("calls", calls, retry_policy=RetryPolicy(initial_interval=0, jitter=False))
    graph = builder.add_edge(START, "calls").compile(saver)
    assert face.invoke(graph, {"log": []}, thread, durability=level)["log"] == ["worked"]
    assert ran == ["work"]


def test_with_exit_a_graph_inside_costs_no_commit(face: Face, saver: Saver, thread: Any) -> None:
    batches = written(saver)

    def up(state: Any) -> Command[Any]:
        return Command(graph=Command.PARENT, goto="b", update={"log": ["up"]})

    inner = line(("x", counts("x")))
    child = line(("inner", inner), ("up", up))
    builder = StateGraph(Log).add_node("child", child, destinations=("b",)).add_node("b", counts("b"))
    face.invoke(builder.add_edge(START, "child").compile(saver), {"log": ["in"]}, thread, durability="exit")
    assert [batch.row is not None for batch in batches] == [False, True]


# -- what belongs together is written together ----------------------------------------------------------------------


def test_an_answer_and_the_update_that_comes_with_it_are_one_write(face: Face, saver: Saver, thread: Any) -> None:
    graph = line(("asks", asks("one?")), saver=saver)
    face.invoke(graph, {"log": []}, thread)
    batches = written(saver)
    face.invoke(graph, Command(resume="1", update={"n": 1}), thread)
    assert next(len(batch.kept) for batch in batches if batch.row) == 1


@levels
def test_a_memory_keeps_what_was_done_before_it_called_up(face: Face, saver: Saver, thread: Any, level: Durability) -> None:
    def up(state: Any) -> Command[Any]:
        return Command(graph=Command.PARENT, update={"log": [str(state["other"])]})

    def remember(state: Any) -> Any:
        return {"other": (state.get("other") or 0) + 1}

    child = line(("r", remember), ("up", up), checkpointer=True)
    graph = line(("child", child), saver=saver)
    for count in (["1"], ["1", "2"], ["1", "2", "3"]):
        assert face.invoke(graph, {}, thread, durability=level)["log"] == count
