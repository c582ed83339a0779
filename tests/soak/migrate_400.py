"""What long conversations cost where LangGraph keeps them, and once `clew migrate` has brought them over; then they go on.

python -m soak.migrate_400 [--turns 400]
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from support.langgraph_env import made, run
from support.migrated import load_graphs
from support.postgres_server import PostgresServer

from clew.checkpoint.sqlite import SqliteSaver
from clew.interop.langgraph.migration import migrate
from clew.types import Command


def said(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def go_on(target: Path, told: dict[str, Any]) -> None:
    """One more turn of the thread that has ended, and the answer that the other waits for."""
    with SqliteSaver(target) as saver:
        graph = load_graphs().talking().compile(checkpointer=saver)
        config: Any = {thread: {"configurable": {"thread_id": thread}} for thread in told}
        ended = graph.invoke({"messages": [("user", "and now?")]}, config["ended"])["messages"]
        assert len(ended) == told["ended"]["messages"] + 2, len(ended)
        assert [one.value for one in graph.get_state(config["paused"]).interrupts] == told["paused"]["asked"]
        paused = graph.invoke(Command(resume="sunny"), config["paused"])["messages"]
        assert [one.text for one in paused[-2:]] == ["sunny", "you said sunny"], paused[-2:]
        steps = sum(1 for _ in graph.get_state_history(config["ended"]))
        said(f"  both go on; the one that had ended has {steps} checkpoints by now, the first of them as readable as the last")


def main() -> int:
    parser = argparse.ArgumentParser(description="Long conversations, before and after `clew migrate`.")
    parser.add_argument("--turns", type=int, default=400)
    turns: int = parser.parse_args().turns
    python = made()
    lines = [f"{'from':10} {'checkpoints':>12} {'held, kB':>9} {'after':>8} {'database, kB':>13} {'after':>8} {'seconds':>8}"]
    for store in ("sqlite", "postgres"):
        with tempfile.TemporaryDirectory() as folder:
            server = PostgresServer()
            try:
                if store == "postgres":
                    server.start()
                url = server.database() if store == "postgres" else str(Path(folder, "theirs.db"))
                said(f"LangGraph writes two conversations of {turns} turns to {store} …")
                told = json.loads(run(python, "long_chat.py", url, str(turns)))
                said("  moving them …")
                began = time.monotonic()
                with SqliteSaver(Path(folder, "ours.db")) as saver:
                    report = migrate(url, saver)
                seconds = time.monotonic() - began
                assert not report.failed, report.failed
                assert not report.left_out, report.left_out
                go_on(Path(folder, "ours.db"), told)
            finally:
                server.remove()
        both = report.moved.values()
        before, after = (sum(getattr(one, name) for one in both) for name in ("before", "after"))
        lines.append(
            f"{store:10} {sum(one.checkpoints for one in both):12,} {before / 1000:9,.0f} {after / 1000:8,.0f} "
            f"{report.before / 1000:13,.0f} {report.after / 1000:8,.0f} {seconds:8.1f}"
        )
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
