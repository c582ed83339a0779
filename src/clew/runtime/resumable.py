"""Runs whose events are kept (`resumable=True`): how a run's event log is begun or gone on with, and how one is followed.

What goes into the log and when it is kept is told by the loop and its tasks; what a log is, stands in `checkpoint.events`.
"""

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from clew.checkpoint.events import METADATA, EventLog, read_parts, told
from clew.checkpoint.hold import is_live
from clew.checkpoint.pruning import seconds_of
from clew.errors import DamagedData, EventsGone, RunLost
from clew.ids import id_text, new_checkpoint_id
from clew.runtime.scope import Scope
from clew.types import Resumable, RunEvent, Saved

if TYPE_CHECKING:
    from clew.checkpoint.base import Saver
    from clew.checkpoint.journal import Journal
    from clew.runtime.host import Host

PAGE: Final = 100  # groups that are read at once
SWEPT: Final = 20  # expired logs that a run which begins one deletes
SHORTEST: Final = 0.01
LONGEST: Final = 0.5
"""Seconds that whoever follows a run waits before looking again, where nothing has come: twice as long each time."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events are kept: of which modes, of graphs inside nodes as well (`below`), and how much of them."""

    modes: frozenset[str]
    below: bool
    most: tuple[int, int, float]


def wanted(given: Any, modes: frozenset[str], *, below: bool) -> Wanted:
    """Raises ValueError, TypeError: what is to be kept cannot be meant."""
    limits = Resumable() if given is True else given
    if not isinstance(limits, Resumable):
        raise TypeError(f"resumable is {given!r}: expected True, or a Resumable such as Resumable(ttl='10m').")
    for name in ("keep_last", "max_bytes"):
        number: Any = getattr(limits, name)
        if not isinstance(number, int) or number < 1:
            raise ValueError(f"{name} is {number!r}: expected how much of a run's events is kept, 1 at least.")
    return Wanted(modes, below, (limits.keep_last, limits.max_bytes, seconds_of(limits.ttl, "ttl")))


# -- the run's own side ---------------------------------------------------------------------------------------------


async def attach(scope: Scope, journal: "Journal", saved: Saved | None, given: Any) -> EventLog:
    """The event log of a run that has opened its thread, from now on written with whatever the run writes.

    It goes on with a log that is there where the config names its `run_id`; or, where nothing but going on is asked for, with
    the thread's newest one, if that was cut short and nobody has moved the thread on since. Otherwise it begins one.
    """
    want, settings, hold = scope.wanted, scope.settings, journal.hold
    assert want is not None
    storage, wait = hold.storage, scope.host.blocking
    asked = settings.given.get("run_id")
    run = None if asked is None else str(asked)
    log = EventLog(run or id_text(new_checkpoint_id()), hold.seq, want.modes, below=want.below, most=want.most)
    resumes = given is None and settings.checkpoint is None
    if saved is not None and (run is not None or resumes):
        epoch, seq = hold.epoch, hold.seq
        found = await wait(storage.events, hold.thread, run, 0, 0)
        if found is not None and (run is not None or not (found.ended or found.epoch != epoch)):
            same = resumes and found.epoch == epoch
            await journal.claim()  # from here on nobody else can add to it
            log = EventLog(found.run, hold.seq, want.modes, below=want.below, most=want.most)
            if (last := await wait(storage.events, hold.thread, found.run, 0, 0)) is not None:
                log.go_on(last, seq, same=same)
                await _read(scope, hold.thread, log, journal, same=same)
    if log.is_new:
        await wait(storage.expire, SWEPT)
        log.tell(told(METADATA, (), {"run_id": log.run, "thread_id": hold.thread}))
    scope.events = hold.events = log
    scope.settings = replace(settings, given={**settings.given, "run_id": log.run})
    return log


async def _read(scope: Scope, thread: str, log: EventLog, journal: "Journal", *, same: bool) -> None:
    after = 0
    while True:
        found = await scope.host.blocking(journal.hold.storage.events, thread, log.run, after, PAGE)
        for group in found.groups if found else ():
            log.read(group, same=same)
            after = group.first + group.length - 1
        if found is None or not found.groups:
            return


def status(error: BaseException | None = None, *, asks: bool = False) -> dict[str, Any]:
    """What the last event of a run says, which has ended with this error; or as it `asks` something, or at a breakpoint."""
    if error is not None:
        return {"status": "error", "error": type(error).__name__, "message": str(error)}
    return {"status": "interrupted" if asks else "success"}


# -- a reader's side ------------------------------------------------------------------------------------------------


async def follow(
    saver: "Saver", host: "Host", thread: str, run: str | None, after: int, patience: float | None
) -> AsyncGenerator[RunEvent]:
    """The events of a run above number `after`, up to its end; see `join_stream`."""
    storage, pause, lost, gap = saver.on(host).storage, SHORTEST, None, 0
    while True:
        found = await host.blocking(storage.events, thread, run, after, PAGE)
        if found is None:
            raise EventsGone(_none(thread, run))
        run = found.run
        if after > found.last:
            raise ValueError(f"Run {run!r} of thread {thread!r} has told {found.last} events: there is none after {after}.")
        if after + 1 < found.floor:
            raise EventsGone(
                f"Events {after + 1} to {found.floor - 1} of run {run!r} are not kept any more: it has told more than its log "
                f"holds. What is left begins after={found.floor - 1}; `get_state` has what became of the rest. To keep more: "
                "resumable=Resumable(keep_last=…, max_bytes=…).",
                found.floor,
            )
        if after < found.last and (not found.groups or found.groups[0].first > after + 1):
            if gap > after:  # looked for twice: no run has dropped them between two looks
                raise DamagedData(f"Event {after + 1} of run {run!r}, which has told {found.last}, is gone from the database.")
            gap = after + 1
            continue
        for group in found.groups:
            if group.first > after + 1:
                break
            for part in read_parts(run, group):
                if part.seq > after:
                    after, pause, lost = part.seq, SHORTEST, None
                    yield part
        if after < found.last:
            continue
        if found.ended:
            return
        if found.lease is None or not is_live(found.lease):
            now = time.monotonic()
            lost = now if lost is None else lost
            if not found.latest or (patience is not None and now - lost >= patience):
                raise RunLost(_lost(thread, run, after, moved=not found.latest), run, after)
        else:
            lost = None
        await host.sleep(pause)
        pause = min(2 * pause, LONGEST)


def _none(thread: str, run: str | None) -> str:
    what = f"run {run!r} of thread {thread!r}" if run is not None else f"any run of thread {thread!r}"
    return (
        f"No events of {what} are kept: there is no such run, it was not streamed with `resumable=True`, or its events have "
        "expired (`Resumable(ttl=…)`). `get_state` has what became of it."
    )


def _lost(thread: str, run: str, after: int, *, moved: bool) -> str:
    if moved:
        return f"Run {run!r} was cut short after event {after}, and thread {thread!r} has begun another run since: join that."
    return (
        f"Run {run!r} of thread {thread!r} was cut short after event {after}, and nobody goes on with it: "
        f"`stream(None, config, resumable=True)` does, and `join_stream(config, run_id={run!r}, after={after})` follows."
    )
