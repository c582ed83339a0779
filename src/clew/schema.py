"""A state schema read once: which channel each key has, and how nodes see the whole.

A TypedDict, a dataclass or a pydantic model becomes a `Schema`. pydantic is never imported from here: a model is known by
what it has. Nothing here holds a value.
"""

import collections.abc as abc
import dataclasses
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NotRequired, Required, cast, get_args, get_origin, get_type_hints, is_typeddict

from clew.channels import MISSING, Channel, LastValue, Reducer, traits_of
from clew.constants import RESERVED_NAMES
from clew.errors import GraphError

CONCRETE: Mapping[Any, type] = {
    abc.Sequence: list,
    abc.MutableSequence: list,
    abc.Collection: list,
    abc.Iterable: list,
    abc.Set: set,
    abc.MutableSet: set,
    abc.Mapping: dict,
    abc.MutableMapping: dict,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Schema:
    """What a state is made of.

    Attributes:
        source: the class it was read from.
        channels: the rule of each key, in the order of the class.
        build: makes what nodes are given out of a dict of values; None where they are given the dict itself.
    """

    source: type
    channels: Mapping[str, Channel]
    build: Callable[..., Any] | None


def read_schema(source: Any) -> Schema:
    """Reads a state schema.

    Raises:
        GraphError: not a TypedDict, dataclass or pydantic model; no keys; an annotation that cannot be resolved; a key with
            a reserved name; a callable in an annotation that is no reducer.
    """
    if not (is_typeddict(source) or is_dataclass_type(source) or is_pydantic(source)):
        raise GraphError(
            f"{source!r} cannot be a state schema: expected a TypedDict, a dataclass or a pydantic model, as in "
            "`class State(TypedDict): messages: Annotated[list, add_messages]`."
        )
    try:
        hints = get_type_hints(source, include_extras=True)
    except NameError as error:
        raise GraphError(
            f"The annotations of {source.__qualname__} name {error.name!r}, which cannot be found: define or import it at the "
            f"top level of {source.__module__}."
        ) from error
    names = set(_field_names(source, hints))
    defaults = _defaults(source)
    channels = {key: _channel(source, key, hints[key], defaults.get(key, MISSING)) for key in hints if key in names}
    if not channels:
        raise GraphError(f"{source.__qualname__} has no keys: a state needs one at least.")
    for key in channels.keys() & RESERVED_NAMES:
        raise GraphError(f"{source.__qualname__} has a key {key!r}, which is reserved: give it another name.")
    return Schema(source, channels, None if is_typeddict(source) else source)


def is_dataclass_type(source: Any) -> bool:
    return isinstance(source, type) and dataclasses.is_dataclass(source)


def is_pydantic(source: Any) -> bool:
    return isinstance(source, type) and "pydantic" in sys.modules and hasattr(source, "__pydantic_fields__")


def fields_of(instance: Any) -> dict[str, Any] | None:
    """What an instance of a schema writes when it is an update; None where `instance` is none.

    Of a pydantic model: the fields that were set, or that hold something else than None, or whose default is not None
    (LangGraph's rule); of a dataclass: all of them.
    """
    kind = cast("Any", type(instance))
    if is_dataclass_type(kind):
        return {field.name: getattr(instance, field.name) for field in dataclasses.fields(kind)}
    if not is_pydantic(kind):
        return None
    found: dict[str, Any] = {}
    for name, field in kind.__pydantic_fields__.items():
        value = getattr(instance, name)
        if name in instance.model_fields_set or value is not None or field.default is not None:
            found[name] = value
    return found


def _field_names(source: Any, hints: Mapping[str, Any]) -> Any:
    if is_typeddict(source):
        return hints
    if is_pydantic(source):
        return source.__pydantic_fields__
    return [field.name for field in dataclasses.fields(source)]


def _defaults(source: Any) -> dict[str, Callable[[], Any]]:
    """Per key with a default, what makes a fresh one."""
    made: dict[str, Callable[[], Any]] = {}
    if is_pydantic(source):
        for name, field in source.__pydantic_fields__.items():
            if not field.is_required():
                made[name] = lambda field=field: field.get_default(call_default_factory=True)
    elif is_dataclass_type(source):
        for field in dataclasses.fields(source):
            if field.default_factory is not dataclasses.MISSING:
                made[field.name] = field.default_factory
            elif field.default is not dataclasses.MISSING:
                made[field.name] = lambda value=field.default: value
    return made


def _channel(source: type, key: str, hint: Any, default: Any) -> Channel:
    while get_origin(hint) in (Required, NotRequired):
        hint = get_args(hint)[0]
    if get_origin(hint) is not Annotated:
        return LastValue()
    base, *metadata = get_args(hint)
    found = [item for item in metadata if callable(item) and not isinstance(item, type)]
    if not found:
        return LastValue()
    if len(found) > 1:
        raise GraphError(f"{source.__qualname__}.{key} names {len(found)} reducers, {found!r}: keep one of them.")
    _check_reducer(source, key, found[0])
    traits = traits_of(found[0])
    start = default if default is not MISSING else _constructor(base)
    return Reducer(traits.fold or found[0], start, traits.keeps_elements, traits.prepare)


def _check_reducer(source: type, key: str, reduce: Any) -> None:
    try:
        parameters = inspect.signature(reduce).parameters.values()
    except ValueError:  # a builtin that has none to show, such as `max`: taken at its word
        return
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in positional if p.default is p.empty]
    spread = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if len(needed) > 2 or (len(positional) < 2 and not spread):
        raise GraphError(
            f"Invalid reducer signature for {source.__qualname__}.{key}: expected `(current, update) -> new`, found "
            f"{getattr(reduce, '__name__', reduce)!r}{inspect.signature(reduce)}."
        )


def _constructor(base: Any) -> Callable[[], Any]:
    kind = get_origin(base) or base
    kind = CONCRETE.get(kind, kind)
    try:
        kind()
    except Exception:  # whatever stands in the way, there is no value to start from
        return lambda: MISSING
    return kind
