"""What is encrypted: nothing of it can be read without the key, and with it everything is as it was."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.encrypted import SECRETS, THREAD, everything, secretive, tell
from support.faces import Face
from support.graphs import Adding, chain, of

from clew.checkpoint.base import Saver
from clew.checkpoint.crypt import Encryption
from clew.checkpoint.memory import InMemorySaver, MemoryStorage
from clew.checkpoint.places import ItemPlace, KeptPlace, LogsPlace, RowPlace
from clew.checkpoint.sealed import SealedStorage, Seals, new_mark
from clew.checkpoint.sqlite import SqliteSaver
from clew.checkpoint.storage import Batch, Found, Kept, Pruning, Row, Storage
from clew.checkpoint.through import Through
from clew.errors import MissingKey, TamperedRow
from clew.graph.compiled import CompiledStateGraph
from clew.testing.values import same, storable_values

T = TypeVar("T")
KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


def opened(path: Path, *keys: bytes) -> SqliteSaver:
    return SqliteSaver(path, synchronous="normal", encryption=Encryption(*keys) if keys else None)


# -- what can be read -----------------------------------------------------------------------------------------------


def writes(face: Face) -> Callable[[CompiledStateGraph, Any], Any]:
    return lambda graph, config: face.invoke(graph, {"log": ["more"]}, config)


def of_file(path: Path) -> bytes:
    """The bytes of a database's files."""
    return b"".join(file.read_bytes() for file in path.parent.glob(path.name + "*"))


def of_memory(storage: Storage) -> bytes:
    assert isinstance(storage, MemoryStorage)
    return repr(storage._threads).encode()  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("size", [16, 24, 32])
def test_nothing_can_be_read_in_the_file(tmp_path: Path, size: int) -> None:
    found: list[list[str]] = []
    for name, keys in (("plain", ()), ("sealed", (KEY[:size],))):
        with opened(tmp_path / name, *keys) as saver:
            tell(secretive(saver))
            raw = of_file(tmp_path / name)  # what stands beside the file is gone once it is closed
        raw += of_file(tmp_path / name)
        found.append([secret for secret in SECRETS if secret.encode() in raw])
    assert found == [SECRETS, []]


def test_nothing_can_be_read_in_the_rows_of_memory() -> None:
    plain, sealed = MemoryStorage(), MemoryStorage()
    tell(secretive(Saver(plain)))
    tell(secretive(Saver(sealed, encryption=Encryption(KEY))))
    assert [secret for secret in SECRETS if secret.encode() in of_memory(plain)] == SECRETS
    assert [secret for secret in SECRETS if secret.encode() in of_memory(sealed)] == []


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    with opened(tmp_path / "threads.db", KEY) as saver:
        tell(secretive(saver))
        before = everything(secretive(saver))
    with opened(tmp_path / "threads.db", KEY) as saver:
        assert everything(secretive(saver)) == before


def test_the_same_value_is_never_the_same_bytes(thread: dict[str, Any]) -> None:
    storage = MemoryStorage()
    for name in ("1", "2"):
        build = of(Adding, lambda state: {})
        build(Saver(storage, encryption=Encryption(KEY))).invoke(
            {"x": ["the same" * 50]}, {"configurable": {"thread_id": name}}
        )
    items = [*storage.walk("1", (-1, -1), 9), *storage.walk("2", (-1, -1), 9)]
    assert len(items) == len({data for _, _, data in items}) == 2


def test_what_is_kept_in_memory_is_encrypted_too(face: Face, thread: dict[str, Any]) -> None:
    saver = InMemorySaver(encryption=Encryption(KEY))
    assert face.invoke(chain(saver, "a", "b"), {"log": ["written by"]}, thread)["log"] == ["written by", "a", "b"]
    storage = saver.storage
    assert isinstance(storage, SealedStorage)
    assert b"written by" not in of_memory(storage.storage)
    assert face.get_state(chain(Saver(storage), "a", "b"), thread).values["log"] == ["written by", "a", "b"]


# -- what it costs --------------------------------------------------------------------------------------------------


class Counting(Through):
    """Counts the calls of each verb."""

    def __init__(self) -> None:
        super().__init__(MemoryStorage())
        self.calls: Counter[str] = Counter()

    def call(self, verb: Callable[..., T], /, *args: Any) -> T:
        self.calls[verb.__name__] += 1
        return super().call(verb, *args)


