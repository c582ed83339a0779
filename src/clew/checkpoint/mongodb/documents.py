"""What documents are made of: keys that indexes are built on, and bytes that hold all else. Nothing here asks a server.

A key begins with the thread's number (4 bytes). BSON repeats the name of each field in each document, so what no index needs is
packed into one: `d`, in which `FORMAT` comes first. Format 1, which Clew wrote before threads were compacted as they grow, is
read as well.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, NamedTuple, TypeAlias, cast

import ormsgpack

from clew.checkpoint.segments import compressed, joined, records, whole
from clew.checkpoint.storage import Kept, Row
from clew.errors import DamagedData

Document: TypeAlias = dict[str, Any]
Item: TypeAlias = tuple[int, int, bytes]

FORMAT: Final = 2
BLOCK: Final = 8  # items of a log that share a key, so that a range of them is asked for by equality alone
GROUP: Final = 4  # checkpoints that share one
LAST: Final = (1 << 32) - 1
APART: Final = b"\xff"  # in the id of a bundle before the number of its commit; then come four random bytes
ITEMS, ROWS, SPACES = range(3)  # what a bundle holds: items; rows and outcomes; how namespaces stand
FULL: Final = {ITEMS: 256 << 10, ROWS: 128 << 10, SPACES: 32 << 10}
"""Bytes in a bundle, but for what is one and larger. Of rows less: one of them is asked for more often than one item."""
LEASE: Final = ("run", "owner", "base", "until")


# -- keys -------------------------------------------------------------------------------------------------------------


def commit_key(no: bytes, n: int) -> bytes:
    return no + n.to_bytes(4, "big")


def number_of(key: bytes) -> int:
    return int.from_bytes(key[4:], "big")


def bundle_key(commit: bytes, chance: bytes) -> bytes:
    return commit[:4] + APART + commit[4:] + chance


def is_bundle(key: bytes) -> bool:
    return len(key) > 8


def commits_of(no: bytes, below: int = LAST) -> Document:
    """Commits of a thread up to a number. Bundles are none: of two Binaries of BSON the longer one is the greater; and where
    a server thinks otherwise, those of format 2 are greater all the same, and those of format 1 have `at`."""
    return {"$gte": commit_key(no, 0), "$lte": commit_key(no, below)}


def bundles_of(no: bytes, until: int = LAST) -> Document:
    """Bundles of format 2 that were written for commits up to a number."""
    return {"$gte": no + APART + bytes(8), "$lte": bundle_key(commit_key(no, until), b"\xff" * 4)}


def old_bundles_of(no: bytes) -> Document:
    """Bundles of format 1, in whose ids all is random."""
    return {"$gte": no + bytes(8), "$lte": no + b"\xff" * 8}


def seq_key(no: bytes, seq: int) -> bytes:
    """Of what stands beside a checkpoint, or grew from it."""
    return no + _varint(seq)


def number_key(no: bytes, number: int) -> bytes:
    """Of the bundles with rows of a namespace; never one of `space_key`, which are shorter or longer."""
    return no + _varint(number)


def row_keys(no: bytes, seqs: Iterable[int]) -> list[bytes]:
    """The keys under which checkpoints are found, with others."""
    return list(dict.fromkeys(no + _varint(seq // GROUP) for seq in seqs))


def block_key(no: bytes, log: int, block: int) -> bytes:
    return no + _varint(log) + _varint(block)


def blocks_of(no: bytes, log: int, lo: int, hi: int) -> Iterator[bytes]:
    """The keys under which items from `lo` to `hi` are found, with others."""
    for block in range(lo // BLOCK, -(-hi // BLOCK)):
        yield block_key(no, log, block)


def space_key(no: bytes, ns: str) -> bytes:
    """Of the outermost namespace, which moves most, the shortest."""
    return no + (blake2b(_encoded(ns), digest_size=6).digest() if ns else b"")


def run_key(no: bytes, run: str) -> bytes:
    return no + blake2b(_encoded(run), digest_size=8).digest()


def logs_of_runs(no: bytes) -> Document:
    return {"$gte": no + bytes(8), "$lte": no + b"\xff" * 8}


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


# -- what a document holds --------------------------------------------------------------------------------------------


class State(NamedTuple):
    """How a commit left its thread: epoch, highest seq, count of namespaces, how many checkpoints there are, bytes of them and
    of items, the number below which all commits are void, about how many bytes the commits above it hold, and the newest
    checkpoint's id."""

    epoch: int = 0
    seq: int = 0
    spaces: int = 0
    checkpoints: int = 0
    size: int = 0
    floor: int = 0
    above: int = 0
    newest: bytes = b""


