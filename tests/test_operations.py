"""What scenes that matter do is written down, and may not grow by a tenth unseen: calls, statements, transactions, bytes."""

import pytest
from support.operations import REWRITE, Table, counted_apart, differences, written
from support.postgres_server import PostgresServer

MEANT = f"If this is meant, `{REWRITE}` writes tests/operations.json anew; commit it with the reason."


def must_agree(expected: Table, found: Table) -> None:
    different = differences(expected, found)
    assert not different, "\n".join([*different, MEANT])


def test_scenes_do_what_is_written() -> None:
    must_agree(written(on_servers=False), counted_apart())


@pytest.mark.slow
@pytest.mark.server
def test_scenes_on_postgres_do_what_is_written(postgres_server: PostgresServer) -> None:
    must_agree(written(on_servers=True), counted_apart(postgres_server.database()))


def test_what_differs_by_more_than_a_tenth_is_told() -> None:
    table: Table = {"a step": {"calls": 100.0, "transactions": 1.0}, "gone": {"calls": 1.0}}
    assert differences(table, table) == []
    assert differences(table, table | {"a step": {"calls": 109.0, "transactions": 1.0}}) == []
    found: Table = {"a step": {"calls": 111.0, "transactions": 2.0}, "new": {"calls": 1.0}}
    assert differences(table, found) == [
        "a step: 111 calls, in the table 100",
        "a step: 2 transactions, in the table 1",
        "gone: not counted any more",
        "new: not in the table",
    ]
    assert differences(table, table | {"a step": {"calls": 80.0, "transactions": 1.0}}) == [
        "a step: 80 calls, in the table 100"
    ]
