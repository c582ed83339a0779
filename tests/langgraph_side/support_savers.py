"""The Clew saver that a script is to run LangGraph on, by its name and where it keeps threads."""

from typing import Any


def opened(kind: str, place: str = "") -> Any:
    if kind == "memory":
        from clew.checkpoint.memory import InMemorySaver

        return InMemorySaver()
    assert kind == "sqlite"
    from clew.checkpoint.sqlite import SqliteSaver

    return SqliteSaver(place, synchronous="normal")
