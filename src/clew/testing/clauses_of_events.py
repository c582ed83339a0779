"""What a storage keeps to with the event logs of runs: tried on rows, without a graph."""

from collections.abc import Callable

from clew.checkpoint.storage import Batch, Events, EventsFound, Group, Kept, Lease, Row, Storage
from clew.errors import ThreadConflict
from clew.ids import new_checkpoint_id, stamped
from clew.testing.savers import Subject, clause

HOUR = 3600.0
ODD = "run \u00e9\u4e2d/:*?[{%s}]"
Raises = Callable[[], object]


def begun(storage: Storage, thread: str, events: Events | None = None, *, lease: Lease | None = None) -> int:
    """Makes a thread with one checkpoint; its epoch."""
    row = Row(1, stamped(new_checkpoint_id(), 1), None, None, b"body")
    storage.commit(Batch(thread, "", 0, None, 0, claim=1000, logs=b"", row=row, events=events, lease=lease))
    return 1000


def adds(first: int, *bodies: bytes, run: str = "r", floor: int = 1, seconds: float = HOUR, ended: bool = False) -> Events:
    return Events(run, Group(first, len(bodies), b"|".join(bodies)), floor, seconds, ended)


def tell(storage: Storage, thread: str, epoch: int, events: Events) -> None:
    storage.commit(Batch(thread, "", 0, None, epoch, events=events))


def found(storage: Storage, thread: str, run: str | None = "r", after: int = 0, limit: int = 100) -> EventsFound:
    known = storage.events(thread, run, after, limit)
    assert known is not None, f"there is no log of run {run!r}"
    return known


def refused(call: Raises) -> bool:
    try:
        call()
    except ThreadConflict:
        return True
    return False


@clause
def events_come_back_in_order_from_any_number_on(on: Subject) -> None:
    """Groups of events come back as they were given, in order, from the one that has the number asked for; `limit` at most."""
    storage, thread = on.storage(), on.thread()
    epoch = begun(storage, thread, adds(1, b"a"))
    tell(storage, thread, epoch, adds(2, b"b", b"", b"\x00\xff"))
    tell(storage, thread, epoch, adds(5, b"e"))
    groups = [Group(1, 1, b"a"), Group(2, 3, b"b||\x00\xff"), Group(5, 1, b"e")]
    other = on.storage()
    assert found(other, thread).groups == groups
    assert [found(other, thread, after=after).groups for after in range(1, 6)] == [groups[1:]] * 3 + [groups[2:], []]
    assert found(other, thread, limit=2).groups == groups[:2]
    assert found(other, thread, limit=0).groups == []
    log = found(other, thread)
    assert (log.run, log.last, log.floor, log.ended, log.latest, log.epoch) == ("r", 5, 1, False, True, epoch)


@clause
def many_groups_are_read_by_pages(on: Subject) -> None:
    """A log of some hundred groups is read page by page, in the order of the numbers."""
    storage, thread = on.storage(), on.thread()
    epoch = begun(storage, thread)
    for number in range(1, 131):
        tell(storage, thread, epoch, adds(number, str(number).encode()))
    read: list[bytes] = []
    while groups := found(storage, thread, after=len(read), limit=50).groups:
        read += [group.body for group in groups]
    assert read == [str(number).encode() for number in range(1, 131)]


@clause
def events_are_written_with_their_batch_or_not_at_all(on: Subject) -> None:
    """A batch that is refused adds no events, and one that is taken adds them with all else."""
    storage, thread = on.storage(), on.thread()
    epoch = begun(storage, thread)
    kept = [Kept(1, "t", b"outcome")]
    assert refused(lambda: storage.commit(Batch(thread, "", 0, None, epoch - 1, kept=kept, events=adds(1, b"a"))))
    assert storage.events(thread, "r", 0, 9) is None
    row = Row(2, stamped(new_checkpoint_id(), 2), 1, None, b"")
    late = Batch(thread, "", 0, 77, epoch, logs=b"", row=row, events=adds(1, b"a"))
    assert refused(lambda: storage.commit(late)), "its head is another"
    assert storage.events(thread, "r", 0, 9) is None
    storage.commit(Batch(thread, "", 0, None, epoch, kept=kept, events=adds(1, b"a")))
    assert found(storage, thread).last == 1
    assert storage.load(thread, "", None).kept == kept


