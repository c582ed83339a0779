"""Values cached in a SQLite file of their own. One object serves both faces, many threads, and many processes on one file."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Final

from clew.cache.base import BaseCache, Entry, FullKey, Namespace, ValueT
from clew.checkpoint.codec import encode
from clew.sqlite_file import Kind, SqliteFile, Transaction

TIMEOUT: Final = 5.0  # seconds to wait for another process that is writing; after that making the value anew is the better wait
BATCH: Final = 64
KIND: Final = Kind(
    name="cache",
    application=0x436C6563,  # "Clec" in ASCII
    # Names are stored encoded: two namespaces are never written alike, and any text can be part of one.
    migrations=(
        (
            "create table entry (ns blob not null, key blob not null, expires integer, value blob not null)",
            "create unique index entry_place on entry (ns, key)",
            "create index entry_expires on entry (expires) where expires is not null",
        ),
    ),
    newer="upgrade it, or delete the file, which is only a cache.",
    unopened="name a file in a directory that exists and that this process may write to.",
    locked="name another file, or try again when it is done.",
)


class SqliteCache(BaseCache[ValueT]):
    """Caches in a SQLite file.

    Expired values are deleted as new ones are written, some with each write. A power cut may lose the last writes.

    Args:
        path: the file, made where there is none; it holds the cache and nothing else. `":memory:"` for one that lives as long
            as this object.

    Raises:
        DatabaseError: the file is no database, is not Clew's, or cannot be opened.
    """

    failures = (sqlite3.Error,)

    def __init__(self, *, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"SqliteCache takes a path, got {path!r}: write it as in SqliteCache(path='cache.db').")
        self.path = os.fspath(path)
        self._file = SqliteFile(self.path, KIND, synchronous="normal", timeout=TIMEOUT)
        with self._file.using():  # what is wrong with the file is said here; later on it is a miss
            pass

    def close(self) -> None:
        """Closes the file. The cache cannot be used after."""
        self._file.close()

    # -- the verbs --------------------------------------------------------------------------------------------------

    def _get(self, keys: Sequence[FullKey]) -> dict[FullKey, bytes]:
        sql = "select value from entry where ns = ? and key = ? and (expires is null or expires > ?)"
        now = _now()
        with self._file.raw() as db:
            rows = {key: db.execute(sql, (*_place(key), now)).fetchone() for key in keys}
        # whatever another program wrote into the column comes out as bytes, and those do not bear the checksum
        return {key: row[0] if type(row[0]) is bytes else b"" for key, row in rows.items() if row is not None}

    def _set(self, entries: Mapping[FullKey, Entry]) -> None:
        now = _now()
        rows = [(*_place(key), None if lives is None else now + lives, data) for key, (data, lives) in entries.items()]
        with self._file.raw() as db, Transaction(db):
            db.executemany("insert or replace into entry (ns, key, expires, value) values (?, ?, ?, ?)", rows)
            # more than are written, so that what expired cannot heap up; never all at once, which would hold up whoever writes
            batch = max(BATCH, 2 * len(rows))
            old = "select rowid from entry where expires <= ? order by expires limit ?"
            db.execute(f"delete from entry where rowid in ({old})", (now, batch))

    def _clear(self, namespaces: Sequence[Namespace] | None) -> None:
        with self._file.raw() as db, Transaction(db):
            if namespaces is None:
                db.execute("delete from entry")
            else:
                db.executemany("delete from entry where ns = ?", [(encode(list(ns)),) for ns in namespaces])


def _now() -> int:
    """Milliseconds by the machine's clock, which the processes on one file have in common."""
    return time.time_ns() // 1_000_000


def _place(key: FullKey) -> tuple[bytes, bytes]:
    return encode(list(key[0])), encode(key[1])
