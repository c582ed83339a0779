"""One statement to PostgreSQL over libpq's own call: a commit spends more time in a cursor than on its way.

A statement is kept as the server takes it, with the kinds of its parameters, each of which is written out in binary. What comes
back is read by psycopg, as a cursor would.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import count
from re import ASCII, compile
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, Format

PARAMETER: Final = compile(r"%b::(\w+(?:\[\])?)", ASCII)
Encoder = Callable[[Any], bytes]


class Statement(NamedTuple):
    """What is sent, and what writes each parameter."""

    sql: bytes
    encoders: list[Encoder]
    formats: list[Format]


def _text(value: str) -> bytes:
    return value.encode()


def _array(oid: int, encode: Encoder, values: Sequence[Any]) -> bytes:
    """An array of one dimension, as `array_send` of PostgreSQL writes it: dimensions, whether there are nulls, type, then the
    length and lower bound of the dimension, and the length and bytes of each element."""
    written = [None if value is None else encode(value) for value in values]
    parts = [struct.pack(">iii", int(bool(written)), None in written, oid)]
    if written:
        parts.append(struct.pack(">ii", len(written), 1))
    for data in written:
        parts += [NULL] if data is None else [_int4(len(data)), data]
    return b"".join(parts)


NULL: Final = b"\xff\xff\xff\xff"
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
    return Statement(sent.encode(), [ENCODERS[kind] for kind in kinds], [Format.BINARY] * len(kinds))


def rows(connection: psycopg.Connection[Any], sql: str, values: Sequence[Any] = ()) -> list[Any]:
    """What one statement returns. Values go and come in binary, whatever rows the connection makes for others.

    Raises:
        psycopg.Error: the server refuses it, or the connection is lost.
    """
    pgconn, known = connection.pgconn, statement(sql)
    written = [None if value is None else encode(value) for encode, value in zip(known.encoders, values, strict=True)]
    result = pgconn.exec_params(known.sql, written, None, known.formats, Format.BINARY)
    if result.status == ExecStatus.TUPLES_OK:
        reader = Transformer(connection)
        reader.set_pgresult(result, format=Format.BINARY)
        return reader.load_rows(0, result.ntuples, tuple)
    if result.status == ExecStatus.COMMAND_OK:
        return []
    if pgconn.status == ConnStatus.BAD and result.error_field(DiagnosticField.SQLSTATE) is None:
        raise psycopg.OperationalError(result.error_message.decode(connection.info.encoding, "replace"))
    raise error_from_result(result, connection.info.encoding)
