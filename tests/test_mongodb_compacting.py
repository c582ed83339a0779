"""A thread in MongoDB is compacted as it grows: nobody can tell but by what it takes, whoever dies or sleeps meanwhile."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from bson import encode
from support.dying import Dying, Pausing
from support.mongo_old import THREAD, TOLD, graph_of, put, told
from support.mongo_server import bson_of
from support.mongo_tale import Tale
from support.mongo_trouble import FIRST, Make, begun, bundles, crashes, documents, everything, row_of
from support.sample_graphs import SAMPLES

from clew.checkpoint.memory import MemoryStorage
from clew.checkpoint.mongodb import MongoDBSaver, compaction
from clew.checkpoint.mongodb.documents import FULL, ITEMS, ROWS, SPACES
from clew.checkpoint.mongodb.storage import MongoStorage
from clew.checkpoint.storage import Batch, Kept, Lease, Pruning, Storage
from clew.errors import ThreadConflict
from clew.ids import new_epoch
from clew.testing import crash_everywhere
from clew.testing.crash import Crash
from clew.types import Command

pytestmark = [pytest.mark.slow, pytest.mark.server]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread is compacted whenever it is given back, into bundles that hold little."""
    monkeypatch.setattr(compaction, "MOST", 1)
    for kind, size in {ITEMS: 400, ROWS: 600, SPACES: 200}.items():
        monkeypatch.setitem(FULL, kind, size)


# -- as it was --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.usefixtures("eager")
def test_whatever_is_done_to_it_reads_as_in_memory(seed: int, mongodb_saver: Make) -> None:
    memory, one, other = MemoryStorage(), mongodb_saver().rows, mongodb_saver().rows
    tale = Tale(seed, lambda: (memory, tale.chance.choice((one, other))))
    most = 0
    for step in range(30):
        tale.tell()
        if step % 10 == 9:
            assert tale.read(other, step) == tale.read(memory, step)
        most = max(most, bundles(one))
    assert most > 10


@pytest.mark.parametrize("name", ["memory", "deep_questions"])
@pytest.mark.usefixtures("eager")
def test_a_run_may_crash_at_any_call(name: str, mongodb_saver: Make) -> None:
    sample = SAMPLES[name]

    def storage() -> Storage:
        rows = mongodb_saver().rows
        rows.drop("crash")
        return rows

    assert crash_everywhere(sample.build, *sample.given, storage=storage, every=3) >= 6


def test_threads_of_the_format_before_are_read_and_go_on(eager: None, mongodb_saver: Make) -> None:
    with mongodb_saver() as saver:
        put(saver)
        assert told(saver) == TOLD
        saver.rows.prune(Pruning("old", saver.rows.load("old", "", None).epoch))
        assert told(saver) == TOLD
        graph = graph_of(saver)
        graph.invoke(Command(resume="the last answer"), THREAD)
        graph.invoke({"log": ["one more"]}, THREAD)
        ended = graph.invoke(Command(resume="yes"), THREAD)
        assert ended["log"][-4:] == ["before the last: the last answer", "one more", "before one more", "before one more: yes"]


# -- whoever dies, or sleeps ------------------------------------------------------------------------------------------

NEXT = row_of(3, parent=2)
AFTER = row_of(4, parent=3)


def gives_back(storage: Storage, epoch: int) -> None:
    batch = Batch("t", "", 0, 2, epoch, 0, b"l3", [(0, 10, b"ten")], [Kept(1, "task", b"again")], NEXT, release=True)
    storage.commit(batch)


def gives_much_back(storage: Storage, epoch: int) -> None:
    items = [(0, 10 + n, bytes(1 << 20)) for n in range(3)]
    storage.commit(Batch("t", "", 0, 2, epoch, 0, b"l3", items, [], NEXT, release=True))


def gives_nothing_back(storage: Storage, epoch: int) -> None:
    storage.commit(Batch("t", "", 0, None, epoch, release=True))


GIVES = pytest.mark.parametrize("gives", [gives_back, gives_much_back, gives_nothing_back])


def in_memory(*acts: Callable[[Storage, int], None]) -> Any:
    """What there is to be read after all of these."""
    memory = MemoryStorage()
    epoch = begun(memory)
    for act in acts:
        act(memory, epoch)
    return everything(memory)[1:]  # epochs are never the same


def comes_after(storage: Storage, epoch: int) -> None:
    """Another run takes the thread over and gives it back, by which it is compacted."""
    found = storage.load("t", "", None)
    claim = new_epoch(found.epoch)
    storage.commit(Batch("t", "", 0, None, found.epoch, claim, lease=Lease(b"next", "owner", None, 30.0)))
    row = AFTER._replace(parent=found.head)
    storage.commit(Batch("t", "", 0, found.head, claim, 0, b"l4", [(0, 20, b"twenty")], [], row, release=True))


