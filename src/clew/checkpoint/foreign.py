"""A saver with the classic interface under the engine: our rows go in as whole checkpoints and pending writes.

Values stand in `channel_values` as what they are, for whoever looks; the rest of a row stands beside them under `REST`. There
is no conditional head, no epoch and no lease: two runs at work on one thread are not told apart, and make branches.
"""

import threading
import warnings
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, cast
from weakref import WeakSet

import ormsgpack

from clew.checkpoint.base import LEASE, Saver, Waiter
from clew.checkpoint.classic import BaseCheckpointSaver, Checkpoint, CheckpointTuple, checkpoint_of
from clew.checkpoint.codec import decode, encode
from clew.checkpoint.journal import Journal
from clew.checkpoint.manifest import read_body, unpacked
from clew.checkpoint.storage import Batch, EventsFound, Found, Kept, Pruning, Row, Space, ThreadRow, Waiting, Weight
from clew.checkpoint.whole import AFTER, WholeHold, WholeJournal
from clew.errors import ClassicSaverWarning, DatabaseError, WrongFace
from clew.ids import id_bytes, id_text, new_checkpoint_id, stamp_of

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

T = TypeVar("T")
REST: Final = "__clew__"
"""The channel under which a checkpoint has what it is besides its values, and a pending write what a task came to."""
ENTRIES: Final = 2  # where a row's fields have the values
REMEMBERED: Final = 4096
VERBS: Final = ("get_tuple", "list", "put", "put_writes")


