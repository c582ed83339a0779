"""What every store keeps to, as named clauses: for whoever writes a backend (`clew.store.storage`).

In a test file of one's own::

    from functools import partial
    from clew.testing.stores import suite

    test_store = suite(partial(MyStore, "my://database"))

or `check_store(make)` from anywhere. The clauses stand in `clauses_of_items.py`, `clauses_of_batches.py` and
`clauses_of_meaning.py`.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Protocol, Self, cast

from clew.store.items import IndexConfig, Item, TTLConfig
from clew.store.keeping import Store
from clew.testing.clauses import BaseClause, Broken, broken_of, by_face, rule_of, suite_of

DIMS: Final = 16
FACES: Final = ("sync", "async")
PATIENCE: Final = 30.0  # seconds after which something that is waited for will not come


class Make(Protocol):
    """Opens a store over the database under test. Called again it opens another one over the same database."""

    def __call__(self, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None) -> Store: ...


def embed(texts: Sequence[str]) -> list[list[float]]:
    """Vectors by which texts that have letters in common are near to one another."""
    return [[float(sum(ord(letter) % DIMS == number for letter in text)) for number in range(DIMS)] for text in texts]


INDEX: Final[IndexConfig] = {"dims": DIMS, "embed": embed, "fields": ["text"]}


class OnLoop:
    """A store by its async face: each call on a loop of its own."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.store, f"a{name}", None)
        if found is None:
            return getattr(self.store, name)

        def call(*args: Any, **given: Any) -> Any:
            return asyncio.run(found(*args, **given))

        return call


@dataclass
class Subject:
    """A backend under test, by one face.

    Attributes:
        make: see `Make`. face: "sync" or "async". prefix: a label that nobody else's namespaces begin with, though the database
            may be in use.
    """

    make: Make
    face: str
    prefix: str
    opened: list[Store] = field(default_factory=list[Store])

    def store(self, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None) -> Store:
        """Another store over the database, by the face; closed when the clause is over."""
        self.opened.append(self.make(index=index, ttl=ttl))
        return self.opened[-1] if self.face == "sync" else cast("Store", OnLoop(self.opened[-1]))

    def ns(self, *labels: str) -> tuple[str, ...]:
        return (self.prefix, *labels)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for store in self.opened:
            store.close()


class Clause(BaseClause[Subject]):
    """One rule, tried on a store."""

    def check(self, make: Make, face: str = "sync") -> None:
        """Tries this clause. Raises AssertionError, or whatever the backend raises."""
        with Subject(make, face, f"{self.name}-{os.urandom(6).hex()}") as on:
            self.trial(on)


CLAUSES: Final[list[Clause]] = []


def clause(trial: Callable[[Subject], None]) -> Callable[[Subject], None]:
    """A clause by the name of this function, which says its rule in its docstring."""
    CLAUSES.append(Clause(*rule_of(trial), trial))
    return trial


def heavy(trial: Callable[[Subject], None]) -> Callable[[Subject], None]:
    """A clause that takes seconds: many items, many bytes, many writers."""
    CLAUSES.append(Clause(*rule_of(trial), trial, heavy=True))
    return trial


def clauses() -> Sequence[Clause]:
    """All of them."""
    for part in ("items", "batches", "meaning"):  # late: they are written with what stands here
        importlib.import_module(f"clew.testing.clauses_of_{part}")
    return CLAUSES


def until(done: Callable[[], bool]) -> None:
    """Waits for something that the store's clock brings."""
    patience = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < patience, f"it has not come about in {PATIENCE} seconds"
        time.sleep(0.001)


def raised(kind: type[Exception], call: Any, *args: Any, **given: Any) -> Exception:
    try:
        call(*args, **given)
    except kind as error:
        return error
    raise AssertionError(f"it did not raise {kind.__name__}")


def keys(store: Store, *prefix: str, **given: Any) -> list[str]:
    asked: dict[str, Any] = {"limit": 1000, **given}
    return [item.key for item in store.search(prefix, **asked)]


def held(store: Store, ns: tuple[str, ...], key: str) -> Item:
    item = store.get(ns, key)
    assert item is not None
    return item


def version(store: Store, ns: tuple[str, ...], key: str) -> int:
    item = store.get(ns, key)
    return item.version if item else 0


def check_store(make: Make, *, only: Callable[[Clause], bool] = lambda clause: True) -> list[Broken[Clause]]:
    """Tries every clause by both faces; returns those that do not hold.

    Args:
        make: opens a store over the database under test; `functools.partial` of a class will do. only: which clauses.
    """
    return broken_of(cases(only), make)


def cases(only: Callable[[Clause], bool] = lambda clause: True) -> Iterator[tuple[Clause, str]]:
    """Every clause by every face."""
    return by_face(clauses(), only, FACES)


def suite(make: Make, *, only: Callable[[Clause], bool] = lambda clause: not clause.heavy) -> Callable[..., None]:
    """A test for pytest: one case a clause and face. By default without those that take seconds."""
    return suite_of(cases(only), make)
