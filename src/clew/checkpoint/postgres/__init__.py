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
from clew.checkpoint.postgres.names import name_of, packed, text_of, unpacked
from clew.checkpoint.postgres.reading import Read, completed
from clew.checkpoint.postgres.writing import records_of
from clew.checkpoint.retention import Retention
from clew.checkpoint.segments import SIZE, heads, newest_id, without
from clew.checkpoint.storage import Batch, EventsFound, Found, Kept, Lease, Pruning, Space, ThreadRow, Weight, conflict
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
TABLES: Final = ("thread", "waiting", "head", "segment", "item", "kept", "told", "events")

FEW: Final = 8
"""Rows of a namespace that a segment has at least, mostly."""


def _call(function: str, kinds: str) -> str:
    """A call of a function, the schema left open; as a table where it returns one. Parameters go over the wire as they are."""
    return f"{{}}clew_{function}(" + ", ".join(f"%b::{kind}" for kind in kinds.split()) + ")"


FIND: Final = "select * from " + _call("find", "bytea bytea bigint")
SCAN: Final = "select * from " + _call("scan", "bytea bytea bigint integer")
SEGMENTS: Final = "select * from " + _call("segments", "bytea bigint bigint integer")
ITEMS: Final = "select * from " + _call("items", "bytea integer[] integer[] bigint[] bigint[]")
WAIT: Final = "select " + _call("wait", "bytea bytea float8 boolean")
PRUNE: Final = "select " + _call(
    "prune",
    "bytea bigint bigint[] integer integer[] bytea[] bytea bytea "
    "bigint[] bigint[] bigint[] bigint[] bigint[] bigint[] bigint[] bigint[] bytea[]",
)
GIVEN: Final = {
    "own": "_space integer _head bigint _seq bigint _logs bytea",
    "lease": "_claim bigint _release boolean _lease_run bytea _lease_owner bytea _lease_base bytea _lease_seconds float8",
    "items": "_item_spaces bigint[] _item_logs bigint[] _item_ns bigint[] _items bytea[]",
    "kept": "_kept_seqs bigint[] _tasks bytea[] _outcomes bytea[]",
    "records": "_records bytea _first bigint _count integer",
    "segments": "_firsts integer[] _lasts integer[] _segments bytea[]",
    "inner": "_inner_ns bytea _inner_space integer _inner_head bigint _inner_seq bigint _inner_logs bytea",
}
"""What a batch may have, as parameters of `clew_commit`."""

