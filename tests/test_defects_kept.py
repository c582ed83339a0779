"""Where Clew differs on purpose (DESIGN §10): the rows of threads, answers and tasks that are kept, each by its name.

Beside those here: answers that belong to one question, and are used once, in test_interrupts.py (a deploy that swaps two
approvals, a question that a model words anew, a second click, `except Exception` around the pause); exceptions and types that
come back as they were in test_codec.py; both faces of one saver in every test.
"""

from typing import Any

import pytest
from support.faces import Face
from support.graphs import Log, chain, elsewhere, says
from support.tales import line

from clew.checkpoint.base import Saver
from clew.errors import EmptyInputError, TaskMismatch, ThreadConflict, UnknownInterrupt, UnknownNode
from clew.func import entrypoint, task
from clew.graph import START, StateGraph
from clew.types import Command, interrupt

Config = dict[str, Any]


def test_of_two_runs_on_one_thread_one_is_told_and_nothing_is_lost(face: Face, saver: Saver, thread: Config) -> None:
    refused: list[Exception] = []

    def node(state: Log) -> Log:
        try:
            elsewhere(lambda: face.invoke(graph, {"log": ["other"]}, thread))
        except ThreadConflict as error:
            refused.append(error)
        return {"log": ["node"]}

    graph = StateGraph(Log).add_node(node).add_edge(START, "node").compile(saver)
    assert face.invoke(graph, {"log": ["in"]}, thread)["log"] == ["in", "node"]
    assert len(refused) == 1
    assert face.get_state(graph, thread).values["log"] == ["in", "node"]


def test_a_pending_node_that_was_renamed_or_removed_is_named_and_never_dropped(
    face: Face, saver: Saver, thread: Config
) -> None:
    face.invoke(line("a", "b", checkpointer=saver, interrupt_before=["b"]), {}, thread)
    for gone in (line("a", "renamed", checkpointer=saver), line("a", checkpointer=saver)):
        with pytest.raises(UnknownNode, match=r"about to run 'b'.*`add_node\(…, aliases=\['b'\]\)`"):
            face.invoke(gone, None, thread)
    alias = StateGraph(Log).add_node("a", says("a")).add_node("renamed", says("renamed"), aliases=["b"])
    assert face.invoke(alias.add_edge(START, "a").compile(saver), None, thread)["log"] == ["a", "renamed"]


def test_an_answer_is_not_given_to_a_later_question_by_going_on(face: Face, saver: Saver, thread: Config) -> None:
    def asks(state: Log) -> Log:
        return {"log": [interrupt("one?"), interrupt("two?")]}

    graph = StateGraph(Log).add_node(asks).add_edge(START, "asks").compile(saver)
    face.invoke(graph, {}, thread)
    face.invoke(graph, Command(resume="one!"), thread)
    for _ in range(2):
        assert [found.value for found in face.invoke(graph, None, thread)["__interrupt__"]] == ["two?"]
    assert face.invoke(graph, Command(resume="two!"), thread)["log"] == ["one!", "two!"]


def test_an_id_that_is_not_open_is_refused(face: Face, saver: Saver, thread: Config) -> None:
    def asks(state: Log) -> Log:
        return {"log": [interrupt("?")]}

    graph = StateGraph(Log).add_node(asks).add_edge(START, "asks").compile(saver)
    asked = face.invoke(graph, {}, thread)["__interrupt__"][0]
    with pytest.raises(UnknownInterrupt, match="are not waiting for an answer"):
        face.invoke(graph, Command(resume={"0" * 32: "x"}), thread)
    assert face.invoke(graph, Command(resume={asked.id: "yes"}), thread)["log"] == ["yes"]
    with pytest.raises(UnknownInterrupt, match="used once"):
        face.invoke(graph, Command(resume={asked.id: "yes"}), thread)


def test_stateful_subgraph_calls_are_told_apart_by_their_names(face: Face, saver: Saver, thread: Config) -> None:
    children = {name: line(name, checkpointer=True, name=name) for name in ("tea", "milk")}
    order = [["tea", "milk"], ["milk", "tea"]]

    def call(state: Log) -> Log:
        return {"log": [f"{name}{len(children[name].invoke({'log': []})['log'])}" for name in order.pop(0)]}

    graph = line(call, checkpointer=saver)
    face.invoke(graph, {"log": []}, thread)
    assert face.invoke(graph, {"log": []}, thread)["log"] == ["tea1", "milk1", "milk2", "tea2"]


def test_functional_tasks_are_told_apart_by_their_arguments_as_well(face: Face, saver: Saver, thread: Config) -> None:
    @task
    def pay(amount: int) -> str:
        return f"paid {amount}"

    def first(given: int) -> Any:
        return pay(1).result(), interrupt("?")

    def second(given: int) -> Any:
        return "changed", pay(2).result(), interrupt("?")

    second.__name__ = "first"
    face.invoke(entrypoint(checkpointer=saver)(first), 0, thread)
    with pytest.raises(TaskMismatch, match="was not delivered"):
        face.invoke(entrypoint(checkpointer=saver)(second), Command(resume="x"), thread)


def test_an_unread_failing_future_fails_the_run(face: Face) -> None:
    @task
    def fails() -> None:
        raise OSError("unread")

    @entrypoint()
    def flow(given: int) -> int:
        fails()
        return given

    with pytest.raises(OSError, match="unread"):
        face.invoke(flow, 1)


def test_all_interrupts_of_parallel_tasks_are_reported(face: Face, saver: Saver, thread: Config) -> None:
    @task
    def asks(question: str) -> str:
        return interrupt(question)

    @entrypoint(checkpointer=saver)
    def flow(given: int) -> list[str]:
        return [future.result() for future in [asks("one?"), asks("two?")]]

    asked = face.invoke(flow, 1, thread)["__interrupt__"]
    assert sorted(found.value for found in asked) == ["one?", "two?"]


def test_a_paused_run_does_not_return_what_the_last_one_did(face: Face, saver: Saver, thread: Config) -> None:
    @entrypoint(checkpointer=saver)
    def flow(given: str) -> dict[str, Any]:
        return {"answer": interrupt("?") if given == "ask" else given}

    face.invoke(flow, "plain", thread)
    assert "answer" not in face.invoke(flow, "ask", thread)


def test_nothing_to_go_on_from_is_said(face: Face, saver: Saver, thread: Config) -> None:
    with pytest.raises(EmptyInputError, match="'1' has nothing to go on from"):
        face.invoke(chain(saver, "a"), None, thread)
