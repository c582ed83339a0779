"""Writes two conversations as LangGraph does: `long_chat.py URL TURNS`, messages of 500 bytes.

Thread `ended` has ended, thread `paused` waits for an answer after its last turn. Prints one JSON document: by thread how
many messages it has, and what is asked.
"""

import json
import random
import string
import sys
from typing import Any

from write import graphs, saver


def said(turn: int) -> str:
    """What the user says: 500 bytes, never the same, and such as no database can compress by much."""
    return f"turn {turn}: " + "".join(random.Random(turn).choices(string.ascii_letters, k=490 - len(str(turn))))


if __name__ == "__main__":
    url, turns = sys.argv[1], int(sys.argv[2])
    told: dict[str, Any] = {}
    with saver(url) as kept:
        kept.setup()
        graph = graphs.talking().compile(checkpointer=kept)
        for thread in ("ended", "paused"):
            config: Any = {"configurable": {"thread_id": thread}}
            for turn in range(turns):
                graph.invoke({"messages": [("user", said(turn))]}, config)
                if turn % 50 == 49:
                    print(f"{thread}: {turn + 1} of {turns} turns", file=sys.stderr, flush=True)
            if thread == "paused":
                graph.invoke({"messages": [("user", "weather?")]}, config)
            state = graph.get_state(config)
            told[thread] = {"messages": len(state.values["messages"]), "asked": [one.value for one in state.interrupts]}
    print(json.dumps(told))