def is_clean(storage: MongoStorage) -> bool:
    """Whether nothing is there but one commit, and the bundles that it names."""
    view = storage._view("t")  # pyright: ignore[reportPrivateUsage]: what is named stands nowhere else
    assert view is not None
    return bundles(storage) == len(view.newest.bundles) == documents(storage, {}) - 1


@GIVES
@pytest.mark.usefixtures("eager")
def test_who_dies_while_compacting_has_done_all_of_it_or_nothing(gives: Any, mongodb_saver: Make) -> None:
    ends: set[bool] = set()
    for before, storage, epoch in crashes(mongodb_saver, gives):
        found = everything(storage)
        assert found[1:] in (before[1:], in_memory(gives)), "one or the other"
        ends.add(found == before)
        acts = [comes_after] if found == before else [gives, comes_after]
        if found != before:
            with pytest.raises(ThreadConflict):
                gives(storage, epoch)
        comes_after(storage, epoch)
        assert everything(storage)[1:] == in_memory(*acts)
        assert is_clean(storage), "what the dead has left goes with the next"
    assert ends == ({True} if gives is gives_nothing_back else {True, False})


@GIVES
@pytest.mark.parametrize("drops", [False, True])
@pytest.mark.usefixtures("eager")
def test_who_compacts_may_sleep_at_any_operation(gives: Any, drops: bool, mongodb_saver: Make) -> None:
    """While another takes the thread over and compacts it as well, or deletes it."""
    ends: set[bool] = set()
    at = 0
    while True:
        at += 1
        with mongodb_saver() as sleeper, mongodb_saver() as other:
            epoch, heads = begun(other.rows), list[int | None]()

            def meanwhile(other: MongoDBSaver = other, heads: list[int | None] = heads) -> None:
                heads.append(other.rows.load("t", "", None).head)
                if drops:
                    other.rows.drop("t")
                else:
                    comes_after(other.rows, 0)

            asleep = Pausing(at, meanwhile)
            collection = sleeper.rows.connected.collection
            sleeper.rows.connected.collection = lambda name, ask=collection, asleep=asleep: asleep.before(ask(name))
            try:
                gives(sleeper.rows, epoch)
            except ThreadConflict:
                assert heads == [2] or (heads and drops), "nobody else was there"
            else:
                assert heads in ([], [3], [2] if gives is gives_nothing_back else [])
            if not heads:
                break
            ends.add(heads == [3])
            if drops:
                assert everything(other.rows)[1:5] == (0, None, b"", [])
                other.rows.drop("another")
                assert documents(other.rows, {}) == 0, "nor is anything left"
            else:
                assert everything(other.rows)[1:] == in_memory(*[gives] * (heads == [3]), comes_after)
                epoch = other.rows.load("t", "", None).epoch
                other.rows.prune(Pruning("t", epoch))
                assert everything(other.rows)[1:] == in_memory(*[gives] * (heads == [3]), comes_after)
                assert is_clean(other.rows)
                other.rows.drop("t")
    assert at > 10, "it sleeps at every operation in turn"
    assert ends == ({False} if gives is gives_nothing_back else {True, False})


@pytest.mark.usefixtures("eager")
def test_who_writes_much_may_sleep_while_others_compact(mongodb_saver: Make) -> None:
    """What it has written for a commit that never came is gone, and it is told."""
    items = [(0, 10 + n, bytes(1 << 20)) for n in range(3)]
    for at in range(1, 99):
        with mongodb_saver() as sleeper, mongodb_saver() as other:
            epoch, heads = begun(other.rows), list[int | None]()

            def meanwhile(other: MongoDBSaver = other, heads: list[int | None] = heads) -> None:
                heads.append(other.rows.load("t", "", None).head)
                for _ in range(2):
                    found = other.rows.load("t", "", None)
                    row = row_of(found.seq + 1, parent=found.head)
                    other.rows.commit(Batch("t", "", 0, found.head, found.epoch, new_epoch(found.epoch), b"l", row=row))

            asleep = Pausing(at, meanwhile)
            collection = sleeper.rows.connected.collection
            sleeper.rows.connected.collection = lambda name, ask=collection, asleep=asleep: asleep.before(ask(name))
            try:
                sleeper.rows.commit(Batch("t", "", 0, 2, epoch, 0, b"l3", items, [], NEXT))
            except ThreadConflict:
                assert heads == [2]
            found = other.rows.load("t", "", None)
            assert found.head == (3 if heads in ([], [3]) else 2) + (2 if heads else 0)
            assert len(other.rows.items("t", [(0, 0, 99)])) == (8 if heads in ([], [3]) else 5)
            other.rows.prune(Pruning("t", found.epoch))
            assert is_clean(other.rows)
            other.rows.drop("t")
            if not heads:
                break
    else:
        raise AssertionError("it never came to its end")


