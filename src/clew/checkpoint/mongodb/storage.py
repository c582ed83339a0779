"""Threads kept in MongoDB, or what speaks its protocol; a server that stands alone will do.

**One document a commit.** The commits of a thread are numbered; a commit is one insert, under the next number. Before it the
newest commit is read, which says the thread's epoch; after it whoever reads finds all of it. Of two writers that have read the
same newest commit one inserts, and the other is told that the number is taken, looks again, and is refused where the epoch is
another by now. So a commit is whole or not at all, whatever the server knows of transactions, and whoever slept through a
claim, which takes a number as well, can write nothing. What is large goes before it, into bundles that it names; one that no
commit names is a leftover, and is not read.

**Commits do not stay single** (`compaction`): where enough have come, the one that gives the thread back names bundles that
hold all of them, and is the floor from then on. What was before it is void, which readers see by its number, and may be deleted
at any time, by whoever slept however long. A pruning is such a commit as well; what is to go is in none of its bundles.

The lease is written beside the commit that claims, and in it: where the first was cut short, the second counts. Beside it
stands the number of a late commit, which is where the newest is looked for.
"""

import os
from typing import Final

from clew.checkpoint.mongodb import events
from clew.checkpoint.mongodb.compaction import Compacted, Compacting, Left, is_due, weight_of
from clew.checkpoint.mongodb.documents import (
    Bundle,
    Commit,
    Contents,
    Document,
    Move,
    State,
    blocks_of,
    commit_key,
    space_key,
)
from clew.checkpoint.mongodb.view import View
from clew.checkpoint.storage import Batch, Lease, Pruning, conflict
from clew.clients.mongodb import DuplicateKeyError

INLINE: Final = 256 << 10  # bytes that a commit holds itself


