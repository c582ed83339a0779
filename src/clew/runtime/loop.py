"""The one loop: load, supersteps, commits, events. Written once for both faces; it awaits only its host and its journal.

The loop alone owns what changes. Tasks are handed what they need and post one message when they end.
"""

import traceback
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clew.constants import START
from clew.engine.apply import apply, task_key
from clew.engine.plan import Plan
from clew.engine.start import begin, fork, resume
from clew.engine.writes import Returned, prepared, read_update
from clew.errors import DroppedWorkWarning, EmptyInputError, GraphRecursionError, PersistenceError, UnstorableValue
from clew.ids import task_id
from clew.runtime.attempt import Node, attempt
from clew.runtime.events import cached_event, update_event
from clew.runtime.host import Finished, Host
from clew.runtime.settings import Settings
from clew.types import Checkpoint, Failed, Outcome, Result, Saved

if TYPE_CHECKING:  # a graph that keeps nothing need not import what keeps
    from clew.checkpoint.base import Saver
    from clew.checkpoint.journal import Journal

Event = tuple[str, Any]
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
        checkpoint: where the run stands.
    """

    __slots__ = ("_held", "_host", "_journal", "_modes", "_program", "_saver", "_settings", "checkpoint")

    def __init__(self, program: Program, host: Host, saver: "Saver | None", settings: Settings, modes: frozenset[str]) -> None:
        self._program = program
        self._host = host
        self._saver = saver
        self._settings = settings
        self._modes = modes
        self._journal: Journal | None = None
        self._held: list[tuple[str, Returned]] = []
        self.checkpoint: Checkpoint = Checkpoint({})

    async def finish(self, given: Any) -> dict[str, Any]:
        """Runs to the end and returns the state there, as callers see it."""
        async for _ in self.events(given):
            pass
        return self.output()

    def output(self) -> dict[str, Any]:
        return self._program.plan.output(self.checkpoint.values)

    async def events(self, given: Any) -> AsyncGenerator[Event]:
        """Runs to the end, yielding events of the modes asked for.

        Closing it between two events leaves the thread at its last commit, from where it can go on.
        """
        try:
            records = await self._start(given)
            left = self._settings.recursion_limit
            values = "values" in self._modes
            if values and given is None:
                yield "values", self.output()
            while self.checkpoint.frontier:
                left -= self.checkpoint.frontier[0].node != START
                if left < 0:
                    raise GraphRecursionError(self._exhausted())
                results = self._recorded(records)
                if records and "updates" in self._modes:
                    for event in self._cached(results):
                        yield event
                missing = [index for index, result in enumerate(results) if result is None]
                if len(missing) == 1:
                    results[missing[0]] = await self._alone(missing[0])
                elif missing:
                    async for event in self._together(missing, results):
                        yield event
                records = NONE
                await self._advance([result for result in results if result is not None])
                if "updates" in self._modes:
                    for node, shown in self._held:
                        yield "updates", update_event(node, shown)
                self._held.clear()
                if values and any(result and result.writes for result in results):
                    yield "values", self.output()
            if self._saver and self._journal:  # after a failure it is let go: the elements it holds may have been changed
                self._saver.release(self._journal)
        finally:
            await self._host.close()

    # -- beginning --------------------------------------------------------------------------------------------------

    async def _start(self, given: Any) -> Mapping[str, Outcome]:
        """Loads the thread and begins, resumes or forks. Returns the outcomes that are on record."""
        plan, settings, saver = self._program.plan, self._settings, self._saver
        writes = None if given is None else prepared(plan, read_update(plan, START, given))
        if saver is None or settings.thread is None:
            if writes is None:
                raise EmptyInputError("There is nothing to go on from, as the graph keeps no state: pass an input.")
            self.checkpoint = begin(plan, None, writes)
            return NONE
        journal = self._journal = saver.journal(self._host, settings.thread, settings.ns)
        saved = await journal.open(settings.checkpoint)
        if writes is not None:
            self._warn_of_dropped(saved)
            await self._commit(begin(plan, saved.checkpoint if saved else None, writes))
            return NONE
        if saved is None:
            raise EmptyInputError(f"Thread {settings.thread!r} has nothing to go on from: pass an input, such as a dict.")
        if not journal.at_head:
            await self._commit(fork(plan, saved.checkpoint))
            return NONE
        self.checkpoint = resume(plan, saved.checkpoint)
        return saved.records

    def _warn_of_dropped(self, saved: Saved | None) -> None:
        done = sorted(key for key, outcome in saved.records.items() if isinstance(outcome, Result)) if saved else ()
        if done:
            warnings.warn(
                f"The new input drops what {done} had done in a superstep of thread {self._settings.thread!r} that had not "
                "ended; it stays in the thread's history. To end that superstep first, call `invoke(None, config)`.",
                DroppedWorkWarning,
                stacklevel=2,
            )

    def _recorded(self, records: Mapping[str, Outcome]) -> list[Result | None]:
        """Per task its result, where one is on record."""
        frontier = self.checkpoint.frontier
        if not records:
            return [None] * len(frontier)
        found = [records.get(task_key(frontier, index)) for index in range(len(frontier))]
        return [outcome if isinstance(outcome, Result) else None for outcome in found]

    def _cached(self, results: list[Result | None]) -> list[Event]:
        pairs = zip(self.checkpoint.frontier, results, strict=True)
        return [("updates", cached_event(task.node, result)) for task, result in pairs if result and task.node != START]

    # -- one superstep ----------------------------------------------------------------------------------------------

    async def _alone(self, index: int) -> Result:
        """The superstep's only task: run here, without a hop; its result is kept by the commit that follows."""
        checkpoint, program = self.checkpoint, self._program
        task = checkpoint.frontier[index]
        try:
            result, shown = await attempt(program.plan, program.nodes[task.node], self._host, task, checkpoint.values)
            if self._journal:
                self._journal.take(task_key(checkpoint.frontier, index), task, result)
        except Exception as error:
            await self._failed([index], error)
            raise
        if self._modes and task.node != START:
            self._held.append((task.node, shown))
        return result

    async def _together(self, missing: list[int], results: list[Result | None]) -> AsyncIterator[Event]:
        """Runs several tasks beside one another. Each result is kept as it comes, so that a sibling's fall costs it nothing.

        After a failure no further task is started and those that can be are cancelled; what still ends well is kept.
        """
        host, journal, frontier = self._host, self._journal, self.checkpoint.frontier
        waiting = missing[::-1]
        running, first = 0, None
        while running or (waiting and first is None):
            while waiting and first is None and running < (self._settings.max_concurrency or len(missing)):
                self._launch(waiting.pop())
                running += 1
            message = await host.receive()
            running -= 1
            task, error = frontier[message.index], message.error
            if message.result and journal:
                try:
                    journal.take(task_key(frontier, message.index), task, message.result)
                except UnstorableValue as unstorable:
                    error = unstorable
            if error is not None:
                if isinstance(error, Exception):
                    await self._failed([message.index], error)
                if first is None:
                    first = error
                    host.cancel()
                continue
            results[message.index] = message.result
            assert message.shown is not None
            if journal and (running or waiting or first):
                await journal.keep()
            elif journal:
                self._held.append((task.node, message.shown))
                continue
            if "updates" in self._modes:
                yield "updates", update_event(task.node, message.shown)
        if first is not None:
            raise first

    def _launch(self, index: int) -> None:
        checkpoint, program, host = self.checkpoint, self._program, self._host
        task = checkpoint.frontier[index]
        node = program.nodes[task.node]

        async def body() -> Finished:
            try:
                result, shown = await attempt(program.plan, node, host, task, checkpoint.values)
            except BaseException as error:  # all of it is the loop's to deal with, a cancellation too
                return Finished(index, None, None, error)
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
            await self._journal.commit(checkpoint, self._program.keeps, self._settings.metadata)
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
        thread = "" if self._journal is None else " The thread is kept: go on with `invoke(None, config)`."
        return (
            f"The run took {self._settings.recursion_limit} supersteps and is not at its end; {names} would run next. Does a "
            'loop have no way out? Otherwise allow more: `config={"recursion_limit": 1000}`.' + thread
        )
