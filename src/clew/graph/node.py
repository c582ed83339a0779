"""What users hand in as nodes and routers, adapted once into an `Action`: after this nobody asks what it was."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args, get_origin, get_type_hints

from clew.constants import END, RESERVED_NAMES, START
from clew.engine.writes import Yielded
from clew.errors import GraphError
from clew.graph.instant import is_instant
from clew.runtime.context import GIVERS
from clew.runtime.host import Action, Pace
from clew.schema import is_annotated_class, is_typed_dict
from clew.types import CachePolicy, Command, RetryPolicy, Timeout

FORBIDDEN: Final = ":|"  # they part the segments of a namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What nodes of a graph do that say nothing else; see `StateGraph.set_node_defaults`."""

    retry: tuple[RetryPolicy, ...] = ()
    cache: CachePolicy | None = None
    handler: Any = None
    timeout: "Timeout | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """A node as it was drawn.

    Attributes:
        given: what was handed in. action: what it does. reads: the schema of what it is given, None for the graph's own.
        destinations: names that it may lead to by a Command, with labels where it is a mapping. graph: the graph that it is.
        own: what it says of failing, waiting and caching itself.
    """

    given: Any
    action: Action
    reads: Any = None
    defer: bool = False
    metadata: Mapping[str, Any] | None = None
    destinations: tuple[str, ...] | Mapping[str, str] | None = None
    aliases: tuple[str, ...] = ()
    graph: Any = None
    own: Defaults = Defaults()


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


def as_action(name: str, given: Any, names: Sequence[str] = ()) -> Action:
    """Adapts a function, plain, async or a generator, a callable object, or a Runnable (with `invoke` and `ainvoke`).

    Args:
        names: what else it may ask for by the name of a parameter, beside all that every node may (`GIVERS`).

    Raises:
        GraphError: nothing that can be called.
    """
    if callable(getattr(given, "invoke", None)) and callable(getattr(given, "ainvoke", None)):
        return Action(name, given.invoke, given.ainvoke, ("config",))
    if not callable(given):
        raise GraphError(f"Node {name!r} is {given!r}, which cannot be called: expected a function of the state.")
    function: Any = given
    code = _code(function)
    wants = wanted(function, names)
    if inspect.isasyncgenfunction(code):
        return Action(name, None, _all_awaited(function), wants)
    if inspect.isgeneratorfunction(code):
        return Action(name, _all(function), None, wants)
    if inspect.iscoroutinefunction(code):
        return Action(name, None, function, wants)
    return Action(name, function, None, wants, Pace(functools.partial(is_instant, function)))


def _code(given: Any) -> Any:
    """The function that says how a callable is called: of an object its `__call__`, of a partial what it wraps."""
    while isinstance(given, functools.partial):
        given = cast("functools.partial[Any]", given).func
    return given if inspect.isroutine(given) or isinstance(given, type) else getattr(given, "__call__", given)  # noqa: B004  (not asking whether it is callable, but how)


def is_generator(given: Any) -> bool:
    code = _code(given)
    return inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code)


def _all(function: Callable[..., Any]) -> Callable[..., Any]:
    def collect(state: Any, **extra: Any) -> Yielded:
        return Yielded(function(state, **extra))

    return collect


def _all_awaited(function: Callable[..., Any]) -> Callable[..., Any]:
    async def collect(state: Any, **extra: Any) -> Yielded:
        return Yielded([update async for update in function(state, **extra)])

    return collect


def wanted(function: Any, names: Sequence[str]) -> tuple[str, ...]:
    """What a function asks for by the names of its parameters; a parameter with a default of its own asks for nothing."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):  # a builtin that has none to show
        return ()
    if parameters and parameters[0].kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD):
        del parameters[0]
    known = (GIVERS.keys() - {"error"}) | set(names)
    return tuple(
        p.name
        for p in parameters
        if p.name in known and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.default in (p.empty, None)
    )


def _hints(given: Any) -> dict[str, Any]:
    try:
        return get_type_hints(_code(given))
    except (NameError, TypeError, AttributeError):  # annotations that cannot be resolved declare nothing
        return {}


def declared_input(given: Any) -> Any:
    """The schema that a function's first parameter is annotated with; None where it is annotated with none."""
    hints = _hints(given)
    try:
        first = next(iter(inspect.signature(given).parameters.values()), None)
    except (ValueError, TypeError):
        return None
    hint = hints.get(first.name) if first else None
    return hint if is_typed_dict(hint) or is_annotated_class(hint) else None


def declared_targets(path: Any) -> list[str] | None:
    """The names a router's return annotation lists, as in `-> Literal["a", "b"]`; None where it does not."""
    returned = _hints(path).get("return")
    return list(get_args(returned)) if get_origin(returned) is Literal else None


def declared_destinations(given: Any) -> tuple[str, ...] | None:
    """The names that a return annotation `Command[Literal["a", "b"]]` lists, alone or within a union."""
    returned = _hints(given).get("return")
    for hint in (returned, *get_args(returned)):
        if get_origin(hint) is Command and (names := get_args(hint)) and get_origin(names[0]) is Literal:
            return tuple(name for name in get_args(names[0]) if name != END)
    return None
