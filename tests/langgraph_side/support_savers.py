"""The Clew saver that a script is to run LangGraph on, by its name and where it keeps threads."""

from importlib import import_module
from typing import Any, Final

SAVERS: Final = {
    "memory": ("clew.checkpoint.memory", "InMemorySaver"),
    "sqlite": ("clew.checkpoint.sqlite", "SqliteSaver"),
    "postgres": ("clew.checkpoint.postgres", "PostgresSaver"),
    "redis": ("clew.checkpoint.redis", "RedisSaver"),
}


def opened(kind: str, place: str = "") -> Any:
    module, name = SAVERS[kind]
    return getattr(import_module(module), name)(*[place] if place and kind != "memory" else [])
