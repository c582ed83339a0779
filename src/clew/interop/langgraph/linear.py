"""LangGraph's checkpoints in a Clew saver: values go through the journal, so each of their elements is stored once.

A checkpoint of LangGraph's is a row of ours without a frontier, whose state is its channels, and its versions beside them; what
its tasks wrote are outcomes beside it. Which of LangGraph's ids a row has stands in its metadata. Everything here blocks.
"""

import heapq
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, cast

from clew.checkpoint.base import Saver
from clew.checkpoint.hold import Hold
from clew.checkpoint.manifest import SOURCES, read_body, unpacked
from clew.checkpoint.reader import Reader
from clew.checkpoint.records import BATCH
from clew.checkpoint.storage import Found, Waiting, at_once, conflict, done
from clew.constants import START
from clew.errors import UnstorableValue
from clew.ids import id_bytes, id_text
from clew.interop.langgraph.held import Held, Keeper, Writes, as_result, as_writes, merged
from clew.interop.langgraph.values import Serde, each, long, long_time, restored, short, short_time, storable
from clew.types import Checkpoint, Result, Saved, Task, Write

MARK: Final = "\0lg"
"""Under which a row's metadata have what LangGraph says of a checkpoint besides."""
VERSIONS, SEEN = "\0v", "\0s"
INPUT: Final = "__start__"
KNOWN: Final = {"v", "id", "ts", "channel_values", "channel_versions", "versions_seen", "updated_channels"}
HELD: Final = 128
ROWS: Final = 1024


class Told(NamedTuple):
    """A checkpoint as LangGraph is told of it."""

    thread: str
    ns: str
    id: str
    parent: str | None
    checkpoint: dict[str, Any]
    metadata: dict[str, Any]
    writes: list[tuple[str, str, Any]]


