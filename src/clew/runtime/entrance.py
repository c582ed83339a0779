"""How a run goes in: a new input, on with what is there, an answer, a Command beside what is pending, or an older checkpoint.

Which of these it is stands in the input and the config; the rules are the engine's (`start`, `apply.amend`, `answers`).
"""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from clew.engine.answers import answered
from clew.engine.apply import amend, fold, recorded, task_key
from clew.engine.start import begin, fork, resume
from clew.engine.stored import stored_checkpoint
from clew.engine.writes import Returned, prepared, read_input
from clew.errors import DroppedWorkWarning, EmptyInputError
from clew.runtime.attempt import Program
from clew.runtime.settings import Settings
from clew.types import Answer, Checkpoint, Command, Nothing, Outcome, Result, Saved

if TYPE_CHECKING:
    from clew.checkpoint.journal import Journal

Answers = Mapping[str, tuple[Answer, ...]]


class Entered(NamedTuple):
    """Where a run begins: the checkpoint, by task key what is on record there, and whether a run has stopped there before."""

    checkpoint: Checkpoint
    records: Mapping[str, Outcome]
    answers: Answers
    stopped: bool = False


class Entrance:
    """The way into one run; `journal` is None where nothing is kept."""

    __slots__ = ("_journal", "_plan", "_program", "_settings")

    def __init__(self, program: Program, settings: Settings, journal: "Journal | None") -> None:
        self._program = program
        self._plan = program.plan
        self._settings = settings
        self._journal = journal

    async def enter(self, given: Any) -> Entered:
        """Loads the thread and commits what the input makes of it.

        Raises:
            EmptyInputError: nothing to go on from. UnknownInterrupt: an answer that no open question fits.
            InvalidUpdateError, UnknownNode: input that is nonsense. CheckpointNotFound, ThreadConflict.
        """
        answer = given.resume if isinstance(given, Command) else Nothing.GIVEN
        read = None if given is None else read_input(self._plan, given)
        if read is not None:
            read = read._replace(writes=prepared(self._plan, read.writes))
        saved = await self._journal.open(self._settings.checkpoint) if self._journal else None
        if read is not None and answer is Nothing.GIVEN:
            if isinstance(given, Command) and (saved or read.targets):
                return await self._amended(saved, read)
            return await self._begun(saved, read)
        if self._journal is None:
            raise EmptyInputError("There is nothing to go on from, as the graph keeps no state: pass an input.")
        if saved is None:
            thread = self._settings.thread
            raise EmptyInputError(f"Thread {thread!r} has nothing to go on from: pass an input, such as a dict.")
        if answer is not Nothing.GIVEN:
            return await self._answered(self._journal, saved, answer, read)
        if not self._journal.at_head:
            return Entered(await self._commit(fork(self._plan, saved.checkpoint)), {}, {}, saved.stopped)
        return Entered(resume(self._plan, saved.checkpoint), saved.records, saved.answers, saved.stopped)

    async def _begun(self, saved: Saved | None, read: Returned) -> Entered:
        plan = self._plan
        warn_of_dropped("new input", self._settings, saved)
        after = begin(plan, saved.checkpoint if saved else None, read.writes)
        if plan.check is not None:  # refused here, before anything of it is kept
            plan.check(fold(plan, after.values, [(after.frontier[0], Result(read.writes))]), dict(read.writes))
        return Entered(await self._commit(after), {}, {})

    async def _amended(self, saved: Saved | None, read: Returned) -> Entered:
        """`Command(update=, goto=)` as input: beside what is pending, of which what has run need not run again."""
        parent = resume(self._plan, saved.checkpoint) if saved else Checkpoint(self._plan.initial())
        results = recorded(parent, saved.records if saved else {})
        after = amend(self._plan, parent, results, Result(read.writes, read.targets))
        return Entered(await self._commit(after), {}, {}, saved is not None and saved.stopped)

    async def _answered(self, journal: "Journal", saved: Saved, answer: Any, read: Returned | None) -> Entered:
        """`Command(resume=)` as input: the answer is kept before anything runs; on an older checkpoint it opens a branch."""
        answers: Answers = answered(saved, answer, anew=not journal.at_head)
        entered = Entered(resume(self._plan, saved.checkpoint), saved.records, answers, saved.stopped)
        if not journal.at_head:
            entered = Entered(await self._commit(fork(self._plan, saved.checkpoint)), {}, answers, saved.stopped)
        if read is not None and (read.writes or read.targets):
            before = entered.checkpoint
            done = recorded(before, entered.records)
            after = await self._commit(amend(self._plan, before, done, Result(read.writes, read.targets)))
            entered = Entered(after, {}, _moved(before, after, done, answers), saved.stopped)
        for key, given in entered.answers.items():
            journal.answer(key, given)
        if entered.answers:
            await journal.keep()
        return entered

    async def _commit(self, checkpoint: Checkpoint) -> Checkpoint:
        if self._journal:
            await committed(self._program, self._settings, self._journal, checkpoint)
        return checkpoint


async def committed(program: Program, settings: Settings, journal: "Journal", checkpoint: Checkpoint) -> Saved:
    """Commits a checkpoint of a run. Raises ThreadConflict, UnstorableValue."""
    return await journal.commit(stored_checkpoint(program.plan, checkpoint), program.keeps, settings.metadata)


def _moved(before: Checkpoint, after: Checkpoint, done: list[Result | None], answers: Answers) -> Answers:
    """The answers by the keys that their tasks have now: a Send's has its number, and those that have run are gone."""
    left = [index for index, result in enumerate(done) if result is None]
    names = {task.node: index for index, task in enumerate(after.frontier) if not task.sent}
    keys: dict[str, str] = {}
    for number, index in enumerate(left):  # Sends come first, and keep their order
        task = before.frontier[index]
        keys[task_key(before.frontier, index)] = task_key(after.frontier, number if task.sent else names[task.node])
    return {keys[key]: given for key, given in answers.items() if key in keys}


def warn_of_dropped(what: str, settings: Settings, saved: Saved | None) -> None:
    """Warns where `what` drops finished tasks of a superstep that has not ended."""
    done = sorted(key for key, outcome in saved.records.items() if isinstance(outcome, Result)) if saved else ()
    if done:
        warnings.warn(
            f"The {what} drops what {done} had done in a superstep of thread {settings.thread!r} that had not ended; it stays "
            "in the thread's history. To end that superstep first, call `invoke(None, config)`.",
            DroppedWorkWarning,
            stacklevel=2,
        )
