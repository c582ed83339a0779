"""Somebody writes to the database of an encrypted saver: nothing that was swapped, moved, altered or left plain is used."""

import re
import shutil
import sqlite3
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.encrypted import THREAD, everything, secretive, tell
from support.faces import Face
from support.sqlite_rows import unfolded

from clew.checkpoint.codec import encode
from clew.checkpoint.crypt import Encryption
from clew.checkpoint.sqlite import SqliteSaver
from clew.errors import MissingKey, TamperedRow

KEY = bytes(range(32))
TWO: dict[str, Any] = {**THREAD, "configurable": {"thread_id": "2"}}
OF_1, OF_2 = "thread = (select no from thread where name = '1')", "thread = (select no from thread where name = '2')"


def swapped(table: str, column: str, one: str, other: str) -> str:
    """The statement that swaps what two rows have in a column."""
    values = f"(select {column} from {table} where {other}), (select {column} from {table} where {one})"
    return (
        f"with both(a, b) as materialized (select {values}) update {table} set {column} = "
        f"case when {one} then (select a from both) else (select b from both) end where ({one}) or ({other})"
    )


def copied(table: str, column: str, from_: str, to: str) -> str:
    return f"update {table} set {column} = (select {column} from {table} where {from_}) where {to}"


class Attack(NamedTuple):
    """Statements that somebody runs on the database, and what is said of it."""

    name: str
    statements: list[str]
    says: str = "is not what was sealed there"


