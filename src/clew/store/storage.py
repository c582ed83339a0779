"""What a backend of a store writes: blocking verbs over rows, and what passes between it and the store. No I/O of its own.

Everything else (arguments, encoding, filters, embedding, what a batch sees, the two faces) is written once above it, in
`keeping.py`. What all storages keep to, `clew.testing.stores` tries:

- A place is a namespace and a key. Labels hold neither "." nor NUL, nor are they empty, so that "." may join them; a key is any
  text that UTF-8 can write, empty or with NUL in it.
- Rows are ordered by `updated`, the newest first, then by key, then by the labels, joined; text by its code points.
- A row that has expired is not there: no verb returns it, and nothing is told of it. What time it is, the database says where
  it has a clock, or else the machine.
- A row's version is its `updated`, the time of the write in microseconds, made higher than what the row had before where the
  clock does not do that; below 2**53. It is never used twice for one place: a clock that is coarser is filled up by chance. The
  puts of one write have one time, so that they are ordered by their keys; a later write has a later one.
- A verb may be called by many threads at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from clew.errors import VersionConflict
from clew.store.filters import Filter

Namespace: TypeAlias = tuple[str, ...]


class Place(NamedTuple):
    """Where an item is."""

    namespace: Namespace
    key: str


class Row(NamedTuple):
    """An item as it is kept.

    Attributes:
        value: its bytes. created, updated: microseconds since 1970. `created` is kept as long as the item is.
        ttl: milliseconds that it lives from when it was put or refreshed; None where it lives until it is deleted.
        expires: until when, in microseconds since 1970; None with `ttl`.
    """

    place: Place
    value: bytes
    created: int
    updated: int
    ttl: int | None = None
    expires: int | None = None

    @property
    def order(self) -> tuple[int, str, str]:
        return -self.updated, self.place.key, ".".join(self.place.namespace)


class Put(NamedTuple):
    """What is to become of one place.

    Attributes:
        value: None deletes. vectors: what the item is found by, each some 32-bit floats, little-endian, of length 1, in place
            of those it had; those of one storage may have different numbers of floats. ttl: as in `Row`; the clock starts anew.
        if_version: the version that the place must have, 0 for no item; None where any will do.
    """

    place: Place
    value: bytes | None
    vectors: tuple[bytes, ...] = ()
    ttl: int | None = None
    if_version: int | None = None


class Scan(NamedTuple):
    """Which rows are read.

    Attributes:
        prefix: the labels that their namespaces begin with; all of them where it is empty.
        wanted: a storage may leave out rows that do not match. Those it yields are looked at again: nothing need be left out.
        most: where nothing is `wanted`, no more rows than this will be read; None where that is not known.
    """

    prefix: Namespace
    wanted: Filter | None = None
    most: int | None = None


class Vector(NamedTuple):
    """The vectors of one item, one behind the other."""

    place: Place
    data: bytes


class Storage(Protocol):
    """Rows in one database. All verbs block."""

    blocking: bool
    """Whether a verb may take long: the async face then calls it in a worker thread."""

    def setup(self) -> None:
        """Makes ready what the verbs need. Done by itself on first use; done again it does nothing."""
        ...

    def get(self, places: Sequence[Place]) -> dict[Place, Row]:
        """The rows of those places that have one; there may be thousands."""
        ...

    def scan(self, scan: Scan) -> Iterator[Row]:
        """Rows in order, as they were when it was called: one that is put meanwhile is not lost for that, and comes as it was
        or as it is. It is closed as soon as enough has been read."""
        ...

    def vectors(self, prefix: Namespace) -> Iterator[Vector]:
        """The vectors of every item that has some, in any order."""
        ...

    def near(self, prefix: Namespace, vector: bytes, most: int) -> Sequence[Vector] | None:
        """Of the items that have vectors the `most` that are nearest to this one (their best inner product with it is highest),
        exactly, in any order. None where the database cannot tell, as where one has another number of floats: whoever asks then
        goes through `vectors`, and says so."""
        ...

    def namespaces(self, prefix: Namespace) -> Iterator[Namespace]:
        """Each namespace that begins with these labels and has an item, once, in any order."""
        ...

    def write(self, puts: Sequence[Put]) -> None:
        """All of them, or nothing where one fails. Their places differ.

        Raises:
            VersionConflict: the first whose `if_version` does not hold; see `conflict`.
        """
        ...

    def refresh(self, places: Sequence[Place]) -> None:
        """Lets those that have a `ttl` live so long from now. Their versions stay."""
        ...

    def sweep(self) -> int:
        """Deletes what has expired. Returns how many rows there were."""
        ...

    def close(self) -> None:
        """Closes connections and files."""
        ...


def conflict(put: Put, found: int) -> VersionConflict:
    """What `write` raises where a place has this version, 0 where it has no item."""
    namespace, key = put.place
    has = f"has version {found}" if found else "has no item"
    wanted = f"version {put.if_version}" if put.if_version else "no item"
    said = (
        f"{key!r} in {namespace!r} {has}, expected {wanted}: nothing was written. Read it again and decide anew, or let "
        "`store.update(namespace, key, change)` do that."
    )
    return VersionConflict(said, namespace, key, put.if_version or 0, found)


def begins(namespace: Namespace, prefix: Namespace) -> bool:
    return namespace[: len(prefix)] == prefix


def lives(row: Any, now: int) -> bool:
    """Whether a row, or anything that `expires`, is there at this time, in microseconds since 1970."""
    return row.expires is None or row.expires > now
