"""Clew: stateful agents drawn as graphs, whose threads survive.

    from clew.graph import StateGraph, MessagesState, START
    from clew.checkpoint.sqlite import SqliteSaver

Importing this package is cheap; what it offers at the top level is loaded when it is first asked for.
"""

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from clew.channels import reducer
    from clew.checkpoint.codec import register

__version__: Final = "0.1.0"
__all__ = ["__version__", "reducer", "register"]

_HOMES: Final = {"reducer": "clew.channels", "register": "clew.checkpoint.codec"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'clew' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