class ForeignStorage:
    """The verbs of a storage, in those of a classic saver.

    Args:
        loop: where its async methods run, as they are called from threads; None on the sync face.
        known: by thread, namespace and seq the id of a checkpoint and its highest version; shared by all storages of a saver.
    """

    def __init__(self, saver: Any, loop: "AbstractEventLoop | None" = None, known: "Known | None" = None) -> None:
        self.saver = saver
        self.loop = loop
        self.known = known if known is not None else Known()

    def _call(self, verb: str, *args: Any) -> Any:
        """Calls the saver: its async method on the loop of the run, where there is one, else its sync one, in this thread."""
        if self.loop is None or not _has(self.saver, f"a{verb}"):
            return getattr(self.saver, verb)(*args)
        try:
            return self._waited(getattr(self.saver, f"a{verb}")(*args))
        except NotImplementedError:  # there for its name only
            if not _has(self.saver, verb):
                raise
            return getattr(self.saver, verb)(*args)

    def _waited(self, coroutine: Awaitable[T]) -> T:
        import asyncio  # late: it is most of what importing Clew would cost

        async def body() -> T:
            return await coroutine

        assert self.loop is not None
        return asyncio.run_coroutine_threadsafe(body(), self.loop).result()

    # -- reading ----------------------------------------------------------------------------------------------------

    def load(self, thread: str, ns: str, checkpoint_id: bytes | None) -> Found:
        head = self._call("get_tuple", _config(thread, ns))
        if head is None:
            return Found()
        found = self._found(thread, ns, head)
        if checkpoint_id is None or found.row is None or found.row.id == checkpoint_id:
            return found
        wanted = self._call("get_tuple", _config(thread, ns, checkpoint_id))
        if wanted is None:
            found.row, found.parent_id, found.kept = None, None, ()
            return found
        older = self._found(thread, ns, wanted)
        older.head, older.seq = found.head, found.seq
        return older

    def _found(self, thread: str, ns: str, told: CheckpointTuple) -> Found:
        id_, parent = _id_of(told.config), _id_of(told.parent_config)
        body = told.checkpoint["channel_values"].get(REST)
        if id_ is None or not isinstance(body, bytes):
            raise DatabaseError(
                f"Checkpoint {told.checkpoint['id']!r} of thread {thread!r} was not written by Clew. "
                "`clew migrate` brings threads of LangGraph over."
            )
        seq = stamp_of(id_)
        self.known.note(thread, ns, id_, max(told.checkpoint["channel_versions"].values(), default=None))
        fields = unpacked(body)
        values = {key: encode(value) for key, value in told.checkpoint["channel_values"].items() if key != REST}
        fields[ENTRIES] = values
        row = Row(seq, id_, stamp_of(parent) if parent else None, None, ormsgpack.packb(fields))
        kept = dict(_kept(told.pending_writes or ()))
        after = [[key.removeprefix(AFTER), *unpacked(data)] for key, data in kept.items() if key.startswith(AFTER)]
        following = Row(0, b"", seq, None, ormsgpack.packb([0, 0, {}, [], [], [], [], after])) if after else None
        open_ = [Kept(seq, key, data) for key, data in kept.items() if not key.startswith(AFTER)]
        return Found(1, seq, 1, seq, 0, row=row, parent_id=parent, next=following, kept=open_)

    def items(self, thread: str, ranges: Sequence[tuple[int, int, int]]) -> list[bytes]:
        return []  # values are whole, and name none

    def scan(self, thread: str, ns: str, before: int | None, limit: int) -> list[Found]:
        id_ = self.known.id(thread, ns, before) if before is not None else None
        cut = _config(thread, ns, id_) if id_ else None
        told = self._listed(_config(thread, ns), cut, limit if id_ or before is None else None)
        found = (self._found(thread, ns, one) for one in told)
        return list(islice((one for one in found if before is None or (one.row and one.row.seq < before)), limit))

    def _listed(self, config: Any, before: Any, limit: int | None) -> Iterator[CheckpointTuple]:
        """At most so many, where the saver does not count itself."""
        if self.loop is None or not _has(self.saver, "alist"):
            return islice(self.saver.list(config, before=before, limit=limit), limit)

        async def listed() -> list[CheckpointTuple]:
            found: list[CheckpointTuple] = []
            async for one in self.saver.alist(config, before=before, limit=limit):
                if limit is not None and len(found) >= limit:
                    break
                found.append(one)
            return found

        return iter(self._waited(listed()))

    def newest(self, thread: str, ns: str) -> bytes:
        """The id of the newest checkpoint that was seen in a namespace; empty where there was none."""
        return self.known.newest.get((thread, ns), b"")

    # -- writing ----------------------------------------------------------------------------------------------------

    def commit(self, batch: Batch) -> bool:
        for older in batch.history:
            self._put(batch.thread, batch.ns, older)
        row = batch.row
        for seq, kept in groupby(batch.kept, lambda one: one.seq):
            id_ = row.id if row is not None and row.seq == seq else self._id(batch.thread, batch.ns, seq)
            writes = [(REST, [one.task, one.body]) for one in kept]
            self._call("put_writes", _config(batch.thread, batch.ns, id_), writes, id_text(new_checkpoint_id()))
        if row is not None:
            self._put(batch.thread, batch.ns, row)
        return False

    def _put(self, thread: str, ns: str, row: Row) -> None:
        parent = None if row.parent is None else self._id(thread, ns, row.parent)
        current = self.known.version(thread, ns, row.parent)
        version = self.saver.get_next_version(current, None)
        fields, body = unpacked(row.body), read_body(row.body)
        values: dict[str, Any] = {key: decode(cast("bytes", entry)) for key, entry in fields[ENTRIES].items()}
        fields[ENTRIES] = {}
        values[REST] = ormsgpack.packb(fields)
        versions = dict.fromkeys(values, version)
        checkpoint: Checkpoint = checkpoint_of(id_text(row.id), None, values, versions)
        parents = {link.ns: id_text(link.checkpoint) for link in body.begun}
        metadata = {"source": body.source, "step": body.step, "parents": parents, **body.metadata}
        self._call("put", _config(thread, ns, parent), checkpoint, metadata, versions)
        self.known.note(thread, ns, row.id, version)

    def _id(self, thread: str, ns: str, seq: int) -> bytes:
        """The id of the checkpoint of this number: in this namespace, or where the journal has moved from."""
        found = self.known.id(thread, ns, seq)
        if found is None:
            told = (self._found(thread, ns, one) for one in self._listed(_config(thread, ns), None, None))
            found = next((one.row.id for one in told if one.row and one.row.seq == seq), None)
        found = found or self.known.anywhere(thread, seq)
        if found is None:
            raise DatabaseError(f"The saver {self.saver!r} does not list checkpoint {seq} of thread {thread!r} any more.")
        return found

    def drop(self, thread: str) -> None:
        self._call("delete_thread", thread)

    # -- what there is none of --------------------------------------------------------------------------------------

    def wait(self, thread: str, run: bytes, seconds: float, stop: bool) -> bool:
        return True  # nobody has a lease, so nobody waits

    def leave(self, thread: str, run: bytes) -> None:
        pass

    def threads(self) -> list[ThreadRow]:
        self._refuse("list its threads")

    def spaces(self, thread: str) -> list[Space]:
        self._refuse("list its namespaces")

    def walk(self, thread: str, after: tuple[int, int], limit: int) -> list[tuple[int, int, bytes]]:
        self._refuse("list its items")

    def prune(self, pruning: Pruning) -> None:
        self._refuse("be pruned by Clew")

    def weigh(self, thread: str) -> Weight:
        self._refuse("say what it holds")

    def occupies(self) -> int:
        self._refuse("say what it takes")

    def reclaim(self) -> None:
        self._refuse("reclaim what it takes")

    def events(self, thread: str, run: str | None, after: int, limit: int) -> EventsFound | None:
        self._refuse("keep the events of runs")

    def expire(self, limit: int) -> int:
        self._refuse("keep the events of runs")

    def _refuse(self, what: str) -> NoReturn:
        name = type(self.saver).__name__
        raise NotImplementedError(f"{name} has the classic interface of a saver, and so cannot {what}: call its own methods.")

    def close(self) -> None:
        pass  # whoever made the saver closes it


