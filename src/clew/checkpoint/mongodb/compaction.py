"""Many commits in few documents: they go into bundles, and a commit that names them is the floor from then on.

So it is done where a run gives its thread back and has left enough behind (`is_due`), and by every pruning, which leaves out
what is to go. Bundles of which nothing goes are named again as they are, but for small ones, which are written anew with
others: so it costs what it touches and what has been committed since the last time, not what the thread holds.

The floor takes the next number under the epoch of whoever has the thread, as every commit does: so all of this is whole or not
at all, and none where another has the thread by now. Only then, and after the floor's number stands beside the thread's name,
void documents are deleted; and nobody minds when, or whether. A bundle's id has the number of the commit that it was written
for. A number is taken once; so a bundle for one at or below the floor, which the floor does not name, is void as well.
"""

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Final, NamedTuple

from clew.checkpoint.mongodb.documents import (
    FULL,
    ITEMS,
    ROWS,
    SPACES,
    Bundle,
    Commit,
    Contents,
    Document,
    Item,
    Move,
    State,
    blocks_of,
    bundle_key,
    bundles_of,
    commit_key,
    commits_of,
    keys_of,
    keys_of_bundle,
    old_bundles_of,
    packed,
    row_keys,
    seq_key,
)
from clew.checkpoint.mongodb.reads import Reads
from clew.checkpoint.mongodb.view import View
from clew.checkpoint.storage import Kept, Pruning, Row, conflict
from clew.clients.mongodb import DuplicateKeyError

LEAST: Final = 32 << 10  # bytes above the floor for which it is not worth the while
MOST: Final = 128 << 10  # and those for which it always is
OVERHEAD: Final = 50  # bytes of a commit, a row, an outcome or an item beside its body
DAY: Final = 86_400.0  # seconds after which no commit to a deleted thread can still be on its way

Put = Callable[[int, Contents, Sequence[Move], int], Bundle]


