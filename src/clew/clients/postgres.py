"""Connections to PostgreSQL: opened when they are needed, each lent to one thread at a time; and what is said where that fails.

A session keeps nothing between two calls that the next one needs (no settings, no locks; see `postgres_wire` for what it has
prepared), so that PgBouncer may lend another one each time. Connections are made by the thread that needs one: so it hears at
once why it gets none.
"""

from __future__ import annotations

import inspect
import os
import re
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar, cast

from clew.errors import DatabaseError, MissingDependency

try:
    import psycopg
    from psycopg import errors
    from psycopg.conninfo import conninfo_to_dict, make_conninfo
    from psycopg.pq import PipelineStatus, TransactionStatus
except ImportError as error:  # without the driver, or without libpq
    raise MissingDependency(f"PostgreSQL needs psycopg: `pip install 'clew[postgres]'` ({error}).") from error

Connection: TypeAlias = "psycopg.Connection[Any]"
T = TypeVar("T")

MENDS: Final = re.compile(r"starting up|shutting down|recovery|too many|connection slots|no more connections|try again|"
                          r"cannot connect|not accepting|timeout", re.IGNORECASE)  # fmt: skip
"""What a server says to a new connection that it takes later."""

REFUSED: Final = re.compile(r"failed: (?:\w+):  (.*)", re.DOTALL)
"""The server has answered, and does not want us: libpq hands its words on, and not its code."""

OWN: Final = {"row_factory", "cursor_factory", "autocommit", "prepare_threshold"}
"""What a connection of our own has in its own way."""

_INHERITED: Final[list[Any]] = []  # a parent's connections in a forked child: neither used nor closed


class Lost(Exception):
    """A connection was lost, or is not to be had just now: what was asked may be asked again."""


class Taken(Exception):
    """What was to be written is there already, by another run; nothing was written."""


class User(NamedTuple):
    """Who uses connections, for messages: its class, and what one calls such an object; the first word of its tables' names."""

    type: str
    noun: str
    tables: str


class Address(NamedTuple):
    """Where to connect to: a connection string, and psycopg's further arguments."""

    conninfo: str
    options: dict[str, Any]


