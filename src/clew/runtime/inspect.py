"""Reading threads without running them: the same engine functions, nothing executed."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from clew.checkpoint.base import Saver
from clew.checkpoint.journal import one
from clew.engine import snapshot
from clew.engine.plan import Plan
from clew.errors import CheckpointNotFound
from clew.ids import id_text
from clew.runtime.host import Host
from clew.runtime.settings import Settings, read_settings
from clew.types import StateSnapshot


async def get_state(plan: Plan, saver: Saver, host: Host, settings: Settings) -> StateSnapshot:
    """The newest checkpoint as it stands, or the one the config names as it stood at the start of its superstep.

    Raises:
        CheckpointNotFound: the thread has no checkpoint of this id.
    """
    thread = settings.thread or ""
    place = snapshot.Place(thread, settings.ns)
    if settings.checkpoint is not None:
        found = await one(saver.on(host), thread, settings.ns, settings.checkpoint)
        if found is None:
            raise CheckpointNotFound(
                f"Thread {thread!r} has no checkpoint {id_text(settings.checkpoint)!r}: `get_state_history` lists them all."
            )
        return snapshot.record(plan, place, *found)
    journal = saver.journal(host, thread, settings.ns)
    try:
        saved = await journal.open()
        return snapshot.live(plan, place, saved) if saved else snapshot.empty(settings.configurable)
    finally:
        saver.release(journal)


async def get_state_history(
    plan: Plan,
    saver: Saver,
    host: Host,
    settings: Settings,
    filter: Mapping[str, Any] | None,
    before: Any,
    limit: int | None,
) -> AsyncIterator[StateSnapshot]:
    """Checkpoints of a thread, newest first, all branches.

    Args:
        filter: only those whose metadata have all of these, equal.
        before: a config; only checkpoints older than the one it names.
        limit: how many at most.
    """
    thread = settings.thread or ""
    place = snapshot.Place(thread, settings.ns)
    if settings.checkpoint is not None:
        yield await get_state(plan, saver, host, settings)
        return
    seq = None
    if before is not None:
        checkpoint = read_settings(before, kept=False).checkpoint
        found = await one(saver.on(host), thread, settings.ns, checkpoint) if checkpoint else None
        if found is None:
            raise CheckpointNotFound(f"`before` names no checkpoint of thread {thread!r}: {before!r}.")
        seq = found[0].seq
    left = limit
    async for saved, outcomes in saver.history(host, thread, settings.ns, seq, None if filter else limit):
        if left == 0:
            return
        shown = snapshot.record(plan, place, saved, outcomes)
        metadata = shown.metadata or {}
        if all(key in metadata and metadata[key] == value for key, value in (filter or {}).items()):
            yield shown
            left = left - 1 if left is not None else None
