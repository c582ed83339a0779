"""What a RedisSaver does where connections are lost, the server is killed, or refuses."""

import asyncio
import os
import socket
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import NoScriptError
from support.faces import Face
from support.graphs import counting
from support.servers import RedisServer

from clew.checkpoint.redis import RedisSaver, RedisStorage
from clew.checkpoint.storage import Batch, Row
from clew.errors import DatabaseError
from clew.ids import new_checkpoint_id, new_epoch, stamped

pytestmark = [pytest.mark.slow, pytest.mark.server]
THREAD: dict[str, Any] = {"configurable": {"thread_id": "1"}}


def storage_of(saver: RedisSaver) -> RedisStorage:
    return saver.storage.storage  # pyright: ignore


# -- lost connections -------------------------------------------------------------------------------------------------


class Cutting:
    """A proxy before a server, which loses the answers to some requests, and the connections with them."""

    def __init__(self, port: int, loses: bytes) -> None:
        self.server, self.loses, self.lost = port, loses, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=[self.listener.accept()[0]], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection(("127.0.0.1", self.server)) as server:
            while asked := client.recv(1 << 20):
                server.sendall(asked)
                answer = server.recv(1 << 20)
                if self.loses in asked and self.lost < 5 and not answer.startswith(b"-"):
                    self.lost += 1
                    return
                client.sendall(answer)


def test_a_commit_whose_answer_was_lost_is_done_once(face: Face, redis_server: RedisServer, redis_client: Any) -> None:
    with RedisSaver(redis_server.url) as saver:
        face.invoke(counting(saver, "a"), {"log": []}, THREAD)
    proxy = Cutting(redis_server.port, b"token")
    with RedisSaver(f"redis://127.0.0.1:{proxy.port}") as saver:
        assert face.invoke(counting(saver, "a", "b"), {"log": []}, THREAD)["log"] == ["a", "a", "b"]
        assert face.invoke(counting(saver, "a", "b"), {"log": []}, THREAD)["log"] == ["a", "a", "b", "a", "b"]
    assert proxy.lost == 5
    with RedisSaver(redis_server.url) as saver:
        assert len(face.history(counting(saver, "a"), THREAD)) == 3 + 4 + 4
    proxy.listener.close()


def test_a_client_that_tries_again_by_itself_commits_once(redis_server: RedisServer, redis_client: Any) -> None:
    """As those of clusters do: the very same call twice is one commit, and both say so."""
    storage = storage_of(RedisSaver(redis_server.url))
    run = storage.redis.evalsha

    def twice(*args: Any) -> Any:
        run(*args)
        return run(*args)

    seq, id_ = 1, stamped(new_checkpoint_id(), 1)
    first = Batch("t", "", 0, None, 0, new_epoch(0), logs=b"", items=[(0, 0, b"x")], row=Row(seq, id_, None, None, b"row"))
    storage.redis.evalsha = twice
    with suppress(NoScriptError):
        storage.load("t", "", None)
    assert storage.commit(first) is False
    assert storage.weigh("t") == ({0: (1, 1)}, (1, 3), (0, 0), (0, 0))
    storage.close()


@contextmanager
def stopping(event: threading.Event) -> Generator[None]:
    try:
        yield
    finally:
        event.set()


@pytest.mark.slow
def test_connections_that_are_killed_lose_nothing(face: Face, redis_server: RedisServer, redis_client: Any) -> None:
    over, kills = threading.Event(), [0]

    def kill() -> None:
        with redis_server.client() as client:
            while not over.is_set():
                kills[0] += client.client_kill_filter(_type="normal", skipme=True)  # pyright: ignore
                over.wait(0.003)

    def chat(saver: RedisSaver, name: str) -> Any:
        graph = counting(saver, "a")
        return [face.invoke(graph, {"log": []}, {"configurable": {"thread_id": name}})["n"] for _ in range(15)][-1]

    with RedisSaver(redis_server.url) as saver, ThreadPoolExecutor(6) as pool, stopping(over):
        pool.submit(kill)
        assert list(pool.map(partial(chat, saver), "abcde")) == [15] * 5
        over.set()
        assert kills[0] > 5


@pytest.mark.slow
def test_a_killed_server_has_lost_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    server.start()
    done: dict[str, int] = {}

    def chat(name: str) -> None:
        with RedisSaver(server.url, patience=0.01) as saver, suppress(DatabaseError):
            for n in range(10_000):
                done[name] = counting(saver, "a").invoke({"log": [f"{name} {n}"]}, {"configurable": {"thread_id": name}})["n"]

    try:
        with ThreadPoolExecutor(4) as pool:
            chats = [pool.submit(chat, name) for name in "abcd"]
            while sum(done.values()) < 60:
                assert not any(one.done() for one in chats)
            server.stop()
        server.start()
        with RedisSaver(server.url) as saver:
            for name, count in done.items():
                state = counting(saver, "a").get_state({"configurable": {"thread_id": name}})
                log = [word for word in state.values["log"] if word != "a"]
                assert len(log) - count in (0, 1)
                assert log == [f"{name} {n}" for n in range(len(log))]
                counting(saver, "a").invoke({"log": []}, {"configurable": {"thread_id": name}}, on_busy="rollback")
    finally:
        server.stop()


