"""How a run goes in: a new input, on with what is there, an answer, a Command beside what is pending, or an older checkpoint.

Which of these it is stands in the input and the config; the rules are the engine's (`start`, `apply.amend`, `answers`).
"""

import time
import warnings
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from clew.constants import START
from clew.engine.answers import answered
from clew.engine.apply import amend, apply, fold, recorded, taken_over, task_key
from clew.engine.migrate import current
from clew.engine.start import begin, fork, resume
from clew.engine.stored import stored_checkpoint
from clew.engine.writes import Returned, prepared, read_input
from clew.errors import DroppedWorkWarning, EmptyInputError, ThreadConflict, UnstorableValue
from clew.runtime.attempt import Program
from clew.runtime.scope import Scope
from clew.runtime.settings import Settings
from clew.types import Answer, Checkpoint, Command, Nothing, OnBusy, Outcome, Result, Saved, Task, Write

if TYPE_CHECKING:
    from clew.checkpoint.journal import Journal
    from clew.runtime.spans import Watch
    from clew.runtime.travel import Target

Answers = Mapping[str, tuple[Answer, ...]]
NONE: Final[Mapping[str, Outcome]] = {}
SHOWN: Final = ("checkpoints", "debug")
"""Modes whose readers see each checkpoint, that of the input too."""


class Entered(NamedTuple):
    """Where a run begins: the checkpoint, by task key what is on record there, and whether a run has stopped there before;
    what START has written, where it has run."""

    checkpoint: Checkpoint
    records: Mapping[str, Outcome]
    answers: Answers
    stopped: bool = False
    wrote: Result | None = None