class Linear:
    """The verbs of LangGraph's savers, on a saver of Clew's."""

    def __init__(self, saver: Saver) -> None:
        self.saver = saver
        self.storage = Waiting(saver.storage, at_once)
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._lock = threading.Lock()

    # -- writing ----------------------------------------------------------------------------------------------------

    def put(
        self, thread: str, ns: str, parent: str | None, checkpoint: Mapping[str, Any], metadata: Mapping[str, Any], serde: Serde
    ) -> None:
        """Keeps a checkpoint that grows from `parent`. Raises ThreadConflict where another process has taken the thread."""
        held = self._hold(thread)
        with held.writing():
            journal = self._standing(held, ns, parent)
            going_on = metadata.get("source") == "loop" and parent is not None and held.overtaken.get(ns) == parent
            if going_on and not journal.at_head:
                raise conflict(thread)
            id_: str = checkpoint["id"]
            values, changed = _values(journal.saved, checkpoint)
            for key in held.odd & changed:
                values[key] = storable(values[key], serde)
            kept, about = _metadata(checkpoint, metadata, parent)
            state = Checkpoint(values, step=kept.pop("step"), source=kept.pop("source"))
            kept = storable({**kept, MARK: about}, serde)
            journal.changed(changed)
            try:
                saved = done(journal.commit(_with_input(state), {}, kept))
            except UnstorableValue:
                held.odd |= {key for key in changed if _is_odd(values, key, serde)}
                saved = done(journal.commit(_with_input(state), {}, kept))
            journal.at = held.tips[ns] = id_
            held.rows[ns, id_] = saved.seq, saved.id
            _shorten(held.rows, ROWS)
            for early in held.early.pop((ns, id_), ()):
                self._keep(held, journal, id_, *early, serde)

    def put_writes(
        self, thread: str, ns: str, id_: str, writes: Sequence[tuple[str, Any]], task: str, path: str, serde: Serde
    ) -> None:
        """Keeps what a task wrote: at once, or with its checkpoint where that is yet to come. Raises ThreadConflict."""
        held = self._hold(thread)
        with held.writing():
            if self._place(held, ns, id_) is None:  # nobody can see them before the checkpoint is there
                held.early.setdefault((ns, id_), []).append((writes, task, path))
            else:
                self._keep(held, self._journal(held, ns), id_, writes, task, path, serde)

    def _keep(
        self, held: Held, journal: Keeper, id_: str, writes: Sequence[tuple[str, Any]], task: str, path: str, serde: Serde
    ) -> None:
        """Keeps what a task of a checkpoint that is there wrote, beside what it has written before."""
        ns = journal.ns
        seq, row = held.rows[ns, id_]
        kept = held.writes.get((ns, id_))
        if kept is None:
            kept = self._kept(journal.thread, ns, row)
        before = kept.get(task, (path, Writes()))[1]
        after = merged(before, [(channel, value) for channel, value in writes])
        if after.keys() == before.keys() and all(after[place] is before[place] for place in after):
            return
        try:
            done(journal.keep_of(seq, task, as_result(path, after)))
        except UnstorableValue:
            after = {place: (channel, storable(value, serde)) for place, (channel, value) in after.items()}
            done(journal.keep_of(seq, task, as_result(path, after)))
        kept[task] = path, after
        held.writes[ns, id_] = kept
        _shorten(held.writes, 8)

    def _hold(self, thread: str) -> Held:
        """What is known of the thread; the threads used last are remembered, and those of which a checkpoint is yet to come."""
        with self._lock:
            held = self._held.pop(thread, None) or self._anew(thread)
            self._held[thread] = held
            idle = [name for name, one in self._held.items() if not one.early and one is not held]
            for name in idle[: max(0, len(self._held) - HELD)]:
                del self._held[name]
            return held

    def _anew(self, thread: str) -> Held:
        return Held(Hold(self.saver.storage, thread, self.saver.lease))

    def _journal(self, held: Held, ns: str) -> Keeper:
        journal = held.journals.get(ns)
        if journal is None:
            journal = Keeper(self.storage, held.hold, ns)
            journal.at = _id_of(done(journal.open()))
            held.journals[ns] = journal
        return journal

    def _standing(self, held: Held, ns: str, parent: str | None) -> Keeper:
        """The journal of a namespace, on the checkpoint that the next one grows from; on none where there is no such one."""
        journal = self._journal(held, ns)
        if journal.at != parent:
            place = self._place(held, ns, parent) if parent is not None else None
            saved = done(journal.open(place[1]) if place else journal.leave())
            journal.at = _id_of(saved)
        return journal

    def _place(self, held: Held, ns: str, id_: str) -> tuple[int, bytes] | None:
        """Where a checkpoint is kept; None where it is not. Whoever writes to one has put it, or read it: then it is known."""
        found = held.rows.get((ns, id_))
        if found is None and not _comes_after(id_, held.tips.get(ns) or self._journal(held, ns).at):
            found = self._found(held.hold.thread, ns, id_)
        if found is not None:
            held.rows[ns, id_] = found
        return found

    # -- reading ----------------------------------------------------------------------------------------------------

    def get(self, thread: str, ns: str, id_: str | None, serde: Serde) -> Told | None:
        """The checkpoint of this id, or the newest; None where there is none."""
        held = self._hold(thread)
        place = None
        if id_ is not None:
            place = held.rows.get((ns, id_)) or self._found(thread, ns, id_)
            if place is None:
                return None
        found = done(self.storage.load(thread, ns, place[1] if place else None))
        if found.row is None:
            return None
        if id_ is None:
            held = self._looked_around(thread, held, found)
        told = self._told(thread, ns, found, Reader(self.storage, thread), serde)
        held.rows[ns, told.id] = found.row.seq, found.row.id
        _shorten(held.rows, ROWS)
        return told

    def _looked_around(self, thread: str, held: Held, found: Found) -> Held:
        """Perhaps a run begins: where another process has had the thread meanwhile, it is taken anew."""
        stands = held.hold.claimed or held.journals
        if not held.lost and not (stands and held.hold.epoch != found.epoch):
            return held
        anew = self._anew(thread)
        anew.overtaken = held.tips
        with self._lock:
            self._held[thread] = anew
        return anew

    def listed(
        self, places: Sequence[tuple[str, str]], before: str | None, filter: Mapping[str, Any], serde: Serde
    ) -> Iterator[Told]:
        """Checkpoints of these threads and namespaces, the greatest id first, of which `before` is greater."""
        several = [self._of(thread, ns, before, filter, serde) for thread, ns in places]
        return heapq.merge(*several, key=lambda told: told.id, reverse=True)

    def _of(self, thread: str, ns: str, before: str | None, filter: Mapping[str, Any], serde: Serde) -> Iterator[Told]:
        items, seen = dict[int, bytes](), set[str]()
        for found in self._rows(thread, ns):
            about = _about(found)
            if about is None or about[1] in seen or (before is not None and about[1] >= before):
                continue
            seen.add(about[1])
            metadata = _read_metadata(found, serde)
            if all(key in metadata and metadata[key] == value for key, value in filter.items()):
                yield self._told(thread, ns, found, Reader(self.storage, thread, items=items), serde)

    def _rows(self, thread: str, ns: str) -> Iterator[Found]:
        before = None
        while batch := done(self.storage.scan(thread, ns, before, BATCH)):
            yield from batch
            before = batch[-1].row.seq if batch[-1].row else None
            if len(batch) < BATCH:
                return

    def _found(self, thread: str, ns: str, id_: str) -> tuple[int, bytes] | None:
        """The newest row that has this id of LangGraph's. Rows are read, and nothing that they name."""
        for found in self._rows(thread, ns):
            about = _about(found)
            if about is not None and about[1] == id_ and found.row:
                return found.row.seq, found.row.id
        return None

    def _kept(self, thread: str, ns: str, id_: bytes) -> dict[str, tuple[str, Writes]]:
        found = done(self.storage.load(thread, ns, id_))
        return self._outcomes(found, Reader(self.storage, thread))

    def _outcomes(self, found: Found, reader: Reader) -> dict[str, tuple[str, Writes]]:
        outcomes = [(kept.task, done(reader.outcome(Task(""), unpacked(kept.body)))[0]) for kept in found.kept]
        return {task: as_writes(outcome) for task, outcome in outcomes if isinstance(outcome, Result)}

    def _told(self, thread: str, ns: str, found: Found, reader: Reader, serde: Serde) -> Told:
        assert found.row is not None
        body = read_body(found.row.body)
        about = _about(found)
        if about is None:
            raise LookupError(
                f"Thread {thread!r} is one of Clew's own, which LangGraph cannot read: give it another `thread_id`."
            )
        body.on(read_body(found.base.body).on(None) if found.base else None)
        done(reader.fetch(list(body.entries.values())))
        values = {key: done(reader.value(entry))[0] for key, entry in body.entries.items()}
        for fields in body.frontier:
            values[INPUT] = dict(done(reader.task(fields)).arg)
        version, id_, parent, ts, updated, more = about
        checkpoint: dict[str, Any] = {
            "v": version,
            "id": id_,
            "ts": long_time(ts),
            "channel_versions": each(long, values.pop(VERSIONS, {})),
            "versions_seen": {node: each(long, seen) for node, seen in values.pop(SEEN, {}).items()},
            "updated_channels": updated,
            **restored(more, serde),
        }
        checkpoint["channel_values"] = {key: restored(value, serde) for key, value in values.items()}
        outcomes = [(path, task, writes) for task, (path, writes) in self._outcomes(found, reader).items()]
        writes = [
            (task, *writes[place]) for _, task, writes in sorted(outcomes, key=lambda one: one[:2]) for place in sorted(writes)
        ]
        told = [(task, channel, restored(value, serde)) for task, channel, value in writes]
        return Told(thread, ns, id_, parent, checkpoint, _read_metadata(found, serde), told)

    # -- whole threads ----------------------------------------------------------------------------------------------

    def places(self, thread: str | None, ns: str | None) -> list[tuple[str, str]]:
        """Threads and namespaces: all of them where none is named."""
        threads = [thread] if thread is not None else [row.thread for row in self.saver.storage.threads()]
        storage = self.saver.storage
        return [(name, one) for name in threads for one in ([ns] if ns is not None else [s.ns for s in storage.spaces(name)])]

    def forget(self, threads: Sequence[str] | None = None) -> None:
        """What is known of these threads, or of all, holds no longer."""
        with self._lock:
            for thread in list(self._held) if threads is None else threads:
                self._held.pop(thread, None)