def test_a_server_that_is_away_is_waited_for_and_then_given_up(face: Face, tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    with (
        RedisSaver(server.url, patience=0.05) as saver,
        pytest.raises(DatabaseError, match=r"could not be reached for 0\.05 s"),
    ):
        face.invoke(counting(saver, "a"), {"log": []}, THREAD)
    with RedisSaver(server.url) as saver, ThreadPoolExecutor(1) as pool:
        run = pool.submit(face.invoke, counting(saver, "a"), {"log": []}, THREAD)
        server.start()
        assert run.result()["n"] == 1
    server.stop()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_connections_of_its_own(redis_server: RedisServer, redis_client: Any) -> None:
    with RedisSaver(redis_server.url) as saver:
        graph = counting(saver, "a")
        graph.invoke({"log": []}, THREAD)
        before = {client["id"] for client in redis_client.client_list()}
        child = os.fork()
        if not child:
            ended = graph.invoke({"log": []}, {"configurable": {"thread_id": "child"}})["n"] == 1
            os._exit(0 if ended and {c["id"] for c in redis_client.client_list()} - before else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert graph.invoke({"log": []}, THREAD)["n"] == 2


def test_many_tasks_share_a_small_pool(redis_server: RedisServer, redis_client: Any) -> None:
    async def all_of_them(saver: RedisSaver) -> list[Any]:
        graph = counting(saver, "a")
        return await asyncio.gather(*(graph.ainvoke({"log": []}, {"configurable": {"thread_id": str(n)}}) for n in range(60)))

    with RedisSaver(f"{redis_server.url}?max_connections=3&client_name=small") as saver:
        assert [found["n"] for found in asyncio.run(all_of_them(saver))] == [1] * 60
        assert 1 <= sum(client["name"] == "small" for client in redis_client.client_list()) <= 3


# -- a server that refuses --------------------------------------------------------------------------------------------


@pytest.fixture
def users(redis_client: Any) -> Generator[Any]:
    """Users who may do little, for one test."""
    redis_client.execute_command("ACL", "SETUSER", "nobody", "on", ">word", "~*", "+get", "+hello", "+client")
    redis_client.execute_command(
        *("ACL", "SETUSER", "saver", "on", ">word", "~clew:*", "+@hash", "+@sortedset", "+@keyspace", "-@dangerous"),
        *("+@scripting", "+time", "+@connection"),
    )
    yield redis_client
    redis_client.execute_command("ACL", "DELUSER", "nobody", "saver")


def test_what_the_server_refuses_is_said(face: Face, redis_server: RedisServer, users: Any) -> None:
    at = redis_server.url.removeprefix("redis://")
    for user, said in (("nobody:wrong", "user and password in the URL"), ("nobody:word", "ACL SETUSER")):
        with RedisSaver(f"redis://{user}@{at}") as saver, pytest.raises(DatabaseError, match=said):
            face.invoke(counting(saver, "a"), {"log": []}, THREAD)


def test_a_user_of_core_commands_will_do(face: Face, redis_server: RedisServer, users: Any) -> None:
    with RedisSaver(f"redis://saver:word@{redis_server.url.removeprefix('redis://')}", ttl=60) as saver:
        assert face.invoke(counting(saver, "a"), {"log": []}, THREAD)["n"] == 1
        assert len(face.history(counting(saver, "a"), THREAD)) == 3
        assert [row.thread for row in saver.threads()] == ["1"]
        saver.storage.reclaim()
        saver.delete_thread("1")


def test_a_full_server_writes_nothing_of_a_commit(face: Face, redis_server: RedisServer, redis_client: Any) -> None:
    with RedisSaver(redis_server.url) as saver:
        graph = counting(saver, "a")
        face.invoke(graph, {"log": ["x"]}, THREAD)
        before = redis_client.hgetall("clew:{1}")
        redis_client.config_set("maxmemory", 1)
        try:
            with pytest.raises(DatabaseError, match=r"raise `maxmemory`, let threads expire"):
                face.invoke(graph, {"log": ["y"]}, THREAD)
            assert redis_client.hgetall("clew:{1}") == before
        finally:
            redis_client.config_set("maxmemory", 0)
        assert face.invoke(graph, {"log": ["y"]}, THREAD)["log"] == ["x", "a", "y", "a"]


def test_a_replica_says_so(face: Face, redis_server: RedisServer, tmp_path: Path) -> None:
    replica = RedisServer(tmp_path, "--replicaof", "127.0.0.1", str(redis_server.port))
    replica.start()
    try:
        with RedisSaver(replica.url, patience=0.05) as saver, pytest.raises(DatabaseError, match="This is a replica"):
            face.invoke(counting(saver, "a"), {"log": []}, {"configurable": {"thread_id": "replicated"}})
    finally:
        replica.stop()


def test_a_key_of_something_else_is_left_alone(face: Face, redis_server: RedisServer, redis_client: Any) -> None:
    redis_client.set("clew:{1}", "precious")
    with RedisSaver(redis_server.url) as saver, pytest.raises(DatabaseError, match="give it a `prefix` of its own"):
        face.invoke(counting(saver, "a"), {"log": []}, THREAD)
    assert redis_client.get("clew:{1}") == b"precious"
