"""What arguments of a store are good, and which namespaces a listing means. Pure."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

from clew.errors import InvalidNamespaceError
from clew.store.items import ListNamespacesOp, MatchCondition
from clew.store.storage import Namespace, Place

RESERVED: Final = "langgraph"
LONGEST: Final = 1000 * 365 * 86_400_000  # milliseconds; longer fits no backend's clock


def checked_namespace(given: Any) -> Namespace:
    """A namespace that may be written to. Raises InvalidNamespaceError."""
    namespace = checked_prefix(given)
    if not namespace:
        raise InvalidNamespaceError("The namespace is empty: expected at least one label, as in ('memories',).")
    if namespace[0] == RESERVED:
        raise InvalidNamespaceError(
            f"The namespace {namespace!r} begins with {RESERVED!r}, which is reserved: name it otherwise."
        )
    return namespace


def checked_prefix(given: Any) -> Namespace:
    """Labels, perhaps none. Raises InvalidNamespaceError."""
    if not isinstance(given, tuple | list):
        hint = f": write ({given!r},)" if isinstance(given, str) else ", as in ('memories', 'user-1')"
        raise InvalidNamespaceError(f"A namespace is a tuple of labels, got {given!r}{hint}.")
    labels = cast("list[Any]", given)
    for label in labels:
        wrong = _wrong(label)
        if wrong:
            raise InvalidNamespaceError(f"The label {label!r} of the namespace {tuple(labels)!r} {wrong}.")
    return tuple(str.__str__(label) for label in labels)  # of subclasses too: backends take the plain type only


def _wrong(label: Any) -> str:
    if not isinstance(label, str):
        return f"is of type {type(label).__name__}: expected text"
    if not label:
        return "is empty: expected text with something in it"
    if "." in label:
        return "contains '.', which parts labels where they are stored: leave it out, or write two labels"
    if "\0" in label:
        return "contains NUL: leave it out"
    return "" if _encodable(label) else "cannot be written in UTF-8: it contains half a character"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def checked_place(namespace: Any, key: Any) -> Place:
    """Where an item may be read. Raises InvalidNamespaceError, TypeError, ValueError."""
    labels = checked_prefix(namespace)
    if not labels:
        raise InvalidNamespaceError("The namespace is empty: expected at least one label, as in ('memories',).")
    if not isinstance(key, str):
        raise TypeError(f"A key is text, got {key!r}: write it as in {str(key)!r}.")
    if not _encodable(key):
        raise ValueError(f"The key {key!r} cannot be written in UTF-8: it contains half a character.")
    return Place(labels, str.__str__(key))


def checked_limits(limit: Any, offset: Any) -> None:
    for name, number in (("limit", limit), ("offset", offset)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise ValueError(f"{name} is {number!r}: expected a whole number, 0 or more.")


def checked_version(version: Any) -> None:
    if version is not None and (isinstance(version, bool) or not isinstance(version, int) or version < 0):
        raise ValueError(f"if_version is {version!r}: expected an item's `version`, 0 for no item, or None for any.")


def minutes(given: Any, name: str) -> int | None:
    """Minutes in milliseconds, at least one; None for ever. Raises TypeError, ValueError."""
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise TypeError(f"{name} is {given!r}: expected a number of minutes, or None for ever.")
    if not given > 0:  # NaN too
        raise ValueError(f"{name} is {given!r}: expected more than 0 minutes, or None for ever. To keep nothing, delete it.")
    return math.ceil(min(given * 60_000, LONGEST))


def interval(given: Any, default: float) -> float:
    """How many minutes lie between two sweeps. Raises ValueError."""
    if given is None:
        return default
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= threading.TIMEOUT_MAX / 60:
        raise ValueError(f"sweep_interval_minutes is {given!r}: expected a number of minutes above 0.")
    return float(given)


def listed(op: ListNamespacesOp, namespaces: Callable[[Namespace], Iterable[Namespace]]) -> list[Namespace]:
    """The namespaces that are meant, of those that there are."""
    depth: Any = op.max_depth
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 1):
        raise ValueError(f"max_depth is {depth!r}: expected how many labels, 1 or more, or None for all of them.")
    conditions = [_condition(given) for given in op.match_conditions or ()]
    prefix = max((_certain(path) for kind, path in conditions if kind == "prefix"), key=len, default=())
    found = {
        namespace[: op.max_depth]
        for namespace in namespaces(prefix)
        if all(_meets(namespace, kind, path) for kind, path in conditions)
    }
    return sorted(found)[op.offset : op.offset + op.limit]


def _condition(given: Any) -> tuple[str, Namespace]:
    kind, path = cast("MatchCondition", given)
    if kind not in ("prefix", "suffix"):
        raise ValueError(f"A namespace cannot be matched by {kind!r}: expected 'prefix' or 'suffix'.")
    return kind, checked_prefix(path)


def _certain(path: Namespace) -> Namespace:
    return path[: path.index("*")] if "*" in path else path


def _meets(namespace: Namespace, kind: str, path: Namespace) -> bool:
    if len(path) > len(namespace):
        return False
    labels = namespace[: len(path)] if kind == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in ("*", label) for label, wanted in zip(labels, path, strict=True))
