"""Threads on their way: into files and out of them, from one backend to another, whole or not at all."""

import io
from pathlib import Path
from typing import Any

import pytest
from support.faces import Face
from support.reading import THREAD, tell
from support.sample_graphs import SAMPLES
from support.tales import Config, line, waiting_within

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import InMemorySaver, MemoryStorage
from clew.checkpoint.moving import digest_of, frames_of
from clew.checkpoint.sqlite import SqliteSaver
from clew.errors import DatabaseError, ThreadConflict, ThreadExists, ThreadNotFound
from clew.testing.crash import Crash, CrashingStorage
from clew.types import Command


def stored(saver: Saver, thread: str = "1") -> Any:
    """All that is kept of a thread, but for its epoch."""
    storage = saver.storage
    rows = [storage.scan(thread, space.ns, None, 1000) for space in storage.spaces(thread)]
    kept = [[(one.row, one.base, one.parent_id, one.next, sorted(one.kept)) for one in found] for found in rows]
    return storage.spaces(thread), kept, storage.walk(thread, (-1, 0), 100_000)


@pytest.fixture
def other(saver: Saver, tmp_path: Path) -> Saver:
    """A saver of the other kind."""
    return SqliteSaver(tmp_path / "other.db") if isinstance(saver, InMemorySaver) else InMemorySaver()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_thread_arrives_as_it_was_and_goes_on(name: str, saver: Saver, other: Saver, tmp_path: Path) -> None:
    build, inputs = SAMPLES[name]
    graph = build(saver)
    for given in inputs:
        tell(graph, given)
    saver.export_thread("1", tmp_path / "thread")
    assert other.import_thread(tmp_path / "thread") == "1"
    assert stored(other) == stored(saver)
    assert digest_of(frames_of(other.storage, "1")) == digest_of(frames_of(saver.storage, "1"))
    assert tell(build(other), inputs[-1]) == tell(graph, inputs[-1])
    other.close()


def test_a_copy_has_the_same_ids_and_goes_its_own_way(face: Face, saver: Saver) -> None:
    graph = waiting_within(saver)
    face.invoke(graph, {"log": ["in"]}, THREAD)
    saver.copy_thread("1", "copy")
    copy: Config = {"configurable": {"thread_id": "copy"}}
    assert stored(saver, "copy") == stored(saver)
    question = face.get_state(graph, copy).interrupts
    assert question == face.get_state(graph, THREAD).interrupts
    ended = face.invoke(graph, Command(resume="well"), copy)
    assert "well" in ended["log"]
    assert face.get_state(graph, THREAD).interrupts == question
    first = face.history(graph, THREAD)[-1].config["configurable"]["checkpoint_id"]
    there = {"configurable": {"thread_id": "copy", "checkpoint_id": first}}
    assert face.get_state(graph, there).metadata == face.history(graph, THREAD)[-1].metadata


def test_nothing_is_written_over(saver: Saver) -> None:
    graph = line("a", checkpointer=saver)
    tell(graph, {"log": ["in"]})
    tell(graph, {"log": ["in"]}, {"configurable": {"thread_id": "2"}})
    before = stored(saver, "2")
    with pytest.raises(ThreadExists, match="There is a thread '2' here already"):
        saver.copy_thread("1", "2")
    assert stored(saver, "2") == before
    with pytest.raises(ThreadNotFound, match="There is no thread 'nobody' here"):
        saver.copy_thread("nobody", "3")
    with pytest.raises(ThreadNotFound):
        saver.export_thread("nobody", io.BytesIO())
    assert {row.thread for row in saver.threads()} == {"1", "2"}


def exported(name: str = "memory") -> tuple[bytes, MemoryStorage, Any]:
    build, inputs = SAMPLES[name]
    storage = MemoryStorage()
    graph = build(Saver(storage))
    for given in inputs:
        tell(graph, given)
    file = io.BytesIO()
    Saver(storage).export_thread("1", file)
    return file.getvalue(), storage, build


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "other", "grown"])
def test_a_file_that_is_not_whole_leaves_nothing(damage: str, saver: Saver) -> None:
    data, _, _ = exported()
    tried = {
        "cut": [data[:at] for at in range(12, len(data), 97)],
        "changed": [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(12, len(data), 53)],
        "empty": [b""],
        "other": [b"SQLite format 3\0" + data],
        "grown": [data[:100] + data[60:]],
    }[damage]
    for one in tried:
        with pytest.raises(DatabaseError):
            saver.import_thread(io.BytesIO(one))
        assert saver.threads() == []
        assert saver.storage.spaces("1") == []
    assert saver.import_thread(io.BytesIO(data)) == "1"


def test_arriving_is_crashed_at_every_call() -> None:
    data, source, build = exported()
    calm = CrashingStorage(MemoryStorage())
    Saver(calm).import_thread(io.BytesIO(data))
    for crash_at in range(calm.calls):
        for done in (False, True):
            storage = MemoryStorage()
            with pytest.raises(Crash):
                Saver(CrashingStorage(storage, crash_at, done=done)).import_thread(io.BytesIO(data))
            saver = Saver(storage)
            whole = storage.load("1", "", None).head is not None
            assert whole == (done and crash_at == calm.calls - 1)
            if not whole:
                assert build(saver).get_state(THREAD).values in ({}, {"log": []})
                saver.import_thread(io.BytesIO(data))
            assert stored(saver) == stored(Saver(source))


def test_leaving_a_thread_as_it_is_when_it_is_run_meanwhile(saver: Saver) -> None:
    """What travels is what the heads vouched for, and whole."""
    graph = line("a", "b", checkpointer=saver)
    tell(graph, {"log": ["in" * 50]})

    copied: list[str] = []

    def copies(state: Any) -> Any:
        copied.append(f"copy {len(copied)}")
        saver.copy_thread("1", copied[-1])
        return {"log": ["c" * 100]}

    busy = line("a", ("copies", copies), "b", checkpointer=saver)
    tell(busy, {"log": ["on"]})
    ended = busy.invoke(None, {"configurable": {"thread_id": copied[0]}})
    assert ended["log"][-1] == "b"


def test_one_that_another_run_takes_meanwhile_is_not_copied() -> None:
    class Taken(MemoryStorage):
        graph: Any = None

        def walk(self, thread: str, after: tuple[int, int], limit: int) -> list[tuple[int, int, bytes]]:
            graph, self.graph = self.graph, None
            if graph:
                tell(graph, {"log": ["meanwhile"]})
            return super().walk(thread, after, limit)

    storage = Taken()
    saver = Saver(storage)
    graph = line("a", "b", checkpointer=saver)
    tell(graph, {"log": ["in"]})
    storage.graph = graph
    with pytest.raises(ThreadConflict, match="while it was being copied: do it again"):
        saver.copy_thread("1", "2")
    assert [row.thread for row in saver.threads()] == ["1"]
    saver.copy_thread("1", "2")


def test_large_values_travel_in_parts(saver: Saver, other: Saver) -> None:
    graph = line("a", checkpointer=saver)
    tell(graph, {"log": ["x" * (9 << 20), {"list": ["y" * 600] * 4}, *[f"{n}" * 100 for n in range(500)]]})
    file = io.BytesIO()
    saver.export_thread("1", file)
    file.seek(0)
    other.import_thread(file, "2")
    thread: Config = {"configurable": {"thread_id": "2"}}
    assert line("a", checkpointer=other).get_state(thread).values == graph.get_state(THREAD).values
    other.close()
