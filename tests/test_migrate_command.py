"""`clew migrate`: what is there is left alone, what cannot be read is named, and a thread arrives whole or not at all."""

import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.langgraph_env import SIDE, run
from support.migrated import Database

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import MemoryStorage
from clew.checkpoint.sqlite import SqliteSaver
from clew.checkpoint.storage import Storage
from clew.errors import DatabaseError
from clew.interop.langgraph.migration import migrate
from clew.interop.langgraph.moving import in_growth, is_there
from clew.interop.langgraph.tables import Entry, opened
from clew.testing.crash import Crash, CrashingStorage

pytestmark = pytest.mark.slow  # it runs LangGraph


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    typed = [sys.executable, "-m", "clew.cli", "migrate", *arguments]
    return subprocess.run(typed, capture_output=True, text=True, cwd=cwd, env=os.environ | {"COLUMNS": "160"})


@pytest.fixture(scope="module")
def small(langgraph_env: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with two threads, and one that is pickled."""
    path = tmp_path_factory.mktemp("small") / "theirs.db"
    run(langgraph_env, "write.py", str(path), "ended", "family", "pickled")
    return path


def rows(storage: Storage, thread: str) -> Any:
    """All that is stored of a thread but epochs and ids, which differ from time to time."""
    spaces = storage.spaces(thread)
    found = [(space.ns.count("|"), [one.row for one in storage.scan(thread, space.ns, None, 1000)]) for space in spaces]
    return len(spaces), [(depth, [len(row.body) for row in many if row]) for depth, many in found], storage.weigh(thread)


def test_the_command_brings_every_thread_over(langgraph_database: Database, tmp_path: Path) -> None:
    threads = set(langgraph_database.told) - {"first_work"}  # without its path it has to have its graph named
    named = [option for thread in sorted(threads) for option in ("--thread", thread)]
    found = command("--from", langgraph_database.url, "--to", "sqlite:///ours.db", *named, cwd=tmp_path)
    assert found.returncode == 0, found.stdout + found.stderr
    with SqliteSaver(tmp_path / "ours.db") as saver:
        assert {row.thread for row in saver.threads()} == threads
    assert "2 values are of the type '__main__.Elsewhere'" in found.stdout
    count = len(threads)
    assert re.search(rf"threads +│ +{count} │ +{count} │", found.stdout)


def test_what_is_there_already_is_left_alone(small: Path, tmp_path: Path) -> None:
    with SqliteSaver(tmp_path / "ours.db") as saver:
        first = migrate(str(small), saver, ["ended"])
        epoch = saver.storage.load("ended", "", None).epoch
        again = migrate(str(small), saver, ["ended", "family"])
        assert (list(first.moved), list(again.moved), again.there) == (["ended"], ["family"], ["ended"])
        assert saver.storage.load("ended", "", None).epoch == epoch
        anew = migrate(str(small), saver, ["ended"], overwrite=True)
        assert (list(anew.moved), anew.there) == (["ended"], [])
        assert saver.storage.load("ended", "", None).epoch > epoch
        assert anew.moved == first.moved


def test_a_thread_that_cannot_be_read_is_named_and_the_others_arrive(small: Path, tmp_path: Path) -> None:
    found = command("--from", str(small), "--to", "ours.db", cwd=tmp_path)
    assert found.returncode == 1
    assert "✗ pickled Thread 'pickled', checkpoint " in found.stdout
    assert "is pickled" in found.stdout
    with SqliteSaver(tmp_path / "ours.db") as saver:
        assert {row.thread for row in saver.threads()} == {"ended", "family"}


def test_single_threads_can_be_named(small: Path, tmp_path: Path) -> None:
    assert command("--from", str(small), "--to", "ours.db", "--thread", "ended", cwd=tmp_path).returncode == 0
    with SqliteSaver(tmp_path / "ours.db") as saver:
        assert [row.thread for row in saver.threads()] == ["ended"]
    wrong = command("--from", str(small), "--to", "ours.db", "--thread", "ender", cwd=tmp_path)
    assert (wrong.returncode, "no threads ['ender']" in wrong.stderr) == (2, True)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere.db", "There is no file"),
        ("empty.db", "no such table"),
        ("text.db", "cannot be read"),
        ("mysql://host/db", "names no database that LangGraph writes"),
        ("postgresql://127.0.0.1:1/none", "PostgreSQL cannot be reached"),
    ],
)
def test_a_source_that_is_none_says_so(source: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    (tmp_path / "text.db").write_text("no database\n" * 100)
    found = command("--from", source, "--to", "ours.db", cwd=tmp_path)
    assert found.returncode == 2
    assert said in found.stderr
    assert not (tmp_path / "ours.db").exists()


def test_the_graph_names_the_types(langgraph_database: Database, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text((SIDE / "types_kept.py").read_text() + "\n\ngraph = keeping()\n")
    found = command(
        "--from", langgraph_database.url, "--to", "ours.db", "--thread", "types", "--graph", "app.py:graph", cwd=tmp_path
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_source_is_only_read(small: Path, tmp_path: Path) -> None:
    before = small.read_bytes()
    command("--from", str(small), "--to", "ours.db", cwd=tmp_path)
    assert small.read_bytes() == before


@pytest.mark.parametrize("done", [False, True])
def test_wherever_a_migration_is_killed_the_next_one_finishes_it(small: Path, done: bool) -> None:
    calm = CrashingStorage(MemoryStorage())
    migrate(str(small), Saver(calm), ["family"])
    expected = rows(calm.storage, "family")
    commits = 0
    for crash_at in range(calm.calls):
        crashing = CrashingStorage(MemoryStorage(), crash_at, done=done)
        with pytest.raises(Crash):
            migrate(str(small), Saver(crashing), ["family"])
        survivor = Saver(crashing.storage)
        whole = is_there(survivor, "family")
        assert not whole or rows(survivor.storage, "family") == expected
        report = migrate(str(small), survivor, ["family"])
        assert (list(report.moved), report.there) == (([], ["family"]) if whole else (["family"], []))
        assert rows(survivor.storage, "family") == expected
        commits += 1
    assert commits > len(calm.storage.spaces("family"))


def test_no_checkpoint_comes_before_the_one_it_grew_from() -> None:
    entries = [Entry("", "1", None), Entry("", "2", "4"), Entry("", "3", "1"), Entry("", "4", "3"), Entry("", "5", "gone")]
    assert [entry.id for entry in in_growth(entries)] == ["1", "3", "4", "2", "5"]
    assert [entry.id for entry in in_growth([Entry("", "1", "2"), Entry("", "2", "1")])] == ["2", "1"]


def test_a_thread_goes_where_there_is_a_server(langgraph_database: Database) -> None:
    with pytest.raises(DatabaseError, match="names no database"), closing(opened("redis://localhost")):
        pass
