"""LangGraph's values as Clew keeps them: what our codec knows as it is, anything else as LangGraph's serializer writes it."""

import random
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, cast

from clew.checkpoint.codec import encode, register
from clew.errors import UnstorableValue

VERSION: Final = re.compile(r"\d{32}\.\S{16,}")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
CONTAINERS: Final = (list, tuple, set, frozenset, deque)


class Serde(Protocol):
    """LangGraph's serializer, which is also what brings its values back."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]: ...
    def loads_typed(self, data: tuple[str, bytes]) -> Any: ...


@dataclass(frozen=True, slots=True)
class Foreign:
    """A value that only LangGraph's serializer knows: its word for it, and its bytes."""

    kind: str
    data: bytes


register(Foreign, name="clew.langgraph.Foreign")


def storable(value: Any, serde: Serde) -> Any:
    """The value with all that our codec does not know, however deep in lists and dicts, as LangGraph's serializer writes it."""
    try:
        encode(value)
    except UnstorableValue:
        kind = cast("Any", type(value))
        if kind in CONTAINERS:
            return _like(value, [storable(element, serde) for element in value])
        if kind is dict and all(_is_known(key) for key in value):
            return {key: storable(element, serde) for key, element in value.items()}
        return Foreign(*serde.dumps_typed(value))
    return value


def restored(value: Any, serde: Serde) -> Any:
    """What `storable` made of a value, as it was."""
    kind = cast("Any", type(value))
    if kind is Foreign:
        return serde.loads_typed((value.kind, value.data))
    if kind in CONTAINERS:
        return _like(value, [restored(element, serde) for element in value])
    if kind is dict:
        return {key: restored(element, serde) for key, element in value.items()}
    return value


def _like(container: Any, elements: list[Any]) -> Any:
    return deque(elements, container.maxlen) if type(container) is deque else cast("Any", type(container))(elements)


def _is_known(key: Any) -> bool:
    try:
        encode(key)
    except UnstorableValue:
        return False
    return True


# -- times and versions: long texts that stand in every checkpoint ------------------------------------------------------


def short_time(text: Any) -> Any:
    """An ISO time in UTC as microseconds since 1970; anything else as it is."""
    try:
        made = datetime.fromisoformat(text)
        since = (made - EPOCH) // timedelta(microseconds=1)
    except (TypeError, ValueError):
        return text
    return since if long_time(since) == text else text


def long_time(packed: Any) -> Any:
    return (EPOCH + timedelta(microseconds=packed)).isoformat() if type(packed) is int else packed


def next_version(current: str | int | float | None) -> str:
    """The version after `current`, in the shape of LangGraph's own savers: its counter, and a random tail that tells branches
    apart."""
    count = int(str(current or 0).partition(".")[0])
    return _version(count + 1, random.random())


def _version(count: int, tail: float) -> str:
    return f"{count:032}.{tail:016}"


def short(version: Any) -> Any:
    """A version in fewer bytes."""
    if isinstance(version, str) and VERSION.fullmatch(version):
        count, _, tail = version.partition(".")
        try:
            packed = int(count), float(tail)
        except ValueError:
            return version
        return list(packed) if _version(*packed) == version else version
    return version


def long(packed: Any) -> Any:
    return _version(*cast("tuple[int, float]", packed)) if type(packed) is list else packed


def each(change: Callable[[Any], Any], versions: Mapping[str, Any]) -> dict[str, Any]:
    return {channel: change(version) for channel, version in versions.items()}
