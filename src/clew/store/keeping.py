"""A store over a storage: everything that all backends have in common, once. A backend is a `Storage` and a constructor.

`batch` runs in three parts: what was asked is looked at and encoded, where it is called; texts are embedded, which may be
awaited; and the storage's verbs are called, all reads before the one write, on the async face in a worker thread.
"""

from __future__ import annotations

import datetime as dt
import threading
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, cast

from clew.awaited import Done, aside
from clew.checkpoint.codec import decode, encode
from clew.closing import Closing
from clew.errors import DamagedData, UnindexedWarning, UnstorableValue
from clew.store.asked import (
    checked_limits,
    checked_namespace,
    checked_place,
    checked_prefix,
    checked_version,
    interval,
    listed,
    minutes,
)
from clew.store.base import BaseStore
from clew.store.filters import Filter, parsed
from clew.store.items import (
    GetOp,
    IndexConfig,
    Item,
    ListNamespacesOp,
    NotProvided,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
)
from clew.store.storage import Place, Put, Row, Scan, Storage
from clew.store.sweeping import Sweeper
from clew.store.vectors import NEAR, Index, ranked

EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MORE: Final = 16  # candidates of a search by meaning beyond those that are asked for


@dataclass(slots=True)
class Asked:
    """A batch as it was understood.

    Attributes:
        ops: in their order, with arguments that are good. filters: of searches, by their number. values, texts: of the puts
            that count, by their places: encoded, and what of them is to be embedded.
    """

    ops: list[Op] = field(default_factory=list[Op])
    filters: dict[int, Filter | None] = field(default_factory=dict[int, "Filter | None"])
    puts: dict[Place, PutOp] = field(default_factory=dict[Place, PutOp])
    values: dict[Place, bytes] = field(default_factory=dict[Place, bytes])
    texts: dict[Place, list[str]] = field(default_factory=dict[Place, "list[str]"])
    queries: list[str] = field(default_factory=list[str])


Vectors = dict[str, bytes]