@clause
def whoever_lost_the_thread_tells_nothing(on: Subject) -> None:
    """Once another run has claimed the thread, the one before adds no event any more."""
    storage, thread = on.storage(), on.thread()
    epoch = begun(storage, thread, adds(1, b"a"))
    on.storage().commit(Batch(thread, "", 0, None, epoch, claim=epoch + 1))
    assert refused(lambda: tell(storage, thread, epoch, adds(2, b"b")))
    tell(storage, thread, epoch + 1, adds(2, b"c"))
    log = found(storage, thread)
    assert ([group.body for group in log.groups], log.epoch) == ([b"a", b"c"], epoch + 1)


@clause
def events_that_are_told_again_are_there_once(on: Subject) -> None:
    """A batch that is made again after a lost answer changes nothing; a group with more events takes the place of one that
    begins as it does."""
    storage, thread = on.storage(), on.thread()
    epoch = begun(storage, thread)
    for _ in range(2):
        tell(storage, thread, epoch, adds(1, b"a"))
    tell(storage, thread, epoch, adds(1, b"a", b"b"))
    log = found(storage, thread)
    assert (log.groups, log.last) == ([Group(1, 2, b"a|b")], 2)


@clause
def events_below_the_floor_are_dropped(on: Subject) -> None:
    """Groups that end below the floor go, those that reach above it stay; the floor never sinks."""
    storage, thread = on.storage(), on.thread()
    epoch = begun(storage, thread, adds(1, b"a", b"b"))
    tell(storage, thread, epoch, adds(3, b"c", b"d"))
    tell(storage, thread, epoch, adds(5, b"e", floor=4))
    assert [group.first for group in found(storage, thread).groups] == [3, 5]
    tell(storage, thread, epoch, adds(6, b"f", floor=1))
    log = found(storage, thread)
    assert (log.floor, log.last, [group.first for group in log.groups]) == (4, 6, [3, 5, 6])


@clause
def a_thread_has_a_log_for_each_run(on: Subject) -> None:
    """Logs are told apart by their runs, whatever those are called; the newest is found without a name."""
    storage, thread = on.storage(), on.thread()
    epoch = begun(storage, thread, adds(1, b"a", run=ODD))
    assert storage.events(thread, "r", 0, 9) is None
    assert storage.events(on.thread("other"), ODD, 0, 9) is None
    tell(storage, thread, epoch, adds(1, b"b", run="r", ended=True))
    newest, older = found(storage, thread, None), found(storage, thread, ODD)
    assert (newest.run, newest.latest, newest.ended) == ("r", True, True)
    assert (older.run, older.latest, older.ended, older.groups) == (ODD, False, False, [Group(1, 1, b"a")])
    tell(storage, thread, epoch, adds(2, b"c", run=ODD))
    assert found(storage, thread, None).run == "r", "the newest is the one that began last"


@clause
def a_log_expires_once_its_run_has_ended(on: Subject) -> None:
    """After its time a log is gone, if it has ended or nobody has the thread; `expire` deletes it."""
    storage, thread = on.storage(), on.thread()
    epoch = begun(storage, thread, adds(1, b"a", seconds=0.0), lease=Lease(b"run", "somewhere 1 1", None, HOUR))
    log = found(storage, thread)
    assert log.lease is not None
    assert log.lease.run == b"run", "somebody has the thread, so that it is not over"
    storage.commit(Batch(thread, "", 0, None, epoch, release=True))
    assert storage.events(thread, "r", 0, 9) is None
    tell(storage, thread, epoch, adds(1, b"a", run="living"))
    tell(storage, thread, epoch, adds(1, b"a", run="over", seconds=0.0, ended=True))
    while storage.expire(100) == 100:
        pass
    assert storage.events(thread, "over", 0, 9) is None
    assert found(storage, thread, "living").last == 1
    assert storage.weigh(thread).events[0] in (1, 2, 3), "those that a store deletes by itself may be there a while"


@clause
def a_log_goes_with_its_thread(on: Subject) -> None:
    """Deleting a thread deletes its logs, and one of the same name has none of them; pruning leaves them."""
    storage, thread = on.storage(), on.thread()
    begun(storage, thread, adds(1, b"abc"))
    assert storage.weigh(thread).events[0] == 1
    assert storage.weigh(thread).events[1] >= 3
    storage.drop(thread)
    assert storage.events(thread, "r", 0, 9) is None
    begun(storage, thread)
    assert storage.events(thread, None, 0, 9) is None
    assert storage.weigh(thread).events == (0, 0)
