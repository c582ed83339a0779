"""A thread on its way: out of a storage, as a file that says whether it is whole, and into another storage, whole or not.

What travels are *frames*, plain lists: one `SPACES` (format, name, namespaces), then `ITEMS`, then `ROWS`, those of the
outermost graph last. In a file each is msgpack behind its length in four bytes, and the last is a digest of all before it.
"""

import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, Final, cast

import ormsgpack

from clew.checkpoint.hold import Hold
from clew.checkpoint.living import logs_of, rows_of
from clew.checkpoint.pruning import mending
from clew.checkpoint.storage import Batch, Kept, Row, Space, Storage
from clew.errors import DatabaseError, ThreadConflict, ThreadExists, ThreadNotFound

MAGIC: Final = b"clew thread\n"
FORMAT: Final = 1
SPACES, ITEMS, ROWS, END = range(4)
MOST: Final = 100  # items or rows of a frame
LARGE: Final = 4 << 20  # bytes of items above which a frame is closed
LARGEST: Final = 1 << 30  # bytes that a frame may say it has
KEPT_IN_MEMORY: Final = 16 << 20

Frame = list[Any]


# -- out of a storage -----------------------------------------------------------------------------------------------


def frames_of(storage: Storage, thread: str) -> Iterator[Frame]:
    """The frames of a thread as it stands. One that is being run goes on meanwhile: what travels is what its heads vouched for.

    Rows are read first, those that name others before these, and then the items that they name.

    Raises:
        ThreadNotFound: there is none of this name. ThreadConflict: another run has taken it meanwhile, or it was pruned.
    """
    begun = storage.load(thread, "", None)
    hold = Hold(storage, thread)
    hold.stand(begun)
    if begun.head is None:
        raise ThreadNotFound(f"There is no thread {thread!r} here: `saver.threads()` and `clew threads` list those there are.")
    if hold.mended and hold.busy:
        raise _moved_on(thread)
    with Spool() as rows:
        newest = _read_rows(storage, thread, rows)
        spaces = storage.spaces(thread)
        yield [SPACES, FORMAT, thread, [[space.ns, space.number, newest.get(space.number), space.logs] for space in spaces]]
        yield from _items(storage, thread, spaces)
        yield from sorted_by_depth(rows)
    if storage.load(thread, "", None).epoch != begun.epoch:
        raise _moved_on(thread)


def _moved_on(thread: str) -> ThreadConflict:
    return ThreadConflict(f"Thread {thread!r} was taken by another run, or pruned, while it was being copied: do it again.")


def _depth(ns: str) -> int:
    return ns.count("|") + 1 if ns else 0


def _read_rows(storage: Storage, thread: str, spool: "Spool") -> dict[int, int]:
    """Puts the rows of a thread on the spool, the outermost first. Returns the seqs of the newest, by namespaces' numbers."""
    newest: dict[int, int] = {}
    depth = 0
    while level := [space for space in storage.spaces(thread) if _depth(space.ns) >= depth]:
        for space in level:
            if _depth(space.ns) != depth:
                continue
            found = rows_of(storage, thread, space.ns)
            while some := list(islice(found, MOST)):
                rows = [one.row for one in some if one.row is not None]
                kept = [list(outcome) for one in some for outcome in sorted(one.kept)]
                newest.setdefault(space.number, rows[0].seq)
                spool.put([ROWS, space.number, [list(row) for row in rows], kept], depth)
        depth += 1
    return newest


def _items(storage: Storage, thread: str, spaces: list[Space]) -> Iterator[Frame]:
    ends = {log: end for space in spaces for log, _, end in logs_of(space)}
    after, frame, size = (-1, 0), list[Any](), 0
    while found := storage.walk(thread, after, MOST):
        after = found[-1][:2]
        for log, number, data in found:
            if number >= ends.get(log, 0):
                continue
            if frame and (frame[0][0] >> 16 != log >> 16 or len(frame) >= MOST or size >= LARGE):
                yield [ITEMS, frame]
                frame, size = [], 0
            frame.append([log, number, data])
            size += len(data)
    if frame:
        yield [ITEMS, frame]


def sorted_by_depth(spool: "Spool") -> Iterator[Frame]:
    """Rows with those of the graphs within first, and the outermost last."""
    for depth in range(spool.deepest, -1, -1):
        yield from spool.taken(depth)


