"""Every error that Clew raises, as one tree. A class's docstring is its default message.

    ClewError
    ├── GraphError (ValueError)              the drawing is wrong; said when it is drawn or compiled
    ├── EmptyInputError                      nothing to start from
    ├── InvalidUpdateError                   what a node or a caller wrote cannot be taken
    ├── UnknownMessage (ValueError)          a RemoveMessage names an id that no message has
    ├── UnknownNode                          a route or a stored task names a node that is not there
    ├── GraphRecursionError (RecursionError) out of supersteps; the thread can go on
    ├── NodeTimeoutError (TimeoutError)      a node took longer than its TimeoutPolicy allows
    ├── NodeCancelledError                   a node raised CancelledError, and nobody had cancelled the run
    ├── MultipleSubgraphs                    two graphs inside tasks want the same memory at the same time
    ├── GraphDrained                         the run was asked to stop between two supersteps; the thread can go on
    ├── WrongFace (TypeError)                async code was reached from the sync face
    ├── MissingDependency (ImportError)      an optional package is not installed
    ├── InvalidNamespaceError (ValueError)   what a store is asked for cannot be a namespace
    ├── ToolInvocationError (ToolException)  in clew.prebuilt: a model's arguments do not fit the tool
    └── PersistenceError
        ├── MissingCheckpointer (ValueError) state was asked of a graph that keeps none
        ├── MissingThreadId (ValueError)     a saver, and no thread to keep it under
        ├── ThreadNotFound                   no thread of that name
        ├── ThreadExists                     a thread of that name, and nothing is written over it
        ├── CheckpointNotFound               no checkpoint of that id in the thread
        ├── CheckpointGone                   a checkpoint is there and items it names are not
        ├── TamperedRow                      something was not sealed for the place where it stands
        ├── MissingKey                       what is sealed cannot be opened: its key is gone, or was not given
        ├── EventsGone                       events of a run that a reader asks for are not kept (any more)
        ├── RunLost                          a run was cut short, and nobody goes on with it
        ├── ThreadConflict                   somebody else moved the thread on first
        ├── TaskMismatch                     a task's result on record was made by other code
        ├── OutcomeUnknown                   a side effect was begun, and nobody knows whether it was done
        ├── UnknownInterrupt (RuntimeError)  an answer that no open question fits
        ├── InterruptMismatch                an answer was given to another question than the code asks by now
        ├── UnstorableValue                  a value that the codec does not know
        ├── OpaqueValue                      a stored value of a type nobody registered was touched
        ├── VersionConflict                  somebody else wrote the store's item first
        ├── UnreadableThread                 a thread that LangGraph wrote, of which something cannot be read
        └── DatabaseError                    the database cannot be used
            └── DamagedData                  what is stored is not what was written

    ClewWarning (UserWarning)
    ├── ArgumentsChanged                     a task was called with other arguments before; the result was delivered
    ├── QuestionChanged                      a question was answered and reads differently by now
    ├── UnkeptWarning                        something was asked for that only a graph with a checkpointer can do
    │   └── UnkeptPause                      a task waits for an answer in a graph that keeps nothing
    ├── UnknownKeyWarning                    an update names a key that the state does not have
    ├── UnindexedWarning                     a store without an index was asked what an item means
    ├── CacheWarning                         a cache cannot be used; the run goes on without it
    ├── ClassicSaverWarning                  a saver of yours keeps whole checkpoints, and does not keep runs apart
    └── DroppedWorkWarning                   a new input dropped what tasks of an open superstep had done

Control flow is no error: it is a `BaseException`, so that no `except Exception` of a node swallows it.

    GraphBubbleUp (BaseException)
    ├── GraphInterrupt                       a task waits for an answer
    └── ParentCommand                        a Command for the graph around this one, on its way there
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class ClewError(Exception):
    """Something went wrong in Clew."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or inspect.getdoc(type(self)) or "")


