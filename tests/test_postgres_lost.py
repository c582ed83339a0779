"""Connections that are lost, at any moment and behind whatever stands between: the run goes on, and nothing is done twice."""

import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.faces import Face
from support.graphs import Log, says
from support.postgres_server import SUPERUSER, PostgresServer, pgbouncer
from support.proxy import Proxy, proxy_to

from clew.checkpoint.postgres import PostgresSaver
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph

pytestmark = [pytest.mark.slow, pytest.mark.server]
THREAD: dict[str, Any] = {"configurable": {"thread_id": "1"}}


@pytest.fixture
def proxy(postgres_server: PostgresServer) -> Generator[Proxy]:
    with proxy_to(postgres_server.port) as made:
        yield made


def through(proxy: Proxy, url: str) -> str:
    return f"postgresql://{SUPERUSER}@127.0.0.1:{proxy.port}/{url.rpartition('/')[2]}?sslmode=disable"


def two_steps(saver: PostgresSaver, between: Any = lambda: None) -> CompiledStateGraph:
    def second(state: Log) -> dict[str, Any]:
        between()
        return {"log": ["second"]}

    return StateGraph(Log).add_sequence([("first", says("first")), ("second", second)]).add_edge(START, "first").compile(saver)


def test_a_commit_that_nobody_heard_of_is_not_done_twice(face: Face, postgres_url: str, proxy: Proxy) -> None:
    with PostgresSaver(through(proxy, postgres_url)) as saver:
        for n, log in enumerate((["in", "first", "second"], ["in", "first", "second"] * 2)):

            def cuts() -> None:
                proxy.cut = b"clew_commit"

            assert face.invoke(two_steps(saver, cuts), {"log": ["in"]}, THREAD)["log"] == log
            assert proxy.cut is None, "an answer was swallowed"
            assert len(face.history(two_steps(saver), THREAD)) == 4 * (n + 1)


def test_the_first_commit_of_a_run_is_not_done_twice(face: Face, postgres_url: str, proxy: Proxy) -> None:
    with PostgresSaver(through(proxy, postgres_url)) as saver:
        saver.threads()
        for n in (1, 2):
            proxy.cut = b"clew_commit"
            assert len(face.invoke(two_steps(saver), {"log": ["in"]}, THREAD)["log"]) == 3 * n
            assert proxy.cut is None
            assert len(face.history(two_steps(saver), THREAD)) == 4 * n


def test_ended_backends_and_a_restarted_server_are_lived_through(
    face: Face, postgres_url: str, postgres_server: PostgresServer
) -> None:
    with PostgresSaver(postgres_url) as saver, psycopg.connect(postgres_url, autocommit=True) as given:
        assert face.invoke(two_steps(saver, postgres_server.end_backends), {"log": ["in"]}, THREAD)["log"][-1] == "second"
        assert face.invoke(two_steps(PostgresSaver(given)), {"log": ["in"]}, THREAD)["log"][-1] == "second"
        found = face.invoke(two_steps(saver, postgres_server.restart), {"log": ["in"]}, THREAD)["log"]
        assert found == ["in", "first", "second"] * 3


def test_pgbouncer_in_transaction_mode(face: Face, postgres_url: str, postgres_server: PostgresServer, tmp_path: Path) -> None:
    """Two clients, one session: each finds the other's, and whatever it left there."""
    with pgbouncer(postgres_server, tmp_path) as bouncer:
        url = bouncer + postgres_url.rpartition("/")[2]
        with PostgresSaver(url) as one, PostgresSaver(url) as other:
            runs: list[Any] = []

            def interleaves(thread: str = "2") -> None:
                config: dict[str, Any] = {"configurable": {"thread_id": thread}}
                runs.append(two_steps(other).invoke({"log": ["in"]}, config)["log"])

            for n in range(1, 4):
                assert len(face.invoke(two_steps(one, interleaves), {"log": ["in"]}, THREAD)["log"]) == 3 * n
            assert runs[-1] == ["in", "first", "second"] * 3
            threads = [threading.Thread(target=interleaves, args=(f"3-{n}",)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert runs[3:] == [["in", "first", "second"]] * 8
            postgres_server.end_backends()  # the session is gone that had what both have prepared
            assert len(face.invoke(two_steps(one, interleaves), {"log": ["in"]}, THREAD)["log"]) == 12
            one.delete_thread("1")
            one.setup()
            assert len(one.threads()) == 9
