"""What a run hands to its nodes, and a handle on it from outside. No machinery: what is done is done by the task's context."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from clew.runtime.context import TaskContext
    from clew.runtime.once import OnUnknown
    from clew.store.base import BaseStore

    ContextT = TypeVar("ContextT", default=None)
else:
    from typing import TypeVar

    ContextT = TypeVar("ContextT")


class RunControl:
    """A handle on a run from outside: pass it as `control=` and call `request_drain` from wherever you like."""

    __slots__ = ("drain_reason",)

    def __init__(self) -> None:
        self.drain_reason: str | None = None

    def request_drain(self, reason: str = "shutdown") -> None:
        """Stops the run before its next superstep with `GraphDrained`; what is done is kept, and the thread can go on."""
        self.drain_reason = reason

    @property
    def drain_requested(self) -> bool:
        return self.drain_reason is not None


@dataclass(frozen=True, slots=True)
class ExecutionInfo:
    """Where and for which time a task runs.

    `checkpoint_id` and `thread_id` are None where nothing is kept; `node_attempt` counts from 1;
    `node_first_attempt_time` is in seconds since 1970.
    """

    checkpoint_id: str | None
    checkpoint_ns: str
    task_id: str
    thread_id: str | None
    run_id: str | None
    node_attempt: int
    node_first_attempt_time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime(Generic[ContextT]):
    """What a run hands to its nodes: take it as a parameter `runtime: Runtime[MyContext]`, or call `get_runtime()`.

    Attributes:
        context: what was passed as `context=`; it is not kept, so pass it again on resume.
        store: the graph's store, or None. stream_writer: hands chunks to readers of `stream_mode="custom"`.
        heartbeat: tells an idle timeout that the node is alive. previous: what the thread's last run returned (`@entrypoint`).
    """

    context: ContextT
    store: "BaseStore | None" = None
    stream_writer: Callable[[Any], None]
    heartbeat: Callable[[], None]
    previous: Any = None
    execution_info: ExecutionInfo
    control: RunControl | None = None
    task: "TaskContext | None" = field(default=None, repr=False, compare=False)

    def once(self, key: str, call: Callable[..., Any], /, *args: Any, on_unknown: "OnUnknown" = "ask", **kwargs: Any) -> Any:
        """Calls `call(*args, **kwargs)` and returns what it returned; where that is on record, without calling it.

        That it was begun is kept before the call, and what it returned after. Where the process dies in between, nobody knows
        whether it was done; then `on_unknown` says what to do when the task runs again. If it raises, it was not done, and is
        called again the next time. An async function is to be awaited: `await runtime.once(…)`.

        Args:
            key: names it among those of this task. What is kept belongs to the task: going back to an older checkpoint and
                running on from there does it anew. With `durability="exit"` it is kept at the end of the run only.
            on_unknown: `"ask"` (default) pauses with a question, to be answered with `{"result": …}`, which stands in for what
                it would have returned, or `{"retry": True}`; `"retry"` calls it again, for what may happen twice; `"fail"`
                raises OutcomeUnknown.

        Raises:
            OutcomeUnknown; UnstorableValue, where what it returned cannot be kept. Whatever it raises comes out as it is.
        """
        from clew.runtime.once import once  # late: few tasks need it

        if self.task is None:
            raise RuntimeError("runtime.once() was called outside of a run: take `runtime` as a parameter of a node.")
        return once(self.task, key, call, args, kwargs, on_unknown)

    @property
    def drain_requested(self) -> bool:
        """Whether the run was asked to stop: a long node may then come to an end early."""
        return self.control is not None and self.control.drain_requested

    @property
    def drain_reason(self) -> str | None:
        return self.control.drain_reason if self.control else None
