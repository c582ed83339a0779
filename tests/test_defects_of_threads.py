"""Where Clew differs on purpose (DESIGN §10), for threads: what is kept, answered, renamed and gone back to. In its order.

The rows of the graph language are in test_defects.py; what answers are is told in full in test_interrupts.py and
test_answers.py, and what a deploy may change in test_renamed_keys.py and test_renamed_nodes.py.
"""

import threading
import types
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from support.faces import ASYNC, SYNC, Face
from support.graphs import Log, chain, drawn, says

from clew.checkpoint.base import Saver
from clew.errors import (
    DroppedWorkWarning,
    InterruptMismatch,
    QuestionChanged,
    ThreadConflict,
    UnknownInterrupt,
    UnknownNode,
)
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.types import Command, Failed, interrupt

Config = dict[str, Any]
Node = Callable[[Any], Any]


def one(saver: Saver, node: Node, name: str = "node", *aliases: str) -> CompiledStateGraph:
    return StateGraph(Log).add_node(name, node, aliases=aliases).add_edge(START, name).compile(saver)


def deployed(source: str) -> Node:
    """A node as a deploy would bring it: another code object under the same name."""
    code = compile(f"def node(state):\n    return {{'log': {source}}}", "deployed.py", "exec")
    exec(code, {**vars(types.ModuleType("deployed")), "interrupt": interrupt}, found := dict[str, Any]())
    return found["node"]


def waiting(face: Face, graph: CompiledStateGraph, thread: Config) -> dict[str, str]:
    """The ids of open questions, by what they ask."""
    return {found.value: found.id for found in face.get_state(graph, thread).interrupts}


# -- names and ids that are wrong -----------------------------------------------------------------------------------


def test_of_two_runs_on_one_thread_one_is_told_and_nothing_committed_is_out_of_reach(
    face: Face, saver: Saver, thread: Config
) -> None:
    told: list[ThreadConflict] = []
    other = one(Saver(saver.storage), says("other"))

    def run_other() -> None:
        try:
            face.invoke(other, {"log": ["in other"]}, thread)
        except ThreadConflict as error:
            told.append(error)

    def node(state: Log) -> Log:
        beside = threading.Thread(target=run_other)
        beside.start()
        beside.join()
        return {"log": ["node"]}

    try:
        face.invoke(one(saver, node), {"log": ["in"]}, thread)
    except ThreadConflict as error:
        told.append(error)
    assert len(told) == 1
    elsewhere = one(Saver(saver.storage), says("node"))
    ids = {shown.config["configurable"]["checkpoint_id"] for shown in face.history(elsewhere, thread)}
    reached, config = set[str](), face.get_state(elsewhere, thread).config
    while config is not None:
        reached.add(config["configurable"]["checkpoint_id"])
        config = face.get_state(elsewhere, config).parent_config
    assert reached == ids