class Store(Closing, BaseStore):
    """A store over a storage.

    Args:
        index: how items are found by what they mean; see `IndexConfig`. Without one `query` is left out, with a warning.
        ttl: how long items live; see `TTLConfig`.

    Raises:
        TypeError, ValueError: something in `index` or `ttl` cannot be meant.
    """

    supports_ttl = True

    def __init__(self, storage: Storage, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None) -> None:
        self.storage = storage
        self.index_config = index
        self.ttl_config = ttl
        self._index = Index(index) if index is not None else None
        given = _ttl(ttl)
        self._default: int | None = minutes(given.get("default_ttl"), "default_ttl")
        self._refresh: bool = given.get("refresh_on_read", True)
        self._interval = interval(given.get("sweep_interval_minutes"), 5.0)
        self._sweeper: Sweeper | None = None
        self._lock = threading.Lock()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        asked = self._asked(ops)
        return self._done(asked, *self._embed(asked))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        # looked at and encoded here, not in the worker thread: once this waits the caller may change what was given
        asked = self._asked(ops)
        texts = _texts(asked)
        kept, queries = Vectors(), Vectors()
        if self._index is not None and (texts or asked.queries):
            kept, queries = await self._index.aembed(texts, asked.queries)
        if not self.storage.blocking:
            return self._done(asked, kept, queries)
        return await aside(self._done, asked, kept, queries)

    def _embed(self, asked: Asked) -> tuple[Vectors, Vectors]:
        texts = _texts(asked)
        if self._index is None or not (texts or asked.queries):
            return {}, {}
        return self._index.embed(texts, asked.queries)

    # -- what was asked ---------------------------------------------------------------------------------------------

    def _asked(self, ops: Iterable[Op]) -> Asked:
        asked = Asked()
        for op in ops:
            match op:
                case PutOp():
                    self._put_asked(asked, op)
                    continue
                case GetOp():
                    namespace, key = checked_place(op.namespace, op.key)
                    op = op._replace(namespace=namespace, key=key)
                case SearchOp():
                    checked_limits(op.limit, op.offset)
                    asked.filters[len(asked.ops)] = parsed(op.filter)
                    op = op._replace(namespace_prefix=checked_prefix(op.namespace_prefix), query=self._query(asked, op.query))
                case ListNamespacesOp():
                    checked_limits(op.limit, op.offset)
                case _:
                    raise TypeError(
                        f"{op!r} is nothing that a store can do: expected GetOp, SearchOp, PutOp or ListNamespacesOp."
                    )
            asked.ops.append(op)
        return asked

    def _query(self, asked: Asked, query: Any) -> str | None:
        if query is None or query == "":
            return None
        if not isinstance(query, str):
            raise TypeError(f"A query is text, got {query!r}.")
        if self._index is None:
            warnings.warn(
                UnindexedWarning(
                    f"The store has no index, so the query {query[:80]!r} is left out: make the store with one, as in "
                    f"{type(self).__name__}(…, index={{'dims': 1536, 'embed': 'openai:text-embedding-3-small'}})."
                ),
                stacklevel=5,
            )
            return None
        if query not in asked.queries:
            asked.queries.append(query)
        return query

    def _put_asked(self, asked: Asked, op: PutOp) -> None:
        place = Place(checked_namespace(op.namespace), checked_place(op.namespace, op.key).key)
        checked_version(op.if_version)
        before = asked.puts.pop(place, None)
        if before is not None and not (before.if_version is None and op.if_version is None):
            raise ValueError(f"A batch puts {place.key!r} in {place.namespace!r} twice, and with `if_version`: put it once.")
        asked.puts[place] = op = op._replace(ttl=self._milliseconds(op))
        asked.values.pop(place, None)
        asked.texts.pop(place, None)
        asked.ops.append(op)
        if op.value is None:
            return
        value = _value(op.value, place)
        try:
            asked.values[place] = encode(value)
        except UnstorableValue as error:
            raise UnstorableValue(error.reason, f"{place.key!r}{error.path}") from None
        if self._index is not None:
            asked.texts[place] = self._index.texts(value, op.index)

    def _milliseconds(self, op: PutOp) -> int | None:
        if isinstance(op.ttl, NotProvided):
            return self._default
        return minutes(op.ttl, f"the ttl of {op.key!r}")

    # -- what comes of it -------------------------------------------------------------------------------------------

    def _done(self, asked: Asked, kept: Vectors, queries: Vectors) -> list[Result]:
        gets = [Place(op.namespace, op.key) for op in asked.ops if isinstance(op, GetOp)]
        rows = self.storage.get(list(dict.fromkeys(gets))) if gets else {}
        fresh: dict[Place, None] = {}
        results: list[Result] = []
        for number, op in enumerate(asked.ops):
            match op:
                case GetOp():
                    row = rows.get(Place(op.namespace, op.key))
                    found = [] if row is None else [row]
                    results.append(_item(row) if row else None)
                case SearchOp():
                    scored = self._searched(op, asked.filters[number], queries)
                    found = [row for row, _ in scored]
                    results.append([_found(row, near) for row, near in scored])
                case ListNamespacesOp():
                    found = []
                    results.append(listed(op, self.storage.namespaces))
                case _:
                    found = []
                    results.append(None)
            if isinstance(op, GetOp | SearchOp) and (self._refresh if op.refresh_ttl is None else op.refresh_ttl):
                fresh.update((row.place, None) for row in found if row.ttl is not None)
        if fresh:
            self.storage.refresh(list(fresh))
        if asked.puts:
            self.storage.write([self._put(asked, place, op, kept) for place, op in asked.puts.items()])
        return results

    def _put(self, asked: Asked, place: Place, op: PutOp, kept: Vectors) -> Put:
        vectors = tuple(vector for text in asked.texts.get(place, ()) if any(vector := kept[text]))
        ttl = cast("int | None", op.ttl) if op.value is not None else None
        return Put(place, asked.values.get(place), vectors, ttl, op.if_version)

    def _searched(self, op: SearchOp, wanted: Filter | None, queries: Vectors) -> list[tuple[Row, float | None]]:
        if op.query is not None:
            return self._near(op, wanted, queries[op.query])
        scan = self.storage.scan(Scan(op.namespace_prefix, wanted, op.offset + op.limit if wanted is None else None))
        rows = (row for row in scan if wanted is None or wanted.matches(_value_of(row)))
        try:
            return [(row, None) for row in islice(rows, op.offset, op.offset + op.limit)]
        finally:
            if close := getattr(scan, "close", None):
                close()

    def _near(self, op: SearchOp, wanted: Filter | None, vector: bytes) -> list[tuple[Row, float | None]]:
        """Candidates are asked for until those that are wanted are nearer than any that were not asked for."""
        rows: dict[Place, Row | None] = {}
        everything: list[tuple[float, Place]] = []
        enough = op.offset + op.limit
        most = enough + MORE
        while True:
            candidates = None if everything else self.storage.near(op.namespace_prefix, vector, most)
            if candidates is None:
                everything = everything or ranked(vector, self.storage.vectors(op.namespace_prefix))
                scored = everything[:most]
            else:
                scored = ranked(vector, candidates)
            missing = [place for _, place in scored if place not in rows]
            got = self.storage.get(missing) if missing else {}
            rows.update((place, got.get(place)) for place in missing)
            found = [
                (row, near)
                for near, place in scored
                if (row := rows[place]) is not None and (wanted is None or wanted.matches(_value_of(row)))
            ]
            whole = len(scored) < most
            if whole or sum(near > scored[-1][0] + NEAR for _, near in found) >= enough:
                found.sort(key=lambda pair: (-pair[1], pair[0].order))
                return list(found[op.offset : enough])
            most *= 16

    # -- for users --------------------------------------------------------------------------------------------------

    def sweep_ttl(self) -> int:
        """Deletes what has expired, which nobody finds any more. Returns how many items there were."""
        return self.storage.sweep()

    async def asweep_ttl(self) -> int:
        """`sweep_ttl`, awaited."""
        return await aside(self.storage.sweep)

    def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> Sweeper:
        """Begins to sweep every so many minutes, in a thread; default: what the store's `ttl` says, or 5. Where it sweeps
        already, it goes on as it does.
        """
        with self._lock:
            if self._sweeper is None or not self._sweeper.running:
                self._sweeper = Sweeper(self.storage, interval(sweep_interval_minutes, self._interval))
            return self._sweeper

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Ends that. Waits for a sweep that is under way, `timeout` seconds at most; returns whether it has ended."""
        with self._lock:
            return self._sweeper is None or self._sweeper.stop(timeout)

    def setup(self) -> Done:
        """Makes ready what the backend needs. Done by itself on first use; calling it again does nothing."""
        self.storage.setup()
        return Done()

    async def asetup(self) -> None:
        """`setup`, awaited."""
        await aside(self.setup)

    def close(self) -> None:
        """Closes connections and files. The store cannot be used after."""
        self.stop_ttl_sweeper()
        self.storage.close()


def _texts(asked: Asked) -> list[str]:
    return list(dict.fromkeys(text for texts in asked.texts.values() for text in texts))


def _ttl(given: Any) -> dict[str, Any]:
    config: dict[str, Any] = dict(given or {})
    known = {"refresh_on_read", "omit_expired", "default_ttl", "sweep_interval_minutes"}
    if unknown := config.keys() - known:
        raise ValueError(f"`ttl` has {sorted(unknown)}, which there is not: expected some of {sorted(known)}.")
    return config


def _value(given: Any, place: Place) -> dict[str, Any]:
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in cast("Mapping[Any, Any]", given)):
        raise TypeError(
            f"The value of {place.key!r} is {given!r}: expected a dict with text as keys, as in {{'text': {given!r}}}."
        )
    return dict(cast("Mapping[str, Any]", given))


def _value_of(row: Row) -> dict[str, Any]:
    value = decode(row.value)
    if not isinstance(value, dict):
        raise DamagedData(
            f"{row.place.key!r} in {row.place.namespace!r} holds {row.value[:20]!r}…, which is not a store's item."
        )
    return cast("dict[str, Any]", value)


def _item(row: Row) -> Item:
    return Item(**_fields(row))


def _found(row: Row, score: float | None) -> SearchItem:
    return SearchItem(**_fields(row), score=score)


def _fields(row: Row) -> dict[str, Any]:
    namespace, key = row.place
    created, updated = EPOCH + dt.timedelta(microseconds=row.created), EPOCH + dt.timedelta(microseconds=row.updated)
    given = {"namespace": namespace, "key": key, "value": _value_of(row)}
    return {**given, "created_at": created, "updated_at": updated, "version": row.updated}