class Known:
    """What was seen of a classic saver's checkpoints lately: ids by their numbers, and the newest of each namespace."""

    def __init__(self) -> None:
        self._rows: OrderedDict[tuple[str, str, int], tuple[bytes, Any]] = OrderedDict()
        self.newest: dict[tuple[str, str], bytes] = {}
        self._lock = threading.Lock()

    def note(self, thread: str, ns: str, id_: bytes, version: Any) -> None:
        with self._lock:
            self._rows[thread, ns, stamp_of(id_)] = id_, version
            self._rows.move_to_end((thread, ns, stamp_of(id_)))
            self.newest[thread, ns] = max(id_, self.newest.pop((thread, ns), b""))
            if len(self._rows) > REMEMBERED:
                self._rows.popitem(last=False)
            if len(self.newest) > REMEMBERED:
                del self.newest[next(iter(self.newest))]

    def id(self, thread: str, ns: str, seq: int) -> bytes | None:
        return self._rows.get((thread, ns, seq), (None, None))[0]

    def version(self, thread: str, ns: str, seq: int | None) -> Any:
        return None if seq is None else self._rows.get((thread, ns, seq), (None, None))[1]

    def anywhere(self, thread: str, seq: int) -> bytes | None:
        """The id in whatever namespace it was seen in last."""
        with self._lock:
            found = (id_ for (name, _, number), (id_, _) in reversed(self._rows.items()) if (name, number) == (thread, seq))
            return next(found, None)