def is_due(state: State) -> bool:
    """Whether so much has come since the last time that a thread is to be compacted: half of what it has in bundles, within
    bounds. So each byte is written some three times, and a third of a thread at most lies about in single commits."""
    return state.above >= min(MOST, max(LEAST, (state.size - state.above) // 2))


def weight_of(contents: Contents) -> int:
    """About how many bytes a document takes that holds this."""
    size = contents.size + sum(len(one.body) for _, one in contents.kept)
    return size + OVERHEAD * (1 + len(contents.rows) + len(contents.kept) + len(contents.items))


class Left:
    """What a pruning leaves of what is there, and how much it does not."""

    def __init__(self, pruning: Pruning) -> None:
        self.dead = set(pruning.rows)
        self.changed = {row.seq: row for row in pruning.changed}
        self.replaced = {(log, n): data for log, n, data in pruning.items}
        self.ranges: dict[int, list[tuple[int, int]]] = {}
        for log, lo, hi in sorted(pruning.ranges):
            self.ranges.setdefault(log, []).append((lo, hi))
        self.spaces = set(pruning.spaces)
        self.rows = self.size = 0  # checkpoints that go, and bytes of these and of items

    def of(self, contents: Contents) -> Contents:
        left = Contents(
            [(number, self.changed.get(row.seq, row)) for number, row in contents.rows if row.seq not in self.dead],
            [(n, one) for n, one in contents.kept if one.seq not in self.dead],
            [(log, n, self.replaced.get((log, n), data)) for log, n, data in contents.items if not self._goes(log, n)],
        )
        self.rows += len(contents.rows) - len(left.rows)
        self.size += contents.size - left.size
        return left

    def _goes(self, log: int, n: int) -> bool:
        ranges = self.ranges.get(log, ())
        at = bisect_right(ranges, (n, 1 << 62)) - 1
        return at >= 0 and n < ranges[at][1]


class Filling:
    """Puts what it is given into bundles, each of which is written as soon as it is full."""

    def __init__(self, put: Put) -> None:
        self.bundles: list[Bundle] = []
        self._put = put
        self._rows: list[tuple[int, Row]] = []
        self._kept: dict[tuple[int, str], tuple[int, Kept]] = {}
        self._items: list[Item] = []
        self._size = {ITEMS: 0, ROWS: 0}

    def add(self, contents: Contents) -> None:
        for both in contents.rows:
            self._make_room(ROWS, len(both[1].body))
            self._rows.append(both)
        for n, one in contents.kept:
            if n >= self._kept.get((one.seq, one.task), (0,))[0]:
                self._make_room(ROWS, len(one.body))
                self._kept[one.seq, one.task] = n, one
        for item in contents.items:
            self._make_room(ITEMS, len(item[2]))
            self._items.append(item)

    def _make_room(self, kind: int, more: int) -> None:
        if self._size[kind] and self._size[kind] + more > FULL[kind]:
            self._close(kind)
        self._size[kind] += more + OVERHEAD

    def _close(self, kind: int) -> None:
        if kind == ITEMS:
            contents, self._items = Contents(items=sorted(self._items, key=lambda item: item[:2])), []
        else:
            contents = Contents(sorted(self._rows, key=lambda both: both[1].seq), list(self._kept.values()))
            self._rows, self._kept = [], {}
        self.bundles.append(self._put(kind, contents, (), self._size[kind]))
        self._size[kind] = 0

    def end(self, moves: Sequence[Move] = ()) -> list[Bundle]:
        """What is left as well, and how namespaces stand."""
        for kind, size in self._size.items():
            if size:
                self._close(kind)
        some, size = list[Move](), 0
        for move in moves:
            more = len(move.logs) + len(move.ns or "") + OVERHEAD
            if some and size + more > FULL[SPACES]:
                self.bundles.append(self._put(SPACES, Contents(), some, size))
                some, size = [], 0
            some.append(move)
            size += more
        if some:
            self.bundles.append(self._put(SPACES, Contents(), some, size))
        return self.bundles


class Compacted(NamedTuple):
    """What commit `n` is to name as the floor, where there was `view` before: all bundles, those that are new among them, the
    lease that was taken last. `gone`: bundles that are not named any more."""

    view: View
    n: int
    bundles: list[Bundle]
    fresh: list[Bundle]
    gone: set[bytes]
    lease: Document | None


class Compacting(Reads):
    """Writes bundles and commits, compacts, and prunes."""

    # -- documents ----------------------------------------------------------------------------------------------------

    def _filling(self, commit: bytes) -> Filling:
        """Bundles for this commit; nobody reads them before it names them."""
        return Filling(partial(self._put_bundle, commit))

    def _put_bundle(self, commit: bytes, kind: int, contents: Contents, moves: Sequence[Move], size: int) -> Bundle:
        seqs = [row.seq for _, row in contents.rows]
        bundle = Bundle(bundle_key(commit, os.urandom(4)), kind, size, *((seqs[0], seqs[-1]) if seqs else ()))
        keys = keys_of_bundle(commit[:4], contents, moves)
        self._commits.insert_one({"_id": bundle.id, "d": packed(Commit(bundle.id, moves=moves, contents=contents)), **keys})
        return bundle

    def _drop_bundles(self, bundles: Sequence[Bundle]) -> None:
        if bundles:
            self._commits.delete_many({"_id": {"$in": [bundle.id for bundle in bundles]}})

    def _put(
        self, thread: str, commit: Commit, fresh: Sequence[Bundle], parents: Iterable[int | None], fields: Document
    ) -> Document | None:
        """Inserts a commit, for which `fresh` bundles were written. Returns what stands beside the thread's name; None where
        its number is taken, and then they are deleted.

        Raises:
            ThreadConflict: there was room for it only because whoever writes has slept: a floor has gone beyond it, or the
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
                self._drop_bundles(fresh)
                return None
        known: Document | None = self._threads.find_one({"_id": thread, "no": no})
        if known is None or (known.get("n", 0) > commit.n and not self._counts(thread, commit)):
            self._commits.delete_one({"_id": commit.key})
            if known is None:  # otherwise a floor may name them that has come since
                self._drop_bundles(fresh)
            raise conflict(thread)
        self._remember(thread, no, commit.n)
        return known

    def _counts(self, thread: str, commit: Commit) -> bool:
        """Whether a commit stands above the floor, or has been compacted since it was written."""
        view = self._view(thread)
        if view is None or view.no != commit.key[:4]:
            return False
        rows = [row for _, row in commit.contents.rows]
        found = view.rows([row.seq for row in rows])
        return view.floor <= commit.n or any(found.get(row.seq, (0, None))[1] == row for row in rows)

    # -- compacting ---------------------------------------------------------------------------------------------------

    def _compacted(self, view: View, left: Left, touched: set[bytes]) -> Compacted:
        """Writes bundles for a floor that comes next, of all single commits, of what is `touched`, and of what is small."""
        n = view.newest.n + 1
        filling = self._filling(commit_key(view.no, n))
        stay, gone = list[Bundle](), set[bytes]()
        moves, keys, lease = dict[int, Move](), dict[int, bytes | None](), None
        for commit in view.forth():
            anew = _anew(commit.bundles, touched, all_spaces=bool(left.spaces))
            gone.update(bundle.id for bundle in anew)
            stay += [bundle for bundle in commit.bundles if bundle.id not in gone]
            for one in chain(view.bundles(anew), [commit]):
                filling.add(left.of(one.contents))
                for move in one.moves:
                    before = moves.get(move.number)
                    moves[move.number] = move._replace(ns=before.ns) if before and move.ns is None else move
                    keys[move.number] = one.moved
            lease = commit.lease or lease
        moves = {number: self._named(view, move, keys[number]) for number, move in moves.items() if number not in left.spaces}
        fresh = filling.end([move for _, move in sorted(moves.items())])
        return Compacted(view, n, [*stay, *fresh], fresh, gone, lease)

    def _named(self, view: View, move: Move, key: bytes | None) -> Move:
        """With its name, where only what stays as it is has that."""
        if move.ns is not None or key is None or key == view.no:
            return move
        return move._replace(ns=next((one.ns for one in view.listed(key) if one.number == move.number), None))

    def _floor(self, view: View, pruning: Pruning, touched: set[bytes]) -> Compacted | None:
        """Writes a floor that is nothing else; None where its number is taken. What is void is for `_forget`."""
        left = Left(pruning)
        compacted = self._compacted(view, left, touched)
        state = view.newest.state
        state = state._replace(
            checkpoints=state.checkpoints - left.rows, size=state.size - left.size, floor=compacted.n, above=0
        )
        key = commit_key(view.no, compacted.n)
        floor = Commit(key, state, bundles=compacted.bundles, lease=compacted.lease)
        return compacted if self._put(pruning.thread, floor, compacted.fresh, [], {}) else None

    def _forget(self, thread: str, compacted: Compacted) -> None:
        """Deletes what a floor has made void, and what was left of earlier ones, but for the event logs in it."""
        no, floor = compacted.view.no, compacted.n
        self._threads.update_one({"_id": thread, "no": no}, {"$max": {"n": floor}})
        logs: Document = {"ev": {"$exists": True}}
        self._commits.update_many({"_id": commits_of(no, floor - 1), **logs}, {"$unset": dict.fromkeys("dmqoipg", 1)})
        none: Document = {"ev": {"$exists": False}}
        self._commits.delete_many({"_id": commits_of(no, floor - 1), "at": {"$exists": False}, **none})
        named = {bundle.id for bundle in compacted.bundles}
        late = {one["_id"] for one in self._commits.find({"_id": bundles_of(no, floor)}, {"_id": 1})} - named
        if gone := compacted.gone | late:
            self._commits.delete_many({"_id": {"$in": list(gone)}})

    # -- pruning ------------------------------------------------------------------------------------------------------

    def prune(self, pruning: Pruning) -> None:
        with self.connected.asked():
            while True:
                view = self._view(pruning.thread)
                if view is None or view.newest.state.epoch != pruning.epoch:
                    raise conflict(pruning.thread)
                if compacted := self._floor(view, pruning, self._touched(view, pruning)):
                    break
            self._forget(pruning.thread, compacted)
            self._sweep()

    def _touched(self, view: View, pruning: Pruning) -> set[bytes]:
        """Bundles of which something goes or is replaced."""
        rows = [*pruning.rows, *(row.seq for row in pruning.changed)]
        ranges = [*pruning.ranges, *((log, n, n + 1) for log, n, _ in pruning.items)]
        found = view.bundles_having("q", row_keys(view.no, rows))
        found |= view.bundles_having("o", [seq_key(view.no, seq) for seq in pruning.rows])
        return found | view.bundles_having("i", dict.fromkeys(key for one in ranges for key in blocks_of(view.no, *one)))

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
        self._commits.delete_many({"_id": old_bundles_of(no)})


def _anew(bundles: Sequence[Bundle], touched: set[bytes], *, all_spaces: bool) -> list[Bundle]:
    """Those of a commit's bundles that are written anew. Of those that say how namespaces stand the last counts, so that none
    may come to stand after a later one: where one is written anew, those after it are."""
    anew: list[Bundle] = []
    for bundle in bundles:
        later = bundle.kind == SPACES and (all_spaces or any(one.kind == SPACES for one in anew))
        if later or bundle.is_small or bundle.id in touched:
            anew.append(bundle)
    return anew
