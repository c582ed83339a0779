"""What the readers of a graph's run are told, and when: by the run's stream, and through its event log where it has one.

What an event looks like stands in `events`. With a log, what is true only once something is written is told by that write, and
what a run says anew that goes on after a crash is left out of it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from clew.constants import FIRST, LAST, START
from clew.engine.apply import task_key
from clew.engine.writes import Returned
from clew.ids import task_id
from clew.runtime.attempt import Program
from clew.runtime.events import Event, Feed
from clew.runtime.scope import Scope
from clew.types import Checkpoint, Interrupt, Outcome, Result, RunEvent, Saved

if TYPE_CHECKING:
    from clew.checkpoint.events import Told


class Readers:
    """The readers of one run.

    Attributes:
        beside: tasks must run beside the reader (`Feed`). ends: of each task is told what it came to.
    """

    __slots__ = ("_feed", "_going_on", "_input", "_program", "_scope", "beside", "ends")

    def __init__(self, program: Program, scope: Scope, output_keys: str | Sequence[str] | None) -> None:
        self._program = program
        self._scope = scope
        self._feed = Feed(program.plan, scope, output_keys)
        self._going_on: bool | None = None  # while the run goes in, whether it was given nothing but to go on
        self._input: Sequence[Result] | None = None  # likewise, what START writes, where that is written with the input
        self.beside, self.ends = self._feed.beside, self._feed.updates or self._feed.tasks

    # -- going in ---------------------------------------------------------------------------------------------------

    def expect(self, *, nothing: bool) -> None:
        """The run goes in, given `nothing` or an input: where events are kept, checkpoints are told with the write of them."""
        if self._scope.journal is not None and (self._scope.wanted is not None or self._scope.events is not None):
            self._scope.journal.tells.shows, self._going_on = self._shows, nothing

    def _shows(self, saved: Saved) -> "list[Told]":
        log, feed, events = self._scope.events, self._feed, list[Event]()
        if log is None:
            return []
        if self._going_on is not None:
            if self._shows_first(saved.checkpoint, self._input, goes_on=self._going_on):
                events.append(feed.state(saved.checkpoint))
            start = saved.checkpoint.frontier[0] if self._is_entering(saved.checkpoint) else None
            self._input = None if start is None or start.node != START else (Result(start.arg),)
        if feed.checkpoints:
            events += feed.checkpoint(replace(saved, records={}), {})
        log.show(saved.seq)
        return self._for_log(events)

    def _shows_first(self, checkpoint: Checkpoint, wrote: Sequence[Result] | None, *, goes_on: bool) -> bool:
        """Whether readers of the state are shown it as it is entered: as the input has made it, or as it was found."""
        if self._feed.values and wrote is not None:
            return self._feed.wrote(wrote)
        return self._feed.values and (goes_on or not self._is_entering(checkpoint))

    def entered(self, checkpoint: Checkpoint, wrote: Result | None, *, goes_on: bool) -> Iterator[Event]:
        """The run is in: the state that it begins with, where that is of interest. `wrote`: START has run already."""
        self._going_on = None
        if self._shows_first(checkpoint, None if wrote is None else (wrote,), goes_on=goes_on):
            yield self._where(self._feed.state(checkpoint))

    def at(self, records: Mapping[str, Outcome]) -> list[Event]:
        """A superstep begins, at a checkpoint that is kept."""
        journal = self._scope.journal
        if not self._feed.checkpoints or journal is None or journal.saved is None:
            return []
        return [self._where(event) for event in self._feed.checkpoint(replace(journal.saved, records={}), records)]

    def begun(self, checkpoint: Checkpoint, results: Sequence[Result | None]) -> list[Event]:
        """Before the tasks run: those that need not, and those that will."""
        feed, log, frontier = self._feed, self._scope.events, checkpoint.frontier
        events: list[Event] = []
        if log is None and not feed.tasks and not any(results):  # mostly so
            return events
        nodes = [(i, self._program.nodes[task.node]) for i, task in enumerate(frontier)]
        if log is not None:
            for i, node in nodes:
                if results[i] is None:
                    log.again(self._id(checkpoint, i), node.name, self._scope.ns, anew=True)
        nodes = [(i, node) for i, node in nodes if not node.hidden]
        for i, node in nodes if feed.tasks else ():
            begins = feed.started(checkpoint, [(task_key(frontier, i), frontier[i], node)])
            events += [self._of(checkpoint, i, event, FIRST, known=results[i] is not None) for event in begins]
        for i, _ in nodes if feed.updates else ():
            if (result := results[i]) is not None:
                events.append(self._of(checkpoint, i, feed.cached(frontier[i], result), LAST, known=True))
        return events

    # -- tasks that end, told by the write of what they came to -------------------------------------------------------

    def ended(self, checkpoint: Checkpoint, index: int, shown: Returned) -> list[Event]:
        node = self._program.nodes[checkpoint.frontier[index].node]
        if node.hidden:
            return []
        return self._with_write(self._feed.ended(task_key(checkpoint.frontier, index), node.name, shown), checkpoint, index)

    def failed(self, checkpoint: Checkpoint, index: int, error: BaseException) -> list[Event]:
        """Of a task that may run again: it is told at once."""
        node = self._program.nodes[checkpoint.frontier[index].node]
        if node.hidden:
            return []
        events = self._feed.failed(task_key(checkpoint.frontier, index), node.name, error)
        return [self._of(checkpoint, index, event) for event in events]

    def paused(self, checkpoint: Checkpoint, index: int, waiting: tuple[Interrupt, ...]) -> list[Event]:
        task = checkpoint.frontier[index]
        name = self._program.nodes[task.node].name
        events = [*self._feed.paused(checkpoint, task_key(checkpoint.frontier, index), name, waiting)]
        for event in events:
            own = event.mode in ("tasks", "debug")
            self._with_write([event], checkpoint if own else None, index, 0)
        return events

    # -- supersteps that end, likewise ------------------------------------------------------------------------------

    def state(self, checkpoint: Checkpoint, results: Sequence[Result | None] | None = None) -> list[Event]:
        """The state after a superstep whose tasks came to `results`, where they wrote something to see."""
        if not self._feed.values or not (results is None or self._feed.wrote(results)):
            return []
        return self._with_write([self._feed.state(checkpoint)])

    def stopped(self) -> list[Event]:
        """A breakpoint was reached."""
        return self._with_write([self._feed.stopped()]) if self._feed.updates else []

    def end(self, *, asks: bool = False) -> None:
        """The next write ends the run's event log: it is at its end, or `asks` something."""
        if self._scope.events is not None and not self._scope.nested:
            from clew.runtime.resumable import status  # late: few runs keep their events

            self._scope.events.end(status(asks=asks))

    def undo(self) -> None:
        """What the write was to tell has not come true."""
        if self._scope.events is not None and self._scope.journal is not None:
            self._scope.journal.tells.taken()
            self._scope.events.end(None)

    # -- the event log ----------------------------------------------------------------------------------------------

    async def kept(self) -> list[RunEvent]:
        """What is kept and has not been asked for; whatever waits for it is kept now."""
        log, journal = self._scope.events, self._scope.journal
        if log is None or journal is None:
            return []
        if log.unsettled and journal.hold.claimed and journal.hold.events is log:
            await journal.storage.wait(journal.hold.tell)
        return log.taken()

    def _where(self, event: Event) -> Event:
        """An event of the checkpoint where the run stands: not told where it came with that, or when the run first went in."""
        log, journal = self._scope.events, self._scope.journal
        if log is None or journal is None or journal.saved is None:
            return self._now(event)
        known = log.knows(journal.saved.seq) or log.has_entered(event.mode, event.ns)
        return self._now(event, edge=FIRST, known=known)

    def _of(self, checkpoint: Checkpoint, index: int, event: Event, edge: int = 0, *, known: bool = False) -> Event:
        """An event of a task; with `known` one that may be there already."""
        log = self._scope.events
        if log is None:
            return event
        task = self._id(checkpoint, index)
        return self._now(event, task, edge, known=known and log.is_done(task))

    def _now(self, event: Event, task: str | None = None, edge: int = 0, *, known: bool = False) -> Event:
        if self._scope.events is not None and not known:
            for one in self._for_log([event], task, edge):
                self._scope.events.tell(one)
        return event

    def _with_write(
        self, events: list[Event], checkpoint: Checkpoint | None = None, index: int = 0, edge: int = LAST
    ) -> list[Event]:
        log, journal = self._scope.events, self._scope.journal
        if log is None:
            return events
        told = self._for_log(events) if checkpoint is None else self._for_log(events, self._id(checkpoint, index), edge)
        if journal is not None:
            journal.tells.told += told
        else:
            for one in told:
                log.tell(one)
        return events

    def _for_log(self, events: Iterable[Event], task: str | None = None, edge: int = 0) -> "list[Told]":
        from clew.checkpoint.events import told  # late: few runs keep their events

        log = self._scope.events
        wanted = [event for event in events if log is not None and log.wants(event.mode, event.ns)]
        return [told(event.mode, event.ns, event.data, self._scope.tasks(task), edge) for event in wanted]

    def _id(self, checkpoint: Checkpoint, index: int) -> str:
        task = checkpoint.frontier[index]
        return task_id(*(task.origin or (self._scope.anchor, task_key(checkpoint.frontier, index))))

    def _is_entering(self, checkpoint: Checkpoint) -> bool:
        return is_entering(self._program, checkpoint)


def is_entering(program: Program, checkpoint: Checkpoint) -> bool:
    """Whether START is what runs next."""
    frontier = checkpoint.frontier
    return bool(frontier) and frontier[0].node in (START, program.plan.entry)
