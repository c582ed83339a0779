"""What `search(filter=…)` means, the same on every backend. Pure.

`{"kind": "note", "size": {"$gt": 3}, "author": {"name": "Ann"}}`: every key must match. A dict is a filter of its own for the
dict that stands there, unless its keys are operators, all of which must hold. Keys are taken as they are: `"a.b"` is one key.

Values compare by what they are: a number with a number (`1` is `1.0`; `True` is no number), text with text, a time with a time.
What cannot be compared does not match. A key that is missing matches `$ne` and nothing else; `None` is a value like any other.
"""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

MISSING: Final = object()
ORDERED: Final = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}
OPERATORS: Final = ("$eq", "$ne", *ORDERED, "$in")
Test: TypeAlias = tuple[str, Any]


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter as it was understood: for each key either operators, `(name, operand)` in their order, or a filter inside."""

    keys: Mapping[str, tuple[Test, ...] | Filter]

    def matches(self, value: Any) -> bool:
        """Whether a value is a dict of which every key matches."""
        if not isinstance(value, dict):
            return False
        found = cast("dict[str, Any]", value)
        return all(_matches(found.get(key, MISSING), wanted) for key, wanted in self.keys.items())


def parsed(given: Any) -> Filter | None:
    """The filter that was given; None where it asks for nothing.

    Raises:
        TypeError: it is no dict with text as keys. ValueError: an operator that there is not, or that cannot be meant.
    """
    if given is None or given == {}:
        return None
    if not isinstance(given, Mapping):
        raise TypeError(f"A filter is a dict, got {given!r}: write it as in filter={{'kind': 'note'}}.")
    return _filter(cast("Mapping[Any, Any]", given), "")


def _filter(given: Mapping[Any, Any], path: str) -> Filter:
    keys: dict[str, tuple[Test, ...] | Filter] = {}
    for key, wanted in given.items():
        if not isinstance(key, str):
            raise TypeError(f"A filter{path} has the key {key!r}: expected text.")
        if key.startswith("$"):
            raise ValueError(f"{key!r} stands in a filter{path} where a key is expected: write {{'some key': {{{key!r}: …}}}}.")
        keys[key] = _wanted(wanted, f"{path}[{key!r}]")
    return Filter(keys)


def _wanted(wanted: Any, path: str) -> tuple[Test, ...] | Filter:
    if not isinstance(wanted, Mapping):
        return (("$eq", wanted),)
    given = cast("Mapping[Any, Any]", wanted)
    operators = [key for key in given if isinstance(key, str) and key.startswith("$")]
    if not operators:
        return _filter(given, path)
    if len(operators) < len(given):
        raise ValueError(f"The filter{path} mixes operators with keys, {list(given)}: write one or the other.")
    return tuple(_test(name, operand, path) for name, operand in given.items())


def _test(name: str, operand: Any, path: str) -> Test:
    if name not in OPERATORS:
        raise ValueError(f"There is no operator {name!r} (in the filter{path}): expected one of {', '.join(OPERATORS)}.")
    if name == "$in":
        if isinstance(operand, str | bytes | Mapping) or not hasattr(operand, "__iter__"):
            raise ValueError(f"$in takes a list of values, got {operand!r} (in the filter{path}).")
        return name, tuple(cast("Iterable[Any]", operand))
    if name in ORDERED and _kind(operand) is None:
        raise ValueError(f"{name} takes a number, text or a time, got {operand!r} (in the filter{path}).")
    return name, operand


def _matches(found: Any, wanted: tuple[Test, ...] | Filter) -> bool:
    if isinstance(wanted, Filter):
        return wanted.matches(found)
    return all(_holds(found, name, operand) for name, operand in wanted)


def _holds(found: Any, name: str, operand: Any) -> bool:
    if name == "$ne":
        return found is MISSING or not same(found, operand)
    if found is MISSING:
        return False
    if name == "$eq":
        return same(found, operand)
    if name == "$in":
        return any(same(found, one) for one in operand)
    compare: Callable[[Any, Any], bool] = ORDERED[name]
    kind = _kind(found)
    return kind is not None and kind == _kind(operand) and compare(found, operand)


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal, at any depth: numbers by what they amount to, lists and tuples by their elements, dicts by
    their keys whatever the order, anything else by its type and `==`."""
    kind, one_type = _kind(a), cast("type[Any]", type(a)) is type(b)
    if kind is not None:
        return kind == _kind(b) and a == b
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        one, other = cast("list[Any]", a), cast("list[Any]", b)
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(a, dict) and isinstance(b, dict):
        these, those = cast("dict[Any, Any]", a), cast("dict[Any, Any]", b)
        return these.keys() == those.keys() and all(same(value, those[key]) for key, value in these.items())
    try:
        return one_type and bool(a == b)
    except Exception:  # an array says it of each element, and a user's class may say anything
        return False


def _kind(value: Any) -> str | None:
    """Values of one kind can be ordered."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, bytes):
        return "bytes"
    if isinstance(value, dt.datetime):
        return "time" if value.utcoffset() is not None else "time of no zone"
    return "date" if isinstance(value, dt.date) else None