class Entrance:
    """The way into one run; `journal` is None where nothing is kept."""

    __slots__ = ("_journal", "_plan", "_program", "_scope", "_settings", "_target")

    def __init__(self, program: Program, settings: Settings, journal: "Journal | None", scope: Scope) -> None:
        self._program = program
        self._plan = program.plan
        self._settings = settings
        self._journal = journal
        self._scope = scope
        self._target: Target | None = None

    async def go_in(self, journal: "Journal", given: Any, on_busy: OnBusy) -> Entered:
        """Takes the thread and loads it, and commits what the input makes of it; what is entered is this run's alone.

        Raises:
            EmptyInputError: nothing to go on from. UnknownInterrupt: an answer that no open question fits.
            InvalidUpdateError, UnknownNode: input that is nonsense. CheckpointNotFound, ThreadConflict.
        """
        if self._scope.nested:
            return await self._enter_inside(journal, given)
        trusted = self._trusted(journal, given)
        while True:
            journal.hold.fresh = True
            saved = trusted or await self._opened(journal, on_busy)
            try:
                if self._scope.wanted is not None:
                    from clew.runtime.resumable import attach  # late: few runs keep their events

                    await attach(self._scope, journal, saved, given)
                    self._settings = self._scope.settings
                entered = await self.enter(given, saved)
                if entered.checkpoint.frontier:
                    await journal.claim()
                return entered
            except ThreadConflict:
                if trusted:  # somebody else has written since
                    trusted = None
                    journal.hold.lose()
                    continue
                from clew.runtime.door import only_mended

                if on_busy == "reject" and not await only_mended(journal):
                    raise
                journal.hold.lose()  # somebody was quicker: it is waited for

    def _trusted(self, journal: "Journal", given: Any) -> Saved | None:
        """The newest checkpoint, where it is known without asking, and all that a new input needs."""
        if given is None or isinstance(given, Command) or self._settings.checkpoint or self._settings.ns or self._scope.wanted:
            return None
        saved = journal.trust()
        journal.hold.base = saved.id if saved else None
        return saved

    async def _opened(self, journal: "Journal", on_busy: OnBusy) -> Saved | None:
        from clew.runtime.door import free, mended  # late: a graph that keeps nothing has no thread to take

        asked = self._settings.checkpoint
        if self._settings.ns:
            from clew.runtime.travel import target_of

            target = await target_of(journal, self._settings.ns, asked)
            self._target = None if target.current else target
            asked = None if target.current else target.begun[0].checkpoint
        saved = await journal.open(asked)
        if journal.hold.mended:
            saved = await mended(journal, self._scope.host, asked)
        while journal.hold.busy:
            back = await free(journal, self._scope, on_busy)
            if back is not None:
                saved = await journal.open(back) if back else await journal.leave()
                break
            saved = await journal.open(asked)  # somebody else had it meanwhile, and another may have it by now
        journal.hold.base = saved.id if saved else None
        return saved

    async def _enter_inside(self, journal: "Journal", given: Any) -> Entered:
        """A graph inside a task. Begun by the same call before, it goes on, whatever it is given; or is at its end already.

        Otherwise it begins, and where it has a memory of its own, from what that was at the checkpoint around it.
        """
        scope, begun = self._scope, self._scope.begun
        saved = journal.saved if journal.unwritten else await journal.open()
        if saved is not None and saved.begun != begun:
            from clew.checkpoint.records import begun_by  # late: a graph that keeps nothing need not import what keeps

            since = begun[-1].checkpoint
            earlier = await begun_by(journal.storage, journal.thread, journal.ns, begun.__eq__, since)
            saved = await journal.open(earlier) if earlier else saved
        if saved is not None and saved.begun == begun:
            return self._resumed(current(self._plan, saved))
        if saved is not None:
            assert scope.around is not None
            base = scope.around.heads.get(journal.ns) or scope.around.scope.children.get(journal.ns)
            saved = await (journal.open(base) if base else journal.leave())
        journal.begun = begun
        if self._scope.around is not None and self._scope.around.whole:
            journal.borrow()
        return await self.enter(given, saved and replace(saved, records={}))

    async def enter(self, given: Any, saved: Saved | None) -> Entered:
        """Goes in from what is loaded."""
        saved = current(self._plan, saved) if saved else None
        answer = given.resume if isinstance(given, Command) else Nothing.GIVEN
        read = None if given is None else read_input(self._plan, given)
        if read is not None and self._plan.prepares:
            read = read._replace(writes=prepared(self._plan, read.writes))
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
        if not self._journal.at_head or self._scope.nested:
            return Entered(await self._fork(saved), {}, {}, saved.stopped)
        return self._resumed(saved)

    def _resumed(self, saved: Saved, answers: Answers | None = None) -> Entered:
        """On with what is there."""
        checkpoint = resume(self._plan, saved.checkpoint, saved.records, self._settings.thread)
        return Entered(checkpoint, saved.records, saved.answers if answers is None else answers, saved.stopped)

    async def _begun(self, saved: Saved | None, read: Returned) -> Entered:
        plan = self._plan
        if saved is not None:
            warn_of_dropped("new input", self._settings, saved)
        after = begin(plan, saved.checkpoint if saved else None, read.writes)
        if plan.check is not None:  # refused here, before anything of it is kept
            plan.check(fold(plan, after.values, [(after.frontier[0], Result(read.writes))]), dict(read.writes))
        passed, wrote = self._past_start(after, read.writes) or (None, None)
        if passed is None:
            return Entered(await self._commit(after), {}, {})
        if self._journal is None or await self._joined(self._journal, after, passed):
            return Entered(passed, NONE, {}, wrote=wrote)
        return Entered(after, {}, {})

    def _past_start(self, entered: Checkpoint, writes: tuple[Write, ...]) -> tuple[Checkpoint, Result] | None:
        """The checkpoint after START, and what that wrote. It calls nothing that takes long, so both may be kept at once. None
        where it does, where somebody reads what is between, and where it fails: then it runs as any other task."""
        if entered.frontier[0].node != START or self._program.nodes[START].routers or not self._scope.modes.isdisjoint(SHOWN):
            return None
        wrote = Result(writes, self._plan.stations[START].edges)
        try:
            return apply(self._plan, entered, [wrote]), wrote
        except Exception:
            return None

    async def _joined(self, journal: "Journal", entered: Checkpoint, after: Checkpoint) -> bool:
        """Commits both at once. False where a reducer has made what cannot be stored: `entered` is committed by what comes."""
        await committed(self._program, self._settings, journal, entered, joined=True)
        try:
            last, watch = not after.frontier and not self._scope.nested, self._scope.watch
            await committed(self._program, self._settings, journal, after, last=last, watch=watch)
        except UnstorableValue:
            return False
        return True

    async def _amended(self, saved: Saved | None, read: Returned) -> Entered:
        """`Command(update=, goto=)` as input: beside what is pending, of which what has run need not run again."""
        if saved is None:
            after = amend(self._plan, Checkpoint(self._plan.initial()), [], Result(read.writes, read.targets))
            return Entered(await self._commit(after), {}, {})
        return await self._beside(self._resumed(saved), read)

    async def _answered(self, journal: "Journal", saved: Saved, answer: Any, read: Returned | None) -> Entered:
        """`Command(resume=)` as input: the answer is kept before anything runs; on an older checkpoint it opens a branch."""
        answers: Answers = answered(
            saved, answer, time.time_ns() // 1_000_000, self._settings.metadata or {}, anew=not journal.at_head
        )
        more = read if read is not None and (read.writes or read.targets) else None
        entered = self._resumed(saved, answers)
        if not journal.at_head:
            entered = Entered(await self._fork(saved, None if more else answers), {}, answers, saved.stopped)
        elif answers and more is None:
            for key, given in answers.items():
                journal.answer(key, given)
            await journal.keep()
        return entered if more is None else await self._beside(entered, more)

    async def _beside(self, entered: Entered, read: Returned) -> Entered:
        """Commits these writes and targets beside what is pending, whose tasks keep their answers and what they have noted."""
        saved = self._journal.saved if self._journal else None
        before = taken_over(entered.checkpoint, saved.id) if saved else entered.checkpoint
        done = recorded(before, entered.records)
        after = amend(self._plan, before, done, Result(read.writes, read.targets))
        if self._journal and read.writes:
            self._journal.take(START, Task(START), Result(read.writes))
        keys = _moved(before, after, done)
        answers = {keys[key]: given for key, given in entered.answers.items() if key in keys}
        noted = [(key.partition("|"), body) for key, body in (self._journal.notes if self._journal else {}).items()]
        notes = {f"{keys[key]}|{own}": body for (key, _, own), body in noted if key in keys}
        return Entered(await self._commit(after, answers=answers, notes=notes), {}, answers, entered.stopped)

    async def _fork(self, saved: Saved, answers: Answers | None = None) -> Checkpoint:
        """The same frontier again as a branch, along with the graph inside a task that the config named."""
        named = None
        if self._target and self._journal:
            from clew.runtime.travel import copied

            named = await copied(self._journal, self._target, self._settings.metadata)
        return await self._commit(fork(self._plan, saved.checkpoint, self._settings.thread), named, answers)

    async def _commit(
        self,
        checkpoint: Checkpoint,
        named: tuple[int, bytes] | None = None,
        answers: Answers | None = None,
        notes: Mapping[str, bytes] | None = None,
    ) -> Checkpoint:
        if self._journal:
            await committed(self._program, self._settings, self._journal, checkpoint, named=named, answers=answers, notes=notes,
                            watch=self._scope.watch)  # fmt: skip
        return checkpoint


