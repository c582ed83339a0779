"""What is each cache's own: bounds of memory, files and processes of SQLite, what Redis holds and what it leaves alone."""

import asyncio
import sqlite3
import subprocess
import sys
import time
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from support.caches import SERVER, K
from support.servers import RedisServer

from clew.cache.memory import OVERHEAD, InMemoryCache
from clew.cache.redis import RedisCache
from clew.cache.sqlite import SqliteCache
from clew.checkpoint.sqlite import SqliteSaver
from clew.errors import CacheWarning, DatabaseError

# -- memory ---------------------------------------------------------------------------------------------------------


def test_memory_is_bounded_and_what_was_used_least_lately_goes() -> None:
    a, b, c = ((("m",), name) for name in "abc")
    cache = InMemoryCache[bytes](max_bytes=2 * (OVERHEAD + 1100))
    cache.set({a: (bytes(1000), None), b: (bytes(1000), None)})
    assert cache.get([a]).keys() == {a}
    cache.set({c: (bytes(1000), None)})
    assert cache.get([a, b, c]).keys() == {a, c}
    cache.set({b: (bytes(10_000), None)})  # more than there is room for
    assert cache.get([a, b, c]) == {}
    cache.set({a: (b"", None)})
    assert cache.get([a]) == {a: b""}


def test_memory_lets_go_what_expired_and_was_never_asked_for() -> None:
    cache = InMemoryCache[Any]()
    cache.set({(("m",), f"old {i}"): (i, 0.001) for i in range(500)})
    time.sleep(0.01)
    for i in range(500):
        cache.set({(("m",), "new"): (i, None)})
    assert len(cache._entries) == 1  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "1"])
def test_a_bound_that_is_none_is_refused(limit: Any) -> None:
    with pytest.raises(ValueError, match=r"max_bytes is .*: expected a whole number of bytes"):
        InMemoryCache(max_bytes=limit)


# -- SQLite ---------------------------------------------------------------------------------------------------------

PEER = """
import sys
from clew.cache.sqlite import SqliteCache
path, name = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
with SqliteCache(path=path) as cache:
    for i in range(50):
        key = (("a",), f"{name}.{i}")
        cache.set({key: ([name, i], 60)})
        assert cache.get([key]) == {key: [name, i]}
"""


def rows(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


def test_processes_share_a_file_that_they_make_at_once(tmp_path: Path) -> None:
    path, names = tmp_path / "cache.db", ["one", "two", "three"]
    peers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PEER, path, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in names
    ]
    for peer in peers:
        assert peer.stdout
        assert peer.stdout.readline() == "ready\n"
    for peer in peers:
        assert peer.stdin
        peer.stdin.write("go\n")
        peer.stdin.flush()
    for peer in peers:
        peer.communicate()
        assert peer.returncode == 0
    with SqliteCache[Any](path=path) as cache:
        keys = {(("a",), f"{name}.{i}"): [name, i] for name in names for i in range(50)}
        assert cache.get(list(keys)) == keys
        assert rows(path, "pragma journal_mode") == [("wal",)]


FORKS = """
import os, sys, warnings
from clew.cache.sqlite import SqliteCache
cache = SqliteCache(path=sys.argv[1])
cache.set({(("a",), "k"): ("the parent's", None)})
child = os.fork()
if child == 0:
    assert cache.get([(("a",), "k")]) == {(("a",), "k"): "the parent's"}
    cache.set({(("a",), "k"): ("the child's", None)})
    cache.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert cache.get([(("a",), "k")]) == {(("a",), "k"): "the child's"}
cache.close()
"""


def test_a_forked_child_opens_the_file_anew(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", FORKS, tmp_path / "cache.db"], check=True)


def test_expired_rows_are_deleted_as_new_ones_are_written_some_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    with SqliteCache[Any](path=path) as cache:
        cache.set({(("a",), str(i)): (i, 0.001) for i in range(200)})
        left: list[int] = []
        time.sleep(0.01)
        for _ in range(5):
            cache.set({K: (1, None)})
            left += rows(path, "select count(*) from entry")[0]
        assert left == [137, 73, 9, 1, 1]


@pytest.mark.parametrize("value", ["x''", "null_", "'text'", "7", "x'00000000c0'", "substr(value, 1, length(value) - 1)"])
def test_a_row_that_something_else_wrote_is_a_miss(tmp_path: Path, value: str) -> None:
    path = tmp_path / "cache.db"
    with SqliteCache[Any](path=path) as cache:
        cache.set({K: ("right", None)})
        rows(path, f"update entry set value = {value.replace('null_', 'zeroblob(9)')}")
        assert cache.get([K]) == {}
        cache.set({K: ("right", None)})
        assert cache.get([K]) == {K: "right"}


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary, " * 100)
    with pytest.raises(DatabaseError, match=r"notes.txt' is not a SQLite database: name another file"):
        SqliteCache(path=path)
    assert path.read_text() == "dear diary, " * 100


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    with SqliteSaver(tmp_path / "threads.db") as saver:
        saver.setup()
    with pytest.raises(DatabaseError, match=r"threads.db' is a SQLite database of something else: .*Name another"):
        SqliteCache(path=tmp_path / "threads.db")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    SqliteCache(path=path).close()
    rows(path, "pragma user_version = 99")
    with pytest.raises(DatabaseError, match=r"newer Clew .*upgrade it, or delete the file"):
        SqliteCache(path=path)


def test_a_path_where_no_file_can_be_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "cache.db"):
        with pytest.raises(DatabaseError, match=r"cannot be opened .*: name a file in a directory that exists"):
            SqliteCache(path=path)
    for path in (None, 7, b"cache.db"):
        with pytest.raises(TypeError, match=r"SqliteCache takes a path, got .*write it as in SqliteCache\(path='cache.db'\)"):
            SqliteCache(path=path)  # pyright: ignore[reportArgumentType]


