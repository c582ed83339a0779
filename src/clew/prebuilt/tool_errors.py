"""What becomes of a tool that fails: told to the model, which can mend what it asked for, or raised."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, TypeAlias, Union, cast, get_args, get_origin, get_type_hints

from clew.errors import ClewError, GraphError
from clew.interop.tools import ToolException

ErrorType: TypeAlias = type[Exception]
HandleErrors: TypeAlias = "bool | str | ErrorType | tuple[ErrorType, ...] | Callable[..., str]"


class ToolInvocationError(ClewError, ToolException):
    """A model called a tool with arguments that its schema does not take.

    Attributes:
        tool_name: the tool's. tool_kwargs: what the model said. source: the error of the schema.
    """

    def __init__(
        self, tool_name: str, source: Exception, tool_kwargs: dict[str, Any], wrong: Sequence[tuple[Any, str]]
    ) -> None:
        why = "; ".join(f"{'.'.join(map(str, place)) or 'arguments'}: {said}" for place, said in wrong)
        super().__init__(f"Tool {tool_name!r} does not take the arguments {tool_kwargs!r}: {why}. Call it again with others.")
        self.tool_name = tool_name
        self.tool_kwargs = tool_kwargs
        self.source = source


def only_wrong_arguments(error: ToolInvocationError) -> str:
    """The default: a model is told that its arguments do not fit; what goes wrong within a tool is raised."""
    return str(error)


@dataclass(frozen=True, slots=True)
class Handling:
    """Which errors are told to the model, and how."""

    kinds: tuple[ErrorType, ...]
    told: Callable[[Exception], Any]

    def tell(self, error: Exception) -> Any:
        """What the model is told. Raises the error itself where it is none of those."""
        if not isinstance(error, self.kinds):
            raise error
        return self.told(error)


def read_handling(given: HandleErrors) -> Handling:
    """Reads `handle_tool_errors`. Raises GraphError for anything else."""
    if given is False:
        return Handling((), _in_general)
    if given is True:
        return Handling((Exception,), _in_general)
    if isinstance(given, str):
        return Handling((Exception,), lambda error: given)
    kinds: tuple[Any, ...] = cast("Any", given if isinstance(given, tuple) else (given,))
    if all(map(_is_kind, kinds)):
        return Handling(kinds, _in_general)
    handler: Any = kinds[0]
    if callable(handler) and not isinstance(handler, type):
        return Handling(_kinds_of(handler), handler)
    raise GraphError(
        f"handle_tool_errors is {given!r}: expected True, False, a text, an exception class, a tuple of those, or a function "
        "of the error that returns what the model is told."
    )


def _is_kind(given: Any) -> bool:
    return isinstance(given, type) and issubclass(given, Exception)


def _in_general(error: Exception) -> str:
    return f"The tool failed: {error!r}. Call it in another way, or go on without it."


def _kinds_of(handler: Callable[..., Any]) -> tuple[ErrorType, ...]:
    """The errors that a handler takes: those that its first parameter is annotated with; all where it is with none.

    Raises:
        GraphError: it is annotated with what is no exception.
    """
    first = next(iter(inspect.signature(handler).parameters.values()), None)
    if first is None:
        raise GraphError(f"handle_tool_errors={handler!r} takes no parameter: it is called with the error.")
    try:
        hint: Any = get_type_hints(handler).get(first.name, Exception)
    except (NameError, TypeError):
        hint = first.annotation
    if hint is Any:
        return (Exception,)
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if not all(map(_is_kind, kinds)):
        raise GraphError(f"handle_tool_errors={handler!r} takes a {hint!r}: annotate its parameter with exception classes.")
    return kinds
