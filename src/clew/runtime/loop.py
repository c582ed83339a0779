"""The one loop: load, supersteps, commits, events. Written once for both faces; it awaits only its host and its journal.

The loop alone owns what changes. Tasks are handed what they need and post one message when they end.
"""

import traceback
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from clew.engine.answers import all_asked, opened, shown
from clew.engine.apply import apply, fold, in_order, recorded, task_key
from clew.engine.stored import stored_result
from clew.engine.writes import Returned
from clew.errors import GraphInterrupt, ParentCommand, PersistenceError, UnkeptPause, UnstorableValue
from clew.ids import task_id
from clew.runtime.attempt import Program, Stops
from clew.runtime.context import TaskContext
from clew.runtime.entrance import Entered, Entrance, committed
from clew.runtime.events import ENTERED, Event
from clew.runtime.host import Finished
from clew.runtime.limits import may_go_on
from clew.runtime.policy import run_task
from clew.runtime.readers import Readers, is_entering
from clew.runtime.scope import Scope
from clew.types import Answer, Checkpoint, Failed, Interrupt, OnBusy, Outcome, Paused, Question, Result, RunEvent

if TYPE_CHECKING:  # a graph that keeps nothing need not import what keeps
    from clew.checkpoint.base import Saver
    from clew.checkpoint.journal import Journal

NONE: Mapping[str, Outcome] = {}


