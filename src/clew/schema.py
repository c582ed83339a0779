"""A state schema read once: which channel each key has, and how nodes see the whole.

A TypedDict, a dataclass, a pydantic model or any annotated class becomes a `Schema` with a key for each annotation; any other
type becomes one whose only key is the whole state (`ROOT`). pydantic is never imported from here: a model is known by what it
has. Nothing here holds a value.
"""

import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, Final, NotRequired, Required, cast, get_args, get_origin, get_type_hints

from clew.channels import CONTAINERS, Channel, LastValue, own, reducing
from clew.constants import RESERVED_NAMES
from clew.errors import GraphError
from clew.managed import ManagedValue
from clew.types import Values

ROOT: Final = "__root__"
"""The key of a state that is one anonymous value."""


@dataclasses.dataclass(frozen=True)
class Schema:
    """What a state is made of.

    Attributes:
        source: what it was read from.
        channels: the rule of each key, in the order of the class. managed: the keys that the run works out.
        build: makes what nodes are given out of a dict of values; None where they are given the dict itself.
    """

    source: Any
    channels: Mapping[str, Channel]
    managed: Mapping[str, type[ManagedValue]]
    build: Callable[..., Any] | None

    @property
    def root(self) -> bool:
        return ROOT in self.channels

    @cached_property
    def view(self) -> "View":
        return View(tuple(self.channels), tuple(self.managed.items()), self.build, self.root)


class State(dict[str, Any]):
    """Many values, and what is known of them, so that a view of all need not look at each.

    Attributes:
        order: the keys as they stand, the very tuple of a view that has just these. held: those that hold containers.
    """

    __slots__ = ("held", "order")
    held: frozenset[str]
    order: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """How somebody sees the values: some keys, as a dict or as an instance of a schema; containers are copies (DESIGN §4)."""

    keys: tuple[str, ...]
    managed: tuple[tuple[str, type[ManagedValue]], ...] = ()
    build: Callable[..., Any] | None = None
    root: bool = False

    def plain(self, values: Values) -> Any:
        """The stored keys as a dict, or the one value of a root state (None before it has any)."""
        if self.root:
            return own(values.get(ROOT))
        if type(values) is State and values.order is self.keys:
            copied = {key: values[key].copy() for key in values.held}
            return dict(values, **copied) if copied else dict(values)
        return {key: value.copy() if type(value := values[key]) in CONTAINERS else value for key in self.keys if key in values}

    def __call__(self, values: Values, left: int) -> Any:
        """What a node is given; `left` is how many supersteps the run may still take."""
        state = self.plain(values)
        if self.managed:
            state |= {key: kind.get(left) for key, kind in self.managed}
        return state if self.build is None else self.build(**state)


def read_schema(source: Any) -> Schema:
    """Reads a state schema.

    Raises:
        GraphError: not a type; no keys; an annotation that cannot be resolved; a key with a reserved name; a callable in an
            annotation that is no reducer.
    """
    if not (is_typed_dict(source) or is_annotated_class(source)):
        return _root(source)
    try:
        hints = get_type_hints(source, include_extras=True)
    except NameError as error:
        raise GraphError(
            f"The annotations of {source.__qualname__} name {error.name!r}, which cannot be found: define or import it at the "
            f"top level of {source.__module__}."
        ) from error
    names = set(_field_names(source, hints))
    defaults = _defaults(source)
    managed = {key: kind for key in hints if key in names and (kind := _managed(hints[key]))}
    channels = {
        key: _channel(source.__qualname__, key, hints[key], defaults.get(key))
        for key in hints
        if key in names and key not in managed
    }
    if not channels:
        raise GraphError(f"{source.__qualname__} has no keys: a state needs one at least.")
    for key in (channels.keys() | managed.keys()) & RESERVED_NAMES:
        raise GraphError(f"{source.__qualname__} has a key {key!r}, which is reserved: give it another name.")
    return Schema(source, channels, managed, None if is_typed_dict(source) else source)


def _root(source: Any) -> Schema:
    if not (isinstance(source, type) or get_origin(source) is not None):
        raise GraphError(
            f"{source!r} cannot be a state schema: expected a TypedDict, a dataclass or a pydantic model, as in "
            "`class State(TypedDict): messages: Annotated[list, add_messages]`, or a plain type for a state of one value."
        )
    return Schema(source, {ROOT: _channel("The state", ROOT, source, None)}, {}, None)


def is_typed_dict(source: Any) -> bool:
    """Of `typing` or `typing_extensions`: before Python 3.13 `typing.is_typeddict` does not know the latter's."""
    return isinstance(source, type) and dict in source.__mro__ and hasattr(source, "__required_keys__")


