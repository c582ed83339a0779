"""A Clew saver as one that LangGraph accepts. LangGraph is imported when one is made, and not before."""

import asyncio
import functools
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final, cast

from clew.checkpoint.base import Saver
from clew.errors import MissingDependency
from clew.interop.langgraph.linear import Linear, Told
from clew.interop.langgraph.values import next_version

KEYS: Final = ("thread_id", "checkpoint_ns", "checkpoint_id")


def as_langgraph_saver(saver: Saver, *, serde: Any = None) -> Any:
    """A `langgraph.checkpoint.base.BaseCheckpointSaver`, with all its verbs on both faces, that keeps threads in this saver.

    `langgraph_graph.compile(checkpointer=as_langgraph_saver(SqliteSaver("chat.db")))` is all that changes: each message is then
    stored once, and not once for every superstep. What Clew's codec does not know is kept as LangGraph's own serializer
    writes it, and can only be read through this again. The threads stay LangGraph's: Clew's graphs do not go on with them, and
    should have a `thread_id` of their own.

    A thread is taken by the process that writes to it: where two have been at it at once, the one that comes later raises
    ThreadConflict. Within a process two runs on one thread make branches, as with LangGraph's own savers.

    Args:
        serde: LangGraph's serializer for what Clew's codec does not know; default LangGraph's.

    Raises:
        MissingDependency: LangGraph is not installed. TypeError: `saver` is not one of Clew's.
    """
    if not isinstance(cast("Any", saver), Saver):
        raise TypeError(f"Invalid saver {saver!r}: expected one of Clew's, such as SqliteSaver('chat.db').")
    return _made()(saver, serde)


@functools.cache
def _made() -> Any:
    try:
        from langgraph.checkpoint import base  # pyright: ignore
    except ImportError as error:
        raise MissingDependency("LangGraph is not installed: `pip install langgraph`.") from error
    theirs = cast("Any", base)

    class LangGraphSaver(Verbs, theirs.BaseCheckpointSaver):
        """A saver of Clew's under LangGraph."""

        def __init__(self, saver: Saver, serde: Any) -> None:
            theirs.BaseCheckpointSaver.__init__(self, serde=serde)
            self.saver = saver
            self.linear = Linear(saver)

        def tuple_of(self, told: Told) -> Any:
            config = {"configurable": dict(zip(KEYS, told[:3], strict=True))}
            parent = {"configurable": {**config["configurable"], "checkpoint_id": told.parent}} if told.parent else None
            return theirs.CheckpointTuple(config, told.checkpoint, told.metadata, parent, told.writes)

        def metadata_of(self, config: Any, metadata: Any) -> Any:
            return theirs.get_serializable_checkpoint_metadata(config, metadata)

    return LangGraphSaver


class Verbs:
    """LangGraph's verbs. The async ones are the sync ones in a thread."""

    saver: Saver
    linear: Linear
    serde: Any

    def tuple_of(self, told: Told) -> Any:
        """Raises NotImplementedError."""
        raise NotImplementedError

    def metadata_of(self, config: Any, metadata: Any) -> Any:
        """Raises NotImplementedError."""
        raise NotImplementedError

    def get_tuple(self, config: Any) -> Any:
        thread, ns, id_ = _place(config)
        told = self.linear.get(thread, ns, id_, self.serde)
        return self.tuple_of(told) if told else None

    def list(self, config: Any, *, filter: Any = None, before: Any = None, limit: int | None = None) -> Iterator[Any]:
        asked: dict[str, Any] = config["configurable"] if config else {}
        if asked.get("checkpoint_id"):
            found = self.get_tuple(config)
            wanted: dict[str, Any] = filter or {}
            fits = found and all(found.metadata.get(key) == value for key, value in wanted.items())
            yield from [found] if fits and limit != 0 else []
            return
        thread = asked.get("thread_id")
        end = before["configurable"].get("checkpoint_id") if before else None
        places = self.linear.places(None if thread is None else str(thread), asked.get("checkpoint_ns"))
        for number, told in enumerate(self.linear.listed(places, end, filter or {}, self.serde)):
            if number == limit:
                return
            yield self.tuple_of(told)

    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        thread, ns, parent = _place(config)
        self.linear.put(thread, ns, parent, checkpoint, self.metadata_of(config, metadata), self.serde)
        return {"configurable": {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": checkpoint["id"]}}

    def put_writes(self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        thread, ns, id_ = _place(config)
        self.linear.put_writes(thread, ns, id_ or "", writes, task_id, task_path, self.serde)

    def delete_thread(self, thread_id: str) -> None:
        self.linear.forget([str(thread_id)])
        self.saver.delete_thread(thread_id)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        self.linear.forget()
        self.saver.delete_for_runs(run_ids)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self.linear.forget([str(target_thread_id)])
        self.saver.copy_thread(source_thread_id, target_thread_id)

    def prune(self, thread_ids: Sequence[str], *, strategy: Any = "keep_latest") -> None:
        self.linear.forget([str(thread) for thread in thread_ids])
        self.saver.prune(thread_ids, strategy=strategy)

    def get_next_version(self, current: Any, channel: Any) -> str:
        return next_version(current)

    async def aget_tuple(self, config: Any) -> Any:
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(
        self, config: Any, *, filter: Any = None, before: Any = None, limit: int | None = None
    ) -> AsyncIterator[Any]:
        found = self.list(config, filter=filter, before=before, limit=limit)
        while (one := await asyncio.to_thread(next, found, None)) is not None:
            yield one

    async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        return await asyncio.to_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        await asyncio.to_thread(self.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        await asyncio.to_thread(self.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await asyncio.to_thread(self.delete_for_runs, run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await asyncio.to_thread(self.copy_thread, source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: Any = "keep_latest") -> None:
        await asyncio.to_thread(functools.partial(self.prune, thread_ids, strategy=strategy))


def _place(config: Any) -> tuple[str, str, str | None]:
    asked = config["configurable"]
    return str(asked["thread_id"]), asked.get("checkpoint_ns", ""), asked.get("checkpoint_id")