class Connections:
    """At most so many connections, opened on first use, and opened anew in a forked child, which must not use its parent's.

    Args:
        source: a connection string; a connection, which is used and not closed here, and opened anew where it is lost; a pool
            of psycopg's, which lends its own. Those of the asyncio kind tell where to connect to and are not used.
        size: how many of our own. timeout: seconds to wait for one, and for a server that says nothing.

    Raises:
        TypeError: `source` is something else. ValueError: it is no connection string, or `size` is below 1.
    """

    def __init__(self, source: Any, user: User, *, size: int, timeout: float) -> None:
        if size < 1:
            raise ValueError(f"pool_size is {size!r}: expected how many connections there may be, 1 at least.")
        self.user = user
        self.timeout = timeout
        self._address, given, self._pool = _read(source, user)
        self.size = 1 if given is not None else size
        self._given = given
        self._free: list[Connection] = [given] if given is not None else []
        self._room = _room(self.size)
        self._pid = os.getpid()
        self._closed = False
        self.known = False  # whether the server has ever taken us
        # let go without `close`, they are closed; not at exit, when daemon threads may still be in them
        weakref.finalize(self, _let_go, self._free, given, self._pid).atexit = False

    def call(self, fn: Callable[..., T], /, *args: Any) -> T:
        """What `fn` makes of a connection in autocommit, which it has to itself, and `args`.

        Raises:
            Lost: the connection was lost, or the server takes none just now. DatabaseError: it never will.
        """
        self._forked()
        if self._closed:
            raise DatabaseError(f"The {self.user.noun} is closed: make a new one.")
        try:
            if self._pool is not None:
                with self._pool.connection(timeout=self.timeout) as connection, self._autocommit(connection):
                    self.known = True
                    return fn(connection, *args)
            connection = self._lent()
            try:
                if connection is not self._given:  # it was made so
                    return fn(connection, *args)
                with self._autocommit(connection):
                    return fn(connection, *args)
            finally:
                self._back(connection)
        except psycopg.Error as error:
            raise self._explained(error) from error

    def close(self) -> None:
        self._forked()
        self._closed = True
        self._drop_free()

    # -- ours -------------------------------------------------------------------------------------------------------

    def _lent(self) -> Connection:
        try:
            self._room.get(timeout=self.timeout)
        except Empty:
            raise DatabaseError(
                f"All {self.size} connections were in use for {self.timeout:g} s: pass a larger `pool_size`, or a longer "
                "`timeout`."
            ) from None
        try:
            connection = self._taken()
        except BaseException:
            self._room.put(None)
            raise
        self.known = True
        return connection

    def _back(self, connection: Connection) -> None:
        ours = connection is not self._given
        try:
            if connection.pgconn.transaction_status == TransactionStatus.IDLE and not (self._closed and ours):
                self._free.append(connection)
            elif ours or connection.closed:
                connection.close()
                self._drop_free()  # what ended this one has ended them as well, most likely
            else:
                self._free.append(connection)
        finally:
            self._room.put(None)

    def _taken(self) -> Connection:
        try:
            connection = self._free.pop()
        except IndexError:
            return self._connected()
        if connection is self._given and connection.closed:
            if not connection.broken:
                self._free.append(connection)
                raise DatabaseError(
                    f"The connection that the {self.user.noun} was given is closed: leave it open for as long as that."
                )
            return self._connected()
        return connection

    def _connected(self) -> Connection:
        conninfo, options = self._address()
        seconds = max(2, round(self.timeout))  # libpq counts no fewer
        patient = {"connect_timeout": seconds, "tcp_user_timeout": 1000 * seconds, "application_name": "clew"}
        patient = {key: value for key, value in patient.items() if key not in conninfo_to_dict(conninfo, **options)}
        kwargs: dict[str, Any] = patient | options | {"autocommit": True, "prepare_threshold": None}
        return psycopg.connect(conninfo, **kwargs)

    def _drop_free(self) -> None:
        while self._free:
            connection = self._free.pop()
            if connection is not self._given:
                connection.close()

    def _forked(self) -> None:
        """In a forked child, leaves the connections to the parent, and connects to where they lead."""
        if self._pid == os.getpid():
            return
        if self._given is not None or self._pool is not None:
            self._free.append(self._given or cast("Any", self._pool))
        _INHERITED.extend(self._free)
        self._given = self._pool = None
        self._free.clear()
        self._room = _room(self.size)
        self._pid = os.getpid()

    # -- of a pool that was given -----------------------------------------------------------------------------------

    @contextmanager
    def _autocommit(self, connection: Connection) -> Generator[None]:
        """A connection of somebody else's may have transactions of its own, or a pipeline."""
        if connection.pgconn.pipeline_status != PipelineStatus.OFF:
            raise DatabaseError(
                f"The connection that the {self.user.noun} was given is in a pipeline: leave the pipeline first. A commit is "
                "one round trip without it."
            )
        if connection.autocommit:
            yield
            return
        if connection.info.transaction_status != TransactionStatus.IDLE:
            raise DatabaseError(
                f"The connection that the {self.user.noun} was given is in the middle of a transaction: end it, or make the "
                "connection with `autocommit=True`."
            )
        connection.autocommit = True
        try:
            yield
        finally:
            if not connection.closed:
                connection.autocommit = False

    # -- what is said -----------------------------------------------------------------------------------------------

    def _explained(self, error: psycopg.Error) -> Exception:
        user, text = self.user, " ".join(str(error).split())
        if isinstance(error, errors.UniqueViolation):
            return Taken(text)
        if _is_lost(error, known=self.known):
            return Lost(text)
        if isinstance(error, errors.UndefinedTable | errors.UndefinedFunction | errors.InvalidSchemaName):
            return DatabaseError(
                f"Clew's tables are missing here ({text}): call `{user.noun}.setup()` once, or have the SQL run that "
                f"`{user.type}.migrations()` returns. If they are in a schema of their own, name it: `schema='…'`."
            )
        if isinstance(error, errors.InsufficientPrivilege):
            return DatabaseError(
                f"The role may not do this ({text}). It needs `usage` on the schema, `select, insert, update, delete` on the "
                f"`{user.tables}` tables; to make them as well, `create` on the schema, or have a role that may run the SQL "
                f"that `{user.type}.migrations()` returns."
            )
        if isinstance(error, errors.ReadOnlySqlTransaction):
            return DatabaseError(
                f"The server can only be read ({text}): name the primary, or add `target_session_attrs=read-write` to the "
                "connection string."
            )
        if type(error).__name__ == "PoolClosed":
            return DatabaseError(
                f"The {user.noun}'s pool is not open ({text}): open it before, and close it after the {user.noun} is used."
            )
        if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
            found = REFUSED.search(str(error))
            return DatabaseError(
                f"PostgreSQL does not let us in ({' '.join(found[1].split()) if found else text}): check the user, the "
                "password and the database in the connection string; `createdb` makes one that is missing."
            )
        return DatabaseError(f"PostgreSQL cannot do this ({text}).")