def is_dataclass_type(source: Any) -> bool:
    return isinstance(source, type) and dataclasses.is_dataclass(source)


def is_pydantic(source: Any) -> bool:
    return isinstance(source, type) and "pydantic" in sys.modules and hasattr(source, "__pydantic_fields__")


def is_annotated_class(source: Any) -> bool:
    """Whether `source` is a class that says which keys it has: a dataclass, a model, a named tuple, any annotated class."""
    return isinstance(source, type) and bool(getattr(source, "__annotations__", None) or is_pydantic(source))


def fields_of(instance: Any) -> dict[str, Any] | None:
    """What an instance of a schema writes when it is an update; None where `instance` is none.

    Of a pydantic model: the fields that were set, or that hold something else than None, or whose default is not None
    (LangGraph's rule); of any other class: all annotated ones.
    """
    kind = cast("Any", type(instance))
    if is_dataclass_type(kind):
        return {field.name: getattr(instance, field.name) for field in dataclasses.fields(kind)}
    if not is_pydantic(kind):
        if not is_annotated_class(kind):
            return None
        return {name: getattr(instance, name) for name in get_type_hints(kind) if hasattr(instance, name)}
    found: dict[str, Any] = {}
    for name, field in kind.__pydantic_fields__.items():
        value = getattr(instance, name)
        if name in instance.model_fields_set or value is not None or field.default is not None:
            found[name] = value
    return found


def checker(source: Any) -> Callable[[Values, Iterable[str]], None] | None:
    """What refuses values that a pydantic model does not allow: called with all values, and the keys just written.

    None where there is nothing to check: only models do. A field is checked alone; where the model has validators of its own,
    the whole is, as soon as every required field is there. What it raises is pydantic's `ValidationError`.
    """
    if not is_pydantic(source):
        return None
    validator, fields = source.__pydantic_validator__, source.__pydantic_fields__
    required = {name for name, field in fields.items() if field.is_required()}
    together = bool(source.__pydantic_decorators__.model_validators) or bool(source.model_config.get("frozen"))

    def check(values: Values, written: Iterable[str]) -> None:
        ours = [key for key in written if key in fields]
        if not together:
            for key in ours:
                validator.validate_assignment(source.model_construct(), key, values[key])
        elif ours and required <= values.keys():
            source(**{key: values[key] for key in fields if key in values})

    return check


def refused(error: Exception) -> dict[str, str]:
    """Per key what a pydantic model says is wrong with its value, `""` for what is wrong with the whole; empty for an error of
    another kind."""
    listed: Any = getattr(error, "errors", None)
    found = cast("list[Any]", listed()) if callable(listed) else []
    return {str(one["loc"][0]) if one["loc"] else "": one["msg"] for one in found}


def _field_names(source: Any, hints: Mapping[str, Any]) -> Any:
    if is_typed_dict(source):
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


def _managed(hint: Any) -> type[ManagedValue] | None:
    for item in get_args(_bare(hint))[1:] if get_origin(_bare(hint)) is Annotated else ():
        if isinstance(item, type) and issubclass(item, ManagedValue):
            return item
    return None


def _bare(hint: Any) -> Any:
    while get_origin(hint) in (Required, NotRequired):
        hint = get_args(hint)[0]
    return hint


def _channel(owner: str, key: str, hint: Any, default: Callable[[], Any] | None) -> Channel:
    hint = _bare(hint)
    if get_origin(hint) is not Annotated:
        return LastValue()
    base, *metadata = get_args(hint)
    for item in metadata:
        if isinstance(item, Channel):
            return item
        if isinstance(item, type) and issubclass(item, Channel):
            return cast("Any", item)(base)
    found = [item for item in metadata if callable(item) and not isinstance(item, type)]
    if not found:
        return LastValue()
    if len(found) > 1:
        raise GraphError(f"{owner}.{key} names {len(found)} reducers, {found!r}: keep one of them.")
    _check_reducer(owner, key, found[0])
    return reducing(base, found[0], default)


def _check_reducer(owner: str, key: str, reduce: Any) -> None:
    try:
        parameters = inspect.signature(reduce).parameters.values()
    except ValueError:  # a builtin that has none to show, such as `max`: taken at its word
        return
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in positional if p.default is p.empty]
    spread = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if len(needed) > 2 or (len(positional) < 2 and not spread):
        raise GraphError(
            f"Invalid reducer signature for {owner}.{key}: expected `(current, update) -> new`, found "
            f"{getattr(reduce, '__name__', reduce)!r}{inspect.signature(reduce)}."
        )
