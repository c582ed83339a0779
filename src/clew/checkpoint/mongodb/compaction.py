"""Pruning as one commit: what is left of a thread goes into bundles, and a commit that names them is the floor from then on.

Bundles of which nothing goes are named again as they are, so a pruning costs what it touches and what has been committed since
the last one, not what the thread holds. The commit takes the next number under the pruner's epoch, as every other does: so a
pruning is whole or not at all, and none where another has the thread by now. Only then void documents are deleted, the oldest
commits first, so that where one is left the one after it is; and nobody minds when, or whether.
"""

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any, Final

from pymongo import DeleteOne

from clew.checkpoint.mongodb.documents import (
    TOKEN,
    Bundle,
    Commit,
    Contents,
    Document,
    Item,
    Move,
    blocks_of,
    bundles_of,
    commit_key,
    commits_of,
    keys_of,
    packed,
    row_keys,
    seq_key,
)
from clew.checkpoint.mongodb.reads import Reads
from clew.checkpoint.mongodb.view import MANY, View
from clew.checkpoint.storage import Kept, Pruning, Row, conflict
from clew.clients.mongodb import DuplicateKeyError

FULL: Final = (
    256 << 10
)  # bytes in a bundle, but for what is one and larger; of half as many, a bundle is written anew with others
OVERHEAD: Final = 50  # bytes of a row, an outcome or an item beside its body
DAY: Final = 86_400.0  # seconds after which no commit can still be on its way that names a bundle


class Left:
    """What a pruning leaves of what is added, a later one in place of an earlier one."""

    def __init__(self, pruning: Pruning) -> None:
        self.dead = set(pruning.rows)
        self.changed = {row.seq: row for row in pruning.changed}
        self.replaced = {(log, n): data for log, n, data in pruning.items}
        self.ranges: dict[int, list[tuple[int, int]]] = {}
        for log, lo, hi in sorted(pruning.ranges):
            self.ranges.setdefault(log, []).append((lo, hi))
        self.rows: dict[int, dict[int, Row]] = {}
        self.kept: dict[tuple[int, str], Kept] = {}
        self.items: dict[tuple[int, int], bytes] = {}
        self.before = [0, 0]  # checkpoints, and bytes of these and of items

    def add(self, contents: Contents) -> None:
        self.before[0] += len(contents.rows)
        self.before[1] += contents.size
        for number, row in contents.rows:
            if row.seq not in self.dead:
                self.rows.setdefault(number, {})[row.seq] = self.changed.get(row.seq, row)
        self.kept |= {(one.seq, one.task): one for one in contents.kept if one.seq not in self.dead}
        for log, n, data in contents.items:
            if not self._goes(log, n):
                self.items[log, n] = self.replaced.get((log, n), data)

    def _goes(self, log: int, n: int) -> bool:
        ranges = self.ranges.get(log, ())
        at = bisect_right(ranges, (n, 1 << 62)) - 1
        return at >= 0 and n < ranges[at][1]

    @property
    def gone(self) -> tuple[int, int]:
        """How many checkpoints go, and bytes."""
        rows = [row for some in self.rows.values() for row in some.values()]
        size = sum(len(row.body) for row in rows) + sum(map(len, self.items.values()))
        return self.before[0] - len(rows), self.before[1] - size

    def contents(self) -> Contents:
        rows = [(number, self.rows[number][seq]) for number in sorted(self.rows) for seq in sorted(self.rows[number])]
        items = [(log, n, self.items[log, n]) for log, n in sorted(self.items)]
        return Contents(rows, list(self.kept.values()), items)


