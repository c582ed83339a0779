"""Items kept in a SQLite file. One object serves both faces, many threads, and many processes on one file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import groupby
from typing import Any, Final, Literal, Self

from clew.sqlite_file import Kind, Source, SqliteFile
from clew.store.items import IndexConfig, TTLConfig
from clew.store.keeping import Store
from clew.store.storage import Namespace, Place, Put, Row, Scan, Vector, conflict

CHUNK: Final = 64  # rows that are read at once: others get their turn in between
MANY: Final = 512  # and items whose vectors are
ALIVE: Final = "(expires is null or expires > ?)"
KIND: Final = Kind(
    name="store",
    application=0x436C6573,  # "Cles" in ASCII
    migrations=tuple(
        tuple(file.read_text().split(";\n"))
        for file in sorted((files("clew.store.sqlite") / "sql").iterdir(), key=lambda file: file.name)
    ),
    newer="upgrade it.",
    unopened="does its directory exist, and may this process write there?",
    locked="pass a longer `timeout`.",
)


class SqliteStorage:
    """Rows in one SQLite file. A namespace is its labels, joined by "."; a vector is a row of its own."""

    blocking = True

    def __init__(self, source: Source, *, synchronous: str, timeout: float) -> None:
        self.file = SqliteFile(source, KIND, synchronous=synchronous, timeout=timeout)
        self._measures: tuple[sqlite3.Connection, bool] | None = None  # whether that connection has sqlite-vec

    def setup(self) -> None:
        with self.file.using():
            pass

    def close(self) -> None:
        self.file.close()

    # -- reading ----------------------------------------------------------------------------------------------------

    def get(self, places: Sequence[Place]) -> dict[Place, Row]:
        sql = f"select value, created, updated, ttl, expires from item where ns = ? and key = ? and {ALIVE}"
        found: dict[Place, Row] = {}
        now = _now()
        with self.file.using() as db:
            for place in places:
                row = db.execute(sql, (".".join(place.namespace), place.key, now)).fetchone()
                if row is not None:
                    found[place] = Row(place, *row)
        return found

    def scan(self, scan: Scan) -> Iterator[Row]:
        numbers = self._in_order(scan)
        # at the call, not when the first row is asked for: only then are these the rows that were there at the call
        return (row for at in range(0, len(numbers), CHUNK) for row in self._rows(numbers[at : at + CHUNK]))

    def _in_order(self, scan: Scan) -> list[int]:
        """The numbers of the rows. One namespace is read along its index, those below it are sorted."""
        most, parts, values = -1 if scan.most is None else scan.most, list[str](), list[Any]()
        for where, given in _within(scan.prefix):
            order = "order by updated desc, key, ns limit ?"
            parts.append(f"select * from (select no, updated, key, ns from item where {where} and {ALIVE} {order})")
            values += (*given, _now(), most)
        sql = f"select no from ({' union all '.join(parts)}) order by updated desc, key, ns limit ?"
        with self.file.using() as db:
            return [no for (no,) in db.execute(sql, (*values, most))]

    def _rows(self, numbers: list[int]) -> Iterator[Row]:
        sql = f"select no, ns, key, value, created, updated, ttl, expires from item where no in ({_marks(numbers)}) and {ALIVE}"
        with self.file.using() as db:
            found = {no: Row(_place(ns, key), *rest) for no, ns, key, *rest in db.execute(sql, (*numbers, _now()))}
        return (found[no] for no in numbers if no in found)

    def namespaces(self, prefix: Namespace) -> Iterator[Namespace]:
        with self.file.using() as db:
            found = [
                ns
                for where, given in _within(prefix)
                for (ns,) in db.execute(f"select distinct ns from item where {where} and {ALIVE}", (*given, _now()))
            ]
        return (tuple(ns.split(".")) for ns in found)

    # -- meaning ----------------------------------------------------------------------------------------------------

    def vectors(self, prefix: Namespace) -> Iterator[Vector]:
        with self.file.using() as db:
            numbers = [
                no
                for where, given in _within(prefix)
                for (no,) in db.execute(f"select no from item where {where} and {ALIVE}", (*given, _now()))
            ]
        return (vector for at in range(0, len(numbers), MANY) for vector in self._vectors_of(numbers[at : at + MANY]))

    def near(self, prefix: Namespace, vector: bytes, most: int) -> Sequence[Vector] | None:
        with self.file.using() as db:
            if not self._can_measure(db):
                return None
            below = [(f"select no from item where {where} and {ALIVE}", (*given, _now())) for where, given in _within(prefix)]
            # of vectors of length 1 the nearest by distance is the nearest by angle. No join: that takes three times as long
            sql = (
                f"select item from vector where item in ({' union all '.join(sql for sql, _ in below)}) "
                "group by item order by min(vec_distance_l2(data, ?)) limit ?"
            )
            values = [value for _, given in below for value in given]
            try:
                numbers = [no for (no,) in db.execute(sql, (*values, vector, most))]
            except sqlite3.OperationalError as error:
                if "dimension" not in str(error):
                    raise
                return None  # one has another number of floats
        return [vector for at in range(0, len(numbers), MANY) for vector in self._vectors_of(numbers[at : at + MANY])]

    def _vectors_of(self, numbers: list[int]) -> Iterator[Vector]:
        sql = f"select ns, key, data from vector join item on no = item where item in ({_marks(numbers)}) order by item"
        with self.file.using() as db:
            found = db.execute(sql, numbers).fetchall()
        for (ns, key), rows in groupby(found, lambda row: row[:2]):
            yield Vector(_place(ns, key), b"".join(row[2] for row in rows))

    def _can_measure(self, db: sqlite3.Connection) -> bool:
        if self._measures is None or self._measures[0] is not db:
            self._measures = db, _has_vec(db)
        return self._measures[1]

    # -- writing ----------------------------------------------------------------------------------------------------

    def write(self, puts: Sequence[Put]) -> None:
        with self.file.writing() as db:
            now = _now()
            (last,) = db.execute("select max(updated) from item").fetchone()
            at = max(now, (last or 0) + 1)
            for put in puts:
                self._write(db, put, now, at)

    def _write(self, db: sqlite3.Connection, put: Put, now: int, at: int) -> None:
        place = ".".join(put.place.namespace), put.place.key
        no, created, updated, expires = db.execute(
            "select no, created, updated, expires from item where ns = ? and key = ?", place
        ).fetchone() or (None, at, 0, None)
        if expires is not None and expires <= now:
            created, updated = at, 0
        if put.if_version is not None and put.if_version != updated:
            raise conflict(put, updated)
        if no is not None:
            db.execute("delete from vector where item = ?", (no,))
        if put.value is None:
            db.execute("delete from item where no = ?", (no,))
            return
        until = None if put.ttl is None else now + put.ttl * 1000
        sql = "insert or replace into item (no, ns, key, created, updated, ttl, expires, value) values (?, ?, ?, ?, ?, ?, ?, ?)"
        no = db.execute(sql, (no, *place, created, at, put.ttl, until, put.value)).lastrowid
        db.executemany("insert into vector (item, data) values (?, ?)", [(no, vector) for vector in put.vectors])

    def refresh(self, places: Sequence[Place]) -> None:
        now = _now()
        sql = f"update item set expires = ? + ttl * 1000 where ns = ? and key = ? and {ALIVE} and ttl is not null"
        with self.file.writing() as db:
            db.executemany(sql, [(now, ".".join(place.namespace), place.key, now) for place in places])

    def sweep(self) -> int:
        now = _now()
        with self.file.writing() as db:
            db.execute("delete from vector where item in (select no from item where expires <= ?)", (now,))
            return db.execute("delete from item where expires <= ?", (now,)).rowcount


class SqliteStore(Store):
    """Keeps items in a SQLite file.

    Search by meaning is done by sqlite-vec where that is installed (`pip install "clew[sqlite-vec]"`), or else goes through
    every vector; the answers are the same.

    Args:
        path: the file, made where there is none; it holds the store and nothing else. `":memory:"` for one that lives as long
            as this object; a `file:` URI. Or a connection of your own, made with `check_same_thread=False`; it is left open.
        synchronous: `"full"` (default): a batch survives a power cut. `"normal"`: it survives the death of the process, and the
            last ones may be lost with the power; several times faster.
        timeout: seconds to wait for another process that is writing. index, ttl: see `Store`.

    Raises:
        TypeError: `path` is none of these. DatabaseError: on first use, where the file is no database, is not a store's, or
            cannot be written to.
    """

    def __init__(
        self,
        path: Source,
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        synchronous: Literal["full", "normal"] = "full",
        timeout: float = 30.0,
    ) -> None:
        super().__init__(SqliteStorage(path, synchronous=synchronous, timeout=timeout), index=index, ttl=ttl)

    @classmethod
    def from_conn_string(cls, conn_string: str, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None) -> Self:
        """A store of this file, to be used as `with SqliteStore.from_conn_string("memory.db") as store:` (or `async with`)."""
        return cls(conn_string, index=index, ttl=ttl)


AsyncSqliteStore = SqliteStore


def _now() -> int:
    """Microseconds by the machine's clock, which the processes on one file have in common."""
    return time.time_ns() // 1000


def _place(ns: str, key: str) -> Place:
    return Place(tuple(ns.split(".")), key)


def _within(prefix: Namespace) -> list[tuple[str, tuple[str, ...]]]:
    """Conditions, each with its values, that together hold for the namespaces that begin so, and never two of them for one."""
    if not prefix:
        return [("true", ())]
    ns = ".".join(prefix)
    return [("ns = ?", (ns,)), ("ns > ? and ns < ?", (f"{ns}.", f"{ns}/"))]  # "/" is what comes after "."


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def _has_vec(db: sqlite3.Connection) -> bool:
    """Loads sqlite-vec, where it is installed and this Python's SQLite takes extensions."""
    try:
        import sqlite_vec  # pyright: ignore[reportMissingTypeStubs]

        db.enable_load_extension(True)
    except (ImportError, AttributeError, sqlite3.Error):
        return False
    try:
        sqlite_vec.load(db)
    except sqlite3.Error:
        return False
    finally:
        db.enable_load_extension(False)
    return True
