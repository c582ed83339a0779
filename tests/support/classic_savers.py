"""Savers as people write them, over dicts: one with sync methods only, one with async methods only.

They keep what the classic interface says and know nothing of Clew's rows. Every value goes through the serializer.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

import pytest

from clew.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    PendingWrite,
    get_checkpoint_id,
)

Typed = tuple[str, bytes]

SERVED: Final = {
    "test_answers", "test_breakpoints", "test_children", "test_compat_persistence", "test_editing", "test_functional",
    "test_functional_record", "test_going_back", "test_history", "test_interrupts", "test_once", "test_renamed_keys",
    "test_subgraphs",
}  # fmt: skip
UNSERVED: Final = {  # these put a saver of Clew's own over the storage, as another process would
    "test_three_levels_down_only_what_had_not_finished_runs",
}


def serves(item: pytest.Item) -> bool:
    """Whether a test that asks for savers asks for what a classic one has: history, and no epoch, lease or list of threads."""
    asked = getattr(getattr(item, "callspec", None), "params", {}).get("saver")
    name: str = getattr(item, "originalname", "")
    return asked != "classic" or (item.path.stem in SERVED and name not in UNSERVED)


class Shelf:
    """Checkpoints by thread, namespace and id, and writes by the checkpoint they belong to, as bytes."""

    def __init__(self, serde: Any) -> None:
        self.serde = serde
        self.checkpoints: dict[tuple[str, str, str], tuple[Typed, Typed, str | None]] = {}
        self.writes: dict[tuple[str, str, str], dict[tuple[str, int], tuple[str, Typed]]] = {}

    def put(self, config: Any, checkpoint: Checkpoint, metadata: CheckpointMetadata) -> Any:
        thread, ns = config["configurable"]["thread_id"], config["configurable"]["checkpoint_ns"]
        kept = self.serde.dumps_typed(checkpoint), self.serde.dumps_typed(metadata), get_checkpoint_id(config)
        self.checkpoints[thread, ns, checkpoint["id"]] = kept
        return _config(thread, ns, checkpoint["id"])

    def put_writes(self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str) -> None:
        c = config["configurable"]
        kept = self.writes.setdefault((c["thread_id"], c["checkpoint_ns"], c["checkpoint_id"]), {})
        for number, (channel, value) in enumerate(writes):
            place = task_id, WRITES_IDX_MAP.get(channel, number)
            if place[1] < 0 or place not in kept:
                kept[place] = channel, self.serde.dumps_typed(value)

    def get(self, config: Any) -> CheckpointTuple | None:
        wanted = get_checkpoint_id(config)
        found = (one for one in self.list(config, None, None) if wanted in (None, one.checkpoint["id"]))
        return next(found, None)

    def list(self, config: Any, before: Any, limit: int | None) -> Iterator[CheckpointTuple]:
        thread, ns = config["configurable"]["thread_id"], config["configurable"].get("checkpoint_ns", "")
        for place in sorted(self.checkpoints, key=lambda place: place[2], reverse=True):
            if place[:2] == (thread, ns) and (before is None or place[2] < before["configurable"]["checkpoint_id"]):
                if limit == 0:
                    return
                limit = None if limit is None else limit - 1
                yield self._told(*place)

    def _told(self, thread: str, ns: str, id_: str) -> CheckpointTuple:
        checkpoint, metadata, parent = self.checkpoints[thread, ns, id_]
        kept = self.writes.get((thread, ns, id_), {}).items()
        writes: list[PendingWrite] = [(task, channel, self.serde.loads_typed(data)) for (task, _), (channel, data) in kept]
        above = _config(thread, ns, parent) if parent else None
        loads = self.serde.loads_typed
        return CheckpointTuple(_config(thread, ns, id_), loads(checkpoint), loads(metadata), above, writes)

    def drop(self, thread: str) -> None:
        for kept in (self.checkpoints, self.writes):
            for place in [place for place in kept if place[0] == thread]:
                del kept[place]


class PlainSaver(BaseCheckpointSaver[int]):
    """Sync methods only."""

    def __init__(self) -> None:
        super().__init__()
        self.shelf = Shelf(self.serde)

    def get_tuple(self, config: Any) -> CheckpointTuple | None:
        return self.shelf.get(config)

    def list(
        self, config: Any, *, filter: dict[str, Any] | None = None, before: Any = None, limit: int | None = None
    ) -> Iterator[CheckpointTuple]:
        return self.shelf.list(config, before, limit)

    def put(self, config: Any, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions) -> Any:
        return self.shelf.put(config, checkpoint, metadata)

    def put_writes(self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        self.shelf.put_writes(config, writes, task_id)

    def delete_thread(self, thread_id: str) -> None:
        self.shelf.drop(thread_id)


class AwaitedSaver(BaseCheckpointSaver[int]):
    """Async methods only. Each of them really suspends, and wants to be called on the loop that it was first called on."""

    def __init__(self) -> None:
        super().__init__()
        self.shelf = Shelf(self.serde)
        self.loops: set[asyncio.AbstractEventLoop] = set()

    async def _suspend(self) -> None:
        self.loops.add(asyncio.get_running_loop())
        await asyncio.sleep(0)

    async def aget_tuple(self, config: Any) -> CheckpointTuple | None:
        await self._suspend()
        return self.shelf.get(config)

    async def alist(
        self, config: Any, *, filter: dict[str, Any] | None = None, before: Any = None, limit: int | None = None
    ) -> AsyncIterator[CheckpointTuple]:
        for found in self.shelf.list(config, before, limit):
            await self._suspend()
            yield found

    async def aput(
        self, config: Any, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> Any:
        await self._suspend()
        return self.shelf.put(config, checkpoint, metadata)

    async def aput_writes(self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        await self._suspend()
        self.shelf.put_writes(config, writes, task_id)


def _config(thread: str, ns: str, id_: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": id_}}
