"""What is Redis's own: how one connects, keys and their lives, one call a verb. What goes wrong: test_redis_trouble.py."""

import os
import random
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.crc import key_slot
from support.faces import Face
from support.graphs import counting
from support.servers import RedisServer, free_port

from clew.checkpoint.memory import MemoryStorage
from clew.checkpoint.redis import AsyncRedisSaver, RedisSaver, RedisStorage
from clew.checkpoint.storage import Batch, Kept, Pruning, Row, Storage
from clew.errors import CheckpointGone, DatabaseError
from clew.ids import new_checkpoint_id, new_epoch, stamped
from clew.testing.savers import FACES, Clause, clauses

pytestmark = [pytest.mark.slow, pytest.mark.server]
THREAD: dict[str, Any] = {"configurable": {"thread_id": "1"}}
ODD = ["", "a}b{c", "{}", "{x}:items", "\0", "ü 💥", "#", "x" * 65, "y" * 1_000_000]


def keys(client: Any) -> list[bytes]:
    return sorted(client.scan_iter())


def storage_of(saver: RedisSaver) -> RedisStorage:
    return saver.storage.storage  # pyright: ignore


@pytest.mark.slow
@pytest.mark.parametrize(("one", "face"), [(one, face) for one in clauses() for face in FACES])
def test_it_keeps_to_every_clause(one: Clause, face: str, redis_server: RedisServer) -> None:
    one.check(partial(RedisSaver, redis_server.url), face)


# -- connecting -------------------------------------------------------------------------------------------------------


def test_a_client_of_either_kind_tells_how_to_connect(face: Face, redis_server: RedisServer, redis_client: Any) -> None:
    given = [
        redis_server.url,
        redis.Redis(port=redis_server.port, decode_responses=True),
        redis.Redis(connection_pool=redis.BlockingConnectionPool(port=redis_server.port)),
        redis.asyncio.Redis(port=redis_server.port, decode_responses=True),
    ]
    for n, one in enumerate(given):
        with RedisSaver(one) as saver:
            assert face.invoke(counting(saver, "a"), {"log": []}, THREAD)["n"] == n + 1
    assert AsyncRedisSaver is RedisSaver


def test_as_a_context_it_is_closed(face: Face, redis_server: RedisServer, redis_client: Any) -> None:
    with RedisSaver.from_conn_string(redis_server.url, prefix="app", ttl=60) as saver:
        face.invoke(counting(saver, "a"), {"log": []}, THREAD)
    assert keys(redis_client)[0] == b"app:{1}"
    with pytest.raises(DatabaseError, match="is closed: make a new one"):
        face.invoke(counting(saver, "a"), {"log": []}, THREAD)


def test_what_is_none_is_said() -> None:
    with pytest.raises(TypeError, match=r"got 7: write RedisSaver\('redis://"):
        RedisSaver(7)
    with pytest.raises(ValueError, match="redis://"):
        RedisSaver("http://localhost")
    with pytest.raises(ValueError, match=r"prefix is 'a\{b'"):
        RedisSaver("redis://localhost", prefix="a{b")
    for ttl in (0, -1, {"default_ttl": 60}, True):
        with pytest.raises(ValueError, match="expected seconds above 0"):
            RedisSaver("redis://localhost", ttl=ttl)  # pyright: ignore


# -- keys -------------------------------------------------------------------------------------------------------------


def test_all_keys_of_a_thread_are_in_one_slot(redis_server: RedisServer, redis_client: Any) -> None:
    saver = RedisSaver(redis_server.url)
    graph = counting(saver, "a")
    for name in ODD:
        graph.invoke({"log": [name[:10]]}, {"configurable": {"thread_id": name or "1"}})
        slots = {key_slot(key.encode()) for key in storage_of(saver)._keys(name)}  # pyright: ignore
        assert len(slots) == 1
    assert {row.thread for row in saver.threads()} == {name or "1" for name in ODD}
    assert max(map(len, keys(redis_client))) < 100
    for name in ODD:
        saver.delete_thread(name or "1")
    assert keys(redis_client) == []
    saver.close()


