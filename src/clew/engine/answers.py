"""Questions and answers: which are open on a checkpoint, and which of them an answer is for. Pure (DESIGN §5, Interrupts)."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, cast

from clew.engine.apply import task_key
from clew.errors import UnknownInterrupt
from clew.ids import interrupt_id
from clew.types import Answer, Interrupt, Paused, Question, Saved


class Open(NamedTuple):
    """A question without an answer: the key of the task that asks, and the id that callers know it by."""

    key: str
    question: Question
    id: str


def open_questions(saved: Saved) -> list[Open]:
    """What the tasks of a checkpoint wait for, in the order of their keys."""
    found: list[Open] = []
    for key, outcome in sorted(saved.records.items()):
        if isinstance(outcome, Paused):
            given = {answer.slot for answer in saved.answers.get(key, ())}
            found += [one for one in _opened(saved, key, outcome.questions) if one.question.slot not in given]
    return found


def answers_shown(saved: Saved) -> dict[str, tuple[int, Mapping[str, Any]]]:
    """By the ids of questions when and by whom they were answered."""
    return {
        interrupt_id(*_place(saved, key), answer.slot): (answer.at, answer.by)
        for key, given in sorted(saved.answers.items())
        for answer in given
    }


def _opened(saved: Saved, key: str, questions: Iterable[Question]) -> list[Open]:
    return opened(_place(saved, key), key, questions)


def _place(saved: Saved, key: str) -> tuple[bytes, str]:
    """What the questions of a task are known by. Within a graph inside a task it is the outermost task, which is answered."""
    if saved.begun:
        return saved.begun[0].checkpoint, saved.begun[0].task
    frontier = saved.checkpoint.frontier
    origins = (task.origin for index, task in enumerate(frontier) if task_key(frontier, index) == key)
    return next(origins, None) or (saved.id, key)


def opened(place: tuple[bytes, str], key: str, questions: Iterable[Question]) -> list[Open]:
    """The questions of one task, with their ids; `place` is the checkpoint and the key that the task is known by."""
    return [Open(key, question, interrupt_id(*place, question.slot)) for question in questions]


def all_asked(saved: Saved | None, key: str, paused: Paused, answers: Iterable[Answer]) -> Paused:
    """What a task asks, with what it had asked before and was answered: history shows that, too. What it does not ask any more
    (a graph within it was edited) is no question."""
    before = saved.records.get(key) if saved else None
    if not isinstance(before, Paused):
        return paused
    slots = {answer.slot for answer in answers} - {question.slot for question in paused.questions}
    return Paused((*[question for question in before.questions if question.slot in slots], *paused.questions))


def shown(questions: Iterable[Open]) -> tuple[Interrupt, ...]:
    return tuple(Interrupt(found.question.value, found.id, found.question.schema) for found in questions)


def answered(saved: Saved, resume: Any, at: int, by: Mapping[str, Any], *, anew: bool = False) -> dict[str, tuple[Answer, ...]]:
    """Per task key all answers it has by now, where `resume` is one more: `{id: answer}`, or any value for the only question;
    `at` and `by` say when and by whom (`Answer`).

    `anew` is for an older checkpoint, whose questions may have been answered since: the last one of each task is open again,
    and what was answered after it is forgotten.

    Raises:
        UnknownInterrupt: an id that is not open, or a bare answer where several questions are.
    """
    waiting = open_questions(saved)
    if anew:
        waiting = waiting or _last_questions(saved)
    by_id = {found.id: found for found in waiting}
    if _names_questions(resume):
        given = cast("Mapping[str, Any]", resume)
        if wrong := [name for name in given if name not in by_id]:
            raise UnknownInterrupt(
                f"{wrong} are not waiting for an answer (any more). Open are {_listed(waiting)}. An answer is used once.",
                "not_pending",
                list(given),
                list(by_id),
            )
        pairs = [(by_id[name], value) for name, value in given.items()]
    elif len(waiting) > 1:
        raise UnknownInterrupt(
            "When there are multiple pending interrupts, you must specify the interrupt id when resuming: "
            f"`Command(resume={{id: answer}})`. Open are {_listed(waiting)}.",
            "ambiguous",
            [],
            list(by_id),
        )
    else:
        pairs = [(found, resume) for found in waiting]
    answers = dict(saved.answers)
    for found, value in pairs:
        question = found.question
        answer = Answer(question.slot, value, question.asked, question.code, at, by)
        before = itertools.takewhile(lambda one: one.slot != answer.slot, answers.get(found.key, ()))  # noqa: B023  (used at once)
        answers[found.key] = (*before, answer)
    return answers


def _last_questions(saved: Saved) -> list[Open]:
    paused = [(key, outcome) for key, outcome in sorted(saved.records.items()) if isinstance(outcome, Paused)]
    return [found for key, outcome in paused for found in _opened(saved, key, outcome.questions[-1:])]


def _names_questions(resume: Any) -> bool:
    if type(resume) is not dict or not resume:
        return False
    keys = list(cast("dict[Any, Any]", resume))
    return all(isinstance(key, str) and len(key) == 32 and not set(key) - set("0123456789abcdef") for key in keys)


def _listed(waiting: Iterable[Open]) -> str:
    return "{" + ", ".join(f"{found.id!r}: {found.question.value!r}" for found in waiting) + "}"
