"""What is Redis's own in a store: its keys, clients of either kind, users who may do little, a full server."""

from typing import Any

import pytest
from redis.asyncio import Redis as AsyncRedis
from redis.crc import key_slot
from support.servers import RedisServer

from clew.errors import DatabaseError, VersionConflict
from clew.store.items import PutOp
from clew.store.redis import AsyncRedisStore, RedisStore
from clew.store.redis.aio import AsyncRedisStore as FromAio
from clew.testing.stores import INDEX, held, until

pytestmark = [pytest.mark.slow, pytest.mark.server]
NS = ("notes", "ann")


def test_keys_are_in_one_slot_and_go_with_the_items(redis_url: str, redis_client: Any) -> None:
    with RedisStore(redis_url, prefix="app", index=INDEX) as store:
        store.batch([PutOp((f"n{n}",), "k", {"text": "abc"}, ttl=60) for n in range(20)])
        names = redis_client.keys()
        assert {name.rpartition(b":")[0] for name in names} == {b"app:{items}", b"app:{items}:done"}
        assert len({key_slot(name) for name in names}) == 1
        store.batch([PutOp((f"n{n}",), "k", None) for n in range(20)])
        left = {name for name in redis_client.scan_iter() if b":done:" not in name}
        assert left == {b"app:{items}:meta"}, "the time of the last write"
        assert all(0 < redis_client.pttl(name) <= 600_000 for name in redis_client.scan_iter("*:done:*"))


def test_prefixes_are_apart(redis_url: str) -> None:
    with RedisStore(redis_url) as one, RedisStore(redis_url, prefix="other") as other:
        one.put(NS, "k", {})
        assert other.search(()) == []
    with pytest.raises(ValueError, match="prefix is 'a b'"):
        RedisStore(redis_url, prefix="a b")


def test_a_client_of_either_kind_tells_how_to_connect(redis_url: str, redis_client: Any) -> None:
    assert AsyncRedisStore is FromAio is RedisStore
    clients: list[Any] = [redis_client, AsyncRedis.from_url(redis_url, decode_responses=True)]  # pyright: ignore
    for number, client in enumerate(clients):
        with RedisStore(client) as store:
            store.put(NS, str(number), {})
            assert len(store.search(NS)) == number + 1
    assert redis_client.ping()
    with pytest.raises(TypeError, match=r"RedisStore takes a URL.*RedisStore\('redis:"):
        RedisStore(7)


def test_a_user_of_core_commands_will_do(redis_url: str, redis_client: Any) -> None:
    may = ("~clew:*", "+@hash", "+@sortedset", "+@keyspace", "-@dangerous", "+@scripting", "+time", "+@connection")
    redis_client.execute_command("ACL", "SETUSER", "store", "on", ">word", *may)
    redis_client.execute_command("ACL", "SETUSER", "nobody", "on", ">word", "~*", "+get", "+hello", "+client")
    at = redis_url.removeprefix("redis://")
    try:
        with RedisStore(f"redis://store:word@{at}", index=INDEX) as store:
            store.put(NS, "k", {"text": "abc"}, ttl=60)
            assert [item.key for item in store.search(NS, query="abc")] == ["k"]
            assert store.list_namespaces() == [NS]
            store.sweep_ttl()
        for user, said in (("nobody:wrong", "user and password in the URL"), ("nobody:word", "The store's user.*ACL SETUSER")):
            with RedisStore(f"redis://{user}@{at}") as store, pytest.raises(DatabaseError, match=said):
                store.get(NS, "k")
    finally:
        redis_client.execute_command("ACL", "DELUSER", "nobody", "store")


def test_a_full_server_writes_nothing_of_a_batch(redis_url: str, redis_client: Any) -> None:
    with RedisStore(redis_url) as store:
        store.put(NS, "k", {"n": 1})
        redis_client.config_set("maxmemory", 1)
        try:
            with pytest.raises(DatabaseError, match="raise `maxmemory`, let items expire"):
                store.batch([PutOp(NS, "k", {"n": 2}), PutOp(NS, "new", {})])
            assert [(item.key, item.value) for item in store.search(NS)] == [("k", {"n": 1})]
        finally:
            redis_client.config_set("maxmemory", 0)


def test_a_key_of_something_else_is_left_alone(redis_url: str, redis_client: Any) -> None:
    redis_client.set("clew:store:{items}:meta", "precious")
    with RedisStore(redis_url) as store, pytest.raises(DatabaseError, match="the store wants: give it a `prefix` of its own"):
        store.put(NS, "k", {})
    assert redis_client.get("clew:store:{items}:meta") == b"precious"


def test_a_clock_that_is_set_back_gives_no_version_twice(redis_url: str, redis_client: Any) -> None:
    with RedisStore(redis_url) as store:
        store.put(NS, "k", {})
        ahead = held(store, NS, "k").version + 3_600_000_000
        redis_client.hset("clew:store:{items}:meta", "last", ahead)
        store.put(NS, "k", {})
        store.put(NS, "j", {})
        assert [item.version - ahead for item in store.search(NS)] == [2, 1]
        with pytest.raises(VersionConflict):
            store.put(NS, "k", {}, if_version=ahead)


def test_many_namespaces_are_searched_in_one_order(redis_url: str) -> None:
    """More of them than a script keeps at once."""
    with RedisStore(redis_url) as store:
        store.batch([PutOp(("many", f"n{n:04}"), f"k{n % 7}", {"n": n}) for n in range(3000)])
        store.put(("many", "n1500"), "last", {"n": -1})
        found = [(item.key, item.namespace[1]) for item in store.search(("many",), limit=50, offset=1)]
        assert found == sorted((f"k{n % 7}", f"n{n:04}") for n in range(3000))[:50]
        assert [item.value["n"] for item in store.search(("many",), limit=1)] == [-1]
        assert len(store.search(("many",), limit=5000)) == 3001


def test_more_than_a_sweep_deletes_at_once(redis_url: str, redis_server: RedisServer) -> None:
    with RedisStore(redis_url) as store:
        store.batch([PutOp(NS, f"{n}", {}, ttl=1e-5) for n in range(2500)])
        until(lambda: store.search(NS, refresh_ttl=False) == [])
        assert store.sweep_ttl() == 2500
