"""Rows and entries, looked at before anything is done by them: the store is untrusted (DESIGN §6).

Whatever a row says, reading it ends, and costs no more than in proportion to what is stored. Nothing is read or decoded here.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Final, TypeGuard, cast

from clew.checkpoint.registry import said
from clew.errors import DamagedData, DatabaseError, OpaqueValue
from clew.ids import id_text

NUMBERS: Final = 1 << 40  # a place packs a log and a number of so many at most into one int
LEVELS: Final = 8  # of pages in pages: 64 ranges to the eighth power is more than there is
NESTED: Final = 200  # containers that were split, within one another
SPARE: Final = 1 << 29  # bytes that one checkpoint may have decoded again after the first time; it is about as much as a
# process could hold, for decoded they take several times as much
FACTOR: Final = 64  # and so many times what is stored of it beside
EACH: Final = 64  # bytes that one more element counts for, over its own
SPLITS: Final = 4096  # and one more container, which is opened by itself
RANGE: Final = 16  # and one more range of what has been read

Fields = list[Any]


def damaged(what: str) -> DamagedData:
    return DamagedData(f"{what}, which is not something Clew wrote.")


def is_number(value: Any) -> bool:
    return type(value) is int and 0 <= value < NUMBERS


def triples(flat: Sequence[Any]) -> list[tuple[int, int, int]]:
    """A flat list of ranges as (log, from, to). Raises DamagedData where it is none."""
    found = list(zip(flat[::3], flat[1::3], flat[2::3], strict=False))
    if len(flat) % 3 or not all(map(is_number, flat)) or any(lo >= hi for _, lo, hi in found):
        raise damaged(f"Ranges read {shown(flat)}")
    return found


def in_parts(ranges: Iterable[tuple[int, int, int]], most: int) -> Iterator[tuple[int, int, int]]:
    """The ranges, those of more than so many numbers in parts."""
    for log, lo, hi in ranges:
        for start in range(lo, hi, most):
            yield log, start, min(start + most, hi)


def entry_of(entry: Any) -> tuple[int, Any, Fields]:
    """What a whole entry that is not bytes says: kind, aux, ranges. Raises DamagedData where it says nothing like it."""
    if type(entry) is not list or len(cast("Fields", entry)) < 3:
        raise damaged(f"An entry reads {shown(entry)}")
    kind, shared, aux, *flat = cast("Fields", entry)
    if type(kind) is not int or type(shared) is not int or shared or not _is_length(aux):
        raise damaged(f"An entry reads {shown(entry)}")
    return kind, aux, flat


def _is_length(aux: Any) -> bool:
    return aux is None or (type(aux) is int and aux >= 0)


def split_of(aux: Any) -> Any:
    """The aux of a container that was split. Raises DamagedData."""
    if aux is None:
        return None
    pair = cast("Fields", aux) if type(aux) is list else []
    if len(pair) != 2 or type(pair[0]) is not int or pair[0] or not _is_length(pair[1]):
        raise damaged(f"A container that was split reads {shown(aux)}")
    return pair[1]


def shown(value: Any) -> str:
    from reprlib import repr  # late: for errors only, and it costs the same where what it shows is long or deep

    return repr(value)


class Budget:
    """How much of one checkpoint may be decoded again that has been already.

    Equal elements are stored once and may be named any number of times, by rights: a list that a hundred tasks were each sent.
    So could a forged row of a few bytes name them, until nothing is left of the memory.
    """

    __slots__ = ("_left", "_spent", "_stored")

    def __init__(self, stored: Callable[[], int]) -> None:
        """`stored` tells how many bytes have been read."""
        self._stored = stored
        self._spent = 0
        self._left = SPARE

    def spend(self, count: int) -> None:
        """Raises DamagedData where it is too much."""
        self._spent += count
        if self._spent > self._left:
            self._left = SPARE + FACTOR * self._stored()
            if self._spent > self._left:
                raise damaged(f"A checkpoint names what is stored so often that it makes {self._spent:,} bytes")


# -- rows -----------------------------------------------------------------------------------------------------------


def is_str(value: Any) -> TypeGuard[str]:
    return type(value) is str


def _are(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: type(value) is list and all(map(test, cast("Fields", value)))


def _is_name(value: Any) -> bool:
    return value is None or type(value) is str


def _is_join(value: Any) -> bool:
    return type(value) is list and len(value) == 3 and _names(value[0]) and type(value[1]) is str and _names(value[2])  # pyright: ignore


def _is_link(value: Any) -> bool:
    return type(value) is list and [type(part) for part in cast("Fields", value)] == [str, bytes, str, int]  # pyright: ignore


def _is_outcome(value: Any) -> bool:
    return type(value) is list and len(value) > 2 and type(value[0]) is str  # pyright: ignore


def _maps(kinds: tuple[type, ...]) -> Callable[[Any], bool]:
    return lambda value: type(value) is dict and all(type(inner) in kinds for inner in cast("dict[Any, Any]", value).values())


_names = _are(is_str)
FIELDS: Final[Sequence[tuple[str, Callable[[Any], bool]]]] = (
    ("step", lambda value: type(value) is int),
    ("source", lambda value: type(value) is int and 0 <= value < 4),
    ("values", _maps((bytes, list))),
    ("frontier", lambda value: type(value) is list),
    ("joins", _are(_is_join)),
    ("waiting", _names),
    ("acted", _are(_is_name)),
    ("outcomes", _are(_is_outcome)),
    ("metadata", lambda value: type(value) is bytes),
    ("children", _maps((bytes,))),
    ("begun", _are(_is_link)),
    ("base", lambda value: type(value) is bool),
    ("results", _are(_is_outcome)),
)


def checked_body(fields: Any) -> Fields:
    """The fields of a checkpoint's row. Raises DamagedData where they are none."""
    found = cast("Fields", fields)
    if type(found) is not list or len(found) > len(FIELDS):
        raise damaged(f"A row reads {shown(found)}")
    for (name, test), field in zip(FIELDS, found, strict=False):
        if not test(field):
            raise damaged(f"The {name} of a checkpoint read {shown(field)}")
    return found


