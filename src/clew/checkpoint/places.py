"""Where something that is sealed stands in its thread: what it is bound to, so that it can be opened nowhere else."""

from struct import pack
from typing import NamedTuple, Protocol


class Place(Protocol):
    """Where something stands in its thread; as text, for messages."""

    def bound(self) -> bytes:
        """All that tells the place from others, without two places ever having the same."""
        ...


class LogsPlace(NamedTuple):
    """The ends of a namespace's logs, as they are with this head."""

    ns: str
    number: int
    head: int | None

    def bound(self) -> bytes:
        return b"L" + pack(">qq", self.number, number_of(self.head)) + text_of(self.ns)

    def __str__(self) -> str:
        return f"what is known of the logs of namespace {self.ns!r}"


class RowPlace(NamedTuple):
    """A checkpoint. Its namespace stands within what is sealed: a row that another one adds to is found without it."""

    seq: int
    id: bytes
    parent: int | None
    base: int | None

    def bound(self) -> bytes:
        return b"R" + pack(">qqq", self.seq, number_of(self.parent), number_of(self.base)) + self.id

    def __str__(self) -> str:
        return f"checkpoint {self.seq}"


class KeptPlace(NamedTuple):
    """An outcome beside a checkpoint."""

    seq: int
    task: str

    def bound(self) -> bytes:
        return b"K" + pack(">q", self.seq) + text_of(self.task)

    def __str__(self) -> str:
        return f"what task {self.task!r} of checkpoint {self.seq} came to"


class ItemPlace(NamedTuple):
    """An item."""

    log: int
    number: int

    def bound(self) -> bytes:
        return b"I" + pack(">qq", self.log, self.number)

    def __str__(self) -> str:
        return f"item {self.number} of log {self.log}"


class EventsPlace(NamedTuple):
    """Events of a run that were kept at once."""

    run: str
    first: int
    length: int

    def bound(self) -> bytes:
        return b"E" + pack(">qq", self.first, self.length) + text_of(self.run)

    def __str__(self) -> str:
        return f"what run {self.run!r} has told from event {self.first} on"


def number_of(number: int | None) -> int:
    return -1 if number is None else number


def text_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
