"""What a storage is held to: rows and bytes, conditions, leases; no graph is run here. See `clew.testing.savers`."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from clew.checkpoint.storage import Batch, Found, Kept, Lease, Pruning, Row, Storage, Weight
from clew.errors import ThreadConflict
from clew.ids import new_checkpoint_id, new_epoch, stamped
from clew.testing.savers import Subject, clause

ODD: Final = (
    "plain",
    "with space ",
    "UPPER",
    "upper",
    "naïve 𝄞 ☃",
    "NUL\0inside",
    "\0",
    "{braces}{}",
    "a:b|c/d",
    "%_\\'\";--",
    "x" * 900,
)
"""Names that backends have been known to stumble over."""


def seen(row: Row | None) -> Any:
    """A row to be compared: a driver may hand out another kind of bytes."""
    return row and Row(row.seq, bytes(row.id), row.parent, row.base, bytes(row.body))


def outcomes(found: Found) -> list[tuple[int, str, bytes]]:
    return sorted((kept.seq, kept.task, bytes(kept.body)) for kept in found.kept)


@dataclass
class Writer:
    """One run as a storage sees it: it has an epoch, knows the heads, and hands out numbers."""

    storage: Storage
    thread: str
    epoch: int = 0
    claimed: bool = False
    seq: int = 0
    heads: dict[str, int | None] = field(default_factory=dict[str, int | None])

    @classmethod
    def of(cls, storage: Storage, thread: str, ns: str = "") -> "Writer":
        """A run that has just loaded the thread."""
        found = storage.load(thread, ns, None)
        return cls(storage, thread, found.epoch, False, found.seq, {ns: found.head})

    def batch(self, ns: str = "", number: int = 0, **more: Any) -> Batch:
        claim = 0 if self.claimed else new_epoch(self.epoch)
        return Batch(self.thread, ns, number, self.heads.get(ns), self.epoch, claim, **more)

    def row(self, body: bytes = b"body", ns: str = "", base: int | None = None) -> Row:
        """The next row of a namespace."""
        self.seq += 1
        return Row(self.seq, stamped(new_checkpoint_id(), self.seq), self.heads.get(ns), base, body)

    def send(self, batch: Batch) -> bool:
        stop = self.storage.commit(batch)
        self.epoch, self.claimed = batch.claim or self.epoch, True
        if batch.row:
            self.heads[batch.ns] = batch.row.seq
        return stop

    def commit(self, body: bytes = b"body", ns: str = "", number: int = 0, **more: Any) -> Row:
        """Commits the next row of a namespace."""
        row = self.row(body, ns)
        self.send(self.batch(ns, number, **{"logs": b"logs", "row": row, **more}))
        return row

    def refused(self, batch: Batch) -> None:
        """This batch is refused, and nothing of it is there."""
        before = everything(self.storage, self.thread)
        try:
            self.storage.commit(batch)
        except ThreadConflict:
            assert everything(self.storage, self.thread) == before, "something of a batch that was refused is there"
            return
        raise AssertionError(f"{batch!r} was taken")


def everything(storage: Storage, thread: str) -> Any:
    """All that is stored of a thread."""
    found = storage.load(thread, "", None)
    spaces = storage.spaces(thread)
    rows = [(seen(one.row), outcomes(one)) for space in spaces for one in storage.scan(thread, space.ns, None, 1000)]
    items = [(log, n, bytes(data)) for log, n, data in storage.walk(thread, (-1, -1), 1000)]
    lease = found.lease and (bytes(found.lease.run), found.lease.owner)
    return found.epoch, found.seq, found.spaces, found.head, bytes(found.logs), lease, spaces, rows, items


# -- what is written is found -----------------------------------------------------------------------------------------


@clause
def nothing_is_found_as_nothing(on: Subject) -> None:
    """Of a thread that is not there nothing is found, and asking makes none."""
    storage, thread = on.storage(), on.thread()
    assert storage.load(thread, "", None) == Found()
    assert storage.load(thread, "ns", new_checkpoint_id()) == Found()
    assert list(storage.items(thread, [(0, 0, 9)])) == []
    assert storage.scan(thread, "", None, 10) == []
    assert list(storage.spaces(thread)) == []
    assert list(storage.walk(thread, (-1, -1), 10)) == []
    assert storage.weigh(thread) == Weight({}, (0, 0), (0, 0))
    assert thread not in [row.thread for row in storage.threads()]
    storage.drop(thread)
    storage.leave(thread, b"nobody")
    assert storage.load(thread, "", None) == Found()


@clause
def a_checkpoint_comes_back_as_it_was_written(on: Subject) -> None:
    """A row is found as the head and by its id, by another saver too, with its base and its parent's id."""
    writer = Writer(on.storage(), on.thread())
    first = writer.commit(b"\0first\xff")
    second = writer.row(b"", base=first.seq)
    writer.send(writer.batch(logs=b"\0logs\xff", row=second))
    for storage in (writer.storage, on.storage()):
        head = storage.load(writer.thread, "", None)
        assert (seen(head.row), seen(head.base), head.parent_id) == (second, first, first.id)
        assert (head.epoch, head.seq, head.spaces, head.head, head.number) == (writer.epoch, 2, 1, 2, 0)
        assert bytes(head.logs) == b"\0logs\xff"
        older = storage.load(writer.thread, "", first.id)
        assert (seen(older.row), older.base, older.parent_id, seen(older.next)) == (first, None, None, second)
        assert (older.head, older.epoch) == (2, writer.epoch)


