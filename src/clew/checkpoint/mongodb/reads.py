"""The reading verbs of a storage in MongoDB; what a document holds stands in `storage`.

A commit is found by its number, for commits stand one after the other above the floor; by equality with a key; or, the newest
of a namespace, as the last of a range of keys. So each query is answered by an index, and none by looking through a collection.
What is read in several queries is read again where the floor has moved meanwhile.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from clew.checkpoint.mongodb import events
from clew.checkpoint.mongodb.documents import (
    LAST,
    SPACES,
    Commit,
    Document,
    Item,
    blocks_of,
    commit_key,
    seq_key,
    unpacked,
)
from clew.checkpoint.mongodb.view import MANY, Floors, View, several
from clew.checkpoint.storage import EventsFound, Found, Kept, Lease, Row, Space, ThreadRow, Weight
from clew.clients.mongodb import Connected
from clew.ids import stamp_of

T = TypeVar("T")
KNOWN: Final = 10_000  # threads of which the number of the newest commit is remembered


class Reads:
    """Finds documents, and makes rows out of them."""

    def __init__(self, connected: Connected) -> None:
        self.connected = connected
        self._seen: dict[str, tuple[bytes, int]] = {}  # where the newest commit of a thread is looked for first
        self._floors = Floors()
        self._places: tuple[bytes, int, list[tuple[int, int]]] | None = None

    @property
    def _threads(self) -> Any:
        return self.connected.collection("clew_threads")

    @property
    def _commits(self) -> Any:
        return self.connected.collection("clew_commits")

    def close(self) -> None:
        self.connected.close()

    # -- how a thread stands ------------------------------------------------------------------------------------------

    def _view(self, thread: str) -> View | None:
        """A thread's newest commit; None where there is no thread, or no commit yet."""
        while True:
            known = self._threads.find_one({"_id": thread})
            if known is None:
                return None
            no, n = self._seen.get(thread, (b"", 0))
            if newest := self._newest(thread, known["no"], max(known.get("n", 0), n if no == known["no"] else 0)):
                return View(self._commits, known["no"], newest, self._floors, known)
            if self._seen.pop(thread, None) is None and "n" not in known:
                return None

    def _newest(self, thread: str, no: bytes, at: int) -> Commit | None:
        """The newest commit, which is number `at` or after it; None where that one is not there (any more)."""
        found = several(self._commits, [commit_key(no, at), commit_key(no, at + 1)])
        if commit_key(no, at + 1) in found:
            at = self._grown(no, at + 1)
            found = several(self._commits, [commit_key(no, at)])
        if "d" not in found.get(commit_key(no, at), {}):
            return None
        self._remember(thread, no, at)
        return unpacked(found[commit_key(no, at)])

    def _grown(self, no: bytes, at: int) -> int:
        """The number of the newest commit, which is `at` or after it."""
        while True:
            probes = {commit_key(no, n): n for j in range(32) if (n := at + (1 << j)) <= LAST}
            found = self._commits.find({"_id": {"$in": list(probes)}}, {"_id": 1})
            further = max((probes[one["_id"]] for one in found), default=at)
            if further == at:
                return at
            at = further

    def _remember(self, thread: str, no: bytes, n: int) -> None:
        if len(self._seen) > KNOWN:
            self._seen.clear()
        self._seen[thread] = no, n

    def _read(self, thread: str, read: Callable[[View], T], nothing: T) -> T:
        """What is read of a thread, all of it from between two floors."""
        with self.connected.asked():
            while (view := self._view(thread)) is not None:
                found = read(view)
                if self._stands(thread, view):
                    return found
            return nothing

    def _stands(self, thread: str, view: View) -> bool:
        """Whether nothing that counts for a view can be gone: before that, the number of a floor above it is written beside
        the thread's name."""
        later: View | None = view
        while later is not None and (later.no, later.floor) == (view.no, view.floor):
            known: Document | None = self._threads.find_one({"_id": thread, "no": view.no}, {"n": 1})
            if known is None or known.get("n", 0) <= later.newest.n:
                return known is not None
            later = self._view(thread)
        return False

    # -- reading ----------------------------------------------------------------------------------------------------

    def load(self, thread: str, ns: str, checkpoint_id: bytes | None) -> Found:
        def read(view: View) -> Found:
            state = view.newest.state
            found = Found(state.epoch, state.seq, state.spaces, lease=self._lease(view))
            space = view.space(ns)
            if space is None:
                return found
            found.head, found.number, found.logs = space.head, space.number, space.logs
            seq = found.head if checkpoint_id is None else stamp_of(checkpoint_id)
            if seq is None or found.head is None or seq > found.head:
                return found
            row = view.rows([seq]).get(seq)
            if row and row[0] == found.number and checkpoint_id in (None, row[1].id):
                self._complete(view, [(found, row[1])])
                if checkpoint_id is not None:
                    found.next = self._after(view, ns, row[1])
            return found

        return self._read(thread, read, Found())

    def _complete(self, view: View, wanted: Sequence[tuple[Found, Row]]) -> None:
        """Each checkpoint with its base, its parent's id, and its outcomes."""
        others = {seq for _, row in wanted for seq in (row.parent, row.base) if seq is not None}
        rows = {row.seq: row for _, row in wanted}
        rows |= {seq: row for seq, (_, row) in view.rows(others - rows.keys()).items()}
        kept = self._kept(view, [row.seq for _, row in wanted])
        for found, row in wanted:
            found.row = row
            found.base = rows.get(row.base) if row.base is not None else None
            found.parent_id = rows[row.parent].id if row.parent in rows else None
            found.kept = list(kept.get(row.seq, {}).values())

    def _kept(self, view: View, seqs: Iterable[int]) -> dict[int, dict[str, Kept]]:
        """The outcomes beside checkpoints; of each task the last one."""
        found: dict[int, dict[str, Kept]] = {seq: {} for seq in seqs}
        kept = [both for one in view.having("o", [seq_key(view.no, seq) for seq in found]) for both in one.contents.kept]
        for _, one in sorted(kept, key=lambda both: both[0]):
            if one.seq in found:
                found[one.seq][one.task] = one
        return found

    def _after(self, view: View, ns: str, row: Row) -> Row | None:
        """The first checkpoint that grew from this one."""
        grown = self._grown_from(view, ns, [row.seq])
        following = view.following(ns, row.seq)
        if following is not None and following.parent == row.seq:
            return min(grown.get(row.seq, following), following, key=lambda one: one.seq)
        return grown.get(row.seq)

    def _grown_from(self, view: View, ns: str, seqs: Sequence[int]) -> dict[int, Row]:
        """Of each checkpoint the first that grew from it and was not the next of its namespace then, or is in a bundle."""
        space, found = view.space(ns), dict[int, Row]()
        for commit in (*view.held_with(seqs), *view.having("p", [seq_key(view.no, seq) for seq in seqs])):
            for number, row in commit.contents.rows:
                if space and number == space.number and row.parent is not None:
                    first = found.setdefault(row.parent, row)
                    found[row.parent] = min(first, row, key=lambda one: one.seq)
        return found

    def _lease(self, view: View) -> Lease | None:
        known = view.known
        if (
            known is None or known.get("e") != view.newest.state.epoch
        ):  # what the claim was to write there has not come, or never will
            known = next((one.lease for one in view.back() if one.lease), None)
        if known is None or known.get("run") is None:
            return None
        return Lease(known["run"], known["owner"], known["base"], known["until"] - self.connected.now())

    def items(self, thread: str, ranges: Sequence[tuple[int, int, int]]) -> list[bytes]:
        def read(view: View) -> list[bytes]:
            found: dict[tuple[int, int], bytes] = {}
            keys = dict.fromkeys(key for range_ in ranges for key in blocks_of(view.no, *range_))
            for commit in view.having("i", keys):
                found.update(((log, n), data) for log, n, data in commit.contents.items)
            return [found[log, n] for log, lo, hi in ranges for n in range(lo, hi) if (log, n) in found]

        return self._read(thread, read, [])

    def scan(self, thread: str, ns: str, before: int | None, limit: int) -> list[Found]:
        def read(view: View) -> list[Found]:
            space = view.space(ns)
            if space is None or space.head is None or not limit:
                return []
            rows = view.history(ns, LAST if before is None else before, limit)
            wanted = [(Found(head=space.head, number=space.number, logs=space.logs), row) for row in rows]
            self._complete(view, wanted)
            grown = self._grown_from(view, ns, [row.seq for row in rows])
            later = self._after(view, ns, rows[0]) if rows else None
            for found, row in wanted:
                apart = grown.get(row.seq)
                beside = later if later and later.parent == row.seq else None
                found.next = min((one for one in (apart, beside) if one), key=lambda one: one.seq, default=None)
                later = row
            return [found for found, _ in wanted]

        return self._read(thread, read, [])

    def events(self, thread: str, run: str | None, after: int, limit: int) -> EventsFound | None:
        def read(view: View) -> EventsFound | None:
            name = events.newest_run(self._commits, view.no) if run is None else run
            if name is None:
                return None
            return events.found(self._commits, view.no, name, after, limit, self._lease(view), self.connected.now())

        return self._read(thread, read, None)

    def threads(self) -> list[ThreadRow]:
        """Many at once: the commit that each was last seen with, unless there is one after it."""
        with self.connected.asked():
            threads = list(self._threads.find({"no": {"$exists": True}}, {"no": 1, "n": 1}))
            found: dict[str, Commit] = {}
            for i in range(0, len(threads), MANY // 2):
                some = {one["_id"]: (one["no"], one.get("n", 0)) for one in threads[i : i + MANY // 2]}
                commits = several(self._commits, [commit_key(no, n + j) for no, n in some.values() for j in (0, 1)])
                for thread, (no, n) in some.items():
                    newest = commits.get(commit_key(no, n))
                    if newest is not None and "d" in newest and commit_key(no, n + 1) not in commits:
                        found[thread] = unpacked(newest)
                    elif view := self._view(thread):
                        found[thread] = view.newest
        states = {thread: newest.state for thread, newest in found.items()}
        rows = [ThreadRow(thread, one.checkpoints, one.newest, one.size) for thread, one in states.items() if one.newest]
        return sorted(rows, key=lambda row: row.newest, reverse=True)

    # -- moving and mending -------------------------------------------------------------------------------------------

    def spaces(self, thread: str) -> list[Space]:
        def read(view: View) -> list[Space]:
            names: dict[int, str] = {}
            found: dict[int, Space] = {}
            bundles = view.base.bundles if view.base else ()
            for commit in (*view.bundles([bundle for bundle in bundles if bundle.kind == SPACES]), *view.forth()):
                for move in commit.moves:
                    names.setdefault(move.number, move.ns or "")
                    found[move.number] = Space(names[move.number], move.number, move.head, move.logs)
            return [found[number] for number in sorted(found)]

        return self._read(thread, read, [])

    def walk(self, thread: str, after: tuple[int, int], limit: int) -> list[tuple[int, int, bytes]]:
        """The places are read once, and remembered while the thread stays as it is."""

        def read(view: View) -> list[Item]:
            known = self._places
            if known is None or known[:2] != (view.no, view.newest.n):
                places = sorted((log, n) for commit in view.all() for log, n, _ in commit.contents.items)
                known = self._places = view.no, view.newest.n, places
            first = bisect_right(known[2], after)
            wanted = known[2][first : first + limit]
            if len(wanted) < limit:
                self._places = None
            keys = dict.fromkeys(key for log, n in wanted for key in blocks_of(view.no, log, n, n + 1))
            found = {(log, n): data for one in view.having("i", keys) for log, n, data in one.contents.items}
            return [(log, n, found[log, n]) for log, n in wanted if (log, n) in found]

        return self._read(thread, read, [])

    def weigh(self, thread: str) -> Weight:
        """It reads the whole thread."""

        def read(view: View) -> Weight:
            items: dict[int, tuple[int, int]] = {}
            rows: list[int] = []
            kept: dict[tuple[int, str], tuple[int, int]] = {}
            for commit in view.all():
                rows += [len(row.body) for _, row in commit.contents.rows]
                for n, one in commit.contents.kept:
                    if n >= kept.get((one.seq, one.task), (0,))[0]:
                        kept[one.seq, one.task] = n, len(one.body)
                for log, _, data in commit.contents.items:
                    count, size = items.get(log, (0, 0))
                    items[log] = count + 1, size + len(data)
            told = events.sizes(self._commits, view.no)
            return Weight(
                items, (len(rows), sum(rows)), (len(kept), sum(size for _, size in kept.values())), (len(told), sum(told))
            )

        return self._read(thread, read, Weight({}, (0, 0), (0, 0)))

    def occupies(self) -> int:
        return self.connected.occupies("clew_threads", "clew_commits")

    def reclaim(self) -> None:
        """WiredTiger uses again what is free; to give it back to the system is `compact`'s business."""
