"""Going back within graphs inside tasks: those around go along, and what is asked for is where it goes on."""

from typing import Any

import pytest
from support.faces import Face
from support.tales import Tale, line, place_of, waiting_within

from clew.checkpoint.base import Saver
from clew.errors import CheckpointNotFound
from clew.types import Command

Config = dict[str, Any]
Remembers = bool | None


@pytest.mark.parametrize("kind", [None, True])
def test_going_back_within_a_graph_resumes_at_the_node_asked_for(
    face: Face, saver: Saver, thread: Config, kind: Remembers
) -> None:
    tale = Tale()
    low = line(tale.a, tale.b, tale.c, checkpointer=kind)
    middle = line(tale.m, ("low", low), tale.n, checkpointer=kind)
    graph = line(tale.top, ("middle", middle), tale.end, checkpointer=saver)
    expected = face.invoke(graph, {"log": []}, thread)
    before = next(state for state in face.history(graph, thread) if state.next == ("middle",))
    low_state = face.get_state(graph, before.config, subgraphs=True).tasks[0].state
    at_low = next(s for s in face.history(graph, place_of(low_state)) if s.next == ("low",))
    inside = face.get_state(graph, at_low.config, subgraphs=True).tasks[0].state
    at_c = next(s for s in face.history(graph, place_of(inside)) if s.next == ("c",))
    tale.ran.clear()
    assert face.invoke(graph, None, at_c.config) == expected
    assert tale.ran == ["c", "n", "end"]
    heads = [state for state in face.history(graph, thread) if state.next == ()]
    assert len(heads) == 2, "the old branch is still there"


def test_going_back_to_an_edit_within(face: Face, saver: Saver, thread: Config) -> None:
    tale = Tale()
    graph = line(tale.top, ("inner", line(tale.a, tale.b, tale.c)), tale.end, checkpointer=saver)
    face.invoke(graph, {"log": []}, thread)
    before = next(state for state in face.history(graph, thread) if state.next == ("inner",))
    at_b = next(s for s in face.history(graph, before.tasks[0].state) if s.next == ("b",))
    edited = face.update(graph, at_b.config, {"log": ["by hand"]}, "b")
    tale.ran.clear()
    result = face.invoke(graph, None, edited)
    assert tale.ran == ["c", "end"]
    assert "by hand" in result["log"]


def test_a_crash_on_the_way_back_leaves_the_thread_as_it_was(face: Face, saver: Saver, thread: Config) -> None:
    tale = Tale()
    graph = line(("inner", line(tale.a, tale.b)), checkpointer=saver)
    face.invoke(graph, {"log": []}, thread)
    before = next(state for state in face.history(graph, thread) if state.next == ("inner",))
    at_b = next(s for s in face.history(graph, before.tasks[0].state) if s.next == ("b",))
    head = face.get_state(graph, thread)
    tale.broken = {"b"}
    with pytest.raises(OSError, match="b is broken"):
        face.invoke(graph, None, at_b.config)
    assert face.get_state(graph, thread).next == ("inner",)
    assert face.invoke(graph, None, thread) == head.values
    assert tale.ran == ["a", "b", "b", "b"]


def test_the_config_of_what_is_pending_goes_on_inplace_of(face: Face, saver: Saver, thread: Config) -> None:
    graph = waiting_within(saver)
    face.invoke(graph, {"log": []}, thread)
    low = face.get_state(graph, thread, subgraphs=True).tasks[0].state.tasks[0].state
    count = len(face.history(graph, thread))
    result = face.invoke(graph, Command(resume="yes"), low.config)
    assert result["log"].count("yes") >= 1
    assert len(face.history(graph, thread)) == count + 2
    assert not [s for s in face.history(graph, thread) if (s.metadata or {})["source"] == "fork"]


def test_an_answer_to_a_question_within_that_was_answered_opens_a_branch(face: Face, saver: Saver, thread: Config) -> None:
    tale = Tale()
    graph = line(("inner", line(tale.a, tale.asks("asks", "well?"))), checkpointer=saver)
    face.invoke(graph, {"log": []}, thread)
    asked = face.get_state(graph, thread, subgraphs=True).tasks[0].state
    assert face.invoke(graph, Command(resume="yes"), thread)["log"] == ["a", "asks", "yes"]
    tale.ran.clear()
    assert face.invoke(graph, Command(resume="no"), asked.config)["log"] == ["a", "asks", "no"]
    assert tale.ran == ["asks"]


def test_a_config_of_a_namespace_without_a_checkpoint_is_refused(face: Face, saver: Saver, thread: Config) -> None:
    graph = line(("inner", line("a")), checkpointer=saver)
    face.invoke(graph, {"log": []}, thread)
    with pytest.raises(CheckpointNotFound, match="no checkpoint in the namespace 'inner:1'"):
        face.invoke(graph, None, {"configurable": {"thread_id": "1", "checkpoint_ns": "inner:1"}})
