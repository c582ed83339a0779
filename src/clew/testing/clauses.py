"""What the clauses of savers and of stores have in common: what one is, and how they are tried. None of them stands here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

SubjectT = TypeVar("SubjectT")
ClauseT = TypeVar("ClauseT", bound="BaseClause[Any]")
Case = tuple[ClauseT, str]


@dataclass(frozen=True)
class BaseClause(Generic[SubjectT]):
    """One rule that every backend keeps to: its name, what it says, and how it is tried. `heavy`: takes seconds, not less."""

    name: str
    rule: str
    trial: Callable[[SubjectT], None]
    heavy: bool = False

    def check(self, make: Any, face: str = "sync") -> None:
        """Tries this clause. Raises AssertionError, or whatever the backend raises."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Broken(Generic[ClauseT]):
    """A clause that a backend does not keep to, by which face, and what was raised."""

    clause: ClauseT
    face: str
    error: Exception


def rule_of(trial: Callable[[Any], None]) -> tuple[str, str]:
    """The name of a function and the rule that its docstring says."""
    return trial.__name__, " ".join((trial.__doc__ or "").split())


def by_face(clauses: Sequence[ClauseT], only: Callable[[ClauseT], bool], faces: Iterable[str]) -> Iterator[Case[ClauseT]]:
    """Every clause that is wanted by every face."""
    return ((one, face) for one in clauses if only(one) for face in faces)


def broken_of(
    cases: Iterable[Case[ClauseT]], make: Any, progress: Callable[[ClauseT, str], None] = lambda clause, face: None
) -> list[Broken[ClauseT]]:
    """Tries all of these; returns those that do not hold. `progress` is told of each before it is tried."""
    broken: list[Broken[ClauseT]] = []
    for one, face in cases:
        progress(one, face)
        try:
            one.check(make, face)
        except Exception as error:
            broken.append(Broken(one, face, error))
    return broken


def suite_of(cases: Iterable[Case[ClauseT]], make: Any) -> Callable[..., None]:
    """A test for pytest: one case a clause and face."""
    import pytest  # late: whoever checks a backend by hand need not have it

    tried = list(cases)

    @pytest.mark.parametrize(("one", "face"), tried, ids=[f"{one.name}-{face}" for one, face in tried])
    def test(one: ClauseT, face: str) -> None:
        one.check(make, face)

    return test