NO: Final = "(select no from {0}clew_thread where name = %b::bytea)"
SPACES: Final = (
    "select ''::bytea, space, head, logs from {0}clew_thread where name = %b::bytea and space is not null "
    f"union all select ns, space, seq, logs from {{0}}clew_head where thread = {NO} order by space"
)
NEWEST: Final = "(select data from {0}clew_segment s where s.thread = t.no order by s.last desc limit 1)"
BYTES: Final = (
    "coalesce(octet_length(tail), 0) + coalesce(i.size, 0) "
    "+ (select coalesce(sum(octet_length(data)), 0) from {0}clew_segment s where s.thread = t.no)"
)
"""About what a thread `t` holds, of which `i` has the items."""
HOLDING: Final = (
    "with sought as (select unnest(%b::bigint[]) seq) select s.last, s.data from {0}clew_segment s "
    f"where s.thread = {NO} and s.last >= (select min(seq) from sought) and s.first <= (select max(seq) from sought) "
    "and exists (select from sought where seq >= s.first and seq <= s.last) "
    "union all select null, tail from {0}clew_thread where name = %b::bytea and tail is not null"
)
"""What may hold checkpoints of these seqs: closed segments, and the tail."""


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
        lines = self._ask(thread, FIND, packed(ns), seq)
        if not lines:
            return Found()
        found = _found(lines[0])
        at = found.head if seq is None else seq
        if found.number is None or at is None:
            return found
        tail, lasts, segments, sought, top, *kept = lines[0][10:]
        read = self._read(thread, found.number, found.seq, tail, lasts, segments, top)
        read.sought += sought or ()
        row = read.own(at, checkpoint_id)
        if row is not None and checkpoint_id in (None, row.id):
            followed = read.followed({at}) if checkpoint_id is not None and at != found.head else {}
            completed(found, row, read, _kept(*kept).get(at, []), followed.get(at))
        return found

    def _read(self, thread: str, number: int, newest: int, tail: bytes | None, lasts: Any, segments: Any, top: Any) -> Read:
        def ask(last: int, first: int, limit: int) -> list[tuple[int, bytes]]:
            return self._ask(thread, SEGMENTS, last, first, limit)

        closed = [*zip(lasts or (), segments or (), strict=True)]
        return Read(number, ask, closed, [] if tail is None else [(newest, tail)], top)

    def items(self, thread: str, ranges: Sequence[tuple[int, int, int]]) -> list[bytes]:
        if not ranges:
            return []
        columns = _columns([(*_log(log), *ends) for log, *ends in ranges], 4)
        return [data for (data,) in self._ask(thread, ITEMS, *columns)]

    def commit(self, batch: Batch) -> bool:
        given = _given(batch)
        sql = _commit(tuple(given), told=batch.events is not None)
        values = (name_of(batch.thread), batch.epoch, *chain.from_iterable(given.values()))
        if batch.events is not None:
            told = events.values_of(name_of(batch.thread), batch.claim or batch.epoch, name_of(batch.events.run), batch.events)
            values = (*told, *values)
        return self._written(batch.thread, sql, *values)

    def _ask(self, thread: str, sql: str, *values: Any) -> list[Any]:
        """With what other runs ask, where this is one of several: what a run waits for while others do."""
        name = name_of(thread)
        return self.groups.ask(name, sql, name, *values)

    def _written(self, thread: str, sql: str, *values: Any) -> Any:
        try:
            return self.groups.ask(name_of(thread), sql, *values)[0][0]
        except Taken as error:
            raise conflict(thread) from error

    def wait(self, thread: str, run: bytes, seconds: float, stop: bool) -> bool:
        return self.ask(WAIT, name_of(thread), run, seconds, stop)[0][0]

    def leave(self, thread: str, run: bytes) -> None:
        self.ask(f"delete from {{0}}clew_waiting where thread = {NO} and run = %b::bytea", name_of(thread), run)

    def scan(self, thread: str, ns: str, before: int | None, limit: int) -> list[Found]:
        wanted = limit // FEW + 1
        while lines := self._ask(thread, SCAN, packed(ns), before, wanted):
            head, number, logs, newest, tail_first, tail, firsts, lasts, segments, bottom, more, top, *kept = lines[0]
            read = self._read(thread, number, newest, tail, lasts, segments, top)
            read.firsts = [*(firsts or ()), tail_first]
            read.bottom, read.at = bottom, head + 1 if before is None else min(before, head + 1)
            rows = read.page(limit)
            if len(rows) == limit or not more:
                beside, followed = _kept(*kept), read.followed({row.seq for row in rows} - {head})
                found = [(row, Found(head=head, number=number, logs=logs)) for row in rows]
                return [completed(one, row, read, beside.get(row.seq, []), followed.get(row.seq)) for row, one in found]
            wanted *= 4
        return []

    def events(self, thread: str, run: str | None, after: int, limit: int) -> EventsFound | None:
        return events.found(self.ask(events.FIND, name_of(thread), None if run is None else name_of(run), after, limit))

    def expire(self, limit: int) -> int:
        return self.ask(events.EXPIRE, limit)[0][0]

    def threads(self) -> list[ThreadRow]:
        sql = (
            f"select name, checkpoints, substring(coalesce(tail, {NEWEST}) for {SIZE}), ({BYTES})::bigint "
            "from {0}clew_thread t left join (select thread, sum(octet_length(data)) size from {0}clew_item group by thread) i "
            "on i.thread = t.no where checkpoints > 0"
        )
        found = [ThreadRow(text_of(name), count, newest_id(data), size) for name, count, data, size in self.ask(sql)]
        return sorted(found, key=lambda row: row.newest, reverse=True)

    def drop(self, thread: str) -> None:
        self.ask(events.DROP, name_of(thread), name_of(thread))

    # -- moving and mending -----------------------------------------------------------------------------------------

    def spaces(self, thread: str) -> list[Space]:
        heads = self.ask(SPACES, name_of(thread), name_of(thread))
        return [Space(unpacked(ns), *rest) for ns, *rest in heads]

    def walk(self, thread: str, after: tuple[int, int], limit: int) -> list[tuple[int, int, bytes]]:
        sql = (
            f"select space, log, n, data from {{0}}clew_item where thread = {NO} "
            "and (space, log, n) > (%b::bigint, %b::bigint, %b::bigint) order by space, log, n limit %b::integer"
        )
        lines = self.ask(sql, name_of(thread), *_log(after[0]), after[1], limit)
        return [(space << 16 | log, n, data) for space, log, n, data in lines]

    def prune(self, pruning: Pruning) -> None:
        ranges = [(*_log(log), *ends) for log, *ends in pruning.ranges]
        items = [(*_log(log), number, data) for log, number, data in pruning.items]
        values = (
            *(name_of(pruning.thread), pruning.epoch, pruning.rows or None, *self._pruned(pruning)),
            *(pruning.spaces or None, *_columns(ranges, 4), *_columns(items, 4)),
        )
        self._written(pruning.thread, PRUNE, *values)

    def _pruned(self, pruning: Pruning) -> tuple[Any, ...]:
        """How many checkpoints go, and what is put in place of which closed segments, and of which tail."""
        changed, gone, count = {row.seq: row for row in pruning.changed}, set(pruning.rows), 0
        lasts, segments, was, tail = list[int](), list[bytes | None](), None, None
        seqs, name = [*changed, *gone], name_of(pruning.thread)
        for last, data in self.ask(HOLDING, seqs, name, name) if seqs else ():
            left, went = without(data, gone, changed)
            count += went
            if left == data:
                continue
            if last is None:
                was, tail = data, left or None
            else:
                lasts.append(last)
                segments.append(left or None)
        return count, lasts or None, segments or None, was, tail

    def weigh(self, thread: str) -> Weight:
        def weighed(what: str, table: str, of: str = "") -> list[Any]:
            return self.ask(f"select {what} from {{0}}clew_{table} where thread = {NO}{of}", name_of(thread))

        sums = "count(*), coalesce(sum(octet_length({})), 0)::bigint"
        logs = weighed(f"space, log, {sums.format('data')}", "item", " group by space, log")
        items = {space << 16 | log: (count, size) for space, log, count, size in logs}
        tail = self.ask("select tail from {0}clew_thread where name = %b::bytea and tail is not null", name_of(thread))
        sizes = [head.length for (data,) in (*tail, *weighed("data", "segment")) for head in heads(data)]
        (kept,) = weighed(sums.format("body"), "kept")
        return Weight(items, (len(sizes), sum(sizes)), kept, self.ask(events.WEIGH, name_of(thread))[0])

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
    row, lease = batch.row, batch.lease
    if batch.logs is not None and not batch.ns:
        found["own"] = batch.number, batch.head, row and row.seq, batch.logs
    if batch.claim or batch.release or lease:
        leased = (lease.run, name_of(lease.owner), lease.base, lease.seconds) if lease else (None,) * 4
        found["lease"] = batch.claim, batch.release, *leased
    if batch.items:
        found["items"] = _columns([(*_log(log), n, data) for log, n, data in batch.items], 4)
    if batch.kept:
        kept = {(outcome.seq, outcome.task): outcome for outcome in batch.kept}
        found["kept"] = _columns([(seq, name_of(task), body) for seq, task, body in kept.values()], 3)
    if row is not None:
        found |= records_of(batch.number, [*batch.history, row])
    if batch.logs is not None and batch.ns:
        found["inner"] = packed(batch.ns), batch.number, batch.head, row and row.seq, batch.logs
    return found


def _found(line: Sequence[Any]) -> Found:
    """How a namespace stands, by a line of `clew_find`."""
    epoch, last, spaces, head, number, logs, run, owner, base, seconds, *_ = line
    lease = None if run is None else Lease(run, text_of(owner), base, seconds)
    return Found(epoch, last, spaces, head, number, logs or b"", lease)


def _kept(seqs: Sequence[int] | None, tasks: Sequence[bytes], outcomes: Sequence[bytes]) -> dict[int, list[Kept]]:
    """Outcomes, by the checkpoints beside which they stand."""
    found: dict[int, list[Kept]] = {}
    for seq, task, outcome in zip(seqs or (), tasks or (), outcomes or (), strict=True):
        found.setdefault(seq, []).append(Kept(seq, text_of(task), outcome))
    return found


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
