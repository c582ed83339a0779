"""What a storage is held to where threads are waited for, weighed, pruned, deleted and large. See `clew.testing.savers`."""

import os
from collections.abc import Sequence
from typing import Final

from clew.checkpoint.storage import Found, Kept, Lease, Pruning, Row, Space, Storage, Weight
from clew.errors import ThreadConflict
from clew.ids import new_checkpoint_id, stamped
from clew.testing.clauses_of_rows import Writer, everything, outcomes, seen
from clew.testing.savers import Subject, clause, heavy

MEGABYTE: Final = 1 << 20
ONE, TWO, THREE = b"run-0001", b"run-0002", b"run-0003"


def lease(run: bytes = ONE, seconds: float = 30.0, base: bytes | None = None) -> Lease:
    return Lease(run, "a machine 7 12345", base, seconds)


def found_lease(storage: Storage, thread: str) -> Lease | None:
    found = storage.load(thread, "", None).lease
    return found and Lease(bytes(found.run), found.owner, found.base and bytes(found.base), found.seconds)


# -- leases and queues ------------------------------------------------------------------------------------------------


@clause
def a_lease_is_taken_renewed_and_given_back(on: Subject) -> None:
    """A lease comes with a claim, is seen by others with the seconds left, renewed alone, and given back with a commit."""
    writer, base = Writer(on.storage(), on.thread()), new_checkpoint_id()
    writer.commit(lease=lease(base=base))
    for seconds in (30.0, 500.0):
        writer.send(writer.batch(lease=lease(seconds=seconds, base=base)))
        found = found_lease(on.storage(), writer.thread)
        assert found is not None
        assert (found.run, found.owner, found.base) == (ONE, "a machine 7 12345", base)
        assert seconds - 25 < found.seconds <= seconds
    writer.commit()
    assert found_lease(on.storage(), writer.thread) is not None, "a commit that says nothing of the lease leaves it"
    writer.commit(release=True)
    assert found_lease(on.storage(), writer.thread) is None


@clause
def a_claim_ends_the_lease_before(on: Subject) -> None:
    """Whoever claims has the lease that it names, or none is left; the run before can no more renew its own."""
    old = Writer(on.storage(), on.thread())
    old.commit(lease=lease(ONE))
    new = Writer.of(on.storage(), on.thread())
    new.send(new.batch(lease=lease(TWO)))
    old.refused(old.batch(lease=lease(ONE)))
    found = found_lease(on.storage(), new.thread)
    assert found is not None
    assert found.run == TWO
    third = Writer.of(on.storage(), on.thread())
    third.commit()
    assert found_lease(on.storage(), new.thread) is None


@clause
def a_lease_that_has_ended_says_so(on: Subject) -> None:
    """A lease that was not renewed is still seen, with seconds below zero, by the store's clock."""
    writer = Writer(on.storage(), on.thread())
    writer.commit(lease=lease(seconds=0.001))
    for _ in range(10_000):
        found = found_lease(writer.storage, writer.thread)
        assert found is not None
        if found.seconds < 0:
            return
    raise AssertionError("it never ends")


@clause
def who_waits_stands_in_a_queue(on: Subject) -> None:
    """Those who wait for a thread take turns in the order they came, keep their place by asking again, and may leave."""
    storage, thread = on.storage(), on.thread()
    assert storage.wait(thread, ONE, 30, False), "nobody has to wait for a thread that is not there"
    Writer(storage, thread).commit()
    assert [storage.wait(thread, run, 30, False) for run in (ONE, TWO, THREE, TWO, ONE)] == [True, False, False, False, True]
    storage.leave(thread, ONE)
    storage.leave(thread, ONE)
    assert [storage.wait(thread, run, 30, False) for run in (THREE, TWO, ONE)] == [False, True, False]
    owner = Writer.of(on.storage(), thread)
    owner.send(owner.batch(lease=lease(TWO)))
    assert [storage.wait(thread, run, 30, False) for run in (ONE, THREE)] == [False, True], (
        "who takes the lease leaves the queue"
    )


