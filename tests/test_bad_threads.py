"""Threads, ids and values that cannot be meant: nothing is lost or half written, and the message says what to type."""

from collections.abc import Callable
from typing import Any

import pytest
from support.faces import SYNC, Face
from support.graphs import Log, chain

from clew.checkpoint.base import Saver
from clew.errors import (
    CheckpointNotFound,
    EmptyInputError,
    MissingCheckpointer,
    MissingThreadId,
    UnstorableValue,
)
from clew.graph import START, StateGraph

Config = dict[str, Any]


def at(thread: Config, **more: Any) -> Config:
    return {"configurable": {**thread["configurable"], **more}}


# -- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [None, {}, {"configurable": {}}, {"configurable": {"thread_id": None}}])
def test_a_missing_thread_id_says_what_to_type(face: Face, saver: Saver, config: Any) -> None:
    with pytest.raises(MissingThreadId, match=r'\{"configurable": \{"thread_id": "1"\}\}'):
        face.invoke(chain(saver, "a"), {}, config)
    assert saver.threads() == []


def test_an_unknown_checkpoint_id_is_not_an_empty_thread(face: Face, saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a")
    face.invoke(graph, {}, thread)
    for wrong in ("1ef4f797-8335-6428-8001-8a1503f9b875", "nonsense"):
        calls: list[Callable[[Any, Any], Any]] = [
            face.get_state,
            lambda graph, config: face.invoke(graph, {}, config),
            lambda graph, config: face.history(graph, thread, before=config),
        ]
        for call in calls:
            with pytest.raises(CheckpointNotFound, match=wrong):
                call(graph, at(thread, checkpoint_id=wrong))
    assert len(face.history(graph, thread)) == 3


def test_an_id_of_another_thread_is_not_found(face: Face, saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a")
    for name in ("1", "2"):
        face.invoke(graph, {}, {"configurable": {"thread_id": name}})
    foreign = face.get_state(graph, thread).config["configurable"]["checkpoint_id"]
    with pytest.raises(CheckpointNotFound, match=foreign):
        face.get_state(graph, {"configurable": {"thread_id": "2", "checkpoint_id": foreign}})


def test_a_fresh_thread_has_nothing_to_go_on_from(face: Face, saver: Saver, thread: Config) -> None:
    with pytest.raises(EmptyInputError, match="Thread '1' has nothing to go on from"):
        face.invoke(chain(saver, "a"), None, thread)


def test_state_of_a_graph_that_keeps_none_is_refused(face: Face, thread: Config) -> None:
    with pytest.raises(MissingCheckpointer, match="checkpointer="):
        face.get_state(chain(None, "a"), thread)


def test_a_value_that_cannot_be_stored_is_named_and_nothing_is_committed(face: Face, saver: Saver, thread: Config) -> None:
    import threading

    returned: dict[str, Any] = {"other": {"deep": [1, threading.Lock()]}, "n": 1}
    builder = StateGraph(Log).add_node("a", lambda state: {"log": ["a"]}).add_node("b", lambda state: returned)
    graph = builder.add_edge(START, "a").add_edge("a", "b").compile(saver)
    with pytest.raises(UnstorableValue, match=r"at other\['deep'\]\[1\]: node 'b' wrote a _thread.lock"):
        face.invoke(graph, {}, thread)
    state = face.get_state(graph, thread)
    assert (state.values, state.next) == ({"log": ["a"]}, ("b",))
    returned["other"] = "mended"
    assert face.invoke(graph, None, thread) == {"log": ["a"], "n": 1, "other": "mended"}


def test_an_input_that_cannot_be_stored_leaves_no_thread(face: Face, saver: Saver, thread: Config) -> None:
    with pytest.raises(UnstorableValue, match=r"at other: the input has a function"):
        face.invoke(chain(saver, "a"), {"other": chain}, thread)
    assert saver.threads() == []


def test_a_parallel_task_whose_value_cannot_be_stored_fails_alone(face: Face, saver: Saver, thread: Config) -> None:
    returned: dict[str, Any] = {"other": object()}
    builder = StateGraph(Log).add_node("a", lambda state: {"log": ["a"]}).add_node("b", lambda state: returned)
    graph = builder.add_edge(START, "a").add_edge(START, "b").compile(saver)
    with pytest.raises(UnstorableValue, match="at other: node 'b' wrote a object"):
        SYNC.invoke(graph, {}, thread)
    returned["other"] = 1
    assert face.invoke(graph, None, thread) == {"log": ["a"], "other": 1}
