"""How one key of the state takes writes. Pure: a value and the writes of one superstep go in, a value comes out.

A channel never keeps anything: the value lives in the checkpoint.
"""

import collections.abc as abc
import operator
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar, get_origin, overload

from clew.errors import GraphError, InvalidUpdateError

Reduce = Callable[[Any, Any], Any]
F = TypeVar("F", bound=Callable[..., Any])

MISSING: Final[Any] = type("Missing", (), {"__repr__": lambda self: "<missing>", "__slots__": ()})()  # pyright: ignore[reportUnknownLambdaType]  (a sentinel)
"""What a key holds before its first write."""

CONTAINERS: Final = frozenset({list, dict, set, deque, OrderedDict, defaultdict, Counter, bytearray})
"""The mutable containers that nodes are handed copies of, so that changing one leaks nowhere (DESIGN §4)."""


def own(value: Any) -> Any:
    """`value`, or a shallow copy of it where it is a mutable container."""
    return value.copy() if type(value) in CONTAINERS else value


class Channel:
    """One key's rule. The classes below are also what users write into an annotation, as in `Annotated[list, Topic(int)]`.

    Attributes:
        keeps_elements: folding leaves the value it is given and the elements it keeps alone, so that an element that *is* one
            kept before need not be looked at again (the soundness rule of DESIGN §4).
        prepare: what is done to an update before it is kept and folded, or None.
        fleeting: a superstep in which nobody writes the key empties it.
        stored: checkpoints keep it.
    """

    __slots__ = ()
    keeps_elements: bool = True
    prepare: Callable[[Any], Any] | None = None
    fleeting: ClassVar[bool] = False
    stored: ClassVar[bool] = True

    def initial(self) -> Any:
        """The value before the first write; `MISSING` where there is none."""
        return MISSING

    def fold(self, key: str, current: Any, writes: Sequence[Any]) -> Any:
        """The value after one superstep's writes (one at least), in the order of their tasks."""
        raise NotImplementedError


class LastValue(Channel):
    """A plain key: one writer a superstep, whose value replaces the old one. `typ` is for readers only."""

    __slots__ = ("guard", "typ")

    def __init__(self, typ: Any = Any, guard: bool = True) -> None:
        self.typ = typ
        self.guard = guard

    def fold(self, key: str, current: Any, writes: Sequence[Any]) -> Any:
        if len(writes) > 1 and self.guard:
            raise InvalidUpdateError(
                f"{len(writes)} nodes wrote the key {key!r} in one superstep, which takes one value a step. To fold them, "
                f"give it a reducer: `{key}: Annotated[list, operator.add]`."
            )
        return own(writes[-1])


class EphemeralValue(LastValue):
    """A value for the next superstep only. `guard=False` takes the last of several writes instead of refusing them."""

    __slots__ = ()
    fleeting = True


class AnyValue(EphemeralValue):
    """Like `EphemeralValue`, for writers that all write the same: the last one counts."""

    __slots__ = ()

    def __init__(self, typ: Any = Any) -> None:
        super().__init__(typ, guard=False)


class UntrackedValue(LastValue):
    """A value that lives as long as the run and is never stored: for what cannot be, such as an open connection."""

    __slots__ = ()
    stored = False


class Topic(Channel):
    """A list of what was written in the last superstep, or with `accumulate` ever; lists that are written are flattened."""

    __slots__ = ("accumulate", "fleeting", "typ")

    def __init__(self, typ: Any = Any, accumulate: bool = False) -> None:
        self.typ = typ
        self.accumulate = accumulate
        self.fleeting = not accumulate  # pyright: ignore[reportAttributeAccessIssue]  (a class's constant elsewhere)

    def fold(self, key: str, current: Any, writes: Sequence[Any]) -> Any:
        found = list(current) if self.accumulate and current is not MISSING else []
        for write in writes:
            found += write if isinstance(write, list) else [write]
        return found


class Reducer(Channel):
    """A key whose writes are folded in, one after the other: `reduce(current, update) -> new`.

    Without a value to start from, the first write is taken as it is.
    """

    __slots__ = ("keeps_elements", "prepare", "reduce", "start")

    def __init__(
        self,
        reduce: Reduce,
        start: Callable[[], Any] = lambda: MISSING,
        keeps_elements: bool = False,
        prepare: Callable[[Any], Any] | None = None,
    ) -> None:
        self.reduce = reduce
        self.start = start
        self.keeps_elements = keeps_elements
        self.prepare = prepare

    def initial(self) -> Any:
        value = self.start()
        return value if value is MISSING or self.prepare is None else self.prepare(value)

    def fold(self, key: str, current: Any, writes: Sequence[Any]) -> Any:
        if not self.keeps_elements:
            current = own(current)  # it may be changed in place, and what is committed is not the reducer's
        for write in writes:
            current = own(write) if current is MISSING else self.reduce(current, write)
        for write in writes:
            if current is write:
                return own(current)
        return current


def merged(key: str, one: Channel, other: Channel) -> Channel:
    """The rule of a key that two schemas have: where one of them says nothing of it, the other's.

    Raises:
        GraphError: they contradict one another.
    """
    if type(other) is LastValue or one is other:
        return one
    if type(one) is LastValue:
        return other
    if isinstance(one, Reducer) and isinstance(other, Reducer):
        same = one.reduce == other.reduce
    else:
        same = type(one) is type(other) and all(getattr(one, name) == getattr(other, name) for name in _fields(one))
    if not same:
        raise GraphError(
            f"Channel {key!r} already exists with a different type: the schemas of this graph fold it in two ways. Give "
            "it the same reducer in both, or leave the reducer out in all but one."
        )
    return one


def _fields(channel: Channel) -> list[str]:
    return [name for name in ("guard", "accumulate") if hasattr(channel, name)]


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


CONCRETE: Final[Mapping[Any, type]] = {
    abc.Sequence: list,
    abc.MutableSequence: list,
    abc.Collection: list,
    abc.Iterable: list,
    abc.Set: set,
    abc.MutableSet: set,
    abc.Mapping: dict,
    abc.MutableMapping: dict,
}


def reducing(typ: Any, reduce: Reduce, start: Callable[[], Any] | None = None) -> Reducer:
    """The channel of `Annotated[typ, reduce]`: it starts as `start()`, by default as an empty `typ` where there is one."""
    traits = traits_of(reduce)
    return Reducer(traits.fold or reduce, start or _constructor(typ), traits.keeps_elements, traits.prepare)


BinaryOperatorAggregate = reducing
"""LangGraph's name for it: `BinaryOperatorAggregate(list, operator.add)`."""


def _constructor(typ: Any) -> Callable[[], Any]:
    kind: Any = get_origin(typ) or typ
    kind = CONCRETE.get(kind, kind)
    try:
        kind()
    except Exception:  # whatever stands in the way, there is no value to start from
        return lambda: MISSING
    return kind
