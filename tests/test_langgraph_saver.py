"""LangGraph on savers of Clew's: its own conformance kit, its own graphs, and what its values are kept as."""

import datetime as dt
import json
import random
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from support.langgraph_env import run
from support.mongo_server import MongoServer

from clew.checkpoint.base import BaseCheckpointSaver, Saver
from clew.checkpoint.codec import encode
from clew.errors import UnstorableValue
from clew.interop.langgraph import as_langgraph_saver
from clew.interop.langgraph.values import Foreign, long, long_time, next_version, restored, short, short_time, storable

pytestmark = pytest.mark.slow  # it runs LangGraph

BASE = ["put", "put_writes", "get_tuple", "list", "delete_thread"]
MORE = ["copy_thread", "prune", "delete_for_runs"]
ASKED = BASE + [verb for verb in MORE if getattr(Saver, verb) is not getattr(BaseCheckpointSaver, verb)]
"""Capabilities: whatever savers of Clew's have themselves has to do as LangGraph's kit says."""
PLACES = {"memory": None, "sqlite": None, "postgres": "postgres_url", "redis": "redis_url", "mongodb": "mongodb_place"}
"""By the savers' names the fixtures that say where they keep threads; None where a file will do."""


@pytest.fixture
def mongodb_place(mongodb_server: MongoServer, mongodb_name: str) -> str:
    return f"{mongodb_server.url}#{mongodb_name}"


@pytest.fixture(params=PLACES)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """A saver's name and where it keeps threads, as scripts of tests/langgraph_side are told."""
    place = PLACES[request.param]
    return [request.param, request.getfixturevalue(place) if place else str(tmp_path / "threads.db")]


def test_langgraphs_own_kit_finds_nothing(langgraph_env: Path, backend: list[str]) -> None:
    found: dict[str, Any] = json.loads(run(langgraph_env, "conformance.py", *backend))
    for name in ASKED:
        passed, failures = found[name]
        assert not failures, f"{name}: {failures}"
        assert passed > 0


def test_langgraphs_graphs_do_what_they_do_on_its_own_saver(langgraph_env: Path, backend: list[str]) -> None:
    assert run(langgraph_env, "graphs_through_clew.py", *backend).strip() == "ok"


@pytest.mark.parametrize("look", ["looked-at", "alone"])
@pytest.mark.parametrize("durability", ["sync", "async"])
def test_of_two_processes_on_a_thread_the_one_that_was_overtaken_is_told(
    langgraph_env: Path, tmp_path: Path, durability: str, look: str
) -> None:
    where = str(tmp_path / "threads.db")
    finished, told, (now, again, more) = json.loads(run(langgraph_env, "two_writers.py", durability, look, "sqlite", where))
    assert len(told) == 1  # with "async" it may be either of them
    assert "was moved on by another run" in told[0]
    assert finished == [now]
    assert now == ["early", "first", "late", "first", "second"] or durability == "async"
    assert now.count("second") == 1, "the other's second step, which was not kept"
    assert again == [*now, "again", "first", "second"]
    assert more == [*again, "more", "first", "second"]


def test_a_chat_costs_about_what_it_says(langgraph_env: Path, tmp_path: Path) -> None:
    half = json.loads(run(langgraph_env, "chat.py", "sqlite", "100", str(tmp_path / "ours.db")))
    (_, first), (_, second) = half["marks"]
    assert second < 3 * half["unique"]
    assert second - first < 1.1 * first, "a turn costs as much as any other"


def test_only_a_saver_of_ours_will_do() -> None:
    with pytest.raises(TypeError, match=r"Invalid saver 'chat.db': expected one of Clew's"):
        as_langgraph_saver("chat.db")  # pyright: ignore[reportArgumentType]


# -- values -------------------------------------------------------------------------------------------------------------


class Odd:
    def __init__(self, n: int) -> None:
        self.n = n

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Odd) and other.n == self.n

    def __hash__(self) -> int:
        return self.n


class Serde:
    """One that knows `Odd`, and counts what it is asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        self.asked += 1
        return "odd", bytes([obj.n])

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        return Odd(data[1][0])


@pytest.mark.parametrize(
    ("value", "odd"),
    [
        ({"a": [1, (2, {3})]}, 0),
        (Odd(1), 1),
        ([1, Odd(1), Odd(2)], 2),
        ({"a": (dt.date(2026, 1, 1), Odd(1)), 5: deque([Odd(2)], 3)}, 2),
        ({Odd(1), 2}, 1),
    ],
)
def test_only_what_our_codec_does_not_know_goes_through_theirs(value: Any, odd: int) -> None:
    serde = Serde()
    kept = storable(value, serde)
    encode(kept)
    assert serde.asked == odd
    assert (kept is value) == (odd == 0)
    back = restored(kept, serde)
    assert back == value
    assert type(back) is type(value)


def test_what_neither_knows_is_said_by_theirs() -> None:
    class Refusing(Serde):
        def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
            raise TypeError("no")

    with pytest.raises(TypeError, match="no"):
        storable([object()], Refusing())
    with pytest.raises(UnstorableValue):
        encode([object()])


def test_a_foreign_value_is_kept_to_the_byte() -> None:
    assert restored(Foreign("odd", b"\x07"), Serde()) == Odd(7)


def test_versions_are_kept_short_and_come_back_to_the_letter() -> None:
    chance = random.Random(1)
    for _ in range(200):
        version = f"{chance.randrange(10**9):032}.{chance.random():016}"
        packed = short(version)
        assert long(packed) == version
        assert len(encode(packed)) < 18
    for other in (1, 2.5, "7", "00000000000000000000000000000001.abcdefghijklmnop", "1.5", ""):
        assert long(short(other)) == other


def test_versions_go_up() -> None:
    first = next_version(None)
    second = next_version(first)
    assert second > first
    assert first.startswith("0" * 31 + "1.")
    assert next_version(9).startswith("0" * 30 + "10.")


def test_times_come_back_to_the_letter() -> None:
    for text in ("2026-11-25T23:28:53.657049+00:00", "1969-12-31T23:59:59.000001+00:00", "2026-11-25T23:28:53+00:00"):
        assert type(short_time(text)) is int
        assert long_time(short_time(text)) == text
    for text in ("2026-11-25T23:28:53", "2026-11-25T23:28:53+02:00", "soon", None, "2026-11-25T23:28:53Z"):
        assert long_time(short_time(text)) == text
