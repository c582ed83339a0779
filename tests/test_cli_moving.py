"""Moving and keeping threads as a user types it: real processes, real files."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.tales import Config, line

from clew.checkpoint.sqlite import SqliteSaver


def clew(*arguments: str, cwd: Path, given: bytes = b"") -> tuple[int, bytes, str]:
    env = {**os.environ, "COLUMNS": "120"}
    found = subprocess.run(
        [sys.executable, "-m", "clew.cli", *arguments], input=given, capture_output=True, cwd=cwd, env=env, timeout=60
    )
    return found.returncode, found.stdout, found.stderr.decode()


def on(thread: str) -> Config:
    return {"configurable": {"thread_id": thread}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a database of three threads."""
    with SqliteSaver(tmp_path / "clew.db") as saver:
        graph = line("a", "b", checkpointer=saver)
        for thread in ("1", "2", "3"):
            for turn in range(3):
                graph.invoke({"log": [f"{thread} {turn}" * 30]}, on(thread))
    return tmp_path


def values(db: Path, thread: str) -> Any:
    with SqliteSaver(db) as saver:
        return line("a", "b", checkpointer=saver).get_state(on(thread)).values


@pytest.mark.slow
def test_a_thread_goes_into_a_file_and_out_of_it(folder: Path) -> None:
    code, data, said = clew("export", "2", cwd=folder)
    assert (code, said) == (0, "")
    code, printed, said = clew("import", "--db", "sqlite:///other.db", "--as", "two", given=data, cwd=folder)
    assert (code, said) == (0, "")
    assert printed.decode().strip() == "Thread 'two' is in sqlite:///other.db."
    assert values(folder / "other.db", "two") == values(folder / "clew.db", "2")
    code, _, said = clew("import", given=data, cwd=folder)
    assert (code, "There is a thread '2' here already" in said) == (1, True)
    code, _, said = clew("import", "--as", "3b", given=data[:-9], cwd=folder)
    assert (code, "it was cut off" in said) == (1, True)
    code, _, said = clew("export", "9", cwd=folder)
    assert (code, "There is no thread '9' here" in said) == (1, True)


@pytest.mark.slow
def test_a_database_is_copied_and_copied_on(folder: Path) -> None:
    copy = ("copy", "--from", "clew.db", "--to", "sqlite:///new.db")
    assert clew(*copy, "--thread", "2", cwd=folder)[1].decode() == "1 thread copied to sqlite:///new.db.\n"
    with SqliteSaver(folder / "new.db") as saver:
        line("a", "b", checkpointer=saver).invoke({"log": ["of its own"]}, on("3"))
    code, printed, _ = clew(*copy, cwd=folder)
    assert code == 1
    assert printed.decode().splitlines() == [
        "✗ 3 another thread of this name is there: delete it, or export and import it",
        "1 thread copied to sqlite:///new.db, 1 there already.",
    ]
    assert values(folder / "new.db", "1") == values(folder / "clew.db", "1")
    assert clew("copy", "--from", "nope.db", "--to", "new.db", cwd=folder)[0] == 1


@pytest.mark.slow
def test_what_threads_cost_and_pruning_them(folder: Path) -> None:
    shown = clew("stats", cwd=folder)[1].decode()
    assert "3 threads hold" in shown
    assert "log" in clew("stats", "1", cwd=folder)[1].decode()
    assert clew("stats", "9", cwd=folder)[0] == 1
    assert "Nothing says what goes" in clew("prune", cwd=folder)[2]
    assert "older_than is 'soon'" in clew("prune", "--older-than", "soon", cwd=folder)[2]
    code, printed, said = clew("prune", "1", "2", "--keep-last", "2", cwd=folder)
    assert (code, said) == (0, "")
    assert printed.decode().startswith("20 checkpoints of 2 threads deleted, with ")
    code, printed, _ = clew("reclaim", cwd=folder)
    assert (code, printed.decode().startswith("The database took ")) == (0, True)
