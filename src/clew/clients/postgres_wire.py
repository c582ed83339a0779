"""One statement to PostgreSQL over libpq's own call: a commit spends more time in a cursor than on its way.

A statement is kept as the server takes it, with the kinds of its parameters, each of which is written out in binary. What comes
back is read by psycopg, as a cursor would.

What a connection asks again and again is prepared, under a name that is the statement's own: behind PgBouncer, which may lend a
session in which another has prepared it, or one in which nobody has, it is found there, or is asked as before from then on.
"""

from __future__ import annotations

import selectors
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from hashlib import blake2b
from itertools import count
from re import ASCII, compile
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

PARAMETER: Final = compile(r"%b::(\w+(?:\[\])?)", ASCII)
Encoder = Callable[[Any], bytes]

OFTEN: Final = 5
"""So often a connection asks a statement before it is worth a round trip to prepare it."""

KNOWN: Final = b"42P05"
FORGOTTEN: Final = (b"26000", b"0A000")
"""What a session says that has a statement of this name already; and one that has none, or one from before a migration."""

POLL: Final = getattr(selectors, "PollSelector", selectors.SelectSelector)  # `select` knows a thousand files, `epoll` makes one

LOCKED: Final = "100ms"
LOCKS: Final = ("select set_config('lock_timeout', %b::text, true)", (LOCKED,))


class Statement(NamedTuple):
    """What is sent, the name under which it is prepared, and what writes each parameter."""

    sql: bytes
    name: bytes
    encoders: list[Encoder]
    formats: list[Format]

    def written(self, values: Sequence[Any]) -> Any:
        return [None if value is None else encode(value) for encode, value in zip(self.encoders, values, strict=True)]


def _text(value: str) -> bytes:
    return value.encode()


def _array(oid: int, encode: Encoder, values: Sequence[Any]) -> bytes:
    """An array of one dimension, as `array_send` of PostgreSQL writes it: dimensions, whether there are nulls, type, then the
    length and lower bound of the dimension, and the length and bytes of each element."""
    if not values:
        return _start(0, 0, oid)
    if len(values) == 1 and values[0] is not None:  # as most are
        data = encode(values[0])
        return _single(1, 0, oid, 1, 1, len(data)) + data
    nulls, parts = False, [_start(1, 0, oid), _int4(len(values)), ONE]
    for value in values:
        if value is None:
            nulls = True
            parts.append(NULL)
        else:
            data = encode(value)
            parts += (_int4(len(data)), data)
    if nulls:
        parts[0] = _start(1, 1, oid)
    return b"".join(parts)


NULL: Final = b"\xff\xff\xff\xff"
ONE: Final = b"\0\0\0\1"
_start: Final = struct.Struct(">iii").pack
_single: Final = struct.Struct(">iiiiii").pack
_int4: Final = struct.Struct(">i").pack
_int8: Final = struct.Struct(">q").pack
_float8: Final = struct.Struct(">d").pack
_bool: Final = struct.Struct(">?").pack

ENCODERS: Final[dict[str, Encoder]] = {
    "bytea": bytes,
    "text": _text,
    "integer": _int4,
    "bigint": _int8,
    "float8": _float8,
    "boolean": _bool,
    "bytea[]": partial(_array, 17, bytes),
    "text[]": partial(_array, 25, _text),
    "integer[]": partial(_array, 23, _int4),
    "bigint[]": partial(_array, 20, _int8),
}


@lru_cache(512)
def statement(sql: str) -> Statement:
    """A statement in which `%b::kind` stands for a parameter, as the server takes it."""
    kinds = PARAMETER.findall(sql)
    numbers = count(1)
    sent = PARAMETER.sub(lambda found: f"${next(numbers)}::{found[1]}", sql).replace("%%", "%")
    name = f"clew_{blake2b(sent.encode(), digest_size=12).hexdigest()}"
    return Statement(sent.encode(), name.encode(), [ENCODERS[kind] for kind in kinds], [Format.BINARY] * len(kinds))


