"""Threads kept in Redis 6 or newer, or Valkey: core commands and Lua scripts, no modules.

Every verb of a run is one script or one command, so it is done whole or not at all. Which keys there are says `lua/common.lua`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from hashlib import blake2b
from importlib.resources import files
from itertools import islice
from typing import Any, Final, Self

import ormsgpack

from clew.checkpoint.base import LEASE, Saver
from clew.checkpoint.crypt import Encryption
from clew.checkpoint.redis import events
from clew.checkpoint.retention import Retention
from clew.checkpoint.storage import Batch, EventsFound, Found, Kept, Lease, Pruning, Row, Space, ThreadRow, Weight, conflict
from clew.checkpoint.through import Reconnecting
from clew.clients.redis import LOST, Server, User
from clew.errors import CheckpointGone, DatabaseError
from clew.ids import stamp_of

USER: Final = User("RedisSaver", "saver", "checkpoints", "let threads expire (`ttl=`), or delete some (`delete_thread`)")
LUA: Final = files("clew.checkpoint.redis") / "lua"
COMMON: Final = (LUA / "common.lua").read_text()
TOLD: Final = (LUA / "told.lua").read_text()
SCRIPTS: Final = {
    verb: COMMON + (TOLD if verb in ("commit", "events") else "") + (LUA / f"{verb}.lua").read_text()
    for verb in ("load", "commit", "wait", "leave", "scan", "walk", "prune", "weigh", "events")
}
PLAIN: Final = re.compile(r"[\w.:@-]{1,64}", re.ASCII)
KEYS: Final = ("", ":items", ":rows", ":index")
SCANNED: Final = 1000  # keys that the server looks through in one go; others are served in between
FIELDS: Final = 500_000  # to one command: a Redis 6 takes a million arguments
CHUNK: Final = 256  # numbers of items to one entry of the index, as in common.lua
LAST: Final = 1 << 62
PATIENCE: Final = 30.0


class RedisStorage:
    """Rows in four keys a thread, which share a slot.

    Args:
        ttl: milliseconds, None for ever. refresh: reading a thread renews that.
    """

    def __init__(self, redis: Any, *, prefix: str, ttl: int | None, refresh: bool) -> None:
        self.server = Server(redis, USER, prefix, SCRIPTS)
        self.redis, self._done = self.server.redis, self.server.done
        self._prefix = prefix
        self._ttl = -1 if ttl is None else ttl
        self._renewed = ttl if ttl is not None and refresh else 0

    # -- the verbs --------------------------------------------------------------------------------------------------

    def load(self, thread: str, ns: str, checkpoint_id: bytes | None) -> Found:
        seq = "" if checkpoint_id is None else stamp_of(checkpoint_id)
        answer = self._run("load", thread, _bytes(ns), seq, checkpoint_id or b"", self._renewed)
        if answer is None:
            return Found()
        (epoch, last, spaces, run, owner, base, ms, space), row, evicted = answer
        found = Found(int(epoch), int(last), int(spaces))
        if run is not None:
            found.lease = Lease(run, _text(owner), base, int(ms) / 1000)
        if space is not None:
            found.number, found.head, found.logs = _space(space)
        if row is not None:
            return _completed(found, row)
        if evicted:
            raise self._evicted(thread)
        return found

    def items(self, thread: str, ranges: Sequence[tuple[int, int, int]]) -> list[bytes]:
        key = self._keys(thread)[1]
        fields = [f"{log}:{number}" for log, lo, hi in ranges for number in range(lo, hi)]
        found: list[bytes | None] = []
        for i in range(0, len(fields), FIELDS):
            found += self._done(self.redis.hmget, key, fields[i : i + FIELDS])
        return [data for data in found if data is not None]

    def commit(self, batch: Batch) -> bool:
        data = [data for _, _, data in batch.items]
        packed: dict[str, Any] = {
            "thread": _put(data, _bytes(batch.thread)),
            "ns": _put(data, _bytes(batch.ns)),
            "token": os.urandom(8).hex(),
            "ttl": str(self._ttl),
            "epoch": str(batch.epoch),
            "number": str(batch.number),
            "head": _number(batch.head),
            "items": [f"{log}:{number}" for log, number, _ in batch.items],
            "chunks": sorted({f"i{log:020}:{number // CHUNK:012}" for log, number, _ in batch.items}),
            "rows": _rows(data, [*batch.history, batch.row] if batch.row else []),
            "kept": [(_put(data, _bytes(f"k{seq:020}:{task}")), _put(data, body)) for seq, task, body in batch.kept],
            "release": batch.release,
        }
        if batch.claim:
            packed["claim"] = str(batch.claim)
        if batch.logs is not None:
            packed["logs"] = _put(data, batch.logs)
        if (lease := batch.lease) is not None:
            owner, base = _put(data, _bytes(lease.owner)), lease.base and _put(data, lease.base)
            packed["lease"] = {"run": _put(data, lease.run), "owner": owner, "base": base, "ms": int(lease.seconds * 1000)}
        run = None
        if batch.events is not None:
            run, packed["events"] = batch.events.run, events.packed(batch.events, partial(_put, data))
        stop = self._run("commit", batch.thread, ormsgpack.packb(packed), *data, run=run)
        if stop < 0:
            raise conflict(batch.thread)
        return stop > 0

    def wait(self, thread: str, run: bytes, seconds: float, stop: bool) -> bool:
        return self._run("wait", thread, run, int(seconds * 1000), int(stop)) == 1

    def leave(self, thread: str, run: bytes) -> None:
        self._run("leave", thread, run)

    def scan(self, thread: str, ns: str, before: int | None, limit: int) -> list[Found]:
        answer = self._run("scan", thread, _bytes(ns), LAST if before is None else before, limit, self._renewed)
        if answer is None:
            return []
        number, head, logs = _space(answer[0])
        if None in answer:
            raise self._evicted(thread)
        return [_completed(Found(head=head, number=number, logs=logs), row) for row in answer[1:]]

    def events(self, thread: str, run: str | None, after: int, limit: int) -> EventsFound | None:
        if run is None:
            run = next(reversed(self._runs(thread)), None)
        answer = None if run is None else self._run("events", thread, _bytes(run), after, limit, run=run)
        return events.found(run, answer) if run is not None and answer else None

    def expire(self, limit: int) -> int:
        return 0  # the server does

    def _runs(self, thread: str) -> list[str]:
        return events.runs(self._done(self.redis.hgetall, self._keys(thread)[0]))

    def threads(self) -> list[ThreadRow]:
        """It looks through all keys of the database, some thousands at once: O(keys)."""
        found: dict[bytes, ThreadRow] = {}
        for keys in self._scanned("{*}"):
            pipe = self.redis.pipeline(transaction=False)
            for key in keys:
                pipe.hmget(key, "name", "count", "newest", "bytes")
            for key, (name, count, newest, size) in zip(keys, self._done(pipe.execute), strict=True):
                if newest is not None:
                    found[key] = ThreadRow(_text(name), int(count), newest, int(size))
        return sorted(found.values(), key=lambda row: row.newest, reverse=True)

    def drop(self, thread: str) -> None:
        logs = [self._log(thread, run) for run in self._runs(thread)]
        self._done(self.redis.unlink, *self._keys(thread), *logs)

    def spaces(self, thread: str) -> list[Space]:
        fields = self._done(self.redis.hgetall, self._keys(thread)[0])
        found = [Space(_text(name[1:]), *_space(space)) for name, space in fields.items() if name.startswith(b"/")]
        return sorted(found, key=lambda space: space.number)

    def walk(self, thread: str, after: tuple[int, int], limit: int) -> list[tuple[int, int, bytes]]:
        found = self._run("walk", thread, *after, limit)
        places = (name.split(b":") for name in found[::2])
        return [(int(log), int(number), data) for (log, number), data in zip(places, found[1::2], strict=True)]

    def prune(self, pruning: Pruning) -> None:
        data: list[bytes] = []
        packed = {
            "epoch": str(pruning.epoch),
            "rows": [str(seq) for seq in pruning.rows],
            "changed": _rows(data, pruning.changed),
            "spaces": [str(number) for number in pruning.spaces],
            "ranges": [(str(log), str(lo), str(hi)) for log, lo, hi in pruning.ranges],
            "items": [(f"{log}:{number}", _put(data, item)) for log, number, item in pruning.items],
        }
        if self._run("prune", pruning.thread, ormsgpack.packb(packed), *data) < 0:
            raise conflict(pruning.thread)

    def weigh(self, thread: str) -> Weight:
        items, rows, kept = self._run("weigh", thread)
        logs = {int(log): (int(count), int(size)) for log, count, size in zip(*[iter(items)] * 3, strict=True)}
        told = [size for run in self._runs(thread) for size in self._sizes(self._log(thread, run))]
        return Weight(logs, tuple(rows), tuple(kept), (len(told), sum(told)))

    def _sizes(self, log: str) -> list[int]:
        return [events.size_of(member) for member in self._done(self.redis.zrange, log, 0, -1)]

    def occupies(self) -> int:
        """What the server says of each key of ours, every entry counted."""
        total = 0
        for keys in self._scanned("{*"):
            pipe = self.redis.pipeline(transaction=False)
            for key in set(keys):
                pipe.memory_usage(key, samples=0)
            total += sum(size or 0 for size in self._done(pipe.execute))
        return total

    def reclaim(self) -> None:
        """What is deleted is free at once; this asks the allocator to give it back, where the server's owner lets us."""
        with suppress(DatabaseError):
            self._done(self.redis.memory_purge)

    def close(self) -> None:
        self.server.close()

    # -- keys and calls ---------------------------------------------------------------------------------------------

    def _keys(self, thread: str) -> list[str]:
        """A thread's keys. Its name is in them where it may be; the part in braces says the slot of a cluster."""
        return [f"{self._prefix}:{{{_plain(thread)}}}{kind}" for kind in KEYS]

    def _log(self, thread: str, run: str) -> str:
        """The key of a run's event log, in the slot of its thread."""
        return f"{self._keys(thread)[0]}:events:{_plain(run)}"

    def _scanned(self, pattern: str) -> Iterator[list[bytes]]:
        """Names of our keys, some hundreds at once; one that is written meanwhile may come twice."""
        found: Iterator[bytes] = self.redis.scan_iter(match=f"{self._prefix}:{pattern}", count=SCANNED)
        while keys := self._done(lambda: list(islice(found, SCANNED))):
            yield keys

    def _run(self, verb: str, thread: str, *args: Any, run: str | None = None) -> Any:
        keys = [*self._keys(thread), *([self._log(thread, run)] if run is not None else [])]
        return self.server.run(verb, keys, *args)

    def _evicted(self, thread: str) -> CheckpointGone:
        return CheckpointGone(
            f"Redis has thread {thread!r} and not its checkpoints: it was full, and threw them out. Give it `maxmemory-policy "
            "noeviction`, and let threads expire by `ttl=`; this one can only be deleted (`delete_thread`)."
        )


