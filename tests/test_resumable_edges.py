"""Runs whose events are kept: what is refused, and what it costs. What a reader gets: test_resumable.py."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.classic_savers import PlainSaver
from support.faces import SYNC, Face
from support.graphs import Log, chain
from support.meeting import SECONDS
from support.tales import line

from clew.checkpoint.base import Saver
from clew.checkpoint.events import EventLog
from clew.checkpoint.foreign import ForeignSaver
from clew.checkpoint.memory import InMemorySaver, MemoryStorage
from clew.checkpoint.storage import Batch
from clew.checkpoint.through import Through
from clew.config import get_stream_writer
from clew.errors import GraphError, MissingCheckpointer, UnstorableValue
from clew.graph import START, StateGraph
from clew.types import Resumable, RunEvent

CONFIG: dict[str, Any] = {"configurable": {"thread_id": "1"}}
IN: dict[str, Any] = {"log": ["in"]}
RUN: dict[str, Any] = {"resumable": True}


# -- refusals -------------------------------------------------------------------------------------------------------


def test_what_cannot_be_kept_fails_the_node_that_told_it(face: Face, saver: Saver) -> None:
    def tells(state: Log) -> Log:
        get_stream_writer()(threading.Lock())
        return {}

    graph = line(("tells", tells), checkpointer=saver)
    parts: list[RunEvent] = []
    with pytest.raises(UnstorableValue, match="lock"):
        face.read(graph, IN, CONFIG, parts, stream_mode="custom", **RUN)
    assert parts[-1].data["error"] == "UnstorableValue"


def test_it_says_where_events_cannot_be_kept(face: Face) -> None:
    with pytest.raises(MissingCheckpointer, match="resumable=True keeps events"):
        face.stream(line("a"), IN, **RUN)
    with pytest.raises(NotImplementedError, match="cannot keep the events of runs"):
        face.stream(line("a", checkpointer=ForeignSaver(PlainSaver())), IN, CONFIG, **RUN)
    graph = line("a", checkpointer=InMemorySaver())
    for options in ({"version": "v2"}, {"durability": "exit"}):
        with pytest.raises(ValueError, match="leave one"):
            face.stream(graph, IN, CONFIG, **RUN, **options)
    with pytest.raises(ValueError, match="is for `stream`"):
        face.invoke(graph, IN, CONFIG, **RUN)
    for wrong in (Resumable(keep_last=0), Resumable(max_bytes=0), Resumable(ttl="soon")):
        with pytest.raises(ValueError, match=r"keep_last|max_bytes|ttl"):
            face.stream(graph, IN, CONFIG, resumable=wrong)
    with pytest.raises(TypeError, match="resumable is 7"):
        face.stream(graph, IN, CONFIG, resumable=7)

    def within(state: Log) -> Log:
        return {"log": [str(part) for part in line("a").stream({"log": []}, resumable=True)]}

    async def awithin(state: Log) -> Log:
        return {"log": [str(part) async for part in line("a").astream({"log": []}, resumable=True)]}

    with pytest.raises(GraphError, match="for the outermost graph"):
        face.stream(line(within if face is SYNC else awithin, checkpointer=InMemorySaver()), IN, CONFIG, **RUN)


# -- what it costs ----------------------------------------------------------------------------------------------------


class Counting(Through):
    """Counts calls by their verbs."""

    def __init__(self) -> None:
        super().__init__(MemoryStorage())
        self.calls: Counter[str] = Counter()

    def call(self, verb: Any, /, *args: Any) -> Any:
        self.calls[verb.__name__] += 1
        return verb(*args)


def counted(face: Face, **options: Any) -> Counter[str]:
    storage = Counting()
    face.stream(chain(Saver(storage), *"abcd"), IN, CONFIG, stream_mode=["updates", "values", "checkpoints"], **options)
    return storage.calls


def test_a_run_that_does_not_ask_for_it_pays_nothing(face: Face) -> None:
    assert counted(face) == {"load": 1, "commit": 6}


def test_events_of_supersteps_go_with_their_commits(face: Face) -> None:
    assert counted(face, **RUN) == {"load": 1, "commit": 6, "expire": 1}, "a look for what has expired, and nothing else"


def test_tokens_gather_while_others_are_written(face: Face) -> None:
    written, told = threading.Event(), threading.Event()

    class Slow(Counting):
        def call(self, verb: Any, /, *args: Any) -> Any:
            if verb.__name__ == "commit" and args[0].events and args[0].row is None and not written.is_set():
                written.set()
                assert told.wait(20)  # the first token is on its way while the node tells all others
            return super().call(verb, *args)

    def tells(state: Log) -> Log:
        writer = get_stream_writer()
        writer(0)
        assert written.wait(20)
        for number in range(1, 150):
            writer(number)
        told.set()
        return {"log": ["told"]}

    storage = Slow()
    graph = line(("tells", tells), checkpointer=Saver(storage))
    parts = face.stream(graph, IN, CONFIG, stream_mode="custom", **RUN)
    assert [part.data for part in parts if part.mode == "custom"] == list(range(150))
    assert storage.calls["commit"] <= 6, "150 tokens in a handful of writes"


def test_what_another_commit_is_just_keeping_reaches_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph inside a task commits in its own thread, and takes along what others have told."""
    asked, may_speak, spoken, took, may_end = (threading.Event() for _ in range(5))

    def looking(verb: Callable[..., Any]) -> Callable[..., Any]:
        def looks(*args: Any) -> Any:
            asked.set()
            return verb(*args)

        return looks

    for name in ("keep", "taken"):
        monkeypatch.setattr(EventLog, name, looking(getattr(EventLog, name)))

    def speaks(state: Log) -> Log:
        get_stream_writer()("first")
        assert may_speak.wait(SECONDS)
        get_stream_writer()("second")
        spoken.set()
        assert may_end.wait(SECONDS)
        return {"log": ["spoken"]}

    def waits(state: Log) -> Log:
        assert spoken.wait(SECONDS)
        return {"log": ["waited"]}

    saver = InMemorySaver()
    commit = saver.storage.commit

    def committing(batch: Batch) -> bool:
        if spoken.is_set() and batch.ns.startswith("within") and batch.events is not None and not took.is_set():
            asked.clear()
            took.set()
            assert asked.wait(SECONDS)  # its reader comes to look
        return commit(batch)

    saver.storage.commit = committing  # pyright: ignore[reportAttributeAccessIssue]
    within = StateGraph(Log).add_node("waits", waits).add_edge(START, "waits").compile()
    builder = StateGraph(Log).add_node("speaks", speaks).add_node("within", within)
    graph = builder.add_edge(START, "speaks").add_edge(START, "within").compile(saver)
    with ThreadPoolExecutor(1) as pool:
        parts = graph.stream({"log": []}, CONFIG, stream_mode="custom", resumable=True)
        said = [next(part.data for part in parts if part.mode == "custom")]
        may_speak.set()
        assert took.wait(SECONDS)
        second = pool.submit(lambda: next(part.data for part in parts if part.mode == "custom"))
        try:
            said.append(second.result(SECONDS))
        finally:
            may_end.set()
        assert said == ["first", "second"]
        list(parts)
