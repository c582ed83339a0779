"""Threads kept in MongoDB, or what speaks its protocol; a server that stands alone will do.

**One document a commit.** The commits of a thread are numbered; a commit is one insert, under the next number. Before it the
newest commit is read, which says the thread's epoch; after it whoever reads finds all of it. Of two writers that have read the
same newest commit one inserts, and the other is told that the number is taken, looks again, and is refused where the epoch is
another by now. So a commit is whole or not at all, whatever the server knows of transactions, and whoever slept through a
claim, which takes a number as well, can write nothing. What does not fit into one document goes before it, into parts that it
names; a part that no commit names is a leftover, and is not read.

A number that was taken stays taken, or whoever slept could still have it: of a commit that is pruned empty its number is left,
for a day (`DAY`). The lease is written beside the commit that claims, and in it: where the first was cut short, the second
counts. Pruning is several writes, each of which leaves what can be read, and each made only while the epoch is the pruner's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Self

from clew.checkpoint.base import LEASE, Saver
from clew.checkpoint.crypt import Encryption
from clew.checkpoint.mongodb.client import LOST, Connected, DuplicateKeyError
from clew.checkpoint.mongodb.documents import (
    LAST,
    Document,
    every_place,
    key_of,
    name_of,
    number_of,
    place_of,
    placed,
    row_of,
    span_of,
    within,
)
from clew.checkpoint.retention import Retention
from clew.checkpoint.storage import Batch, Found, Kept, Lease, Pruning, Row, Space, ThreadRow, Weight, conflict
from clew.checkpoint.through import Reconnecting
from clew.ids import stamp_of

ROOM: Final = 8 << 20  # bytes of items in one document, whose most is 16 MB; a single item has no more than this
DAY: Final = 86_400.0  # seconds after which no write can still be on its way
MANY: Final = 500  # places that are asked for at once
SPACE: Final = ("ns", "hn", "k", "h", "l")
HEADER: Final = {"e": 1, "s": 1, "sp": 1, "i": 1, "cn": 1, "by": 1}
NOTHING: Final[Document] = {"e": 0, "s": 0, "sp": 0, "i": b"", "cn": 0, "by": 0}


class MongoStorage:
    """Rows as documents.

    `clew_threads` has a thread's name, the number that stands for it, and what is courtesy: lease, queue, request to stop.
    A document of `clew_commits` has in `_id` the thread's number and its own; of the thread as it left it the epoch `e`, the
    highest seq `s`, the count of namespaces `sp`, the newest checkpoint's id `i`, how many there are `cn`, and of what size
    `by`; where it moves a namespace its name `ns` and, for finding it, `hn`, its number `k`, head `h` and logs `l`; and `rows`,
    `kept` and `items`, each with a key `k` that begins with the thread's number. `clew_parts` has items that did not fit.
    """

    def __init__(self, connected: Connected) -> None:
        self.connected = connected

    @property
    def _threads(self) -> Any:
        return self.connected.collection("clew_threads")

    @property
    def _commits(self) -> Any:
        return self.connected.collection("clew_commits")

    @property
    def _parts(self) -> Any:
        return self.connected.collection("clew_parts")

    def open(self) -> None:
        """Makes the indexes where they are missing."""
        self.connected.ready()

    def close(self) -> None:
        self.connected.close()

    # -- reading ----------------------------------------------------------------------------------------------------

    def load(self, thread: str, ns: str, checkpoint_id: bytes | None) -> Found:
        with self.connected.asked():
            known = self._threads.find_one({"_id": thread})
            newest = self._newest(known["no"]) if known else None
            if known is None or newest is None:
                return Found()
            found = Found(newest["e"], newest["s"], newest["sp"], lease=self._lease(known, newest))
            space = self._space(known["no"], ns)
            if space is None:
                return found
            found.head, found.number, found.logs = space["h"], space["k"], space["l"]
            seq = found.head if checkpoint_id is None else stamp_of(checkpoint_id)
            if seq is None:
                return found
            for row in self._rows(known["no"], [seq]):
                if row["n"] == found.number and checkpoint_id in (None, row["i"]):
                    self._complete(known["no"], [(found, row)], followed=checkpoint_id is not None)
            return found

    def _newest(self, no: bytes) -> Document | None:
        """The header of the thread's newest commit."""
        return self._commits.find_one(within(no), {**HEADER}, sort=[("_id", -1)])

    def _space(self, no: bytes, ns: str) -> Document | None:
        """The newest commit that moved a namespace."""
        fields = {"ns": 1, "k": 1, "h": 1, "l": 1}
        return self._commits.find_one({"hn": name_of(no, ns), "ns": ns}, fields, sort=[("hn", -1), ("_id", -1)])

    def _rows(self, no: bytes, seqs: Iterable[int]) -> list[Document]:
        """The checkpoints with these numbers, of whatever namespace."""
        keys = {key_of(no, seq) for seq in seqs}
        found = self._commits.find({"rows.k": {"$in": list(keys)}}, {"rows": 1}) if keys else ()
        return [row for document in found for row in document["rows"] if row["k"] in keys]

    def _complete(self, no: bytes, wanted: Sequence[tuple[Found, Document]], *, followed: bool = True) -> None:
        """Each checkpoint with its base, its parent's id, its outcomes, and, where that is asked for, the first after it."""
        others = {seq for _, row in wanted for seq in (row["p"], row["b"]) if seq is not None}
        rows = {number_of(row["k"]): row for row in self._rows(no, others)}
        kept = self._kept(no, [number_of(row["k"]) for _, row in wanted])
        for found, row in wanted:
            seq = number_of(row["k"])
            found.row = row_of(row)
            if row["b"] in rows:
                found.base = row_of(rows[row["b"]])
            if row["p"] in rows:
                found.parent_id = rows[row["p"]]["i"]
            found.kept = list(kept.get(seq, {}).values())
            if followed:
                found.next = self._after(no, row["n"], seq)

    def _kept(self, no: bytes, seqs: Sequence[int]) -> dict[int, dict[str, Kept]]:
        """The outcomes beside checkpoints; of each task the last one."""
        keys = [key_of(no, seq) for seq in seqs]
        found: dict[int, dict[str, Kept]] = {}
        for document in self._commits.find({"kept.k": {"$in": keys}}, {"kept": 1}).sort("_id", 1):
            for one in document["kept"]:
                if one["k"] in keys:
                    seq = number_of(one["k"])
                    found.setdefault(seq, {})[one["t"]] = Kept(seq, one["t"], one["d"])
        return found

    def _after(self, no: bytes, number: int, seq: int) -> Row | None:
        grown = {"k": {"$gt": key_of(no, seq), "$lte": key_of(no, LAST)}, "n": number, "p": seq}
        document = self._commits.find_one({"rows": {"$elemMatch": grown}}, {"rows": 1}, sort=[("rows.k", 1)])
        rows = [row for row in document["rows"] if (row["n"], row["p"]) == (number, seq)] if document else []
        return row_of(min(rows, key=lambda row: row["k"])) if rows else None

    def items(self, thread: str, ranges: Sequence[tuple[int, int, int]]) -> list[bytes]:
        with self.connected.asked():
            known = self._threads.find_one({"_id": thread}, {"no": 1, "big": 1})
            if known is None:
                return []
            found: dict[bytes, bytes] = {}
            for i in range(0, len(ranges), MANY):
                spans = [span_of(known["no"], *range_) for range_ in ranges[i : i + MANY]]
                for item in self._items(known, spans):
                    found[item["k"]] = item["d"]
            places = (place_of(known["no"], log, n) for log, lo, hi in ranges for n in range(lo, hi))
            return [found[place] for place in places if place in found]

    def _items(self, known: Document, spans: Sequence[Document]) -> Iterator[Document]:
        """The items within spans of places, and perhaps others."""
        wanted = {"$or": [{"items": {"$elemMatch": {"k": span}}} for span in spans]}
        for document in self._commits.find(wanted, {"items": 1}):
            yield from document["items"]
        if known.get("big"):
            parts = list(self._parts.find(wanted))
            named = self._commits.find({"parts": {"$in": [part["_id"] for part in parts]}}, {"parts": 1})
            committed = {part for document in named for part in document["parts"]}
            for part in parts:
                if part["_id"] in committed:
                    yield from part["items"]

    def scan(self, thread: str, ns: str, before: int | None, limit: int) -> list[Found]:
        with self.connected.asked():
            known = self._threads.find_one({"_id": thread}, {"no": 1})
            space = self._space(known["no"], ns) if known and limit else None
            if known is None or space is None:
                return []
            below = key_of(known["no"], LAST if before is None else before)
            span = {"k": {"$gte": key_of(known["no"], 0), "$lt": below}, "n": space["k"]}
            rows: list[Document] = []
            for document in self._commits.find({"rows": {"$elemMatch": span}}, {"rows": 1}).sort("rows.k", -1).limit(limit):
                rows += [row for row in document["rows"] if row["n"] == space["k"] and row["k"] < below]
                if len(rows) >= limit:
                    break
            rows.sort(key=lambda row: row["k"], reverse=True)
            wanted = [(Found(head=space["h"], number=space["k"], logs=space["l"]), row) for row in rows[:limit]]
            self._complete(known["no"], wanted)
            return [found for found, _ in wanted]

    def threads(self) -> list[ThreadRow]:
        with self.connected.asked():
            found = [(known["_id"], self._newest(known["no"])) for known in self._threads.find({}, {"no": 1})]
            rows = [
                ThreadRow(name, newest["cn"], newest["i"], newest["by"]) for name, newest in found if newest and newest["i"]
            ]
            return sorted(rows, key=lambda row: row.newest, reverse=True)

    def spaces(self, thread: str) -> list[Space]:
        with self.connected.asked():
            known = self._threads.find_one({"_id": thread}, {"no": 1})
            if known is None:
                return []
            found: dict[str, Space] = {}
            moved = {**within(known["no"]), "hn": {"$exists": True}}
            for one in self._commits.find(moved, {"ns": 1, "k": 1, "h": 1, "l": 1}).sort("_id", 1):
                found[one["ns"]] = Space(one["ns"], one["k"], one["h"], one["l"])
            return sorted(found.values(), key=lambda space: space.number)

    def walk(self, thread: str, after: tuple[int, int], limit: int) -> list[tuple[int, int, bytes]]:
        with self.connected.asked():
            known = self._threads.find_one({"_id": thread}, {"no": 1, "big": 1})
            if known is None:
                return []
            no, found = known["no"], dict[bytes, bytes]()
            start = place_of(no, after[0], after[1] + 1) if after[0] >= 0 else place_of(no, 0, 0)
            span = {"$gte": start, "$lte": place_of(no, (1 << 64) - 1, (1 << 40) - 1)}
            for document in self._commits.find({"items": {"$elemMatch": {"k": span}}}, {"items.k": 1}):
                found.update((item["k"], b"") for item in document["items"] if item["k"] >= start)
            if known.get("big"):
                found.update((item["k"], b"") for item in self._items(known, [span]) if item["k"] >= start)
            places = [placed(key) for key in sorted(found)[:limit]]
        data = self.items(thread, [(log, n, n + 1) for log, n in places])
        return [(log, n, one) for (log, n), one in zip(places, data, strict=True)]

    def weigh(self, thread: str) -> Weight:
        """It reads the whole thread."""
        with self.connected.asked():
            known = self._threads.find_one({"_id": thread}, {"no": 1, "big": 1})
            if known is None:
                return Weight({}, (0, 0), (0, 0))
            rows: list[int] = []
            kept: dict[tuple[bytes, str], int] = {}
            for document in self._commits.find(within(known["no"]), {"rows": 1, "kept": 1}).sort("_id", 1):
                rows += [len(row["d"]) for row in document.get("rows", ())]
                kept.update(((one["k"], one["t"]), len(one["d"])) for one in document.get("kept", ()))
            sizes = {item["k"]: len(item["d"]) for item in self._items(known, [every_place(known["no"])])}
        items: dict[int, tuple[int, int]] = {}
        for key, size in sizes.items():
            count, before = items.get(log := placed(key)[0], (0, 0))
            items[log] = count + 1, before + size
        return Weight(items, (len(rows), sum(rows)), (len(kept), sum(kept.values())))

    def occupies(self) -> int:
        return self.connected.occupies("clew_threads", "clew_commits", "clew_parts")

    def reclaim(self) -> None:
        """WiredTiger uses again what is free; giving it back to the system is `compact`'s business."""

    # -- writing ----------------------------------------------------------------------------------------------------

    def commit(self, batch: Batch) -> bool:
        with self.connected.asked():
            known = self._known(batch)
            leased = self._leased(batch.lease)
            if batch.claim or batch.kept or batch.items or batch.logs is not None:
                self._insert(batch, known["no"], leased)
            elif self._at(known["no"])[1]["e"] != batch.epoch:
                raise conflict(batch.thread)
            if batch.claim or batch.release or batch.lease:
                self._hand(batch, known["no"], leased)
            return bool(known.get("stop")) and not batch.claim

    def _known(self, batch: Batch) -> Document:
        known = self._threads.find_one({"_id": batch.thread})
        if known is None and batch.epoch == 0 and batch.claim:
            known = {"_id": batch.thread, "no": os.urandom(8), "waiting": [], "v": 0}
            try:
                self._threads.insert_one(known)
            except DuplicateKeyError:  # somebody else was quicker
                known = self._threads.find_one({"_id": batch.thread})
        if known is None:
            raise conflict(batch.thread)
        return known

    def _at(self, no: bytes) -> tuple[int, Document]:
        """The number of the thread's newest commit, 0 where there is none, and its header."""
        newest = self._newest(no)
        return (number_of(newest["_id"]), newest) if newest else (0, NOTHING)

    def _insert(self, batch: Batch, no: bytes, leased: Document) -> None:
        document = self._document(batch, no)
        if batch.claim:
            document["lease"] = leased
        while True:
            n, newest = self._at(no)
            if newest["e"] != batch.epoch:
                raise conflict(batch.thread)
            if batch.logs is not None:
                self._check(batch, no)
            rows = document["rows"]
            size = sum(len(data) for _, _, data in batch.items) + sum(len(row["d"]) for row in rows)
            last = max(rows, key=lambda row: row["k"], default=None)
            moved = last is not None and number_of(last["k"]) >= newest["s"]
            document |= {
                "_id": key_of(no, n + 1),
                "e": batch.claim or batch.epoch,
                "s": max(newest["s"], number_of(last["k"])) if last else newest["s"],
                "sp": max(newest["sp"], batch.number + 1) if batch.logs is not None else newest["sp"],
                "i": last["i"] if last and moved else newest["i"],
                "cn": newest["cn"] + len(rows),
                "by": newest["by"] + size,
            }
            try:
                self._commits.insert_one(document)
                return
            except DuplicateKeyError:
                stored = self._commits.find_one({"_id": document["_id"]}, {"c": 1})
                if stored is not None and stored.get("c") == document["c"]:  # ours, of which nobody had heard
                    return

    def _document(self, batch: Batch, no: bytes) -> Document:
        items = [{"k": place_of(no, log, n), "d": data} for log, n, data in batch.items]
        rows = [*batch.history, batch.row] if batch.row else []
        document: Document = {
            "c": os.urandom(8),
            "rows": [
                {"k": key_of(no, seq), "n": batch.number, "i": id_, "p": parent, "b": base, "d": body}
                for seq, id_, parent, base, body in rows
            ],
            "kept": [{"k": key_of(no, kept.seq), "t": kept.task, "d": kept.body} for kept in batch.kept],
            "items": items,
        }
        if sum(len(item["d"]) for item in items) > ROOM:
            document |= {"items": [], "parts": self._put_apart(batch.thread, no, items)}
        if batch.logs is not None:
            head = batch.row.seq if batch.row else batch.head
            document |= {"ns": batch.ns, "hn": name_of(no, batch.ns), "k": batch.number, "h": head, "l": batch.logs}
        return document

    def _put_apart(self, thread: str, no: bytes, items: list[Document]) -> list[bytes]:
        """Writes items that do not fit into one document; nobody reads them before a commit names the parts."""
        self._threads.update_one({"_id": thread, "no": no}, {"$set": {"big": True}})
        parts: list[Document] = []
        left, now = ROOM, self.connected.now()
        for item in items:
            if not parts or len(item["d"]) > left:
                parts.append({"_id": os.urandom(16), "t": no, "at": now, "items": []})
                left = ROOM
            parts[-1]["items"].append(item)
            left -= len(item["d"])
        for part in parts:
            self._parts.insert_one(part)
        return [part["_id"] for part in parts]

    def _check(self, batch: Batch, no: bytes) -> None:
        """That the namespace stands where the batch expects it, and that no number is taken. Raises ThreadConflict."""
        space = self._space(no, batch.ns)
        if (space["h"], space["k"]) != (batch.head, batch.number) if space else batch.head is not None:
            raise conflict(batch.thread)
        rows = [key_of(no, row.seq) for row in (*batch.history, *([batch.row] if batch.row else []))]
        places = [place_of(no, log, n) for log, n, _ in batch.items]
        for i in range(0, max(len(rows), len(places)), MANY):
            taken = [{"rows.k": {"$in": rows[i : i + MANY]}}, {"items.k": {"$in": places[i : i + MANY]}}]
            if self._commits.find_one({"$or": taken}, {"_id": 1}):
                raise conflict(batch.thread)

    # -- courtesy: lease, queue, request to stop ----------------------------------------------------------------------

    def _lease(self, known: Document, newest: Document) -> Lease | None:
        if known.get("e") != newest["e"]:  # what the claim was to write here has not come, or never will
            claims = {**within(known["no"]), "lease": {"$exists": True}}
            claim = self._commits.find_one(claims, {"lease": 1}, sort=[("_id", -1)])
            known = claim["lease"] if claim else {}
        if known.get("run") is None:
            return None
        return Lease(known["run"], known["owner"], known["base"], known["until"] - self.connected.now())

    def _leased(self, lease: Lease | None) -> Document:
        if lease is None:
            return {"run": None}
        return {"run": lease.run, "owner": lease.owner, "base": lease.base, "until": self.connected.now() + lease.seconds}

    def _hand(self, batch: Batch, no: bytes, leased: Document) -> None:
        """Writes who has the thread, unless somebody of a later epoch has by now."""
        lease, epoch = batch.lease, batch.claim or batch.epoch
        fields: Document = {"e": epoch, **leased}
        changes: Document = {"$set": fields}
        if batch.claim:
            fields["stop"] = False
            changes |= {"$pull": {"waiting": {"run": lease.run if lease else b""}}, "$inc": {"v": 1}}
        mine = {"_id": batch.thread, "no": no, "$or": [{"e": {"$exists": False}}, {"e": {"$lte": epoch}}]}
        self._threads.update_one(mine, changes)

    def wait(self, thread: str, run: bytes, seconds: float, stop: bool) -> bool:
        with self.connected.asked():
            while True:
                known = self._threads.find_one({"_id": thread}, {"waiting": 1, "v": 1})
                if known is None:
                    return True
                now = self.connected.now()
                waiting = [one for one in known["waiting"] if one["until"] >= now or one["run"] == run]
                place = next((one for one in waiting if one["run"] == run), None)
                if place is None:
                    waiting.append(place := {"run": run})
                place["until"] = now + seconds
                fields = {"waiting": waiting, **({"stop": True} if stop else {})}
                same = {"_id": thread, "v": known["v"]}
                if self._threads.update_one(same, {"$set": fields, "$inc": {"v": 1}}).matched_count:
                    return waiting[0]["run"] == run

    def leave(self, thread: str, run: bytes) -> None:
        with self.connected.asked():
            self._threads.update_one({"_id": thread}, {"$pull": {"waiting": {"run": run}}, "$inc": {"v": 1}})

    # -- deleting ---------------------------------------------------------------------------------------------------

    def drop(self, thread: str) -> None:
        """The name goes first: what is cut short after that leaves documents that nobody finds any more."""
        with self.connected.asked():
            known = self._threads.find_one_and_delete({"_id": thread})
            if known is not None:
                self._commits.delete_many(within(known["no"]))
                self._parts.delete_many({"t": known["no"]})

    def prune(self, pruning: Pruning) -> None:
        """Whoever prunes has the thread's epoch, so nobody writes meanwhile; each step leaves what can be read, and what is cut
        short is done when it is asked for again."""
        with self.connected.asked():
            known = self._threads.find_one({"_id": pruning.thread}, {"no": 1})
            no = known["no"] if known else b""
            newest = self._newest(no)
            if newest is None:
                raise conflict(pruning.thread)
            for collection, which, change in self._changes(no, pruning):
                if self._at(no)[1]["e"] != pruning.epoch:
                    raise conflict(pruning.thread)
                collection.update_many(which, change)
            self._tidy(no, newest["_id"])
            after = self.weigh(pruning.thread)
            size = sum(size for _, size in after.items.values()) + after.checkpoints[1]
            self._commits.update_one({"_id": newest["_id"]}, {"$set": {"cn": after.checkpoints[0], "by": size}})

    def _changes(self, no: bytes, pruning: Pruning) -> Iterator[tuple[Any, Document, Document]]:
        """The writes of a pruning: what is replaced first, heads before their rows, and rows before their items."""
        for log, n, data in pruning.items:
            for items in (self._commits, self._parts):
                yield items, {"items.k": place_of(no, log, n)}, {"$set": {"items.$.d": data}}
        for seq, id_, parent, base, body in pruning.changed:
            fields = {"rows.$.i": id_, "rows.$.p": parent, "rows.$.b": base, "rows.$.d": body}
            yield self._commits, {"rows.k": key_of(no, seq)}, {"$set": fields}
        if pruning.spaces:
            yield self._commits, {**within(no), "k": {"$in": pruning.spaces}}, {"$unset": dict.fromkeys(SPACE, 1)}
        keys = [key_of(no, seq) for seq in pruning.rows]
        for name in ("rows", "kept") if keys else ():
            yield self._commits, {f"{name}.k": {"$in": keys}}, {"$pull": {name: {"k": {"$in": keys}}}}
        for range_ in pruning.ranges:
            span = span_of(no, *range_)
            for items in (self._commits, self._parts):
                yield items, {"items": {"$elemMatch": {"k": span}}}, {"$pull": {"items": {"k": span}}}

    def _tidy(self, no: bytes, newest: bytes) -> None:
        """Leaves nothing but their numbers of commits before the newest that say nothing any more, and nothing at all of what
        was left so a day ago; nor of parts that no commit names."""
        heads = {
            one["hn"]: one["_id"]
            for one in self._commits.find({**within(no), "hn": {"$exists": True}}, {"hn": 1}).sort("_id", 1)
        }
        now = self.connected.now()
        older = {"$gte": key_of(no, 0), "$lt": newest}
        self._commits.delete_many({"_id": older, "z": {"$lt": now - DAY}})
        empty = {"rows": [], "kept": [], "items": [], "parts": {"$exists": False}}
        fields = ("c", "rows", "kept", "items", "lease", *HEADER, *SPACE)
        change = {"$set": {"z": now}, "$unset": dict.fromkeys(fields, 1)}
        self._commits.update_many({"_id": {**older, "$nin": list(heads.values())}, **empty}, change)
        named = self._commits.find({**within(no), "parts": {"$exists": True}}, {"parts": 1})
        parts = [part for document in named for part in document["parts"]]
        self._parts.delete_many({"t": no, "$or": [{"items": []}, {"_id": {"$nin": parts}, "at": {"$lt": now - DAY}}]})


