"""Fixtures that every test leans on: both faces, every saver."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from support.classic_savers import PlainSaver, serves
from support.faces import ASYNC, SYNC, Face

from clew.checkpoint.base import Saver
from clew.checkpoint.crypt import Encryption
from clew.checkpoint.foreign import ForeignSaver
from clew.checkpoint.memory import InMemorySaver
from clew.checkpoint.mongodb import MongoDBSaver
from clew.checkpoint.postgres import PostgresSaver
from clew.checkpoint.redis import RedisSaver
from clew.checkpoint.sqlite import SqliteSaver

settings.register_profile("clew", deadline=None)  # no test asserts a time
settings.load_profile("clew")

pytest_plugins = [
    "support.anthropic_standin",
    "support.openai_standin",
    "support.langgraph_env",
    "support.servers",
    "support.postgres_server",
    "support.mongo_server",
    "support.migrated",
    "support.store_servers",
]


@pytest.fixture(params=[SYNC, ASYNC], ids=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Face:
    """A way to call a graph; every behaviour is the same on both."""
    return request.param


SERVER = [pytest.mark.slow, pytest.mark.server]
SAVERS = [
    "memory",
    "sqlite",
    pytest.param("sqlite-encrypted", marks=pytest.mark.slow),
    pytest.param("postgres", marks=SERVER),
    pytest.param("redis", marks=SERVER),
    pytest.param("mongodb", marks=SERVER),
    pytest.param("classic", marks=pytest.mark.slow),
]


@pytest.fixture(params=SAVERS)
def saver(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Saver]:
    """An empty saver; every behaviour is the same on all. `classic` is one as users write them, where it can be the same."""
    if request.param == "classic":
        yield ForeignSaver(PlainSaver())
        return
    with _made(request, tmp_path) as made:
        yield made


def _made(request: pytest.FixtureRequest, tmp_path: Path) -> Saver:
    match request.param:
        case "mongodb":
            server = request.getfixturevalue("mongodb_server")
            return MongoDBSaver(server.url, request.getfixturevalue("mongodb_name"))
        case "redis":
            return RedisSaver(request.getfixturevalue("redis_client"))
        case "sqlite-encrypted":
            return SqliteSaver(tmp_path / "threads.db", synchronous="normal", encryption=Encryption(bytes(32)))
        case "postgres":
            return PostgresSaver(request.getfixturevalue("postgres_url"))
        case "sqlite":
            return SqliteSaver(tmp_path / "threads.db", synchronous="normal")
        case _:
            return InMemorySaver()


@pytest.fixture
def thread() -> dict[str, Any]:
    return {"configurable": {"thread_id": "1"}}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A classic saver is asked for what it can do."""
    left = [item for item in items if not serves(item)]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if serves(item)]
