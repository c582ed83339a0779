"""Jobs side by side: inside a run by its host, as tasks that the node has called, each with a result and questions of its own
on record; outside of one, in threads or asyncio's tasks."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from clew.channels import LastValue
from clew.constants import PREVIOUS
from clew.engine.plan import Plan, Station
from clew.pool import in_parallel
from clew.runtime.attempt import Node
from clew.runtime.host import Action
from clew.runtime.spawn import Callee, spawn
from clew.runtime.tasks import in_thread
from clew.schema import ROOT, View
from clew.types import Task

if TYPE_CHECKING:
    from clew.runtime.context import TaskContext


class Job(NamedTuple):
    """What is to be done, in one of two ways; `known_by` tells it on record, and can be stored."""

    known_by: Any
    plain: Callable[[], Any] | None
    awaited: Callable[[], Coroutine[Any, Any, Any]] | None = None


def beside(task: "TaskContext | None", jobs: Sequence[Job], limit: int | None) -> list[Any]:
    """Does plain jobs, `limit` at once. Returns what each returned; raises what the first of them raised."""
    if task is not None:
        started = _Started(task, jobs, limit)
        return [started.next(future.result()) for future in started.futures]
    found = in_parallel([job.plain for job in jobs if job.plain], limit)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return found


async def abeside(task: "TaskContext | None", jobs: Sequence[Job], limit: int | None) -> list[Any]:
    """`beside`, awaited, for jobs of both kinds."""
    if task is not None:
        started = _Started(task, jobs, limit)
        return [started.next(await future) for future in started.futures]
    room = asyncio.Semaphore(limit or len(jobs) or 1)

    async def one(job: Job) -> Any:
        async with room:
            return await adone(job)

    return list(await asyncio.gather(*map(one, jobs)))


def done(job: Job) -> Any:
    """Does one plain job, here."""
    assert job.plain is not None
    return job.plain()


async def adone(job: Job) -> Any:
    """Does one job, a plain one in a thread."""
    if job.awaited is not None:
        return await job.awaited()
    assert job.plain is not None
    return await in_thread(job.plain)


class _Started:
    """The futures of jobs that have been started, in their order: `limit` at first, one more for each that has ended."""

    def __init__(self, task: "TaskContext", jobs: Sequence[Job], limit: int | None) -> None:
        self._task = task
        self._left = list(jobs[limit:])[::-1] if limit else []
        self.futures = [_spawned(task, job) for job in jobs[: limit or None]]

    def next(self, result: Any) -> Any:
        if self._left:
            self.futures.append(_spawned(self._task, self._left.pop()))
        return result


def _spawned(task: "TaskContext", job: Job) -> Any:
    plain, awaited = job.plain, job.awaited

    def act(given: Any) -> Any:
        return plain() if plain else None

    async def act_awaited(given: Any) -> Any:
        return await awaited() if awaited else None

    action = Action(task.node, None, act_awaited) if awaited else Action(task.node, act, None)
    node = Node(task.node, action, _VIEW, hidden=True)
    return spawn(task, Callee(task.node, node, _plan(task.node)), (job.known_by,), {}, b"")


_VIEW = View((ROOT,), root=True)


@cache
def _plan(name: str) -> Plan:
    return Plan(
        {ROOT: LastValue(), PREVIOUS: LastValue()},
        {name: Station(Task(name))},
        frozenset(),
        _VIEW,
        frozenset(),
        _VIEW,
        entry=name,
    )
