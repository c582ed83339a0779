"""Items as documents in MongoDB, or what speaks its protocol; a server that stands alone will do, and needs no transactions.

**A batch is one document first.** The head of a store is one document. It has the number of the last batch, its time, and its
puts, until all of them are done. To write is to put the next batch there, if the number is still the one that was read: that
is the moment at which all of it is written. Then the items are changed; should the writer die meanwhile, whoever comes next,
to read or to write, does that before anything else. Of two writers that have read the same number one is told that it is
another by now, reads again, and looks again whether its conditions hold.

To do a put again changes nothing, nor does doing it late: every item has the time of its batch, and a batch changes only what
is older. So what is deleted leaves a document without a value, which expires at once, for a day (`DAY`), after which no put
can still be on its way; the server removes these itself. What does not fit into the head goes before it, into parts that it
names.

Of each batch its token is kept for a day: where the client lost the answer and asks again, it is found there, or in the head.
"""

from __future__ import annotations

import datetime as dt
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from itertools import count
from typing import Any, Final, TypeAlias, TypeVar

from clew.clients.mongodb import LOST, BulkWriteError, Connected, DuplicateKeyError, UpdateOne
from clew.clients.patience import Patience
from clew.store.storage import Namespace, Place, Put, Row, Scan, Vector, conflict

T = TypeVar("T")
Document: TypeAlias = dict[str, Any]

HEAD: Final = b"head"
DAY: Final = 86_400  # seconds
ROOM: Final = 8 << 20  # bytes of puts in one document, whose most is 16 MB
OVERHEAD: Final = 200  # bytes of a put beside its value, vectors and names
CHUNK: Final = 64  # documents that are asked for at once by their ids
EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICROSECOND: Final = dt.timedelta(microseconds=1)
TAKEN: Final = 11000  # what the server says where there is such a document already
ORDER: Final = [("u", -1), ("key", 1), ("ns", 1)]


