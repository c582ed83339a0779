"""What users hand in as nodes and routers, adapted once into an `Action`: after this nobody asks what it was."""

import inspect
from collections.abc import Callable
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from clew.constants import END, RESERVED_NAMES, START
from clew.errors import GraphError
from clew.runtime.host import Action

FORBIDDEN: Final = ":|"  # they part the segments of a namespace


def name_of(action: Any) -> str:
    """What a node is called where it is given no name: its function's name, its own `get_name()`, its class's name."""
    if isinstance(name := getattr(action, "__name__", None), str):
        return name
    if callable(named := getattr(action, "get_name", None)):
        return str(named())
    if (wrapped := getattr(action, "func", None)) is not None:  # functools.partial
        return name_of(wrapped)
    return type(action).__name__


def check_name(name: Any) -> None:
    """Raises GraphError where nothing may be called so."""
    if not isinstance(name, str) or not name:
        raise GraphError(f"{name!r} cannot be a node's name: expected a string with something in it.")
    if name in (START, END) or name in RESERVED_NAMES:
        raise GraphError(f"Node `{name}` is reserved: give the node another name.")
    for character in FORBIDDEN:
        if character in name:
            raise GraphError(f"The node name {name!r} contains {character!r}, which parts namespaces: leave it out.")


def as_action(name: str, given: Any) -> Action:
    """Adapts a function, plain or async, a callable object, or a Runnable (something with `invoke` and `ainvoke`).

    Raises:
        GraphError: nothing that can be called.
    """
    if callable(getattr(given, "invoke", None)) and callable(getattr(given, "ainvoke", None)):
        return Action(name, given.invoke, given.ainvoke)
    if not callable(given):
        raise GraphError(f"Node {name!r} is {given!r}, which cannot be called: expected a function of the state.")
    function: Any = given
    return Action(name, None, function) if is_async(function) else Action(name, function, None)


def is_async(given: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(getattr(given, "__call__", None))  # noqa: B004  (not asking whether it is callable, but how)


def declared_targets(path: Any) -> list[str] | None:
    """The names a router's return annotation lists, as in `-> Literal["a", "b"]`; None where it does not."""
    try:
        returned = get_type_hints(path if inspect.isroutine(path) else type(path).__call__).get("return")
    except (NameError, TypeError, AttributeError):  # annotations that cannot be resolved declare nothing
        return None
    return list(get_args(returned)) if get_origin(returned) is Literal else None