class MongoDBSaver(Saver):
    """Keeps threads in MongoDB, alone, as a replica set, or sharded; each commit is in the journal of a majority before it is
    heard of. No state is too large: what is above 8 MB is in several documents.

    Args:
        client: a URL, or a `MongoClient` of pymongo, which is used and left open; an `AsyncMongoClient` tells how to connect.
        db_name: the database; made where there is none. Its collections begin with `clew_`.
        patience: seconds for which a call is made again while the server cannot be reached. lease, encryption, retention: see
            `Saver`; old threads are deleted by `retention`.

    Raises:
        TypeError: `client` is none of these. DatabaseError: on use, where the server refuses or cannot be reached.
    """

    def __init__(
        self,
        client: Any,
        db_name: str = "checkpointing_db",
        *,
        patience: float = 30.0,
        lease: float = LEASE,
        encryption: Encryption | None = None,
        retention: Retention | None = None,
    ) -> None:
        self.rows = MongoStorage(Connected(client, db_name))
        super().__init__(Reconnecting(self.rows, LOST, patience), lease=lease, encryption=encryption, retention=retention)

    @classmethod
    def from_conn_string(cls, conn_string: str, db_name: str = "checkpointing_db", **options: Any) -> Self:
        """A saver of this URL, to be used as `with MongoDBSaver.from_conn_string("mongodb://localhost") as saver:` (or
        `async with`). Options: see the class."""
        return cls(conn_string, db_name, **options)

    def setup(self) -> None:
        """Makes the indexes where they are missing. Done by itself on first use."""
        self.rows.open()


AsyncMongoDBSaver = MongoDBSaver
"""The import path that async users know; it is the same class."""