ITEM_0, ITEM_1 = f"{OF_1} and log = 0 and n = 0", f"{OF_1} and log = 0 and n = 1"
ITEM_INNER = f"{OF_1} and log = 65536 and n = 0"
HEAD, CHILD = f"{OF_1} and ns = ''", f"{OF_1} and ns = 'child'"
NEWEST, PAUSED = f"{OF_1} and seq = 8", f"{OF_1} and seq = 8 and task = 'asks'"
FORGED = encode("transfer the money").hex()
ATTACKS = [
    Attack("two items swapped", [swapped("item", "data", ITEM_0, ITEM_1)], "item 0 of log 0 is not what was sealed there"),
    Attack("two items swapped by their numbers", [
        f"update item set n = 100 where {ITEM_0}", f"update item set n = 0 where {ITEM_1}",
        f"update item set n = 1 where {OF_1} and log = 0 and n = 100",
    ]),
    Attack("an item of another log", [copied("item", "data", ITEM_INNER, ITEM_0)]),
    Attack("an item of another thread", [copied("item", "data", ITEM_0.replace(OF_1, OF_2), ITEM_0)]),
    Attack("an item in plain text", [f"update item set data = x'{FORGED}' where {ITEM_0}"], "item 0 of log 0 is in plain text"),
    Attack("an empty item", [f"update item set data = x'' where {ITEM_0}"], "in plain text"),
    Attack("an item cut short", [f"update item set data = substr(data, 1, 10) where {ITEM_0}"]),
    Attack("an item with a byte more", [f"update item set data = cast(data || x'00' as blob) where {ITEM_0}"]),
    Attack("checkpoints of two threads swapped", [swapped("checkpoint", "body", NEWEST, NEWEST.replace(OF_1, OF_2))],
        "checkpoint 8 is not what was sealed there"),
    Attack("a checkpoint of another thread, with its id", [
        copied("checkpoint", "body", NEWEST.replace(OF_1, OF_2), NEWEST),
        copied("checkpoint", "id", NEWEST.replace(OF_1, OF_2), NEWEST),
    ]),
    Attack("the whole of a thread under another's name", [
        "update thread set name = 'x' where name = '1'", "update thread set name = '1' where name = '2'",
    ]),
    Attack("an older checkpoint at a newer place", [copied("checkpoint", "body", f"{OF_1} and seq = 7", NEWEST)]),
    Attack("an older checkpoint, with its id and parent", [
        copied("checkpoint", column, f"{OF_1} and seq = 7", NEWEST) for column in ("body", "id", "parent", "base")
    ]),
    Attack("an older checkpoint renumbered", [
        f"update checkpoint set seq = 9 where {NEWEST}", f"update checkpoint set seq = 8 where {OF_1} and seq = 7",
    ]),
    Attack("a checkpoint in plain text", [f"update checkpoint set body = x'92ff00' where {NEWEST}"], "in plain text"),
    Attack("another id", [f"update checkpoint set id = x'00000000000000000000000000000008' where {NEWEST}"]),
    Attack("another parent", [f"update checkpoint set parent = 1 where {NEWEST}"]),
    Attack("another base", [f"update checkpoint set base = 1 where {NEWEST}"]),
    Attack("no base", [f"update checkpoint set base = null where {NEWEST}"]),
    Attack("a base that is gone", [f"delete from checkpoint where {OF_1} and seq = 7"],
        "checkpoint 7, which checkpoint 8 adds to, is gone"),
    Attack("the newest one is gone", [f"delete from checkpoint where {NEWEST}"], "checkpoint 8, the newest one, is gone"),
    Attack("a checkpoint of the graph within, in the outermost's history",
        [f"update checkpoint set ns = 0 where {OF_1} and seq = 5"], "was sealed in another namespace than '', where it"),
    Attack("a checkpoint of the outermost graph, in the history within",
        [f"update checkpoint set ns = 1 where {OF_1} and seq = 2"], "was sealed in another namespace than 'child'"),
    Attack("the outcome of another task", [copied("kept", "body", f"{OF_1} and task = 'fails'", PAUSED)],
        "what task 'asks' of checkpoint 8 came to is not what was sealed there"),
    Attack("the outcome of another thread", [copied("kept", "body", PAUSED.replace(OF_1, OF_2), PAUSED)]),
    Attack("an outcome at another checkpoint", [f"update kept set seq = 7 where {PAUSED}"]),
    Attack("an outcome under another name", [f"update kept set task = 'writes' where {PAUSED}"]),
    Attack("an outcome in plain text", [f"update kept set body = x'920090' where {PAUSED}"], "in plain text"),
    Attack("the logs of another namespace", [copied("head", "logs", CHILD, HEAD)], "what is known of the logs of namespace ''"),
    Attack("the logs of another thread", [copied("head", "logs", HEAD.replace(OF_1, OF_2), HEAD)]),
    Attack("logs in plain text", [f"update head set logs = x'80' where {HEAD}"], "in plain text"),
    Attack("an older head", [f"update head set seq = 7 where {HEAD}"]),
    Attack("another number of a namespace", [f"update head set no = no + 5 where {CHILD}"]),
    Attack("text for bytes", [f"update item set data = 'text' where {ITEM_0}"], "in plain text"),
    Attack("a number for bytes", [f"update item set data = 5 where {ITEM_0}"], "in plain text"),
    Attack("bytes for a task", [f"update kept set task = x'00' where {PAUSED}"]),
    Attack("two namespaces swapped", [
        f"update head set ns = 'x' where {CHILD}", f"update head set ns = 'child' where {HEAD}",
        f"update head set ns = '' where {OF_1} and ns = 'x'",
    ]),
]  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with two threads that are alike."""
    path = tmp_path_factory.mktemp("kept") / "threads.db"
    with SqliteSaver(path, encryption=Encryption(KEY)) as saver:
        for config in (THREAD, TWO):
            tell(secretive(saver), config)
    return path


@pytest.fixture
def path(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(kept, tmp_path))


@pytest.fixture
def saver(path: Path) -> Generator[SqliteSaver]:
    with SqliteSaver(path, encryption=Encryption(KEY)) as made:
        yield made


def run(path: Path, *statements: str) -> None:
    """Runs statements in one transaction, each of which has to change something."""
    with unfolded(path) as connection:
        for statement in statements:
            connection.execute(statement)
            assert connection.execute("select changes()").fetchone()[0] > 0, statement


def rows(path: Path) -> list[Any]:
    connection = sqlite3.connect(path)
    found = [connection.execute(f"select * from {table}").fetchall() for table in ("thread", "head", "segment", "item", "kept")]
    connection.close()
    return found


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name.replace(" ", "-"))
def test_it_is_refused(attack: Attack, path: Path, saver: SqliteSaver) -> None:
    graph = secretive(saver)
    everything(graph)
    run(path, *attack.statements)
    with pytest.raises(TamperedRow, match=rf"^Thread '1': .*{re.escape(attack.says)}"):
        everything(secretive(SqliteSaver(path, encryption=Encryption(KEY))))
    with pytest.raises(TamperedRow):
        everything(graph)
    if not any(word in attack.name for word in ("whole", "two threads")):
        everything(graph, TWO)  # the other thread stays as it is


def test_what_is_refused_is_not_written_on(path: Path, saver: SqliteSaver, face: Face) -> None:
    run(path, swapped("item", "data", ITEM_0, ITEM_1))
    before = rows(path)
    with pytest.raises(TamperedRow):
        face.invoke(secretive(saver), {"secret_channel": ["more"]}, THREAD)
    assert rows(path) == before


def test_every_byte_of_every_row_counts(path: Path, saver: SqliteSaver) -> None:
    """Each sealed thing that belongs to the thread, with one of its bits flipped."""
    kinds = [("item", "data", "rowid"), ("checkpoint", "body", "seq"), ("head", "logs", "ns"), ("kept", "body", "task")]
    with unfolded(path) as connection:
        sealed = [
            (table, column, key, row)
            for table, column, key in kinds
            for row in connection.execute(f"select {key}, {column} from {table} where {OF_1}").fetchall()
        ]
    for number, (table, column, key, (which, data)) in enumerate(sealed):
        at = 7 * number % len(data)
        altered = data[:at] + bytes([data[at] ^ 1 << number % 8]) + data[at + 1 :]
        with unfolded(path) as connection:
            connection.execute(f"update {table} set {column} = ? where {OF_1} and {key} = ?", (altered, which))
        with pytest.raises((TamperedRow, MissingKey), match=r"^Thread '1'"):
            everything(secretive(saver))
        with unfolded(path) as connection:
            connection.execute(f"update {table} set {column} = ? where {OF_1} and {key} = ?", (data, which))
    everything(secretive(saver))
    assert len(sealed) == 18


def test_rows_of_a_thread_that_was_deleted_do_not_fit_into_one_of_the_same_name(path: Path, saver: SqliteSaver) -> None:
    with sqlite3.connect(path) as connection:
        old = dict(connection.execute(f"select n, data from item where {OF_1} and log = 0"))
    saver.delete_thread("1")
    tell(secretive(saver))
    for number, data in old.items():
        run(path, f"update item set data = x'{data.hex()}' where {OF_1} and log = 0 and n = {number}")
    connection.close()
    with pytest.raises(TamperedRow, match="item 0 of log 0 is not what was sealed there"):
        everything(secretive(saver))


def test_what_cannot_be_seen_is_a_whole_thread_brought_back(path: Path, saver: SqliteSaver) -> None:
    """The docs say so: an older true copy of all of a thread is a true copy."""
    before, copy = everything(secretive(saver)), path.read_bytes()
    secretive(saver).update_state(THREAD, {"secret_channel": ["later"]}, as_node="fails")
    saver.close()
    path.write_bytes(copy)
    with SqliteSaver(path, encryption=Encryption(KEY)) as again:
        assert everything(secretive(again)) == before
