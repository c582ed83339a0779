"""The classic reading verbs of a saver: checkpoints as `CheckpointTuple`s, made from the saver's own rows."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from clew.checkpoint.classic import (
    ERROR,
    INTERRUPT,
    RESUME,
    BaseCheckpointSaver,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    PendingWrite,
    checkpoint_of,
    get_checkpoint_id,
)
from clew.checkpoint.records import Record, listed, one
from clew.checkpoint.storage import Storage, Waiting, at_once, done
from clew.constants import START
from clew.engine.answers import open_questions, shown
from clew.engine.apply import task_key
from clew.ids import created_ms, id_bytes, id_text, stamp_of, task_id
from clew.types import Failed, Outcome, Paused, Result, Saved


class Reads(BaseCheckpointSaver[int]):
    """What is kept, in the words of the classic interface; writing is the engine's."""

    storage: Storage

    def get_tuple(self, config: Any) -> CheckpointTuple | None:
        """The checkpoint that the config names by `checkpoint_id`, else the newest of its thread and namespace, with what its
        tasks came to; None where there is none. All values are read."""
        thread, ns, wanted = _asked(config)
        if wanted is None:
            return next(self._of(thread, ns or "", None, 1, {}), None)
        id_ = id_bytes(wanted)
        found = done(one(Waiting(self.storage, at_once), thread, ns or "", id_)) if id_ else None
        return _told(thread, ns or "", found) if found else None

    def list(
        self, config: Any, *, filter: Mapping[str, Any] | None = None, before: Any = None, limit: int | None = None
    ) -> Iterator[CheckpointTuple]:
        """Checkpoints, newest first: of all threads where the config is None, of all namespaces where it names none. The values
        of each are read as it comes.

        Args:
            filter: only those whose metadata has all of these, equal. before: a config; only those older than the one it names.
            limit: how many at most.
        """
        if config is not None and get_checkpoint_id(config):
            found = self.get_tuple(config)
            tuples = iter([found] if found and _fits(found.metadata, filter) else [])
        else:
            end = get_checkpoint_id(before) if before else None
            id_ = id_bytes(end) if end else None
            several = [self._of(*place, stamp_of(id_) if id_ else None, None, filter or {}) for place in self._places(config)]
            tuples = heapq.merge(*several, key=_made if config is None else _seq, reverse=True)
        for left, found in enumerate(tuples):
            if left == limit:
                return
            yield found

    async def aget_tuple(self, config: Any) -> CheckpointTuple | None:
        """`get_tuple`, awaited."""
        import asyncio  # late: it is most of what importing Clew would cost

        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(
        self, config: Any, *, filter: Mapping[str, Any] | None = None, before: Any = None, limit: int | None = None
    ) -> AsyncIterator[CheckpointTuple]:
        """`list`, as an async iterator."""
        import asyncio

        tuples = self.list(config, filter=filter, before=before, limit=limit)
        while (found := await asyncio.to_thread(next, tuples, None)) is not None:
            yield found

    def _missing(self, verb: str) -> NotImplementedError:
        if "put" not in verb:
            return super()._missing(verb)
        return NotImplementedError(
            f"{type(self).__name__} is written to by Clew's graphs, not through {verb!r}. For a graph of LangGraph's, pass "
            "`clew.interop.langgraph.as_langgraph_saver(saver)` to its `compile`."
        )

    def _places(self, config: Any) -> Iterator[tuple[str, str]]:
        """The threads and namespaces that a config means."""
        thread, ns, _ = _asked(config) if config is not None else (None, None, None)
        for name in [thread] if thread is not None else [row.thread for row in self.storage.threads()]:
            for space in [ns] if ns is not None else [space.ns for space in self.storage.spaces(name)]:
                yield name, space

    def _of(
        self, thread: str, ns: str, before: int | None, limit: int | None, filter: Mapping[str, Any]
    ) -> Iterator[CheckpointTuple]:
        records = listed(Waiting(self.storage, at_once), thread, ns, before, limit)
        while (record := done(anext(records, None))) is not None:
            if _fits(_metadata(record.saved), filter):
                yield _told(thread, ns, record)


def _made(found: CheckpointTuple) -> str:
    return found.checkpoint["id"]  # begins with the time: what else is there to order several threads by?


def _seq(found: CheckpointTuple) -> int:
    return stamp_of(id_bytes(found.checkpoint["id"]) or b"")


def _asked(config: Any) -> tuple[str, str | None, str | None]:
    configurable: Mapping[str, Any] = config["configurable"]
    return str(configurable["thread_id"]), configurable.get("checkpoint_ns"), configurable.get("checkpoint_id")


def _fits(metadata: Mapping[str, Any], filter: Mapping[str, Any] | None) -> bool:
    return all(key in metadata and metadata[key] == value for key, value in (filter or {}).items())


def _told(thread: str, ns: str, record: Record) -> CheckpointTuple:
    def config(checkpoint: bytes) -> dict[str, Any]:
        return {"configurable": {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": id_text(checkpoint)}}

    saved, outcomes = record.whole()
    return CheckpointTuple(
        config(saved.id),
        _checkpoint(saved),
        cast("CheckpointMetadata", _metadata(saved)),
        config(saved.parent) if saved.parent else None,
        list(_writes(saved, outcomes)),
    )


def _checkpoint(saved: Saved) -> Checkpoint:
    values = saved.checkpoint.values
    made = datetime.fromtimestamp(created_ms(saved.id) / 1000, UTC).isoformat()
    return checkpoint_of(id_text(saved.id), made, values, dict.fromkeys(values, saved.seq))


def _metadata(saved: Saved) -> dict[str, Any]:
    parents = {link.ns: id_text(link.checkpoint) for link in saved.begun}
    return {"source": saved.checkpoint.source, "step": saved.checkpoint.step, "parents": parents, **saved.metadata}


def _writes(saved: Saved, outcomes: Mapping[str, Outcome]) -> Iterator[PendingWrite]:
    """What is on record of the tasks of a checkpoint, as writes: also what was asked, answered and raised."""
    frontier = saved.checkpoint.frontier
    questions = open_questions(saved)
    for index, task in enumerate(frontier):
        key = task_key(frontier, index)
        id_ = task_id(*(task.origin or (saved.id, key)))
        if given := saved.answers.get(key):
            yield id_, RESUME, [answer.value for answer in given]
        outcome = Result(task.arg) if task.node == START else outcomes.get(key)
        if isinstance(outcome, Failed):
            yield id_, ERROR, str(outcome)
        elif isinstance(outcome, Paused):
            yield id_, INTERRUPT, shown(found for found in questions if found.key == key)
        elif outcome is not None:
            for write in outcome.writes:
                yield id_, write.key, write.value