class Session:
    """What a connection has asked, and what it has prepared of it.

    Attributes:
        prepares: whether it prepares anything; not once a statement was gone that it had prepared.
    """

    __slots__ = ("_asked", "_prepared", "prepares", "reader")

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.prepares = True
        self.reader = Transformer(connection)
        self._asked: dict[bytes, int] = {}
        self._prepared: set[bytes] = set()

    def has(self, pgconn: PGconn, known: Statement) -> bool:
        """Whether a statement is prepared, which it is by now if it is asked often."""
        if known.name in self._prepared:
            return self.prepares
        asked = self._asked[known.name] = self._asked.get(known.name, 0) + 1
        if asked <= OFTEN or not self.prepares:
            return False
        result = pgconn.prepare(known.name, known.sql)
        self.prepares = result.status == ExecStatus.COMMAND_OK or _state(result) == KNOWN
        self._prepared.add(known.name)
        return self.prepares

    def rows(self, result: PGresult) -> list[Any]:
        self.reader.set_pgresult(result, format=Format.BINARY)
        found = self.reader.load_rows(0, result.ntuples, tuple)
        self.reader.set_pgresult(None)  # it may be large
        return found


_sessions: Final[WeakKeyDictionary[psycopg.Connection[Any], Session]] = WeakKeyDictionary()


def rows(connection: psycopg.Connection[Any], sql: str, values: Sequence[Any] = ()) -> list[Any]:
    """What one statement returns. Values go and come in binary, whatever rows the connection makes for others.

    Raises:
        psycopg.Error: the server refuses it, or the connection is lost.
    """
    pgconn, known, session = connection.pgconn, statement(sql), _session(connection)
    written = known.written(values)
    prepared = session.has(pgconn, known)
    if prepared:
        result = pgconn.exec_prepared(known.name, written, known.formats, Format.BINARY)
    else:
        result = pgconn.exec_params(known.sql, written, None, known.formats, Format.BINARY)
    if result.status == ExecStatus.TUPLES_OK:
        return session.rows(result)
    if prepared and _state(result) in FORGOTTEN:
        session.prepares = False
        return rows(connection, sql, values)
    if result.status == ExecStatus.COMMAND_OK:
        return []
    _must_be_open(connection, result)
    raise error_from_result(result, connection.info.encoding)


def rows_of_all(connection: psycopg.Connection[Any], asked: Sequence[tuple[str, Sequence[Any]]]) -> list[list[Any]] | int:
    """What several statements return, in one transaction and one round trip; or the place of one that the server refuses, or
    that has waited `LOCKED` for a lock: none is done.

    Raises:
        psycopg.Error: the connection is lost.
    """
    pgconn, session = connection.pgconn, _session(connection)
    sent = [(known := statement(sql), known.written(values), session.has(pgconn, known)) for sql, values in [LOCKS, *asked]]
    pgconn.nonblocking = 1  # what blocks in libpq here holds up every thread
    pgconn.enter_pipeline_mode()
    try:
        for known, written, prepared in sent:
            if prepared:
                pgconn.send_query_prepared(known.name, written, known.formats, Format.BINARY)
            else:
                pgconn.send_query_params(known.sql, written, None, known.formats, Format.BINARY)
        pgconn.pipeline_sync()
        while pgconn.flush():
            if _ready(pgconn, EVENT_READ | EVENT_WRITE) & EVENT_READ:
                pgconn.consume_input()
        results = [result for _ in sent for result in _results(pgconn)]
        _results(pgconn)  # that of the sync
    finally:
        if pgconn.status == ConnStatus.OK:
            pgconn.exit_pipeline_mode()
            pgconn.nonblocking = 0
    for place, result in enumerate(results[1:]):
        if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            _must_be_open(connection, result)
            session.prepares = session.prepares and _state(result) not in FORGOTTEN
            return place
    return [session.rows(result) if result.status == ExecStatus.TUPLES_OK else [] for result in results[1:]]


def _results(pgconn: PGconn) -> list[PGresult]:
    """Of the next that was sent."""
    found: list[PGresult] = []
    while True:
        while pgconn.is_busy():
            _ready(pgconn, EVENT_READ)
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            return found
        found.append(result)
        if result.status == ExecStatus.PIPELINE_SYNC:
            return found


def _ready(pgconn: PGconn, events: int) -> int:
    """Waits until the connection may be read from, or written to."""
    with POLL() as waits:
        waits.register(pgconn.socket, events)
        return waits.select()[0][1]


def _must_be_open(connection: psycopg.Connection[Any], result: PGresult) -> None:
    if connection.pgconn.status == ConnStatus.BAD and _state(result) is None:
        raise psycopg.OperationalError(result.error_message.decode(connection.info.encoding, "replace"))


def _session(connection: psycopg.Connection[Any]) -> Session:
    return _sessions.get(connection) or _sessions.setdefault(connection, Session(connection))


def _state(result: PGresult) -> bytes | None:
    return result.error_field(DiagnosticField.SQLSTATE)
