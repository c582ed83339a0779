"""Objects to bytes and back: the same value, of the same type, at any depth. The store is untrusted (DESIGN §6).

msgpack through `ormsgpack` (ADR 0005) carries exact str, int, float, bool, None, bytes, list and dict; everything else is an
extension whose code or tag is looked up in the closed registry of `registry.py`. Nothing is imported or called by the name
that a row gives; a tag that nobody registered comes back as `Opaque` and goes out again bit for bit.
"""

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias, cast

import ormsgpack

from clew.checkpoint.registry import DICT, MAKERS, OPAQUE, STR, Split, parts_of, said
from clew.checkpoint.usertypes import Opaque, Parts, register, register_schema
from clew.errors import ClewError, DamagedData, OpaqueValue, UnstorableValue

__all__ = ["Opaque", "Split", "decode", "decode_each", "decode_known", "encode", "register", "register_schema"]

OPTIONS: Final = (
    ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_UUID
)
DEEPEST: Final = 200  # levels of nesting that the walk takes; an extension counts for two
FAST: Final = 8  # extensions within one another that are packed without it
DIRECT: Final = 3  # and that are unpacked by calls within calls
HELD: Final = 1 << 30  # bytes of the same value that may be held at once while it is unpacked, once for each extension

pack, unpack = ormsgpack.packb, ormsgpack.unpackb


def encode(value: object) -> bytes:
    """The bytes of a value.

    Raises:
        UnstorableValue: it holds something that cannot be stored; `path` says where, `reason` what and what to do.
    """
    try:
        data = pack(value, _TAKEN[0], OPTIONS)
    except Exception:  # an odd key, a surrogate, or something that cannot be stored: the walk below tells, and says where
        return pack(_walked(value, "", 0), None, OPTIONS)
    # ormsgpack takes bytearray and memoryview for bytes and offers no way to pass them through. A run of bytes begins with c4,
    # c5 or c6: where a scan at C speed finds none of these there is nothing to look for (numbers, as `bytes` take another
    # `bytes` for one first, and raise inside)
    if (0xC4 in data or 0xC5 in data or 0xC6 in data) and _hides_bytes(value):
        return pack(_walked(value, "", 0), None, OPTIONS)
    return data


def decode(data: bytes) -> Any:
    """The value of some bytes.

    Raises:
        DamagedData: these are not bytes that `encode` made.
    """
    try:
        return unpack(data, ext_hook=_REBUILT)
    except Exception as error:
        raise _told(data, error) from error


def decode_each(items: Iterable[bytes]) -> list[Any]:
    """`decode` for each of many, which is quicker."""
    data = b""
    try:
        return [unpack(data := item, ext_hook=_REBUILT) for item in items]
    except Exception as error:
        raise _told(data, error) from error


def decode_known(data: bytes) -> Any:
    """`decode`, for what can be made anew: a type that nobody registered here is an error, at any depth.

    Raises:
        DamagedData: these are not bytes that `encode` made. OpaqueValue: a type in it is not registered.
    """
    try:
        return unpack(data, ext_hook=_REBUILT_KNOWN)
    except Exception as error:
        raise _told(data, error) from error


# -- what msgpack has no word for, on the way out -------------------------------------------------------------------


def _taker(depth: int) -> Callable[[Any], ormsgpack.Ext]:
    """What packs a value that stands inside so many extensions. Each has a call of ormsgpack of its own, upon the stack of
    those around it; beyond a few the slow way is taken, which counts every level."""

    def taken(value: Any) -> ormsgpack.Ext:
        parts = parts_of(value)
        return ormsgpack.Ext(parts.code, parts.content if parts.packed else inner(parts.content))

    def inner(content: Any) -> bytes:
        try:
            data = pack(content, _TAKEN[depth + 1], OPTIONS)
        except Exception:
            return pack(_walked(content, "", 2 * depth + 2), None, OPTIONS)
        if (0xC4 in data or 0xC5 in data or 0xC6 in data) and _hides_bytes(content):
            return pack(_walked(content, "", 2 * depth + 2), None, OPTIONS)
        return data

    return taken


def _too_deep(value: Any) -> ormsgpack.Ext:
    raise UnstorableValue("nested deeper than is packed without counting")


_TAKEN: Final = [*map(_taker, range(FAST)), _too_deep]


# -- and on the way in ----------------------------------------------------------------------------------------------


class _Later(NamedTuple):
    """An extension found inside many others, yet to be made: ormsgpack has returned by then, and its stack is free."""

    code: int
    payload: bytes


Hook: TypeAlias = Callable[[int, bytes], Any]
_stash = threading.local()


def _rebuilder(depth: int, *, known: bool) -> Hook:
    """What makes extensions that stand inside so many others."""
    deeper = _decoder(depth + 1, known=known)

    def rebuilt(code: int, payload: bytes) -> Any:
        try:
            made = MAKERS.get(code, OPAQUE)(code, payload, deeper)
        except BaseException as error:  # ormsgpack says that its hook failed, and not why
            _stash.error = error
            raise
        return _known(made) if known and type(made) is Opaque else made

    return rebuilt


