"""Keys change: what was sealed with an older one is sealed anew, and what was never sealed is sealed."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from support.encrypted import SECRETS, THREAD, everything, secretive, tell
from support.faces import Face
from support.graphs import chain
from support.sample_graphs import SAMPLES

from clew.checkpoint.base import Saver
from clew.checkpoint.crypt import Encryption
from clew.checkpoint.memory import MemoryStorage
from clew.checkpoint.sealed import SealedStorage
from clew.checkpoint.sqlite import SqliteSaver
from clew.checkpoint.storage import Batch, Lease, Storage
from clew.checkpoint.through import Through
from clew.errors import MissingKey, TamperedRow
from clew.runtime.drive import drive
from clew.testing.crash import Crash, crash_everywhere

pytestmark = pytest.mark.slow  # it is crashed at every call

T = TypeVar("T")
KEY, NEW = bytes(range(32)), bytes(range(1, 33))


class Crashing(Through):
    """Crashes at one call, before or after it is done; what is asked of it is sealed."""

    def __init__(self, storage: Storage, at: int = 1 << 30, *, done: bool = False) -> None:
        super().__init__(storage)
        self.calls, self.at, self.done = 0, at, done

    def call(self, verb: Callable[..., T], /, *args: Any) -> T:
        self.calls += 1
        if self.calls > self.at + self.done:
            raise Crash
        result = verb(*args)
        if self.calls > self.at:
            raise Crash
        return result


def over(storage: Any, *keys: bytes) -> Saver:
    return Saver(storage, encryption=Encryption(*keys) if keys else None)


def test_a_thread_is_sealed_anew(saver: Saver) -> None:
    rows = saver.storage
    tell(secretive(over(rows, KEY)))
    before = everything(secretive(over(rows, KEY)))
    assert over(rows, NEW, KEY).reseal() == []
    assert everything(secretive(over(rows, NEW))) == before
    with pytest.raises(MissingKey):
        everything(secretive(over(rows, KEY)))


def test_both_keys_open_before_and_while(saver: Saver, face: Face) -> None:
    rows = saver.storage
    face.invoke(chain(over(rows, KEY), "a"), {"log": ["old"]}, THREAD)
    assert face.invoke(chain(over(rows, NEW, KEY), "a"), {"log": ["new"]}, THREAD)["log"] == ["old", "a", "new", "a"]
    with pytest.raises(MissingKey):
        face.history(chain(over(rows, NEW), "a"), THREAD)
    assert over(rows, NEW, KEY).reseal("1") == []
    assert len(face.history(chain(over(rows, NEW), "a"), THREAD)) == 6


def test_a_run_goes_on_after_its_thread_was_sealed_anew(saver: Saver, face: Face) -> None:
    both = over(saver.storage, NEW, KEY)
    face.invoke(chain(over(saver.storage, KEY), "a"), {"log": ["one"]}, THREAD)
    face.invoke(chain(both, "a"), {"log": ["two"]}, THREAD)
    assert asyncio.run(both.areseal()) == []
    assert face.invoke(chain(both, "a"), {"log": ["three"]}, THREAD)["log"] == ["one", "a", "two", "a", "three", "a"]
    assert len(face.history(chain(over(saver.storage, NEW), "a"), THREAD)) == 9


def test_what_is_sealed_already_is_not_written(face: Face) -> None:
    class Writing(Through):
        written = 0

        def call(self, verb: Callable[..., T], /, *args: Any) -> T:
            self.written += verb in (self.storage.commit, self.storage.prune)
            return super().call(verb, *args)

    rows = Writing(MemoryStorage())
    tell(secretive(over(rows, KEY)))
    rows.written = 0
    assert over(rows, KEY, NEW).reseal() == []
    assert rows.written == 0
    assert over(rows, NEW, KEY).reseal() == []
    assert rows.written > 0


def test_a_thread_that_is_being_run_is_left(saver: Saver, face: Face) -> None:
    rows = saver.storage
    face.invoke(chain(over(rows, KEY), "a"), {"log": ["in"]}, THREAD)
    face.invoke(chain(over(rows, KEY), "a"), {"log": ["in"]}, {"configurable": {"thread_id": "2"}})
    epoch = rows.load("1", "", None).epoch
    rows.commit(Batch("1", "", 0, None, epoch, lease=Lease(b"another", "elsewhere 1 1", None, 60)))
    assert over(rows, NEW, KEY).reseal() == over(rows, NEW, KEY).reseal("1") == ["1"]
    face.get_state(chain(over(rows, KEY), "a"), THREAD)
    face.get_state(chain(over(rows, NEW), "a"), {"configurable": {"thread_id": "2"}})


def test_a_run_that_begins_meanwhile_takes_the_thread(face: Face) -> None:
    rows = MemoryStorage()
    face.invoke(chain(over(rows, KEY), "a"), {"log": ["in " * 50]}, THREAD)

    class Meanwhile(Through):
        """Another run comes once the thread is claimed."""

        done = False

        def spaces(self, thread: str) -> Any:
            if rows.load(thread, "", None).epoch != before and not self.done:
                self.done = True
                face.invoke(chain(over(rows, KEY), "a"), {"log": ["meanwhile"]}, THREAD)
            return super().spaces(thread)

    before = rows.load("1", "", None).epoch
    assert over(Meanwhile(rows), NEW, KEY).reseal() == ["1"]
    assert over(rows, NEW, KEY).reseal() == []
    assert face.get_state(chain(over(rows, NEW), "a"), THREAD).values["log"] == ["in " * 50, "a", "meanwhile", "a"]


def test_one_thread_that_is_refused_holds_up_no_other(saver: Saver, face: Face) -> None:
    rows = saver.storage
    face.invoke(chain(over(rows), "a"), {"log": ["plain"]}, THREAD)
    face.invoke(chain(over(rows, KEY), "a"), {"log": ["in"]}, {"configurable": {"thread_id": "2"}})
    assert over(rows, NEW, KEY).reseal() == ["1"]
    face.get_state(chain(over(rows, NEW), "a"), {"configurable": {"thread_id": "2"}})
    with pytest.raises(TamperedRow, match="plain text"):
        over(rows, NEW, KEY).reseal("1")


def test_a_crash_on_the_way_loses_nothing() -> None:
    def kept() -> MemoryStorage:
        rows = MemoryStorage()
        tell(secretive(over(rows, KEY)))
        return rows

    before = [states[:2] for states in everything(secretive(over(kept(), KEY)))]
    calls = Crashing(kept())
    over(calls, NEW, KEY).reseal("1")
    for at in range(calls.calls):
        for done in (False, True):
            rows = kept()
            with pytest.raises(Crash):
                over(Crashing(rows, at, done=done), NEW, KEY).reseal("1")
            assert [states[:2] for states in everything(secretive(over(rows, NEW, KEY)))] == before
            assert over(rows, NEW, KEY).reseal("1") == []
            assert [states[:2] for states in everything(secretive(over(rows, NEW)))] == before


def test_a_thread_in_plain_text_is_sealed_when_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "threads.db"
    with SqliteSaver(path) as saver:
        tell(secretive(saver))
        before = everything(secretive(saver))
    with SqliteSaver(path, encryption=Encryption(KEY)) as saver:
        assert saver.reseal() == ["1"]
        assert saver.reseal("1", plain=True) == []
        assert everything(secretive(saver)) == before
        saver.storage.reclaim()
    assert [secret for secret in SECRETS if secret.encode() in path.read_bytes()] == []
    with SqliteSaver(path) as saver, pytest.raises(MissingKey):
        secretive(saver).get_state(THREAD)


def test_a_crash_while_plain_text_is_sealed_is_gone_on_from() -> None:
    rows = MemoryStorage()
    tell(secretive(over(rows)))
    before = everything(secretive(over(rows)))
    calls = 0
    while True:
        try:
            over(Crashing(rows, calls, done=True), KEY).reseal("1", plain=True)
        except Crash:
            calls += 1
            continue
        break
    assert calls > 5
    assert everything(secretive(over(rows, KEY))) == before


# -- crashes of runs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [drive, asyncio.run], ids=["sync", "async"])
@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_a_crash_at_any_call_of_an_encrypted_saver_costs_nothing_that_was_kept(sample: Any, run: Any) -> None:
    def storage() -> SealedStorage:
        return SealedStorage(MemoryStorage(), Encryption(KEY))

    assert crash_everywhere(sample.build, *sample.given, storage=storage, run=run, every=3) > 1
