"""The tables in which LangGraph keeps threads: rows come out as they are told there, values opened. Only ever read, in one
transaction, one checkpoint at a time; what they mean is for `reading` to say.

What has been said differently in the course of the years is said one way here: tables without a task's path, values beside the
checkpoint or within it, Sends beside the checkpoint before.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from clew.errors import DatabaseError, MissingDependency, UnreadableThread
from clew.interop.langgraph.payload import Decoder

SENDS: Final = "__pregel_tasks"


class Entry(NamedTuple):
    """Where a checkpoint stands: its namespace, its id, and the id of the one that it grew from."""

    ns: str
    id: str
    parent: str | None


class Written(NamedTuple):
    """One pending write: of which task, by its id and its path (empty where none is kept), and what for which channel."""

    task: str
    path: str
    channel: str
    value: Any


@dataclass(slots=True)
class Stored:
    """A checkpoint of LangGraph.

    Attributes:
        format: the number of its format; 4 today. made: when, as text. values: channels that hold something, internal ones too.
        versions: of each channel. seen: by node the versions that it has reacted to.
        writes: what was kept of its tasks, by task, each in its order.
    """

    entry: Entry
    format: int
    made: str
    values: dict[str, Any]
    versions: Mapping[str, Any]
    seen: Mapping[str, Mapping[str, Any]]
    metadata: Mapping[str, Any]
    writes: list[Written] = field(default_factory=list[Written])


class Tables(Protocol):
    """A database of LangGraph's, opened for reading."""

    def threads(self) -> list[str]: ...
    def entries(self, thread: str) -> list[Entry]:
        """Its checkpoints, in the order of their ids."""
        ...

    def stored(self, thread: str, entry: Entry, decoder: Decoder) -> Stored:
        """Raises UnreadableThread, naming the thread and the channel."""
        ...

    def weight(self, thread: str) -> int:
        """Bytes of all that is kept of a thread, without what the database adds."""
        ...

    def occupies(self) -> int:
        """Bytes that the tables take where they are kept, with their indexes; of SQLite the file's."""
        ...

    def close(self) -> None: ...


def opened(url: str) -> Tables:
    """The tables at `postgresql://…`, `sqlite:///…` or the path of a SQLite file.

    Raises:
        DatabaseError: nothing is there, or nothing of LangGraph's. MissingDependency: psycopg is not installed.
    """
    if url.startswith(("postgresql://", "postgres://")):
        return PostgresTables(url)
    place = Path(url.removeprefix("sqlite:///"))
    if "://" in str(url) and not url.startswith("sqlite:///"):
        raise DatabaseError(f"{url!r} names no database that LangGraph writes: expected postgresql://…, sqlite:///… or a path.")
    return SqliteTables(place)


def read(decoder: Decoder, thread: str, entry: Entry, what: str, kind: str, data: bytes) -> Any:
    """A value, or an error that says where it stands."""
    try:
        return decoder.value(kind, data)
    except UnreadableThread as error:
        raise UnreadableThread(f"Thread {thread!r}, checkpoint {entry.id}: {what} {error}.") from error


def _stored(entry: Entry, found: Mapping[str, Any], values: dict[str, Any], metadata: Mapping[str, Any]) -> Stored:
    format_, made, versions, seen = (found.get(name) for name in ("v", "ts", "channel_versions", "versions_seen"))
    return Stored(entry, format_ or 1, made or "", values, versions or {}, seen or {}, metadata)


def _known(found: set[str], place: str) -> None:
    if not {"thread_id", "checkpoint_ns"} <= found:
        raise DatabaseError(
            f"{place} has no threads of LangGraph: expected a table `checkpoints` with thread_id and checkpoint_ns, "
            f"found {sorted(found) or 'no such table'}."
        )


# -- SQLite ---------------------------------------------------------------------------------------------------------