class Spool:
    """Frames that wait for their turn, by their depth: in memory, or where they are many, in a file that goes by itself."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile[bytes](KEPT_IN_MEMORY)
        self._places: dict[int, list[tuple[int, int]]] = {}

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    @property
    def deepest(self) -> int:
        return max(self._places, default=-1)

    def put(self, frame: Frame, depth: int) -> None:
        data = ormsgpack.packb(frame)
        place = self._file.seek(0, 2)
        self._file.write(data)
        self._places.setdefault(depth, []).append((place, len(data)))

    def taken(self, depth: int) -> Iterator[Frame]:
        for place, size in self._places.get(depth, ()):
            self._file.seek(place)
            yield ormsgpack.unpackb(self._file.read(size))


# -- into a storage -------------------------------------------------------------------------------------------------


def arrive(storage: Storage, frames: Iterable[Frame], thread: str | None, lease: float) -> str:
    """Makes a thread of frames; by default under the name that it had. Nothing of it is seen before the frames have come to
    their end, and it is no thread before its outermost head is written. Returns its name.

    Raises:
        ThreadExists: there is one of this name. DatabaseError: the frames are not something that Clew wrote.
    """
    frames = iter(frames)
    try:
        kind, format_, name, listed = next(frames, cast("Frame", []))
        if kind != SPACES or format_ != FORMAT:
            raise DatabaseError(f"The thread has the format {format_!r}, and this Clew knows {FORMAT}: upgrade it.")
        spaces = {number: (str(ns), bytes(logs)) for ns, number, _, logs in listed}
        hold = _made(storage, str(name if thread is None else thread), lease)
    except (LookupError, TypeError, ValueError) as error:
        raise _damaged() from error
    try:
        _unpack(storage, frames, hold, spaces)
    except ThreadConflict:  # somebody has taken it, so it is no leftover
        raise
    except BaseException as error:
        with suppress(Exception):  # what is left of it has no head, and goes when it comes again
            storage.drop(hold.thread)
        if isinstance(error, LookupError | TypeError | ValueError | AttributeError):
            raise _damaged() from error
        raise
    finally:
        hold.let_go()
    return hold.thread


def _unpack(storage: Storage, frames: Iterable[Frame], hold: Hold, spaces: dict[int, tuple[str, bytes]]) -> None:
    thread, epoch = hold.thread, hold.epoch
    with Spool() as rows:
        for frame in frames:
            if frame[0] == ROWS:
                rows.put(frame, frame[1])
                continue
            number = frame[1][0][0] >> 16
            ns, logs = spaces[number]
            storage.commit(Batch(thread, ns, number, None, epoch, logs=logs, items=[tuple(item) for item in frame[1]]))
        for number, (ns, logs) in sorted(spaces.items(), key=lambda space: -_depth(space[1][0])):
            storage.commit(_space(Batch(thread, ns, number, None, epoch, logs=logs), rows))


def _made(storage: Storage, name: str, lease: float) -> Hold:
    """Begins a thread, with a lease that says that it is not to be run yet."""
    hold = Hold(storage, name, lease)
    hold.stand(found := storage.load(name, "", None))
    if found.head is not None or hold.busy:
        raise ThreadExists(
            f"There is a thread {name!r} here already, and nothing is written over it: name another "
            f"(`thread=`, `--as`), or delete it first (`saver.delete_thread({name!r})`)."
        )
    if found.epoch:
        storage.drop(name)
        hold.stand(storage.load(name, "", None))
    hold.run = mending()
    batch = Batch(name, "", 0, None, 0)
    hold.dress(batch, leasing=True, release=False)
    try:
        hold.written(batch, stop=storage.commit(batch))
    except BaseException:
        hold.let_go()
        raise
    return hold


def _space(batch: Batch, spool: Spool) -> Batch:
    """All checkpoints of a namespace with its head; with that of the outermost the lease is given back."""
    rows: list[Row] = []
    for _, _, some, kept in spool.taken(batch.number):
        rows += [Row(*row) for row in some]
        batch.kept += [Kept(*outcome) for outcome in kept]
    if rows:
        batch.row, batch.history = rows[0], rows[:0:-1]
    batch.release = batch.ns == ""
    return batch


# -- as a file ------------------------------------------------------------------------------------------------------


def write(frames: Iterable[Frame], file: BinaryIO) -> None:
    """Writes frames as they come, and a digest of them at the end."""
    digest = blake2b(digest_size=32)

    def out(data: bytes) -> None:
        digest.update(data)
        file.write(data)

    out(MAGIC)
    for frame in frames:
        data = ormsgpack.packb(frame)
        out(struct.pack(">I", len(data)))
        out(data)
    data = ormsgpack.packb([END, digest.digest()])
    file.write(struct.pack(">I", len(data)) + data)


def read(file: BinaryIO) -> Iterator[Frame]:
    """The frames of a file. It ends well only where the file is whole: whoever reads it waits for that.

    Raises:
        DatabaseError: it is no thread's file, or it was cut off, or changed.
    """
    digest = blake2b(digest_size=32)
    if file.read(len(MAGIC)) != MAGIC:
        raise DatabaseError("The file is no thread that Clew has exported: `clew export THREAD > file` makes one.")
    digest.update(MAGIC)
    while True:
        size = file.read(4)
        length = struct.unpack(">I", size)[0] if len(size) == 4 else -1
        data = file.read(length) if 0 <= length <= LARGEST else b""
        if len(data) != length:
            raise DatabaseError("The file ends before the thread does: it was cut off, or is being written still.")
        try:
            frame: Frame = ormsgpack.unpackb(data)
        except ValueError as error:
            raise _damaged() from error
        if type(frame) is not list or not frame or frame[0] not in (SPACES, ITEMS, ROWS, END):
            raise _damaged()
        if frame[0] == END:
            if frame[1] != digest.digest():
                raise _damaged()
            return
        digest.update(size)
        digest.update(data)
        yield frame


def _damaged() -> DatabaseError:
    return DatabaseError("The file is not as it was written: its digest is another. Nothing of it was kept; export it again.")


def digest_of(frames: Iterable[Frame]) -> bytes:
    """What a thread holds, as a digest: the same wherever it is kept, and under whatever name."""
    digest = blake2b(digest_size=32)
    for frame in frames:
        digest.update(ormsgpack.packb([*frame[:2], *frame[3:]] if frame[0] == SPACES else frame))
    return digest.digest()