class GraphError(ClewError, ValueError):
    """The graph is not drawn correctly."""


class EmptyInputError(ClewError):
    """There is no input to start from: pass a dict, or the config of a thread that has a checkpoint to go on from."""


class InvalidUpdateError(ClewError):
    """The update cannot be applied to the state."""


class UnknownMessage(ClewError, ValueError):
    """A RemoveMessage names an id that no message has."""


class UnknownNode(ClewError):
    """There is no such node in the graph."""


class GraphRecursionError(ClewError, RecursionError):
    """The run took as many supersteps as `recursion_limit` allows and is not at its end."""


class NodeTimeoutError(ClewError, TimeoutError):
    """The node took longer than its timeout allows.

    Attributes:
        node: its name.
    """

    def __init__(self, message: str = "", node: str = "") -> None:
        self.node = node
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class NodeError:
    """No error itself: what an error handler is told: the node that failed, and what it raised after its last try."""

    node: str
    error: Exception


class NodeCancelledError(ClewError):
    """A node raised CancelledError itself: nobody had cancelled the run."""


class MultipleSubgraphs(ClewError):
    """Two graphs inside tasks want the same memory at the same time."""


class GraphDrained(ClewError):
    """The run was asked to stop (`RunControl.request_drain`) and did, between two supersteps.

    Attributes:
        reason: as given to `request_drain`.
    """

    def __init__(self, reason: str = "", *, kept: bool = True) -> None:
        self.reason = reason
        way = "go on with `invoke(None, config)`" if kept else "the graph keeps nothing that it could go on from"
        super().__init__(f"The run was asked to stop ({reason}) and did; {way}.")


class WrongFace(ClewError, TypeError):
    """An async node was reached from the sync face: call `ainvoke` or `astream` instead."""


class MissingDependency(ClewError, ImportError):
    """An optional package is not installed."""


class InvalidNamespaceError(ClewError, ValueError):
    """A namespace is a tuple of labels, as in `("memories", "user-1")`."""


class PersistenceError(ClewError):
    """A thread could not be kept or read."""


class MissingCheckpointer(PersistenceError, ValueError):
    """The graph keeps no state: compile it with one, as in `builder.compile(checkpointer=InMemorySaver())`."""


class MissingThreadId(PersistenceError, ValueError):
    """A graph with a checkpointer needs a thread: pass `config={"configurable": {"thread_id": "1"}}`."""


class ThreadNotFound(PersistenceError):
    """There is no thread of that name."""


class ThreadExists(PersistenceError):
    """There is a thread of that name already."""


class CheckpointNotFound(PersistenceError):
    """The thread has no such checkpoint."""


class CheckpointGone(PersistenceError):
    """Items that the checkpoint names are no longer stored."""


class TamperedRow(PersistenceError):
    """What stands in an encrypted thread was not sealed for the place where it stands."""


class MissingKey(PersistenceError):
    """What is kept is encrypted, and the key is gone or was not given."""


class EventsGone(PersistenceError):
    """Events of a run that a reader asks for are not kept any more, or never were.

    Attributes:
        first: the number of the first event that can still be read; None where nothing of the run can.
    """

    def __init__(self, message: str = "", first: int | None = None) -> None:
        self.first = first
        super().__init__(message)


class RunLost(PersistenceError):
    """A run was cut short before its end, and nobody goes on with it.

    Attributes:
        run_id: the run. last: the number of the last event that was read.
    """

    def __init__(self, message: str = "", run_id: str = "", last: int = 0) -> None:
        self.run_id, self.last = run_id, last
        super().__init__(message)


class ThreadConflict(PersistenceError):
    """Another run moved this thread on first; nothing of this run's last step was kept."""


class TaskMismatch(PersistenceError):
    """A task's result on record was made with other arguments, by other code than calls it now."""


class OutcomeUnknown(PersistenceError):
    """A side effect was begun (`runtime.once`), and nobody knows whether it was done."""


