"""Threads kept in MongoDB, or what speaks its protocol; a server that stands alone will do.

**One document a commit.** The commits of a thread are numbered; a commit is one insert, under the next number. Before it the
newest commit is read, which says the thread's epoch; after it whoever reads finds all of it. Of two writers that have read the
same newest commit one inserts, and the other is told that the number is taken, looks again, and is refused where the epoch is
another by now. So a commit is whole or not at all, whatever the server knows of transactions, and whoever slept through a
claim, which takes a number as well, can write nothing. What does not fit into one document goes before it, into parts that it
names; a part that no commit names is a leftover, and is not read.

A number that was taken stays taken, or whoever slept could still have it: of a commit that is pruned empty its number is left,
for a day (`DAY`). The lease is written beside the commit that claims, and in it: where the first was cut short, the second
counts. A history that does not fit comes in commits before the one that moves the head: of a namespace nothing is read that is
above its head. Pruning is several writes, each of which leaves what can be read, and each made only while the epoch is the
pruner's.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from clew.checkpoint.mongodb.documents import (
    Document,
    key_of,
    name_of,
    number_of,
    place_of,
    span_of,
    within,
)
from clew.checkpoint.mongodb.reads import HEADER, MANY, SPACE, Reads
from clew.checkpoint.storage import Batch, Kept, Lease, Pruning, Row, conflict
from clew.clients.mongodb import DuplicateKeyError

ROOM: Final = 8 << 20  # bytes of items in one document, whose most is 16 MB; a single item has no more than this
OVERHEAD: Final = 200  # bytes of a row, or an outcome, beside its body
DAY: Final = 86_400.0  # seconds after which no write can still be on its way
NOTHING: Final[Document] = {"e": 0, "s": 0, "sp": 0, "i": b"", "cn": 0, "by": 0}


def _piece(batch: Batch, rows: list[Row], kept: dict[int, list[Kept]]) -> Batch:
    """Some of a batch's history, with the outcomes beside it, which it takes out of `kept`."""
    beside = [outcome for row in rows for outcome in kept.pop(row.seq, ())]
    return Batch(batch.thread, batch.ns, batch.number, None, batch.epoch, kept=beside, history=rows[:-1], row=rows[-1])


class MongoStorage(Reads):
    """Rows as documents.

    `clew_threads` has a thread's name, the number that stands for it, and what is courtesy: lease, queue, request to stop.
    A document of `clew_commits` has in `_id` the thread's number and its own; of the thread as it left it the epoch `e`, the
    highest seq `s`, the count of namespaces `sp`, the newest checkpoint's id `i`, how many there are `cn`, and of what size
    `by`; where it moves a namespace its name `ns` and, for finding it, `hn`, its number `k`, head `h` and logs `l`; and `rows`,
    `kept` and `items`, each with a key `k` that begins with the thread's number. `clew_parts` has items that did not fit.
    """

    # -- writing ----------------------------------------------------------------------------------------------------

    def commit(self, batch: Batch) -> bool:
        with self.connected.asked():
            known = self._known(batch)
            leased = self._leased(batch.lease)
            if batch.claim or batch.kept or batch.items or batch.logs is not None:
                for one in self._in_pieces(batch, known["no"]):
                    self._insert(one, known["no"], leased)
            elif self._at(known["no"])[1]["e"] != batch.epoch:
                raise conflict(batch.thread)
            if batch.claim or batch.release or batch.lease:
                self._hand(batch, known["no"], leased)
            return bool(known.get("stop")) and not batch.claim

    def _known(self, batch: Batch) -> Document:
        known: Document | None = self._threads.find_one({"_id": batch.thread})
        if known is None and batch.epoch == 0 and batch.claim:
            nobody: list[Document] = []
            known = {"_id": batch.thread, "no": os.urandom(8), "waiting": nobody, "v": 0}
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

    def _in_pieces(self, batch: Batch, no: bytes) -> list[Batch]:
        """A batch whose history does not fit into one document, as several; the last one has all else, and the head."""
        if sum(len(row.body) + OVERHEAD for row in batch.history) + sum(len(one.body) + OVERHEAD for one in batch.kept) < ROOM:
            return [batch]
        self._check(batch, no)
        kept: dict[int, list[Kept]] = {}
        for outcome in batch.kept:
            kept.setdefault(outcome.seq, []).append(outcome)
        pieces, rows, left = list[Batch](), list[Row](), ROOM
        for row in batch.history:
            size = sum(len(one.body) + OVERHEAD for one in (row, *kept.get(row.seq, ())))
            if rows and size > left:
                pieces.append(_piece(batch, rows, kept))
                rows, left = [], ROOM
            rows.append(row)
            left -= size
        if rows:
            pieces.append(_piece(batch, rows, kept))
        return [*pieces, replace(batch, history=[], kept=[outcome for some in kept.values() for outcome in some])]

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
                waiting: list[Document] = [one for one in known["waiting"] if one["until"] >= now or one["run"] == run]
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
            counts = {"cn": after.checkpoints[0], "by": after.bytes - after.kept[1]}
            self._commits.update_one({"_id": newest["_id"]}, {"$set": counts})

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
        empty: Document = {"rows": [], "kept": [], "items": [], "parts": {"$exists": False}}
        fields = ("c", "rows", "kept", "items", "lease", *HEADER, *SPACE)
        change = {"$set": {"z": now}, "$unset": dict.fromkeys(fields, 1)}
        self._commits.update_many({"_id": {**older, "$nin": list(heads.values())}, **empty}, change)
        named = self._commits.find({**within(no), "parts": {"$exists": True}}, {"parts": 1})
        parts = [part for document in named for part in document["parts"]]
        self._parts.delete_many({"t": no, "$or": [{"items": []}, {"_id": {"$nin": parts}, "at": {"$lt": now - DAY}}]})
