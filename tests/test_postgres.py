"""What is PostgreSQL's own: setting up, pools and other sources, round trips, and what is said where something is missing."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from support.faces import Face
from support.graphs import Log, says
from support.postgres_server import PostgresServer
from support.proxy import proxy_to

from clew.checkpoint.postgres import MIGRATIONS, AsyncPostgresSaver, PostgresSaver
from clew.checkpoint.postgres.aio import AsyncPostgresSaver as FromAio
from clew.checkpoint.storage import Batch, Row, Space, Storage
from clew.clients.postgres_tables import printed
from clew.clients.postgres_wire import OFTEN
from clew.errors import DatabaseError, ThreadConflict
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.ids import stamp_of

pytestmark = [pytest.mark.slow, pytest.mark.server]
THREAD: dict[str, Any] = {"configurable": {"thread_id": "1"}}


def talking(saver: PostgresSaver) -> CompiledStateGraph:
    return StateGraph(Log).add_node("node", says("x")).add_edge(START, "node").compile(saver)


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as db:
        found = db.execute(
            "select table_schema || '.' || table_name from information_schema.tables where table_name ~ '^clew_'"
        )
        return {name for (name,) in found}


SETS_UP = """
import sys
from clew.checkpoint.postgres import PostgresSaver
sys.stdin.readline()
with PostgresSaver(sys.argv[1], schema="threads") as saver:
    saver.setup()
    saver.setup()
