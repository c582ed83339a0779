"""Moving and keeping threads as a user types it: real processes, real files."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.tales import Config, line

from clew.checkpoint.sqlite import SqliteSaver


def clew(*arguments: str, cwd: Path, given: bytes = b"", **more: str) -> tuple[int, bytes, str]:
    env = {**os.environ, "COLUMNS": "120", **more}
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


@pytest.mark.slow
def test_what_is_encrypted_is_opened_with_the_key_in_the_environment(folder: Path) -> None:
    key, old = "11" * 32, "22" * 32
    copy = ("copy", "--from", "clew.db", "--to", "sealed.db")
    assert "3 threads copied" in clew(*copy, "--from-plain", cwd=folder, CLEW_KEY=old)[1].decode()
    code, _, said = clew("show", "1", "--db", "sealed.db", cwd=folder)
    assert (code, "takes it from CLEW_KEY" in said) == (1, True)
    code, _, said = clew("reseal", "--db", "sealed.db", cwd=folder)
    assert (code, "set CLEW_KEY to the new one" in said) == (1, True)
    code, printed, _ = clew("reseal", "--db", "sealed.db", cwd=folder, CLEW_KEY=f"{key},{old}")
    assert (code, printed.decode()) == (0, "3 of 3 threads are sealed with the current key.\n")
    code, printed, _ = clew("reseal", "--db", "sealed.db", cwd=folder, CLEW_KEY=old)
    assert (code, printed.decode().count("sealed with the key")) == (1, 3)
    assert b"2 0" in clew("show", "2", "--db", "sealed.db", cwd=folder, CLEW_KEY=key)[1]
    back = ("copy", "--from", "sealed.db", "--to", "plain.db", "--to-plain")
    assert "3 threads copied" in clew(*back, cwd=folder, CLEW_KEY=key)[1].decode()
    assert values(folder / "plain.db", "2") == values(folder / "clew.db", "2")
    code, _, said = clew("threads", cwd=folder, CLEW_KEY="secret")
    assert (code, "Key 1 in CLEW_KEY has 6 characters" in said, "secret" in said) == (1, True, False)


@pytest.mark.slow
def test_what_was_kept_in_plain_text_is_sealed_when_that_is_meant(folder: Path) -> None:
    code, printed, _ = clew("reseal", "1", cwd=folder, CLEW_KEY="11" * 32)
    assert (code, "is in plain text" in printed.decode()) == (1, True)
    code, printed, _ = clew("reseal", "--plain", cwd=folder, CLEW_KEY="11" * 32)
    assert (code, printed.decode()) == (0, "3 of 3 threads are sealed with the current key.\n")
    assert clew("show", "1", cwd=folder)[0] == 1
