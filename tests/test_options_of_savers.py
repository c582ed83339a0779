"""What every saver takes by keyword, on the backends that are servers: encryption and retention."""

from typing import Any

import pytest
from redis import Redis
from support.graphs import Log, says
from support.mongo_server import MongoServer

from clew.checkpoint.base import Saver
from clew.checkpoint.crypt import Encryption
from clew.checkpoint.mongodb import MongoDBSaver
from clew.checkpoint.postgres import PostgresSaver
from clew.checkpoint.redis import RedisSaver
from clew.checkpoint.retention import Retention
from clew.errors import MissingKey
from clew.graph import START, StateGraph

pytestmark = [pytest.mark.slow, pytest.mark.server]
CONFIG: Any = {"configurable": {"thread_id": "1"}}


def opened(kind: str, request: pytest.FixtureRequest, **options: Any) -> Saver:
    match kind:
        case "postgres":
            return PostgresSaver(request.getfixturevalue("postgres_url"), **options)
        case "redis":
            client: Redis = request.getfixturevalue("redis_client")
            return RedisSaver(client, **options)
        case _:
            server: MongoServer = request.getfixturevalue("mongodb_server")
            return MongoDBSaver(server.url, request.getfixturevalue("mongodb_name"), **options)


@pytest.mark.parametrize("kind", ["postgres", "redis", "mongodb"])
def test_a_server_sees_nothing_and_keeps_no_more_than_is_declared(kind: str, request: pytest.FixtureRequest) -> None:
    builder = StateGraph(Log).add_node("a", says("a secret " * 20)).add_edge(START, "a")
    with opened(kind, request, encryption=Encryption(bytes(32)), retention=Retention(keep_last=2)) as saver:
        for turn in range(4):
            builder.compile(saver).invoke({"log": [f"another secret {turn} " * 20]}, CONFIG)
        under: Any = saver.storage  # past what opens what is sealed
        for _, _, data in under.storage.walk("1", (-1, -1), 100):
            assert b"secret" not in bytes(data)
        saver.sweep()
        assert len(list(builder.compile(saver).get_state_history(CONFIG))) == 2
        assert len(builder.compile(saver).get_state(CONFIG).values["log"]) == 8
    with opened(kind, request) as plain, pytest.raises(MissingKey):
        builder.compile(plain).get_state(CONFIG)
