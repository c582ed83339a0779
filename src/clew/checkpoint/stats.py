"""What threads cost: how many bytes, and of what."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from clew.checkpoint.ledger import PAGED
from clew.checkpoint.living import logs_of
from clew.checkpoint.manifest import SENDS
from clew.checkpoint.storage import Storage

SHOWN: Final = {SENDS: "(sends)", PAGED: "(pages)"}


class Amount(NamedTuple):
    """How many, and how many bytes these have together."""

    number: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class ThreadStats:
    """What a thread holds, in bytes as they are stored; indexes and the like are not among them.

    Attributes:
        channels: items by the key of the state that they were first written to, over all namespaces; `(sends)` are what
            `Send`s carry, `(pages)` where values are that consist of many pieces. An item that several keys and checkpoints
            name is there once.
        checkpoints: their manifests. outcomes: of tasks, beside a superstep that is or was open; answers and notes as well.
        events: groups of what runs have told, where that is kept (`resumable=True`).
    """

    thread: str
    channels: Mapping[str, Amount]
    checkpoints: Amount
    outcomes: Amount
    events: Amount

    @property
    def bytes(self) -> int:
        return sum(amount.bytes for amount in (*self.channels.values(), self.checkpoints, self.outcomes, self.events))


@dataclass(frozen=True, slots=True)
class Stats:
    """What is kept: the threads, the largest first, and what the database takes where it is (of the file, of the tables with
    their indexes), with what deleted rows have left free in it."""

    threads: tuple[ThreadStats, ...]
    occupies: int


def stats_of(storage: Storage, thread: str) -> ThreadStats:
    weight, channels = storage.weigh(thread), dict[str, Amount]()
    for space in storage.spaces(thread):
        for log, key, _ in logs_of(space):
            count, size = weight.items.get(log, (0, 0))
            before = channels.get(name := SHOWN.get(key, key), Amount())
            channels[name] = Amount(before.number + count, before.bytes + size)
    largest = sorted(channels.items(), key=lambda one: -one[1].bytes)
    return ThreadStats(thread, dict(largest), Amount(*weight.checkpoints), Amount(*weight.kept), Amount(*weight.events))
