"""What every saver keeps to, as named clauses: for whoever writes a backend (`clew.checkpoint.storage`).

In a test file of one's own::

    from functools import partial
    from clew.testing.savers import suite

    test_saver = suite(partial(MySaver, "my://database"))

or without one, `CLEW_SAVER=my.package:make pytest --pyargs clew.testing`; or `check_saver(make)` from anywhere. What a storage
is held to stands in `clauses_of_rows.py`, `clauses_of_mending.py` and `clauses_of_events.py`, what the threads of
graphs come to over it in `clauses_of_threads.py`.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from clew.checkpoint.base import Saver
from clew.checkpoint.storage import Storage
from clew.checkpoint.through import Through
from clew.runtime.tasks import in_thread
from clew.testing.clauses import BaseClause, Broken, broken_of, by_face, rule_of, suite_of
from clew.testing.faces import ASYNC, SYNC, Face

T = TypeVar("T")
Make = Callable[[], Saver]
FACES: Final[dict[str, Face]] = {"sync": SYNC, "async": ASYNC}


class OnLoop(Through):
    """A storage as the async face uses it: each call in a worker thread, whichever is free."""

    def call(self, verb: Callable[..., T], /, *args: Any) -> T:
        return asyncio.run(in_thread(verb, *args))


@dataclass
class Subject:
    """A backend under test, by one face.

    Attributes:
        make: opens a saver over the database under test. Called again it opens another one over the same database, as another
            process would; where it can be pickled, other processes do. face: how graphs are called.
        prefix: of the names of threads that nobody else uses, though the database may be in use.
    """

    make: Make
    face: Face
    prefix: str
    opened: list[Saver] = field(default_factory=list[Saver])

    def saver(self) -> Saver:
        """Another saver over the database; closed when the clause is over."""
        self.opened.append(self.make())
        return self.opened[-1]

    def storage(self) -> Storage:
        """The storage of another saver, as the face uses it."""
        storage = self.saver().storage
        return storage if self.face is SYNC else OnLoop(storage)

    def thread(self, name: str = "") -> str:
        return f"{self.prefix}{name}"

    def config(self, name: str = "") -> dict[str, Any]:
        return {"configurable": {"thread_id": self.thread(name)}}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for saver in self.opened:
            saver.close()


class Clause(BaseClause[Subject]):
    """One rule, tried on a saver."""

    def check(self, make: Make, face: str = "sync") -> None:
        """Tries this clause. Raises AssertionError, or whatever the backend raises."""
        with Subject(make, FACES[face], f"{self.name} {os.urandom(6).hex()} ") as on:
            self.trial(on)


CLAUSES: Final[list[Clause]] = []


def clause(trial: Callable[[Subject], None]) -> Callable[[Subject], None]:
    """A clause by the name of this function, which says its rule in its docstring."""
    CLAUSES.append(Clause(*rule_of(trial), trial))
    return trial


def heavy(trial: Callable[[Subject], None]) -> Callable[[Subject], None]:
    """A clause that takes seconds: many checkpoints, many bytes, many processes."""
    CLAUSES.append(Clause(*rule_of(trial), trial, heavy=True))
    return trial


def clauses() -> Sequence[Clause]:
    """All of them."""
    for part in ("rows", "mending", "events", "threads"):  # late: they are written with what stands here
        importlib.import_module(f"clew.testing.clauses_of_{part}")
    return CLAUSES


def check_saver(
    make: Make,
    *,
    only: Callable[[Clause], bool] = lambda clause: True,
    progress: Callable[[Clause, str], None] = lambda clause, face: None,
) -> list[Broken[Clause]]:
    """Tries every clause by both faces; returns those that do not hold.

    Args:
        make: opens a saver over the database under test, each time another one over the same; `functools.partial` of a class
            will do. For clauses that need other processes it has to be picklable.
        only: which clauses. progress: is told of each clause and face before it is tried.
    """
    return broken_of(cases(only), make, progress)


def cases(only: Callable[[Clause], bool] = lambda clause: True) -> Iterator[tuple[Clause, str]]:
    """Every clause by every face."""
    return by_face(clauses(), only, FACES)


def suite(make: Make, *, only: Callable[[Clause], bool] = lambda clause: not clause.heavy) -> Callable[..., None]:
    """A test for pytest: one case a clause and face. By default without those that take seconds."""
    return suite_of(cases(only), make)
