"""Waiting for a human: an answer belongs to one question, is kept before anything runs, and is used once."""

import asyncio
import operator
import types
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import pytest
from pydantic import ValidationError
from support.faces import SYNC, Face

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import MemoryStorage
from clew.errors import (
    EmptyInputError,
    InterruptMismatch,
    InvalidUpdateError,
    QuestionChanged,
    UnkeptPause,
    UnknownInterrupt,
    UnstorableValue,
)
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.testing.crash import Crash, CrashingStorage
from clew.types import Command, RetryPolicy, Send, interrupt

Config = dict[str, Any]


class Log(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]
    n: int


def asking(saver: Saver | None, *nodes: Callable[..., Any], **options: Any) -> CompiledStateGraph:
    builder = StateGraph(Log)
    for node in nodes:
        builder.add_node(node, **options).add_edge(START, node.__name__)
    return builder.compile(saver)


def ask(state: Log) -> Log:
    return {"log": [interrupt("?")]}


def ids(face: Face, graph: CompiledStateGraph, thread: Config) -> list[str]:
    return [found.id for found in face.get_state(graph, thread).interrupts]


def test_another_process_can_answer(face: Face, saver: Saver, thread: Config) -> None:
    paused = face.invoke(asking(saver, ask), {}, thread)
    assert [found.value for found in paused["__interrupt__"]] == ["?"]
    elsewhere = asking(Saver(saver.storage), ask)
    assert face.get_state(elsewhere, thread).next == ("ask",)
    assert ids(face, elsewhere, thread) == [paused["__interrupt__"][0].id]
    assert face.invoke(elsewhere, Command(resume="yes"), thread) == {"log": ["yes"]}


@pytest.mark.parametrize("answer", [None, {}, [], False, 0, "", {"a" * 31: 1}, ("a", 1), {1, 2}])
def test_any_value_can_be_an_answer(face: Face, saver: Saver, thread: Config, answer: Any) -> None:
    graph = asking(saver, ask)
    SYNC.invoke(graph, {}, thread)
    assert face.invoke(graph, Command(resume=answer), thread) == {"log": [answer]}


def test_what_looks_like_ids_can_be_an_answer_by_its_id(face: Face, saver: Saver, thread: Config) -> None:
    graph = asking(saver, ask)
    SYNC.invoke(graph, {}, thread)
    answer = {"0" * 32: "looks like an id"}
    with pytest.raises(UnknownInterrupt, match=r"are not waiting for an answer \(any more\). Open are {'[0-9a-f]{32}': '\?'}"):
        face.invoke(graph, Command(resume=answer), thread)
    assert face.invoke(graph, Command(resume={ids(face, graph, thread)[0]: answer}), thread) == {"log": [answer]}


def test_a_second_click_on_an_answered_id_is_refused(face: Face, saver: Saver, thread: Config) -> None:
    def twice(state: Log) -> Log:
        return {"log": [interrupt("first?"), interrupt("second?")]}

    graph = asking(saver, twice)
    SYNC.invoke(graph, {}, thread)
    first = ids(face, graph, thread)[0]
    face.invoke(graph, Command(resume={first: "yes"}), thread)
    with pytest.raises(UnknownInterrupt) as caught:
        face.invoke(graph, Command(resume={first: "again"}), thread)
    assert (caught.value.reason, caught.value.interrupt_ids) == ("not_pending", [first])
    assert caught.value.pending_ids == ids(face, graph, thread) != [first]
    assert face.invoke(graph, Command(resume="last"), thread) == {"log": ["yes", "last"]}


def test_a_pause_is_not_swallowed_by_except_exception(face: Face, saver: Saver, thread: Config) -> None:
    def careless(state: Log) -> Log:
        try:
            return {"log": [interrupt("?")]}
        except Exception:
            return {"log": ["swallowed"]}

    graph = asking(saver, careless, retry_policy=RetryPolicy(initial_interval=0))
    assert "__interrupt__" in face.invoke(graph, {}, thread)
    assert face.invoke(graph, Command(resume="yes"), thread) == {"log": ["yes"]}


def test_an_answer_outlives_a_node_that_fails_before_it_asks(face: Face, saver: Saver, thread: Config) -> None:
    broken = [False]

    def node(state: Log) -> Log:
        if broken[0]:
            raise OSError("no network")
        return {"log": [interrupt("?")]}

    graph = asking(saver, node)
    face.invoke(graph, {}, thread)
    broken[0] = True
    with pytest.raises(OSError, match="no network"):
        face.invoke(graph, Command(resume="yes"), thread)
    assert face.get_state(graph, thread).interrupts == ()
    broken[0] = False
    assert face.invoke(asking(Saver(saver.storage), node), None, thread) == {"log": ["yes"]}


