"""LangGraph's serialized bytes as values. The store is untrusted: what bytes name is looked up in closed tables, and whatever
is not there stays as it is. Nothing is imported by name, nothing is unpickled.

Equal bytes give the same object, as far as one `Decoder` is asked: the difference between two states is then seen at once.
"""

import datetime as dt
import json
import pathlib
import re
import uuid
from collections import Counter, deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple, cast

import ormsgpack

from clew.checkpoint.codec import Opaque, decode, encode
from clew.checkpoint.registry import ADDRESSES, DTYPE, PATHS
from clew.checkpoint.usertypes import FOREIGN, make_foreign
from clew.errors import ClewError, UnreadableThread
from clew.interop import langchain
from clew.types import Command, Interrupt, Overwrite, Send, TimeoutPolicy

# The codes of LangGraph's MessagePack extensions, by what an object is made with.
LARGE: Final = 1 << 16  # bytes above which only the last object is remembered: each version of a large one is another
ONE, SEVERAL, NAMED, METHOD, PYDANTIC_1, PYDANTIC_2, ARRAY, DELTA = range(8)


class Call(NamedTuple):
    """How an object is said to be made: the names of a module and of what is in it, and the arguments."""

    module: str
    name: str
    args: tuple[Any, ...] = ()
    fields: Mapping[str, Any] = {}


class Decoder:
    """Reads the values of one thread.

    Attributes:
        unknown: types that nobody has registered here, with how many values there were of each.
    """

    __slots__ = ("_known", "_large", "_said", "unknown")

    def __init__(self) -> None:
        self._known: dict[tuple[int, bytes], Any] = {}
        self._said: Exception | None = None
        self._large: tuple[int, bytes] | None = None
        self.unknown: Counter[str] = Counter()

    def value(self, kind: str, data: bytes) -> Any:
        """A value by its type tag and its bytes.

        Raises:
            UnreadableThread: encrypted, pickled or damaged bytes, or an object that is told in a way not known here.
        """
        match kind:
            case "null" | "empty":
                return None
            case "bytes":
                return bytes(data)
            case "bytearray":
                return bytearray(data)
            case "msgpack":
                return self._unpacked(data)
            case "json":
                return json.loads(data, object_hook=self._envelope)
            case "pickle":
                raise UnreadableThread(
                    "is pickled: unpickling runs whatever code the bytes name, so Clew never does it. Load the thread in "
                    "LangGraph with a saver that pickles, and write it anew with one that does not"
                )
            case _ if "+" in kind:
                raise UnreadableThread(
                    f"is encrypted ({kind!r}): let LangGraph write the thread anew without EncryptedSerializer"
                )
            case _:
                raise UnreadableThread(f"has the type {kind!r}: expected msgpack, json, bytes, bytearray or null")

    def _unpacked(self, data: bytes) -> Any:
        try:
            return ormsgpack.unpackb(data, ext_hook=self._extension, option=ormsgpack.OPT_NON_STR_KEYS)
        except Exception as error:
            said, self._said = self._said or error, None
            if isinstance(said, ClewError):
                raise said from error
            raise UnreadableThread(
                f"holds {bytes(data[:20])!r}…, which is not MessagePack as LangGraph writes it ({said})"
            ) from error

    def _extension(self, code: int, payload: bytes) -> Any:
        key = (code, payload)
        if len(payload) > LARGE and key != self._large:
            if self._large is not None:
                self._known.pop(self._large, None)
            self._large = key
        if key not in self._known:
            try:
                self._known[key] = self._object(code, payload)
            except Exception as error:  # ormsgpack does not say what its hook has raised
                self._said = self._said or error
                raise
        return self._known[key]

    def _object(self, code: int, payload: bytes) -> Any:
        if code == DELTA:
            raise UnreadableThread("is kept by a DeltaChannel, whose value is not stored but worked out by the graph's code")
        if code > DELTA:
            raise UnreadableThread(f"has an extension of code {code}, which LangGraph does not write")
        said: list[Any] = self._unpacked(payload)
        if code == ARRAY:
            return _array(*said)
        module, name, given = said[:3]
        if code in (ONE, METHOD):
            return self._made(Call(module, name, (given,)))
        return self._made(Call(module, name, tuple(given)) if code == SEVERAL else Call(module, name, (), given))

    def _envelope(self, found: dict[str, Any]) -> Any:
        """What JSON of older versions says of an object."""
        if found.get("lc") not in (1, 2) or found.get("type") != "constructor":
            return found
        *module, name = found["id"]
        return self._made(Call(".".join(module), name, tuple(found.get("args") or ()), found.get("kwargs") or {}))

    def _made(self, call: Call) -> Any:
        make = MAKERS.get((call.module.removesuffix("._local"), call.name))
        if make is not None:
            try:
                return make(call)
            except ClewError:
                raise
            except Exception as error:
                raise UnreadableThread(
                    f"holds a {call.module}.{call.name} of {_short(call)}, which it cannot be ({error})"
                ) from error
        if call.module.partition(".")[0] in ("langchain", "langchain_core"):
            try:
                message = langchain.from_fields(call.name, call.fields)
            except ValueError as error:
                raise UnreadableThread(f"holds a {call.name} that cannot be read: {error}") from error
            if message is not None:
                return message
        given = encode([call.module, call.name, list(call.args), dict(call.fields)])
        made = make_foreign(FOREIGN, given, decode)
        if isinstance(made, Opaque):
            self.unknown[made.tag] += 1
        return made