def _plain(name: str) -> str:
    return name if PLAIN.fullmatch(name) else "#" + blake2b(_bytes(name), digest_size=16).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _number(number: int | None) -> str:
    return "-" if number is None else str(number)


def _numbered(text: bytes) -> int | None:
    return None if text == b"-" else int(text)


def _put(data: list[bytes], one: bytes) -> int:
    """Adds to the bytes that go beside what is packed, and says where the script finds them: its packing knows only text."""
    data.append(one)
    return len(data) + 1


def _rows(data: list[bytes], rows: Sequence[Row]) -> list[tuple[str, str, str, int]]:
    return [(str(seq), _number(parent), _number(base), _put(data, id_ + body)) for seq, id_, parent, base, body in rows]


def _row(seq: int, data: bytes) -> Row:
    _, parent, base, _, rest = data.split(b" ", 4)
    return Row(seq, rest[:16], _numbered(parent), _numbered(base), rest[16:])


def _space(data: bytes) -> tuple[int, int | None, bytes]:
    number, head, logs = data.split(b" ", 2)
    return int(number), _numbered(head), logs


def _completed(found: Found, answer: list[Any]) -> Found:
    """`found` with a checkpoint and all that belongs to it, as `whole` in common.lua has it."""
    seq, row, base, found.parent_id, after_seq, after, *kept = answer
    found.row = _row(int(seq), row)
    if found.row.base is not None:
        found.base = _row(found.row.base, base)
    if after is not None:
        found.next = _row(int(after_seq), after)
    found.kept = [Kept(found.row.seq, _text(task), body) for task, body in zip(kept[::2], kept[1::2], strict=True)]
    return found