def committed(
    program: Program,
    settings: Settings,
    journal: "Journal",
    checkpoint: Checkpoint,
    *,
    last: bool = False,
    aside: bool = False,
    joined: bool = False,
    named: tuple[int, bytes] | None = None,
    answers: Answers | None = None,
    notes: Mapping[str, bytes] | None = None,
    watch: "Watch | None" = None,
) -> Coroutine[Any, Any, Saved]:
    """Commits a checkpoint of a run; see `Journal.commit`. Raises ThreadConflict, UnstorableValue."""
    stored, metadata, run = stored_checkpoint(program.plan, checkpoint), settings.metadata, settings.given.get("run_id")
    if run is not None and journal.hold.fresh and not journal.begun:  # which run a checkpoint is of, the first of each says
        metadata = {**(metadata or {}), "run_id": str(run)}
        journal.hold.fresh = journal.late
    work = journal.commit(
        stored, program.keeps, metadata, last=last, aside=aside, joined=joined, named=named, answers=answers, notes=notes
    )
    return watch.commit(work) if watch else work


def _moved(before: Checkpoint, after: Checkpoint, done: list[Result | None]) -> dict[str, str]:
    """The keys that tasks had, and have now: a Send's has its number, and those that have run are gone."""
    left = [index for index, result in enumerate(done) if result is None]
    names = {task.node: index for index, task in enumerate(after.frontier) if not task.sent}
    keys: dict[str, str] = {}
    for number, index in enumerate(left):  # Sends come first, and keep their order
        task = before.frontier[index]
        keys[task_key(before.frontier, index)] = task_key(after.frontier, number if task.sent else names[task.node])
    return keys


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
