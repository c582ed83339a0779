"""Items kept in PostgreSQL. One object serves both faces, many threads, and many processes on many machines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Self

from clew.clients.patience import Patience
from clew.clients.postgres import Connection, Connections, Lost, User
from clew.clients.postgres_tables import Tables, migrations_of, printed
from clew.store.items import IndexConfig, TTLConfig
from clew.store.keeping import Store
from clew.store.storage import Namespace, Place, Put, Row, Scan, Vector, conflict

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool, ConnectionPool

MIGRATIONS: Final = migrations_of("clew.store.postgres")
USER: Final = User("PostgresStore", "store", "clew_store_")
CHUNK: Final = 64  # rows that are read at once
VECTORS: Final = 512
REMEMBERED: Final = 600.0  # seconds for which a write that was done is known, if it should be asked for again
INDEXED: Final = 1000  # bytes of a namespace that its index has
NOW: Final = "(extract(epoch from now()) * 1000000)::bigint"
ALIVE: Final = f"(expires is null or expires > {NOW})"
ROW: Final = "ns, key, value, created, updated, ttl, expires"
ORDER: Final = "order by updated desc, key, ns limit %b::bigint"
WRITE: Final = (
    "select nth, version from {0}clew_store_write(%b::bytea, %b::float8, %b::bytea[], %b::bytea[], %b::bytea[], %b::bytea[], "
    "%b::bytea[], %b::bigint[], %b::bigint[])"
)


class PostgresStorage:
    """Rows in the tables of one schema. Every write is one call of a function, which is a transaction."""

    blocking = True

    def __init__(self, connections: Connections, schema: str, patience: float) -> None:
        self.tables = Tables(connections, schema, MIGRATIONS)
        self.patience = Patience((Lost,), patience, "What was put before is safe.")

    def setup(self) -> None:
        self.patience.call(self.tables.set_up)

    def close(self) -> None:
        self.tables.connections.close()

    def _ask(self, sql: str, *values: Any) -> list[Any]:
        return self.patience.call(self.tables.ask, sql, *values)

    # -- reading ----------------------------------------------------------------------------------------------------

    def get(self, places: Sequence[Place]) -> dict[Place, Row]:
        sql = f"select {ROW} from {{0}}clew_store_item where place = any(%b::bytea[]) and {ALIVE}"
        rows = map(_row, self._ask(sql, [_id(place) for place in places]))
        return {row.place: row for row in rows}

    def scan(self, scan: Scan) -> Iterator[Row]:
        if scan.most is not None and scan.most <= CHUNK:
            return map(_row, self._in_order(scan, ROW))
        numbers = [no for no, *_ in self._in_order(scan, "no, updated, key, ns")]
        return (row for at in range(0, len(numbers), CHUNK) for row in self._rows(numbers[at : at + CHUNK]))

    def _in_order(self, scan: Scan, columns: str) -> list[Any]:
        """One namespace is read along its index, those below it are sorted."""
        parts, values = list[str](), list[Any]()
        for where, given in _within(scan.prefix):
            parts.append(f"(select {columns} from {{0}}clew_store_item where {where} and {ALIVE} {ORDER})")
            values += (*given, scan.most)
        return self._ask(f"select * from ({' union all '.join(parts)}) item {ORDER}", *values, scan.most)

    def _rows(self, numbers: list[int]) -> Iterator[Row]:
        sql = f"select no, {ROW} from {{0}}clew_store_item where no = any(%b::bigint[]) and {ALIVE}"
        found = {no: _row(row) for no, *row in self._ask(sql, numbers)}
        return (found[no] for no in numbers if no in found)

    def namespaces(self, prefix: Namespace) -> Iterator[Namespace]:
        return (_labels(ns) for (ns,) in self._all("distinct ns", prefix))

    def vectors(self, prefix: Namespace) -> Iterator[Vector]:
        numbers = [no for (no,) in self._all("no", prefix, " and vectors is not null")]
        sql = (
            "select ns, key, vectors from {0}clew_store_item where no = any(%b::bigint[]) and vectors is not null "
            f"and {ALIVE}"
        )
        for at in range(0, len(numbers), VECTORS):
            for ns, key, data in self._ask(sql, numbers[at : at + VECTORS]):
                yield Vector(Place(_labels(ns), key.decode()), data)

    def near(self, prefix: Namespace, vector: bytes, most: int) -> None:
        return None

    def _all(self, columns: str, prefix: Namespace, more: str = "") -> list[Any]:
        return [
            row
            for where, given in _within(prefix)
            for row in self._ask(f"select {columns} from {{0}}clew_store_item where {where} and {ALIVE}{more}", *given)
        ]

    # -- writing ----------------------------------------------------------------------------------------------------

    def write(self, puts: Sequence[Put]) -> None:
        token = os.urandom(12)  # of this write, however often it is asked for
        places = [put.place for put in puts]
        values = (
            [_id(place) for place in places],
            [_ns(place.namespace) for place in places],
            [place.key.encode() for place in places],
            [put.value for put in puts],
            [b"".join(put.vectors) or None for put in puts],
            [put.ttl for put in puts],
            [put.if_version for put in puts],
        )
        if failed := self._ask(WRITE, token, max(REMEMBERED, 2 * self.patience.seconds), *values):
            where: tuple[int, int] = failed[0]  # the number of a put, and the version that is there
            raise conflict(puts[where[0] - 1], where[1])

    def refresh(self, places: Sequence[Place]) -> None:
        self._ask(
            f"update {{0}}clew_store_item set expires = {NOW} + ttl * 1000 where no in (select no from {{0}}clew_store_item "
            f"where place = any(%b::bytea[]) and {ALIVE} and ttl is not null order by place for update)",
            [_id(place) for place in places],
        )

    def sweep(self) -> int:
        sql = (
            "with gone as (delete from {0}clew_store_item where no in (select no from {0}clew_store_item "
            f"where expires <= {NOW} order by place for update skip locked) returning 1) select count(*) from gone"
        )
        return self._ask(sql)[0][0]


def _row(row: Sequence[Any]) -> Row:
    ns, key, *rest = row
    return Row(Place(_labels(ns), key.decode()), *rest)


def _ns(namespace: Namespace) -> bytes:
    return ".".join(namespace).encode()


def _labels(ns: bytes) -> Namespace:
    return tuple(ns.decode().split("."))


def _id(place: Place) -> bytes:
    """What stands for a place: no label has NUL."""
    return blake2b(_ns(place.namespace) + b"\0" + place.key.encode(), digest_size=16).digest()


def _within(prefix: Namespace) -> list[tuple[str, tuple[bytes, ...]]]:
    """Conditions, each with its values, that together hold for the namespaces that begin so, and never two of them for one.
    What of a namespace the index has finds them, the whole of it decides."""
    if not prefix:
        return [("true", ())]
    ns = _ns(prefix)
    start, end = ns + b".", ns + b"/"  # "/" is what comes after "."
    short = f"substring(ns for {INDEXED})"
    return [
        (f"{short} = %b::bytea and ns = %b::bytea", (ns[:INDEXED], ns)),
        (
            f"{short} between %b::bytea and %b::bytea and ns > %b::bytea and ns < %b::bytea",
            (start[:INDEXED], end[:INDEXED], start, end),
        ),
    ]


class PostgresStore(Store):
    """Keeps items in PostgreSQL 12 or newer, in tables whose names begin with `clew_store_`.

    A connection that is lost is opened anew and what was asked is asked again, a batch as well: it is never done twice. It
    works behind PgBouncer in any mode. Search by meaning goes through every vector below its prefix.

    Args:
        conn: a connection string, as in `"postgresql://user:password@localhost/database"`; or a connection or a pool of
            psycopg 3, which is left open. Those of the asyncio kind say where to connect to, and are not used themselves.
        schema: where the tables are, or are made. pool_size: how many connections there may be.
        timeout: seconds to wait for a free connection, and for a server that says nothing.
        patience: seconds for which a database that is away is tried again. index, ttl: see `Store`.

    Raises:
        DatabaseError: on use: the server cannot be reached, lets nobody in, or has no tables and the role may make none.
    """

    def __init__(
        self,
        conn: str | Connection | AsyncConnection[Any] | ConnectionPool[Any] | AsyncConnectionPool[Any],
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        schema: str = "public",
        pool_size: int = 10,
        timeout: float = 30.0,
        patience: float = 30.0,
    ) -> None:
        connections = Connections(conn, USER, size=pool_size, timeout=timeout)
        super().__init__(PostgresStorage(connections, schema, patience), index=index, ttl=ttl)

    @classmethod
    def from_conn_string(cls, conn_string: str, *, pipeline: bool = False, **options: Any) -> Self:
        """A store of this database, to be used as `with PostgresStore.from_conn_string(…) as store:` (or `async with`).

        `pipeline` changes nothing: a batch of puts is one round trip anyhow. `options` are those of the class.
        """
        return cls(conn_string, **options)

    @staticmethod
    def migrations(schema: str = "public") -> str:
        """The SQL that makes the tables, for a role that may, where the one that uses the store may not."""
        return printed(MIGRATIONS, schema)


AsyncPostgresStore = PostgresStore
