"""Fixtures that every test leans on: both faces, every saver."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from support.faces import ASYNC, SYNC, Face

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import InMemorySaver
from clew.checkpoint.sqlite import SqliteSaver

pytest_plugins = [
    "support.anthropic_standin",
    "support.langgraph_env",
    "support.servers",
    "support.postgres_server",
    "support.migrated",
]


@pytest.fixture(params=[SYNC, ASYNC], ids=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Face:
    """A way to call a graph; every behaviour is the same on both."""
    return request.param


@pytest.fixture(params=["memory", "sqlite"])
def saver(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Saver]:
    """An empty saver; every behaviour is the same on all."""
    with InMemorySaver() if request.param == "memory" else SqliteSaver(tmp_path / "threads.db", synchronous="normal") as made:
        yield made


@pytest.fixture
def thread() -> dict[str, Any]:
    return {"configurable": {"thread_id": "1"}}
