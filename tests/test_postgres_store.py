"""What is PostgreSQL's own in a store: setting up, schemas, other sources, what is left behind, and what is said."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from support.postgres_server import PostgresServer, pgbouncer

from clew.errors import DatabaseError, VersionConflict
from clew.store.items import PutOp
from clew.store.postgres import AsyncPostgresStore, PostgresStore
from clew.store.postgres.aio import AsyncPostgresStore as FromAio
from clew.testing.stores import INDEX, held

pytestmark = [pytest.mark.slow, pytest.mark.server]
NS = ("notes", "ann")

SETS_UP = """
import sys
from clew.store.postgres import PostgresStore
sys.stdin.readline()
with PostgresStore(sys.argv[1], schema="memory") as store:
    store.setup()
    store.put(("a",), sys.argv[2], {})
"""


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    """Of a database in which there is nothing."""
    return postgres_server.database()


def test_ten_processes_set_up_at_once(url: str) -> None:
    many = [
        subprocess.Popen([sys.executable, "-c", SETS_UP, url, str(n)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for n in range(10)
    ]
    for process in many:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate()[1] for process in many] == [""] * 10
    with PostgresStore(url, schema="memory") as store:
        assert sorted(item.key for item in store.search(("a",))) == [str(n) for n in range(10)]


def test_the_printed_sql_makes_the_same_and_schemas_are_apart(url: str) -> None:
    names = ("public", 'my "notes" %')
    with psycopg.connect(url, autocommit=True) as db:
        for schema in names:
            db.execute(PostgresStore.migrations(schema).encode())
    for schema in names:
        with PostgresStore(url, schema=schema, index=INDEX) as store:
            assert store.search(()) == []
            store.put(NS, "k", {"text": schema})
            assert [item.value["text"] for item in store.search(NS, query="abc")] == [schema]


def test_it_stands_beside_a_saver(url: str) -> None:
    from clew.checkpoint.postgres import PostgresSaver

    with PostgresSaver(url) as saver, PostgresStore(url) as store:
        saver.setup()
        store.setup()
        store.put(NS, "k", {})
        assert saver.threads() == []


def test_a_connection_or_a_pool_of_ones_own(url: str) -> None:
    assert AsyncPostgresStore is FromAio is PostgresStore
    with psycopg.connect(url) as given, ConnectionPool[Any](url, min_size=1, open=True) as pool:
        sources: list[Any] = [given, pool, AsyncConnectionPool[Any](url, open=False)]
        for number, source in enumerate(sources):
            with PostgresStore(source) as store:
                store.put(NS, str(number), {})
                assert len(store.search(NS)) == number + 1
        assert not given.closed
        assert not given.autocommit
    with pytest.raises(TypeError, match="PostgresStore was given 7"):
        PostgresStore(7)  # pyright: ignore[reportArgumentType]


def test_pgbouncer_in_transaction_mode(url: str, postgres_server: PostgresServer, tmp_path: Path) -> None:
    """Two stores, one session."""
    with pgbouncer(postgres_server, tmp_path) as bouncer:
        at = bouncer + url.rpartition("/")[2]
        with PostgresStore(at) as one, PostgresStore(at) as other, ThreadPoolExecutor(8) as pool:
            counts = [
                pool.submit(store.update, NS, "k", lambda value: {"n": (value or {"n": 0})["n"] + 1})
                for store in (one, other) * 20
            ]
            assert [count.result() for count in counts] == [None] * 40
            assert held(one, NS, "k").value == {"n": 40}


def test_what_is_wrong_is_said_of_the_store(url: str) -> None:
    store = PostgresStore(url)
    store.setup()
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("drop table clew_store_item")
        with pytest.raises(DatabaseError, match=r"call `store\.setup\(\)` once.*PostgresStore\.migrations"):
            store.get(NS, "k")
        db.execute("insert into clew_store_migration (no) values (99)")
    store.close()
    with pytest.raises(DatabaseError, match="The store is closed"):
        store.get(NS, "k")
    with PostgresStore(url) as newer, pytest.raises(DatabaseError, match="of a newer Clew"):
        newer.setup()


def test_nothing_is_left_of_what_is_gone(url: str) -> None:
    """No row of what was deleted, of a batch that was refused, or of a write long done."""
    with PostgresStore(url) as store, psycopg.connect(url, autocommit=True) as db:

        def rows() -> list[Any]:
            return db.execute(
                "select (select count(*) from clew_store_item), (select count(*) from clew_store_done)"
            ).fetchall()

        store.put(NS, "k", {})
        store.delete(NS, "k")
        store.delete(NS, "never")
        assert rows() == [(0, 3)]
        with pytest.raises(VersionConflict):
            store.batch([PutOp(NS, "new", {}), PutOp(NS, "old", {}, if_version=1)])
        assert rows() == [(0, 4)]
        db.execute("update clew_store_done set at = at - interval '1 day'")
        store.put(NS, "k", {})
        assert rows() == [(1, 1)]
        assert held(store, NS, "k").value == {}


def test_a_clock_that_is_set_back_gives_no_version_twice(url: str) -> None:
    with PostgresStore(url) as store, psycopg.connect(url, autocommit=True) as db:
        store.put(NS, "k", {})
        db.execute("update clew_store_item set updated = updated + 3600000000")
        ahead = held(store, NS, "k")
        store.put(NS, "k", {})
        store.put(NS, "j", {})
        assert held(store, NS, "j").version > held(store, NS, "k").version > ahead.version
        assert [item.key for item in store.search(NS)] == ["j", "k"]
