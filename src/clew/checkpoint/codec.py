"""Objects to bytes and back: the same value, of the same type, at any depth. The store is untrusted (DESIGN §6).

msgpack through `ormsgpack` (ADR 0005) carries exact str, int, float, bool, None, bytes, list and dict; everything else is an
extension whose code or tag is looked up in the closed registry of `registry.py`. Nothing is imported or called by the name
that a row gives; a tag that nobody registered comes back as `Opaque` and goes out again bit for bit.
"""

from collections.abc import Callable
from typing import Any, Final, cast

import ormsgpack

from clew.checkpoint.registry import DICT, MAKERS, STR, Split, parts_of
from clew.checkpoint.usertypes import Opaque, Parts, register, register_schema
from clew.errors import ClewError, DatabaseError, OpaqueValue, UnstorableValue

__all__ = ["Opaque", "Split", "decode", "decode_known", "encode", "register", "register_schema"]

OPTIONS: Final = (
    ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_UUID
)
DEEPEST: Final = 200

pack = ormsgpack.packb


def encode(value: object) -> bytes:
    """The bytes of a value.

    Raises:
        UnstorableValue: it holds something that cannot be stored; `path` says where, `reason` what and what to do.
    """
    try:
        data = pack(value, _extension, OPTIONS)
    except Exception:  # an odd key, a surrogate, or something that cannot be stored: the walk below tells, and says where
        return pack(_walked(value, "", 0), None, OPTIONS)
    # ormsgpack takes bytearray and memoryview for bytes and offers no way to pass them through. A run of bytes begins with c4,
    # c5 or c6: where a scan at C speed finds none of these there is nothing to look for
    if (b"\xc4" in data or b"\xc5" in data or b"\xc6" in data) and _hides_bytes(value):
        return pack(_walked(value, "", 0), None, OPTIONS)
    return data


def decode(data: bytes) -> Any:
    """The value of some bytes.

    Raises:
        DatabaseError: these are not bytes that `encode` made.
    """
    return _unpacked(data, _rebuilt)


def decode_known(data: bytes) -> Any:
    """`decode`, for what can be made anew: a type that nobody registered here is an error, at any depth.

    Raises:
        DatabaseError: these are not bytes that `encode` made. OpaqueValue: a type in it is not registered.
    """
    return _unpacked(data, _rebuilt_known)


def _unpacked(data: bytes, hook: Callable[[int, bytes], Any]) -> Any:
    try:
        return ormsgpack.unpackb(data, ext_hook=hook)
    except ClewError:
        raise
    except Exception as error:
        raise DatabaseError(f"An item holds {data[:20]!r}…, which is not something Clew wrote ({error}).") from error


def _extension(value: Any) -> ormsgpack.Ext:
    parts = parts_of(value)
    return ormsgpack.Ext(parts.code, parts.content if parts.packed else encode(parts.content))


def _rebuilt(code: int, payload: bytes) -> Any:
    make: Callable[[int, bytes, Callable[[bytes], Any]], Any] = MAKERS.get(code, MAKERS[-1])
    return make(code, payload, decode)


def _rebuilt_known(code: int, payload: bytes) -> Any:
    made = MAKERS.get(code, MAKERS[-1])(code, payload, decode_known)
    if type(made) is Opaque:
        raise OpaqueValue(f"A stored value has the type {made.tag!r}, which is not registered in this process.")
    return made


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
    return ormsgpack.Ext(parts.code, pack(_walked_parts(parts, path, depth + 1), None, OPTIONS))


def _walked_dict(value: dict[Any, Any], path: str, depth: int) -> Any:
    inner = {key: _walked(element, f"{path}[{key!r}]", depth + 1) for key, element in value.items()}
    if all(type(key) is str and _is_text(key) for key in inner):
        return inner
    flat: list[Any] = []
    for key, element in inner.items():
        flat += (_walked(key, f"{path}.keys()", depth + 1), element)
    return ormsgpack.Ext(DICT, pack(flat, None, OPTIONS))


def _walked_parts(parts: Parts, path: str, depth: int) -> Any:
    """Inside an object the path goes by what it is made of: elements by their number, fields by their name."""
    content = parts.content
    if parts.fields is not None:
        fields = {name: _walked(element, f"{path}.{name}", depth) for name, element in parts.fields.items()}
        return [*content[:-1], fields]
    if parts.elements:
        return _walked(content, path, depth)
    inner = cast("list[Any]", content) if type(content) is list else None
    return _walked(content, path, depth) if inner is None else [_walked(element, path, depth) for element in inner]


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