class SqliteTables:
    def __init__(self, place: Path) -> None:
        if not place.exists():
            raise DatabaseError(f"There is no file {str(place)!r}: expected a SQLite database that LangGraph has written.")
        self._db = sqlite3.connect(f"{place.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            self._db.execute("begin")
            _known(self._columns("checkpoints"), repr(str(place)))
            self._path = "task_path" if "task_path" in self._columns("writes") else "'' task_path"
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise DatabaseError(f"{str(place)!r} cannot be read: {error}.") from error
        except DatabaseError:
            self._db.close()
            raise

    def _columns(self, table: str) -> set[str]:
        return {name for (name,) in self._db.execute("select name from pragma_table_info(?)", (table,))}

    def threads(self) -> list[str]:
        return [name for (name,) in self._db.execute("select distinct thread_id from checkpoints order by thread_id")]

    def entries(self, thread: str) -> list[Entry]:
        sql = "select checkpoint_ns, checkpoint_id, parent_checkpoint_id from checkpoints where thread_id = ? order by 2"
        return [Entry(ns, id_, parent or None) for ns, id_, parent in self._db.execute(sql, (thread,))]

    def stored(self, thread: str, entry: Entry, decoder: Decoder) -> Stored:
        where = "thread_id = ? and checkpoint_ns = ? and checkpoint_id = ?"
        sql = f"select type, checkpoint, metadata from checkpoints where {where}"
        kind, data, about = self._db.execute(sql, (thread, entry.ns, entry.id)).fetchone()
        found: dict[str, Any] = read(decoder, thread, entry, "the checkpoint", kind or "json", data)
        stored = _stored(entry, found, dict(found["channel_values"]), json.loads(about or "{}"))
        sql = f"select task_id, {self._path}, channel, type, value from writes where {where} order by task_path, task_id, idx"
        stored.writes = self._written(thread, entry, sql, entry.id, decoder)
        if stored.format < 4 and entry.parent is not None:
            stored.values[SENDS] = found.get("pending_sends") or self._sent(thread, entry, sql, decoder)
        return stored

    def _written(self, thread: str, entry: Entry, sql: str, checkpoint: str, decoder: Decoder) -> list[Written]:
        return [
            Written(task, path, channel, read(decoder, thread, entry, f"what is written to {channel!r}", kind, data))
            for task, path, channel, kind, data in self._db.execute(sql, (thread, entry.ns, checkpoint))
        ]

    def _sent(self, thread: str, entry: Entry, sql: str, decoder: Decoder) -> list[Any]:
        before = self._written(thread, entry, sql, entry.parent or "", decoder)
        return [write.value for write in before if write.channel == SENDS]

    def weight(self, thread: str) -> int:
        sql = (
            "select (select coalesce(sum(length(checkpoint) + coalesce(length(metadata), 0)), 0) from checkpoints "
            "where thread_id = ?1) + (select coalesce(sum(coalesce(length(value), 0)), 0) from writes where thread_id = ?1)"
        )
        return self._db.execute(sql, (thread,)).fetchone()[0]

    def occupies(self) -> int:
        sql = "select page_count * page_size from pragma_page_count(), pragma_page_size()"
        return self._db.execute(sql).fetchone()[0]

    def close(self) -> None:
        self._db.close()


# -- PostgreSQL -----------------------------------------------------------------------------------------------------

PARTS: Final = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
EMPTY: Final = object()  # what a channel holds that was cleared


class PostgresTables:
    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise MissingDependency(
                "PostgreSQL needs psycopg, which is not installed: `pip install 'clew[postgres]'`."
            ) from error
        self._failure = psycopg.Error
        try:
            self._db: Any = psycopg.connect(url)
        except psycopg.Error as error:
            raise DatabaseError(f"PostgreSQL cannot be reached: {error}") from error
        self._db.isolation_level, self._db.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
        found = self._columns("checkpoints")
        try:
            _known(found, "The database")
        except DatabaseError:
            self._db.close()
            raise
        # a saver of the shallow kind keeps one checkpoint in each namespace, and of each channel the one value
        self._whole = "checkpoint_id" in found
        self._path = "task_path" if "task_path" in self._columns("checkpoint_writes") else "'' task_path"
        self._values: dict[tuple[str, str], tuple[Any, Any]] = {}
        self._thread = ""

    def _rows(self, sql: str, *given: Any) -> Sequence[Any]:
        try:
            with closing(self._db.execute(sql, given)) as cursor:
                return cursor.fetchall()
        except self._failure as error:
            self._db.rollback()
            raise DatabaseError(f"PostgreSQL cannot read what LangGraph has written: {error}") from error

    def _columns(self, table: str) -> set[str]:
        sql = "select attname from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped"
        return {name for (name,) in self._rows(sql, table)}

    def threads(self) -> list[str]:
        return [name for (name,) in self._rows('select distinct thread_id collate "C" from checkpoints order by 1')]

    def entries(self, thread: str) -> list[Entry]:
        names = "checkpoint_id, parent_checkpoint_id" if self._whole else "checkpoint->>'id', null"
        sql = f"select checkpoint_ns, {names} from checkpoints where thread_id = %s"
        return sorted([Entry(ns, id_, parent or None) for ns, id_, parent in self._rows(sql, thread)], key=lambda one: one.id)

    def stored(self, thread: str, entry: Entry, decoder: Decoder) -> Stored:
        sql = "select checkpoint, metadata from checkpoints where thread_id = %s and checkpoint_ns = %s"
        given = (thread, entry.ns, entry.id) if self._whole else (thread, entry.ns)
        found, about = self._rows(f"{sql} and checkpoint_id = %s" if self._whole else sql, *given)[0]
        if thread != self._thread:
            self._thread, self._values = thread, {}
        inline: dict[str, Any] = found.get("channel_values") or {}
        versions: dict[str, Any] = found.get("channel_versions") or {}
        elsewhere = {channel: version for channel, version in versions.items() if channel not in inline}
        values = self._blobs(thread, entry, elsewhere, decoder)
        stored = _stored(entry, found, {**values, **inline}, about or {})
        stored.writes = self._written(thread, entry, entry.id, decoder)
        if stored.format < 4 and entry.parent is not None:
            sent = [write.value for write in self._written(thread, entry, entry.parent, decoder) if write.channel == SENDS]
            stored.values[SENDS] = sent
        return stored

    def _blobs(self, thread: str, entry: Entry, versions: Mapping[str, Any], decoder: Decoder) -> dict[str, Any]:
        """The values of these channels; those that have not changed since the checkpoint before are not read again."""
        known, ns = self._values, entry.ns
        new = [
            channel for channel, version in versions.items() if (ns, channel) not in known or known[ns, channel][0] != version
        ]
        for channel in new:
            known.pop((ns, channel), None)
        sql = "select channel, type, blob from checkpoint_blobs where thread_id = %s and checkpoint_ns = %s "
        sql += "and channel = any(%s)"
        given: list[Any] = [thread, ns, new]
        if self._whole:
            sql += " and (channel, version) in (select * from unnest(%s::text[], %s::text[]))"
            given += [new, [str(versions[channel]) for channel in new]]
        for channel, kind, data in self._rows(sql, *given) if new else ():
            empty = kind == "empty"
            value = EMPTY if empty else read(decoder, thread, entry, f"the channel {channel!r}", kind, bytes(data or b""))
            known[ns, channel] = versions[channel], value
        found = {channel: known[ns, channel][1] for channel in versions if (ns, channel) in known}
        return {channel: value for channel, value in found.items() if value is not EMPTY}

    def _written(self, thread: str, entry: Entry, checkpoint: str, decoder: Decoder) -> list[Written]:
        sql = (
            f"select task_id, {self._path}, channel, type, blob from checkpoint_writes "
            f"where thread_id = %s and checkpoint_ns = %s and checkpoint_id = %s order by task_path, task_id, idx"
        )
        return [
            Written(task, path, channel, read(decoder, thread, entry, f"what is written to {channel!r}", kind, bytes(data)))
            for task, path, channel, kind, data in self._rows(sql, thread, entry.ns, checkpoint)
        ]

    def weight(self, thread: str) -> int:
        sql = (
            "select (select coalesce(sum(octet_length(checkpoint::text) + octet_length(metadata::text)), 0) from checkpoints "
            "where thread_id = %s) + (select coalesce(sum(coalesce(octet_length(blob), 0)), 0) from checkpoint_blobs "
            "where thread_id = %s) + (select coalesce(sum(octet_length(blob)), 0) from checkpoint_writes where thread_id = %s)"
        )
        return int(self._rows(sql, thread, thread, thread)[0][0])

    def occupies(self) -> int:
        sql = "select coalesce(sum(pg_total_relation_size(to_regclass(name))), 0) from unnest(%s::text[]) name"
        return int(self._rows(sql, list(PARTS))[0][0])

    def close(self) -> None:
        self._db.close()
