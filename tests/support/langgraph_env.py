"""LangGraph as it is on PyPI, in an environment of its own: it writes the databases that Clew reads, and runs its own checks.

Made on first use, by one worker while the others wait; kept until what must be installed changes. Scripts that run there are in
tests/langgraph_side.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from support.pages import ROOT

PLACE: Final = ROOT / ".langgraph-venv"
SIDE: Final = ROOT / "tests" / "langgraph_side"
# Pinned: what the tests pin is how these very versions write.
PACKAGES: Final = (
    "langgraph==1.2.24",
    "langgraph-checkpoint==4.3.2",
    "langgraph-checkpoint-sqlite==3.1.2",
    "langgraph-checkpoint-postgres==3.2.0",
    "langgraph-checkpoint-conformance==0.0.2",
    "langchain-core>=1.0",
    "psycopg[binary,pool]>=3.2",
    "greenlet>=3.0",  # of our own saver
    "aiosqlite>=0.20",
    "redis>=5.2",
    "pymongo>=4.10",
    "numpy>=2.0",
)


@pytest.fixture(scope="session")
def langgraph_env() -> Path:
    """The python of LangGraph's environment."""
    return made()


def made(place: Path = PLACE, packages: tuple[str, ...] = PACKAGES, *, with_clew: bool = True) -> Path:
    """The python of the environment at `place`, made where it is missing or out of date. Needs PyPI once.

    `with_clew` makes this checkout's `clew` importable there, for code that runs LangGraph on a saver of ours.
    """
    wanted = hashlib.sha256(repr((packages, sys.version, str(ROOT), with_clew)).encode()).hexdigest()
    stamp, python = place / ".stamp", place / "bin" / "python"
    with _alone(place):
        if not (stamp.exists() and stamp.read_text() == wanted):
            shutil.rmtree(place, ignore_errors=True)
            _make(place, python, packages)
            if with_clew:
                _see_clew(python)
            stamp.write_text(wanted)
    return python


def run(python: Path, script: str, *arguments: str) -> str:
    """What a script of tests/langgraph_side prints. Fails with all that it said where it fails."""
    variables = os.environ | {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false", "PYTHONDONTWRITEBYTECODE": "1"}
    variables.pop("PYTHONPATH", None)  # ours would win over theirs
    done = subprocess.run([python, SIDE / script, *arguments], capture_output=True, text=True, env=variables)
    assert done.returncode == 0, f"{script} {' '.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout


def _make(place: Path, python: Path, packages: tuple[str, ...]) -> None:
    if uv := shutil.which("uv"):
        _do([uv, "venv", "-q", "--python", sys.executable, str(place)])
        _do([uv, "pip", "install", "-q", "--python", str(python), *packages, "ormsgpack>=1.11"])
    else:
        _do([sys.executable, "-m", "venv", str(place)])
        _do([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages, "ormsgpack>=1.11"])


def _see_clew(python: Path) -> None:
    """A path file does what an editable install would, without a build."""
    found = _do([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip()
    Path(found, "clew-checkout.pth").write_text(f"{ROOT / 'src'}\n")


@contextmanager
def _alone(place: Path) -> Generator[None]:
    """Every worker of the suite may come here at once."""
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _do(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}\nThis needs PyPI once, for {PLACE.name}."
    return done.stdout
