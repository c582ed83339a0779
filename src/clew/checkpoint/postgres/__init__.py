"""Threads kept in PostgreSQL. One object serves both faces, many threads, and many processes on many machines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Self

from clew.awaited import Done
from clew.checkpoint.base import LEASE, Saver
from clew.checkpoint.crypt import Encryption
from clew.checkpoint.postgres import events
from clew.checkpoint.retention import Retention
from clew.checkpoint.storage import Batch, EventsFound, Found, Kept, Lease, Pruning, Row, Space, ThreadRow, Weight, conflict
from clew.checkpoint.through import Reconnecting
from clew.clients.postgres import Connection, Connections, Lost, Taken, User
from clew.clients.postgres_groups import Groups
from clew.clients.postgres_tables import Tables, migrations_of, printed, quoted
from clew.ids import stamp_of

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool, ConnectionPool

    from clew.checkpoint.lane import Together

MIGRATIONS: Final = migrations_of("clew.checkpoint.postgres")
USER: Final = User("PostgresSaver", "saver", "clew_")
TABLES: Final = ("thread", "waiting", "head", "checkpoint", "item", "kept", "told", "events")

GROUPED: Final = " group by space, log"


def _call(function: str, kinds: str) -> str:
    """A call of a function, the schema left open; as a table where it returns one. Parameters go over the wire as they are."""
    return f"{{}}clew_{function}(" + ", ".join(f"%b::{kind}" for kind in kinds.split()) + ")"


FIND: Final = "select * from " + _call("find", "bytea bytea bigint bigint integer boolean")
ITEMS: Final = "select * from " + _call("items", "bytea integer[] integer[] bigint[] bigint[]")
WAIT: Final = "select " + _call("wait", "bytea bytea float8 boolean")
PRUNE: Final = "select " + _call(
    "prune",
    "bytea bigint bigint[] bigint[] bigint[] bigint[] bytea[] bigint[] bigint[] bigint[] bigint[] bigint[] "
    "bigint[] bigint[] bigint[] bytea[]",
)
GIVEN: Final = {
    "own": "_space integer _head bigint _seq bigint _logs bytea",
    "row": "_parent bigint _base bigint _row bytea",
    "lease": "_claim bigint _release boolean _lease_run bytea _lease_owner bytea _lease_base bytea _lease_seconds float8",
    "items": "_item_spaces bigint[] _item_logs bigint[] _item_ns bigint[] _items bytea[]",
    "kept": "_kept_seqs bigint[] _tasks bytea[] _outcomes bytea[]",
    "rows": "_row_spaces integer[] _seqs bigint[] _parents bigint[] _bases bigint[] _rows bytea[]",
    "inner": "_inner_ns bytea _inner_space integer _inner_head bigint _inner_seq bigint _inner_logs bytea",
}
"""What a batch may have, as parameters of `clew_commit`."""

NO: Final = "(select no from {0}clew_thread where name = %b::bytea)"
SPACES: Final = (
    "select ''::bytea, space, head, logs from {0}clew_thread where name = %b::bytea and space is not null "
    f"union all select ns, space, seq, logs from {{0}}clew_head where thread = {NO} order by space"
)


class PostgresStorage:
    """Rows in the tables of one schema."""

    def __init__(self, connections: Connections, schema: str) -> None:
        self.tables = Tables(connections, schema, MIGRATIONS)
        self.ask = self.tables.ask
        self.groups = Groups(self.tables)

    def close(self) -> None:
        self.tables.connections.close()

    def setup(self) -> None:
        """Makes the tables where they are missing, and runs the migrations that have not been. Ten may do so at once."""
        self.tables.set_up()

    # -- the verbs --------------------------------------------------------------------------------------------------

    def load(self, thread: str, ns: str, checkpoint_id: bytes | None) -> Found:
        seq = None if checkpoint_id is None else stamp_of(checkpoint_id)
        lines = self._ask(thread, FIND, _name(ns), seq, seq, 1, checkpoint_id is not None)
        found = _found(lines[0]) if lines else Found()
        if checkpoint_id is not None and found.row is not None and found.row.id != checkpoint_id:
            found.row = found.base = found.parent_id = found.next = None
            found.kept = ()
        return found

    def items(self, thread: str, ranges: Sequence[tuple[int, int, int]]) -> list[bytes]:
        if not ranges:
            return []
        columns = _columns([(*_log(log), *ends) for log, *ends in ranges], 4)
        return [data for (data,) in self._ask(thread, ITEMS, *columns)]

    def commit(self, batch: Batch) -> bool:
        given = _given(batch)
        sql = _commit(tuple(given), told=batch.events is not None)
        values = (_name(batch.thread), batch.epoch, *chain.from_iterable(given.values()))
        if batch.events is not None:
            told = events.values_of(_name(batch.thread), batch.claim or batch.epoch, _name(batch.events.run), batch.events)
            values = (*told, *values)
        return self._written(batch.thread, sql, *values)

    def _ask(self, thread: str, sql: str, *values: Any) -> list[Any]:
        """With what other runs ask, where this is one of several: what a run waits for while others do."""
        name = _name(thread)
        return self.groups.ask(name, sql, name, *values)

    def _written(self, thread: str, sql: str, *values: Any) -> Any:
        try:
            return self.groups.ask(_name(thread), sql, *values)[0][0]
        except Taken as error:
            raise conflict(thread) from error

    def wait(self, thread: str, run: bytes, seconds: float, stop: bool) -> bool:
        return self.ask(WAIT, _name(thread), run, seconds, stop)[0][0]

    def leave(self, thread: str, run: bytes) -> None:
        self.ask(f"delete from {{0}}clew_waiting where thread = {NO} and run = %b::bytea", _name(thread), run)

    def scan(self, thread: str, ns: str, before: int | None, limit: int) -> list[Found]:
        last = (before if before is not None else 1 << 31) - 1
        lines = self._ask(thread, FIND, _name(ns), 0, last, limit, True)
        return [found for found in map(_found, lines) if found.row is not None]

    def events(self, thread: str, run: str | None, after: int, limit: int) -> EventsFound | None:
        return events.found(self.ask(events.FIND, _name(thread), None if run is None else _name(run), after, limit))

    def expire(self, limit: int) -> int:
        return self.ask(events.EXPIRE, limit)[0][0]

    def threads(self) -> list[ThreadRow]:
        sql = (
            "select t.name, c.count, c.newest, c.id, (c.size + coalesce(i.size, 0))::bigint from {0}clew_thread t join ("
            "select thread, count(*), max(seq) newest, (array_agg(substring(data for 12) order by seq desc))[1] id, "
            "sum(octet_length(data) - 12) size from {0}clew_checkpoint group by thread) c on c.thread = t.no left join ("
            "select thread, sum(octet_length(data)) size from {0}clew_item group by thread) i on i.thread = t.no"
        )
        found = [ThreadRow(_text(name), count, _id(id_, seq), size) for name, count, seq, id_, size in self.ask(sql)]
        return sorted(found, key=lambda row: row.newest, reverse=True)

    def drop(self, thread: str) -> None:
        self.ask(events.DROP, _name(thread), _name(thread))

    # -- moving and mending -----------------------------------------------------------------------------------------

    def spaces(self, thread: str) -> list[Space]:
        heads = self.ask(SPACES, _name(thread), _name(thread))
        return [Space(_text(ns), *rest) for ns, *rest in heads]

    def walk(self, thread: str, after: tuple[int, int], limit: int) -> list[tuple[int, int, bytes]]:
        sql = (
            f"select space, log, n, data from {{0}}clew_item where thread = {NO} "
            "and (space, log, n) > (%b::bigint, %b::bigint, %b::bigint) order by space, log, n limit %b::integer"
        )
        lines = self.ask(sql, _name(thread), *_log(after[0]), after[1], limit)
        return [(space << 16 | log, n, data) for space, log, n, data in lines]

    def prune(self, pruning: Pruning) -> None:
        ranges = [(*_log(log), *ends) for log, *ends in pruning.ranges]
        items = [(*_log(log), number, data) for log, number, data in pruning.items]
        values = (
            *(_name(pruning.thread), pruning.epoch, pruning.rows or None),
            *(*_columns([_packed(row) for row in pruning.changed], 4), pruning.spaces or None, *_columns(ranges, 4)),
            *_columns(items, 4),
        )
        self._written(pruning.thread, PRUNE, *values)

    def weigh(self, thread: str) -> Weight:
        def sizes(table: str, what: str, by: str = "") -> Any:
            sum_ = f"count(*), coalesce(sum(octet_length({what})), 0)::bigint"
            return self.ask(f"select {by}{sum_} from {{0}}clew_{table} where thread = {NO}{GROUPED * bool(by)}", _name(thread))

        items = {space << 16 | log: (count, size) for space, log, count, size in sizes("item", "data", "space, log, ")}
        ((rows, size),), ((outcomes, kept),) = sizes("checkpoint", "data"), sizes("kept", "body")
        return Weight(items, (rows, size - 12 * rows), (outcomes, kept), self.ask(events.WEIGH, _name(thread))[0])

    def occupies(self) -> int:
        sql = "select sum(pg_total_relation_size(to_regclass(name)))::bigint from unnest(%b::text[]) name"
        return self.ask(sql, self._names())[0][0]

    def reclaim(self) -> None:
        """Writes the tables anew, without what was deleted: each is locked meanwhile, and the disk needs room for it twice."""
        for table in self._names():
            self.ask(f"vacuum (full, analyze) {table.replace('%', '%%')}")

    def _names(self) -> list[str]:
        return [f"{quoted(self.tables.schema)}.clew_{table}" for table in TABLES]


def _columns(lines: Sequence[Sequence[Any]], width: int) -> Sequence[list[Any] | None]:
    """Rows as arrays, one for each column."""
    return [list(column) for column in zip(*lines, strict=True)] if lines else [None] * width


def _log(log: int) -> tuple[int, int]:
    """The namespace's number in a log's number, and the rest."""
    return log >> 16, log & 0xFFFF


@cache
def _commit(given: tuple[str, ...], *, told: bool) -> str:
    """A call of `clew_commit` with what is given."""
    words = " ".join(GIVEN[each] for each in given).split()
    named = [f", {name} => %b::{kind}" for name, kind in zip(words[::2], words[1::2], strict=True)]
    call = f"select {{}}clew_commit(%b::bytea, %b::bigint{''.join(named)})"
    return events.told_with(call) if told else call


def _given(batch: Batch) -> dict[str, Sequence[Any]]:
    """What a batch has of `GIVEN`: most have little."""
    found: dict[str, Sequence[Any]] = {}
    row, lease, rows = batch.row, batch.lease, [*batch.history]
    if batch.logs is not None and not batch.ns:
        found["own"] = batch.number, batch.head, row and row.seq, batch.logs
        if row is not None:
            found["row"] = _packed(row)[1:]
    elif row is not None:
        rows.append(row)
    if batch.claim or batch.release or lease:
        leased = (lease.run, _name(lease.owner), lease.base, lease.seconds) if lease else (None,) * 4
        found["lease"] = batch.claim, batch.release, *leased
    if batch.items:
        found["items"] = _columns([(*_log(log), n, data) for log, n, data in batch.items], 4)
    if batch.kept:
        kept = {(outcome.seq, outcome.task): outcome for outcome in batch.kept}
        found["kept"] = _columns([(seq, _name(task), body) for seq, task, body in kept.values()], 3)
    if rows:
        found["rows"] = _columns([(batch.number, *_packed(one)) for one in rows], 5)
    if batch.logs is not None and batch.ns:
        found["inner"] = _name(batch.ns), batch.number, batch.head, row and row.seq, batch.logs
    return found


def _packed(row: Row) -> tuple[int, int | None, int | None, bytes]:
    """A checkpoint as it is stored: seq, parent, base, data."""
    parent = None if row.parent == row.seq - 1 else row.parent or 0
    return row.seq, parent, row.base, row.id[:12] + row.body


def _unpacked(seq: int, parent: int | None, base: int | None, data: bytes) -> Row:
    return Row(seq, _id(data[:12], seq), (seq - 1 if parent is None else parent) or None, base, data[12:])


def _id(start: bytes, seq: int) -> bytes:
    return start + seq.to_bytes(4, "big")


def _found(line: Sequence[Any]) -> Found:
    """A line of `clew_find`."""
    epoch, last, spaces, head, number, logs, run, owner, base, seconds, *line = line
    seq, parent, on, data, *under, parent_seq, parent_id, n_seq, n_parent, n_base, n_data, tasks, outcomes = line
    found = Found(epoch, last, spaces, head, number, logs or b"")
    if run is not None:
        found.lease = Lease(run, _text(owner), base, seconds)
    if seq is not None:
        found.row = _unpacked(seq, parent, on, data)
        found.base = _unpacked(on, *under) if on is not None else None
        found.parent_id = _id(parent_id, parent_seq) if parent_seq is not None else None
        found.next = _unpacked(n_seq, n_parent, n_base, n_data) if n_seq is not None else None
        found.kept = [Kept(seq, _text(task), outcome) for task, outcome in zip(tasks or (), outcomes or (), strict=True)]
    return found


def _name(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogatepass")


class PostgresSaver(Saver):
    """Keeps threads in PostgreSQL 12 or newer, in tables whose names begin with `clew_`.

    Calls on both faces are made over one pool of connections, of which each commit and each load takes one for one round trip;
    those of runs on the async face that wait at the same time take one together.
    A connection that is lost is opened anew and what was asked is asked again, a commit as well: it is never done twice. It
    works behind PgBouncer in any mode.

    Args:
        conn: a connection string, as in `"postgresql://user:password@localhost/database"`; or a connection or a pool of
            psycopg 3, which is left open. Those of the asyncio kind say where to connect to, and are not used themselves.
        schema: where the tables are, or are made. pool_size: how many connections there may be.
        timeout: seconds to wait for a free connection, and for a server that says nothing.
        patience: seconds for which a database that is away is tried again. lease, encryption, retention, serde: see `Saver`.

    Raises:
        DatabaseError: on use: the server cannot be reached, lets nobody in, or has no tables and the role may make none.
    """

    def __init__(
        self,
        conn: str | Connection | AsyncConnection[Any] | ConnectionPool[Any] | AsyncConnectionPool[Any],
        *,
        schema: str = "public",
        pool_size: int = 10,
        timeout: float = 30.0,
        patience: float = 30.0,
        lease: float = LEASE,
        encryption: Encryption | None = None,
        retention: Retention | None = None,
        serde: object = None,
    ) -> None:
        self.rows = PostgresStorage(Connections(conn, USER, size=pool_size, timeout=timeout), schema)
        self._patient = Reconnecting(self.rows, (Lost,), patience, self.rows.groups.sleep)
        super().__init__(self._patient, lease=lease, encryption=encryption, retention=retention, serde=serde)

    def _calls(self) -> tuple[int, Together]:
        return self.rows.tables.connections.size, self.rows.groups.together

    @classmethod
    def from_conn_string(cls, conn_string: str, *, pipeline: bool = False, **options: Any) -> Self:
        """A saver of this database, to be used as `with PostgresSaver.from_conn_string(…) as saver:` (or `async with`).

        `pipeline` changes nothing: a commit is one round trip anyhow. `options` are those of the class.
        """
        return cls(conn_string, **options)

    @staticmethod
    def migrations(schema: str = "public") -> str:
        """The SQL that makes the tables, for a role that may, where the one that runs the graphs may not."""
        return printed(MIGRATIONS, schema)

    def setup(self) -> Done:
        """Makes the tables where they are missing, and changes those of an older Clew. Done by itself on first use, where the
        role may. Many processes may call it at once; calling it again does nothing."""
        self._patient.call(self.rows.setup)
        return Done()


AsyncPostgresSaver = PostgresSaver