class Move(NamedTuple):
    """A namespace as a commit left it; `ns` is None where an earlier commit of it has the name."""

    number: int
    head: int | None
    logs: bytes
    ns: str | None = None


class Bundle(NamedTuple):
    """A document that a commit names: what it holds (`ITEMS`, `ROWS`, `SPACES`), how much, and the seqs of the first and the
    last of its rows. `number`: of the one namespace that these are of, None where they may be of several."""

    id: bytes
    kind: int
    size: int
    lo: int = 0
    hi: int = 0
    number: int | None = None

    @property
    def is_small(self) -> bool:
        """Whether it is written anew with others."""
        return self.size < FULL[self.kind] // 2


@dataclass(slots=True)
class Contents:
    """What a commit or a bundle brings: rows with the numbers of their namespaces; outcomes with those of the commits that
    brought them, the highest of which counts; items."""

    rows: list[tuple[int, Row]] = field(default_factory=list[tuple[int, Row]])
    kept: list[tuple[int, Kept]] = field(default_factory=list[tuple[int, Kept]])
    items: Sequence[Item] = ()

    @property
    def size(self) -> int:
        """Bytes of rows and items, as a state counts them."""
        return sum(len(row.body) for _, row in self.rows) + sum(len(data) for _, _, data in self.items)


@dataclass(slots=True)
class Commit:
    """A document, unpacked; of a bundle there are contents alone, or moves. `moved`: the key of the one namespace that a commit
    moved."""

    key: bytes
    state: State = field(default_factory=State)
    moves: Sequence[Move] = ()
    contents: Contents = field(default_factory=Contents)
    bundles: Sequence[Bundle] = ()
    lease: Document | None = None
    moved: bytes | None = None

    @property
    def n(self) -> int:
        return number_of(self.key)