@clause
def a_base_may_be_of_another_namespace(on: Subject) -> None:
    """A row may add to one of another namespace of its thread: that of the graph around. It is found all the same."""
    writer = Writer(on.storage(), on.thread())
    around = writer.commit(b"around")
    row = writer.row(b"inner", "child", base=around.seq)
    writer.send(writer.batch("child", 1, logs=b"", row=row))
    storage = on.storage()
    listed = storage.scan(writer.thread, "child", None, 9)
    for found in (storage.load(writer.thread, "child", None), storage.load(writer.thread, "child", row.id), *listed):
        assert (seen(found.row), seen(found.base), found.parent_id) == (row, around, None)


@clause
def an_unknown_id_finds_the_thread_only(on: Subject) -> None:
    """An id that no checkpoint has, or one of another namespace, finds no row, and still how the thread stands."""
    writer = Writer(on.storage(), on.thread())
    row = writer.commit()
    child = writer.commit(ns="child", number=1)
    for wanted in (new_checkpoint_id(), stamped(new_checkpoint_id(), row.seq), child.id):
        found = writer.storage.load(writer.thread, "", wanted)
        assert (found.row, found.head, found.epoch) == (None, row.seq, writer.epoch)
    assert seen(writer.storage.load(writer.thread, "child", child.id).row) == child


@clause
def names_are_told_apart(on: Subject) -> None:
    """Threads and namespaces may have any text as their name; each is its own."""
    storage = on.storage()
    for name in ODD:
        writer = Writer(storage, on.thread(name))
        writer.commit(name.encode(), ns=name, number=0, logs=name.encode())
        writer.commit(b"root", number=1)
    for name in ODD:
        found = on.storage().load(on.thread(name), name, None)
        assert found.row is not None
        assert (bytes(found.row.body), bytes(found.logs)) == (name.encode(), name.encode())
        assert [space.ns for space in storage.spaces(on.thread(name))] == [name, ""]
    assert {on.thread(name) for name in ODD} <= {row.thread for row in storage.threads()}


@clause
def namespaces_have_heads_of_their_own(on: Subject) -> None:
    """A commit moves the head of its namespace only; sequence numbers and the count of namespaces are the thread's."""
    writer = Writer(on.storage(), on.thread())
    root = writer.commit(b"root")
    child = writer.commit(b"child", ns="child", number=4)
    again = writer.commit(b"again", ns="child", number=4)
    found = writer.storage.load(writer.thread, "", None)
    assert (found.head, found.seq, found.spaces) == (root.seq, again.seq, 5)
    found = writer.storage.load(writer.thread, "child", None)
    assert (found.head, found.number, found.parent_id) == (again.seq, 4, child.id)
    other = writer.storage.load(writer.thread, "other", None)
    assert (other.head, other.number, other.row, other.epoch, other.spaces) == (None, None, None, writer.epoch, 5)


@clause
def items_come_in_the_order_asked_for(on: Subject) -> None:
    """Items come in the order of the ranges, over several logs, overlapping or empty ones too; missing ones are left out."""
    writer = Writer(on.storage(), on.thread())
    writer.commit(items=[(0, n, b"a%d" % n) for n in range(20)])
    writer.commit(items=[(7 << 16, n, bytes([n, 0, 255])) for n in range(3)] + [(0, 20, b"")])
    storage = on.storage()
    asked = [(7 << 16, 1, 3), (0, 18, 25), (0, 5, 5), (3, 0, 9), (0, 2, 4), (0, 3, 5)]
    expected = [bytes([1, 0, 255]), bytes([2, 0, 255]), b"a18", b"a19", b"", b"a2", b"a3", b"a3", b"a4"]
    assert [bytes(item) for item in storage.items(writer.thread, asked)] == expected
    assert list(storage.items(writer.thread, [])) == []


