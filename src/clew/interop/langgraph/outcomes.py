"""What the tasks of a checkpoint came to, as LangGraph keeps it beside that: writes, each with its task and channel."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, TypeAlias, cast

from clew.checkpoint.codec import encode
from clew.constants import START
from clew.engine.apply import task_key
from clew.interop.langgraph.identities import JOIN, NOBODY, by_id, by_path, leads
from clew.interop.langgraph.tables import SENDS, Stored, Written
from clew.schema import ROOT
from clew.types import UNKNOWN, Answer, Failed, Interrupt, Nothing, Paused, Question, Result, Send, Task, Write

Edges: TypeAlias = Callable[[str], Sequence[str] | None]
ERROR, ASKED, ANSWERED, NOTHING, RETURNED, OUTPUT = (
    "__error__", "__interrupt__", "__resume__", "__no_writes__", "__return__", "__end__",
)  # fmt: skip
CONTROL: Final = frozenset({ERROR, ASKED, ANSWERED, "__error_source_node__", "__scheduled__"})


@dataclass(slots=True)
class Called:
    """What became of a function that a task called (`@task`): `numbers` is the way there, of each call which it was."""

    numbers: tuple[int, ...]
    writes: list[Written]


@dataclass(slots=True)
class Ran:
    """One task of a checkpoint: its id there, what it wrote, and what it called."""

    id: str = ""
    writes: list[Written] = field(default_factory=list[Written])
    called: dict[str, Called] = field(default_factory=dict[str, Called])


@dataclass(slots=True, kw_only=True)
class Outcomes:
    """What tasks came to, by their keys.

    Attributes:
        ran: the tasks of which anything is kept.
        results, asked, failed: what they came to. answers: those given to them. notes: results of what they called.
        strangers: ids of tasks of which it is not kept whose they are.
        given: the answer that a caller has given without saying to which question, where no task here has taken it yet.
    """

    ran: dict[str, Ran] = field(default_factory=dict[str, Ran])
    results: dict[str, Result] = field(default_factory=dict[str, Result])
    asked: dict[str, Paused] = field(default_factory=dict[str, Paused])
    answers: dict[str, tuple[Answer, ...]] = field(default_factory=dict[str, "tuple[Answer, ...]"])
    failed: dict[str, Failed] = field(default_factory=dict[str, Failed])
    notes: dict[str, bytes] = field(default_factory=dict[str, bytes])
    strangers: set[str] = field(default_factory=set[str])
    given: Any = Nothing.GIVEN


def take_outcomes(found: Outcomes, stored: Stored, frontier: Sequence[Task], edges: Edges, hints: Sequence[str]) -> None:
    """Reads what the tasks of this frontier came to. `edges` says where those of a node lead, as far as that is known; for
    `hints` see `identities.by_id`."""
    _attribute(found, stored, frontier, hints)
    for index, task in enumerate(frontier):
        key = task_key(frontier, index)
        if (ran := found.ran.get(key)) is None:
            continue
        written = [write for write in ran.writes if write.channel not in CONTROL]
        error = next((write.value for write in ran.writes if write.channel == ERROR), None)
        # output and an error: it failed where it was to lead on, or it was run again since and led somewhere
        if written and (error is None or any(leads(write.channel) for write in written)):
            found.results[key] = _result(task, written, edges)
        elif error is not None:
            found.failed[key] = failed(error)
        found.notes |= _notes(key, ran)
    _questions(found, stored)


def _attribute(found: Outcomes, stored: Stored, frontier: Sequence[Task], hints: Sequence[str]) -> None:
    """Which task is whose: by its path, or where none is kept by its id."""
    pathless = not any(write.path for write in stored.writes)
    whose = by_id(stored, frontier, hints) if pathless else by_path(stored, frontier)
    for write in stored.writes:
        if write.task == NOBODY:
            continue
        if write.task not in whose:
            if pathless:
                found.strangers.add(write.task)
            continue
        key, numbers = whose[write.task]
        ran = found.ran.setdefault(key, Ran())
        if numbers:
            ran.called.setdefault(write.task, Called(numbers, [])).writes.append(write)
        else:
            ran.id = write.task
            ran.writes.append(write)


def _result(task: Task, written: Iterable[Written], edges: Edges) -> Result:
    """What a finished task wrote, and where it leads: joins are told by who has acted."""
    writes: list[Write] = []
    targets: list[str | Send] = []
    for write in written:
        if write.channel == SENDS:
            targets.append(write.value)
        elif leads(write.channel):
            if not write.channel.startswith(JOIN):
                targets.append(write.channel.rpartition(":")[2])
        elif write.channel == OUTPUT:
            writes.append(Write(ROOT, write.value))
        elif write.channel == write.value == task.node:  # before 0.3 whoever comes after a node watched for its name
            targets += edges(task.node) or ()
        elif write.channel not in (NOTHING, RETURNED):
            writes.append(Write(write.channel, write.value))
    return Result(task.arg if task.node == START else tuple(writes), tuple(targets))


def failed(value: Any) -> Failed:
    """An error as LangGraph keeps it: the text that Python shows for it."""
    text = str(value)
    match = re.fullmatch(r"(\w+)\((.*)\)", text, re.DOTALL)
    if match is None:
        return Failed("Exception", text, "")
    message = match[2].removesuffix(",")
    quoted = len(message) > 1 and message[0] in "'\"" and message[-1] == message[0]
    return Failed(match[1], message[1:-1] if quoted else message, "")


def _notes(key: str, ran: Ran) -> dict[str, bytes]:
    """Results of functions that the task called. Which functions they were is not kept: they are told by their places."""
    notes: dict[str, bytes] = {}
    for called in ran.called.values():
        for write in called.writes:
            if write.channel == RETURNED:
                way = "/".join(f"@{number}" for number in called.numbers)
                notes[f"{key}|{way}"] = encode(["", UNKNOWN, UNKNOWN, called.numbers[-1], write.value])
    return notes


def _questions(found: Outcomes, stored: Stored) -> None:
    """What tasks wait for, and what they were told. LangGraph keeps of each the question asked last, and all its answers."""
    given = next((write.value for write in stored.writes if write.task == NOBODY and write.channel == ANSWERED), Nothing.GIVEN)
    for key, ran in found.ran.items():
        questions: list[Question] = []
        answers: list[Answer] = []
        within: set[str] = set()
        for numbers, writes in (*[(called.numbers, called.writes) for called in ran.called.values()], ((), ran.writes)):
            way = "".join(f"@{number}/" for number in numbers)
            told = _told(writes)
            given = Nothing.GIVEN if told and told[-1] == given else given
            answers += [Answer(f"{way}{number}", value, UNKNOWN, UNKNOWN) for number, value in enumerate(told)]
            over = any(write.channel not in CONTROL for write in writes)
            for asked in (one for write in writes if write.channel == ASKED for one in _several(write.value)):
                if asked.id not in within:
                    number = len(told) - over if told else 0
                    questions.append(question(f"{way}{number}", asked))
                within.add(asked.id)
        if questions:
            found.asked[key] = Paused(tuple(questions))
        if answers:
            found.answers[key] = tuple(answers)
    found.given = given


def _several(value: Any) -> Iterable[Any]:
    """Versions before 0.3 kept one question by itself."""
    return cast("Iterable[Any]", value) if isinstance(value, list | tuple) else (value,)


def _told(writes: Iterable[Written]) -> list[Any]:
    told: list[Any] = [write.value for write in writes if write.channel == ANSWERED]
    return cast("list[Any]", told[0]) if told and isinstance(told[0], list) else told


def _is_exact(value: Any) -> bool:
    """Whether a value has come back just as it was: tuples come back as lists, and objects may not be known here."""
    if type(value) is dict:
        return all(map(_is_exact, cast("dict[Any, Any]", value).values()))
    return value is None or type(value) in (str, int, float, bool)


def question(slot: str, asked: Interrupt) -> Question:
    """A question of a task; by what it asks it can be told from another only where that has come back as it was."""
    digest = blake2b(encode(asked.value), digest_size=16).digest() if _is_exact(asked.value) else UNKNOWN
    return Question(slot, asked.value, digest, UNKNOWN, asked.response_schema)
