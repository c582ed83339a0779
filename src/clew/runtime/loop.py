"""The one loop: load, supersteps, commits, events. Written once for both faces; it awaits only its host and its journal.

The loop alone owns what changes. Tasks are handed what they need and post one message when they end.
"""

import traceback
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from clew.constants import START
from clew.engine.apply import amend, apply, fold, task_key
from clew.engine.plan import Plan
from clew.engine.start import begin, fork, resume
from clew.engine.stored import stored_checkpoint, stored_result
from clew.engine.writes import Returned, prepared, read_input
from clew.errors import (
    DroppedWorkWarning,
    EmptyInputError,
    GraphDrained,
    GraphRecursionError,
    PersistenceError,
    UnstorableValue,
)
from clew.ids import task_id
from clew.runtime.attempt import Node
from clew.runtime.context import Scope, TaskContext
from clew.runtime.events import Event, Feed
from clew.runtime.host import Finished
from clew.runtime.policy import run_task
from clew.runtime.settings import Settings
from clew.types import Checkpoint, Command, Failed, Outcome, Result, Saved

if TYPE_CHECKING:  # a graph that keeps nothing need not import what keeps
    from clew.checkpoint.base import Saver
    from clew.checkpoint.journal import Journal

NONE: Mapping[str, Outcome] = {}


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled graph as the loop runs it: the rules' plan and, by the same names, the nodes that do the work."""

    plan: Plan
    nodes: Mapping[str, Node]
    keeps: Mapping[str, bool]


