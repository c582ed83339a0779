"""The cache: what users hold and pass to `compile(cache=…)`. Everything common to all backends stands here, once.

A backend writes three blocking verbs over bytes (`_get`, `_set`, `_clear`); what the bytes mean, what arguments are good, the
awaited twins and what happens when a backend fails are none of its business. The laws of a cache:

- A cache is a courtesy. What cannot be read is a miss: bytes that are damaged, a type that is not registered here, a backend
  that cannot be reached. The last one says so in one `CacheWarning`, and is left alone for `rest` seconds.
- `clear` alone raises when the backend fails: whoever clears counts on what is stale being gone.
- A namespace is exactly itself: clearing `("a",)` leaves `("a", "b")` as it was.
- Values go through the closed codec, so that what `get` returns is a copy, and no row can name code to be run.
"""

from __future__ import annotations

import math
import time
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Generic, TypeVar, cast

from clew.checkpoint.codec import decode_known, encode
from clew.closing import Closing
from clew.errors import CacheWarning, ClewError, DatabaseError, UnstorableValue

ValueT = TypeVar("ValueT")
T = TypeVar("T")
Namespace = tuple[str, ...]
FullKey = tuple[Namespace, str]
Entry = tuple[bytes, int | None]
"""The bytes of a value, and the milliseconds that it lives; None where it lives until it is cleared."""

# What the checksum starts from. A change of the format changes it, and with that all that was stored before is a miss.
SEAL: Final = 1
LONGEST: Final = 100 * 365 * 86_400  # seconds; longer is asked of nobody, and fits every backend's clock


