"""The closed registry: which types can be stored, what each is made of, and how it is made again. No I/O, no import by name.

A builtin type has a code of its own. A user's dataclass, pydantic model, enum or named tuple has a tag, which is looked up here
and nowhere else; it is made again from its fields without calling its constructor or its validators.
"""

import datetime as dt
import pathlib
import re
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, cast

from clew.checkpoint.usertypes import USER, Opaque, Parts, form_of, make_user, tag_of, title, user_parts
from clew.errors import ClewError, DatabaseError, MissingDependency, UnstorableValue
from clew.interop import langchain

# Codes stand in databases: they are never given a second meaning.
TUPLE, SET, FROZENSET, DEQUE, BIGINT, COMPLEX, DECIMAL, FRACTION = range(1, 9)
DATETIME, DATE, TIME, TIMEDELTA, TIMEZONE, ZONEINFO, UUID, PATH = range(9, 17)
DICT, STR, BYTEARRAY, ORDERED, DEFAULT, COUNTER, RANGE = range(17, 24)
ARRAY, SCALAR, LANGCHAIN = range(24, 27)
SPLIT = USER + 1

FACTORIES: Final = {"list": list, "dict": dict, "set": set, "int": int, "float": float, "str": str, "tuple": tuple}
PATHS: Final = {kind.__name__: kind for kind in (pathlib.PurePosixPath, pathlib.PureWindowsPath, type(pathlib.Path()))}
DTYPE: Final = re.compile(r"[<>|=]?[biufcSUmM]\d+(\[\d*\w+\])?")


@dataclass(frozen=True, slots=True)
class Split:
    """The journal's own noun: a container whose elements are stored elsewhere (see `ledger`)."""

    kind: int
    aux: Any
    ranges: tuple[int, ...]


# -- what an object is made of --------------------------------------------------------------------------------------


def parts_of(value: Any) -> Parts:
    """What a value that msgpack has no word for is made of. Raises UnstorableValue, without a path."""
    kind = cast("Any", type(value))
    if (take := _TAKERS.get(kind)) is not None:
        return take(value)
    if (tag := tag_of(kind)) is not None:
        return user_parts(value, tag)
    home = kind.__module__.partition(".")[0]
    if home in ("decimal", "fractions", "zoneinfo", "_decimal"):
        return _rare_parts(value, kind)
    if home == "numpy":
        return _numpy_parts(value)
    if home == "langchain_core" and (fields := langchain.pack(value)) is not None:
        return Parts(LANGCHAIN, fields)
    if kind is Opaque:
        return Parts(value.code, value.data, packed=True)
    raise UnstorableValue(_refusal(value, kind))


def _refusal(value: Any, kind: Any) -> str:
    shown = (
        f"a {title(kind)} ({repr(value)[:60]})" if kind.__module__ != "builtins" else f"a {kind.__name__} ({repr(value)[:60]})"
    )
    if form_of(kind) is not None:
        return f"{shown}, whose type is not registered: call `clew.register({kind.__name__})` once where your program starts."
    if isinstance(value, BaseException):
        return f"{shown}: exceptions are not stored; keep str(error) or a dict of what matters."
    if issubclass(kind, str | int | float | bytes | list | dict | tuple | set | frozenset | deque):
        base = next(b.__name__ for b in kind.__mro__ if b.__module__ in ("builtins", "collections"))
        return f"{shown}, whose class is not known: turn it into a plain {base}."
    return f"{shown}, which cannot be stored: keep what it is made from, and make it again in the node."


def _factory_name(factory: Any) -> str | None:
    if factory is None:
        return None
    for name, known in FACTORIES.items():
        if factory is known:
            return name
    raise UnstorableValue(f"a defaultdict of {factory!r}: expected one of {list(FACTORIES)}, which are all a row may name.")


def _flat(mapping: Any) -> list[Any]:
    return [part for pair in mapping.items() for part in pair]


def _zone_parts(value: dt.timezone) -> Parts:
    name = value.__getinitargs__()[1:]  # type: ignore[attr-defined]  # pyright: ignore  (the name is nowhere else to be had)
    return Parts(TIMEZONE, [value.utcoffset(None), *name])


def _rare_parts(value: Any, kind: Any) -> Parts:
    if kind.__name__ == "Decimal":
        return Parts(DECIMAL, str(value))
    if kind.__name__ == "Fraction":
        return Parts(FRACTION, [value.numerator, value.denominator])
    if kind.__name__ == "ZoneInfo" and value.key:
        return Parts(ZONEINFO, value.key)
    raise UnstorableValue(_refusal(value, kind))


def _numpy_parts(value: Any) -> Parts:
    import numpy as np

    if not DTYPE.fullmatch(value.dtype.str):
        raise UnstorableValue(f"a numpy value of dtype {value.dtype!r}: only numbers, bytes, text and times are stored.")
    if type(value) is np.ndarray:
        return Parts(ARRAY, [value.dtype.str, list(value.shape), value.tobytes()])
    return Parts(SCALAR, [value.dtype.str, value.tobytes()])