@clause
def outcomes_are_replaced_whole(on: Subject) -> None:
    """An outcome is found beside its checkpoint, the last one of each task, whatever the task is called."""
    writer = Writer(on.storage(), on.thread())
    row = writer.commit(kept=[Kept(1, "with the row", b"0")])
    writer.send(writer.batch(kept=[Kept(row.seq, name, b"old") for name in ODD]))
    writer.send(writer.batch(kept=[Kept(row.seq, name, name.encode()) for name in ODD[::2]]))
    expected = sorted([(1, "with the row", b"0"), *[(1, name, b"old") for name in ODD[1::2]]])
    expected = sorted([*expected, *[(1, name, name.encode()) for name in ODD[::2]]])
    assert outcomes(on.storage().load(writer.thread, "", None)) == expected
    assert outcomes(on.storage().load(writer.thread, "", row.id)) == expected
    writer.commit()
    assert outcomes(writer.storage.load(writer.thread, "", None)) == []
    assert [outcomes(found) for found in writer.storage.scan(writer.thread, "", None, 9)] == [[], expected]


@clause
def history_is_newest_first(on: Subject) -> None:
    """A scan lists a namespace's checkpoints, newest first, below a number and up to a limit, each with what grew from it."""
    writer = Writer(on.storage(), on.thread())
    rows = [writer.commit(b"%d" % n) for n in range(4)]
    writer.commit(ns="child", number=1)
    writer.heads[""] = rows[1].seq
    branch = writer.row(b"branch")
    writer.heads[""] = rows[3].seq
    writer.send(writer.batch(logs=b"", row=branch))
    storage = on.storage()
    listed = storage.scan(writer.thread, "", None, 100)
    assert [seen(found.row) for found in listed] == [branch, *reversed(rows)]
    assert [found.parent_id for found in listed] == [rows[1].id, rows[2].id, rows[1].id, rows[0].id, None]
    assert [seen(found.next) for found in listed] == [None, None, rows[3], rows[2], rows[1]]
    assert [found.row.seq for found in storage.scan(writer.thread, "", branch.seq, 2) if found.row] == [4, 3]
    assert storage.scan(writer.thread, "", rows[0].seq, 5) == []
    assert storage.scan(writer.thread, "other", None, 5) == []


@clause
def history_may_be_brought_along(on: Subject) -> None:
    """A batch may bring older checkpoints that are no heads; they are listed, found and grown from like any other."""
    writer = Writer(on.storage(), on.thread())
    ids = [stamped(new_checkpoint_id(), seq) for seq in (3, 5, 9)]
    rows = [Row(3, ids[0], None, None, b"a"), Row(5, ids[1], 3, 3, b"b"), Row(9, ids[2], 5, 3, b"c")]
    writer.send(writer.batch(logs=b"", items=[(0, 0, b"x")]))
    writer.send(writer.batch(logs=b"l", items=[(0, 1, b"y")], kept=[Kept(3, "t", b"k")], row=rows[2], history=rows[:2]))
    storage = on.storage()
    assert [seen(found.row) for found in storage.scan(writer.thread, "", None, 9)] == rows[::-1]
    found = storage.load(writer.thread, "", ids[1])
    assert (seen(found.row), seen(found.base), seen(found.next), found.parent_id) == (rows[1], rows[0], rows[2], ids[0])
    assert (found.head, found.seq) == (9, 9)
    assert outcomes(storage.load(writer.thread, "", ids[0])) == [(3, "t", b"k")]
    assert [bytes(item) for item in storage.items(writer.thread, [(0, 0, 5)])] == [b"x", b"y"]


@clause
def threads_are_listed_by_who_moved_last(on: Subject) -> None:
    """Threads with a checkpoint are listed, the one moved last first, with how many there are, the newest id, and a size."""
    storage = on.storage()
    writers = [Writer(storage, on.thread(name)) for name in "abc"]
    newest = [writer.commit(b"x" * 100, items=[(0, 0, b"y" * 1000)]) for writer in writers]
    newest[0] = writers[0].commit()
    empty = Writer(storage, on.thread("d"))
    empty.send(empty.batch(kept=[Kept(0, "t", b"")]))
    found = [row for row in storage.threads() if row.thread.startswith(on.prefix)]
    assert [(row.thread, row.checkpoints, bytes(row.newest)) for row in found] == [
        (writers[n].thread, count, newest[n].id) for n, count in ((0, 2), (2, 1), (1, 1))
    ]
    assert all(1100 <= row.size < 3000 for row in found)


# -- conditions -------------------------------------------------------------------------------------------------------


@clause
def a_head_moves_from_where_it_stands_only(on: Subject) -> None:
    """A batch that expects another head, or none, or another number of the namespace, is refused; nothing of it is there."""
    writer = Writer(on.storage(), on.thread())
    writer.commit()
    writer.commit(ns="child", number=1)
    for head in (None, 7):
        rows: list[Row | None] = [Row(9, stamped(new_checkpoint_id(), 9), head, None, b"no"), None]
        for row in rows:
            batch = writer.batch(logs=b"no", items=[(0, 5, b"no")], kept=[Kept(1, "no", b"no")], row=row)
            batch.head = head
            writer.refused(batch)
    writer.refused(writer.batch("child", 2, logs=b"no", row=writer.row(ns="child")))