class MongoStorage:
    """Rows in two collections.

    A document of the first is an item: `ns` its labels, joined by ".", `key`, `c` and `u` when it was created and updated,
    `ttl`, `x` until when it lives, `d` its value and `v` its vectors; `_id` stands for `ns` and `key`. The second has the head:
    `n` the number of the last batch, `t` its token, `u` its time, and, until it is done, its `puts`, as items, or the ids of
    its `parts`; beside it parts, `made` then, and tokens of batches. Both are removed a day after `old`.
    """

    blocking = True

    def __init__(self, connected: Connected, name: str, patience: float) -> None:
        self.connected = connected
        self.patience = Patience(LOST, patience, "What was put before is safe.")
        self._name = name
        self._turn = os.getpid(), threading.Lock()  # writers of this process wait here, and are not in each other's way

    @property
    def _items(self) -> Any:
        return self.connected.collection(self._name)

    @property
    def _batches(self) -> Any:
        return self.connected.collection(f"{self._name}_batches")

    def setup(self) -> None:
        self.patience.call(self.connected.ready)

    def close(self) -> None:
        self.connected.close()

    # -- reading ----------------------------------------------------------------------------------------------------

    def get(self, places: Sequence[Place]) -> dict[Place, Row]:
        ids = [_id(place) for place in places]
        found = [row for at in range(0, len(ids), CHUNK) for row in self._found({"_id": {"$in": ids[at : at + CHUNK]}})]
        return {(row := _row(one)).place: row for one in found}

    def scan(self, scan: Scan) -> Iterator[Row]:
        if scan.most == 0:
            return iter(())
        if scan.most is not None and scan.most <= CHUNK:
            return map(_row, self._found(_within(scan.prefix), {"v": 0}, scan.most))
        ids = [one["_id"] for one in self._found(_within(scan.prefix), {"u": 1, "key": 1, "ns": 1}, scan.most or 0)]
        return (row for at in range(0, len(ids), CHUNK) for row in self._rows(ids[at : at + CHUNK]))

    def _rows(self, ids: list[bytes]) -> Iterator[Row]:
        found = {one["_id"]: _row(one) for one in self._found({"_id": {"$in": ids}}, {"v": 0})}
        return (found[id_] for id_ in ids if id_ in found)

    def namespaces(self, prefix: Namespace) -> Iterator[Namespace]:
        def grouped(now: dt.datetime) -> list[Document]:
            return list(self._items.aggregate([{"$match": _alive(_within(prefix), now)}, {"$group": {"_id": "$ns"}}]))

        return (_labels(one["_id"]) for one in self._read(grouped))

    def vectors(self, prefix: Namespace) -> Iterator[Vector]:
        ids = [one["_id"] for one in self._found({**_within(prefix), "v": {"$exists": True}}, {"_id": 1})]
        for at in range(0, len(ids), CHUNK):
            some: Document = {"_id": {"$in": ids[at : at + CHUNK]}, "v": {"$exists": True}}
            for one in self.patience.call(self._asked, some, {"ns": 1, "key": 1, "v": 1}):
                yield Vector(_place(one), one["v"])

    def _asked(self, which: Document, fields: Document) -> list[Document]:
        with self.connected.asked():
            return list(self._items.find(which, fields))

    def near(self, prefix: Namespace, vector: bytes, most: int) -> None:
        return None

    def _found(self, which: Document, fields: Document | None = None, most: int | None = None) -> list[Document]:
        """Documents of items that live; in order where it is said how many at most, 0 for all of them."""

        def found(now: dt.datetime) -> list[Document]:
            cursor = self._items.find(_alive(which, now), fields)
            return list(cursor if most is None else cursor.sort(ORDER).limit(most))

        return self._read(found)

    def _read(self, read: Callable[[dt.datetime], T]) -> T:
        """What `read` finds, once the last batch is done. It is told what time it is."""

        def once() -> T:
            with self.connected.asked():
                return read(self._settled()["now"])

        return self.patience.call(once)

    # -- writing ----------------------------------------------------------------------------------------------------

    def write(self, puts: Sequence[Put]) -> None:
        token, tries = os.urandom(12), count()

        def once() -> None:
            again = next(tries) > 0
            if self._turn[0] != os.getpid():  # in a forked child nobody lets go of it
                self._turn = os.getpid(), threading.Lock()
            with self._turn[1], self.connected.asked():
                self._write(puts, token, again)

        self.patience.call(once)

    def _write(self, puts: Sequence[Put], token: bytes, again: bool) -> None:
        while True:
            head = self._settled()
            if head["t"] == token or (again and self._batches.find_one({"_id": token}) is not None):
                return
            at = max(_micros(head["now"]), head["u"] + 1)
            documents = self._documents(puts, at, head["now"])
            batch: Document = {"puts": documents}
            if sum(map(_size, documents)) > ROOM:
                batch = {"parts": self._put_apart(documents, head["now"])}
            change = {"$set": {"n": head["n"] + 1, "t": token, "u": at, **batch}}
            if self._batches.update_one({"_id": HEAD, "n": head["n"]}, change).matched_count:
                self._settle({**head, **change["$set"]}, documents)
                return
            if parts := batch.get("parts"):
                self._batches.delete_many({"_id": {"$in": parts}})

    def _documents(self, puts: Sequence[Put], at: int, now: dt.datetime) -> list[Document]:
        """The puts as items. Raises VersionConflict."""
        ids = [_id(put.place) for put in puts]
        there: dict[bytes, Document] = {}
        for start in range(0, len(ids), CHUNK):
            which = _alive({"_id": {"$in": ids[start : start + CHUNK]}}, now)
            there.update((one["_id"], one) for one in self._items.find(which, {"c": 1, "u": 1}))
        made: list[Document] = []
        for id_, put in zip(ids, puts, strict=True):
            found = there.get(id_)
            version = found["u"] if found else 0
            if put.if_version is not None and put.if_version != version:
                raise conflict(put, version)
            one = {"_id": id_, "ns": _ns(put.place.namespace), "key": put.place.key, "c": found["c"] if found else at, "u": at}
            if put.value is None:
                one["x"] = now
            else:
                one["d"] = put.value
                if put.vectors:
                    one["v"] = b"".join(put.vectors)
                if put.ttl is not None:
                    one |= {"ttl": put.ttl, "x": now + dt.timedelta(milliseconds=put.ttl)}
            made.append(one)
        return made

    def _put_apart(self, documents: list[Document], now: dt.datetime) -> list[bytes]:
        """Writes what does not fit into the head; nobody reads it before the head names it. Returns its ids."""
        parts: list[Document] = []
        left = 0
        for one in documents:
            if not parts or _size(one) > left:
                parts.append({"_id": os.urandom(16), "made": now, "puts": []})
                left = ROOM
            parts[-1]["puts"].append(one)
            left -= _size(one)
        for part in parts:
            self._batches.insert_one(part)
        return [part["_id"] for part in parts]

    def _settled(self) -> Document:
        """The head, once its batch is done, and what time it is (`now`)."""
        asked = [{"$match": {"_id": HEAD}}, {"$set": {"now": "$$NOW"}}]
        head: Document | None = next(iter(self._batches.aggregate(asked)), None)
        if head is None:  # somebody has dropped the database
            made(self.connected, self._name)
            return self._settled()
        if "puts" in head:
            self._settle(head, head["puts"])
        elif "parts" in head:
            parts: list[Document] = list(self._batches.find({"_id": {"$in": head["parts"]}}))
            if not all("puts" in part for part in parts):  # somebody else has done it by now
                return self._settled()
            self._settle(head, [one for part in parts for one in part["puts"]])
        return head

    def _settle(self, head: Document, documents: list[Document]) -> None:
        """Does a batch. Others may be at it, or have been: then nothing is left to do."""
        try:
            self._items.bulk_write([_change(one) for one in documents], ordered=False)
        except BulkWriteError as error:
            if any(wrong["code"] != TAKEN for wrong in error.details["writeErrors"]):
                raise
        with suppress(DuplicateKeyError):
            self._batches.insert_one({"_id": head["t"], "old": head["now"]})
        self._batches.update_one({"_id": HEAD, "n": head["n"]}, {"$unset": {"puts": 1, "parts": 1}})
        if "parts" in head:
            self._batches.update_many({"_id": {"$in": head["parts"]}}, {"$set": {"old": head["now"]}, "$unset": {"puts": 1}})

    def refresh(self, places: Sequence[Place]) -> None:
        which = {"_id": {"$in": [_id(place) for place in places]}, "ttl": {"$exists": True}}
        change = [{"$set": {"x": {"$add": ["$$NOW", "$ttl"]}}}]
        self._read(lambda now: self._items.update_many({**which, "x": {"$gt": now}}, change))

    def sweep(self) -> int:
        """Takes away what is large of what has expired, and parts that no head has named; the rest the server removes."""

        def swept(now: dt.datetime) -> int:
            self._batches.delete_many({"made": {"$lt": now - dt.timedelta(seconds=DAY)}, "puts": {"$exists": True}})
            gone = {"x": {"$lte": now}, "d": {"$exists": True}}
            return self._items.update_many(gone, {"$unset": {"d": 1, "v": 1}}).modified_count

        return self._read(swept)


