"""`kill -9` of a process that streams: another one goes on, and a reader goes on after the last number it has seen."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from support.pages import ROOT
from support.teller import CONFIG, OPTIONS, WORDS, drawn, opened
from support.told import numbers, standing

from clew.checkpoint.base import Saver
from clew.errors import EventsGone

pytestmark = pytest.mark.slow
TELLER = [sys.executable, "-m", "support.teller"]
SERVER = [pytest.mark.server]
BACKENDS = ["sqlite", *[pytest.param(name, marks=SERVER) for name in ("postgres", "redis", "mongodb")]]


@pytest.fixture(params=BACKENDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """A kind of saver, and an empty database for it."""
    match request.param:
        case "postgres":
            return "postgres", request.getfixturevalue("postgres_url")
        case "redis":
            return "redis", request.getfixturevalue("redis_url")
        case "mongodb":
            return "mongodb", f"{request.getfixturevalue('mongodb_server').url} {request.getfixturevalue('mongodb_name')}"
        case _:
            return "sqlite", str(tmp_path / "threads.db")


def started(*args: str) -> "subprocess.Popen[str]":
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])}
    return subprocess.Popen([*TELLER, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)


def seen_by(lines: Sequence[str]) -> list[int]:
    return [int(line.split()[0]) for line in lines if line.endswith("\n")]


def gone_on(saver: Saver, seen: list[int]) -> None:
    """Goes on in this process with what another has left, and reads on after what its reader has seen."""
    graph = drawn(saver)
    state = graph.get_state(CONFIG)
    if state.next:
        list(graph.stream(None, CONFIG, **OPTIONS))
    elif not state.values:  # it had not begun
        assert seen == []
        with pytest.raises(EventsGone):
            list(graph.join_stream(CONFIG))
        return
    assert seen == list(range(1, len(seen) + 1))
    rest = list(graph.join_stream(CONFIG, after=len(seen)))
    assert numbers(rest) == list(range(len(seen) + 1, len(seen) + 1 + len(rest))), "none is missing, none comes twice"
    parts = standing(graph.join_stream(CONFIG))
    assert parts[-1].data == {"status": "success"}
    words = Counter(part.data for part in parts if part.mode == "custom")
    assert words == Counter(f"{name}-{word}" for name in ("a", "deep", "last") for word in range(WORDS))
    ended = Counter(name for part in parts if part.mode == "updates" for name in part.data)
    assert ended == Counter(["a", "within", "deep", "last"])


def test_killed_at_any_point(place: tuple[str, str]) -> None:
    with opened(*place) as saver:
        random = Random(6)
        for said in random.sample(range(1, 3 * WORDS), 6):
            saver.delete_thread("1")
            with started(*place) as process:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write("\n" * said)  # so many words it says, and waits then, in the middle of a node
                process.stdin.flush()
                lines, heard = list[str](), random.choice([said, random.randint(1, said)])
                while sum(line.endswith("custom\n") for line in lines) < heard:
                    lines.append(process.stdout.readline())
                process.kill()
                lines += process.stdout.readlines()  # what was on its way to the reader has reached it
                assert process.wait() == -9
            gone_on(saver, seen_by(lines))


def test_killed_at_each_storage_call(place: tuple[str, str]) -> None:
    with opened(*place) as saver:
        killed = Counter[str]()
        for at in range(0, 100, 1 if place[0] == "sqlite" else 4):
            for when in ("before", "after"):
                saver.delete_thread("1")
                process = started(*place, str(at), when)
                lines = process.communicate(timeout=60)[0].splitlines(keepends=True)
                if process.returncode == 0:
                    assert killed["before"] >= 3
                    return
                assert process.returncode == -9
                killed[when] += 1
                gone_on(saver, seen_by(lines))
    raise AssertionError("it never comes to its end")
