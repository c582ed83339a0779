"""Crash everywhere: stop at each storage call in turn, resume, and the end must be as if nothing had happened."""

from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from clew.checkpoint.base import Saver
from clew.checkpoint.manifest import read_body
from clew.checkpoint.memory import MemoryStorage
from clew.checkpoint.storage import Batch, Found, Storage, ThreadRow
from clew.constants import START
from clew.graph.compiled import CompiledStateGraph
from clew.runtime.drive import drive
from clew.runtime.host import Action
from clew.testing.scripted import ScriptedHost

CONFIG = {"configurable": {"thread_id": "crash"}}


class Crash(BaseException):
    """The process is gone. No `except Exception` hears of it."""


class CrashingStorage:
    """A storage that crashes at one call: before it is done, or after it was done and before anybody hears of it.

    Whatever is asked of it after that crashes as well: there is no process any more.

    Attributes:
        calls: how many were made. kept: how often each node's outcome has been stored.
    """

    def __init__(self, storage: Storage, crash_at: int | None = None, *, done: bool = False) -> None:
        self.storage = storage
        self.calls = 0
        self.kept: Counter[str] = Counter()
        self._crash_at = crash_at
        self._done = done

    def _call(self, fn: Callable[..., Any], *args: Any, stored: Callable[[], None] = lambda: None) -> Any:
        number = self.calls
        self.calls += 1
        if self._crash_at is not None and number >= self._crash_at + self._done:
            raise Crash
        result = fn(*args)
        stored()
        if number == self._crash_at:
            raise Crash
        return result

    def load(self, thread: str, ns: str, checkpoint_id: bytes | None) -> Found:
        return self._call(self.storage.load, thread, ns, checkpoint_id)

    def items(self, thread: str, ranges: Sequence[tuple[int, int, int]]) -> list[bytes]:
        return self._call(self.storage.items, thread, ranges)

    def commit(self, batch: Batch) -> bool:
        return self._call(self.storage.commit, batch, stored=lambda: self.kept.update(_nodes(batch)))

    def scan(self, thread: str, ns: str, before: int | None, limit: int) -> list[Found]:
        return self._call(self.storage.scan, thread, ns, before, limit)

    def wait(self, thread: str, run: bytes, seconds: float, stop: bool) -> bool:
        return self._call(self.storage.wait, thread, run, seconds, stop)

    def leave(self, thread: str, run: bytes) -> None:
        self._call(self.storage.leave, thread, run)

    def threads(self) -> list[ThreadRow]:
        return self.storage.threads()

    def drop(self, thread: str) -> None:
        self.storage.drop(thread)

    def close(self) -> None:
        self.storage.close()


def _nodes(batch: Batch) -> list[str]:
    """The nodes whose outcomes a batch stores; a key is a node's name, behind a number for a Send."""
    keys = [kept.task for kept in batch.kept]
    if batch.row is not None:
        keys += [outcome[0] for outcome in read_body(batch.row.body).outcomes]
    return [key.rpartition(":")[2] for key in keys if key != START]


def crash_everywhere(
    build: Callable[[Saver], CompiledStateGraph],
    given: Any,
    *,
    storage: Callable[[], Storage] = MemoryStorage,
    choose: Callable[[int], int] = lambda waiting: 0,
    run: Callable[[Coroutine[Any, Any, Any]], Any] = drive,
) -> int:
    """Runs a graph once undisturbed, and then again and again with a crash before and after each storage call.

    After every crash a new saver over the same storage resumes, as a new process would.

    Args:
        build: makes the graph, with this saver. storage: makes an empty one for each run. choose: the order in which tasks
            end, as for `ScriptedHost`. run: `drive` for the sync face, `asyncio.run` for the async one.

    Returns:
        How many crashes were tried.

    Raises:
        AssertionError: a resumed run ended elsewhere, or ran again a task whose outcome was stored.
    """

    def invoke(graph: CompiledStateGraph, given: Any) -> Any:
        return run(graph.run_on(ScriptedHost(choose), CONFIG).finish(given))

    calm = CrashingStorage(storage())
    usual: Counter[str] = Counter()
    expected = invoke(_counted(build(Saver(calm)), usual), given)
    for crash_at in range(calm.calls):
        for done in (False, True):
            ran: Counter[str] = Counter()
            crashing = CrashingStorage(storage(), crash_at, done=done)
            try:
                invoke(_counted(build(Saver(crashing)), ran), given)
            except Crash:
                lost = ran - crashing.kept
                graph = _counted(build(Saver(crashing.storage)), ran)
                begun = graph.get_state(CONFIG).metadata is not None
                ended = invoke(graph, None if begun else given)
                where = f"crashed {'after' if done else 'before'} storage call {crash_at}"
                assert ended == expected, f"{where}: ended with {ended!r} instead of {expected!r}"
                assert ran == usual + lost, f"{where}: ran {dict(ran)} instead of {dict(usual)} and, again, {dict(lost)}"
            finally:
                crashing.close()
    calm.close()
    return calm.calls * 2


def _counted(graph: CompiledStateGraph, ran: Counter[str]) -> CompiledStateGraph:
    """The graph with every run of a node counted, once it has returned."""

    def counting(action: Action) -> Action:
        plain, awaited = action.plain, action.awaited

        def call(state: Any, **extra: Any) -> Any:
            assert plain is not None
            returned = plain(state, **extra)
            ran[action.name] += 1
            return returned

        async def await_(state: Any, **extra: Any) -> Any:
            assert awaited is not None
            returned = await awaited(state, **extra)
            ran[action.name] += 1
            return returned

        return replace(action, plain=call if plain else None, awaited=await_ if awaited else None)

    nodes = {
        name: replace(node, action=counting(node.action)) if node.action else node for name, node in graph.program.nodes.items()
    }
    twin = copy(graph)
    twin.program = replace(graph.program, nodes=nodes)
    return twin