def made(connected: Connected, name: str) -> None:
    """Makes the indexes and the head where they are missing."""
    items, batches = connected.collection(name), connected.collection(f"{name}_batches")
    items.create_index([("ns", 1), ("u", -1)])
    items.create_index("x", expireAfterSeconds=DAY)
    batches.create_index("old", expireAfterSeconds=DAY)
    with suppress(DuplicateKeyError):  # somebody else was quicker
        batches.update_one({"_id": HEAD}, {"$setOnInsert": {"n": 0, "t": b"", "u": 0}}, upsert=True)


def _change(one: Document) -> UpdateOne:
    """Puts an item in place of what is older; where what is there is not, another document of its id is refused (`TAKEN`)."""
    gone = {name: 1 for name in ("d", "v", "ttl", "x") if name not in one}
    change = {"$set": one, **({"$unset": gone} if gone else {})}
    return UpdateOne({"_id": one["_id"], "u": {"$lt": one["u"]}}, change, upsert=True)


def _alive(which: Document, now: dt.datetime) -> Document:
    return {**which, "d": {"$exists": True}, "x": {"$not": {"$lte": now}}}


def _within(prefix: Namespace) -> Document:
    """Of the namespaces that begin so."""
    if not prefix:
        return {}
    ns = _ns(prefix)
    return {"$or": [{"ns": ns}, {"ns": {"$gt": f"{ns}.", "$lt": f"{ns}/"}}]}  # "/" is what comes after "."


def _id(place: Place) -> bytes:
    """What stands for a place: no label has NUL."""
    return blake2b(f"{_ns(place.namespace)}\0{place.key}".encode(), digest_size=16).digest()


def _ns(namespace: Namespace) -> str:
    return ".".join(namespace)


def _labels(ns: str) -> Namespace:
    return tuple(ns.split("."))


def _place(one: Document) -> Place:
    return Place(_labels(one["ns"]), one["key"])


def _row(one: Document) -> Row:
    expires = one.get("x")
    return Row(_place(one), one["d"], one["c"], one["u"], one.get("ttl"), None if expires is None else _micros(expires))


def _micros(time: dt.datetime) -> int:
    return (time - EPOCH) // MICROSECOND


def _size(one: Document) -> int:
    return OVERHEAD + len(one.get("d", b"")) + len(one.get("v", b"")) + 4 * (len(one["ns"]) + len(one["key"]))
