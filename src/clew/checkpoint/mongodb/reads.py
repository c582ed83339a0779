"""The reading verbs of a storage in MongoDB; what a document holds stands in `storage`."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

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
from clew.checkpoint.storage import Found, Kept, Lease, Row, Space, ThreadRow, Weight
from clew.clients.mongodb import Connected
from clew.ids import stamp_of

MANY: Final = 500  # places that are asked for at once
SPACE: Final = ("ns", "hn", "k", "h", "l")
HEADER: Final = {"e": 1, "s": 1, "sp": 1, "i": 1, "cn": 1, "by": 1}


class Reads:
    """Finds documents, and makes rows out of them."""

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
            if seq is None or found.head is None or seq > found.head:
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

    def _lease(self, known: Document, newest: Document) -> Lease | None:
        if known.get("e") != newest["e"]:  # what the claim was to write here has not come, or never will
            claims = {**within(known["no"]), "lease": {"$exists": True}}
            claim = self._commits.find_one(claims, {"lease": 1}, sort=[("_id", -1)])
            known = claim["lease"] if claim else {}
        if known.get("run") is None:
            return None
        return Lease(known["run"], known["owner"], known["base"], known["until"] - self.connected.now())

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
            if known is None or space is None or space["h"] is None:
                return []
            below = key_of(known["no"], space["h"] + 1 if before is None else min(before, space["h"] + 1))
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
            span = {**every_place(no), "$gte": start}
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
        """WiredTiger uses again what is free; to give it back to the system is `compact`'s business."""
