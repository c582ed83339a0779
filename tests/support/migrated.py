"""Databases that the real LangGraph has written, and their threads in a saver of Clew."""

import importlib.util
import json
import sqlite3
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from clew.checkpoint.base import Saver
from clew.graph.compiled import CompiledStateGraph
from clew.interop.langgraph.moving import Moved, move
from clew.interop.langgraph.tables import Tables, opened
from clew.runtime.drive import drive
from support.langgraph_env import SIDE, run
from support.postgres_server import PostgresServer


def load_graphs(name: str = "graphs") -> ModuleType:
    """The graphs of those threads, as they stand."""
    spec = importlib.util.spec_from_file_location(name, SIDE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Database:
    """What LangGraph has written, and what it shows of that, by thread."""

    def __init__(self, url: str, told: str) -> None:
        self.url = url
        self.told: dict[str, Any] = json.loads(told)
        self.tables: Tables = opened(url)

    def moved(self, saver: Saver, thread: str, graph: CompiledStateGraph | None = None) -> Moved:
        return drive(move(self.tables, saver, thread, graph))


SOURCES = ["from sqlite", "from sqlite without paths", pytest.param("from postgres", marks=pytest.mark.server)]


@pytest.fixture(scope="session", params=SOURCES)
def langgraph_database(
    request: pytest.FixtureRequest, langgraph_env: Path, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Database]:
    """The stories of tests/langgraph_side/write.py, written by the savers of LangGraph. That of SQLite kept no paths of tasks
    until lately; files that were there got an empty column."""
    if request.param == "from postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.database()
    else:
        url = str(tmp_path_factory.mktemp("langgraph") / "threads.db")
    told = run(langgraph_env, "write.py", url)
    if request.param == "from sqlite without paths":
        with closing(sqlite3.connect(url)) as db, db:
            assert db.execute("update writes set task_path = ''").rowcount
    found = Database(url, told)
    yield found
    found.tables.close()