def test_going_on_without_an_answer_asks_again_with_the_same_id(face: Face, saver: Saver, thread: Config) -> None:
    graph = asking(saver, ask)
    first = face.invoke(graph, {}, thread)["__interrupt__"]
    assert face.invoke(graph, None, thread)["__interrupt__"] == first


def test_a_new_input_abandons_the_question(face: Face, saver: Saver, thread: Config) -> None:
    graph = asking(saver, ask)
    old = face.invoke(graph, {}, thread)["__interrupt__"][0]
    new = face.invoke(graph, {"n": 1}, thread)["__interrupt__"][0]
    assert old.id != new.id
    with pytest.raises(UnknownInterrupt):
        face.invoke(graph, Command(resume={old.id: "late"}), thread)


# -- the code that asks is changed ----------------------------------------------------------------------------------


def deployed(source: str) -> Callable[..., Any]:
    """A node as a deploy would bring it: another code object under the same name."""
    module = types.ModuleType("deployed")
    exec(compile(source, "deployed.py", "exec"), {**vars(module), "interrupt": interrupt}, found := dict[str, Any]())
    return found["node"]


APPROVALS = "def node(state):\n    return {'log': [interrupt('mail?'), interrupt('pay?')]}"
SWAPPED = "def node(state):\n    return {'log': [interrupt('pay?'), interrupt('mail?')]}"


def test_two_approvals_that_a_deploy_has_swapped_are_not_given_each_others_answers(
    face: Face, saver: Saver, thread: Config
) -> None:
    face.invoke(asking(saver, deployed(APPROVALS)), {}, thread)
    after = asking(saver, deployed(SWAPPED))
    with pytest.raises(InterruptMismatch, match=r"Node 'node' asks 'pay\?', and the answer on record was given to another"):
        face.invoke(after, Command(resume="mail is fine"), thread)
    before = asking(saver, deployed(APPROVALS))  # rolled back: the answer is still there
    assert [found.value for found in face.invoke(before, None, thread)["__interrupt__"]] == ["pay?"]
    assert face.invoke(before, Command(resume="so is the sum"), thread) == {"log": ["mail is fine", "so is the sum"]}


NAMED = "def node(state):\n    return {'log': [interrupt('mail?', key='mail'), interrupt('pay?', key='pay')]}"
NAMED_SWAPPED = "def node(state):\n    return {'log': [interrupt('Pay it?', key='pay'), interrupt('mail?', key='mail')]}"