class BaseCache(Closing, Generic[ValueT]):
    """Keeps values under `(namespace, key)`. One object serves both faces, any number of graphs and of threads.

    A backend of your own implements `_get`, `_set` and `_clear`.

    Attributes:
        failures: what its verbs raise when the backend cannot be used just now.
        rest: seconds for which a backend that failed is not asked again, so that one that is down holds no run up twice.
        blocking: whether its verbs may take long; the awaited twins then call them in a worker thread.
    """

    failures: ClassVar[tuple[type[Exception], ...]] = ()
    blocking: ClassVar[bool] = True
    rest: float = 5.0
    _failed: float | None = None  # when the backend failed, by the monotonic clock; None where it did not

    # -- what a backend writes --------------------------------------------------------------------------------------

    def _get(self, keys: Sequence[FullKey]) -> dict[FullKey, bytes]:
        """What is stored under these keys and has not expired."""
        raise NotImplementedError(f"{type(self).__name__} has no `_get(keys) -> dict[key, bytes]`: write it.")

    def _set(self, entries: Mapping[FullKey, Entry]) -> None:
        """Stores entries, in place of what was under their keys."""
        raise NotImplementedError(f"{type(self).__name__} has no `_set(entries: dict[key, (bytes, milliseconds)])`: write it.")

    def _clear(self, namespaces: Sequence[Namespace] | None) -> None:
        """Deletes what is in exactly these namespaces; everything where None is given."""
        raise NotImplementedError(f"{type(self).__name__} has no `_clear(namespaces | None)`: write it.")

    def close(self) -> None:
        """Closes files. The cache cannot be used after."""

    # -- for users --------------------------------------------------------------------------------------------------

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, ValueT]:
        """The values of those keys that are there, as copies; a key that is missing was not found, or could not be read.

        Args:
            keys: `(namespace, key)` pairs, as in `[(("summaries", "v1"), "page-7")]`.
        """
        return self._read(_full_keys(keys))

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, ValueT]:
        """`get`, awaited."""
        return await self._waited(self._read, _full_keys(keys))

    def set(self, pairs: Mapping[FullKey, tuple[ValueT, float | None]]) -> None:
        """Stores values, each with the seconds that it lives, or None where it lives until it is cleared.

        Args:
            pairs: as in `{(("summaries", "v1"), "page-7"): ("It was night …", 3600)}`.

        Raises:
            UnstorableValue: one of the values cannot be stored; nothing is written.
        """
        self._write(_entries(pairs))

    async def aset(self, pairs: Mapping[FullKey, tuple[ValueT, float | None]]) -> None:
        """`set`, awaited."""
        # encoded here, not in the worker thread: once this returns to the event loop the caller may change the value
        await self._waited(self._write, _entries(pairs))

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Deletes what is in exactly these namespaces; everything where none are named.

        Raises:
            DatabaseError: the backend cannot be used, and what it holds may still be there.
        """
        self._empty(_namespaces(namespaces))

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """`clear`, awaited."""
        await self._waited(self._empty, _namespaces(namespaces))

    # -- bytes ------------------------------------------------------------------------------------------------------

    def _read(self, keys: list[FullKey]) -> dict[FullKey, ValueT]:
        found = self._tried(self._get, keys) if keys else None
        values: dict[FullKey, ValueT] = {}
        for key, data in (found or {}).items():
            try:
                values[key] = _opened(data)
            except ClewError:  # damaged, or of a type that is not known here: whoever asked makes it anew
                continue
        return values

    def _write(self, entries: dict[FullKey, Entry]) -> None:
        if entries:
            self._tried(self._set, entries)

    def _empty(self, namespaces: list[Namespace] | None) -> None:
        try:
            self._clear(namespaces)
        except self.failures as error:
            raise DatabaseError(
                f"{type(self).__name__} could not be cleared ({_told(error)}): what it holds may still be used. "
                "Call `clear` again when the backend can be reached."
            ) from error

    def _tried(self, verb: Callable[[Any], T], argument: Any) -> T | None:
        """What the verb returns; None where the backend fails, or failed a moment ago."""
        if self._failed is not None and time.monotonic() < self._failed + self.rest:
            return None
        try:
            done = verb(argument)
        except self.failures as error:
            known, self._failed = self._failed is not None, time.monotonic()
            if not known:
                said = f"{type(self).__name__} cannot be used ({_told(error)}): the run goes on as if nothing were cached."
                warnings.warn(CacheWarning(said), stacklevel=4)
            return None
        self._failed = None
        return done

    async def _waited(self, fn: Callable[[Any], T], argument: Any) -> T:
        if not self.blocking:
            return fn(argument)
        import asyncio  # late: it is most of what importing Clew would cost

        return await asyncio.to_thread(fn, argument)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _sealed(value: object) -> bytes:
    """The bytes of a value behind their checksum: msgpack alone would take a flipped bit for another number."""
    data = encode(value)
    return zlib.crc32(data, SEAL).to_bytes(4, "big") + data


def _opened(sealed: bytes) -> Any:
    data = sealed[4:]
    if sealed[:4] != zlib.crc32(data, SEAL).to_bytes(4, "big"):
        raise DatabaseError(f"A cached value holds {sealed[:20]!r}…, which is damaged or not something Clew wrote.")
    return decode_known(data)


# -- arguments ------------------------------------------------------------------------------------------------------


def _namespace(found: Any) -> Namespace:
    if isinstance(found, str):
        raise TypeError(f"A namespace is a tuple of strings, got the string {found!r}: write ({found!r},).")
    parts = cast("Sequence[Any]", found)
    if isinstance(found, bytes) or not isinstance(found, Sequence) or not all(isinstance(part, str) for part in parts):
        raise TypeError(f"A namespace is a tuple of strings, got {found!r}: write it as in ('summaries', 'v1').")
    return tuple(str.__str__(part) for part in parts)  # of subclasses too: backends take the plain type only


def _namespaces(found: Any) -> list[Namespace] | None:
    if found is None:
        return None
    if isinstance(found, str | bytes) or not isinstance(found, Sequence):
        raise TypeError(f"`clear` takes a list of namespaces, got {found!r}: write it as in clear([('summaries', 'v1')]).")
    spaces = cast("Sequence[Any]", found)
    if spaces and all(isinstance(space, str) for space in spaces):
        raise TypeError(f"`clear` takes a list of namespaces, got {found!r}: for that one write clear([{tuple(spaces)!r}]).")
    return [_namespace(space) for space in spaces]


def _full_key(found: Any) -> FullKey:
    pair = cast("Sequence[Any]", found)
    if not isinstance(found, tuple | list) or len(pair) != 2 or not isinstance(pair[1], str):
        raise TypeError(f"A key is a (namespace, key) pair, got {found!r}: write it as in (('summaries', 'v1'), 'page-7').")
    return _namespace(pair[0]), str.__str__(pair[1])


def _full_keys(found: Any) -> list[FullKey]:
    if isinstance(found, str | bytes | Mapping) or not isinstance(found, Sequence):
        raise TypeError(f"`get` takes a list of keys, got {found!r}: write it as in get([(('summaries', 'v1'), 'page-7')]).")
    return [_full_key(key) for key in cast("Sequence[Any]", found)]


def _entries(found: Any) -> dict[FullKey, Entry]:
    if not isinstance(found, Mapping):
        raise TypeError(
            f"`set` takes a dict, got {found!r}: write it as in set({{(('summaries', 'v1'), 'page-7'): (value, 60)}})."
        )
    entries: dict[FullKey, Entry] = {}
    for name, pair in cast("Mapping[Any, Any]", found).items():
        key = _full_key(name)
        if not isinstance(pair, tuple) or len(cast("tuple[Any, ...]", pair)) != 2:
            raise TypeError(f"For {key!r} a (value, seconds) pair is expected, got {pair!r}: write (value, None) to keep it.")
        value, ttl = cast("tuple[Any, Any]", pair)
        lives = _milliseconds(ttl, key)
        try:
            entries[key] = _sealed(value), lives
        except UnstorableValue as error:
            raise UnstorableValue(error.reason, f"{key!r}{error.path}") from None
    return entries


def _milliseconds(ttl: Any, key: FullKey) -> int | None:
    if ttl is None:
        return None
    if isinstance(ttl, bool) or not isinstance(ttl, int | float):
        raise TypeError(
            f"The time to live of {key!r} is {ttl!r}: expected a number of seconds, or None to keep it until cleared."
        )
    if not ttl > 0:  # NaN too
        raise ValueError(
            f"The time to live of {key!r} is {ttl!r}: expected more than 0 seconds, or None to keep it until cleared. "
            "To cache nothing, do not set it."
        )
    return math.ceil(min(ttl, LONGEST) * 1000)