@clause
def a_place_in_the_queue_ends(on: Subject) -> None:
    """Whoever does not ask again in time has lost its place to those behind."""
    storage, thread = on.storage(), on.thread()
    Writer(storage, thread).commit()
    assert storage.wait(thread, ONE, 0.001, False)
    for _ in range(10_000):
        if storage.wait(thread, TWO, 30, False):
            return
    raise AssertionError("it never ends")


@clause
def the_owner_is_asked_to_stop(on: Subject) -> None:
    """Who waits may ask the run that owns the thread to stop; each commit of that one says so, until another one claims."""
    owner, waits = Writer(on.storage(), on.thread()), on.storage()
    owner.commit(lease=lease(ONE))
    waits.wait(owner.thread, TWO, 30, False)
    assert owner.send(owner.batch(lease=lease(ONE))) is False
    waits.wait(owner.thread, TWO, 30, True)
    waits.wait(owner.thread, THREE, 30, False)
    row = owner.row()
    assert owner.send(owner.batch(logs=b"", row=row)) is True
    assert owner.send(owner.batch(kept=[Kept(row.seq, "t", b"")])) is True
    assert owner.send(owner.batch(lease=lease(ONE))) is True
    new = Writer.of(on.storage(), owner.thread)
    assert new.send(new.batch(lease=lease(TWO))) is False
    assert new.send(new.batch(logs=b"", row=new.row())) is False


# -- deleting and pruning ---------------------------------------------------------------------------------------------


@clause
def a_thread_is_deleted_whole(on: Subject) -> None:
    """Of a thread that is deleted nothing is left, and nothing of any other is touched."""
    storage = on.storage()
    gone, stays = Writer(storage, on.thread("gone")), Writer(storage, on.thread("stays"))
    for writer in (gone, stays):
        writer.commit(items=[(0, 0, b"x")], kept=[Kept(1, "t", b"")], lease=lease())
        writer.commit(ns="child", number=1, items=[(1 << 16, 0, b"x")])
    storage.wait(gone.thread, TWO, 30, True)
    before = everything(storage, stays.thread)
    storage.drop(gone.thread)
    assert storage.load(gone.thread, "", None) == Found()
    assert storage.load(gone.thread, "child", None) == Found()
    assert list(storage.items(gone.thread, [(0, 0, 9), (1 << 16, 0, 9)])) == []
    assert list(storage.walk(gone.thread, (-1, -1), 9)) == []
    assert storage.weigh(gone.thread) == Weight({}, (0, 0), (0, 0))
    assert gone.thread not in [row.thread for row in storage.threads()]
    assert everything(storage, stays.thread) == before


@clause
def who_slept_through_a_deletion_writes_nothing(on: Subject) -> None:
    """A run whose thread was deleted, and perhaps made anew, is refused, and hides nothing of the new one."""
    old = Writer(on.storage(), on.thread())
    old.commit(items=[(0, 0, b"old")])
    old.storage.drop(old.thread)
    old.refused(old.batch(logs=b"", row=old.row()))
    old.refused(old.batch(kept=[Kept(1, "t", b"")]))
    new = Writer.of(on.storage(), on.thread())
    assert new.epoch == 0
    row = new.commit(items=[(0, 0, b"new")])
    assert row.seq == 1
    old.refused(Writer(old.storage, old.thread, old.epoch, True, 1, {"": 1}).batch(logs=b"", row=old.row()))
    assert [bytes(item) for item in on.storage().items(new.thread, [(0, 0, 9)])] == [b"new"]


@clause
def namespaces_are_listed_by_number(on: Subject) -> None:
    """The namespaces of a thread are listed with number, head and logs; one without a head as well."""
    writer = Writer(on.storage(), on.thread())
    writer.commit(logs=b"root")
    writer.commit(ns="b", number=3, logs=b"three")
    writer.send(writer.batch("a", 5, logs=b"five", items=[(5 << 16, 0, b"x")]))
    found = [Space(space.ns, space.number, space.head, bytes(space.logs)) for space in on.storage().spaces(writer.thread)]
    assert found == [Space("", 0, 1, b"root"), Space("b", 3, 2, b"three"), Space("a", 5, None, b"five")]


