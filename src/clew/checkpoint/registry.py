"""The closed registry: which types can be stored, what each is made of, and how it is made again. No I/O, no import by name.

A builtin type has a code of its own. A user's dataclass, pydantic model, enum or named tuple has a tag, which is looked up here
and nowhere else; it is made again from its fields without calling its constructor or its validators.

What makes a value again believes nothing: kinds of fields are looked at, and whatever takes longer than its size allows (ranges
of letters, hashes that collide) is refused.
"""

import datetime as dt
import pathlib
import re
import sys
import traceback
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from clew.checkpoint.usertypes import FOREIGN, USER, Opaque, Parts, form_of, make_foreign, make_user, tag_of, title, user_parts
from clew.errors import ClewError, DamagedData, MissingDependency, UnstorableValue
from clew.interop import langchain
from clew.types import Failed

Decode: TypeAlias = Callable[[bytes], Any]
Maker: TypeAlias = Callable[[int, bytes, Decode], Any]

# Codes stand in databases: they are never given a second meaning.
TUPLE, SET, FROZENSET, DEQUE, BIGINT, COMPLEX, DECIMAL, FRACTION = range(1, 9)
DATETIME, DATE, TIME, TIMEDELTA, TIMEZONE, ZONEINFO, UUID, PATH = range(9, 17)
DICT, STR, BYTEARRAY, ORDERED, DEFAULT, COUNTER, RANGE = range(17, 24)
ARRAY, SCALAR, LANGCHAIN = range(24, 27)
SPLIT = USER + 1
PATTERN, ADDRESS, SLICE = range(29, 32)

FACTORIES: Final = {"list": list, "dict": dict, "set": set, "int": int, "float": float, "str": str, "tuple": tuple}
PATHS: Final = {kind.__name__: kind for kind in (pathlib.PurePosixPath, pathlib.PureWindowsPath, type(pathlib.Path()))}
ADDRESSES: Final = frozenset({"IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network", "IPv4Interface", "IPv6Interface"})
ZONE: Final = re.compile(r"[\w+-]+(/[\w+-]+)*", re.ASCII)  # without dots: a zone is looked for as a file, and as a module
FLAGS: Final = re.ASCII | re.DOTALL | re.IGNORECASE | re.LOCALE | re.MULTILINE | re.UNICODE | re.VERBOSE
LONGEST: Final = 10_000  # letters of a pattern
CLASSES: Final = 50  # dashes in one that ignores case: `[a-\uffff]` takes milliseconds to compile
INLINE: Final = re.compile(r"\(\?[aLmsux]*i")  # a flag that stands in the pattern
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
    if home == "langchain_core":
        if (fields := langchain.pack(value)) is not None:
            return Parts(LANGCHAIN, fields)
        if (text := langchain.as_text(value)) is not None:
            return Parts(STR, text.encode("utf-8", "surrogatepass"), packed=True)
    if home in ("decimal", "fractions", "zoneinfo", "ipaddress", "_decimal"):
        return _rare_parts(value, kind)
    if isinstance(value, Exception):
        return user_parts(failed(value), "clew.Failed")
    if home == "numpy":
        return _numpy_parts(value, kind)
    if kind is Opaque:
        return Parts(value.code, value.data, packed=True)
    raise UnstorableValue(_refusal(value, kind))


def failed(error: Exception) -> Failed:
    """What is kept of an exception: no class is made again by its name."""
    return Failed(type(error).__name__, said(error, None), "".join(traceback.format_exception(error)))


def said(error: BaseException, most: int | None = 200) -> str:
    """What an error says, in so many letters; of those in rows and users' classes not even that is certain."""
    try:
        return str(error)[:most]
    except Exception:
        return f"a {type(error).__name__} that cannot be shown"