def test_a_cache_that_is_closed_says_so(tmp_path: Path) -> None:
    cache = SqliteCache[Any](path=str(tmp_path / "cache.db"))
    cache.close()
    cache.close()
    with pytest.raises(DatabaseError, match="is closed: make a new one"):
        cache.get([K])


def test_a_file_that_breaks_is_a_miss_and_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    with SqliteCache[Any](path=path) as cache:
        rows(path, "drop table entry")
        with pytest.warns(CacheWarning, match="SqliteCache cannot be used .OperationalError: no such table"):
            assert cache.get([K]) == {}
        with pytest.raises(DatabaseError, match="SqliteCache could not be cleared"):
            cache.clear()


def test_it_lives_in_memory_too() -> None:
    with SqliteCache[Any](path=":memory:") as cache:
        cache.set({K: (1, None)})
        assert cache.get([K]) == {K: 1}


# -- Redis ----------------------------------------------------------------------------------------------------------


@SERVER
def test_redis_expires_by_itself_and_keys_can_be_read(redis_client: Redis) -> None:
    cache = RedisCache[Any](redis_client, prefix="mine:")
    cache.set({(("pages", "v 1"), "7"): ("…", 0.02), K: (1, None)})
    names: Any = redis_client.keys()  # pyright: ignore
    assert sorted(names) == [b"mine:a/:k", b"mine:pages/v%201/:7"]
    assert redis_client.pttl("mine:a/:k") == -1
    time.sleep(0.04)
    assert redis_client.exists("mine:pages/v%201/:7") == 0


@SERVER
def test_redis_deletes_nothing_of_others(redis_client: Redis) -> None:
    strangers = ["mine:user:1", "mine:", "mine:x", "mine", "mineral", "other:a/:k", "m[i]ne:a/:k"]
    for name in strangers:
        redis_client.set(name, "precious")
    longer, odd = RedisCache[Any](redis_client, prefix="mine:too:"), RedisCache[Any](redis_client, prefix="m*[i]?ne\\:")
    for cache in (longer, odd):
        cache.set({K: (1, None)})
    mine = RedisCache[Any](redis_client, prefix="mine:")
    mine.set({K: (2, None)})
    mine.clear([("a",)])
    mine.set({K: (2, None)})
    mine.clear()
    assert mine.get([K]) == {}
    assert longer.get([K]) == odd.get([K]) == {K: 1}
    assert all(redis_client.exists(name) for name in strangers)
    odd.clear()
    assert odd.get([K]) == {}


@SERVER
def test_a_redis_key_of_another_kind_is_a_miss(redis_client: Redis) -> None:
    cache = RedisCache[Any](redis_client)
    cache.set({K: (1, None)})
    redis_client.rpush("clew:cache:a/:list", "x")
    redis_client.set("clew:cache:a/:text", "x")
    assert cache.get([(("a",), "list"), K, (("a",), "text")]) == {K: 1}


@SERVER
def test_a_redis_that_goes_away_is_a_miss_until_it_is_back(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    try:
        with server.client() as client, warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            cache = RedisCache[Any](client)
            cache.rest = 0
            cache.set({K: (1, None)})
            server.stop()
            assert cache.get([K]) == {}
            cache.set({K: (2, None)})
            assert asyncio.run(cache.aget([K])) == {}
            with pytest.raises(DatabaseError, match=r"RedisCache could not be cleared .ConnectionError"):
                cache.clear()
            assert [warning.category for warning in told] == [CacheWarning]
            server.start()
            cache.set({K: (3, None)})
            assert cache.get([K]) == {K: 3}
            assert len(told) == 1
    finally:
        server.stop()


@SERVER
def test_a_redis_that_refuses_is_a_warning(redis_client: Redis) -> None:
    redis_client.execute_command("CONFIG", "SET", "maxmemory", "1")  # pyright: ignore
    try:
        with pytest.warns(CacheWarning, match="OutOfMemoryError"):
            RedisCache[Any](redis_client).set({K: (1, None)})
    finally:
        redis_client.execute_command("CONFIG", "SET", "maxmemory", "0")  # pyright: ignore


def test_what_is_no_redis_client_is_refused() -> None:
    for given_ in ("redis://localhost", None, object()):
        with pytest.raises(TypeError, match=r"takes a client of redis-py, got .*write RedisCache\(redis.Redis.from_url"):
            RedisCache(given_)
    with pytest.raises(TypeError, match="takes the blocking client, for both faces, got the async"):
        RedisCache(AsyncRedis())
    with pytest.raises(ValueError, match="leave decode_responses out"):
        RedisCache(Redis(decode_responses=True))
    with pytest.raises(ValueError, match="prefix is ''"):
        RedisCache(Redis(), prefix="")