def test_a_run_makes_no_more_calls_than_without(face: Face) -> None:
    plain, sealed = Counting(), Counting()
    for storage, encryption in ((plain, None), (sealed, Encryption(KEY))):
        saver = Saver(storage, encryption=encryption)
        for n in range(3):
            face.invoke(chain(saver, "a", "b"), {"log": ["in" * 30 * n]}, THREAD)
        face.history(chain(saver, "a", "b"), THREAD)
    assert sealed.calls == plain.calls


def test_a_new_process_asks_once_more_at_most(face: Face) -> None:
    counting = Counting()
    face.invoke(chain(Saver(counting, encryption=Encryption(KEY)), "a"), {"log": ["in"]}, THREAD)
    counting.calls.clear()
    face.history(chain(Saver(counting, encryption=Encryption(KEY)), "a"), THREAD)
    assert counting.calls["spaces"] == 1


# -- keys -----------------------------------------------------------------------------------------------------------


def test_another_key_opens_nothing(tmp_path: Path, face: Face) -> None:
    with opened(tmp_path / "threads.db", KEY) as saver:
        face.invoke(chain(saver, "a"), {"log": ["in"]}, THREAD)
    with opened(tmp_path / "threads.db", OTHER) as saver:
        with pytest.raises(MissingKey, match=r"Thread '1' is sealed with the key \w{8}, and those given are \w{8}:"):
            face.get_state(chain(saver, "a"), THREAD)
        with pytest.raises(MissingKey):
            face.invoke(chain(saver, "a"), {"log": ["more"]}, THREAD)
        assert [row.thread for row in saver.threads()] == ["1"]


def test_without_a_key_it_is_said_what_is_missing(tmp_path: Path, face: Face) -> None:
    with opened(tmp_path / "threads.db", KEY) as saver:
        face.invoke(chain(saver, "a"), {"log": ["in"]}, THREAD)
    with opened(tmp_path / "threads.db") as saver:
        for call in (face.get_state, face.history):
            with pytest.raises(MissingKey, match=r"the saver has no key: open it with `encryption=`"):
                call(chain(saver, "a"), THREAD)
        with pytest.raises(MissingKey):
            face.invoke(chain(saver, "a"), {"log": ["more"]}, THREAD)


def test_what_was_kept_in_plain_text_is_refused(tmp_path: Path, face: Face) -> None:
    with opened(tmp_path / "threads.db") as saver:
        face.invoke(chain(saver, "a"), {"log": ["in"]}, THREAD)
    with opened(tmp_path / "threads.db", KEY) as saver:
        calls: list[Any] = [face.get_state, face.history, writes(face)]
        for call in calls:
            with pytest.raises(TamperedRow, match=r"is in plain text: .*saver\.reseal\('1', plain=True\) seals it"):
                call(chain(saver, "a"), THREAD)


def test_each_thread_can_have_a_key_of_its_own(tmp_path: Path, face: Face) -> None:
    keys = {"1": KEY, "2": OTHER}
    two = {"configurable": {"thread_id": "2"}}
    with SqliteSaver(tmp_path / "threads.db", encryption=Encryption(key_for=keys.get)) as saver:
        graph = chain(saver, "a")
        for config in (THREAD, two):
            face.invoke(graph, {"log": ["in"]}, config)
        del keys["1"]  # erased: so is the thread, wherever copies of it may be
        calls: list[Any] = [face.get_state, writes(face)]
        for call in calls:
            with pytest.raises(MissingKey, match=r"'1' has no key: .* None\..* `saver\.delete_thread\('1'\)` removes it"):
                call(graph, THREAD)
        assert face.get_state(graph, two).values["log"] == ["in", "a"]
        assert {row.thread for row in saver.threads()} == {"1", "2"}
        saver.delete_thread("1")
        assert [row.thread for row in saver.threads()] == ["2"]
        with pytest.raises(MissingKey):
            face.invoke(graph, {"log": ["in"]}, THREAD)


