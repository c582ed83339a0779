"""Crash everywhere: stop at each storage call in turn, resume, and the end must be as if nothing had happened."""

from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, TypeVar

from clew.checkpoint.base import Saver
from clew.checkpoint.manifest import read_body, unpacked
from clew.checkpoint.memory import MemoryStorage
from clew.checkpoint.storage import Batch, Storage
from clew.checkpoint.through import Through
from clew.constants import START
from clew.errors import ParentCommand
from clew.graph.compiled import CompiledStateGraph
from clew.graph.inside import graphs_of
from clew.runtime.attempt import Program
from clew.runtime.drive import drive
from clew.runtime.host import Action
from clew.testing.scripted import ScriptedHost
from clew.types import Command, Durability, StateSnapshot

T = TypeVar("T")
THREAD: Final = {"thread_id": "crash"}
RESULT: Final = 0  # the kind of an outcome that is neither a failure nor a question
MOST_LOST: Final[dict[str, int | None]] = {"sync": 1, "async": 2, "exit": None}
"""How many finished tasks a crash may cost at most. `sync`: the one that has just ended, whose keeping is the call that
crashed. `async`: that, and the one whose commit was on its way. `exit`: all of the run."""


class Crash(BaseException):
    """The process is gone. No `except Exception` hears of it."""


class CrashingStorage(Through):
    """A storage that crashes at one call: before it is done, or after it was done and before anybody hears of it.

    Whatever is asked of it after that crashes as well: there is no process any more.

    Attributes:
        calls: how many were made. kept: how often a result of each node has been stored; one of a graph within by its path, as
            in `child|node`.
    """

    def __init__(self, storage: Storage, crash_at: int | None = None, *, done: bool = False) -> None:
        super().__init__(storage)
        self.calls = 0
        self.kept: Counter[str] = Counter()
        self._crash_at = crash_at
        self._done = done

    def call(self, verb: Callable[..., T], /, *args: Any) -> T:
        number = self.calls
        self.calls += 1
        if self._crash_at is not None and number >= self._crash_at + self._done:
            raise Crash
        result = verb(*args)
        if verb == self.storage.commit:
            self.kept.update(_nodes(args[0]))
        if number == self._crash_at:
            raise Crash
        return result


def _nodes(batch: Batch) -> list[str]:
    """The nodes whose results a batch stores, by their paths; a task's key is its node's name, behind a number for a Send."""
    keys = [kept.task for kept in batch.kept if "|" not in kept.task and unpacked(kept.body)[0] == RESULT]
    if batch.row is not None:
        keys += [key for key, kind, *_ in read_body(batch.row.body).outcomes if kind == RESULT and "|" not in key]
    within = [segment.partition(":")[0] for segment in batch.ns.split("|") if segment and not segment.isdigit()]
    return ["|".join([*within, key.rpartition(":")[2]]) for key in keys if key != START]


