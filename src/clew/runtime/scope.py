"""What is the same for all tasks of a run: who reads and watches it, what it is kept with, where it stands. Nothing here runs
anything."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clew.channels import own
from clew.constants import PREVIOUS
from clew.ids import new_checkpoint_id
from clew.runtime.notes import Notes
from clew.runtime.runtime import RunControl
from clew.runtime.settings import Settings
from clew.schema import ROOT
from clew.types import Checkpoint, Durability, Link, Question

if TYPE_CHECKING:
    from clew.checkpoint.base import Saver
    from clew.checkpoint.events import EventLog
    from clew.checkpoint.journal import Journal
    from clew.runtime.context import TaskContext
    from clew.runtime.host import Host
    from clew.runtime.resumable import Wanted
    from clew.runtime.spans import Watch
    from clew.store.base import BaseStore


class Scope:
    """What is the same for all tasks of a run.

    Attributes:
        modes: those in which somebody reads the run. below: those in which somebody reads the graphs inside its nodes.
        around: the task that this graph runs in, None for the outermost. number: which of that task's graphs it is.
        remembers: it has a memory of its own, which lasts from one call to the next (`checkpointer=True`).
        saver, journal: what it is kept with, None where it is not. durability: when it is.
        anchor: id of the checkpoint that the superstep belongs to; made up where none is kept, when somebody asks.
        step: the superstep's number. children: see `Checkpoint.children`.
        wanted: what of the events is to be kept, where they are; events: the log they are kept in.
        rejected: per task key the question whose answer did not fit.
        watch: who watches the run, if anybody does. told: ids of the messages that readers of `messages` know of, None where
            there are none. heard: somebody may want to hear of the models that tasks call.
    """

    # what few runs have, and what a superstep sets: until then it is read here
    saver: "Saver | None" = None
    journal: "Journal | None" = None
    wanted: "Wanted | None" = None
    told: set[str] | None = None
    events: "EventLog | None" = None
    number = step = 0
    children: Mapping[str, bytes] = {}
    _values: Mapping[str, Any] = {}
    _ns: tuple[str, ...] | None = None
    _notes: Notes | None = None
    _anchor: bytes | None = None

    def __init__(
        self,
        host: "Host",
        settings: Settings,
        modes: frozenset[str] = frozenset(),
        below: frozenset[str] = frozenset(),
        *,
        around: "TaskContext | None" = None,
        context: Any = None,
        store: "BaseStore | None" = None,
        cache: Any = None,
        control: RunControl | None = None,
        durability: Durability = "sync",
        alone: str | None = None,
        watch: "Watch | None" = None,
    ) -> None:
        """`alone`: the name by which it has a memory of its own, "" for none in particular, None where it has none."""
        self.host = host
        self.settings = settings
        self.modes = modes
        self.below = below
        self.around = around
        self.heard = watch is not None
        if around is not None:
            self.number = around.calls = around.calls + 1
            self.events, self.heard = around.scope.events, self.heard or around.scope.heard
        self.context = context
        self.store = store
        self.cache = cache
        self.control = control
        self.durability: Durability = durability
        self._alone, self.remembers = alone, alone is not None
        self.rejected: dict[str, Question] = {}
        self.watch = watch
        if "messages" in modes:
            self.told = around.scope.told if around and "messages" in around.scope.below else set()
            self.heard = self.heard or self.told is not None

    @property
    def ns(self) -> tuple[str, ...]:
        """The namespace, one segment for each graph around this one; worked out when somebody asks, as ids stand in it."""
        if self._ns is None:
            self._ns = self.around.child_ns(self.number, self._alone) if self.around else ()
        return self._ns

    @property
    def outermost(self) -> "Scope":
        return self.around.scope.outermost if self.around else self

    @property
    def nested(self) -> bool:
        return self.around is not None

    @property
    def place(self) -> str:
        """The namespace as it is stored."""
        return "|".join(self.ns)

    @property
    def begun(self) -> tuple[Link, ...]:
        """What began this run, the outermost first; nothing for an outermost one."""
        around = self.around
        if around is None:
            return ()
        return (*around.scope.begun, Link(around.scope.place, *around.place, self.number))

    def begin(self, checkpoint: Checkpoint) -> None:
        """A superstep begins: that of `checkpoint`, which is the one last kept where anything is."""
        saved = self.journal.saved if self.journal else None
        self.step, self.children, self._values = checkpoint.step, checkpoint.children, checkpoint.values
        self._notes, self._anchor = None, saved.id if saved else None

    @property
    def previous(self) -> Any:
        """What an `@entrypoint` has kept for its next run."""
        return self.value(PREVIOUS)

    def value(self, key: str) -> Any:
        """One key of the state that the superstep's tasks began from, None where it has no value."""
        return own(self._values.get(key))

    @property
    def state(self) -> dict[str, Any]:
        """The state that the superstep's tasks began from, for those that are given something else."""
        return {key: own(value) for key, value in self._values.items() if key not in (PREVIOUS, ROOT)}

    @property
    def notes(self) -> Notes:
        """What the superstep's tasks keep beside their outcomes."""
        if self._notes is None:
            journal = self.journal
            self._notes = Notes(journal.note, journal.notes) if journal else Notes()
        return self._notes

    def tasks(self, own: str | None = None) -> tuple[str, ...]:
        """The tasks with which it comes to nothing what this graph tells, or a task of it, `own`: that, and where the graph is
        not kept, those around it, up to the nearest one of a graph that is."""
        first = () if own is None else (own,)
        if self.journal is None and self.around is not None:
            return (*first, *self.around.scope.tasks(self.around.id))
        return first

    @property
    def anchor(self) -> bytes:
        if self._anchor is None:
            self._anchor = new_checkpoint_id()
        return self._anchor