@clause
def only_the_epochs_owner_writes(on: Subject) -> None:
    """Whoever claims raises the epoch to the one it names; nothing is written under an older one, nor a lease, nor pruned."""
    old = Writer(on.storage(), on.thread())
    old.commit(items=[(0, 0, b"a")])
    new = Writer.of(on.storage(), on.thread())
    claim = new.batch(kept=[Kept(1, "new", b"")])
    new.send(claim)
    assert new.storage.load(new.thread, "", None).epoch == claim.claim > old.epoch
    lease = Lease(b"old", "somewhere", None, 30.0)
    batches: list[dict[str, Any]] = [{"logs": b"", "row": old.row()}, {"kept": [Kept(1, "t", b"")]}, {"lease": lease}]
    for more in batches:
        old.refused(old.batch(**more))
        again = Writer(old.storage, old.thread, old.epoch, False, old.seq, old.heads)
        again.refused(again.batch(**more))
    before = everything(old.storage, old.thread)
    try:
        old.storage.prune(Pruning(old.thread, old.epoch, ranges=[(0, 0, 1)]))
    except ThreadConflict:
        assert everything(old.storage, old.thread) == before
    else:
        raise AssertionError("something was pruned under an old epoch")
    new.commit()


@clause
def of_two_claims_one_wins(on: Subject) -> None:
    """Of many that claim a thread at the same moment, new or not, exactly one is not refused."""
    for _ in range(2):
        writers = [Writer.of(on.storage(), on.thread()) for _ in range(6)]

        def claim(writer: Writer) -> bool:
            try:
                writer.commit(items=[(0, writer.seq, b"x")])
            except ThreadConflict:
                return False
            return True

        with ThreadPoolExecutor(6) as pool:
            assert sum(pool.map(claim, writers)) == 1


@clause
def a_number_is_never_used_twice(on: Subject) -> None:
    """An item and a checkpoint's number that are taken are never written over: such a batch is refused."""
    writer = Writer(on.storage(), on.thread())
    row = writer.commit(items=[(0, 0, b"first")])
    taken = Row(row.seq, stamped(new_checkpoint_id(), row.seq), row.seq, None, b"other")
    writer.refused(writer.batch(logs=b"", items=[(0, 1, b"new"), (0, 0, b"second")], row=writer.row()))
    writer.refused(writer.batch(logs=b"", row=taken))
    assert [bytes(item) for item in writer.storage.items(writer.thread, [(0, 0, 9)])] == [b"first"]


@clause
def a_refused_writer_may_load_and_go_on(on: Subject) -> None:
    """What a refused batch left behind, if anything, is in nobody's way."""
    one, two = (Writer.of(on.storage(), on.thread()) for _ in range(2))
    one.commit(b"one", items=[(0, 0, b"one")])
    two.refused(two.batch(logs=b"", items=[(0, 0, b"two"), (0, 1, b"two")], row=two.row(b"two")))
    again = Writer.of(on.storage(), on.thread())
    again.commit(b"again", items=[(0, 1, b"again")])
    assert [bytes(item) for item in on.storage().items(one.thread, [(0, 0, 9)])] == [b"one", b"again"]
    assert [found.row and bytes(found.row.body) for found in on.storage().scan(one.thread, "", None, 9)] == [b"again", b"one"]


@clause
def graphs_side_by_side_write_at_once(on: Subject) -> None:
    """One run may write to several namespaces of its thread from several threads at the same moment; all of it is kept."""
    writer = Writer(on.storage(), on.thread())
    writer.commit()
    storage = on.storage()

    def write(number: int) -> None:
        ns, head = f"child {number}", None
        for step in range(5):
            seq = number * 10 + step
            row = Row(seq, stamped(new_checkpoint_id(), seq), head, None, b"%d" % step)
            items = [(number << 16, step, b"%d" % step)]
            storage.commit(Batch(writer.thread, ns, number, head, writer.epoch, logs=b"", items=items, row=row))
            storage.commit(Batch(writer.thread, "", 0, None, writer.epoch, kept=[Kept(1, f"{number} {step}", b"")]))
            head = seq

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(write, range(1, 6)))
    for number in range(1, 6):
        rows = [found.row and found.row.seq for found in storage.scan(writer.thread, f"child {number}", None, 9)]
        assert rows == [number * 10 + step for step in reversed(range(5))]
        assert len(storage.items(writer.thread, [(number << 16, 0, 9)])) == 5
    found = storage.load(writer.thread, "", None)
    assert (found.seq, found.spaces, len(found.kept)) == (54, 6, 25)
