"""The door to the tools of `langchain_core`: the names that `clew.prebuilt` builds on, and what it asks of a tool.

Unlike its neighbour this module imports `langchain_core` as it is loaded, for classes of ours derive from its; whoever imports
`clew.prebuilt` uses it anyway. Nothing here knows of graphs.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, cast, get_args, get_origin, get_type_hints

from clew.errors import MissingDependency
from clew.interop.langchain import meet

try:
    from langchain_core.messages import AIMessage as AIMessage
    from langchain_core.messages import ToolMessage as ToolMessage
    from langchain_core.runnables import Runnable as Runnable
    from langchain_core.tools import BaseTool as BaseTool
    from langchain_core.tools import InjectedToolArg as InjectedToolArg
    from langchain_core.tools import InjectedToolCallId as InjectedToolCallId
    from langchain_core.tools import ToolException as ToolException
    from langchain_core.tools import tool as _make_tool
    from langchain_core.tools.base import _DirectlyInjectedToolArg, get_all_basemodel_annotations  # pyright: ignore[reportPrivateUsage]  (what hides a parameter by its type)
except ImportError as error:
    raise MissingDependency(
        'Tools are those of langchain-core, which is not installed: type `pip install "clew[langchain]"`.'
    ) from error

meet()
DirectlyInjected = _DirectlyInjectedToolArg


def as_tool(given: Any) -> BaseTool:
    """A tool as it is; a function, plain or async, as a tool that its signature and docstring describe."""
    return given if isinstance(given, BaseTool) else cast("Any", _make_tool)(given)


def speaks(tool: BaseTool, *, awaited: bool) -> bool:
    """Whether a tool has code of its own for a face; where it has not, `langchain_core` would use a thread, or refuse."""
    known: Any = tool
    if hasattr(tool, "coroutine") and hasattr(tool, "func"):
        return (known.coroutine if awaited else known.func) is not None
    return not awaited or type(tool)._arun is not BaseTool._arun  # pyright: ignore[reportPrivateUsage]  (the method that tools override)


def injected_in(tool: BaseTool) -> dict[str, Any]:
    """The parameters of a tool that its caller fills in and a model never sees, each with what marks it: an annotation such as
    `InjectedState("key")`, or the type itself where that is what hides it (`ToolRuntime`)."""
    hints = {name: hint for code in _code_of(tool) for name, hint in _hints(code).items()}
    schema = tool.args_schema
    if isinstance(schema, type):
        hints |= get_all_basemodel_annotations(schema)
    marks = {name: _mark(hint) for name, hint in hints.items()}
    return {name: mark for name, mark in marks.items() if mark is not None}


def aliases_in(tool: BaseTool, names: Iterable[str]) -> dict[str, list[str]]:
    """By which other names the tool's schema takes each of these parameters."""
    fields: Any = getattr(tool.args_schema, "model_fields", {})
    return {name: _aliases(fields[name]) if name in fields else [] for name in names}


def _aliases(field: Any) -> list[str]:
    choices = getattr(field.validation_alias, "choices", [field.validation_alias])
    found = [field.alias, *(getattr(choice, "path", [choice])[0] for choice in choices)]
    return list(dict.fromkeys(alias for alias in found if isinstance(alias, str)))


def optional_in(tool: BaseTool) -> set[str]:
    """The parameters of a tool that have defaults of their own."""
    found = {name for name, field in getattr(tool.args_schema, "model_fields", {}).items() if not field.is_required()}
    for code in _code_of(tool):
        found |= {name for name, p in inspect.signature(code).parameters.items() if p.default is not p.empty}
    return found


def refused_arguments(tool: BaseTool, error: Exception) -> list[tuple[tuple[Any, ...], str]] | None:
    """What a tool's schema did not take of the arguments, each by its place and why; None for an error of any other kind, such
    as one that the tool's own code has raised."""
    title, errors = getattr(error, "title", None), getattr(error, "errors", None)
    schema = tool.args_schema
    if not callable(errors) or not isinstance(schema, type) or title != _title(schema):
        return None
    return [(tuple(one["loc"]), one["msg"]) for one in cast("list[Any]", errors())]


def _title(schema: Any) -> Any:
    return getattr(schema, "model_config", {}).get("title") or schema.__name__


def _code_of(tool: BaseTool) -> list[Callable[..., Any]]:
    """The functions that say what a tool is called with."""
    own = [getattr(tool, "func", None), getattr(tool, "coroutine", None)]
    return [code for code in own if code is not None] or [tool._run, tool._arun]  # pyright: ignore[reportPrivateUsage]  (the methods that tools override)


def _hints(code: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(code, include_extras=True)
    except (NameError, TypeError, AttributeError):  # those that are no strings still say what they are
        return {name: parameter.annotation for name, parameter in inspect.signature(code).parameters.items()}


def _mark(hint: Any) -> Any:
    for kind in (hint, get_origin(hint)):
        if isinstance(kind, type) and issubclass(kind, DirectlyInjected):
            return kind
    for said in getattr(hint, "__metadata__", ()):
        if isinstance(said, InjectedToolArg) or (isinstance(said, type) and issubclass(said, InjectedToolArg)):
            return said
    return next((found for part in get_args(hint) if (found := _mark(part)) is not None), None)
