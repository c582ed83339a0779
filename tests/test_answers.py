"""Who answered a question, and when: kept with the answer, and shown with the checkpoint on which the question stood."""

import operator
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, TypedDict

import ormsgpack
import pytest
from pydantic import ValidationError
from support.faces import Face

from clew.checkpoint.base import Saver
from clew.checkpoint.codec import encode
from clew.checkpoint.manifest import read_answers
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.types import Answer, Command, StateSnapshot, interrupt

Config = dict[str, Any]


class Log(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]
    n: int


def asking(saver: Saver, node: Callable[[Any], Any]) -> CompiledStateGraph:
    return StateGraph(Log).add_node("node", node).add_edge(START, "node").compile(saver)


def ask(state: Log) -> Log:
    return {"log": [interrupt("?")]}


def kept_answers(shown: StateSnapshot) -> dict[str, dict[str, Any]]:
    """By question, who answered those of this checkpoint; each has a moment in UTC, which is left out."""
    answers: dict[str, dict[str, Any]] = (shown.metadata or {}).get("answers", {})
    for answer in answers.values():
        moment = datetime.fromisoformat(answer["at"])
        assert moment.utcoffset() == timedelta(0)
        assert abs(datetime.fromisoformat(shown.created_at or "") - moment) < timedelta(days=1)  # the unit is right
    asked = {found.id: found.value for found in shown.interrupts}
    return {asked.get(id, id): {key: value for key, value in who.items() if key != "at"} for id, who in answers.items()}


def twice(state: Log) -> Log:
    return {"log": [interrupt("one?"), interrupt("two?")]}


def test_who_answered_and_when_is_kept_with_the_question(face: Face, saver: Saver, thread: Config) -> None:
    graph = asking(saver, twice)
    face.invoke(graph, {}, {**thread, "metadata": {"user": "nobody"}})
    before = face.get_state(graph, thread)
    assert kept_answers(before) == {}
    face.invoke(graph, Command(resume="1"), {**thread, "metadata": {"user": "ada", "seen": {"no": "scalar"}}})
    assert kept_answers(face.get_state(graph, thread)) == {before.interrupts[0].id: {"user": "ada"}}
    elsewhere = asking(Saver(saver.storage), twice)
    face.invoke(elsewhere, Command(resume="2"), {**thread, "metadata": {"user": "bob", "by_phone": True}})
    ended, stood, _ = face.history(graph, thread)
    assert kept_answers(stood) == {"one?": {"user": "ada"}, "two?": {"user": "bob", "by_phone": True}}
    assert kept_answers(ended) == {}
    assert face.get_state(graph, stood.config).metadata == stood.metadata


def test_an_answer_without_metadata_is_kept_with_its_moment(face: Face, saver: Saver, thread: Config) -> None:
    graph = asking(saver, ask)
    face.invoke(graph, {}, thread)
    face.invoke(graph, Command(resume="yes"), thread)
    assert kept_answers(face.history(graph, thread)[1]) == {"?": {}}


def test_an_answer_with_an_update_or_on_an_older_checkpoint_is_kept_where_it_was_given(
    face: Face, saver: Saver, thread: Config
) -> None:
    graph = asking(saver, ask)
    face.invoke(graph, {}, thread)
    face.invoke(graph, Command(resume="yes", update={"n": 1}), {**thread, "metadata": {"user": "ada"}})
    _, amended, stood, _ = face.history(graph, thread)
    assert ([*kept_answers(amended).values()], kept_answers(stood)) == ([{"user": "ada"}], {})
    face.invoke(graph, Command(resume="no"), {**stood.config, "metadata": {"user": "bob"}})
    _, forked, *_ = face.history(graph, thread)
    assert [*kept_answers(forked).values()] == [{"user": "bob"}]


def test_an_answer_that_was_rejected_is_not_kept(face: Face, saver: Saver, thread: Config) -> None:
    def node(state: Log) -> Log:
        return {"log": [interrupt("?", response_schema=int)]}

    graph = asking(saver, node)
    face.invoke(graph, {}, thread)
    with pytest.raises(ValidationError):
        face.invoke(graph, Command(resume="x"), {**thread, "metadata": {"user": "ada"}})
    assert kept_answers(face.get_state(graph, thread)) == {}
    face.invoke(graph, Command(resume=1), {**thread, "metadata": {"user": "bob"}})
    assert kept_answers(face.history(graph, thread)[1]) == {"?": {"user": "bob"}}


def test_answers_that_were_kept_without_who_and_when_are_read() -> None:
    row = ormsgpack.packb([encode([["0", "yes", b"asked", b"code"]])])
    assert read_answers(row) == (Answer("0", "yes", b"asked", b"code"),)