def bundled(contents: Contents) -> Iterator[Contents]:
    """What fits into a bundle each: rows of one namespace, or outcomes and items."""
    number, bundle, size = -1, Contents(), 0
    for its, row in contents.rows:
        if bundle.rows and (its != number or size + len(row.body) > FULL):
            yield bundle
            bundle, size = Contents(), 0
        number, size = its, size + len(row.body) + OVERHEAD
        bundle.rows.append((its, row))
    if bundle.rows:
        yield bundle
    bundle, items, size = Contents(), list[Item](), 0
    for one in (*contents.kept, *contents.items):
        more = len(one[2])
        if size and size + more > FULL:
            yield Contents([], bundle.kept, items)
            bundle, items, size = Contents(), [], 0
        size += more + OVERHEAD
        bundle.kept.append(one) if isinstance(one, Kept) else items.append(one)
    if size:
        yield Contents([], bundle.kept, items)


class Compacting(Reads):
    """Writes bundles and commits, and prunes."""

    # -- documents ----------------------------------------------------------------------------------------------------

    def _put_apart(self, no: bytes, contents: Contents) -> list[Bundle]:
        """Writes bundles; nobody reads them before a commit names them."""
        bundles: list[Bundle] = []
        now = self.connected.now()
        for one in bundled(contents):
            size = one.size + sum(len(kept.body) for kept in one.kept)
            span = (one.rows[0][0], one.rows[0][1].seq, one.rows[-1][1].seq) if one.rows else ()
            bundles.append(bundle := Bundle(no + os.urandom(TOKEN), size, *span))
            keys = keys_of(no, one, [row.parent for _, row in one.rows])
            self._commits.insert_one({"_id": bundle.id, "at": now, "d": packed(Commit(bundle.id, contents=one)), **keys})
        return bundles

    def _put(self, thread: str, commit: Commit, parents: Iterable[int | None], fields: Document) -> Document | None:
        """Inserts a commit, unless its number is taken. Returns what stands beside the thread's name.

        Raises:
            ThreadConflict: there was room for it only because whoever writes has slept: a pruning has gone beyond it, or the
                thread is deleted.
        """
        no = commit.key[:4]
        document = {"_id": commit.key, "d": packed(commit), **keys_of(no, commit.contents, parents, commit.n), **fields}
        if commit.bundles and commit.n != commit.state.floor:
            document["g"] = [bundle.id for bundle in commit.bundles]
        try:
            self._commits.insert_one(document)
        except DuplicateKeyError:
            if self._commits.find_one({"_id": commit.key}) != document:  # otherwise ours, of which nobody had heard
                return None
        known: Document | None = self._threads.find_one({"_id": thread, "no": no})
        if known is None or (known.get("n", 0) > commit.n and not self._counts(thread, commit)):
            self._commits.delete_one({"_id": commit.key})
            raise conflict(thread)
        self._remember(thread, no, commit.n)
        return known

    def _counts(self, thread: str, commit: Commit) -> bool:
        view = self._view(thread)
        return view is not None and view.no == commit.key[:4] and view.floor <= commit.n

    # -- pruning ------------------------------------------------------------------------------------------------------

    def prune(self, pruning: Pruning) -> None:
        with self.connected.asked():
            while True:
                view = self._view(pruning.thread)
                if view is None or view.newest.state.epoch != pruning.epoch:
                    raise conflict(pruning.thread)
                commits = list(view.forth())
                bundles = [bundle for commit in commits for bundle in commit.bundles]
                old = self._old(view, pruning, bundles)
                if self._compact(view, pruning, commits, bundles, old):
                    break
            self._forget(pruning.thread, view, bundles, old)
            self._sweep()

    def _old(self, view: View, pruning: Pruning, bundles: list[Bundle]) -> set[bytes]:
        """Bundles that are written anew: something in them goes or is replaced, or they are small."""
        rows = [*pruning.rows, *(row.seq for row in pruning.changed)]
        ranges = [*pruning.ranges, *((log, n, n + 1) for log, n, _ in pruning.items)]
        found = view.bundles_having("q", row_keys(view.no, rows))
        found |= view.bundles_having("o", [seq_key(view.no, seq) for seq in pruning.rows])
        found |= view.bundles_having("i", dict.fromkeys(key for one in ranges for key in blocks_of(view.no, *one)))
        return {bundle.id for bundle in bundles if bundle.id in found or bundle.size < FULL // 2}

    def _compact(self, view: View, pruning: Pruning, commits: list[Commit], bundles: list[Bundle], old: set[bytes]) -> bool:
        left, moves = Left(pruning), dict[int, Move]()
        for one in (*view.bundles([bundle for bundle in bundles if bundle.id in old]), *commits):
            left.add(one.contents)
            for move in one.moves:
                moves[move.number] = move._replace(ns=moves[move.number].ns if move.ns is None else move.ns)
        state, (rows, size) = view.newest.state, left.gone
        n = view.newest.n + 1
        state = state._replace(checkpoints=state.checkpoints - rows, size=state.size - size, floor=n)
        fresh = self._put_apart(view.no, left.contents())
        floor = Commit(
            commit_key(view.no, n),
            state,
            [move for number, move in sorted(moves.items()) if number not in pruning.spaces],
            bundles=[*(bundle for bundle in bundles if bundle.id not in old), *fresh],
            lease=next((commit.lease for commit in reversed(commits) if commit.lease), None),
        )
        if self._put(pruning.thread, floor, [], {}):
            return True
        self._commits.delete_many({"_id": {"$in": [bundle.id for bundle in fresh]}})
        return False

    def _forget(self, thread: str, view: View, bundles: list[Bundle], old: set[bytes]) -> None:
        """Deletes what is void by now, and what was left of earlier ones, but for the event logs in it."""
        no, floor = view.no, view.newest.n + 1
        self._threads.update_one({"_id": thread, "no": no}, {"$max": {"n": floor}})
        logs: Document = {"ev": {"$exists": True}}
        self._commits.update_many({"_id": commits_of(no, floor - 1), **logs}, {"$unset": dict.fromkeys("dmqoipg", 1)})
        none: Document = {"ev": {"$exists": False}}
        void: list[Any] = [DeleteOne({"_id": commit_key(no, n), **none}) for n in range(max(view.floor, 1), floor)]
        for i in range(0, len(void), MANY):
            self._commits.bulk_write(void[i : i + MANY], ordered=True)
        self._commits.delete_many({"_id": commits_of(no, floor - 1), "at": {"$exists": False}, **none})
        named = {bundle.id for bundle in bundles} - old
        before = {"_id": bundles_of(no), "at": {"$lt": self.connected.now() - DAY}}
        late = {one["_id"] for one in self._commits.find(before, {"_id": 1})} - named
        self._commits.delete_many({"_id": {"$in": list(old | late)}})

    # -- deleting ---------------------------------------------------------------------------------------------------

    def drop(self, thread: str) -> None:
        """That the documents are to go is written first, then the name goes; what is cut short after that is swept later."""
        with self.connected.asked():
            known = self._threads.find_one({"_id": thread}, {"no": 1})
            if known is not None:
                gone = {"_id": known["no"], "gone": self.connected.now()}
                self._threads.replace_one({"_id": known["no"]}, gone, upsert=True)
                self._threads.delete_one({"_id": thread, "no": known["no"]})
            self._seen.pop(thread, None)
            self._sweep()

    def _sweep(self) -> None:
        """Deletes the documents of threads that are gone: once at once, and once a day later, should somebody who slept have
        written any meanwhile."""
        for one in list(self._threads.find({"gone": {"$exists": True}})):
            if self._threads.find_one({"no": one["_id"]}, {"_id": 1}) is None:  # otherwise its name is still there
                self._erase(one["_id"])
                self._threads.replace_one({"_id": one["_id"]}, {"_id": one["_id"], "erased": one["gone"]})
        for one in list(self._threads.find({"erased": {"$lt": self.connected.now() - DAY}})):
            self._erase(one["_id"])
            self._threads.delete_one({"_id": one["_id"]})

    def _erase(self, no: bytes) -> None:
        self._commits.delete_many({"_id": commits_of(no)})
        self._commits.delete_many({"_id": bundles_of(no)})