class RedisSaver(Saver):
    """Keeps threads in Redis 6 or newer, or Valkey, alone or as a cluster. No modules are needed, and no `setup`.

    What a commit survives is the server's to say: with `appendonly yes` and `appendfsync always` every crash; with `everysec`
    the server's death may cost the last second, without `appendonly` all since its last snapshot. A replica that takes over
    may lack the last commits of the one that died. A thread is never half of it, in any of these.

    Args:
        redis: a URL (`redis://`, `rediss://`, `unix://`; `?max_connections=20` bounds the pool, 50 by default), or a client of
            redis-py, which tells how to connect, a `redis.asyncio.Redis` as well; one of a cluster or of Sentinel is used
            itself, and not closed.
        prefix: what every key begins with: letters, digits, `_ . : -`.
        ttl: seconds (or a timedelta) after its last commit that a thread is kept, None for ever. It goes as a whole.
        refresh_on_read: reading a thread renews that as well.
        patience: seconds for which a call is made again while the server cannot be reached. lease, encryption, retention:
            see `Saver`.

    Raises:
        TypeError, ValueError: an argument that is none of these. DatabaseError: on use, where the server refuses, with what
            to do; or cannot be reached. CheckpointGone: a server that was full has evicted part of a thread.
    """

    def __init__(
        self,
        redis: Any,
        *,
        prefix: str = "clew",
        ttl: float | timedelta | None = None,
        refresh_on_read: bool = True,
        patience: float = PATIENCE,
        lease: float = LEASE,
        encryption: Encryption | None = None,
        retention: Retention | None = None,
        serde: object = None,
    ) -> None:
        storage = RedisStorage(redis, prefix=prefix, ttl=_milliseconds(ttl), refresh=refresh_on_read)
        super().__init__(
            Reconnecting(storage, LOST, patience), lease=lease, encryption=encryption, retention=retention, serde=serde
        )

    @classmethod
    def from_conn_string(cls, conn_string: str, **options: Any) -> Self:
        """A saver of this URL, to be used as `with RedisSaver.from_conn_string("redis://localhost:6379") as saver:` (or
        `async with`). Options: see the class."""
        return cls(conn_string, **options)


def _milliseconds(ttl: Any) -> int | None:
    if ttl is None:
        return None
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0.001 <= seconds < 1e11:
        raise ValueError(f"ttl is {ttl!r}: expected seconds above 0, such as 3600, a timedelta, or None to keep for ever.")
    return int(seconds * 1000)


AsyncRedisSaver = RedisSaver
"""The import path that async users know; it is the same class."""
