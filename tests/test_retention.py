"""Retention: declared with the saver, seen to while graphs run."""

import os
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.faces import Face
from support.pages import ROOT
from support.reading import THREAD, history, swept, words
from support.tales import Config, line, waiting_within

from clew.checkpoint.base import Saver
from clew.checkpoint.hold import Hold
from clew.checkpoint.memory import InMemorySaver, MemoryStorage
from clew.checkpoint.pruning import Pruned, taken
from clew.checkpoint.retention import Retention
from clew.checkpoint.sqlite import SqliteSaver
from clew.checkpoint.storage import Pruning
from clew.errors import DamagedData


def kept_by(saver: Saver, **how: Any) -> Saver:
    """Another saver over the same storage, with this retention."""
    return Saver(saver.storage, retention=Retention(**how))


def on(thread: str) -> Config:
    return {"configurable": {"thread_id": thread}}


def test_old_checkpoints_go(face: Face, saver: Saver) -> None:
    graph = words(face, saver, 3)
    before = history(graph)
    assert kept_by(saver, keep_last=1, older_than="30d").sweep() == Pruned()
    assert kept_by(saver, keep_last=4).sweep().checkpoints == len(before) - 4
    assert history(graph) == before[:4]
    swept(saver.storage)


def test_idle_threads_go_unless_something_waits_or_is_named(face: Face, saver: Saver) -> None:
    words(face, saver, 1)
    face.invoke(waiting_within(saver), {"log": ["in"]}, on("waits"))
    graph = line("a", checkpointer=saver)
    face.invoke(graph, {"log": ["in"]}, {**on("named"), "metadata": {"name": "kept"}})
    assert kept_by(saver, idle=timedelta(days=90)).sweep() == Pruned()
    done = kept_by(saver, idle=0).sweep()
    assert (done.threads, done.busy) == (1, 0)
    assert {row.thread for row in saver.threads()} == {"waits", "named"}


def test_an_idle_thread_that_is_run_stays(face: Face, saver: Saver) -> None:
    words(face, saver, 1)
    seen: list[Pruned] = []

    def sweeps(state: Any) -> Any:
        seen.append(kept_by(saver, idle=0).sweep())
        return {}

    face.invoke(line(("sweeps", sweeps), checkpointer=saver), {"log": []}, THREAD)
    assert seen == [Pruned(busy=1)]


def test_it_is_seen_to_once_a_run_has_ended(face: Face) -> None:
    seen = threading.Event()

    class Watched(MemoryStorage):
        def prune(self, pruning: Pruning) -> None:
            super().prune(pruning)
            seen.set()

    with Saver(Watched(), retention=Retention(keep_last=1, every=0)) as saver:
        graph = line("a", checkpointer=saver)
        face.invoke(graph, {"log": ["in"]}, THREAD)
        assert seen.wait(60)
        for turn in range(20):
            face.invoke(graph, {"log": [f"{turn}"]}, THREAD)
        saver.sweep()
        assert len(face.history(graph, THREAD)) == 1
        assert len(face.get_state(graph, THREAD).values["log"]) == 42


def test_a_damaged_thread_is_left_alone_and_the_others_are_seen_to(
    face: Face, saver: Saver, caplog: pytest.LogCaptureFixture
) -> None:
    graph = words(face, saver, 3)
    face.invoke(graph, {"log": ["in"]}, on("2"))
    found = saver.storage.scan("1", "", 3, 1)[0]
    assert found.row
    with taken(hold_on(saver, "1")) as epoch:
        assert epoch
        saver.storage.prune(Pruning("1", epoch, changed=[found.row._replace(body=b"nonsense")]))
    with caplog.at_level("WARNING", "clew.retention"):
        done = kept_by(saver, keep_last=1).sweep()
    assert (done.threads, done.checkpoints) == (1, 3)
    assert "Thread '1' is left as it is" in caplog.text
    with pytest.raises(DamagedData):
        saver.prune(["1"], keep_last=1)
    assert len(face.history(graph, THREAD)) == 12


def hold_on(saver: Saver, thread: str) -> Hold:
    hold = Hold(saver.storage, thread)
    hold.stand(saver.storage.load(thread, "", None))
    return hold


TURNS = 60
OTHER = """
import sys
from support.tales import line
from clew.checkpoint.sqlite import SqliteSaver

with SqliteSaver(sys.argv[1], synchronous="normal") as saver:
    graph = line("a", "b", checkpointer=saver)
    for turn in range(int(sys.argv[2])):
        graph.invoke({"log": [str(turn) * 60]}, {"configurable": {"thread_id": "1"}})
        if turn % 5 == 0:
            graph.update_state({"configurable": {"thread_id": "1"}}, {"log": ["edited"]}, "b")
"""


@pytest.mark.slow
def test_processes_prune_what_others_run(tmp_path: Path) -> None:
    """Two that prune as fast as they can, and one whose runs never hear of it."""
    path = tmp_path / "threads.db"
    command = [sys.executable, "-c", OTHER, str(path), str(TURNS)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), *sys.path])}
    with SqliteSaver(path, synchronous="normal") as one, SqliteSaver(path, synchronous="normal") as other:
        running = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
        done = Pruned()
        while running.poll() is None:
            done += one.prune(keep_last=2)
            done += kept_by(other, keep_last=1).sweep()
        assert (running.returncode, running.communicate()[1]) == (0, "")
        assert done.checkpoints > 0
        one.prune(["1"], keep_last=1)
        graph = line("a", "b", checkpointer=other)
        assert len(graph.get_state(THREAD).values["log"]) == 3 * TURNS + TURNS // 5
        assert len(list(graph.get_state_history(THREAD))) == 1
        swept(one.storage)


def test_where_nothing_is_declared_nothing_is_swept(saver: Saver) -> None:
    with pytest.raises(ValueError, match="The saver has no retention: declare one"):
        saver.sweep()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, "keeps everything: pass keep_last=20"),
        ({"every": "1h"}, "keeps everything"),
        ({"keep_last": 0}, "keep_last is 0"),
        ({"older_than": "a month"}, "older_than is 'a month'"),
        ({"idle": "90 days"}, "idle is '90 days'"),
        ({"keep_last": 2, "every": -1}, "every is -1"),
    ],
)
def test_what_cannot_be_meant_is_said(how: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InMemorySaver(retention=Retention(**how))