class ForeignSaver(Saver):
    """What the engine holds in place of a classic saver. `saver` is the one that was given to `compile`."""

    storage: ForeignStorage

    def __init__(self, saver: Any) -> None:
        super().__init__(ForeignStorage(saver), lease=LEASE)
        self.saver = saver

    def on(self, host: Waiter) -> Waiting:
        """Raises WrongFace on the sync face, where the saver has async methods only."""
        if host.driven:
            if not all(_has(self.saver, verb) for verb in VERBS):
                raise WrongFace(
                    f"{type(self.saver).__name__} can only be awaited: it has `aput` and its like, and not `put`. Call "
                    "`ainvoke`, `astream` or `aget_state` instead, or give it the sync methods too."
                )
            return Waiting(self.storage, host.blocking, host.aside)
        import asyncio

        there = ForeignStorage(self.saver, asyncio.get_running_loop(), self.storage.known)
        return Waiting(there, host.blocking, host.aside)

    def journal(self, host: Waiter, thread: str, ns: str = "") -> Journal:
        waiting = self.on(host)
        return WholeJournal(waiting, WholeHold(cast("ForeignStorage", waiting.storage), thread, self.lease), ns)

    def release(self, journal: Journal) -> None:
        """Nothing is remembered from one run to the next: nobody could say whether it still holds."""

    def get_tuple(self, config: Any) -> CheckpointTuple | None:
        return self.saver.get_tuple(config)

    def list(
        self, config: Any, *, filter: Mapping[str, Any] | None = None, before: Any = None, limit: int | None = None
    ) -> Iterator[CheckpointTuple]:
        return self.saver.list(config, filter=filter, before=before, limit=limit)

    async def aget_tuple(self, config: Any) -> CheckpointTuple | None:
        if _has(self.saver, "aget_tuple"):
            return await self.saver.aget_tuple(config)
        return await super().aget_tuple(config)

    async def alist(
        self, config: Any, *, filter: Mapping[str, Any] | None = None, before: Any = None, limit: int | None = None
    ) -> AsyncIterator[CheckpointTuple]:
        own = self.saver if _has(self.saver, "alist") else super()
        async for found in own.alist(config, filter=filter, before=before, limit=limit):
            yield found

    async def adelete_thread(self, thread_id: str) -> None:
        if _has(self.saver, "adelete_thread"):
            await self.saver.adelete_thread(thread_id)
        else:
            await super().adelete_thread(thread_id)


_told: "WeakSet[type]" = WeakSet()


def adapted(saver: Any) -> ForeignSaver | None:
    """A saver for the engine made of one with the classic interface, ours or LangGraph's; None where it is no saver."""
    if not all(_has(saver, verb) or _has(saver, f"a{verb}") for verb in VERBS):
        return None
    kind = cast("Any", type(saver))
    if kind not in _told:
        _told.add(kind)
        warnings.warn(
            f"{kind.__name__} has the classic interface of a saver: every checkpoint is kept whole, and nothing keeps two runs "
            "apart that are at work on one thread. A storage of your own under `clew.checkpoint.base.Saver` has neither limit.",
            ClassicSaverWarning,
            stacklevel=4,
        )
    return ForeignSaver(saver)


def _has(saver: Any, verb: str) -> bool:
    """Whether the saver has this method itself, and not just the base class's, which raises."""
    home = next((kind for kind in type(saver).__mro__ if verb in vars(kind)), None)
    return home is not None and home is not BaseCheckpointSaver and home.__module__ != "langgraph.checkpoint.base"


def _config(thread: str, ns: str, checkpoint_id: bytes | None = None) -> dict[str, Any]:
    named = {} if checkpoint_id is None else {"checkpoint_id": id_text(checkpoint_id)}
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ns, **named}}


def _id_of(config: Mapping[str, Any] | None) -> bytes | None:
    return id_bytes(config["configurable"]["checkpoint_id"]) if config else None


def _kept(writes: Sequence[tuple[str, str, Any]]) -> Iterator[tuple[str, bytes]]:
    """What tasks came to, in the order in which it was kept: the ids of the writes begin with the time."""
    for _, _, (task, body) in sorted((write for write in writes if write[1] == REST), key=lambda write: write[0]):
        yield task, body
