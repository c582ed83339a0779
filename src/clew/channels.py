"""How one key of the state takes writes. Pure: a value and the writes of one superstep go in, a value comes out.

A channel never keeps anything: the value lives in the checkpoint.
"""

import operator
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar, overload

from clew.errors import InvalidUpdateError

Reduce = Callable[[Any, Any], Any]
F = TypeVar("F", bound=Callable[..., Any])

MISSING: Final[Any] = type("Missing", (), {"__repr__": lambda self: "<missing>", "__slots__": ()})()  # pyright: ignore[reportUnknownLambdaType]  (a sentinel)
"""What a key holds before its first write."""

CONTAINERS: Final = frozenset({list, dict, set, deque})
"""The mutable containers that nodes are handed copies of, so that changing one leaks nowhere (DESIGN §4)."""


def own(value: Any) -> Any:
    """`value`, or a shallow copy of it where it is a mutable container."""
    return value.copy() if type(value) in CONTAINERS else value


class Channel(Protocol):
    """One key's rule.

    Attributes:
        keeps_elements: folding leaves the value it is given and the elements it keeps alone, so that an element that *is* one
            kept before need not be looked at again (the soundness rule of DESIGN §4).
        prepare: what is done to an update before it is kept and folded, or None.
    """

    @property
    def keeps_elements(self) -> bool: ...
    @property
    def prepare(self) -> Callable[[Any], Any] | None: ...
    def initial(self) -> Any:
        """The value before the first write; `MISSING` where there is none."""
        ...

    def fold(self, key: str, current: Any, writes: Sequence[Any]) -> Any:
        """The value after one superstep's writes (one at least), in the order of their tasks."""
        ...


@dataclass(frozen=True, slots=True)
class LastValue:
    """A plain key: one writer a superstep, whose value replaces the old one."""

    keeps_elements: bool = True
    prepare: None = None

    def initial(self) -> Any:
        return MISSING

    def fold(self, key: str, current: Any, writes: Sequence[Any]) -> Any:
        if len(writes) > 1:
            raise InvalidUpdateError(
                f"{len(writes)} nodes wrote the key {key!r} in one superstep, which takes one value a step. To fold them, "
                f"give it a reducer: `{key}: Annotated[list, operator.add]`."
            )
        return own(writes[0])


@dataclass(frozen=True, slots=True)
class Reducer:
    """A key whose writes are folded in, one after the other: `reduce(current, update) -> new`.

    Without a value to start from, the first write is taken as it is.
    """

    reduce: Reduce
    start: Callable[[], Any] = lambda: MISSING
    keeps_elements: bool = False
    prepare: Callable[[Any], Any] | None = None

    def initial(self) -> Any:
        value = self.start()
        return value if value is MISSING or self.prepare is None else self.prepare(value)

    def fold(self, key: str, current: Any, writes: Sequence[Any]) -> Any:
        if not self.keeps_elements:
            current = own(current)  # it may be changed in place, and what is committed is not the reducer's
        for write in writes:
            current = own(write) if current is MISSING else self.reduce(current, write)
        return own(current) if any(current is write for write in writes) else current


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of a reducer beyond its signature; see `reducer`."""

    keeps_elements: bool = False
    prepare: Callable[[Any], Any] | None = None
    fold: Reduce | None = None


KNOWN: Final = {getattr(operator, name): Traits(keeps_elements=True) for name in ("add", "or_")}


@overload
def reducer(fn: F, /) -> F: ...
@overload
def reducer(
    *, keeps_elements: bool = ..., prepare: Callable[[Any], Any] | None = ..., fold: Reduce | None = ...
) -> Callable[[F], F]: ...
def reducer(
    fn: Any = None,
    /,
    *,
    keeps_elements: bool = False,
    prepare: Callable[[Any], Any] | None = None,
    fold: Reduce | None = None,
) -> Any:
    """Declares what a reducer of yours promises; an undeclared one works as well and costs a look at every element.

    Args:
        keeps_elements: it returns a new container with elements added, dropped, moved and replaced, and changes neither the
            container it is given nor inside an element that it keeps.
        prepare: called with each update once, when the node that returned it ends; what it returns is what is kept and
            what the reducer gets. For coercion, and for whatever must not differ between two attempts (ids).
    """

    def declare(fn: Any) -> Any:
        fn.__clew_traits__ = Traits(keeps_elements, prepare, fold)
        return fn

    return declare if fn is None else declare(fn)


def traits_of(fn: Any) -> Traits:
    found: Traits | None = getattr(fn, "__clew_traits__", None)
    return found or KNOWN.get(fn) or Traits()