def keys_of(no: bytes, contents: Contents, parents: Iterable[int | None], n: int | None = None) -> Document:
    """The fields that indexes are built on; `parents` by which rows are found, `n` the number of the commit."""
    return _keys(
        q=row_keys(no, (row.seq for _, row in contents.rows if row.seq != n)),
        o=(seq_key(no, one.seq) for _, one in contents.kept),
        i=(block_key(no, log, n // BLOCK) for log, n, _ in contents.items),
        p=(seq_key(no, seq) for seq in parents if seq is not None),
    )


def keys_of_bundle(no: bytes, contents: Contents, moves: Sequence[Move]) -> Document:
    """Likewise of a bundle. What grew from one of its own rows is found with that."""
    own = {row.seq for _, row in contents.rows}
    spaces = [number_key(no, number) for number, _ in contents.rows] + [space_key(no, move.ns or "") for move in moves]
    return keys_of(no, contents, [row.parent for _, row in contents.rows if row.parent not in own]) | _keys(s=spaces)


def _keys(**found: Iterable[bytes]) -> Document:
    fields = {name: list(dict.fromkeys(keys)) for name, keys in found.items()}
    return {name: keys if len(keys) > 1 else keys[0] for name, keys in fields.items() if keys}


# -- packed -----------------------------------------------------------------------------------------------------------


def packed(commit: Commit) -> bytes:
    contents, apart = commit.contents, is_bundle(commit.key)
    own = contents.rows[-1][1] if contents.rows else None
    state: list[Any] = list(commit.state)
    if own is not None and own.seq == commit.state.seq and own.id == commit.state.newest:
        state.pop()
    fields: list[Any] = [
        FORMAT,
        state if commit.state.epoch else None,
        _packed_list(commit.moves) if apart else [_packed_move(move, own.seq if own else None) for move in commit.moves],
        _packed_rows(contents.rows) if apart else [_packed_row(commit.state.seq, number, row) for number, row in contents.rows],
        [[one.seq, _encoded(one.task), one.body, *([n] if apart else [])] for n, one in contents.kept],
        _runs(contents.items),
        [_packed_bundle(bundle) for bundle in commit.bundles],
        commit.lease and [commit.lease.get(name) for name in LEASE],
    ]
    while not fields[-1]:
        fields.pop()
    return ormsgpack.packb(fields)


def unpacked(document: Document) -> Commit:
    """Raises DamagedData where it is of a format that this version does not know."""
    key: bytes = document["_id"]
    format_, *fields = cast("list[Any]", ormsgpack.unpackb(document["d"]))
    if format_ not in (1, FORMAT):
        raise DamagedData(f"A document of MongoDB has format {format_!r}: expected {FORMAT}; a newer Clew has written it.")
    state, moves, rows, kept, runs, bundles, lease = (fields + [None] * 7)[:7]
    if state is not None and format_ == 1:
        state.insert(State._fields.index("above"), state[State._fields.index("size")])
    seq = state[1] if state else 0
    before = 0 if is_bundle(key) else number_of(key)
    contents = Contents(
        records(whole(rows)) if isinstance(rows, bytes) else [_row(seq, one) for one in rows or ()],
        [_kept(before, *one) for one in kept or ()],
        [(log, first + n, data) for log, first, *some in runs or () for n, data in enumerate(some)],
    )
    last = contents.rows[-1][1] if contents.rows else None
    if state is not None and len(state) < len(State._fields):
        state.append(last.id if last else b"")
    return Commit(
        key,
        State(*state) if state else State(),
        _list(moves) if isinstance(moves, bytes) else [_move(one, last.seq if last else None) for one in moves or ()],
        contents,
        [_bundle(key[:4], one, format_) for one in bundles or ()],
        lease and dict(zip(LEASE, lease, strict=True)),
        document.get("m"),
    )


def _packed_rows(rows: Sequence[tuple[int, Row]]) -> bytes | None:
    return compressed(joined(rows)) if rows else None


def _packed_list(moves: Sequence[Move]) -> bytes | None:
    return (
        compressed(ormsgpack.packb([_packed_move(move._replace(ns=move.ns or ""), None) for move in moves])) if moves else None
    )


def _list(data: bytes) -> list[Move]:
    return [_move(one, None) for one in ormsgpack.unpackb(whole(data))]


def _packed_bundle(bundle: Bundle) -> list[Any]:
    return [bundle.id[4:], *bundle[1 : None if bundle.number is not None else 5 if bundle.hi else 3]]


def _bundle(no: bytes, fields: list[Any], format_: int) -> Bundle:
    token, *more = fields
    if format_ > 1:
        return Bundle(no + token, *more)
    size, *rows = more
    return Bundle(no + token, ROWS, size, rows[1], rows[2], rows[0]) if rows else Bundle(no + token, ITEMS, size)


def _packed_move(move: Move, own: int | None) -> list[Any]:
    if move.ns is not None:
        return [move.number, move.logs, move.head, _encoded(move.ns)]
    return [move.number, move.logs] if own is not None and move.head == own else [move.number, move.logs, move.head]


def _move(fields: list[Any], own: int | None) -> Move:
    number, logs, *more = fields
    return Move(number, more[0] if more else own, logs, _decoded(more[1]) if len(more) > 1 else None)


def _kept(n: int, seq: int, task: bytes, body: bytes, own: int | None = None) -> tuple[int, Kept]:
    """An outcome that commit `n` brought, or the one that it says itself."""
    return n if own is None else own, Kept(seq, _decoded(task), body)


def _packed_row(highest: int, number: int, row: Row) -> list[Any]:
    stamp = row.seq.to_bytes(4, "big")  # in which an id ends
    before = [None if seq is None else row.seq - seq for seq in (row.parent, row.base)]
    return [highest - row.seq, row.id[:-4] if row.id[-4:] == stamp else row.id, *before, number, row.body]


def _row(highest: int, fields: list[Any]) -> tuple[int, Row]:
    below, id_, parent, base, number, body = fields
    seq = highest - below
    whole = id_ + seq.to_bytes(4, "big") if len(id_) == 12 else id_
    return number, Row(
        seq, whole, None if parent is None else seq - parent, None if base is None else seq - base, cast("bytes", body)
    )


def _runs(items: Sequence[Item]) -> list[list[Any]]:
    """Items one after the other in their log, as [log, number of the first, bytes of each]."""
    runs: list[list[Any]] = []
    for log, n, data in items:
        if runs and runs[-1][0] == log and runs[-1][1] + len(runs[-1]) - 2 == n:
            runs[-1].append(data)
        else:
            runs.append([log, n, data])
    return runs


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogatepass")
