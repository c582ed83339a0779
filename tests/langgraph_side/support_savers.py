"""The Clew saver that a script is to run LangGraph on, by its name and where it keeps threads."""

from importlib import import_module
from typing import Any, Final

SAVERS: Final = {
    "memory": ("clew.checkpoint.memory", "InMemorySaver"),
    "sqlite": ("clew.checkpoint.sqlite", "SqliteSaver"),
    "postgres": ("clew.checkpoint.postgres", "PostgresSaver"),
    "redis": ("clew.checkpoint.redis", "RedisSaver"),
    "mongodb": ("clew.checkpoint.mongodb", "MongoDBSaver"),
}


def opened(kind: str, place: str = "") -> Any:
    module, name = SAVERS[kind]
    places = place.split("#") if kind == "mongodb" else [place]  # there, a database's name comes after the server's URL
    return getattr(import_module(module), name)(*places if place and kind != "memory" else [])