def test_named_questions_keep_their_answers_wherever_they_move(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(asking(saver, deployed(NAMED)), {}, thread)
    face.invoke(asking(saver, deployed(NAMED)), Command(resume="mail"), thread)
    after = asking(saver, deployed(NAMED_SWAPPED))
    assert face.invoke(after, Command(resume="pay"), thread) == {"log": ["pay", "mail"]}


@pytest.mark.parametrize("strict", [False, True])
def test_a_question_that_a_model_words_anew(face: Face, saver: Saver, thread: Config, strict: bool) -> None:
    wordings = iter(["Shall I?", "May I?", "Would you mind?"])

    def node(state: Log) -> Log:
        return {"log": [interrupt(next(wordings), strict=strict)]}

    graph = asking(saver, node)
    face.invoke(graph, {}, thread)
    if strict:
        with pytest.raises(InterruptMismatch, match="asks 'May I"):
            face.invoke(graph, Command(resume="yes"), thread)
        return
    with pytest.warns(QuestionChanged, match="asks 'May I.* by now, which reads differently"):
        assert face.invoke(graph, Command(resume="yes"), thread) == {"log": ["yes"]}


# -- what an answer must be -----------------------------------------------------------------------------------------


@dataclass
class Verdict:
    ok: bool
    why: str = ""


def test_an_answer_that_does_not_fit_is_refused_and_can_be_given_anew(face: Face, saver: Saver, thread: Config) -> None:
    def node(state: Log) -> Log:
        verdict = interrupt("?", response_schema=Verdict)
        return {"log": [type(verdict).__name__, verdict.ok]}

    graph = asking(saver, node)
    paused = face.invoke(graph, {}, thread)["__interrupt__"][0]
    assert paused.response_schema["properties"]["ok"] == {"title": "Ok", "type": "boolean"}
    with pytest.raises(ValidationError, match="ok"):
        face.invoke(graph, Command(resume={"ok": "perhaps"}), thread)
    assert ids(face, graph, thread) == [paused.id]
    assert face.invoke(graph, Command(resume={"ok": True}), thread) == {"log": ["Verdict", True]}


def test_a_question_that_cannot_be_stored_is_refused(face: Face, saver: Saver, thread: Config) -> None:
    def node(state: Log) -> Log:
        return {"log": [interrupt({"what": object()})]}

    with pytest.raises(UnstorableValue, match="what"):
        face.invoke(asking(saver, node), {}, thread)


# -- where questions are asked --------------------------------------------------------------------------------------


def test_a_graph_that_keeps_nothing_says_that_nobody_can_answer(face: Face) -> None:
    with pytest.warns(UnkeptPause, match="compile it with a checkpointer"):
        assert "__interrupt__" in face.invoke(asking(None, ask), {})
    with pytest.raises(EmptyInputError):
        face.invoke(asking(None, ask), Command(resume=1))


def test_outside_of_a_node_nobody_can_be_asked() -> None:
    with pytest.raises(RuntimeError, match="called outside of a node"):
        interrupt("?")


def test_an_answer_with_an_update_beside_sends_that_have_finished(face: Face, saver: Saver, thread: Config) -> None:
    ran = list[int]()

    def each(state: dict[str, int]) -> Log:
        ran.append(state["n"])
        return {"log": [interrupt(f"{state['n']}?")]} if state["n"] else {"log": ["zero"]}

    builder = StateGraph(Log).add_node("each", each)
    builder.add_conditional_edges(START, lambda _state: [Send("each", {"n": n}) for n in range(3)], ["each"])
    graph = builder.compile(saver)
    paused = face.invoke(graph, {}, thread)
    answers = {found.id: f"to {found.value}" for found in paused["__interrupt__"]}
    after = face.invoke(graph, Command(resume=answers, update={"n": 7}), thread)
    assert after == {"log": ["zero", "to 1?", "to 2?"], "n": 7}
    assert sorted(ran) == [0, 1, 1, 2, 2]


def test_an_older_question_answered_opens_a_branch(face: Face, saver: Saver, thread: Config) -> None:
    graph = asking(saver, ask)
    face.invoke(graph, {}, thread)
    paused = face.get_state(graph, thread)
    assert face.invoke(graph, Command(resume="first"), thread) == {"log": ["first"]}
    assert face.invoke(graph, Command(resume="other"), paused.config) == {"log": ["other"]}
    assert [found.values["log"] for found in face.history(graph, thread) if not found.next] == [["other"], ["first"]]


def test_questions_within_graphs_are_told_apart(face: Face, saver: Saver, thread: Config) -> None:
    def inner(word: str) -> CompiledStateGraph:
        def node(state: Log) -> Log:
            return {"log": [f"{word} {interrupt(f'{word}?')}"]}

        return StateGraph(Log).add_node("node", node).add_edge(START, "node").compile()

    left, right = inner("left"), inner("right")

    def calls(state: Log) -> Log:
        return {"log": [*left.invoke({"log": []})["log"], *right.invoke({"log": []})["log"]]}

    graph = asking(saver, calls)
    for answer, expected in (("a", "right?"), ("b", None)):
        if expected == "right?":
            assert [found.value for found in SYNC.invoke(graph, {}, thread)["__interrupt__"]] == ["left?"]
        result = face.invoke(graph, Command(resume=answer), thread)
        assert [found.value for found in result.get("__interrupt__", [])] == ([expected] if expected else [])
    assert face.get_state(graph, thread).values["log"] == ["left a", "right b"]


def test_questions_of_a_task_group_are_asked_together(saver: Saver, thread: Config) -> None:
    async def both(state: Log) -> Log:
        async def one(word: str) -> str:
            return interrupt(word, key=word)

        async with asyncio.TaskGroup() as group:
            found = [group.create_task(one(word)) for word in ("a", "b")]
        return {"log": [task.result() for task in found]}

    graph = asking(saver, both)
    paused = asyncio.run(graph.ainvoke({}, thread))["__interrupt__"]
    answers = {found.id: found.value.upper() for found in paused}
    assert sorted(answers.values())[0] == "A"
    result = asyncio.run(graph.ainvoke(Command(resume=answers), thread))
    while "__interrupt__" in result:  # a group may have cancelled the second before it could ask
        result = asyncio.run(graph.ainvoke(Command(resume="B"), thread))
    assert result == {"log": ["A", "B"]}


def test_a_bare_answer_to_two_questions_is_refused(face: Face, saver: Saver, thread: Config) -> None:
    def other(state: Log) -> Log:
        return {"log": [interrupt("other?")]}

    graph = asking(saver, ask, other)
    face.invoke(graph, {}, thread)
    with pytest.raises(UnknownInterrupt, match=r"you must specify the interrupt id.*Open are {.*'\?'.*'other\?'}") as caught:
        face.invoke(graph, Command(resume="which?"), thread)
    assert caught.value.reason == "ambiguous"
    assert len(ids(face, graph, thread)) == 2


def test_an_answer_in_the_name_of_a_parent_is_refused(face: Face, saver: Saver, thread: Config) -> None:
    graph = asking(saver, ask)
    face.invoke(graph, {}, thread)
    with pytest.raises(InvalidUpdateError, match="there is no parent graph"):
        face.invoke(graph, Command(resume=1, graph=Command.PARENT), thread)


# -- crashes --------------------------------------------------------------------------------------------------------


def pair(saver: Saver) -> CompiledStateGraph:
    """Two that ask side by side, one of them twice, and one that follows."""

    def twice(state: Log) -> Log:
        return {"log": [interrupt("first?"), interrupt("second?")]}

    builder = StateGraph(Log).add_node("ask", ask).add_node("twice", twice).add_node("last", lambda _state: {"n": 1})
    return builder.add_edge(START, "ask").add_edge(START, "twice").add_edge(["ask", "twice"], "last").compile(saver)


def to_the_end(graph: CompiledStateGraph, thread: Config) -> dict[str, Any]:
    """What a caller does who reads the thread and goes on, answering what is asked, until nothing is left to do."""
    for _ in range(9):
        state = graph.get_state(thread)
        if state.metadata is None:
            graph.invoke({}, thread)
        elif state.interrupts:
            graph.invoke(Command(resume={found.id: f"to {found.value}" for found in state.interrupts}), thread)
        elif state.next:
            graph.invoke(None, thread)
        else:
            return state.values
    raise AssertionError("it does not end")


def test_a_crash_at_any_storage_call_loses_no_answer() -> None:
    thread = {"configurable": {"thread_id": "1"}}
    calm = CrashingStorage(MemoryStorage())
    expected = to_the_end(pair(Saver(calm)), thread)
    assert expected == {"log": ["to ?", "to first?", "to second?"], "n": 1}
    for crash_at in range(calm.calls):
        for done in (False, True):
            crashing = CrashingStorage(MemoryStorage(), crash_at, done=done)
            with suppress(Crash):
                to_the_end(pair(Saver(crashing)), thread)
            assert to_the_end(pair(Saver(crashing.storage)), thread) == expected, f"crashed at call {crash_at}"


def test_who_answered_and_when_is_kept(face: Face, saver: Saver, thread: Config) -> None:
    graph = asking(saver, ask)
    asked = face.invoke(graph, {}, thread)["__interrupt__"][0]
    face.invoke(graph, Command(resume="yes"), {**thread, "metadata": {"user": "ada"}})
    at_question = next(s for s in graph.get_state_history(thread) if s.interrupts)
    answers = (at_question.metadata or {})["answers"]
    assert answers.keys() == {asked.id}
    assert answers[asked.id]["user"] == "ada"
    assert answers[asked.id]["at"] >= (at_question.created_at or "")
    assert "answers" not in (face.get_state(graph, thread).metadata or {})


def test_what_is_asked_beside_a_failure_is_open_and_can_be_answered(face: Face, saver: Saver, thread: Config) -> None:
    broken = [True]

    def fails(state: Log) -> Log:
        if broken:
            broken.pop()
            raise OSError("failed")
        return {"log": ["mended"]}

    graph = asking(saver, ask, fails)
    with pytest.raises(OSError, match="failed"):
        face.invoke(graph, {}, thread)
    state = face.get_state(graph, thread)
    assert [found.value for found in state.interrupts] == ["?"]
    assert [task.error is not None for task in state.tasks] == [False, True]
    assert face.invoke(graph, Command(resume={state.interrupts[0].id: "yes"}), thread) == {"log": ["yes", "mended"]}