READS: dict[str, Callable[[Storage], Any]] = {
    "load": lambda storage: storage.load("t", "", None).row,
    "load one": lambda storage: storage.load("t", "", FIRST.id),
    "scan": lambda storage: [(one.row, one.next, one.kept) for one in storage.scan("t", "", None, 9)],
    "items": lambda storage: storage.items("t", [(0, 0, 99)]),
    "walk": lambda storage: storage.walk("t", (-1, -1), 99),
    "spaces": lambda storage: storage.spaces("t"),
    "weigh": lambda storage: storage.weigh("t"),
}


class Halting(Dying):
    """Deletes all that is void but the first of it, and dies: in which order a server deletes is its own business."""

    def call(self, operation: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if operation.__name__ == "delete_many" and "ev" in args[0]:
            collection = operation.__self__  # pyright: ignore[reportFunctionMemberAccess]: it is a method of one
            _, *void = sorted(one["_id"] for one in collection.find(args[0], {"_id": 1}))
            collection.delete_many({"_id": {"$in": void}})
            raise Crash
        return operation(*args, **options)


@pytest.mark.parametrize("name", list(READS))
@pytest.mark.parametrize("halts", [False, True])
@pytest.mark.usefixtures("eager")
def test_who_reads_may_sleep_at_any_operation(name: str, halts: bool, mongodb_saver: Make) -> None:
    """While the thread is compacted twice: what it finds was there before, or is there then."""

    def read(storage: Storage) -> Any:
        found = READS[name](storage)
        return (found.row, found.base, found.parent_id, found.next, found.kept) if name == "load one" else found

    at = 0
    while True:
        at += 1
        with mongodb_saver() as sleeper, mongodb_saver() as other:
            epoch = begun(other.rows)
            if not halts:
                gives_nothing_back(other.rows, epoch)
            found = [read(other.rows)]

            def meanwhile(other: MongoDBSaver = other, found: list[Any] = found, epoch: int = epoch) -> None:
                if not halts:
                    gives_back(other.rows, epoch)
                    found.append(read(other.rows))
                halting, ask = Halting(None, done=False), other.rows.connected.collection
                if halts:
                    other.rows.connected.collection = lambda name: halting.before(ask(name))
                with pytest.raises(Crash) if halts else nullcontext():
                    comes_after(other.rows, epoch)
                other.rows.connected.collection = ask
                found.append(read(other.rows))

            asleep = Pausing(at, meanwhile)
            collection = sleeper.rows.connected.collection
            sleeper.rows.connected.collection = lambda name, ask=collection, asleep=asleep: asleep.before(ask(name))
            assert read(sleeper.rows) in found
            other.rows.drop("t")
            if len(found) == 1:
                break
    assert at > 3


# -- what it takes ----------------------------------------------------------------------------------------------------


class Weighing(Dying):
    """Adds up what is inserted, and how many operations there are."""

    def __init__(self) -> None:
        super().__init__(None, done=False)
        self.written = 0

    def call(self, operation: Callable[..., Any], *args: Any, **options: Any) -> Any:
        self.written += len(encode(args[0])) if operation.__name__ == "insert_one" else 0
        return super().call(operation, *args, **options)


def grows(storage: Storage, turns: int) -> None:
    """One conversation, of turns with two commits each: that of the graph, and that of a graph within, which is another each
    time."""
    epoch, head, seq = 0, None, 0
    for turn in range(turns):
        claim, lease = new_epoch(epoch), Lease(b"run", "owner", None, 30.0)
        row = row_of(seq := seq + 1, bytes(60), parent=head)
        storage.commit(Batch("t", "", 0, head, epoch, claim, b"logs", [(0, turn, bytes(500))], [], row, lease=lease))
        within, epoch, head = row_of(seq := seq + 1, bytes(60)), claim, row.seq
        storage.commit(Batch("t", f"within:{turn}", turn + 1, None, epoch, 0, b"logs", [], [], within, release=True))


def test_each_byte_is_written_some_times_however_long_the_thread(mongodb_saver: Make) -> None:
    with mongodb_saver() as saver:
        collection = saver.rows.connected.collection
        weighing = Weighing()
        saver.rows.connected.collection = lambda name: weighing.before(collection(name))
        asked: list[float] = []
        for turns in (300, 600):
            weighing.written = weighing.calls = 0
            grows(saver.rows, turns)
            asked.append(weighing.calls / turns)
            kept = bson_of(collection("clew_commits"))
            assert kept.documents < 300, "most of what was committed stands together"
            assert kept.bson + kept.keys < 1.3 * 500 * turns
            assert weighing.written < 3 * (kept.bson + 250 * turns), "of which a byte is written three times, or twice"
            view = saver.rows._view("t")  # pyright: ignore[reportPrivateUsage]: what is named stands nowhere else
            assert view is not None
            assert view.base is not None
            assert len(view.base.bundles) < 5 + turns / 100
            saver.rows.drop("t")
        assert asked[1] < 1.1 * asked[0]