class Run:
    """One run of one graph, on one thread where there is a saver.

    Attributes:
        checkpoint: where the run stands. scope: what its tasks have in common. interrupts: what it waits for, where it has
            paused.
    """

    __slots__ = ("_after", "_answers", "_asked", "_held", "_host", "_journal", "_left", "_on_busy", "_passed", "_program",
                 "_readers", "_said", "_saver", "_settings", "_stops", "checkpoint", "interrupts", "scope")  # fmt: skip

    def __init__(
        self,
        program: Program,
        saver: "Saver | None",
        scope: Scope,
        output_keys: str | Sequence[str] | None = None,
        stops: Stops | None = None,
        on_busy: OnBusy = "reject",
    ) -> None:
        self._program, self._host, self._saver = program, scope.host, saver
        self._settings = scope.settings
        self._readers = Readers(program, scope, output_keys) if scope.modes or scope.wanted else None
        self._journal: Journal | None = None
        self._held: list[tuple[int, Returned]] = []
        self._said: list[Event] = []
        self._left = scope.settings.recursion_limit
        self._answers: Mapping[str, tuple[Answer, ...]] = {}
        self._asked: dict[int, tuple[Question, ...]] = {}
        self._after: dict[str, Any] | None = None
        self.interrupts: tuple[Interrupt, ...] = ()
        self._stops = stops
        self._passed: Checkpoint | None = None
        self._on_busy: OnBusy = on_busy
        self.scope = scope
        self.checkpoint: Checkpoint = Checkpoint({})

    async def kept(self) -> list[RunEvent]:
        """What the run has told and is kept, since this was last asked: of one that keeps its events."""
        return await self._readers.kept() if self._readers else []

    async def finish(self, given: Any) -> Any:
        """Runs to the end and returns the state there, as callers see it."""
        async for _ in self.events(given):
            pass
        return self.output()

    def output(self) -> Any:
        return self._program.plan.shown.plain(self.checkpoint.values)

    async def events(self, given: Any) -> AsyncGenerator[Event]:
        """Runs to the end, yielding events of the modes asked for.

        Closing it between two events leaves the thread at its last commit, from where it can go on.
        """
        readers, scope, failed, why, entering = self._readers, self.scope, True, None, True
        try:
            into = await self._start(given)
            entered, records, goes_on = into.checkpoint, into.records, given is None or bool(into.answers)
            for event in readers.entered(entered, into.wrote, goes_on=goes_on) if readers else ():
                yield event
            while True:
                scope.begin(self.checkpoint)
                for event in readers.at(records) if readers else ():
                    yield event
                if not self.checkpoint.frontier:
                    break
                stopped = self.checkpoint is not self._passed and self._stops
                if stopped and stopped.hit(self.checkpoint, entered=self.checkpoint is entered):
                    for event in await self._stop():
                        yield event
                    failed = False
                    return
                if not (entering := entering and is_entering(self._program, self.checkpoint)):
                    may_go_on(scope, self._left, self.checkpoint.frontier)
                    self._left -= 1
                if scope.watch:
                    await scope.watch.superstep(scope.step + 1)
                results = recorded(self.checkpoint, records)
                missing = [i for i, result in enumerate(results) if result is None] if records else range(len(results))
                for event in readers.begun(self.checkpoint, results) if readers else ():
                    yield event
                if len(missing) == 1 and not (readers and readers.beside and self._speaks(missing[0])):
                    ended = await self._ran(missing[0], self._context(missing[0], alone=True))
                    results[missing[0]] = ended.result
                    if error := self._came_to(ended):
                        await self._failed(missing, error)
                        for event in self._said if isinstance(error, Exception) else ():
                            yield event
                        raise error
                elif missing:
                    async for event in self._together(missing, results):
                        yield event
                if self._asked:
                    for event in await self._paused(results):
                        yield event
                    failed = False
                    return
                records, self._answers = NONE, {}
                for event in await self._advance(results):
                    yield event
            failed = False
        except ParentCommand:  # the graph has ended, if not as it was drawn
            failed = False
            raise
        except Exception as error:
            why = error
            raise
        finally:
            await self._host.close()
            if self._journal:
                from clew.runtime.door import left

                await left(self._journal, scope, failed=failed, ended=not self._asked, why=why)

    async def _start(self, given: Any) -> Entered:
        """Loads the thread and goes in."""
        scope, thread = self.scope, self._settings.thread
        if self._saver is not None and thread is not None:
            from clew.runtime.door import opened  # late: a graph that keeps nothing has no thread to take

            self._journal = opened(self._saver, scope, thread)
            scope.saver, scope.journal = self._saver, self._journal
        if self._readers:
            self._readers.expect(nothing=given is None)
        journal = self._journal
        entrance = Entrance(self._program, self._settings, journal, scope)
        entered = await (entrance.go_in(journal, given, self._on_busy) if journal else entrance.enter(given, None))
        self._settings, self.checkpoint, self._answers = scope.settings, entered.checkpoint, entered.answers
        self._passed = entered.checkpoint if entered.stopped else None
        return entered

    def _speaks(self, index: int) -> bool:
        """Whether code of a user runs in this task, and so may have something to say while it does."""
        node = self._program.nodes[self.checkpoint.frontier[index].node]
        return node.action is not None or bool(node.routers)

    # -- one superstep ----------------------------------------------------------------------------------------------

    def _ended_all(self) -> list[Event]:
        """What readers are told of tasks that have ended and of which they have not been told."""
        events = self._said[:]
        for index, returned in self._held:
            events += self._readers.ended(self.checkpoint, index, returned) if self._readers else []
        self._held.clear()
        self._said.clear()
        return events

    def _context(self, index: int, *, alone: bool = False) -> TaskContext:
        """A task, to be run. One that runs `alone` does so here, without a hop, and its result is kept by the commit that
        follows."""
        frontier = self.checkpoint.frontier
        task = frontier[index]
        node = self._program.nodes[task.node]
        # the step that runs now has been counted already
        key = task_key(frontier, index) if task.sent else task.node
        context = TaskContext(self.scope, key, node.name, self._left + 1, node.metadata)
        context.triggers = node.triggers if not task.sent or node.triggers == ENTERED else ("__pregel_push",)
        if task.origin is not None:
            context.origin = task.origin
        if node.whole and not task.sent:
            context.whole = True
        if alone and self._readers:
            context.held = self._said
        if self._answers:
            context.answers = {answer.slot: answer for answer in self._answers.get(context.key, ())}
        return context

    async def _ran(self, index: int, context: TaskContext) -> Finished:
        """Runs a task. Where it comes to no result, the graphs inside it that have ended are kept, to answer when it does."""
        program, before = self._program, self.checkpoint
        task = before.frontier[index]
        try:
            try:
                work = run_task(program.plan, program.nodes[task.node], self._host, task, before.values, context)
                result, shown = await work
            except BaseException:
                for journal in context.graphs[1].values():
                    await journal.flush()
                raise
            finally:
                context.over = True
        except BaseException as error:  # all of it is the loop's to deal with, a cancellation too
            return Finished(index, None, None, error, context)
        return Finished(index, result, shown, None, context)

    def _came_to(self, ended: Finished) -> BaseException | None:
        """Takes what a task came to, to be kept, or asks; what it failed with, or what stands in the way of that."""
        if ended.result is None:
            if not isinstance(ended.error, GraphInterrupt):
                return ended.error
            self._asked[ended.index] = ended.error.questions  # the others go on: whatever they ask is asked together
            return None
        if self._journal:
            try:
                result = stored_result(self._program.plan, ended.result)
                self._journal.take(ended.context.key, self.checkpoint.frontier[ended.index], result, ended.context.inside)
            except UnstorableValue as unstorable:
                return unstorable
        if self._readers and self._readers.ends and ended.shown is not None:
            self._held.append((ended.index, ended.shown))
        self._after = ended.context.after if len(self.checkpoint.frontier) == 1 else None
        return None

    async def _stop(self) -> list[Event]:
        """Notes that the run has stopped here at a breakpoint. A graph inside a task stops those around it as well."""
        events = self._readers.stopped() if self._readers else []
        if self._readers:
            self._readers.end(asks=True)
        if self._journal:
            self._journal.stop()
            await self._journal.keep(last=not self.scope.nested)
        if self.scope.nested:
            raise GraphInterrupt
        return events

    async def _together(self, missing: Sequence[int], results: list[Result | None]) -> AsyncIterator[Event]:
        """Runs several tasks beside one another. Each result is kept as it comes, so that a sibling's fall costs it nothing.

        After a failure no further task is started and those that can be are cancelled; what still ends well is kept.
        """
        host, journal = self._host, self._journal
        waiting = [*reversed(missing)]
        running, first = 0, None
        while running or (waiting and first is None):
            while waiting and first is None and running < (self._settings.max_concurrency or len(missing)):
                index = waiting.pop()
                self._host.start(partial(self._ran, index, self._context(index)))
                running += 1
            message = await host.receive()
            if isinstance(message, Event):
                yield message
                continue
            running -= 1
            if error := self._came_to(message):
                await self._failed([message.index], error)
                for event in self._readers.failed(self.checkpoint, message.index, error) if self._readers else ():
                    yield event
                if first is None:
                    first = error
                    host.cancel()
                continue
            results[message.index] = message.result
            if message.result is None or (journal and not (running or waiting or first)):
                continue
            events = self._ended_all() if self._readers else ()
            if journal:
                await journal.keep()
            for event in events:
                yield event
        if first is not None:
            if journal and self._asked:
                self._pause(journal)  # what the others ask is open all the same
                await journal.keep()
            raise first

    def _pause(self, journal: "Journal") -> None:
        """Takes what the tasks of this superstep ask."""
        for index, questions in sorted(self._asked.items()):
            key = task_key(self.checkpoint.frontier, index)
            journal.pause(key, all_asked(journal.saved, key, Paused(questions), self._answers.get(key, ())))

    async def _paused(self, results: Sequence[Result | None]) -> list[Event]:
        """Keeps what is asked and what has finished; what readers are told. A graph within a task hands its questions up."""
        frontier, asked, journal = self.checkpoint.frontier, sorted(self._asked.items()), self._journal
        if journal:
            self._pause(journal)
        if self.scope.nested:
            if journal:
                await journal.keep()
            raise GraphInterrupt(*[question for _, questions in asked for question in questions])
        readers, before = self._readers, self.checkpoint
        events, self._said = self._said, []
        for index, questions in asked:
            key = task_key(frontier, index)
            waiting = shown(opened(frontier[index].origin or (self.scope.anchor, key), key, questions))
            self.interrupts += waiting
            events += readers.paused(before, index, waiting) if readers else []
        events += self._ended_all()
        if done := in_order(frontier, results):  # callers see what has finished, as `get_state` shows it
            self.checkpoint = replace(before, values=fold(self._program.plan, before.values, done))
            events += readers.state(self.checkpoint) if readers else []
        if readers:
            readers.end(asks=True)
        if journal:
            await journal.keep(last=True)
        elif any(questions for _, questions in asked):
            warnings.warn(
                "The run waits for an answer, and the graph keeps nothing that it could be given to later: compile it with a "
                "checkpointer, as in `builder.compile(checkpointer=InMemorySaver())`.",
                UnkeptPause,
                stacklevel=2,
            )
        return events

    async def _advance(self, results: list[Result | None]) -> list[Event]:
        """Applies a superstep and commits what comes of it; what readers are told: of its tasks, and the state. Where it cannot
        be applied, its tasks run again on resume."""
        checkpoint, readers = self.checkpoint, self._readers
        try:
            known, self._after = self._after, None
            after = apply(self._program.plan, checkpoint, results, known)
            events = [*self._ended_all(), *readers.state(after, results)] if readers else []
            if self._journal:
                last, watch = not after.frontier and not self.scope.nested, self.scope.watch
                if last and readers:
                    readers.end()
                await committed(self._program, self._settings, self._journal, after, last=last, aside=True, watch=watch)
            self.checkpoint = after
            if self.scope.around is not None and self.scope.around.whole and not after.frontier:
                self.scope.around.inside = self._journal
        except Exception as error:
            if readers:
                readers.undo()
            if not isinstance(error, PersistenceError) or isinstance(error, UnstorableValue):
                await self._failed(range(len(checkpoint.frontier)), error)
            raise
        return events

    # -- failing ----------------------------------------------------------------------------------------------------

    async def _failed(self, indexes: Sequence[int], error: BaseException) -> None:
        """Notes on the error which task raised it, and keeps it beside the checkpoint; but for what ends the process or run."""
        if not isinstance(error, Exception):
            return
        frontier, journal = self.checkpoint.frontier, self._journal
        keys = [task_key(frontier, index) for index in indexes]
        saved = journal.saved if journal else None
        if len(keys) == 1:
            task = f" and id {task_id(saved.id, keys[0])!r}" if saved else ""
            error.add_note(f"During task with name {frontier[indexes[0]].node!r}{task}")
        if journal is None or saved is None:
            return
        if len(keys) == 1 and (question := self.scope.rejected.pop(keys[0], None)):  # it can be answered anew
            given = [answer for answer in self._answers.get(keys[0], ()) if answer.slot != question.slot]
            journal.pause(keys[0], all_asked(saved, keys[0], Paused((question,)), given))
            journal.answer(keys[0], given)
        else:
            text = "".join(traceback.format_exception(error))
            journal.fail(keys, Failed(type(error).__name__, str(error), text))
        await journal.keep()
