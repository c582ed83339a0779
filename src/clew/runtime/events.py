"""What a stream yields: which events pass, and what each says (the payloads are LangGraph's)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from clew.channels import own
from clew.constants import START
from clew.engine import snapshot
from clew.engine.plan import Plan
from clew.engine.writes import Returned
from clew.ids import task_id
from clew.nouns import maker
from clew.schema import ROOT
from clew.types import Checkpoint, Interrupt, Outcome, Result, Saved, Task, Write

if TYPE_CHECKING:
    from clew.runtime.scope import Scope

MODES: Final = ("values", "updates", "messages", "custom", "tasks", "checkpoints", "debug")
BURST: Final = ""
"""The mode of an event that is several, told while tasks run and not read until now (`told_in`). Its data is a list: the parts
of each, one after the other, so that a token makes nothing but what its reader gets."""
ENTERED: Final = (START,)
"""The triggers of a node that an input is handed to as it is."""


class Event(NamedTuple):
    """One thing that happened: in which graph (one segment for each around it), for readers of which mode, and what. Or a
    `BURST` of such things."""

    ns: tuple[str, ...]
    mode: str
    data: Any


_event = maker(Event)


def told_in(told: Event) -> list[Event]:
    """The events that one is: several where it is a burst."""
    if told.mode != BURST:
        return [told]
    parts = iter(told.data)
    return list(map(Event._make, zip(parts, parts, parts, strict=True)))


def data_in(told: Event) -> list[Any]:
    """What they say."""
    return [told.data] if told.mode != BURST else told.data[2::3]


def read_modes(stream_mode: Any) -> tuple[frozenset[str], bool]:
    """The modes asked for, and whether each event is to carry its mode: any sequence is a sequence, a lone string is not.

    Raises:
        ValueError: a mode there is none of.
    """
    alone = isinstance(stream_mode, str)
    modes: Sequence[Any] = (stream_mode,) if alone else tuple(cast("Sequence[Any]", stream_mode))
    for mode in modes:
        if mode not in MODES:
            raise ValueError(f"There is no stream mode {mode!r}: expected one or several of {list(MODES)}.")
    return frozenset(modes), not alone


class Feed:
    """The events of one run, for the modes that somebody reads.

    Attributes:
        values, updates, checkpoints: whether anybody reads these. beside: tasks must run beside the reader, because something
            is to be read while they do.
    """

    __slots__ = ("_keys", "_modes", "_plan", "_returns", "_scope", "beside", "checkpoints", "tasks", "updates", "values")

    def __init__(
        self, plan: Plan, scope: "Scope", keys: str | Sequence[str] | None = None, *, returns: str = "__end__"
    ) -> None:
        """`returns` is the key that `tasks` shows what an entry plan's function returned under."""
        modes = scope.modes
        self._plan = plan
        self._scope = scope
        self._modes = modes
        self._keys = keys
        self._returns = returns
        self.values = "values" in modes
        self.updates = "updates" in modes
        self.tasks = bool(modes & {"tasks", "debug"})
        self.checkpoints = bool(modes & {"checkpoints", "debug"})
        live = bool(modes & {"messages", "custom"} or scope.below)
        self.beside = live or self.tasks or (self.updates and plan.entry is not None)

    # -- values and updates -----------------------------------------------------------------------------------------

    def state(self, checkpoint: Checkpoint) -> Event:
        return self._event("values", self.shown_state(checkpoint))

    def shown_state(self, checkpoint: Checkpoint) -> Any:
        whole = self._plan.values(checkpoint.values)
        if self._keys is None:
            return whole
        if isinstance(self._keys, str):
            return whole.get(self._keys)
        return {key: whole[key] for key in self._keys if key in whole}

    def wrote(self, results: Sequence[Result | None]) -> bool:
        """Whether a superstep wrote anything that readers of the state would see."""
        return any(self._seen(result.writes) for result in results if result)

    def _seen(self, writes: tuple[Write, ...]) -> tuple[Write, ...]:
        keys = (self._keys,) if isinstance(self._keys, str) else self._keys
        if self._plan.entry is not None:
            keys = (ROOT,)
        return writes if keys is None else tuple([write for write in writes if write.key in keys])

    def _update(self, name: str, writes: tuple[Write, ...], **more: Any) -> Event:
        seen = [(key, own(value)) for key, value in self._seen(writes)]
        if self._plan.root or isinstance(self._keys, str):
            shown = None if not seen else seen[0][1] if len(seen) == 1 else [value for _, value in seen]
        else:
            shown = snapshot.update_shown(seen)
        return self._event("updates", {name: shown, **more})

    def cached(self, task: Task, result: Result) -> Event:
        """What a task wrote that need not run again."""
        writes = tuple(write for write in result.writes if write.key in self._plan.channels)
        return self._update(self._plan.current(task.node), writes, __metadata__={"cached": True})

    # -- tasks ------------------------------------------------------------------------------------------------------

    def started(self, checkpoint: Checkpoint, tasks: Sequence[tuple[str, Task, Any]]) -> Iterator[Event]:
        """`tasks` are those of the superstep that are to run, each with its key and its node (`clew.runtime.attempt.Node`)."""
        for key, task, node in tasks:
            payload: dict[str, Any] = {
                "id": task_id(self._scope.anchor, key),
                "name": node.name,
                "input": task.arg if task.sent else node.view.plain(checkpoint.values),
                "triggers": node.triggers if not task.sent or node.triggers == ENTERED else ("__pregel_push",),
            }
            given = self._scope.settings.given
            tags = {"tags": [*given["tags"]]} if given.get("tags") else {}
            metadata: dict[str, Any] = {**(given.get("metadata") or {}), **(node.metadata or {}), **tags}
            if metadata:
                payload["metadata"] = metadata
            yield from self._task("task", payload)

    def ended(self, key: str, name: str, shown: Returned) -> list[Event]:
        """What a task that has ended wrote, as it returned it; before that, what it failed with where a handler stepped in."""
        events: list[Event] = []
        if shown.by:
            if shown.failed is not None:
                events += self.failed(key, name, shown.failed)
            key, name = f"{key}!", shown.by
        if self.updates:
            events.append(self._update(name, shown.writes, **({"__metadata__": {"cached": True}} if shown.cached else {})))
        if self.tasks and not shown.cached:
            events += self._task("task_result", self._result(key, name, None, self._written(shown.writes)))
        return events

    def paused(self, before: Checkpoint, key: str, name: str, waiting: tuple[Interrupt, ...]) -> Iterator[Event]:
        """What one task waits for, with the state as it was before its superstep."""
        if self.updates:
            yield self._event("updates", {"__interrupt__": waiting})
        if self.values:
            state = self.shown_state(before)
            shown = cast("dict[str, Any]", state) if type(state) is dict else {}
            yield self._event("values", {**shown, "__interrupt__": waiting})
        yield from self.waiting(key, name, waiting)

    def waiting(self, key: str, name: str, waiting: tuple[Interrupt, ...]) -> Iterator[Event]:
        """How one task has ended that waits for an answer."""
        if self.tasks:
            asked = [{"value": w.value, "id": w.id, "response_schema": w.response_schema} for w in waiting]
            yield from self._task("task_result", {**self._result(key, name, None, {}), "interrupts": asked})

    def stopped(self) -> Event:
        """A breakpoint was reached: nobody asks anything."""
        return self._event("updates", {"__interrupt__": ()})

    def failed(self, key: str, name: str, error: BaseException) -> Iterator[Event]:
        if self.tasks:
            yield from self._task("task_result", self._result(key, name, error, {}))

    def _written(self, writes: tuple[Write, ...]) -> dict[str, Any]:
        if self._plan.entry is None:
            return _by_key(writes)
        (value,) = [write.value for write in self._seen(writes)]
        return {self._returns: value}

    def _result(self, key: str, name: str, error: BaseException | None, result: Any) -> dict[str, Any]:
        return {"id": task_id(self._scope.anchor, key), "name": name, "error": error, "result": result, "interrupts": []}

    def _task(self, kind: str, payload: dict[str, Any]) -> Iterator[Event]:
        if "tasks" in self._modes:
            yield self._event("tasks", payload)
        if "debug" in self._modes:
            yield self._debug(kind, self._scope.step + 1, payload)

    # -- checkpoints ------------------------------------------------------------------------------------------------

    def checkpoint(self, saved: Saved, outcomes: Mapping[str, Outcome]) -> Iterator[Event]:
        """A checkpoint that is kept, as it stands before its superstep."""
        settings = self._scope.settings
        place = snapshot.Place(settings.thread or "", "|".join(self._scope.ns) or settings.ns)
        shown = snapshot.record(self._plan, place, saved, outcomes)
        payload = {
            "config": shown.config,
            "parent_config": shown.parent_config,
            "values": shown.values,
            "metadata": shown.metadata,
            "next": list(shown.next),
            "tasks": [
                {"id": task.id, "name": task.name, "interrupts": (), "state": None}
                | ({"result": task.result} if task.result is not None and task.name != START else {})
                for task in shown.tasks
            ],
        }
        if "checkpoints" in self._modes:
            yield self._event("checkpoints", payload)
        if "debug" in self._modes:
            yield self._debug("checkpoint", saved.checkpoint.step, payload)

    # -- all --------------------------------------------------------------------------------------------------------

    def _debug(self, kind: str, step: int, payload: dict[str, Any]) -> Event:
        from datetime import UTC, datetime  # late: few runs are debugged

        now = datetime.now(UTC).isoformat()
        return self._event("debug", {"step": step, "timestamp": now, "type": kind, "payload": payload})

    def _event(self, mode: str, data: Any) -> Event:
        return _event((self._scope.ns, mode, data))


def _by_key(writes: tuple[Write, ...]) -> dict[str, Any]:
    """Writes as `tasks` shows them: per key what was written, or `{"$writes": […]}` where that was more than once."""
    found: dict[str, list[Any]] = {}
    for key, value in writes:
        found.setdefault(key, []).append(value)
    return {key: values[0] if len(values) == 1 else {"$writes": values} for key, values in found.items()}
