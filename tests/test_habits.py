"""What people who come from LangGraph type where they make a saver, and what it does here, or says."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import InMemorySaver, MemorySaver
from clew.checkpoint.mongodb import AsyncMongoDBSaver
from clew.checkpoint.postgres.aio import AsyncPostgresSaver
from clew.checkpoint.redis.aio import AsyncRedisSaver
from clew.checkpoint.serde.encrypted import EncryptedSerializer
from clew.checkpoint.serde.jsonplus import JsonPlusSerializer
from clew.checkpoint.sqlite import SqliteSaver
from clew.checkpoint.sqlite.aio import AsyncSqliteSaver
from clew.store.sqlite import AsyncSqliteStore

NOWHERE: Final[dict[str, tuple[Callable[..., Saver], str]]] = {
    "memory": (InMemorySaver, ""),
    "sqlite": (SqliteSaver, ":memory:"),
    "postgres": (AsyncPostgresSaver, "postgresql://127.0.0.1:9/none"),
    "redis": (AsyncRedisSaver, "redis://127.0.0.1:9"),
    "mongodb": (AsyncMongoDBSaver, "mongodb://127.0.0.1:9"),
}
"""Savers of databases that are asked nothing, and need not be there."""


@pytest.fixture(params=NOWHERE)
def make(request: pytest.FixtureRequest) -> Callable[..., Saver]:
    made, where = NOWHERE[request.param]
    return partial(made, where) if where else made


class Cipher:
    """As a cipher of one's own begins."""

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        raise AssertionError

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        raise AssertionError


def test_setup_may_be_awaited(tmp_path: Path) -> None:
    async def main() -> list[Any]:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "chat.db")) as saver:
            await saver.setup()
            assert await saver.aget_tuple({"configurable": {"thread_id": "1"}}) is None
            return [one async for one in saver.alist({"configurable": {"thread_id": "1"}})]

    assert asyncio.run(main()) == []
    with SqliteSaver(tmp_path / "chat.db") as saver:
        saver.setup()
        assert saver.threads() == []


def test_the_usual_serializer_may_be_named(make: Callable[..., Saver]) -> None:
    for serde in (None, JsonPlusSerializer(), JsonPlusSerializer(allowed_msgpack_modules=[("a", "B")], pickle_fallback=False)):
        with make(serde=serde):
            pass


def test_another_serializer_is_refused(make: Callable[..., Saver]) -> None:
    with pytest.raises(TypeError, match=r"serde is <.*EncryptedSerializer.*>.*encryption=Encryption\(key\)") as caught:
        make(serde=EncryptedSerializer(Cipher()))
    assert "clew.register" in str(caught.value)


def test_there_is_no_pickle() -> None:
    with pytest.raises(ValueError, match=r"pickle_fallback is True.*clew\.register\(YourClass\)"):
        MemorySaver(serde=JsonPlusSerializer(pickle_fallback=True))


def test_a_connection_of_another_library_is_told_what_to_type(tmp_path: Path) -> None:
    class Connection:
        """As that of aiosqlite, which has a thread of its own."""

    with pytest.raises(TypeError, match=r"expected a path.*SqliteSaver\('chat.db'\).*got <.*Connection"):
        AsyncSqliteSaver(Connection())  # pyright: ignore[reportArgumentType]
    with closing(sqlite3.connect(tmp_path / "a.db", check_same_thread=False)) as connection, SqliteSaver(connection) as saver:
        assert saver.threads() == []
    with pytest.raises(TypeError, match=r"expected a path.*SqliteStore\('chat.db'\).*got <.*Connection"):
        AsyncSqliteStore(Connection())  # pyright: ignore[reportArgumentType]