def _values(saved: Saved | None, checkpoint: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """The state to be kept, and which of its keys may have changed, by their versions."""
    versions = each(short, checkpoint["channel_versions"])
    seen = {node: each(short, channels) for node, channels in checkpoint["versions_seen"].items()}
    before: Mapping[str, Any] = saved.checkpoint.values if saved else {}
    known: Mapping[str, Any] = before.get(VERSIONS, {})
    values = {**checkpoint["channel_values"], VERSIONS: versions, SEEN: seen}
    same = {key for key in values if key in before and key in versions and known.get(key) == versions[key]}
    return values, values.keys() - same


def _with_input(state: Checkpoint) -> Checkpoint:
    """An input as what START is given, key by key: its elements are then those that the state will have."""
    values = dict(state.values)
    given = values.get(INPUT)
    if type(given) is not dict or not all(type(key) is str for key in cast("dict[Any, Any]", given)):
        return state
    del values[INPUT]
    task = Task(START, tuple(Write(key, value) for key, value in cast("dict[str, Any]", given).items()))
    return replace(state, values=values, frontier=(task,))


def _is_odd(values: dict[str, Any], key: str, serde: Serde) -> bool:
    """Makes a value storable; whether it was not."""
    made = storable(values[key], serde)
    odd, values[key] = made is not values[key], made
    return odd


def _metadata(
    checkpoint: Mapping[str, Any], metadata: Mapping[str, Any], parent: str | None
) -> tuple[dict[str, Any], list[Any]]:
    """LangGraph's metadata, and what else is to be said of a checkpoint. A row has step and source anyway."""
    kept = dict(metadata)
    plain = kept.get("source") in SOURCES and type(kept.get("step")) is int
    more = {key: value for key, value in checkpoint.items() if key not in KNOWN}
    ids = _id(checkpoint["id"]), _id(parent)
    about = [checkpoint["v"], *ids, short_time(checkpoint["ts"]), checkpoint.get("updated_channels"), more]
    if not plain:
        about.append({key: kept[key] for key in ("source", "step") if key in kept})
        kept |= {"source": "loop", "step": -2}
    return kept, about


def _read_metadata(found: Found, serde: Serde) -> dict[str, Any]:
    assert found.row is not None
    body = read_body(found.row.body)
    kept = {key: restored(value, serde) for key, value in body.metadata.items() if key != MARK}
    about: list[Any] = body.metadata[MARK]
    return {**(about[6] if len(about) > 6 else {"source": body.source, "step": body.step}), **kept}


def _about(found: Found) -> tuple[Any, str, str | None, Any, Any, dict[str, Any]] | None:
    """What LangGraph says of a checkpoint besides; None where it is not one of LangGraph's."""
    about = read_body(found.row.body).metadata.get(MARK) if found.row else None
    if about is None:
        return None
    version, id_, parent, ts, updated, more = cast("list[Any]", about)[:6]
    return version, _text(id_) or "", _text(parent), ts, updated, more


def _comes_after(id_: str, newest: str | None) -> bool:
    """Whether an id was made after another one; of ids that tell no time nobody knows."""
    if newest is None:
        return False
    return type(_id(id_)) is bytes and type(_id(newest)) is bytes and id_ > newest


def _id_of(saved: Saved | None) -> str | None:
    about = saved.metadata.get(MARK) if saved else None
    return _text(about[1]) if about else None


def _id(text: str | None) -> str | bytes | None:
    packed = id_bytes(text) if text else None
    return packed if packed is not None and id_text(packed) == text else text


def _text(packed: str | bytes | None) -> str | None:
    return id_text(packed) if isinstance(packed, bytes) else packed


def _shorten(known: dict[Any, Any], most: int) -> None:
    for key in list(known)[: max(0, len(known) - most)]:
        del known[key]