def test_a_pending_node_that_was_renamed_goes_on_under_its_alias(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(one(saver, lambda state: {"log": [interrupt("?", key="q")]}, "ask"), {}, thread)
    after = one(saver, lambda state: {"log": [interrupt("?", key="q")]}, "approve", "ask")
    assert face.invoke(after, Command(resume="yes"), thread) == {"log": ["yes"]}


def test_a_pending_node_that_was_removed_names_node_thread_and_remedies(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(one(saver, lambda state: {"log": [interrupt("?")]}, "ask"), {}, thread)
    removed = one(saver, says("approve"), "approve")
    for given in (None, Command(resume="yes")):
        with pytest.raises(
            UnknownNode, match=r"'1' is about to run 'ask'.*aliases=\['ask'\].*update_state\(.*as_node="
        ) as caught:
            face.invoke(removed, given, thread)
        assert "Its nodes are ['approve']" in str(caught.value)
    assert face.get_state(removed, thread).next == ("ask",)


# -- supersteps that did not end ------------------------------------------------------------------------------------


def half_done(face: Face, saver: Saver, thread: Config) -> CompiledStateGraph:
    """`a` has finished and `b` has failed."""

    def falls(state: Log) -> Log:
        raise OSError("no route")

    builder = drawn((START, "a")).add_node("b", falls).add_edge(START, "b")
    with pytest.raises(OSError, match="no route"):
        face.invoke(builder.compile(saver), {"log": ["in"]}, thread)
    return drawn((START, "a"), (START, "b")).compile(saver)


def test_a_new_input_on_a_half_done_step_warns_and_what_it_drops_stays_in_history(
    face: Face, saver: Saver, thread: Config
) -> None:
    graph = half_done(face, saver, thread)
    with pytest.warns(DroppedWorkWarning, match=r"new input drops what \['a'\] had done in a superstep of thread '1'"):
        assert face.invoke(graph, {"log": ["anew"]}, thread)["log"] == ["in", "anew", "a", "b"]
    assert face.history(graph, thread)[-2].tasks[0].result == {"log": ["a"]}


def test_an_update_on_a_half_done_step_warns_and_what_it_drops_stays_in_history(
    face: Face, saver: Saver, thread: Config
) -> None:
    graph = half_done(face, saver, thread)
    with pytest.warns(DroppedWorkWarning, match=r"update drops what \['a'\] had done in a superstep of thread '1'"):
        face.update(graph, thread, {"log": ["edited"]}, "b")
    assert face.get_state(graph, thread).values == {"log": ["in", "edited"]}
    assert face.history(graph, thread)[-2].tasks[0].result == {"log": ["a"]}


# -- answers --------------------------------------------------------------------------------------------------------


def test_two_approvals_that_a_deploy_has_swapped_get_no_answer(face: Face, saver: Saver, thread: Config) -> None:
    delivered = "[interrupt('mail?'), interrupt('pay?')]", "[interrupt('pay?'), interrupt('mail?')]"
    before, after = (one(saver, deployed(source)) for source in delivered)
    face.invoke(before, {}, thread)
    with pytest.raises(InterruptMismatch, match=r"asks 'pay\?'.*It was not delivered"):
        face.invoke(after, Command(resume="the mail is fine"), thread)
    assert face.get_state(after, thread).values == {"log": []}


def test_a_question_that_a_model_words_anew_is_answered_with_a_warning(face: Face, saver: Saver, thread: Config) -> None:
    wordings = iter(["Shall I?", "May I?"])
    graph = one(saver, lambda state: {"log": [interrupt(next(wordings))]})
    face.invoke(graph, {}, thread)
    with pytest.warns(QuestionChanged, match="asks 'May I"):
        assert face.invoke(graph, Command(resume="yes"), thread) == {"log": ["yes"]}


def twice(state: Log) -> Log:
    return {"log": [interrupt("one?"), interrupt("two?")]}


def test_unknown_ids_and_a_second_click_are_refused(face: Face, saver: Saver, thread: Config) -> None:
    graph = one(saver, twice)
    face.invoke(graph, {}, thread)
    first = waiting(face, graph, thread)["one?"]
    face.invoke(graph, Command(resume={first: "yes"}), thread)
    for given in ({first: "again"}, {"0" * 32: "nobody asked"}):
        with pytest.raises(UnknownInterrupt, match=r"not waiting for an answer .any more.*'two\?'.*used once"):
            face.invoke(graph, Command(resume=given), thread)
    assert [*waiting(face, graph, thread)] == ["two?"]
    assert face.invoke(graph, Command(resume="no"), thread) == {"log": ["yes", "no"]}
    with pytest.raises(UnknownInterrupt):
        face.invoke(graph, Command(resume={first: "too late"}), thread)


@pytest.mark.parametrize("answer", [None, {}, {"a" * 32: "32 hexadecimal digits"}])
def test_any_value_is_an_answer(face: Face, saver: Saver, thread: Config, answer: Any) -> None:
    graph = one(saver, lambda state: {"log": [interrupt("?")]})
    face.invoke(graph, {}, thread)
    assert face.invoke(graph, Command(resume={waiting(face, graph, thread)["?"]: answer}), thread) == {"log": [answer]}


def test_going_on_with_none_feeds_no_old_answer_to_a_new_question(face: Face, saver: Saver, thread: Config) -> None:
    graph = one(saver, twice)
    face.invoke(graph, {}, thread)
    face.invoke(graph, Command(resume="yes"), thread)
    assert [found.value for found in face.invoke(graph, None, thread)["__interrupt__"]] == ["two?"]
    face.invoke(graph, {}, thread)
    assert [found.value for found in face.invoke(graph, None, thread)["__interrupt__"]] == ["one?"]


def test_an_answer_to_an_older_checkpoint_opens_a_branch(face: Face, saver: Saver, thread: Config) -> None:
    graph = one(saver, lambda state: {"log": [interrupt("?")]})
    face.invoke(graph, {}, thread)
    asked = face.get_state(graph, thread)
    for answer in ("first", "second"):
        assert face.invoke(graph, Command(resume=answer), asked.config) == {"log": [answer]}
    ends = [shown.values["log"] for shown in face.history(graph, thread) if not shown.next]
    assert ends == [["second"], ["first"]]


def test_except_exception_around_interrupt_does_not_swallow_the_pause(face: Face, saver: Saver, thread: Config) -> None:
    def careless(state: Log) -> Log:
        try:
            return {"log": [interrupt("?")]}
        except Exception:
            return {"log": ["swallowed"]}

    graph = one(saver, careless)
    assert [found.value for found in face.invoke(graph, {}, thread)["__interrupt__"]] == ["?"]
    assert face.invoke(graph, Command(resume="yes"), thread) == {"log": ["yes"]}


# -- what comes back ------------------------------------------------------------------------------------------------


def test_types_come_back_on_reload_as_they_were(face: Face, saver: Saver, thread: Config) -> None:
    kept = {"pair": (1, (2, [3])), "last": deque([1, 2], maxlen=2), "set": {1}, "keys": {1: b"\0"}}
    face.invoke(one(saver, lambda state: {"other": kept}), {}, thread)
    found = face.get_state(one(Saver(saver.storage), twice), thread).values["other"]
    assert found == kept
    assert [type(found[key]) for key in kept] == [tuple, deque, set, dict]
    assert found["last"].maxlen == 2


def test_an_error_comes_back_as_its_type_message_and_traceback(face: Face, saver: Saver, thread: Config) -> None:
    half_done(face, saver, thread)
    error = face.get_state(drawn((START, "a"), (START, "b")).compile(Saver(saver.storage)), thread).tasks[1].error
    assert isinstance(error, Failed)
    assert (error.type, error.message) == ("OSError", "no route")
    assert "in falls\n    raise OSError" in error.traceback


def test_one_saver_serves_both_faces(face: Face, saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a")
    for other in (SYNC, ASYNC, face):
        other.invoke(graph, {}, thread)
    assert face.get_state(graph, thread).values["log"] == ["a", "a", "a"]