def _short(call: Call) -> str:
    return repr(call.fields or call.args)[:80]


def _array(dtype: str, shape: list[int], order: str, data: bytes) -> Any:
    if not DTYPE.fullmatch(dtype):
        raise UnreadableThread(f"holds an array of dtype {dtype!r}, which is not something LangGraph writes")
    try:
        import numpy as np
    except ImportError as error:
        raise UnreadableThread("holds a numpy array, and numpy is not installed here: type `pip install numpy`") from error
    return np.frombuffer(data, np.dtype(dtype)).reshape(shape, order=cast("Any", order)).copy()


# -- the closed table -----------------------------------------------------------------------------------------------


def _send(call: Call) -> Send:
    node, arg, *rest = call.args or (call.fields["node"], call.fields["arg"])
    return Send(node, arg, timeout=rest[0] if rest else None)


def _command(call: Call) -> Command[Any]:
    return Command(**{name: value for name, value in call.fields.items() if value is not None})


def _interrupt(call: Call) -> Interrupt:
    fields = dict(zip(("value", "id"), call.args, strict=False)) | dict(call.fields)
    return Interrupt(fields["value"], fields.get("id") or fields.get("interrupt_id") or "", fields.get("response_schema"))


def _path(call: Call) -> Any:
    """A path of a system that this is not keeps its parts, as a pure one."""
    native = type(pathlib.Path()).__name__
    pure = "PureWindowsPath" if "Windows" in call.name else "PurePosixPath"
    return PATHS[native if call.name in ("Path", native) else pure](*call.args)


def _address(call: Call) -> Any:
    import ipaddress

    return getattr(ipaddress, call.name)(*call.args)


def _zone(call: Call) -> Any:
    from zoneinfo import ZoneInfo

    return ZoneInfo(*call.args)


PATH_NAMES: Final = ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
MAKERS: Final[dict[tuple[str, str], Callable[[Call], Any]]] = {
    ("builtins", "set"): lambda c: set[Any](*c.args),
    ("builtins", "frozenset"): lambda c: frozenset[Any](*c.args),
    ("collections", "deque"): lambda c: deque[Any](*c.args),
    ("datetime", "datetime"): lambda c: dt.datetime.fromisoformat(*c.args),
    ("datetime", "date"): lambda c: dt.date(*c.args),
    ("datetime", "time"): lambda c: dt.time(*c.args, **c.fields),
    ("datetime", "timedelta"): lambda c: dt.timedelta(*c.args, **c.fields),
    ("datetime", "timezone"): lambda c: dt.timezone(*c.args),
    ("zoneinfo", "ZoneInfo"): _zone,
    ("uuid", "UUID"): lambda c: uuid.UUID(*c.args),
    ("decimal", "Decimal"): lambda c: Decimal(*c.args),
    ("re", "compile"): lambda c: re.compile(*c.args),
    **{("pathlib", name): _path for name in PATH_NAMES},
    **{("ipaddress", name): _address for name in ADDRESSES},
    **{(f"langgraph.{place}", "Send"): _send for place in ("types", "constants")},
    **{(f"langgraph.{place}", "Interrupt"): _interrupt for place in ("types", "constants")},
    ("langgraph.types", "Command"): _command,
    ("langgraph.types", "Overwrite"): lambda c: Overwrite(c.fields["value"]),
    ("langgraph.types", "TimeoutPolicy"): lambda c: TimeoutPolicy(**c.fields),
}
