"""A long chat run by LangGraph, on its own savers and on Clew's: what each of them keeps, and what a turn costs.

python -m soak.langgraph_through_clew [--turns 400] [--savers sqlite theirs-sqlite …]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.langgraph_env import SIDE, made
from support.postgres_server import PostgresServer

SAVERS = ("sqlite", "theirs-sqlite", "postgres", "theirs-postgres")


@contextmanager
def place(saver: str) -> Generator[str]:
    """Where a saver keeps threads: nothing is there before, and nothing after."""
    with tempfile.TemporaryDirectory() as folder:
        if "postgres" not in saver:
            yield str(Path(folder, "threads.db"))
            return
        server = PostgresServer()
        try:
            server.start()
            yield server.database()
        finally:
            server.remove()


def told(python: Path, saver: str, turns: int) -> dict[str, Any]:
    with place(saver) as where:
        command = [python, SIDE / "chat.py", saver, str(turns), where]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description="A chat run by LangGraph on its own savers and on Clew's.")
    parser.add_argument("--turns", type=int, default=400)
    parser.add_argument("--savers", nargs="+", default=SAVERS, choices=SAVERS)
    asked = parser.parse_args()
    python = made()
    lines = [f"{'saver':16} {'MB':>9} {'of the text':>12} {'last turn':>10} {'all':>8}"]
    for saver in asked.savers:
        found = told(python, saver, asked.turns)
        share = f"{found['bytes'] / found['unique']:.2f} x"
        lines.append(
            f"{saver:16} {found['bytes'] / 1e6:9.2f} {share:>12} {1000 * found['last']:7.1f} ms {found['seconds']:6.1f} s"
        )
    print("\n".join([f"{asked.turns} turns, two messages of 500 bytes each", *lines]))


if __name__ == "__main__":
    sys.exit(main())