def test_a_cluster_will_do(face: Face, tmp_path: Path) -> None:
    """Which refuses a script whose keys are in several slots."""
    server = RedisServer(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    server.start()
    try:
        with server.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)  # pyright: ignore
            while client.cluster("INFO")["cluster_state"] != "ok":  # pyright: ignore
                pass
        cluster = redis.RedisCluster(host="127.0.0.1", port=server.port)
        with RedisSaver(cluster) as saver:
            for name in ("1", "a}b", "c"):
                assert face.invoke(counting(saver, "a"), {"log": []}, {"configurable": {"thread_id": name}})["n"] == 1
            assert len(saver.threads()) == 3
            assert saver.storage.occupies() > 1000
            saver.delete_thread("c")
            assert len(saver.threads()) == 2
        cluster.close()
    finally:
        server.stop()


INNER = {
    *("hget", "hset", "hmget", "zadd", "hincrby", "time", "pttl", "hexists", "hdel", "zrangebylex"),  # by scripts
    *("info", "config|resetstat"),  # by the test
}


def calls(client: Any) -> dict[str, int]:
    found = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in client.info("commandstats").items()}
    inner = {
        "hget",
        "hset",
        "hmget",
        "zadd",
        "hincrby",
        "time",
        "pttl",
        "hexists",
        "hdel",
        "zrangebylex",
        "info",
        "config|resetstat",
    }
    return {name: count for name, count in found.items() if name not in inner}


def test_a_verb_is_one_call(redis_server: RedisServer, redis_client: Any) -> None:
    with RedisSaver(redis_server.url) as saver:
        graph = counting(saver, "a")
        graph.invoke({"log": []}, THREAD)
        redis_client.config_resetstat()
        graph.invoke({"log": []}, THREAD)
        assert calls(redis_client) == {"evalsha": 2}, "two commits, as the thread is remembered"
        redis_client.script_flush()
        redis_client.config_resetstat()
        graph.invoke({"log": []}, THREAD)
        assert calls(redis_client) == {"evalsha": 2, "eval": 1}, "a server that knows no scripts any more is told them"


def test_what_a_chat_takes(redis_server: RedisServer, redis_client: Any) -> None:
    """With every checkpoint kept, less than as much again as the messages themselves."""
    with RedisSaver(redis_server.url) as saver:
        graph = counting(saver, "a")
        for n in range(300):
            graph.invoke({"log": [f"{n:0500}", f"{n + 1000:0500}"]}, THREAD)
        assert len(keys(redis_client)) == 4
        assert 300_000 < saver.storage.occupies() < 2 * 300_000


# -- how long threads live --------------------------------------------------------------------------------------------


def lives(client: Any) -> list[int]:
    return [client.pttl(key) for key in keys(client)]


def test_a_thread_lives_from_its_last_commit_or_read(face: Face, redis_server: RedisServer, redis_client: Any) -> None:
    with RedisSaver(redis_server.url, ttl=timedelta(hours=1)) as saver:
        graph = counting(saver, "a")
        invoke = partial(face.invoke, graph, {"log": ["x" * 100]})
        for touch in (invoke, partial(face.get_state, graph), partial(face.history, graph)):
            touch(THREAD)
            head, *others = lives(redis_client)
            assert 3_590_000 < head <= 3_600_000
            assert others == pytest.approx([head + 60_000] * 3, abs=1000)
            for key in keys(redis_client):
                redis_client.pexpire(key, 1_000_000)
    with RedisSaver(redis_server.url, ttl=3600, refresh_on_read=False) as saver:
        face.get_state(counting(saver, "a"), THREAD)
        assert max(lives(redis_client)) <= 1_000_000
    with RedisSaver(redis_server.url) as saver:
        face.get_state(counting(saver, "a"), THREAD)
        assert max(lives(redis_client)) <= 1_000_000
        face.invoke(counting(saver, "a"), {"log": []}, THREAD)
        assert lives(redis_client) == [-1] * 4, "a saver that keeps for ever keeps it for ever"


def test_an_expired_thread_is_as_if_it_had_never_been(face: Face, redis_server: RedisServer, redis_client: Any) -> None:
    with RedisSaver(redis_server.url, ttl=3600) as saver:
        graph = counting(saver, "a")
        face.invoke(graph, {"log": ["old" * 100]}, THREAD)
        redis_client.pexpireat("clew:{1}", 1)
        assert len(keys(redis_client)) == 3, "a reader that has seen its head may still read on"
        assert face.get_state(graph, THREAD).values == {}
        assert face.history(graph, THREAD) == []
        assert saver.threads() == []
        assert face.invoke(graph, {"log": ["new"]}, THREAD) == {"log": ["new", "a"], "n": 1}
        assert len(face.history(graph, THREAD)) == 3