def _is_lost(error: psycopg.Error, *, known: bool) -> bool:
    """Whether asking again may help. `known`: this server has let us in before, so what it says at the door will pass."""
    state = error.sqlstate
    if state is not None:  # connections, what an operator ended, too many connections, what was rolled back
        return state[:2] == "08" or state in ("57P01", "57P02", "57P03", "57P05", "53300", "40001", "40P01", "25P03")
    if isinstance(error, psycopg.InterfaceError):
        return True
    if not isinstance(error, psycopg.OperationalError) or type(error).__name__ == "PoolClosed":
        return False
    refused = REFUSED.search(str(error))
    return refused is None or known or MENDS.search(refused[1]) is not None


def _read(source: Any, user: User) -> tuple[Callable[[], Address], Connection | None, Any]:
    """Where a source leads, the connection that it is, and the pool that it is."""
    if isinstance(source, str):
        try:
            conninfo_to_dict(source)
        except psycopg.ProgrammingError as error:
            shown = re.sub(r"(//[^:@/]*:|password=)[^@\s]*", r"\1…", source)
            raise ValueError(
                f"{shown!r} is no connection string ({error}): expected one as in 'postgresql://user@localhost/database'."
            ) from error
        return lambda: Address(source, {}), None, None
    if isinstance(source, psycopg.Connection | psycopg.AsyncConnection):
        found = cast("Any", source)
        address = Address(make_conninfo(**(found.info.get_parameters() | {"password": found.info.password or None})), {})
        return lambda: address, found if isinstance(source, psycopg.Connection) else None, None
    if all(hasattr(source, name) for name in ("conninfo", "kwargs", "getconn")):
        lends = not inspect.iscoroutinefunction(source.getconn)
        return lambda: _address_of(source, user), None, source if lends else None
    raise TypeError(
        f"{user.type} was given {source!r}: expected a connection string, as in 'postgresql://user@localhost/database', or a "
        "connection or a pool of psycopg 3."
    )


def _room(size: int) -> SimpleQueue[None]:
    """A token for each connection: it is taken and given back in a third of a semaphore's time."""
    room = SimpleQueue[None]()
    for _ in range(size):
        room.put(None)
    return room


def _address_of(pool: Any, user: User) -> Address:
    conninfo: Any = pool.conninfo() if callable(pool.conninfo) else pool.conninfo
    options: Any = pool.kwargs() if callable(pool.kwargs) else pool.kwargs or {}
    if inspect.isawaitable(conninfo) or inspect.isawaitable(options):
        raise TypeError(
            f"The pool's `conninfo` or `kwargs` must be awaited: give the {user.noun} a pool that need not ask a loop."
        )
    return Address(conninfo, {key: value for key, value in options.items() if key not in OWN})


def _let_go(free: list[Connection], given: Connection | None, pid: int) -> None:
    if pid != os.getpid():
        _INHERITED.extend(free)
        return
    for connection in free:
        if connection is not given:
            connection.close()