class Run:
    """One run of one graph, on one thread where there is a saver.

    Attributes:
        checkpoint: where the run stands. scope: what its tasks have in common.
    """

    __slots__ = ("_feed", "_held", "_host", "_journal", "_left", "_program", "_saver", "_settings", "checkpoint", "scope")

    def __init__(
        self, program: Program, saver: "Saver | None", scope: Scope, output_keys: str | Sequence[str] | None = None
    ) -> None:
        self._program = program
        self._host = scope.host
        self._saver = saver
        self._settings = scope.settings
        self._feed = Feed(program.plan, scope, output_keys) if scope.modes else None
        self._journal: Journal | None = None
        self._held: list[tuple[int, Returned]] = []
        self._left = scope.settings.recursion_limit
        self.scope = scope
        self.checkpoint: Checkpoint = Checkpoint({})

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
        feed = self._feed
        try:
            records = await self._start(given)
            if feed and feed.values and (given is None or not self._entering()):
                yield feed.state(self.checkpoint)
            while True:
                self.scope.begin(self.checkpoint.step, saved.id if (saved := self._saved()) else None)
                if feed and feed.checkpoints and saved:
                    for event in feed.checkpoint(replace(saved, records={}), records):
                        yield event
                if not self.checkpoint.frontier:
                    break
                self._may_go_on()
                results = self._recorded(records)
                missing = [index for index, result in enumerate(results) if result is None]
                for event in self._begun(results, missing) if feed else ():
                    yield event
                if len(missing) == 1 and not (feed and feed.beside and self._speaks(missing[0])):
                    results[missing[0]] = await self._alone(missing[0])
                elif missing:
                    async for event in self._together(missing, results):
                        yield event
                records = NONE
                held = [event for index, shown in self._held for event in self._ended(index, shown)]
                self._held.clear()
                await self._advance([result for result in results if result is not None])
                for event in held:
                    yield event
                if feed and feed.values and feed.wrote(results):
                    yield feed.state(self.checkpoint)
            if self._saver and self._journal:  # after a failure it is let go: the elements it holds may have been changed
                self._saver.release(self._journal)
        finally:
            await self._host.close()

    # -- beginning --------------------------------------------------------------------------------------------------

    async def _start(self, given: Any) -> Mapping[str, Outcome]:
        """Loads the thread and begins, resumes, amends or forks. Returns the outcomes that are on record."""
        plan, settings, saver = self._program.plan, self._settings, self._saver
        read = None if given is None else read_input(plan, given)
        if read is not None:
            read = read._replace(writes=prepared(plan, read.writes))
        saved = None
        if saver is not None and settings.thread is not None:
            self._journal = saver.journal(self._host, settings.thread, settings.ns)
            saved = await self._journal.open(settings.checkpoint)
        if read is not None:
            if isinstance(given, Command) and (saved or read.targets):
                return await self._amend(saved, read)
            return await self._begin(saved, read)
        if self._journal is None:
            raise EmptyInputError("There is nothing to go on from, as the graph keeps no state: pass an input.")
        if saved is None:
            raise EmptyInputError(f"Thread {settings.thread!r} has nothing to go on from: pass an input, such as a dict.")
        if not self._journal.at_head:
            await self._commit(fork(plan, saved.checkpoint))
            return NONE
        self.checkpoint = resume(plan, saved.checkpoint)
        return saved.records

    async def _begin(self, saved: Saved | None, read: Returned) -> Mapping[str, Outcome]:
        plan = self._program.plan
        warn_of_dropped("new input", self._settings, saved)
        after = begin(plan, saved.checkpoint if saved else None, read.writes)
        if plan.check is not None:  # refused here, before anything of it is kept
            plan.check(fold(plan, after.values, [(after.frontier[0], Result(read.writes))]), dict(read.writes))
        await self._commit(after)
        return NONE

    async def _amend(self, saved: Saved | None, read: Returned) -> Mapping[str, Outcome]:
        """`Command(update=, goto=)` as input: beside what is pending, of which what has run need not run again."""
        plan = self._program.plan
        self.checkpoint = resume(plan, saved.checkpoint) if saved else Checkpoint(plan.initial())
        results = self._recorded(saved.records if saved else NONE)
        await self._commit(amend(plan, self.checkpoint, results, Result(read.writes, read.targets)))
        return NONE

    def _entering(self) -> bool:
        """Whether START is what runs next."""
        frontier = self.checkpoint.frontier
        return bool(frontier) and frontier[0].node == START

    def _speaks(self, index: int) -> bool:
        """Whether code of a user runs in this task, and so may have something to say while it does."""
        node = self._program.nodes[self.checkpoint.frontier[index].node]
        return node.action is not None or bool(node.routers)

    def _recorded(self, records: Mapping[str, Outcome]) -> list[Result | None]:
        """Per task its result, where one is on record."""
        frontier = self.checkpoint.frontier
        if not records:
            return [None] * len(frontier)
        found = [records.get(task_key(frontier, index)) for index in range(len(frontier))]
        return [outcome if isinstance(outcome, Result) else None for outcome in found]

    def _saved(self) -> Saved | None:
        return self._journal.saved if self._journal else None

    def _may_go_on(self) -> None:
        """Raises GraphDrained where the run was asked to stop, GraphRecursionError where it may take no further superstep."""
        if self._entering():
            return
        control = self.scope.control
        if control is not None and control.drain_requested:
            raise GraphDrained(control.drain_reason or "", kept=self._journal is not None)
        if self._left <= 0:
            raise GraphRecursionError(self._exhausted())
        self._left -= 1

    # -- one superstep ----------------------------------------------------------------------------------------------

    def _begun(self, results: list[Result | None], missing: list[int]) -> Iterator[Event]:
        """What readers are told before the tasks run: those that need not, and those that will."""
        feed, frontier = self._feed, self.checkpoint.frontier
        assert feed is not None
        if feed.updates:
            for task, result in zip(frontier, results, strict=True):
                if result and task.node != START:
                    yield feed.cached(task, result)
        if feed.tasks and frontier[0].node != START:
            nodes = self._program.nodes
            yield from feed.started(
                self.checkpoint,
                [(task_key(frontier, i), frontier[i], node) for i in missing if not (node := nodes[frontier[i].node]).hidden],
            )

    def _ended(self, index: int, shown: Returned) -> Iterator[Event]:
        frontier = self.checkpoint.frontier
        node = self._program.nodes[frontier[index].node]
        if self._feed is None or node.hidden:
            return iter(())
        return self._feed.ended(task_key(frontier, index), node.name, shown)

    def _context(self, index: int) -> TaskContext:
        frontier = self.checkpoint.frontier
        task = frontier[index]
        node = self._program.nodes[task.node]
        # the step that runs now has been counted already
        context = TaskContext(self.scope, task_key(frontier, index), node.name, self._left + 1, node.metadata)
        context.triggers = ("__pregel_push",) if task.sent else node.triggers
        return context

    async def _alone(self, index: int) -> Result:
        """The superstep's only task: run here, without a hop; its result is kept by the commit that follows."""
        checkpoint, program = self.checkpoint, self._program
        task = checkpoint.frontier[index]
        context = self._context(index)
        try:
            node = program.nodes[task.node]
            result, shown = await run_task(program.plan, node, self._host, task, checkpoint.values, context)
            if self._journal:
                self._journal.take(context.key, task, stored_result(program.plan, result))
        except Exception as error:
            await self._failed([index], error)
            raise
        finally:
            context.over = True
        if self._feed:
            self._held.append((index, shown))
        return result

    async def _together(self, missing: list[int], results: list[Result | None]) -> AsyncIterator[Event]:
        """Runs several tasks beside one another. Each result is kept as it comes, so that a sibling's fall costs it nothing.

        After a failure no further task is started and those that can be are cancelled; what still ends well is kept.
        """
        host, journal = self._host, self._journal
        waiting = missing[::-1]
        running, first = 0, None
        while running or (waiting and first is None):
            while waiting and first is None and running < (self._settings.max_concurrency or len(missing)):
                self._launch(waiting.pop())
                running += 1
            message = await host.receive()
            if isinstance(message, Event):
                yield message
                continue
            running -= 1
            error = message.error or self._taken(message)
            if error is not None:
                if isinstance(error, Exception):
                    await self._failed([message.index], error)
                for event in self._fell(message.index, error):
                    yield event
                if first is None:
                    first = error
                    host.cancel()
                continue
            results[message.index] = message.result
            assert message.shown is not None
            if journal and (running or waiting or first):
                await journal.keep()
            elif journal:
                self._held.append((message.index, message.shown))
                continue
            for event in self._ended(message.index, message.shown):
                yield event
        if first is not None:
            raise first

    def _taken(self, message: Finished) -> UnstorableValue | None:
        """Takes a task's result, to be kept; what stands in the way of that, if something does."""
        frontier = self.checkpoint.frontier
        if message.result and self._journal:
            try:
                result = stored_result(self._program.plan, message.result)
                self._journal.take(task_key(frontier, message.index), frontier[message.index], result)
            except UnstorableValue as unstorable:
                return unstorable
        return None

    def _fell(self, index: int, error: BaseException) -> Iterator[Event]:
        frontier = self.checkpoint.frontier
        node = self._program.nodes[frontier[index].node]
        if self._feed is None or node.hidden:
            return iter(())
        return self._feed.failed(task_key(frontier, index), node.name, error)

    def _launch(self, index: int) -> None:
        checkpoint, program, host = self.checkpoint, self._program, self._host
        task, context = checkpoint.frontier[index], self._context(index)
        node = program.nodes[task.node]

        async def body() -> Finished:
            try:
                result, shown = await run_task(program.plan, node, host, task, checkpoint.values, context)
            except BaseException as error:  # all of it is the loop's to deal with, a cancellation too
                return Finished(index, None, None, error)
            finally:
                context.over = True
            return Finished(index, result, shown, None)

        host.start(body)

    async def _advance(self, results: list[Result]) -> None:
        """Applies a superstep and commits what comes of it. Where it cannot be applied, its tasks run again on resume."""
        checkpoint = self.checkpoint
        try:
            after = apply(self._program.plan, checkpoint, results)
            await self._commit(after)
        except Exception as error:
            if not isinstance(error, PersistenceError) or isinstance(error, UnstorableValue):
                await self._failed(range(len(checkpoint.frontier)), error)
            raise

    async def _commit(self, checkpoint: Checkpoint) -> None:
        if self._journal:
            kept = stored_checkpoint(self._program.plan, checkpoint)
            await self._journal.commit(kept, self._program.keeps, self._settings.metadata)
        self.checkpoint = checkpoint

    # -- failing ----------------------------------------------------------------------------------------------------

    async def _failed(self, indexes: Sequence[int], error: Exception) -> None:
        """Notes on the error which task raised it, and keeps it beside the checkpoint."""
        frontier, journal = self.checkpoint.frontier, self._journal
        keys = [task_key(frontier, index) for index in indexes]
        saved = journal.saved if journal else None
        if len(keys) == 1:
            task = f" and id {task_id(saved.id, keys[0])!r}" if saved else ""
            error.add_note(f"During task with name {frontier[indexes[0]].node!r}{task}")
        if journal is None or saved is None:
            return
        text = "".join(traceback.format_exception(error))
        journal.fail(keys, Failed(type(error).__name__, str(error), text))
        await journal.keep()

    def _exhausted(self) -> str:
        names = sorted({task.node for task in self.checkpoint.frontier})
        within = [segment.partition(":")[0] for segment in self.scope.ns]
        inside = f", in the graph within {' / '.join(within)!r}" if within else ""
        thread = "" if self._journal is None else " The thread is kept: go on with `invoke(None, config)`."
        return (
            f"The run took {self._settings.recursion_limit} supersteps and is not at its end; {names} would run next{inside}. "
            'Does a loop have no way out? Otherwise allow more: `config={"recursion_limit": 1000}`.' + thread
        )


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