def crash_everywhere(
    build: Callable[[Saver], CompiledStateGraph],
    *given: Any,
    answer: Callable[[Any], Any] = lambda question: question,
    durability: Durability = "sync",
    storage: Callable[[], Storage] = MemoryStorage,
    choose: Callable[[int], int] = lambda waiting: 0,
    late: bool = False,
    run: Callable[[Coroutine[Any, Any, Any]], Any] = drive,
    every: int = 1,
) -> int:
    """Runs a graph once undisturbed, and then again and again with a crash before and after each storage call.

    After every crash a new saver over the same storage resumes, as a new process would.

    Args:
        build: makes the graph, with this saver. given: the inputs of one thread, one after the other. answer: what each
            question that the graph asks (`interrupt`) is answered with.
        durability: with which it runs. storage: makes an empty one for each run.
        choose, late: the order in which tasks end, and when what is written aside is, as for `ScriptedHost`.
        run: `drive` for the sync face, `asyncio.run` for the async one. every: crash at each so-manieth call only.

    Returns:
        How many crashes were tried.

    Raises:
        AssertionError: a resumed run ended elsewhere; or a task ran again whose result was stored, or more of them than the
            durability allows.
    """

    def tell(graph: CompiledStateGraph, ran: Counter[str]) -> Any:
        """The whole story, from wherever the thread stands; what it is in the end."""
        with counted(graph, ran):
            state = graph.get_state({"configurable": THREAD})
            turn = (state.metadata or {}).get("turn", -1)
            while state.next or turn + 1 < len(given):
                turn += not state.next
                said = _going_on(state, answer) if state.next else given[turn]
                config = {"configurable": THREAD, "metadata": {"turn": turn}}
                run(graph.run_on(ScriptedHost(choose, late=late), config, durability=durability).finish(said))
                state = graph.get_state({"configurable": THREAD})
        return state.values

    calm, usual = CrashingStorage(storage()), Counter[str]()
    expected = tell(build(Saver(calm)), usual)
    tried = 0
    for crash_at in range(0, calm.calls, every):
        for done in (False, True):
            tried += 1
            ran, crashing = Counter[str](), CrashingStorage(storage(), crash_at, done=done)
            try:
                tell(build(Saver(crashing)), ran)
            except Crash:
                before, lost = ran.copy(), ran - crashing.kept
                ended = tell(build(Saver(crashing.storage)), ran)
                where = f"crashed {'after' if done else 'before'} storage call {crash_at}, durability {durability!r}"
                assert ended == expected, f"{where}: ended with {ended!r} instead of {expected!r}"
                if (allowed := MOST_LOST[durability]) is None:  # what a checkpoint has seen is kept without its tasks' results
                    assert usual <= ran <= usual + before, f"{where}: ran {dict(ran)} instead of {dict(usual)}"
                    continue
                assert ran == usual + lost, f"{where}: ran {dict(ran)} instead of {dict(usual)} and, again, {dict(lost)}"
                assert lost.total() <= allowed, f"{where}: {dict(lost)} ran again, of which {allowed} may"
            finally:
                crashing.close()
    calm.close()
    return tried


def _going_on(state: StateSnapshot, answer: Callable[[Any], Any]) -> Any:
    """The answers to what is asked; None where a run just goes on."""
    if not state.interrupts:
        return None
    return Command(resume={asked.id: answer(asked.value) for asked in state.interrupts})


@contextmanager
def counted(graph: CompiledStateGraph, ran: Counter[str]) -> Generator[None]:
    """Counts every run of a node that has returned, by its path; of the graphs within as well, as far as they are known."""
    were: list[tuple[CompiledStateGraph, Program]] = []

    def count(graph: CompiledStateGraph, within: str) -> None:
        if any(seen is graph for seen, _ in were):
            return
        were.append((graph, graph.program))
        nodes = {
            name: replace(node, action=_counting(node.action, within + node.name, ran)) if node.action else node
            for name, node in graph.program.nodes.items()
        }
        graph.program = replace(graph.program, nodes=nodes)
        for name, spec in graph.builder.nodes.items():
            for inner in graphs_of(spec):
                named = inner.checkpointer is True and inner.own_name not in ("", name)
                count(inner, f"{within}{name}|" + (f"{inner.own_name}|" if named else ""))

    count(graph, "")
    try:
        yield
    finally:
        for graph, program in were:
            graph.program = program


def _counting(action: Action, path: str, ran: Counter[str]) -> Action:
    plain, awaited = action.plain, action.awaited

    @contextmanager
    def counting() -> Generator[list[Any]]:
        returned: list[Any] = []
        try:
            yield returned
        except ParentCommand:  # what went up from within is this node's result
            ran[path] += 1
            raise
        # one for the graph around is the result of the node that runs this one
        if not (isinstance(returned[0], Command) and returned[0].graph == Command.PARENT):
            ran[path] += 1

    def call(state: Any, **extra: Any) -> Any:
        assert plain is not None
        with counting() as returned:
            returned.append(plain(state, **extra))
        return returned[0]

    async def await_(state: Any, **extra: Any) -> Any:
        assert awaited is not None
        with counting() as returned:
            returned.append(await awaited(state, **extra))
        return returned[0]

    return replace(action, plain=call if plain else None, awaited=await_ if awaited else None)
