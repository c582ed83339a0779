"""Where Clew differs on purpose (DESIGN §10): memories of graphs within and functional tasks, each row by its name."""

from typing import Any

import pytest
from support.faces import Face
from support.graphs import Log
from support.tales import line

from clew.checkpoint.base import Saver
from clew.errors import TaskMismatch
from clew.func import entrypoint, task
from clew.types import Command, interrupt

Config = dict[str, Any]


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
