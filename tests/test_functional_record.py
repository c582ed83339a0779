"""What a workflow has on record: questions in tasks, and calls that are told apart by place, name and arguments."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from support.faces import Face
from support.tasks import RAN, asks, double

from clew.checkpoint.base import Saver
from clew.errors import ArgumentsChanged, TaskMismatch, UnstorableValue
from clew.func import entrypoint, task
from clew.types import Command, RetryPolicy, interrupt

Config = dict[str, Any]


@pytest.fixture(autouse=True)
def ran() -> None:
    RAN.clear()


# -- asking ---------------------------------------------------------------------------------------------------------


def test_a_task_asks_and_the_ones_before_it_are_not_done_again(face: Face, saver: Saver, thread: Config) -> None:
    @entrypoint(checkpointer=saver)
    def workflow(given: int) -> str:
        return f"{double(given).result()} {asks('ok?').result()} {interrupt('sure?')}"

    first = face.invoke(workflow, 1, thread)
    assert first == {"__interrupt__": first["__interrupt__"]}
    assert [found.value for found in first["__interrupt__"]] == ["ok?"]
    second = face.invoke(workflow, Command(resume="yes"), thread)
    assert [found.value for found in second["__interrupt__"]] == ["sure?"]
    assert face.invoke(workflow, Command(resume="very"), thread) == "2 ok? yes very"
    assert RAN == [1, "ok?", "ok?"]


def test_a_paused_run_does_not_show_what_the_last_one_came_to(face: Face, saver: Saver, thread: Config) -> None:
    @entrypoint(checkpointer=saver)
    def workflow(given: str) -> dict[str, Any]:
        return {"answer": interrupt("?") if given == "ask" else given}

    face.invoke(workflow, "first", thread)
    paused = face.invoke(workflow, "ask", thread)
    assert paused.keys() == {"__interrupt__"}
    assert face.invoke(workflow, Command(resume="second"), thread) == {"answer": "second"}


def test_questions_of_parallel_tasks_are_all_reported(face: Face, saver: Saver, thread: Config) -> None:
    @entrypoint(checkpointer=saver)
    def workflow(given: int) -> list[str]:
        return [future.result() for future in [asks("one?"), asks("two?"), double(1)]]  # pyright: ignore

    asked = face.invoke(workflow, 0, thread)["__interrupt__"]
    assert sorted(found.value for found in asked) == ["one?", "two?"]
    answers = {found.id: found.value.upper() for found in asked}
    assert face.invoke(workflow, Command(resume=answers), thread) == ["one? ONE?", "two? TWO?", 2]
    assert RAN.count(1) == 1


# -- telling calls apart --------------------------------------------------------------------------------------------


def deployed(saver: Saver, body: Callable[[], list[Any]]) -> Any:
    @entrypoint(checkpointer=saver)
    def workflow(given: int) -> list[Any]:
        return [*body(), interrupt("well?")]

    return workflow


def test_calls_in_another_order_get_their_own_results(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(deployed(saver, lambda: [double(1).result(), double(2).result()]), 0, thread)
    swapped = deployed(saver, lambda: [double(2).result(), double(1).result()])
    assert face.invoke(swapped, Command(resume="x"), thread) == [4, 2, "x"]
    assert RAN == [1, 2]


def test_a_call_that_is_new_is_made(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(deployed(saver, lambda: [double(1).result()]), 0, thread)
    more = deployed(saver, lambda: ["new", double(1).result(), double(1).result()])
    assert face.invoke(more, Command(resume="x"), thread) == ["new", 2, 2, "x"]
    assert RAN == [1, 1]


def test_other_arguments_of_the_same_code_get_the_result_with_a_warning(face: Face, saver: Saver, thread: Config) -> None:
    now = iter([1, 2])
    graph = deployed(saver, lambda: [double(next(now)).result()])
    face.invoke(graph, 0, thread)
    with pytest.warns(ArgumentsChanged, match="'double', call 1"):
        assert face.invoke(graph, Command(resume="x"), thread) == [2, "x"]
    assert RAN == [1]


def test_other_arguments_of_other_code_are_refused(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(deployed(saver, lambda: [double(1).result()]), 0, thread)
    changed = deployed(saver, lambda: ["and more", double(3).result()])
    with pytest.raises(TaskMismatch, match=r"Task 'double', call 1 of node 'workflow'"):
        face.invoke(changed, Command(resume="x"), thread)
    assert RAN == [1]
    assert face.invoke(deployed(saver, lambda: [double(1).result()]), None, thread) == [2, "x"]


def test_arguments_that_cannot_be_stored(face: Face, saver: Saver, thread: Config) -> None:
    @task
    def takes(x: Any) -> int:
        return 1

    def workflow(given: int) -> int:
        return takes(lambda: 1).result()

    assert face.invoke(entrypoint()(workflow), 0) == 1
    with pytest.raises(UnstorableValue, match="task 'takes' was called with"):
        face.invoke(entrypoint(checkpointer=saver)(workflow), 0, thread)


def test_a_result_that_cannot_be_stored_names_its_task(face: Face, saver: Saver, thread: Config) -> None:
    @task
    def returns(x: int) -> Any:
        return {"found": lambda: x}

    @entrypoint(checkpointer=saver)
    def workflow(given: int) -> int:
        return len(returns(given).result())

    with pytest.raises(UnstorableValue, match=r"at \['found'\]: task 'returns' returned"):
        face.invoke(workflow, 0, thread)


def test_new_calls_beside_one_another_are_all_kept(face: Face, saver: Saver, thread: Config) -> None:
    both = threading.Barrier(2, timeout=10)

    @task
    def fresh(x: int) -> int:
        RAN.append(f"fresh {x}")
        both.wait()
        return x

    def asking(body: Callable[[], list[Any]]) -> Any:
        return deployed(saver, lambda: [*body(), interrupt("first?")])

    def with_new_ones() -> list[Any]:
        futures = [fresh(5), fresh(6)]
        return [*[future.result() for future in futures], double(1).result(), double(2).result()]

    face.invoke(asking(lambda: [double(1).result(), double(2).result()]), 0, thread)
    face.invoke(asking(with_new_ones), Command(resume="x"), thread)
    assert face.invoke(asking(with_new_ones), Command(resume="y"), thread) == [5, 6, 2, 4, "x", "y"]
    assert sorted(RAN, key=str) == [1, 2, "fresh 5", "fresh 6"]


def test_code_that_calls_in_a_comprehension_is_that_around_it(face: Face, saver: Saver, thread: Config) -> None:
    numbers = [1]

    def before() -> list[Any]:
        return [double(x).result() for x in numbers]

    def after() -> list[Any]:
        return ["and more", *[double(x).result() for x in numbers]]

    face.invoke(deployed(saver, before), 0, thread)
    numbers[0] = 2
    with pytest.raises(TaskMismatch):
        face.invoke(deployed(saver, after), Command(resume="x"), thread)


@pytest.mark.parametrize("kept", [True, False])
def test_what_the_caller_does_to_a_result_is_not_on_record(face: Face, saver: Saver, thread: Config, kept: bool) -> None:
    failed: list[int] = []

    @task
    def makes(x: int) -> list[int]:
        return [x]

    policy = RetryPolicy(initial_interval=0, jitter=False, retry_on=OSError)

    @entrypoint(checkpointer=saver if kept else None, retry_policy=policy)
    def workflow(given: int) -> list[int]:
        found = makes(given).result()
        found.append(2)
        if not failed:
            failed.append(1)
            raise OSError("after that")
        return found

    assert face.invoke(workflow, 1, thread) == [1, 2]
