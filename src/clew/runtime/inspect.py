"""Reading threads without running them: the same engine functions, nothing executed."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from clew.checkpoint.base import Saver
from clew.checkpoint.records import one
from clew.engine import snapshot
from clew.engine.branches import lines
from clew.engine.plan import Plan
from clew.errors import CheckpointNotFound
from clew.ids import id_text
from clew.runtime.host import Host
from clew.runtime.settings import Settings, read_settings
from clew.shown import Whole
from clew.types import Branch, StateSnapshot


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
        shown = snapshot.record(plan, place, found.saved, found.outcomes)
        await host.blocking(lambda: [shown.values, *[task.result for task in shown.tasks]])
        return shown
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
    shown: Callable[[StateSnapshot], StateSnapshot],
) -> AsyncIterator[StateSnapshot]:
    """Checkpoints of a thread, newest first, all branches. None is looked at before somebody does.

    Args:
        filter: only those whose metadata have all of these, equal.
        before: a config; only checkpoints older than the one it names.
        limit: how many at most.
        shown: makes of a snapshot that is looked at the one that is seen.
    """
    thread = settings.thread or ""
    place = snapshot.Place(thread, settings.ns)
    if settings.checkpoint is not None:
        yield shown(await get_state(plan, saver, host, settings))
        return
    seq = None
    if before is not None:
        checkpoint = read_settings(before, kept=False).checkpoint
        found = await one(saver.on(host), thread, settings.ns, checkpoint) if checkpoint else None
        if found is None:
            raise CheckpointNotFound(f"`before` names no checkpoint of thread {thread!r}: {before!r}.")
        seq = found.saved.seq
    left = limit
    async for found in saver.history(host, thread, settings.ns, seq, None if filter else limit):
        if left == 0:
            return
        late: Any = Whole(lambda found=found: shown(snapshot.record(plan, place, found.saved, found.outcomes)))
        listed = StateSnapshot(*[late] * len(StateSnapshot._fields))
        if not filter or _has(listed.metadata or {}, filter):
            yield listed
            left = left - 1 if left is not None else None


async def get_branches(saver: Saver, host: Host, settings: Settings) -> list[Branch]:
    """The branches of a namespace, the one with the newest head first. Reads rows, and nothing that they name."""
    place = snapshot.Place(settings.thread or "", settings.ns)
    listed = [record.saved async for record in saver.history(host, place.thread, settings.ns)]
    found = lines(reversed(listed))
    branches = [
        Branch(
            line.name(number),
            place.config(line.checkpoints[-1].id),
            place.config(line.fork_point) if line.fork_point else None,
            len(line.checkpoints),
            line.checkpoints[-1] is listed[0],
        )
        for number, line in enumerate(found)
    ]
    order = sorted(range(len(found)), key=lambda number: found[number].checkpoints[-1].seq, reverse=True)
    return [branches[number] for number in order]


def _has(metadata: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(key in metadata and metadata[key] == value for key, value in wanted.items())