def _decoder(depth: int, *, known: bool) -> Callable[[bytes], Any]:
    """What decodes the content of an extension, `depth` of them deep."""
    if depth == DIRECT:
        return partial(_decode_deep, depth, known)
    hook = _rebuilder(depth, known=known)

    def decode_inside(data: bytes) -> Any:
        try:
            return unpack(data, ext_hook=hook)
        except Exception as error:
            raise _told(data, error) from error

    return decode_inside


def _decode_deep(depth: int, known: bool, data: bytes) -> Any:
    """The slow way, for what stands inside many extensions. Each call of ormsgpack may take half a megabyte of stack for lists
    in lists, so calls are not nested any further: extensions are put in their places once it has returned."""
    if depth > DEEPEST // 2 or depth * len(data) > HELD:
        raise DamagedData(f"A stored value is nested {depth} deep in {len(data)} bytes, which is not something Clew wrote.")
    try:
        whole = [unpack(data, ext_hook=_Later)]
    except Exception as error:
        raise _told(data, error) from error
    deeper = partial(_decode_deep, depth + 1, known)
    waiting: list[Any] = [whole]
    while waiting:
        container = waiting.pop()
        for key, part in _parts_of(container):
            kind = cast("Any", type(part))
            if kind is _Later:
                made = MAKERS.get(part.code, OPAQUE)(part.code, part.payload, deeper)
                container[key] = _known(made) if known and type(made) is Opaque else made
            elif kind is list or kind is dict:
                waiting.append(part)
    return whole[0]


def _parts_of(container: Any) -> Iterable[tuple[Any, Any]]:
    return container.items() if isinstance(container, dict) else enumerate(container)  # pyright: ignore[reportUnknownVariableType]


def _known(made: Opaque) -> Any:
    error = OpaqueValue(f"A stored value has the type {made.tag!r}, which is not registered in this process.")
    _stash.error = error
    raise error


def _told(data: bytes, error: Exception) -> BaseException:
    """What is raised where bytes could not be decoded: what failed inside of them, where that has said so itself."""
    inner = _stash.__dict__.pop("error", None)
    if isinstance(inner, ClewError) or (inner is not None and not isinstance(inner, Exception)):
        return inner
    return DamagedData(f"An item holds {data[:20]!r}…, which is not something Clew wrote ({said(inner or error)}).")


_REBUILT: Final = _rebuilder(0, known=False)
_REBUILT_KNOWN: Final = _rebuilder(0, known=True)


# -- the walk -------------------------------------------------------------------------------------------------------


def _hides_bytes(value: Any) -> bool:
    kind = cast("Any", type(value))
    if kind is list:
        return any(_hides_bytes(element) for element in cast("list[Any]", value))
    if kind is dict:
        return any(_hides_bytes(element) for element in cast("dict[str, Any]", value).values())
    return kind is bytearray or kind is memoryview


def _walked(value: Any, path: str, depth: int) -> Any:
    """The value with everything that msgpack has no word for wrapped up, one part after the other, so that a part that cannot
    be stored is known by its path. Slow, and only for what the fast way refuses."""
    if depth > DEEPEST:
        raise UnstorableValue(f"a value nested more than {DEEPEST} deep: does it contain itself?", path[:100] + "…")
    kind = cast("Any", type(value))
    if kind is str:
        return value if _is_text(value) else ormsgpack.Ext(STR, value.encode("utf-8", "surrogatepass"))
    if kind is list:
        return [_walked(element, f"{path}[{i}]", depth + 1) for i, element in enumerate(value)]
    if kind is dict:
        return _walked_dict(value, path, depth)
    if kind in (int, float, bool, bytes, type(None)) and (kind is not int or -(1 << 63) <= value < 1 << 64):
        return value
    try:
        parts = parts_of(value)
    except UnstorableValue as error:
        raise UnstorableValue(error.reason, path + error.path) from None
    if parts.packed:
        return ormsgpack.Ext(parts.code, parts.content)
    return ormsgpack.Ext(parts.code, pack(_walked_parts(parts, path, depth + 2), None, OPTIONS))


def _walked_dict(value: dict[Any, Any], path: str, depth: int) -> Any:
    if all(type(key) is str and _is_text(key) for key in value):
        return {key: _walked(element, f"{path}[{key!r}]", depth + 1) for key, element in value.items()}
    flat: list[Any] = []
    for key, element in value.items():
        flat += (_walked(key, f"{path}.keys()", depth + 2), _walked(element, f"{path}[{key!r}]", depth + 2))
    return ormsgpack.Ext(DICT, pack(flat, None, OPTIONS))


def _walked_parts(parts: Parts, path: str, depth: int) -> Any:
    """Inside an object the path goes by what it is made of: elements by their number, fields by their name."""
    content = parts.content
    if parts.fields is not None:
        fields = {name: _walked(element, f"{path}.{name}", depth) for name, element in parts.fields.items()}
        return [*[_walked(part, path, depth) for part in content[:-1]], fields]
    if type(content) is not list:
        return _walked(content, path, depth)
    inner = cast("list[Any]", content)
    return [_walked(element, f"{path}[{i}]" if parts.elements else path, depth) for i, element in enumerate(inner)]


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
