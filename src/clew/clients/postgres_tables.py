"""Tables in one schema of PostgreSQL: made and changed by numbered migrations, and asked one statement at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final, TypeVar

from clew.clients.postgres import Connection, Connections
from clew.clients.postgres_wire import rows, rows_of_all
from clew.errors import DatabaseError

T = TypeVar("T")
SETUP: Final = 0x436C6577  # the lock that setting up takes: "Clew" in ASCII


def migrations_of(package: str) -> tuple[str, ...]:
    """The `.sql` files of a package's folder `sql`, in their order. They write `public.` where the schema is to stand."""
    return tuple(file.read_text() for file in sorted((files(package) / "sql").iterdir(), key=lambda file: file.name))


class Tables:
    """The tables that these migrations make; `<user.tables>migration` has the numbers of those that were run."""

    def __init__(self, connections: Connections, schema: str, migrations: Sequence[str]) -> None:
        self.connections = connections
        self.schema = schema
        self._migrations = migrations
        self._prefix = quoted(schema).replace("%", "%%") + "."
        self._is_ready = False
        self._named = lru_cache(512)(self._name)

    def set_up(self) -> None:
        """Makes the tables where they are missing, and runs the migrations that have not been. Ten may do so at once."""
        self.connections.call(self._set_up)

    def _set_up(self, connection: Connection) -> None:
        if self._format(connection) < len(self._migrations):
            with connection.transaction():
                connection.execute(f"select pg_advisory_xact_lock({SETUP})".encode())
                if not rows(connection, "select 1 from pg_namespace where nspname = %b::text", (self.schema,)):
                    connection.execute(f"create schema {quoted(self.schema)}".encode())
                for migration in self._migrations[self._format(connection) :]:
                    connection.execute(_placed(migration, self.schema).encode())
        self._is_ready = True

    def _format(self, connection: Connection) -> int:
        """How many migrations have been run."""
        table = f"{self.connections.user.tables}migration"
        if rows(connection, "select to_regclass(%b::text)", (f"{quoted(self.schema)}.{table}",)) == [(None,)]:
            return 0
        ((found,),) = rows(connection, f"select coalesce(max(no), 0) from {self._prefix}{table}", ())
        if found > len(self._migrations):
            raise DatabaseError(
                f"The tables in schema {self.schema!r} are of a newer Clew (format {found}, this one has "
                f"{len(self._migrations)}): upgrade it."
            )
        return found

    def ask(self, sql: str, *values: Any) -> list[Any]:
        """One statement, its rows; `{}` stands for the schema. Makes the tables first, where they are not known to be there."""
        return self.connections.call(self._rows, rows, self._named(sql), values)

    def ask_all(self, asked: Sequence[tuple[str, Sequence[Any]]]) -> list[list[Any]] | int:
        """Several in one transaction and round trip, the rows of each; or the place of one that is refused: none is done."""
        return self.connections.call(self._rows, rows_of_all, [(self._named(sql), values) for sql, values in asked])

    def _rows(self, connection: Connection, read: Callable[..., T], *args: Any) -> T:
        if not self._is_ready:
            self._set_up(connection)
        return read(connection, *args)

    def _name(self, sql: str) -> str:
        return sql.format(self._prefix)


def printed(migrations: Sequence[str], schema: str) -> str:
    """The SQL that makes the tables, in one transaction."""
    made = "" if schema == "public" else f"create schema if not exists {quoted(schema)};\n\n"
    return "begin;\n\n" + made + "\n".join(_placed(migration, schema) for migration in migrations) + "\ncommit;\n"


def quoted(schema: str) -> str:
    return '"' + schema.replace('"', '""') + '"'


def _placed(migration: str, schema: str) -> str:
    return migration.replace("public.", f"{quoted(schema)}.")