class UnknownInterrupt(PersistenceError, RuntimeError):
    """There is no open question that this answer fits.

    Attributes:
        reason: `"not_pending"`, an id that is not open (any more), or `"ambiguous"`, a bare answer to several questions.
        interrupt_ids: the ids that were given. pending_ids: those that are open.
    """

    def __init__(self, message: str, reason: str, interrupt_ids: Sequence[str], pending_ids: Sequence[str]) -> None:
        self.reason, self.interrupt_ids, self.pending_ids = reason, list(interrupt_ids), list(pending_ids)
        super().__init__(message)


class InterruptMismatch(PersistenceError):
    """An answer on record was given to another question than the one that the code asks by now."""


class UnstorableValue(PersistenceError):
    """A value of this type cannot be stored.

    Attributes:
        path: where the value stands inside what was to be stored, e.g. `"[0].when"`; empty for the value itself.
        reason: what was found and what to do about it, without the path.
    """

    def __init__(self, reason: str = "", path: str = "") -> None:
        self.reason, self.path = reason, path
        super().__init__(f"at {path}: {reason}" if path else reason)


class OpaqueValue(PersistenceError):
    """A stored value of an unregistered type was touched."""


class VersionConflict(PersistenceError):
    """Somebody else wrote the store's item first. Nothing of the batch was written.

    Attributes:
        namespace, key: where the item is. expected: the version that was asked for. found: the one that it has; 0, in both,
            for no item.
    """

    def __init__(
        self, message: str = "", namespace: tuple[str, ...] = (), key: str = "", expected: int = 0, found: int = 0
    ) -> None:
        self.namespace, self.key, self.expected, self.found = namespace, key, expected, found
        super().__init__(message)


class UnreadableThread(PersistenceError):
    """A thread that LangGraph wrote, of which something cannot be read; nothing of it was migrated."""


class DatabaseError(PersistenceError):
    """The database cannot be used."""


class DamagedData(DatabaseError):
    """What is stored is not what was written: damaged, forged, or of a later version.

    Attributes:
        named: whether the message says of which checkpoint it is.
    """

    named = False


class ClewWarning(UserWarning):
    """Something that goes on, and was perhaps not meant."""


class ArgumentsChanged(ClewWarning):
    """A task was called with other arguments before; the result on record was delivered, as the same code calls it."""


class QuestionChanged(ClewWarning):
    """A question was answered and reads differently by now; the answer was delivered, as the same code asks it."""


class UnkeptWarning(ClewWarning):
    """Something was asked for that only a graph with a checkpointer can do."""


class UnkeptPause(UnkeptWarning):
    """A task waits for an answer, and the graph keeps nothing that it could be given to later."""


class UnknownKeyWarning(ClewWarning):
    """An update names a key that the state does not have."""


class UnindexedWarning(ClewWarning):
    """A store without an index was searched by a query, which it cannot know the meaning of; the query was left out."""


class CacheWarning(ClewWarning):
    """A cache cannot be used; the run goes on as if nothing were cached."""


class ClassicSaverWarning(ClewWarning):
    """A saver with the classic interface keeps whole checkpoints, and does not keep two runs on one thread apart."""


class DroppedWorkWarning(ClewWarning):
    """A new input dropped what tasks of a superstep that had not ended had already done."""


class GraphBubbleUp(BaseException):
    """Control flow on its way out of a node."""


class GraphInterrupt(GraphBubbleUp):
    """A task waits for an answer.

    Attributes:
        questions: what it asks (`clew.types.Question`).
    """

    def __init__(self, *questions: Any) -> None:
        self.questions = questions
        super().__init__(*questions)


class ParentCommand(GraphBubbleUp):
    """A `Command(graph=Command.PARENT)` on its way to the graph around the one that returned it."""

    def __init__(self, command: Any) -> None:
        self.command = command
        super().__init__(command)
