"""What threads cost, and that a database really shrinks."""

import asyncio
from pathlib import Path

from support.faces import Face
from support.graphs import Log, says
from support.reading import THREAD, words
from support.tales import line

from clew.checkpoint.base import Saver
from clew.checkpoint.sqlite import SqliteSaver
from clew.graph import START, StateGraph
from clew.types import Send


def test_bytes_are_told_by_thread_and_channel(face: Face, saver: Saver) -> None:
    words(face, saver, 3)
    face.invoke(line("a", checkpointer=saver), {"log": ["long" * 1000]}, {"configurable": {"thread_id": "2"}})
    found = saver.stats()
    assert [one.thread for one in found.threads] == ["2", "1"]
    assert 4000 < found.threads[0].channels["log"].bytes < 4100
    (first,) = saver.stats("1").threads
    assert (first.checkpoints.number, list(first.channels)) == (12, ["log"])
    assert first.bytes == first.channels["log"].bytes + first.checkpoints.bytes + first.outcomes.bytes
    assert found.occupies >= sum(one.bytes for one in found.threads) * (not isinstance(saver, SqliteSaver))
    assert asyncio.run(saver.astats("1")).threads == (first,)


def test_sends_have_a_row_of_their_own(saver: Saver) -> None:
    builder = StateGraph(Log).add_node("work", says("worked"))
    builder.add_conditional_edges(START, lambda state: [Send("work", {"text": "x" * 500})])
    builder.compile(saver).invoke({"log": ["in"]}, THREAD)
    assert saver.stats("1").threads[0].channels["(sends)"].bytes > 500


def test_a_file_really_shrinks(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    with SqliteSaver(path, synchronous="normal") as saver:
        graph = line("a", checkpointer=saver)
        for thread in range(4):
            for turn in range(20):
                graph.invoke({"log": [f"{thread} {turn} " * 500]}, {"configurable": {"thread_id": str(thread)}})
        saver.reclaim()
        before = path.stat().st_size
        assert saver.stats().occupies == before
        saver.prune([str(thread) for thread in range(1, 4)], strategy="delete")
        saver.reclaim()
        assert path.stat().st_size < before / 2
        assert saver.stats().occupies == path.stat().st_size