def _refusal(value: Any, kind: Any) -> str:
    try:
        shown = repr(value)[:60]
    except Exception:
        shown = "whose repr fails"
    shown = f"a {title(kind) if kind.__module__ != 'builtins' else kind.__name__} ({shown})"
    if form_of(kind) is not None:
        return f"{shown}, whose type is not registered: call `clew.register({kind.__name__})` once where your program starts."
    if hasattr(kind, "__fields__") and hasattr(kind, "__validators__"):
        return f"{shown}, a model of pydantic 1: derive it from `pydantic.BaseModel` of version 2, or store its `dict()`."
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
    if kind.__name__ == "ZoneInfo" and ZONE.fullmatch(value.key or ""):
        return Parts(ZONEINFO, value.key)
    if kind.__name__ in ADDRESSES:
        return Parts(ADDRESS, [kind.__name__, str(value)])
    raise UnstorableValue(_refusal(value, kind))


def _pattern_parts(value: "re.Pattern[Any]") -> Parts:
    if not _is_quick(value.pattern, value.flags):
        raise UnstorableValue(
            f"a pattern of {len(value.pattern)} letters ({value.pattern[:40]!r}…): what takes long to compile is not stored; "
            "keep its text, and compile it in the node."
        )
    return Parts(PATTERN, [value.pattern, value.flags])


def _is_quick(pattern: str | bytes, flags: int) -> bool:
    text = pattern if isinstance(pattern, str) else pattern.decode("latin-1")
    if len(text) > LONGEST:
        return False
    return text.count("-") <= CLASSES or not (flags & re.IGNORECASE or INLINE.search(text))


def _numpy_parts(value: Any, kind: Any) -> Parts:
    import numpy as np

    if kind is np.str_:
        return Parts(SCALAR, ["U", str(value)])  # text of its own length; in an array it would lose NULs at its end
    if kind is np.bytes_:
        return Parts(SCALAR, ["S", bytes(value)])
    if kind is not np.ndarray and not issubclass(kind, np.generic):
        raise UnstorableValue(_refusal(value, kind))
    if not DTYPE.fullmatch(value.dtype.str):
        raise UnstorableValue(f"a numpy value of dtype {value.dtype!r}: only numbers, bytes, text and times are stored.")
    if kind is np.ndarray:
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
    slice: lambda v: Parts(SLICE, [v.start, v.stop, v.step]),
    re.Pattern: _pattern_parts,
    Split: lambda v: Parts(SPLIT, [v.kind, v.aux, *v.ranges]),
    **{kind: lambda v: Parts(PATH, [type(v).__name__, str(v)]) for kind in PATHS.values()},
}

# -- and how it is made again ---------------------------------------------------------------------------------------


def uncrowded(keys: list[Any]) -> list[Any]:
    """Keys as they are, unless so many of them have the same hash that a set of them would never be done: hashes of numbers,
    and of tuples of them, are easily made to collide. Raises DamagedData."""
    if len(keys) > 500:
        crowds = Counter(map(hash, keys)).values()
        if sum(crowd * crowd for crowd in crowds) > 200 * (len(keys) + 1000):
            raise DamagedData(f"{len(keys)} stored keys have {len(crowds)} hashes among them: they were made to collide.")
    return keys