@pytest.mark.parametrize("kind", ["rows", "items"])
def test_what_a_full_server_has_thrown_out_is_said(kind: str, face: Face, redis_server: RedisServer, redis_client: Any) -> None:
    with RedisSaver(redis_server.url) as saver:
        face.invoke(counting(saver, "a"), {"log": ["x" * 100]}, THREAD)
    redis_client.delete(f"clew:{{1}}:{kind}")
    with RedisSaver(redis_server.url) as saver, pytest.raises(CheckpointGone):
        face.get_state(counting(saver, "a"), THREAD)
    with RedisSaver(redis_server.url) as saver:
        saver.delete_thread("1")
        assert face.invoke(counting(saver, "a"), {"log": []}, THREAD)["n"] == 1


# -- beside memory ----------------------------------------------------------------------------------------------------

SPACES = ["", "child", "other"]


def everything(storage: Storage) -> list[Any]:
    """All that can be read of a thread."""
    found: list[Any] = [storage.spaces("t"), storage.walk("t", (-1, -1), 10_000), storage.weigh("t")]
    for ns in SPACES:
        listed = storage.scan("t", ns, None, 100)
        loaded = [storage.load("t", ns, one.row.id) for one in listed if one.row]
        found += [(one.row, one.parent_id, one.next, sorted(one.kept)) for one in (*listed, *loaded)]
        found += [storage.scan("t", ns, 9, 3) and [one.row for one in storage.scan("t", ns, 9, 3)]]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_it_holds_what_memory_holds(seed: int, redis_server: RedisServer, redis_client: Any) -> None:
    """Whatever is committed and pruned, in whatever order: the very same rows, items, outcomes, and who grew from whom."""
    chance, memory = random.Random(seed), MemoryStorage()
    with RedisSaver(redis_server.url) as saver:
        both, epoch, seq, ends = (memory, saver.storage), 0, 0, dict.fromkeys(range(3), 0)
        heads: dict[int, int | None] = dict.fromkeys(range(3))
        for _ in range(40):
            rows = [found.row for ns in SPACES for found in memory.scan("t", ns, None, 100) if found.row]
            if epoch and chance.random() < 0.3:
                gone = chance.sample(rows, chance.randint(0, len(rows) // 3))
                gone = [row for row in gone if row.seq not in heads.values()]
                other = [row for row in rows if row not in gone][:1]
                pruning = Pruning("t", epoch, [row.seq for row in gone])
                pruning.changed = [row._replace(body=b"changed", parent=chance.choice([row.parent, None])) for row in other]
                pruning.ranges = [(n, lo, lo + chance.choice([1, 3, 1 << 30])) for n in ends for lo in [chance.randint(0, 700)]]
                for storage in both:
                    storage.prune(_short(pruning) if storage is memory else pruning)
            else:
                number, claim = chance.randrange(3), new_epoch(epoch)
                seq += chance.randint(1, 3)
                parent = chance.choice([*[row.seq for row in rows], None])
                row = Row(seq, stamped(new_checkpoint_id(), seq), parent, None, os.urandom(chance.randint(0, 40)))
                first = ends[number] + chance.choice([0, 5, 300])
                ends[number] = first + chance.randint(0, 4)
                items = [(number, n, b"%d" % n) for n in range(first, ends[number])]
                kept = [Kept(chance.randint(1, seq), f"task {n}", os.urandom(3)) for n in range(chance.randint(0, 2))]
                kept = [one for one in kept if one.seq in [row.seq for row in rows]]
                for storage in both:
                    storage.commit(Batch("t", SPACES[number], number, heads[number], epoch, claim, b"l", items, kept, row))
                epoch, heads[number] = claim, seq
            assert everything(both[1]) == everything(both[0])
        (listed,) = saver.threads()
        assert listed == memory.threads()[0]


def _short(pruning: Pruning) -> Pruning:
    """Memory goes over every number of a range."""
    return replace(pruning, ranges=[(log, lo, min(hi, 20_000)) for log, lo, hi in pruning.ranges])
