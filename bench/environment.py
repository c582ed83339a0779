"""Where the bench runs: its own environment, made once, and the facts about the machine that head every report.

Only the standard library: this is read before the environment is there.
"""

import hashlib
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PLACE: Final = ROOT / ".bench-venv"
PYTHON: Final = PLACE / "bin" / "python"
PROGRAM: Final = Path(__file__).with_name("run.py")
# Pinned: figures of another version are another comparison.
RIVALS: Final = {"langgraph": "1.2.24", "langgraph-checkpoint-sqlite": "3.1.2", "langgraph-checkpoint-postgres": "3.2.0"}
TOOLS: Final = ("psycopg[binary,pool]>=3.2", "greenlet>=3.0", "matplotlib>=3.9")
"""The driver of both sides' savers, what ours needs beside it, and what draws the charts."""
SHOWN: Final = ("clew", *RIVALS, "langgraph-checkpoint", "langchain-core", "aiosqlite", "psycopg", "ormsgpack")


def inside() -> bool:
    """Whether this process runs in the bench's own environment."""
    return Path(sys.prefix).resolve() == PLACE.resolve()


def enter(arguments: list[str], program: Path = PROGRAM) -> None:
    """Makes the environment where it is missing or out of date, and starts the program in it; does not return."""
    _make()
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    variables |= {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}  # measure the graph, not a tracer
    os.execve(PYTHON, [str(PYTHON), str(program), *arguments], variables)


def _make() -> None:
    stamp, wanted = PLACE / ".stamp", _digest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"Setting up {PLACE.name} with {', '.join(RIVALS)} and Clew (once; under a minute) ...", file=sys.stderr, flush=True)
    shutil.rmtree(PLACE, ignore_errors=True)
    packages = [*(f"{name}=={version}" for name, version in RIVALS.items()), *TOOLS, "-e", str(ROOT)]
    if uv := shutil.which("uv"):
        _run([uv, "venv", "--python", sys.executable, str(PLACE)])
        _run([uv, "pip", "install", "--python", str(PYTHON), *packages])
    else:
        _run([sys.executable, "-m", "venv", str(PLACE)])
        _run([str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", *packages])
    stamp.write_text(wanted)


def _digest() -> str:
    """Changes when what must be installed does."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return hashlib.sha256(repr((RIVALS, TOOLS, sys.version, str(ROOT), project)).encode()).hexdigest()


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        told = f"{done.stdout}{done.stderr}\n{' '.join(command)}"
        sys.exit(f"{told}\nThis failed. The bench needs PyPI once, for an environment of its own ({PLACE.name}).")


def facts() -> dict[str, str]:
    """What the figures depend on, by name."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": f"{_processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start",
        "sqlite": sqlite3.sqlite_version,
        "packages": ", ".join(f"{name} {_version(name)}" for name in SHOWN),
    }


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "missing"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor() or "unknown processor"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown processor")