def origin_of(fields: Any) -> tuple[Any, tuple[bytes, str] | None]:
    """A task's fields, and where it first stood. Raises TypeError, KeyError or ValueError where they are none."""
    if not isinstance(fields, dict):
        return fields, None
    given = cast("dict[str, list[Any]]", fields)
    id_, key = given["origin"]
    inner = given["task"]
    if type(id_) is not bytes or type(key) is not str or isinstance(inner[0], dict):
        raise TypeError(f"a task that first stood at {shown(given['origin'])}")
    return inner if len(inner) > 1 else inner[0], (id_, key)


def name_of(value: Any) -> str:
    """A name. Raises TypeError where it is none."""
    if type(value) is not str:
        raise TypeError(f"a name expected, got {shown(value)}")
    return value


class Reading(AbstractContextManager["Reading"]):
    """Reads parts of a row by their places, where anything may stand: whatever that raises is DamagedData, which names `what`.

    What a database raises is its own affair and passes, as errors of ours do.
    """

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, TypeError | ValueError | LookupError | AttributeError | RecursionError | OpaqueValue):
            raise damaged(f"{self._what} cannot be read ({said(error)})") from error


class Naming(AbstractContextManager["Naming"]):
    """Says of what is damaged in which checkpoint it is, and what can be done."""

    __slots__ = ("_id", "_thread")

    def __init__(self, thread: str, checkpoint_id: bytes) -> None:
        self._thread = thread
        self._id = checkpoint_id

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, DamagedData) and not error.named:
            raise self.named(error) from error

    def named(self, error: DatabaseError) -> DamagedData:
        named = DamagedData(
            f"Thread {self._thread!r}, checkpoint {id_text(self._id)!r}: {error} The others can be read, and gone on from: "
            "`get_state_history` lists them, and a config with a `checkpoint_id` begins from one."
        )
        named.named = True
        return named