class MongoStorage(Compacting):
    """Rows as documents.

    `clew_threads` has a thread's name, the number `no` that stands for it, the number `n` of a late commit, and what is
    courtesy: lease, queue, request to stop. What is deleted leaves its `no` there for a day (`gone`, then `erased`).
    `clew_commits` has commits, their `_id` being the thread's number and their own, and bundles, whose `_id` is longer. Most is
    packed in `d`: see `documents`. What indexes are built on: keys of the namespace that a commit moved `m`, of rows `q` that
    do not have their commit's number, of their parents `p` where these are not the rows before, of outcomes `o`, of items `i`,
    of bundles that a commit names `g`, of namespaces that a bundle has rows of, or says the heads of, `s`. Event logs stand in
    `ev`: see `events`.
    """

    def open(self) -> None:
        """Makes the indexes where they are missing, and deletes what was to be deleted."""
        self.connected.ready()
        with self.connected.asked():
            self._sweep()

    # -- writing ----------------------------------------------------------------------------------------------------

    def commit(self, batch: Batch) -> bool:
        with self.connected.asked():
            leased = self._leased(batch.lease)
            if batch.claim or batch.kept or batch.items or batch.logs is not None or batch.events:
                known, n, compacted = self._insert(batch, leased)
                if batch.events:
                    events.drop_below(self._commits, known["no"], n, batch.events)
            else:
                known, n, compacted = self._untouched(batch)
            if batch.claim or batch.release or batch.lease:
                self._hand(batch, known["no"], leased, n)
            if compacted:
                self._forget(batch.thread, compacted)
            return bool(known.get("stop")) and not batch.claim

    def _untouched(self, batch: Batch) -> tuple[Document, int, Compacted | None]:
        """As `_insert`, where nothing is to be written but who has the thread."""
        view = self._view(batch.thread)
        if view is None or view.known is None or view.newest.state.epoch != batch.epoch:
            raise conflict(batch.thread)
        compacted = None
        if batch.release and is_due(view.newest.state):
            compacted = self._floor(view, Pruning(batch.thread, batch.epoch), set())
        return view.known, compacted.n if compacted else view.newest.n, compacted

    def _numbered(self, batch: Batch) -> tuple[bytes, int]:
        """The number that stands for the thread, and that of a late commit; a new thread is made for whoever claims it."""
        known: Document | None = self._threads.find_one({"_id": batch.thread})
        while known is None and batch.epoch == 0 and batch.claim:
            nobody: list[Document] = []
            known = {"_id": batch.thread, "no": os.urandom(4), "waiting": nobody, "v": 0}
            try:
                if self._threads.find_one({"_id": known["no"]}):  # of a thread that is being deleted
                    known = None
                else:
                    self._threads.insert_one(known)
            except DuplicateKeyError:  # somebody else was quicker, or has the number
                known = self._threads.find_one({"_id": batch.thread})
        if known is None:
            raise conflict(batch.thread)
        return known["no"], known.get("n", 0)

    def _insert(self, batch: Batch, leased: Document) -> tuple[Document, int, Compacted | None]:
        """Inserts a commit. Returns what stands beside the thread's name, the commit's number, and where it has become the
        floor, what it has compacted."""
        no, at = (self._seen.get(batch.thread) if batch.epoch else None) or self._numbered(batch)
        while True:
            view = self._writes(batch, no, at)
            n = view.newest.n + 1 if view else 1
            commit = Commit(commit_key(no, n), lease=leased if batch.claim else None)
            fields: Document = {}
            if batch.logs is not None:
                commit.moves = [self._move(view, batch, batch.logs)]
                fields["m"] = space_key(no, batch.ns)
            compacted = None
            if view and is_due(view.newest.state) and (batch.release or (batch.claim and batch.lease is None)):
                compacted = self._compacted(view, Left(Pruning(batch.thread, batch.epoch)), set())
            fresh = self._fill(commit, batch, view.newest.state if view else State(), compacted)
            if batch.events:
                now = self.connected.now()
                fields["ev"] = events.of_commit(self._commits, no, n, batch.claim or batch.epoch, batch.events, now)
            if known := self._put(batch.thread, commit, fresh, _parents(batch, commit), fields):
                return known, n, compacted
            at = n

    def _fill(self, commit: Commit, batch: Batch, before: State, compacted: Compacted | None) -> list[Bundle]:
        """Puts into a commit what it brings, and what was compacted for it. Returns the bundles that were written for it."""
        kept = [(commit.n, one) for one in batch.kept]
        contents = Contents([(batch.number, row) for row in batch.history], kept, batch.items)
        size, rows, fresh = contents.size, len(contents.rows), list[Bundle]()
        if weight_of(contents) > INLINE:
            filling = self._filling(commit.key)
            filling.add(contents)
            fresh, contents = filling.end(), Contents()
        if batch.row:
            contents.rows.append((batch.number, batch.row))
            size, rows = size + len(batch.row.body), rows + 1
        commit.contents, commit.bundles = contents, fresh
        commit.state = State(
            epoch=batch.claim or batch.epoch,
            seq=max(before.seq, batch.row.seq) if batch.row else before.seq,
            spaces=max(before.spaces, batch.number + 1) if batch.logs is not None else before.spaces,
            checkpoints=before.checkpoints + rows,
            size=before.size + size,
            floor=before.floor,
            above=before.above + weight_of(contents),
            newest=batch.row.id if batch.row and batch.row.seq >= before.seq else before.newest,
        )
        if compacted is None:
            return fresh
        compacted.bundles.extend(fresh)
        compacted.fresh.extend(fresh)
        commit.state = commit.state._replace(floor=commit.n, above=0)
        commit.bundles, commit.lease = compacted.bundles, commit.lease or compacted.lease
        return compacted.fresh

    def _writes(self, batch: Batch, no: bytes, at: int) -> View | None:
        """The thread as it stands, None for a new one. Raises ThreadConflict where it is not the batch's to write."""
        newest = self._newest(batch.thread, no, at)
        while newest is None and at:  # a pruning has gone beyond it, or the thread is another by now
            self._seen.pop(batch.thread, None)
            now, at = self._numbered(batch)
            if now != no:
                raise conflict(batch.thread)
            newest = self._newest(batch.thread, no, at)
        if (newest.state.epoch if newest else 0) != batch.epoch:
            raise conflict(batch.thread)
        return View(self._commits, no, newest, self._floors) if newest else None

    def _move(self, view: View | None, batch: Batch, logs: bytes) -> Move:
        """The namespace as the batch leaves it. Raises ThreadConflict where it does not stand as the batch expects it, and
        where a number is taken."""
        space = view.space(batch.ns) if view else None
        if (space.head, space.number) != (batch.head, batch.number) if space else batch.head is not None:
            raise conflict(batch.thread)
        rows = {row.seq for row in (*batch.history, *([batch.row] if batch.row else []))}
        places = {(log, n) for log, n, _ in batch.items}
        if view is not None:
            late = min(rows, default=0) > view.newest.state.seq
            blocks = dict.fromkeys(key for log, n in sorted(places) for key in blocks_of(view.no, log, n, n + 1))
            stored = {(log, n) for one in view.having("i", blocks) for log, n, _ in one.contents.items}
            if places & stored or (not late and view.rows(rows)):
                raise conflict(batch.thread)
        head = batch.row.seq if batch.row else batch.head
        return Move(batch.number, head, logs, batch.ns if space is None else None)

    # -- courtesy: lease, queue, request to stop ----------------------------------------------------------------------

    def _leased(self, lease: Lease | None) -> Document:
        if lease is None:
            return {"run": None}
        return {"run": lease.run, "owner": lease.owner, "base": lease.base, "until": self.connected.now() + lease.seconds}

    def _hand(self, batch: Batch, no: bytes, leased: Document, n: int) -> None:
        """Writes who has the thread, unless somebody of a later epoch has by now."""
        lease, epoch = batch.lease, batch.claim or batch.epoch
        fields: Document = {"e": epoch, **leased}
        changes: Document = {"$set": fields, "$max": {"n": n}}
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

    # -- event logs -------------------------------------------------------------------------------------------------

    def expire(self, limit: int) -> int:
        with self.connected.asked():
            now, gone = self.connected.now(), 0
            for log in events.over(self._commits, now, limit):
                known = self._threads.find_one({"no": log["_id"][:4]}, {"_id": 1})
                view = self._view(known["_id"]) if known else None
                if events.is_expired(log, self._lease(view) if view else None, now):
                    events.forget(self._commits, log)
                    gone += 1
            return gone


def _parents(batch: Batch, commit: Commit) -> list[int | None]:
    """The parents of a commit's rows, where these are not the rows before them."""
    rows = [row for _, row in commit.contents.rows]
    before = [batch.head, *(row.seq for row in rows)]
    return [row.parent for row, last in zip(rows, before, strict=False) if row.parent != last]
