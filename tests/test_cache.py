"""Caches: the same on every backend and both faces; a courtesy, so that nothing unreadable and no dead server stops a run."""

import asyncio
import math
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.caches import KINDS, Cache, K, made

import clew
from clew.cache.base import BaseCache, Entry, FullKey, Namespace
from clew.checkpoint import usertypes
from clew.errors import CacheWarning, DatabaseError, UnstorableValue
from clew.testing.values import same, storable_values, text


class Calls:
    """The six verbs of a cache, on one face."""

    def __init__(self, cache: Cache, awaited: bool) -> None:
        self.cache, self.awaited = cache, awaited

    def get(self, keys: Any) -> dict[FullKey, Any]:
        return asyncio.run(self.cache.aget(keys)) if self.awaited else self.cache.get(keys)

    def set(self, pairs: Any) -> None:
        return asyncio.run(self.cache.aset(pairs)) if self.awaited else self.cache.set(pairs)

    def clear(self, *namespaces: Any) -> None:
        return asyncio.run(self.cache.aclear(*namespaces)) if self.awaited else self.cache.clear(*namespaces)


@pytest.fixture(params=KINDS)
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Cache]:
    """An empty cache; every behaviour is the same on all."""
    with made(request.param, request, tmp_path) as found:
        yield found


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def calls(request: pytest.FixtureRequest, cache: Cache) -> Calls:
    return Calls(cache, request.param)


# -- what every cache does ------------------------------------------------------------------------------------------


def test_what_was_set_is_there_and_nothing_else(calls: Calls) -> None:
    other, missing = (("a",), "l"), (("b",), "k")
    calls.set({K: ({"n": (1, {2})}, None), other: (None, 60)})
    assert calls.get([K, missing, other]) == {K: {"n": (1, {2})}, other: None}
    assert calls.get([]) == {}
    calls.set({})


def test_a_value_replaces_the_one_before_and_its_time(calls: Calls) -> None:
    calls.set({K: (1, 0.02)})
    calls.set({K: (2, None)})
    time.sleep(0.04)
    assert calls.get([K]) == {K: 2}


def test_what_expired_is_not_there(calls: Calls) -> None:
    calls.set({K: (1, 0.02), (("a",), "kept"): (2, 60), (("a",), "long"): (3, math.inf)})
    time.sleep(0.04)
    assert calls.get([K, (("a",), "kept"), (("a",), "long")]) == {(("a",), "kept"): 2, (("a",), "long"): 3}


def test_a_namespace_is_cleared_and_those_inside_it_stay(calls: Calls) -> None:
    spaces: list[Namespace] = [("a",), ("a", "b"), ("a,b",), ("ab",), (), ("",), ("a:",), ("*",), ("a", "")]
    keys = [(space, "k") for space in spaces]
    for gone in spaces:
        calls.set({key: (str(key), None) for key in keys})
        calls.clear([gone])
        assert calls.get(keys) == {key: str(key) for key in keys if key[0] != gone}
    calls.clear([])
    assert calls.get(keys[:-1]) == {key: str(key) for key in keys[:-1]}
    calls.clear([("a",), ("ab",)])
    assert len(calls.get(keys)) == len(spaces) - 3
    calls.clear()
    assert calls.get(keys) == {}


def test_names_that_look_alike_are_not(calls: Calls) -> None:
    parts = ["", "a", "A", "a/", "a:", "a%2F", "é", "e\u0301", "\x00", "\ud800", "?", "[a]", "\\"]
    keys: list[FullKey] = [(ns, key) for ns in [(), *((p,) for p in parts), *((p, "a") for p in parts)] for key in parts]
    calls.set({key: (i, None) for i, key in enumerate(keys)})
    assert calls.get(keys) == {key: i for i, key in enumerate(keys)}


def test_what_get_returned_is_the_callers(calls: Calls) -> None:
    value = {"said": ["hello"]}
    calls.set({K: (value, None)})
    value["said"].append("changed after")
    calls.get([K])[K]["said"].append("changed too")
    assert calls.get([K]) == {K: {"said": ["hello"]}}


def test_a_list_is_as_good_as_a_tuple_and_a_str_of_a_kind_as_a_str(calls: Calls) -> None:
    class Word(StrEnum):
        A = "a"

    calls.set({((Word.A,), "k"): (1, None)})
    (found,) = calls.get([[["a"], "k"]])
    assert found == K
    assert type(found[0][0]) is str
    calls.clear([["a"]])
    assert calls.get([K]) == {}


