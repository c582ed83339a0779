"""Events that are kept, with a crash before and after each storage call: none is missing, none comes twice, what a task had
told in vain is taken back."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from support.faces import Face
from support.graphs import Log
from support.sample_graphs import SAMPLES, Sample
from support.speaking import says
from support.tales import line
from support.told import MODES, numbers, said, same

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import MemoryStorage
from clew.checkpoint.sqlite import SqliteStorage
from clew.checkpoint.storage import Storage
from clew.config import get_stream_writer
from clew.func import entrypoint, task
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.testing.crash import Crash, CrashingStorage
from clew.types import Command, RetryPolicy, RunEvent

pytestmark = pytest.mark.slow
CONFIG: dict[str, Any] = {"configurable": {"thread_id": "1"}}


def speaks(name: str, words: int = 3) -> Callable[[Log], Log]:
    def node(state: Log) -> Log:
        for word in range(words):
            get_stream_writer()(f"{name}-{word}")
        return {"log": [name]}

    return node


def tokens(saver: Saver) -> CompiledStateGraph:
    """Three that speak beside one another, after and before one that does alone."""
    builder = StateGraph(Log).add_node("first", speaks("first")).add_node("last", speaks("last")).add_edge(START, "first")
    for name in "abc":
        builder.add_node(name, speaks(name)).add_edge("first", name)
    return builder.add_edge([*"abc"], "last").compile(saver)


def tokens_within(saver: Saver) -> CompiledStateGraph:
    """Graphs within that are kept, and one that is not."""
    low = line(("low", speaks("low")), ("low-2", speaks("low-2")))
    unkept = line(("free", speaks("free")), checkpointer=False)

    def calls(state: Log) -> Log:
        get_stream_writer()("before")
        found = unkept.invoke({"log": []})["log"]
        get_stream_writer()("after")
        return {"log": found}

    return line(("in", line(("mid", speaks("mid")), ("low", low))), calls, ("end", speaks("end")), checkpointer=saver)


def tokens_of_tasks(saver: Saver) -> CompiledStateGraph:
    @task
    def work(number: int) -> int:
        get_stream_writer()(f"work {number}")
        return number * 2

    @entrypoint(checkpointer=saver)
    def flow(numbers: list[int]) -> list[int]:
        get_stream_writer()("flow")
        return [work(number).result() for number in numbers]

    return flow


def tokens_of_tries(saver: Saver) -> CompiledStateGraph:
    """A node that fails once, and a graph within, kept and unkept, that does."""
    failed: set[str] = set()

    def shaky(name: str) -> Callable[[Log], Log]:
        def node(state: Log) -> Log:
            get_stream_writer()(f"{name} begins")
            if name not in failed:
                failed.add(name)
                raise OSError(name)
            return {"log": [name]}

        return node

    again = RetryPolicy(initial_interval=0, jitter=False, retry_on=OSError)
    kept, free = line(("k1", speaks("k1")), ("k2", shaky("k2"))), line(("f1", shaky("f1")), checkpointer=False)
    builder = StateGraph(Log)
    for name, node in (("one", shaky("one")), ("two", kept), ("three", free)):
        builder.add_node(name, node, retry_policy=again)
    return builder.add_edge(START, "one").add_edge("one", "two").add_edge("two", "three").compile(saver)


def tokens_of_models(saver: Saver) -> CompiledStateGraph:
    """Two models side by side, one of them within a graph."""

    def asks(word: str) -> Callable[[Log], Log]:
        def node(state: Log) -> Log:
            return {"log": [str(says(f"{word}-1", f"{word}-2").invoke("?").content)]}

        return node

    builder = StateGraph(Log).add_node("a", asks("a")).add_node("b", line(("within", asks("b"))))
    return builder.add_edge(START, "a").add_edge(START, "b").compile(saver)


OWN = {
    "tokens_of_models": Sample(tokens_of_models),
    "tokens": Sample(tokens),
    "tokens_within": Sample(tokens_within),
    "tokens_of_tasks": Sample(tokens_of_tasks, ([1, 2],)),
    "tokens_of_tries": Sample(tokens_of_tries),
}


def tell(face: Face, graph: CompiledStateGraph, given: tuple[Any, ...], seen: list[RunEvent]) -> None:
    """The whole story from wherever the thread stands, as a reader in this process gets it."""
    state = graph.get_state(CONFIG)
    turn = (state.metadata or {}).get("turn", -1)
    while state.next or turn + 1 < len(given):
        turn += not state.next
        config = {**CONFIG, "metadata": {"turn": turn}}
        said: Any = given[turn] if not state.next else None
        if state.interrupts:
            said = Command(resume={asked.id: asked.value for asked in state.interrupts})
        face.read(graph, said, config, seen, stream_mode=MODES, subgraphs=True, resumable=True)
        state = graph.get_state(CONFIG)


def logs(face: Face, graph: CompiledStateGraph, seen: list[RunEvent]) -> list[list[RunEvent]]:
    runs = dict.fromkeys(part.run_id for part in seen)
    return [face.join(graph, CONFIG, run_id=run) for run in runs]


def said_by(logs: list[list[RunEvent]]) -> Counter[str]:
    return sum((said(log) for log in logs), Counter[str]())


def crashed_everywhere(face: Face, sample: Sample, storage: Callable[[], Storage]) -> int:
    whole: list[RunEvent] = []
    graph = sample.build(Saver(storage()))
    tell(face, graph, sample.given, whole)
    assert same([part for log in logs(face, graph, whole) for part in log], whole), "what was delivered is what is kept"
    expected, tried = said_by(logs(face, graph, whole)), 0
    for crash_at in range(1000):  # how many calls there are is up to how the events gather
        for done in (False, True):
            crashing, seen = CrashingStorage(storage(), crash_at, done=done), list[RunEvent]()
            try:
                tell(face, sample.build(Saver(crashing)), sample.given, seen)
            except Crash:
                tried += 1
            else:
                return tried
            where = f"crashed {'after' if done else 'before'} storage call {crash_at}"
            check(face, sample, crashing.storage, seen, expected, where)
            crashing.close()
    raise AssertionError("it never comes to its end")


def check(face: Face, sample: Sample, storage: Storage, seen: list[RunEvent], expected: Counter[str], where: str) -> None:
    """Another process goes on; the reader goes on after the number that it has `seen`."""
    more: list[RunEvent] = []
    graph = sample.build(Saver(storage))
    tell(face, graph, sample.given, more)
    kept = logs(face, graph, [*seen, *more])
    for log in kept:
        run = log[0].run_id
        assert numbers(log) == list(range(1, len(log) + 1)), where
        assert log[-1].mode == "end", where
        before, after = ([part for part in parts if part.run_id == run] for parts in (seen, more))
        assert same(before, log[: len(before)]), f"{where}: what was delivered is kept"
        assert same(after, log[len(log) - len(after) :]), where
        assert same(face.join(graph, CONFIG, run_id=run, after=len(before)), log[len(before) :]), where
    if sample.build is not SAMPLES["calling_up"].build:  # it stops within: a crash after that is a stop that was passed
        assert said_by(kept) == expected, where


@pytest.mark.parametrize("name", [*OWN, *SAMPLES])
def test_in_memory(name: str, face: Face) -> None:
    assert crashed_everywhere(face, {**OWN, **SAMPLES}[name], MemoryStorage) > 3


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_in_sqlite(name: str, face: Face, tmp_path: Any) -> None:
    files = iter(range(10_000))

    def storage() -> Storage:
        return SqliteStorage(str(tmp_path / f"{next(files)}.db"), synchronous="off", timeout=1)

    assert crashed_everywhere(face, OWN[name], storage) > 3