@clause
def items_can_be_walked(on: Subject) -> None:
    """All items of a thread can be read in the order of their places, so many at a time."""
    writer = Writer(on.storage(), on.thread())
    items = [(log, n, b"%d %d" % (log, n)) for log in (0, 1, 300, 70_000 << 16) for n in range(7)]
    writer.commit(items=items[::-1])
    storage, walked, after = on.storage(), list[tuple[int, int, bytes]](), (-1, -1)
    while part := storage.walk(writer.thread, after, 5):
        assert len(part) <= 5
        walked += [(log, n, bytes(data)) for log, n, data in part]
        after = walked[-1][:2]
    assert walked == items


@clause
def a_thread_can_be_weighed(on: Subject) -> None:
    """Items are counted by their logs, checkpoints and outcomes as a whole, each with their bytes."""
    writer = Writer(on.storage(), on.thread())
    writer.commit(b"12345", items=[(0, 0, b"123"), (0, 1, b""), (9, 0, b"1")])
    writer.commit(b"1", kept=[Kept(2, "a", b"12"), Kept(2, "b", b"3")])
    found = on.storage().weigh(writer.thread)
    items = {log: (int(count), int(size)) for log, (count, size) in found.items.items()}
    assert (items, tuple(found.checkpoints), tuple(found.kept)) == ({0: (2, 3), 9: (1, 1)}, (2, 6), (2, 3))
    assert on.storage().occupies() > 0


@clause
def pruning_replaces_items(on: Subject) -> None:
    """Items may be put in place of those that are there; none is made; under another epoch nothing is done."""
    writer = Writer(on.storage(), on.thread())
    writer.commit(b"1", items=[(0, 0, b"zero"), (0, 1, b"one"), (9, 0, b"nine")])
    items = [(0, 1, b"another"), (9, 0, b"tenth"), (0, 5, b"none"), (77, 0, b"none")]
    try:
        on.storage().prune(Pruning(writer.thread, writer.epoch + 1, items=items))
    except ThreadConflict:
        pass
    else:
        raise AssertionError("items were replaced under another epoch")
    assert on.storage().items(writer.thread, [(0, 0, 2), (9, 0, 1)]) == [b"zero", b"one", b"nine"]
    on.storage().prune(Pruning(writer.thread, writer.epoch, items=items))
    assert on.storage().walk(writer.thread, (-1, -1), 9) == [(0, 0, b"zero"), (0, 1, b"another"), (9, 0, b"tenth")]


@clause
def pruning_deletes_what_is_named(on: Subject) -> None:
    """Checkpoints go with their outcomes, items by ranges, namespaces by number; rows may replace rows; the rest stays."""
    writer = Writer(on.storage(), on.thread())
    rows = [writer.commit(b"%d" % n, items=[(0, n, b"%d" % n)], kept=[Kept(n + 1, "t", b"k")]) for n in range(5)]
    writer.commit(b"child", ns="child", number=1, items=[(1 << 16, 0, b"c")])
    changed = Row(3, rows[2].id, rows[2].parent, None, b"changed")
    ranges = [(0, 0, 2), (1 << 16, 0, 99), (55, 0, 3)]
    writer.storage.prune(Pruning(writer.thread, writer.epoch, [1, 2, 6, 777], [changed], [1], ranges))
    storage = on.storage()
    assert [seen(found.row) for found in storage.scan(writer.thread, "", None, 9)] == [rows[4], rows[3], changed]
    assert storage.load(writer.thread, "", rows[0].id).row is None
    found = storage.load(writer.thread, "", rows[2].id)
    assert (seen(found.row), found.parent_id, found.base, outcomes(found)) == (changed, None, None, [(3, "t", b"k")])
    assert [bytes(data) for _, _, data in storage.walk(writer.thread, (-1, -1), 9)] == [b"2", b"3", b"4"]
    assert [space.ns for space in storage.spaces(writer.thread)] == [""]
    assert storage.weigh(writer.thread).kept == (3, 3)
    assert storage.load(writer.thread, "child", None).number is None
    after = Writer.of(on.storage(), writer.thread)
    after.seq = storage.load(writer.thread, "", None).seq
    after.commit(b"after", items=[(0, 5, b"5")])
    assert [bytes(item) for item in storage.items(writer.thread, [(0, 0, 9)])] == [b"2", b"3", b"4", b"5"]


