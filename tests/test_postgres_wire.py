"""Statements over libpq's own call: what goes there comes back, what fails is an error of psycopg's."""

from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.postgres_server import PostgresServer

from clew.checkpoint.postgres import PostgresSaver
from clew.clients.postgres_wire import ENCODERS, OFTEN, rows, statement
from clew.errors import DatabaseError

pytestmark = [pytest.mark.slow, pytest.mark.server]

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "bytea": st.binary(),
    "text": TEXT,
    "integer": st.integers(-(1 << 31), (1 << 31) - 1),
    "bigint": st.integers(-(1 << 63), (1 << 63) - 1),
    "float8": st.floats(allow_nan=False),
    "boolean": st.booleans(),
}
KINDS = [*VALUES, *(f"{kind}[]" for kind in ("bytea", "text", "integer", "bigint"))]


@st.composite
def asked(draw: st.DrawFn) -> tuple[list[str], list[Any]]:
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=5))
    values: list[Any] = []
    for kind in kinds:
        one = st.none() | VALUES[kind.removesuffix("[]")]
        values.append(draw(st.none() | st.lists(one, max_size=4) if kind.endswith("[]") else one))
    return kinds, values


def test_every_kind_is_tried() -> None:
    assert set(KINDS) == set(ENCODERS)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked())
def test_what_is_sent_comes_back(postgres_server: PostgresServer, sent: tuple[Sequence[str], Sequence[Any]]) -> None:
    kinds, values = sent
    with postgres_server.connect() as connection:
        assert rows(connection, "select " + ", ".join(f"%b::{kind}" for kind in kinds), values) == [tuple(values)]


def test_a_sign_of_percent_is_one(postgres_server: PostgresServer) -> None:
    with postgres_server.connect() as connection:
        assert rows(connection, "select 7 %% 4, %b::integer", (1,)) == [(3, 1)]


def test_a_statement_that_returns_nothing(postgres_server: PostgresServer) -> None:
    with postgres_server.connect() as connection:
        assert rows(connection, "create temporary table clew_t (n integer)") == []
        assert rows(connection, "insert into clew_t values (%b::integer)", (1,)) == []


def test_what_the_server_refuses_is_an_error_of_psycopg(postgres_server: PostgresServer) -> None:
    with postgres_server.connect() as connection:
        with pytest.raises(psycopg.errors.UndefinedTable, match="clew_nowhere"):
            rows(connection, "select * from clew_nowhere")
        assert rows(connection, "select 1") == [(1,)]


def test_a_connection_that_was_ended_says_so(postgres_server: PostgresServer) -> None:
    with postgres_server.connect() as connection, postgres_server.connect() as other:
        other.execute("select pg_terminate_backend(%s)", (connection.info.backend_pid,))
        with pytest.raises(psycopg.OperationalError):
            rows(connection, "select 1")
        assert connection.closed
        with pytest.raises(psycopg.OperationalError):
            rows(connection, "select 1")


def test_what_is_asked_often_is_prepared_and_asked_as_before_where_it_is_gone(postgres_server: PostgresServer) -> None:
    def prepared(connection: psycopg.Connection) -> list[str]:
        return [sql for (sql,) in connection.execute("select statement from pg_prepared_statements where name ~ '^clew_'")]

    def asks(connection: psycopg.Connection, times: int) -> None:
        assert [rows(connection, "select 1 + %b::integer", (n,)) for n in range(times)] == [[(n + 1,)] for n in range(times)]

    with postgres_server.connect() as connection:
        connection.prepare_threshold = None
        asks(connection, OFTEN)
        assert prepared(connection) == []
        asks(connection, 3)
        assert prepared(connection) == ["select 1 + $1::integer"]
        connection.execute("deallocate all")
        asks(connection, 2 * OFTEN)
        assert prepared(connection) == [], "a session that forgets is not one's own"
    with postgres_server.connect() as connection:
        connection.execute(b"prepare " + statement("select 1 + %b::integer").name + b" (integer) as select 1 + $1")
        asks(connection, 2 * OFTEN)


def test_a_connection_in_a_pipeline_is_refused(postgres_server: PostgresServer) -> None:
    refused = pytest.raises(DatabaseError, match="is in a pipeline: leave the pipeline first")
    with psycopg.connect(postgres_server.database(), autocommit=True) as connection, connection.pipeline(), refused:
        PostgresSaver(connection).setup()
