"""A thread as its newest commit shows it: which documents count, and how they are found."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, Final

from clew.checkpoint.mongodb.documents import (
    LAST,
    ROWS,
    SPACES,
    Bundle,
    Commit,
    Document,
    Move,
    commit_key,
    is_bundle,
    number_key,
    number_of,
    row_keys,
    space_key,
    unpacked,
)
from clew.checkpoint.storage import Row

MANY: Final = 500  # keys that are asked for at once
FLOORS: Final = 100  # commits at floors that are remembered
WHOLE: Final = {"d": 1, "m": 1}


def several(commits: Any, keys: Iterable[bytes]) -> dict[bytes, Document]:
    """Documents by their ids, those that are there."""
    return {one["_id"]: one for one in commits.find({"_id": {"$in": list(keys)}}, WHOLE)}


class Floors:
    """The commits at the floors that were asked for last: what stands in one never changes."""

    def __init__(self) -> None:
        self._found: dict[bytes, Commit] = {}

    def get(self, commits: Any, key: bytes) -> Commit | None:
        if key not in self._found and (found := several(commits, [key])):
            if len(self._found) >= FLOORS:
                self._found.clear()
            self._found[key] = unpacked(found[key])
        return self._found.get(key)


class View:
    """A commit counts from the floor on, and a bundle where one that counts names it; all else is void, and may be gone.

    `known`: what stands beside the thread's name, where it was asked for.
    """

    def __init__(self, commits: Any, no: bytes, newest: Commit, floors: Floors, known: Document | None = None) -> None:
        self.commits = commits
        self.no = no
        self.known = known
        self.newest = newest
        self.floor = newest.state.floor
        self._floors = floors
        self._holds: dict[int, Commit] = {}  # checkpoints that were found, and what holds them
        self._spaces: dict[str, Move | None] = {}

    @cached_property
    def base(self) -> Commit | None:
        """The commit at the floor, which names what was there before it; None where there is none."""
        if self.floor in (0, self.newest.n):
            return self.newest if self.floor else None
        return self._floors.get(self.commits, commit_key(self.no, self.floor))

    # -- by their numbers ---------------------------------------------------------------------------------------------

    def at(self, numbers: Iterable[int]) -> list[Commit]:
        """Commits by their numbers, in the order of these."""
        keys = [commit_key(self.no, n) for n in numbers]
        found = several(self.commits, keys) if keys else {}
        return [unpacked(found[key]) for key in keys if key in found]

    def forth(self) -> Iterator[Commit]:
        """All commits, the oldest first."""
        for n in range(max(self.floor, 1), self.newest.n + 1, MANY):
            span = {"$gte": commit_key(self.no, n), "$lte": commit_key(self.no, min(n + MANY - 1, self.newest.n))}
            found = {one["_id"]: one for one in self.commits.find({"_id": span, "d": {"$exists": True}}, WHOLE)}
            yield from (unpacked(found[key]) for key in sorted(found) if not is_bundle(key))

    def back(self) -> Iterator[Commit]:
        """All commits, the newest first, ever more at a time: what is looked for is rarely far."""
        n, size = self.newest.n, 1
        while n >= max(self.floor, 1):
            yield from self.at(range(n, max(n - size, self.floor - 1, 0), -1))
            n, size = n - size, min(2 * size, MANY)

    def all(self) -> Iterator[Commit]:
        """All commits, each after the bundles that it names."""
        for commit in self.forth():
            yield from self.bundles(commit.bundles)
            yield commit

    def bundles(self, bundles: Sequence[Bundle]) -> Iterator[Commit]:
        """Bundles with what they hold, in this order."""
        for i in range(0, len(bundles), 8):
            some = [bundle.id for bundle in bundles[i : i + 8]]
            found = several(self.commits, some)
            yield from (unpacked(found[id_]) for id_ in some if id_ in found)

    # -- by what they hold --------------------------------------------------------------------------------------------

    def having(self, name: str, keys: Iterable[bytes]) -> list[Commit]:
        """What has one of these keys and counts; bundles first, then commits, the oldest first."""
        wanted = list(keys)
        found: list[Document] = []
        for i in range(0, len(wanted), MANY):
            found += self.commits.find({name: {"$in": wanted[i : i + MANY]}}, WHOLE)
        bundles = {one["_id"]: one for one in found if is_bundle(one["_id"])}
        counted = self._counted(bundles)
        commits = {number_of(one["_id"]): one for one in found if not is_bundle(one["_id"])}
        return [
            *(unpacked(bundle) for id_, bundle in bundles.items() if id_ in counted),
            *(unpacked(commits[n]) for n in sorted(commits) if self.floor <= n <= self.newest.n),
        ]

    def _counted(self, bundles: Iterable[bytes]) -> set[bytes]:
        """Those of these bundles that a commit names which counts itself."""
        counted = {bundle.id for bundle in self.base.bundles}.intersection(bundles) if self.base else set[bytes]()
        wanted = [id_ for id_ in bundles if id_ not in counted]
        for i in range(0, len(wanted), MANY):
            for one in self.commits.find({"g": {"$in": wanted[i : i + MANY]}}, {"g": 1}):
                if self.floor <= number_of(one["_id"]) <= self.newest.n:
                    counted.update(one["g"])
        return counted

    def bundles_having(self, name: str, keys: Iterable[bytes]) -> set[bytes]:
        """The ids of bundles that have one of these keys, of whatever commit."""
        wanted, found = list(keys), set[bytes]()
        for i in range(0, len(wanted), MANY):
            some = self.commits.find({name: {"$in": wanted[i : i + MANY]}}, {"_id": 1})
            found.update(one["_id"] for one in some if is_bundle(one["_id"]))
        return found

    def rows(self, seqs: Iterable[int]) -> dict[int, tuple[int, Row]]:
        """The checkpoints with these seqs, of whatever namespace, and the numbers of these. One that has the number of its
        commit, as all have in threads of which every commit brings one, is found by that; there is no other key to it."""
        wanted, found = set(seqs), dict[int, tuple[int, Row]]()
        self._take(wanted, found, [self.newest])
        self._take(wanted, found, self.at(seq for seq in sorted(wanted) if self.floor <= seq < self.newest.n))
        if wanted:
            self._take(wanted, found, self.having("q", row_keys(self.no, wanted)))
        return found

    def _take(self, wanted: set[int], found: dict[int, tuple[int, Row]], commits: Iterable[Commit]) -> None:
        for commit in commits:
            for number, row in commit.contents.rows:
                if row.seq in wanted:
                    wanted.discard(row.seq)
                    found[row.seq] = number, row
                    self._holds[row.seq] = commit

    def held_with(self, seqs: Iterable[int]) -> list[Commit]:
        """The bundles that have these checkpoints, of those that were found."""
        held = {one.key: one for seq in seqs if (one := self._holds.get(seq)) and is_bundle(one.key)}
        return list(held.values())

    def _where(self, seq: int, otherwise: int) -> int:
        """The number of the commit that has a checkpoint which was found, or of the floor."""
        commit = self._holds.get(seq)
        if commit is None or not is_bundle(commit.key):
            return commit.n if commit else otherwise
        return self.floor if self.base and commit.key in {bundle.id for bundle in self.base.bundles} else otherwise

    # -- by namespace -------------------------------------------------------------------------------------------------

    def space(self, ns: str) -> Move | None:
        """A namespace as the newest commit that moved it has left it."""
        if ns not in self._spaces:
            self._spaces[ns] = self._space(ns, space_key(self.no, ns))
        return self._spaces[ns]

    def _space(self, ns: str, key: bytes) -> Move | None:
        if self.newest.moved == key:
            return self.newest.moves[0]
        if moved := self._moves(ns, self.floor, LAST, -1, 1):
            return moved[0].moves[0]
        moves = (*self.base.moves, *self.listed(key)) if self.base else ()
        return next((move for move in moves if move.ns == ns), None)

    def listed(self, key: bytes) -> Sequence[Move]:
        """The namespaces of the last bundle that has this one, by its key."""
        bundles = self.base.bundles if self.base else ()
        if any(bundle.kind == SPACES for bundle in bundles):
            having = self.bundles_having("s", [key])
            last = [bundle for bundle in bundles if bundle.kind == SPACES and bundle.id in having][-1:]
            return [move for one in self.bundles(last) for move in one.moves]
        return ()

    def history(self, ns: str, before: int, limit: int) -> list[Row]:
        """The checkpoints of a namespace below a seq, the newest first, so many at most."""
        return list(islice(self._history(ns, before, limit), limit))

    def _history(self, ns: str, before: int, step: int) -> Iterator[Row]:
        space = self.space(ns)
        if space is None:
            return
        n = self.newest.n
        if before <= self.newest.state.seq and self.rows([before]).get(before, (None,))[0] == space.number:
            n = self._where(before, n)
        while commits := self._moves(ns, self.floor + 1, n, -1, step):
            for commit in commits:
                yield from self._rows_of(commit, space.number, before)
            n = commits[-1].n - 1
        if self.base is not None:
            yield from self._rows_of(self.base, space.number, before)

    def _rows_of(self, commit: Commit, number: int, before: int) -> Iterator[Row]:
        """The rows of a namespace in a commit and what it names, the newest first. Seqs of several bundles may overlap."""
        bundles = sorted(self._with_rows(commit, number, before), key=lambda bundle: bundle.hi)
        rows = self._below(commit, number, before)
        while rows or bundles:
            while bundles and not (rows and rows[-1].seq > bundles[-1].hi):
                rows += [row for one in self.bundles([bundles.pop()]) for row in self._below(one, number, before)]
                rows.sort(key=lambda row: row.seq)
            if rows:
                yield rows.pop()

    def _with_rows(self, commit: Commit, number: int, before: int) -> list[Bundle]:
        """The bundles of a commit that may have rows of a namespace; number 0, the first of its thread, is in most."""
        bundles = [bundle for bundle in commit.bundles if bundle.kind == ROWS and bundle.hi and bundle.lo < before]
        if number and any(bundle.number is None for bundle in bundles):
            having = self.bundles_having("s", [number_key(self.no, number)])
            bundles = [bundle for bundle in bundles if bundle.number is not None or bundle.id in having]
        return [bundle for bundle in bundles if bundle.number in (None, number)]

    def _below(self, commit: Commit, number: int, before: int) -> list[Row]:
        rows = [row for its, row in commit.contents.rows if its == number and row.seq < before]
        self._holds.update(dict.fromkeys((row.seq for row in rows), commit))
        return rows

    def following(self, ns: str, seq: int) -> Row | None:
        """The checkpoint that came to a namespace after this one, where a commit brought it and no bundle has it."""
        space = self.space(ns)
        if space is None or (seq not in self._holds and not self.rows([seq])):
            return None
        n, step = self._where(seq, self.floor), 1
        while commits := self._moves(ns, n, LAST, 1, step):
            for commit in commits:
                for number, row in commit.contents.rows:
                    if number == space.number and row.seq > seq:
                        return row
            n, step = commits[-1].n + 1, MANY
        return None

    def _moves(self, ns: str, lo: int, hi: int, order: int, limit: int) -> list[Commit]:
        """Commits that moved a namespace."""
        span = {"$gte": commit_key(self.no, lo), "$lte": commit_key(self.no, min(hi, self.newest.n))}
        found = self.commits.find({"m": space_key(self.no, ns), "_id": span}, WHOLE)
        return [unpacked(one) for one in found.sort([("m", order), ("_id", order)]).limit(limit)]
