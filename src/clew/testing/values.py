"""Hypothesis strategies for values that Clew stores. Needs hypothesis, which `clew[dev]` brings."""

import datetime as dt
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st


def orders() -> st.SearchStrategy[Callable[[int], int]]:
    """Orders in which tasks end, for `ScriptedHost` and `crash_everywhere`."""
    return st.randoms(use_true_random=False).map(lambda chance: chance.randrange)


def text() -> st.SearchStrategy[str]:
    """Any text at all: NUL and lone surrogates too."""
    return st.text(st.characters(codec=None, categories=None))


def atoms() -> st.SearchStrategy[Any]:
    """Values without parts; NaN is left out, as it does not equal itself."""
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(min_value=1 << 63, max_value=1 << 200),
        st.floats(allow_nan=False),
        text(),
        st.binary(),
        st.binary().map(bytearray),
        st.complex_numbers(allow_nan=False),
        st.decimals(allow_nan=False),
        st.fractions(),
        st.datetimes(),
        st.datetimes(timezones=st.just(dt.UTC)),
        st.dates(),
        st.times(),
        st.timedeltas(),
        st.uuids(),
    )


def hashable() -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), st.booleans(), st.integers(), text(), st.binary(), st.tuples(st.integers(), text()))


def storable_values(max_leaves: int = 12) -> st.SearchStrategy[Any]:
    """Nested values of every kind that comes back as it was."""
    return st.recursive(
        atoms(),
        lambda inner: st.one_of(
            st.lists(inner),
            st.lists(inner).map(tuple),
            st.lists(inner).map(lambda found: deque(found, len(found) + 1)),
            st.dictionaries(text(), inner),
            st.dictionaries(hashable(), inner),
            st.dictionaries(text(), inner).map(OrderedDict),
            st.dictionaries(text(), st.integers()).map(Counter),
            st.sets(hashable()),
            st.frozensets(hashable()),
        ),
        max_leaves=max_leaves,
    )


def same(left: Any, right: Any) -> bool:
    """Equal and of the same type, all the way down."""
    if type(left) is not type(right) or left != right:
        return False
    if isinstance(left, dict):
        return all(same(*pair) for pair in zip(left.items(), right.items(), strict=True))  # pyright: ignore
    if isinstance(left, list | tuple | deque):
        return getattr(left, "maxlen", None) == getattr(right, "maxlen", None) and all(map(same, left, right))  # pyright: ignore
    if isinstance(left, set | frozenset):
        return Counter(map(type, left)) == Counter(map(type, right))  # pyright: ignore
    return True
