"""Whose a thread is: a run takes it before its first task, waits for it or is refused where another run has it (`on_busy`).

The lease that is read here is a courtesy. What keeps two runs apart is the epoch, which the first write of each raises.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from clew.checkpoint.hold import MENDING
from clew.checkpoint.journal import Journal
from clew.checkpoint.lease import HEARTBEATS
from clew.errors import GraphDrained, MultipleSubgraphs, ThreadConflict
from clew.runtime.scope import Scope
from clew.types import OnBusy, Saved

if TYPE_CHECKING:
    from clew.checkpoint.base import Saver
    from clew.runtime.host import Host

SHORTEST: Final = 0.01
LONGEST: Final = 0.5


def opened(saver: "Saver", scope: Scope, thread: str) -> Journal:
    """The journal of a run: with a hold on the thread of its own, or within that of the run around it.

    Raises:
        MultipleSubgraphs: another graph inside a task is at work in the same namespace.
    """
    task = scope.around
    around = task.scope.journal if task else None
    if task is None or around is None:
        journal = saver.journal(scope.host, thread)
        journal.leasing = True
        journal.aside = scope.durability == "async"
    else:
        journal = task.graphs[1].pop(scope.place, None) or type(around)(saver.on(scope.host), around.hold, scope.place)
        journal.storage, journal.around = saver.on(scope.host), around
    journal.late = scope.durability == "exit"
    if journal.hold.live.setdefault(journal.ns, journal) is not journal:
        raise MultipleSubgraphs(
            f"Two graphs want the same memory, {journal.ns!r} of thread {thread!r}, at the same time: call one after the "
            "other, give each a name of its own (`compile(checkpointer=True, name=…)`), or let them have none."
        )
    return journal


async def left(journal: Journal, scope: Scope, *, failed: bool, ended: bool, why: Exception | None = None) -> None:
    """A run is over, however it did: what is left to be written is, and the thread is given back.

    `failed`: it raises, or was closed; `ended`: it asks nothing. `why`: what it raises. One that was only asked to stop, or was
    closed, goes on with its event log when the thread goes on.
    """
    hold, around = journal.hold, scope.around
    hold.live.pop(journal.ns, None)
    if scope.events is not None and around is None and not isinstance(why, GraphDrained) and (why or not failed):
        from clew.runtime.resumable import status  # late: few runs keep their events

        scope.events.end(status(why, asks=not ended))
    try:
        if failed or not ended or scope.remembers or around is None:  # one that is over for good need not be kept
            await journal.flush()
        elif journal.unwritten:  # unless the task around it comes to nothing
            around.graphs[1][journal.ns] = journal
    except Exception:
        if not failed:
            raise
    finally:
        if around is None:
            hold.events = None
            if hold.end():
                await journal.storage.wait(hold.quiet)
            hold.let_go()
            if hold.waits:  # it has not come to its turn; where that cannot be said, its place ends by itself
                with suppress(Exception):
                    hold.storage.leave(hold.thread, hold.run)
    if failed or not ended or scope.saver is None:  # what a task has touched that came to nothing is not what is kept
        return
    if around is None:
        scope.saver.release(journal)
    elif scope.remembers and journal.saved:
        around.graphs[0][journal.ns] = journal.saved.id


async def free(journal: Journal, scope: Scope, on_busy: OnBusy) -> bytes | None:
    """Waits until the thread, which `journal` has just been opened on, is nobody's.

    Returns the checkpoint that the run which had it began from, where this one is to begin from there as well (`b""`: from
    nothing); None otherwise.

    Raises:
        ThreadConflict: another run has it, and `on_busy` is to reject.
    """
    hold, host, pause = journal.hold, scope.host, SHORTEST
    if not hold.busy:
        return None
    own = _around(scope, hold.lease.run if hold.lease else b"")
    if on_busy == "reject" or own:
        raise busy(hold.thread, own=own)
    if on_busy == "rollback":
        return (hold.lease.base if hold.lease else None) or b""
    hold.waits = True
    while True:
        first = await host.blocking(hold.storage.wait, hold.thread, hold.named(), hold.seconds, on_busy == "interrupt")
        await journal.open()
        if first and not hold.busy:
            return None
        await host.sleep(pause)
        pause = min(pause * 2, LONGEST, hold.seconds / HEARTBEATS)


async def mended(journal: Journal, host: "Host", asked: bytes | None) -> Saved | None:
    """Waits until nothing prunes the thread any more, whoever may have it then, and opens it anew. What fell asleep over it is
    shut out first: it may wake up and go on."""
    hold, pause = journal.hold, SHORTEST
    while hold.mended and hold.busy:
        await host.sleep(pause)
        pause = min(pause * 2, LONGEST)
        await journal.open()
    if hold.mended:
        await journal.claim()
    return await journal.open(asked)


async def only_mended(journal: Journal) -> bool:
    """After a conflict: whether nothing but pruning came between, so that the thread stands where it stood and is nobody's; or
    the last thing that a run wrote whose process is gone, which was still on its way to the store."""
    hold, found = journal.hold, await journal.storage.load(journal.thread, journal.ns, None)
    free = found.lease is None or found.lease.run.startswith(MENDING)
    late = found.lease and hold.lease and found.lease.run == hold.lease.run and not hold.busy
    return not hold.claimed and (bool(late) or (free and found.seq == hold.seq and found.epoch != hold.epoch))


def _around(scope: Scope, run: bytes) -> bool:
    """Whether the run that has the thread is one that this call is made in: it would wait for itself."""
    from clew.types import RUNNING

    task: Any = RUNNING.get()
    while task is not None:
        journal = task.scope.journal
        if journal is not None and journal.hold.run == run:
            return True
        task = task.scope.around
    return False


def busy(thread: str, *, own: bool = False) -> ThreadConflict:
    if own:
        return ThreadConflict(
            f"Thread {thread!r} is being run by the very run that this call is made in. Leave the config out to run the graph "
            "as a part of it, or name another thread."
        )
    return ThreadConflict(
        f"Thread {thread!r} is being run already; nothing was done. Wait and call again, or say what to do: "
        "`on_busy='enqueue'` waits for its turn, `'interrupt'` asks the other run to stop, `'rollback'` begins where it began."
    )