@clause
def numbers_are_given_once(on: Subject) -> None:
    """A thread knows the highest number that a checkpoint of it ever had, though that one was pruned."""
    writer = Writer(on.storage(), on.thread())
    writer.commit()
    last = [writer.commit(b"child", ns="child", number=1) for _ in range(3)][-1]
    writer.storage.prune(Pruning(writer.thread, writer.epoch, rows=[2, 3, last.seq], spaces=[1]))
    assert on.storage().load(writer.thread, "", None).seq == last.seq


@clause
def room_is_given_back(on: Subject) -> None:
    """Giving back what deleted rows have left free loses nothing."""
    writer, other = Writer(on.storage(), on.thread()), Writer(on.storage(), on.thread("other"))
    other.commit(items=[(0, n, b"x" * 1000) for n in range(100)])
    writer.commit(items=[(0, 0, b"x")], kept=[Kept(1, "t", b"k")])
    before = everything(writer.storage, writer.thread)
    writer.storage.drop(other.thread)
    writer.storage.reclaim()
    assert everything(on.storage(), writer.thread) == before
    stamp = stamped(new_checkpoint_id(), 2)
    writer.send(writer.batch(logs=b"", row=Row(2, stamp, 1, None, b"")))


# -- many and large ---------------------------------------------------------------------------------------------------


@clause
def items_may_be_large(on: Subject) -> None:
    """An item has up to 8 MB, and comes back whole."""
    writer, large = Writer(on.storage(), on.thread()), os.urandom(8 * MEGABYTE)
    writer.commit(items=[(0, 0, large), (0, 1, b"small")])
    first, second = on.storage().items(writer.thread, [(0, 0, 2)])
    assert bytes(first) == large
    assert bytes(second) == b"small"


@heavy
def a_batch_may_be_large(on: Subject) -> None:
    """A state of 50 MB, in items of up to 8 MB, is one batch."""
    writer = Writer(on.storage(), on.thread())
    items = [(0, n, os.urandom(8 * MEGABYTE)) for n in range(6)] + [(1, 0, os.urandom(2 * MEGABYTE))]
    row = writer.commit(items=items)
    storage = on.storage()
    assert seen(storage.load(writer.thread, "", None).row) == row
    for log, n, data in items:
        assert bytes(storage.items(writer.thread, [(log, n, n + 1)])[0]) == data
    storage.drop(writer.thread)


@heavy
def threads_may_be_long(on: Subject) -> None:
    """Of ten thousand checkpoints each is found, and the newest as soon as of ten."""
    writer = Writer(on.storage(), on.thread())
    ids = [writer.commit(b"x" * 200, items=[(0, n, b"%d" % n)]).id for n in range(10_000)]
    storage = on.storage()
    assert storage.load(writer.thread, "", None).seq == 10_000
    for seq in (1, 5000, 9999):
        assert storage.load(writer.thread, "", ids[seq - 1]).row is not None
    found: Sequence[Found] = storage.scan(writer.thread, "", 5000, 50)
    assert [one.row.seq for one in found if one.row] == list(range(4999, 4949, -1))
    assert [bytes(item) for item in storage.items(writer.thread, [(0, 0, 10_000)])] == [b"%d" % n for n in range(10_000)]
    storage.drop(writer.thread)