_TAKERS: Final[dict[type, Callable[[Any], Parts]]] = {
    tuple: lambda v: Parts(TUPLE, list(v), elements=True),
    set: lambda v: Parts(SET, list(v), elements=True),
    frozenset: lambda v: Parts(FROZENSET, list(v), elements=True),
    deque: lambda v: Parts(DEQUE, [v.maxlen, *v]),
    int: lambda v: Parts(BIGINT, v.to_bytes(v.bit_length() // 8 + 1, "big", signed=True), packed=True),
    complex: lambda v: Parts(COMPLEX, [v.real, v.imag]),
    dt.datetime: lambda v: Parts(
        DATETIME, [v.year, v.month, v.day, v.hour, v.minute, v.second, v.microsecond, v.fold, v.tzinfo]
    ),
    dt.date: lambda v: Parts(DATE, [v.year, v.month, v.day]),
    dt.time: lambda v: Parts(TIME, [v.hour, v.minute, v.second, v.microsecond, v.fold, v.tzinfo]),
    dt.timedelta: lambda v: Parts(TIMEDELTA, [v.days, v.seconds, v.microseconds]),
    dt.timezone: _zone_parts,
    uuid.UUID: lambda v: Parts(UUID, [v.bytes, v.is_safe.value]),
    bytearray: lambda v: Parts(BYTEARRAY, bytes(v), packed=True),
    OrderedDict: lambda v: Parts(ORDERED, _flat(v)),
    Counter: lambda v: Parts(COUNTER, _flat(v)),
    defaultdict: lambda v: Parts(DEFAULT, [_factory_name(v.default_factory), *_flat(v)]),
    range: lambda v: Parts(RANGE, [v.start, v.stop, v.step]),
    Split: lambda v: Parts(SPLIT, [v.kind, v.aux, *v.ranges]),
    **{kind: lambda v: Parts(PATH, [type(v).__name__, str(v)]) for kind in PATHS.values()},
}

# -- and how it is made again ---------------------------------------------------------------------------------------


def _pairs(flat: list[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _make_time(kind: Any, fields: list[Any]) -> Any:
    *numbers, fold, zone = fields
    return kind(*numbers, tzinfo=zone, fold=fold)


def _make_default(fields: list[Any]) -> Any:
    return defaultdict(FACTORIES[fields[0]] if fields[0] is not None else None, _pairs(fields[1:]))


def _make_counter(fields: list[Any]) -> Any:
    made: Counter[Any] = Counter()
    for key, count in _pairs(fields):
        made[key] = count
    return made


def _make_decimal(text: str) -> Any:
    from decimal import Decimal

    return Decimal(text)


def _make_fraction(fields: list[int]) -> Any:
    from fractions import Fraction

    return Fraction(*fields)


def _make_zone(key: str) -> Any:
    from zoneinfo import ZoneInfo

    return ZoneInfo(key)


def _make_array(fields: list[Any]) -> Any:
    import numpy as np

    if not DTYPE.fullmatch(fields[0]):
        raise DatabaseError(f"A stored array has the dtype {fields[0]!r}, which is not something Clew wrote.")
    if len(fields) == 3:
        return np.frombuffer(fields[2], np.dtype(fields[0])).reshape(fields[1]).copy()
    return np.frombuffer(fields[1], np.dtype(fields[0]))[0]


def _make_langchain(code: int, payload: bytes, decode: Callable[[bytes], Any]) -> Any:
    try:
        return langchain.unpack(decode(payload))
    except MissingDependency:
        return Opaque("langchain_core message", payload, LANGCHAIN)


def _of(make: Callable[[Any], Any]) -> Callable[[int, bytes, Callable[[bytes], Any]], Any]:
    def made(code: int, payload: bytes, decode: Callable[[bytes], Any]) -> Any:
        try:
            return make(decode(payload))
        except ClewError:
            raise
        except Exception as error:
            raise DatabaseError(f"A value of code {code} is damaged ({error}).") from error

    return made


def _raw(make: Callable[[bytes], Any]) -> Callable[[int, bytes, Callable[[bytes], Any]], Any]:
    return lambda code, payload, decode: make(payload)


MAKERS: Final[dict[int, Callable[[int, bytes, Callable[[bytes], Any]], Any]]] = {
    TUPLE: _of(tuple),
    SET: _of(set),
    FROZENSET: _of(frozenset),
    DEQUE: _of(lambda f: deque(f[1:], f[0])),
    BIGINT: _raw(lambda b: int.from_bytes(b, "big", signed=True)),
    COMPLEX: _of(lambda f: complex(*f)),
    DECIMAL: _of(_make_decimal),
    FRACTION: _of(_make_fraction),
    DATETIME: _of(lambda f: _make_time(dt.datetime, f)),
    DATE: _of(lambda f: dt.date(*f)),
    TIME: _of(lambda f: _make_time(dt.time, f)),
    TIMEDELTA: _of(lambda f: dt.timedelta(*f)),
    TIMEZONE: _of(lambda f: dt.timezone(*f)),
    ZONEINFO: _of(_make_zone),
    UUID: _of(lambda f: uuid.UUID(bytes=f[0], is_safe=uuid.SafeUUID(f[1]))),
    PATH: _of(lambda f: PATHS[f[0]](f[1])),
    DICT: _of(lambda f: dict(_pairs(f))),
    STR: _raw(lambda b: b.decode("utf-8", "surrogatepass")),
    BYTEARRAY: _raw(bytearray),
    ORDERED: _of(lambda f: OrderedDict(_pairs(f))),
    DEFAULT: _of(_make_default),
    COUNTER: _of(_make_counter),
    RANGE: _of(lambda f: range(*f)),
    ARRAY: _of(_make_array),
    SCALAR: _of(_make_array),
    LANGCHAIN: _make_langchain,
    USER: make_user,
    SPLIT: _of(lambda f: Split(f[0], f[1], tuple(f[2:]))),
    -1: lambda code, payload, decode: Opaque(f"code {code}", payload, code),
}