"""


OLDER = """
insert into {0}clew_thread (name, epoch, seq, spaces) values ('1', 7, 140, 2);
insert into {0}clew_head (thread, ns, space, seq, logs)
select no, ns::bytea, h.space, h.seq, h.logs::bytea
from {0}clew_thread, (values ('', 0, 140, 'x'), ('in:{1}|a:{1}', 1, 2, 'y')) h (ns, space, seq, logs);
insert into {0}clew_checkpoint (thread, space, seq, parent, base, data)
select no, (c = 2)::integer, c, case when c > 3 then null else 0 end, case when c = 130 then 2 end,
decode(lpad(to_hex(c), 24, '0'), 'hex') || decode(repeat('62', c), 'hex')
from {0}clew_thread, generate_series(2, 140) c where c <> 50;
"""
TASK = "01234567-89ab-cdef-0123-ff6789abcdef"
INNER = f"in:{TASK}|a:{TASK}"
"""What format 4 had, which 5 and 6 put elsewhere: 3 to 140 of the graph itself but for one that was pruned, 2 of one inside."""


@pytest.mark.parametrize("older", [False, True])
def test_ten_processes_set_up_at_once(postgres_server: PostgresServer, older: bool) -> None:
    url = postgres_server.database()
    if older:
        with psycopg.connect(url) as db:
            db.execute(printed(MIGRATIONS[:4], "threads").encode())
            db.execute(OLDER.format("threads.", TASK).encode())
    many = [
        subprocess.Popen([sys.executable, "-c", SETS_UP, url], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(10)
    ]
    for process in many:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate()[1] for process in many] == [""] * 10
    assert len(tables(url)) == 9
    if older:
        with PostgresSaver(url, schema="threads") as saver:
            reads_what_an_older_one_wrote(saver.storage)


def reads_what_an_older_one_wrote(storage: Storage) -> None:
    def row(seq: int) -> Row:
        parent = seq - 1 if seq > 3 else None
        return Row(seq, seq.to_bytes(12, "big") + seq.to_bytes(4, "big"), parent, 2 if seq == 130 else None, b"b" * seq)

    assert storage.spaces("1") == [Space("", 0, 140, b"x"), Space(INNER, 1, 2, b"y")]
    seqs = [seq for seq in range(140, 2, -1) if seq != 50]
    assert [found.row for found in storage.scan("1", "", None, 200)] == [row(seq) for seq in seqs]
    assert [found.row for found in storage.scan("1", INNER, None, 200)] == [row(2)]
    for ns, seq in (("", 140), (INNER, 2)):
        found = storage.load("1", ns, None)
        assert (found.head, found.row, found.parent_id) == (seq, row(seq), row(139).id if seq == 140 else None)
    for seq in seqs:
        found = storage.load("1", "", row(seq).id)
        assert (found.row, found.base) == (row(seq), row(2) if seq == 130 else None)
        assert found.next == (row(seq + 1) if seq not in (49, 140) else None)
    assert [(line.thread, line.checkpoints, line.newest) for line in storage.threads()] == [("1", 138, row(140).id)]
    with pytest.raises(ThreadConflict):
        storage.commit(Batch("1", "", 0, 2, 7, logs=b"z"))
    storage.commit(Batch("1", "", 0, 140, 7, logs=b"z", row=row(141)))
    found = storage.load("1", "", None)
    assert (found.logs, found.row, found.parent_id) == (b"z", row(141), row(140).id)
    assert [line.newest for line in storage.threads()] == [row(141).id]


def test_the_printed_sql_makes_the_same(postgres_server: PostgresServer) -> None:
    url = postgres_server.database()
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(PostgresSaver.migrations().encode())
        db.execute(PostgresSaver.migrations('my "threads"').encode())
    for schema in ("public", 'my "threads"'):
        with PostgresSaver(url, schema=schema) as saver:
            assert talking(saver).invoke({"log": ["in"]}, THREAD)["log"] == ["in", "x"]
    assert len(tables(url)) == 18


def test_schemas_are_apart(face: Face, postgres_server: PostgresServer) -> None:
    url = postgres_server.database()
    with PostgresSaver(url, schema="a%b") as one, PostgresSaver(url, schema="two") as other:
        face.invoke(talking(one), {"log": ["in"]}, THREAD)
        assert face.get_state(talking(other), THREAD).values == {}
    assert {name.split(".")[0] for name in tables(url)} == {"a%b", "two"}


def test_a_listing_looks_at_few_rows_where_there_are_no_statistics(postgres_server: PostgresServer) -> None:
    url = postgres_server.database()
    with PostgresSaver(url) as saver:
        for _ in range(200):
            talking(saver).invoke({"log": ["in"]}, THREAD)
    looked_at = b"select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables where relname = 'clew_segment'"
    with psycopg.connect(url) as db:  # in one transaction, of which alone this is told
        before = (db.execute(looked_at).fetchone() or (0,))[0]
        found = db.execute("select lasts from clew_scan('1'::bytea, ''::bytea, 150::bigint, 2)").fetchone()
        assert found is not None
        assert len(found[0]) == 3
        assert (db.execute(looked_at).fetchone() or (0,))[0] - before <= 4 * len(found[0]), "and not the newer ones"


def test_a_commit_and_a_load_are_one_round_trip(postgres_url: str, postgres_server: PostgresServer) -> None:
    with (
        proxy_to(postgres_server.port) as proxy,
        PostgresSaver(postgres_url.replace(str(postgres_server.port), str(proxy.port)) + "?sslmode=disable") as saver,
    ):
        graph = talking(saver)
        graph.invoke({"log": ["in"]}, THREAD)
        commits: list[Batch] = []
        inner = saver.storage.commit

        def counted(batch: Batch) -> bool:
            commits.append(batch)
            return inner(batch)

        saver.storage.commit = counted
        for _ in range(60):  # so that most of it is in closed segments
            graph.invoke({"log": ["in"]}, THREAD)
        history = list(graph.get_state_history(THREAD))
        assert len(history) == 183
        for _ in range(OFTEN):  # after which it is prepared
            saver.storage.load("1", "", None)
            saver.storage.scan("1", "", None, 1)

        def trips(read: Callable[[], object]) -> int:
            proxy.trips = 0
            read()
            return proxy.trips

        for state in history:
            one = bytes.fromhex(state.config["configurable"]["checkpoint_id"].replace("-", ""))
            assert trips(partial(saver.storage.load, "1", "", one)) == 1
            assert trips(partial(saver.storage.scan, "1", "", stamp_of(one), 20)) == 1
        assert trips(partial(saver.storage.load, "1", "", None)) == 1
        assert trips(partial(saver.storage.scan, "1", "", None, 50)) == 1
        commits.clear()
        proxy.trips = 0
        graph.invoke({"log": ["in"]}, THREAD)
        assert proxy.trips == len(commits) == 2  # the first of which finds out whether somebody else has moved it


def test_commits_overlap(postgres_url: str, postgres_server: PostgresServer) -> None:
    with PostgresSaver(postgres_url) as saver:
        graph = talking(saver)
        for n in range(4):
            graph.invoke({"log": []}, {"configurable": {"thread_id": str(n)}})
        with psycopg.connect(postgres_url) as db:
            db.execute("lock table clew_thread in share mode")  # whoever writes waits
            runs = [
                threading.Thread(target=graph.invoke, args=({"log": []}, {"configurable": {"thread_id": str(n)}}))
                for n in range(4)
            ]
            for run in runs:
                run.start()
            waits = "select count(*) from pg_locks where not granted and relation = 'clew_thread'::regclass"
            with postgres_server.connect(postgres_url.rpartition("/")[2]) as other:
                while other.execute(waits).fetchone() != (4,):
                    assert all(run.is_alive() for run in runs)
        for run in runs:
            run.join()


def test_a_connection_or_a_pool_may_be_given(face: Face, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection, PostgresSaver(connection) as saver:
        face.invoke(talking(saver), {"log": ["1"]}, THREAD)
        assert not connection.autocommit
        saver.close()
        assert not connection.closed
        connection.execute("select 1")
        with pytest.raises(DatabaseError, match="in the middle of a transaction"):
            PostgresSaver(connection).threads()
        assert not connection.closed
        connection.rollback()
        closed = PostgresSaver(connection)
    for _ in range(2):
        with pytest.raises(DatabaseError, match="was given is closed"):
            closed.threads()
    with ConnectionPool(postgres_url, min_size=1, kwargs={"row_factory": dict_row}, open=True) as pool:
        saver = PostgresSaver(pool)
        face.invoke(talking(saver), {"log": ["2"]}, THREAD)
        saver.close()
        with pool.connection() as connection:
            assert not connection.autocommit

    with pytest.raises(DatabaseError, match="pool is not open"):
        PostgresSaver(pool).threads()

    async def given() -> list[str]:
        async with await psycopg.AsyncConnection.connect(postgres_url) as connection, AsyncPostgresSaver(connection) as saver:
            await talking(saver).ainvoke({"log": ["3"]}, THREAD)
        async with AsyncConnectionPool(postgres_url, open=False) as pool, FromAio(pool) as saver:
            return (await talking(saver).ainvoke({"log": ["4"]}, THREAD))["log"]

    assert asyncio.run(given()) == ["1", "x", "2", "x", "3", "x", "4", "x"]
    with pytest.raises(TypeError, match="expected a connection string"):
        PostgresSaver(3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="is no connection string") as told:
        PostgresSaver("postgresql://me:secret@host/x?nonsense=1")
    assert "secret" not in str(told.value)


def test_a_forked_child_has_connections_of_its_own(postgres_url: str) -> None:
    with PostgresSaver(postgres_url) as saver, psycopg.connect(postgres_url, autocommit=True) as given:
        graph, other = talking(saver), talking(PostgresSaver(given))
        graph.invoke({"log": ["parent"]}, THREAD)
        other.get_state(THREAD)
        child = os.fork()
        if child == 0:
            done = 1
            try:
                graph.invoke({"log": ["child"]}, THREAD)
                done = 0 if len(other.get_state(THREAD).values["log"]) == 4 else 2
            finally:
                os._exit(done)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert graph.invoke({"log": ["again"]}, THREAD)["log"] == ["parent", "x", "child", "x", "again", "x"]
        assert len(other.get_state(THREAD).values["log"]) == 6


def test_what_is_missing_is_said_at_once(postgres_server: PostgresServer) -> None:
    def told(url: str, **options: Any) -> str:
        with PostgresSaver(url, **options) as saver, pytest.raises(DatabaseError) as found:
            saver.threads()
        return str(found.value)

    assert "does not exist): check the user" in told(postgres_server.url("nowhere"))
    assert "does not exist): check the user" in told(postgres_server.url(user="nobody"))
    away = told("postgresql://postgres@127.0.0.1:1/x", patience=0.05)
    assert "could not be reached for 0.05 s" in away
    assert "Is it running?" in away
    url = postgres_server.database()
    with PostgresSaver(url) as saver, psycopg.connect(url, autocommit=True) as db:
        db.execute("create role reader login")
        role = url.replace("postgres@", "reader@")
        assert "The role may not do this" in told(role)
        saver.setup()
        assert "permission denied" in told(role)
        db.execute("grant usage on schema public to reader")
        db.execute("grant select, insert, update, delete on all tables in schema public to reader")
        with PostgresSaver(role) as lesser:
            talking(lesser).invoke({"log": ["in"]}, THREAD)
        db.execute("insert into clew_migration (no) values (99)")
        assert "of a newer Clew (format 99" in told(url)
        db.execute("drop table clew_segment")
        with pytest.raises(DatabaseError, match=r"call `saver.setup\(\)` once"):
            saver.threads()


def test_disk_really_shrinks(postgres_server: PostgresServer) -> None:
    with PostgresSaver(postgres_server.database()) as saver:
        saver.setup()
        empty = saver.storage.occupies()
        talking(saver).invoke({"log": [os.urandom(1 << 20).hex()]}, THREAD)
        assert saver.storage.occupies() > empty + (1 << 20)
        saver.delete_thread("1")
        saver.storage.reclaim()
        assert saver.storage.occupies() <= empty