def test_many_at_once(calls: Calls) -> None:
    keys = [(("many",), str(i)) for i in range(1500)]
    calls.set({key: (i, 60) for i, key in enumerate(keys)})
    assert list(calls.get(keys).values()) == list(range(1500))
    calls.clear([("many",)])
    assert calls.get(keys) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_any_value_comes_back_as_it_was(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with made(kind, request, tmp_path) as cache:

        @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(st.lists(text()).map(tuple), text(), storable_values())
        def comes_back(namespace: Namespace, key: str, value: Any) -> None:
            cache.set({(namespace, key): (value, None)})
            assert same(cache.get([(namespace, key)]), {(namespace, key): value})

        comes_back()


def test_many_threads_share_a_cache(cache: Cache) -> None:
    barrier = threading.Barrier(4)

    def work(worker: int) -> None:
        barrier.wait()
        for i in range(50):
            cache.set({(("a",), f"{worker}.{i}"): (i, 60), (("a",), "shared"): (worker, None)})
            assert cache.get([(("a",), f"{worker}.{i}")]) == {(("a",), f"{worker}.{i}"): i}

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert cache.get([(("a",), "shared")])[("a",), "shared"] in range(4)


# -- what is no value, no key, no time ------------------------------------------------------------------------------


@pytest.mark.parametrize("ttl", [0, -1, 0.0, math.nan, -math.inf, True, False, "60"])
def test_a_time_that_is_none_is_refused(calls: Calls, ttl: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"time to live of .* is .*expected .* seconds, or None to keep it"):
        calls.set({K: (1, ttl)})
    assert calls.get([K]) == {}


@pytest.mark.parametrize(
    ("verb", "given_", "said"),
    [
        ("get", [("a", "k")], r"got the string 'a': write \('a',\)"),
        ("get", [((1,), "k")], r"A namespace is a tuple of strings, got \(1,\): write it as in"),
        ("get", [(b"", "k")], r"A namespace is a tuple of strings, got b''"),
        ("get", [(None, "k")], r"A namespace is a tuple of strings, got None"),
        ("get", [(("a",), 1)], r"A key is a \(namespace, key\) pair, got \(\('a',\), 1\)"),
        ("get", K, r"A key is a \(namespace, key\) pair, got \('a',\)"),
        ("get", "k", r"`get` takes a list of keys, got 'k'"),
        ("set", [K], r"`set` takes a dict, got \["),
        ("set", {K: "v"}, r"a \(value, seconds\) pair is expected, got 'v': write \(value, None\)"),
        ("clear", "a", r"`clear` takes a list of namespaces, got 'a'"),
        ("clear", ("a", "b"), r"for that one write clear\(\[\('a', 'b'\)\]\)"),
    ],
)
def test_arguments_that_are_none_are_refused(calls: Calls, verb: str, given_: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        getattr(calls, verb)(given_)


def test_a_value_that_cannot_be_stored_is_named_and_nothing_is_written(calls: Calls) -> None:
    with pytest.raises(UnstorableValue, match=r"at \(\('a',\), 'bad'\)\[1\]: a _thread.lock"):
        calls.set({K: (1, None), (("a",), "bad"): ([1, threading.Lock()], None)})
    assert calls.get([K]) == {}


# -- what cannot be read is a miss ----------------------------------------------------------------------------------


class Bytes(BaseCache[Any]):
    """A backend that is a dict, and counts how often it is asked."""

    failures = (OSError,)

    def __init__(self) -> None:
        self.rows: dict[FullKey, bytes] = {}
        self.down = False
        self.asked = 0

    def _ask(self) -> None:
        self.asked += 1
        if self.down:
            raise OSError("the cable is out")

    def _get(self, keys: Any) -> dict[FullKey, bytes]:
        self._ask()
        return {key: self.rows[key] for key in keys if key in self.rows}

    def _set(self, entries: Any) -> None:
        self._ask()
        rows: dict[FullKey, Entry] = entries
        self.rows |= {key: data for key, (data, _) in rows.items()}

    def _clear(self, namespaces: Any) -> None:
        self._ask()
        self.rows = {}


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(storable_values(), st.data())
def test_bytes_that_are_damaged_are_a_miss(value: Any, data: st.DataObject) -> None:
    cache = Bytes()
    cache.set({K: (value, None)})
    whole = cache.rows[K]
    at = data.draw(st.integers(0, len(whole) - 1))
    flipped = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    for damaged in (flipped, whole[:at], whole + b"\0", data.draw(st.binary())):
        cache.rows[K] = damaged
        assert cache.get([K]) == {}
    cache.rows[K] = whole
    assert same(cache.get([K]), {K: value})


@dataclass
class Point:
    x: int


def test_a_value_of_a_type_that_is_not_registered_here_is_a_miss(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    clew.register(Point)
    inside = (("a",), "inside")
    calls.set({K: (Point(1), None), inside: ({"deep": [(Point(2),)]}, None), (("a",), "plain"): (3, None)})
    everything = calls.get([K, inside, (("a",), "plain")])
    assert everything == {K: Point(1), inside: {"deep": [(Point(2),)]}, (("a",), "plain"): 3}
    monkeypatch.setattr(usertypes, "_classes", {})
    assert calls.get([K, inside, (("a",), "plain")]) == {(("a",), "plain"): 3}


def test_a_backend_that_fails_says_so_once_and_is_left_alone() -> None:
    cache = Bytes()
    cache.set({K: (1, None)})
    cache.down, cache.asked = True, 0
    with pytest.warns(CacheWarning, match="Bytes cannot be used .OSError: the cable is out.: the run goes on as if"):
        assert cache.get([K]) == {}
    cache.set({K: (2, None)})  # a second warning would be an error here
    assert asyncio.run(cache.aget([K])) == {}
    assert cache.asked == 1
    cache.rest = 0  # as when the time is over
    assert cache.get([K]) == {}
    assert cache.asked == 2
    cache.down = False
    assert cache.get([K]) == {K: 1}
    cache.down = True
    with pytest.warns(CacheWarning):  # another time, another warning
        cache.set({K: (3, None)})


def test_whoever_clears_is_told_that_it_was_not_done() -> None:
    cache = Bytes()
    cache.down = True
    with pytest.raises(DatabaseError, match=r"could not be cleared \(OSError: the cable is out\).*Call `clear` again"):
        cache.clear()


def test_a_bug_of_a_backend_is_not_hidden() -> None:
    class Half(BaseCache[Any]):
        pass

    for call in (lambda: Half().get([K]), lambda: Half().set({K: (1, None)}), Half().clear):
        with pytest.raises(NotImplementedError, match=r"Half has no `_(get|set|clear)"):
            call()