def test_threads_may_get_keys_of_their_own_later(tmp_path: Path, face: Face) -> None:
    with opened(tmp_path / "threads.db", KEY) as saver:
        face.invoke(chain(saver, "a"), {"log": ["in"]}, THREAD)
    with SqliteSaver(tmp_path / "threads.db", encryption=Encryption(KEY, key_for=lambda thread: [OTHER])) as saver:
        assert face.get_state(chain(saver, "a"), THREAD).values["log"] == ["in", "a"]
        assert saver.reseal() == []
    with opened(tmp_path / "threads.db", OTHER) as saver:
        assert face.get_state(chain(saver, "a"), THREAD).values["log"] == ["in", "a"]


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: Encryption(), ValueError, r"no key: pass one, as in Encryption\(key\)"),
        (
            lambda: Encryption(cast("bytes", "secret")),
            TypeError,
            r"A key is bytes, got str: .*bytes\.fromhex.* a password is no key",
        ),
        (lambda: Encryption(b"secret"), ValueError, r"16, 24 or 32 bytes, got 6: make one with `secrets\.token_bytes\(32\)`"),
        (lambda: Encryption(key_for=lambda thread: b"short").ring("1"), ValueError, "got 5"),
        (lambda: Encryption.from_env("NOT_SET"), ValueError, "no NOT_SET: make a key with `python -c"),
        (lambda: InMemorySaver().reseal(), ValueError, "encrypts nothing: make it with"),
    ],
)
def test_what_is_no_key_is_said_at_once(make: Callable[[], Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        make()


def test_keys_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEW_KEY", f"{OTHER.hex()}, {KEY.hex()}")
    assert Encryption.from_env().ring("1").current == Encryption(OTHER).ring("1").current
    monkeypatch.setenv("CLEW_KEY", "not-a-key, x")
    with pytest.raises(ValueError, match=r"Key 1 in CLEW_KEY has 9 characters: expected 32, 48 or 64 hexadecimal") as said:
        Encryption.from_env()
    assert "not-a-key" not in str(said.value)


# -- seals ----------------------------------------------------------------------------------------------------------

numbers = st.integers(0, 1 << 40)
places = st.one_of(
    st.builds(ItemPlace, numbers, numbers),
    st.builds(KeptPlace, numbers, st.text()),
    st.builds(LogsPlace, st.text(), numbers, st.none() | numbers),
    st.builds(RowPlace, numbers, st.binary(min_size=16, max_size=16), st.none() | numbers, st.none() | numbers),
)


@given(st.text(), st.binary(max_size=300), st.binary(max_size=50))
def test_what_is_sealed_is_opened_where_it_was_sealed(thread: str, data: bytes, place: bytes) -> None:
    ring = Encryption(KEY).ring(thread)
    assert ring.open(ring.seal(data, place), place) == data


@given(places, places)
def test_no_two_places_are_bound_alike(one: Any, other: Any) -> None:
    assert (one.bound() == other.bound()) == (type(one) is type(other) and one == other)


@given(st.binary(max_size=100), st.data())
def test_any_flipped_bit_is_refused(data: bytes, draw: st.DataObject) -> None:
    seals = Seals(Encryption(KEY, OTHER).ring("1"), new_mark())
    log, number, sealed = seals.seal_item((3, 5, data))
    bit = draw.draw(st.integers(0, 8 * len(sealed) - 1))
    flipped = bytes(byte ^ ((1 << bit % 8) if i == bit // 8 else 0) for i, byte in enumerate(sealed))
    with pytest.raises((TamperedRow, MissingKey)):
        seals.open_item((log, number, flipped))
    for cut in (sealed[:-1], sealed[: draw.draw(st.integers(0, len(sealed) - 1))], sealed + b"\0"):
        with pytest.raises((TamperedRow, MissingKey)):
            seals.open_item((log, number, cut))
    assert seals.open_item((log, number, sealed)) == (3, 5, data)


def test_neither_thread_nor_mark_nor_place_may_be_another() -> None:
    ring, mark = Encryption(KEY).ring("1"), new_mark()
    item = Seals(ring, mark).seal_item((3, 5, b"data"))
    assert Seals(ring, mark).open_item(item) == (3, 5, b"data")
    for seals, moved in [
        (Seals(Encryption(KEY).ring("2"), mark), item),
        (Seals(ring, new_mark()), item),
        (Seals(ring, mark), (3, 6, item[2])),
        (Seals(ring, mark), (4, 5, item[2])),
    ]:
        with pytest.raises(TamperedRow, match=re.escape(f"item {moved[1]} of log {moved[0]} is not what was sealed there")):
            seals.open_item(moved)


# -- the verbs ------------------------------------------------------------------------------------------------------


@pytest.fixture
def sealed(saver: Saver) -> SealedStorage:
    """A storage that seals, with a thread of two checkpoints, an outcome and items."""
    storage = SealedStorage(saver.storage, Encryption(KEY))
    row = Row(1, bytes(12) + b"\0\0\0\1", None, None, b"first")
    storage.commit(Batch("1", "", 0, None, 0, 7, b"logs", [(0, 0, b"zero"), (0, 1, b"one")], [], row))
    second = Row(3, bytes(12) + b"\0\0\0\3", 1, 1, b"third")
    older = [Row(2, bytes(12) + b"\0\0\0\2", 1, None, b"second")]
    storage.commit(Batch("1", "", 0, 1, 7, 0, b"more", [(0, 2, b"two")], [Kept(3, "a", b"outcome")], second, older))
    storage.commit(Batch("1", "child", 1, None, 7, 0, b"its own", [(1 << 16, 0, b"inner")]))
    return storage


def test_every_verb_gives_what_was_given(sealed: SealedStorage) -> None:
    found = sealed.load("1", "", None)
    assert (found.logs, found.row and found.row.body, found.base and found.base.body) == (b"more", b"third", b"first")
    assert list(found.kept) == [Kept(3, "a", b"outcome")]
    assert [one.row.body for one in sealed.scan("1", "", None, 9) if one.row] == [b"third", b"second", b"first"]
    assert [(space.ns, space.logs) for space in sealed.spaces("1")] == [("", b"more"), ("child", b"its own")]
    assert sealed.items("1", [(0, 1, 3), (1 << 16, 0, 1), (0, 0, 1)]) == [b"one", b"two", b"inner", b"zero"]
    assert sealed.items("1", [(0, 2, 5), (0, 1, 2)]) == [b"two", b"one"]
    assert sealed.items("none", [(0, 0, 1)]) == sealed.walk("none", (-1, -1), 9) == sealed.spaces("none") == []
    assert [data for _, _, data in sealed.walk("1", (0, 0), 9)] == [b"one", b"two", b"inner"]


def test_what_is_pruned_and_changed_is_sealed_where_it_stands(sealed: SealedStorage) -> None:
    whole = Row(3, bytes(12) + b"\0\0\0\3", 2, None, b"whole")
    sealed.prune(Pruning("1", 7, rows=[1], changed=[whole], ranges=[(0, 0, 1)], items=[(0, 1, b"another"), (0, 9, b"none")]))
    found = SealedStorage(sealed.storage, Encryption(KEY)).load("1", "", None)
    assert (found.row, found.base) == (whole, None)
    assert sealed.items("1", [(0, 0, 10)]) == [b"another", b"two"]


def test_a_thread_that_others_deleted_and_made_anew_is_read_as_it_is(saver: Saver, face: Face, thread: dict[str, Any]) -> None:
    mine, theirs = (Saver(saver.storage, encryption=Encryption(KEY)) for _ in range(2))
    build = of(Adding, lambda state: {"x": ["more " * 50]})
    for n in range(3):
        face.invoke(build(mine), {"x": [f"{n} of mine " * 50]}, thread)
        theirs.delete_thread("1")
        face.invoke(build(theirs), {"x": [f"{n} of theirs " * 50]}, thread)
        assert face.get_state(build(mine), thread).values["x"] == [f"{n} of theirs " * 50, "more " * 50]
        assert len(face.history(build(mine), thread)) == 3


def test_what_is_read_while_somebody_writes_is_read_once_more(sealed: SealedStorage) -> None:
    class Halfway(Through):
        """Gives the row once as it was, and what it adds to as it is by now."""

        done = False

        def load(self, thread: str, ns: str, checkpoint_id: bytes | None) -> Found:
            found = super().load(thread, ns, checkpoint_id)
            if not self.done:
                self.done, found.base = True, None
            return found

    found = SealedStorage(Halfway(sealed.storage), Encryption(KEY)).load("1", "", None)
    assert found.base is not None
    assert found.base.body == b"first"


@pytest.mark.slow
@given(storable_values())
def test_any_value_comes_back(value: Any) -> None:
    storage = MemoryStorage()
    of(Adding, lambda state: {"y": value})(Saver(storage, encryption=Encryption(KEY))).invoke({"x": []}, THREAD)
    elsewhere = of(Adding, lambda state: {})(Saver(storage, encryption=Encryption(KEY)))
    assert same(elsewhere.get_state(THREAD).values["y"], value)