def _pairs(flat: list[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(uncrowded(flat[::2]), flat[1::2], strict=True)


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


def _make_fraction(fields: list[Any]) -> Any:
    from fractions import Fraction

    over, under = fields
    if type(over) is not int or type(under) is not int or under < 1:
        raise ValueError(f"a fraction of {type(over)} and {type(under)}")
    made: Any = object.__new__(Fraction)  # it was in lowest terms; to find out takes long where numbers are
    made._numerator, made._denominator = over, under
    return made


def _make_zone(key: str) -> Any:
    from zoneinfo import ZoneInfo

    if not ZONE.fullmatch(key):
        raise ValueError(f"a zone named {key[:40]!r}")
    return ZoneInfo(key)


def _make_pattern(fields: list[Any]) -> Any:
    pattern, flags = fields
    if not isinstance(pattern, str | bytes) or flags & ~FLAGS or not _is_quick(pattern, flags):
        raise ValueError(f"a pattern with the flags {flags!r}")
    return re.compile(pattern, flags)


def _make_address(fields: list[Any]) -> Any:
    import ipaddress

    name, text = fields
    if name not in ADDRESSES or type(text) is not str:
        raise ValueError(f"an address of the type {name!r}")
    return getattr(ipaddress, name)(text)


def _make_path(fields: list[Any]) -> Any:
    name, text = fields
    if type(text) is not str:
        raise ValueError(f"a path of {type(text)}")
    return PATHS[name](text)


def _make_array(fields: list[Any]) -> Any:
    import numpy as np

    name, *shape, data = fields
    if name in ("U", "S"):
        return np.str_(data) if name == "U" and type(data) is str else np.bytes_(memoryview(data))
    if not DTYPE.fullmatch(name):
        raise ValueError(f"the dtype {name!r}")
    dtype = np.dtype(name)
    if dtype.kind == "b":  # numpy counts on a truth being 0 or 1
        made = np.frombuffer(data, np.uint8).astype(bool)
    else:
        made = np.frombuffer(data, dtype)
    if dtype.kind == "U" and made.size and made.view(dtype.str[0] + "u4").max() > sys.maxunicode:
        raise ValueError("text of no letters")
    return made.reshape(shape[0]).copy() if shape else made[0]


def _make_langchain(code: int, payload: bytes, decode: Decode) -> Any:
    packed = decode(payload)
    try:
        if type(packed) is not list:
            raise ValueError(f"a list expected, got a {type(packed).__name__}")
        return langchain.unpack(packed)  # pyright: ignore[reportUnknownArgumentType]
    except MissingDependency:
        return Opaque("langchain_core message", payload, LANGCHAIN)
    except ValueError as error:
        raise DamagedData(f"A stored message is damaged: {said(error, 500)}.") from error


def _of(make: Callable[[Any], Any], kind: type = list) -> Maker:
    """What makes a value of its parts, in a list, or in whatever other kind."""

    def made(code: int, payload: bytes, decode: Decode) -> Any:
        fields = decode(payload)
        try:
            if type(fields) is not kind:
                raise TypeError(f"a {kind.__name__} expected, got a {type(fields).__name__}")
            return make(fields)
        except ClewError:
            raise
        except Exception as error:
            raise DamagedData(f"A stored value of code {code} is damaged: {said(error)}.") from error

    return made


def _raw(make: Callable[[bytes], Any]) -> Maker:
    return lambda code, payload, decode: make(payload)


def _make_opaque(code: int, payload: bytes, decode: Decode) -> Opaque:
    if code < 0:  # msgpack's own, which could not go out again
        raise DamagedData(f"A stored value has the code {code}, which is not something Clew wrote.")
    return Opaque(f"code {code}", payload, code)


OPAQUE: Final[Maker] = _make_opaque

MAKERS: Final[dict[int, Maker]] = {
    TUPLE: _of(tuple),
    SET: _of(lambda f: set(uncrowded(f))),
    FROZENSET: _of(lambda f: frozenset(uncrowded(f))),
    DEQUE: _of(lambda f: deque(f[1:], f[0])),
    BIGINT: _raw(lambda b: int.from_bytes(b, "big", signed=True)),
    COMPLEX: _of(lambda f: complex(*map(float, f))),
    DECIMAL: _of(_make_decimal, str),
    FRACTION: _of(_make_fraction),
    DATETIME: _of(lambda f: _make_time(dt.datetime, f)),
    DATE: _of(lambda f: dt.date(*f)),
    TIME: _of(lambda f: _make_time(dt.time, f)),
    TIMEDELTA: _of(lambda f: dt.timedelta(*f)),
    TIMEZONE: _of(lambda f: dt.timezone(*f)),
    ZONEINFO: _of(_make_zone, str),
    UUID: _of(lambda f: uuid.UUID(bytes=f[0], is_safe=uuid.SafeUUID(f[1]))),
    PATH: _of(_make_path),
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
    FOREIGN: make_foreign,
    SPLIT: _of(lambda f: Split(f[0], f[1], tuple(f[2:]))),
    PATTERN: _of(_make_pattern),
    ADDRESS: _of(_make_address),
    SLICE: _of(lambda f: slice(*f)),
}
