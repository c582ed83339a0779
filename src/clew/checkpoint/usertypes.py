"""Types of users: dataclasses, pydantic models, enums and named tuples, each under a tag that is looked up here only.

An object is made again from its fields, without its constructor and its validators. Nothing is imported by the name that a row
gives.
"""

import dataclasses
import enum
import sys
from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast, get_args, get_origin, get_type_hints

from clew.errors import DamagedData, OpaqueValue
from clew.schema import is_typed_dict
from clew.types import Command, Failed, Interrupt, Nothing, Overwrite, RetryPolicy, Send, TimeoutPolicy

USER: Final = 27  # the code of all of them; see `registry`
FOREIGN: Final = 32  # of those that another library has written, before the class was known here
# past whatever a class does when it is called
_blank: Final = cast("Callable[[Any], Any]", object.__new__)


class Parts(NamedTuple):
    """What an object is made of.

    `content` is plain data; `packed` where it is bytes already. `elements`: it is a list of the object's elements;
    `fields`: its last entry is this dict of the object's fields.
    """

    code: int
    content: Any
    packed: bool = False
    elements: bool = False
    fields: dict[str, Any] | None = None


class Opaque:
    """A stored value whose type nobody has registered here. It goes back as it came; touching it raises OpaqueValue.

    Attributes:
        tag: what the row calls its type. data: its bytes.
    """

    __slots__ = ("code", "data", "tag")

    def __init__(self, tag: str, data: bytes, code: int = USER) -> None:
        self.tag = tag
        self.data = data
        self.code = code

    def __repr__(self) -> str:
        return f"<Opaque {self.tag!r}, {len(self.data)} bytes>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and (self.code, self.data) == (other.code, other.data)

    def __hash__(self) -> int:
        return hash((self.code, self.data))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise self._touched()

    def __getitem__(self, key: Any) -> Any:
        raise self._touched()

    def __iter__(self) -> Any:
        raise self._touched()

    def _touched(self) -> OpaqueValue:
        return OpaqueValue(
            f"A stored value has the type {self.tag!r}, which is not registered in this process: name the class in the state's "
            "schema, or call `clew.register(TheClass)` once before the thread is read."
        )


_tags: dict[type, str] = {}
_classes: dict[str, type] = {}
_forms: dict[type, str] = {}


def register(*types: type, name: str | None = None) -> None:
    """Lets values of these types be stored: dataclasses, pydantic models, enums and named tuples.

    Those that a state schema names are registered by `compile`; others once, where the program starts, in every process that
    reads them.

    Args:
        name: what rows call the type, with one type only; default its module and qualified name. Give the old name to a class
            that has moved, and what was stored goes on being read.

    Raises:
        TypeError: not such a type. ValueError: the name is taken by another class.
    """
    if name is not None and len(types) != 1:
        raise ValueError(f"`name` goes with one type, got {len(types)}: call register once for each.")
    for kind in types:
        form = form_of(kind)
        if form is None:
            raise TypeError(
                f"{kind!r} cannot be registered: expected a dataclass (that is no list, dict or exception as well), a pydantic "
                "model, an enum or a named tuple. Turn it into one, or store plain data."
            )
        tag = name or f"{kind.__module__}.{kind.__qualname__}"
        taken = _classes.get(tag)
        if taken is not None and taken is not kind and name is not None and title(taken) != title(kind):
            raise ValueError(f"The name {tag!r} is taken by {taken!r}: give {kind!r} another one.")
        _classes[tag], _forms[kind] = kind, form
        if name is None or kind not in _tags:
            _tags[kind] = tag


def register_schema(schema: Any) -> None:
    """Registers every dataclass, pydantic model, enum and named tuple that a state schema reaches through its annotations."""
    seen: set[Any] = set()
    waiting: list[Any] = [schema]
    while waiting:
        kind = waiting.pop()
        if get_origin(kind) is not None:
            waiting += get_args(kind)
            continue
        if not isinstance(kind, type) or kind in seen or kind.__module__.partition(".")[0] == "langchain_core":
            continue
        seen.add(kind)
        if form_of(kind) is not None:
            register(kind)
        elif not is_typed_dict(kind):
            continue
        try:
            waiting += get_type_hints(kind, include_extras=True).values()
        except Exception:  # an annotation that cannot be resolved here: what it names is registered by hand
            waiting += [hint for hint in getattr(kind, "__annotations__", {}).values() if not isinstance(hint, str)]


def title(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def form_of(kind: Any) -> str | None:
    """Which of the four kinds of user type a class is, None for any other."""
    ancestors: tuple[Any, ...] = getattr(kind, "__mro__", ())
    if enum.Enum in ancestors:
        return "enum"
    if ancestors and hasattr(kind, "__dataclass_fields__"):
        own = ancestors[:-1]  # one that is a list or an exception as well holds more than its fields
        return None if any(base.__module__ == "builtins" for base in own) else "dataclass"
    if tuple in ancestors and hasattr(kind, "_fields"):
        return "namedtuple"
    return "pydantic" if "pydantic" in sys.modules and ancestors and hasattr(kind, "__pydantic_fields__") else None


def user_parts(value: Any, tag: str) -> Parts:
    kind = cast("Any", type(value))
    match _forms[kind]:
        case "enum":
            member = value.value if issubclass(kind, enum.Flag) else value.name
            return Parts(USER, [tag, member])
        case "dataclass":
            fields: dict[str, Any] = {
                f.name: getattr(value, f.name) for f in dataclasses.fields(kind) if hasattr(value, f.name)
            }
            return Parts(USER, [tag, fields], fields=fields)
        case "namedtuple":
            fields = value._asdict()
            return Parts(USER, [tag, fields], fields=fields)
        case _:
            known = kind.__pydantic_fields__  # what a cached property has left there is no field
            fields = {name: field for name, field in value.__dict__.items() if name in known}
            extra, private = value.__pydantic_extra__, value.__pydantic_private__
            return Parts(USER, [tag, sorted(value.__pydantic_fields_set__), extra, private, fields], fields=fields)


def make_user(code: int, payload: bytes, decode: Callable[[bytes], Any]) -> Any:
    parts = decode(payload)
    if type(parts) is not list or len(parts) < 2 or type(parts[0]) is not str:  # pyright: ignore[reportUnknownArgumentType]
        raise DamagedData(f"A stored object holds {payload[:20]!r}…, which is not something Clew wrote.")
    tag, *rest = cast("list[Any]", parts)
    kind = cast("Any", _classes.get(tag))
    if kind is None:
        return Opaque(tag, payload)
    form = _forms[kind]
    if form == "enum":
        return _member(kind, tag, rest[0])
    if type(rest[-1]) is not dict:
        raise DamagedData(f"A stored {tag!r} is damaged: a dict of its fields expected, got {type(rest[-1])!r}.")
    fields = cast("dict[str, Any]", rest[-1])
    if form in ("namedtuple", "dataclass"):
        return _made(kind, form, fields)
    return _filled(_blank(kind), kind, fields, *rest[:-1])


def _member(kind: Any, tag: str, given: Any) -> Any:
    """The member of an enum: of a flag by its value, which is one number for several, of any other by its name."""
    if not issubclass(kind, enum.Flag):
        found = kind.__members__.get(given) if type(given) is str else None
    elif type(given) is int and abs(given) >> max(64, *[member.value.bit_length() for member in kind]):
        found = None  # flags that are not there are made one by one
    else:
        found = kind(given) if type(given) is int else None
    if found is None:
        raise DamagedData(
            f"A stored {tag!r} is {str(given)[:60]!r}, which {kind!r} does not have: give it that member again, if only to "
            "read what is stored."
        )
    return found


def _filled(made: Any, kind: Any, fields: dict[str, Any], was_set: Any, extra: Any, private: Any) -> Any:
    """A pydantic model with its fields, past its validators. Names that are no fields are left out, or they would come to hide
    its methods."""
    for found in (extra, private):
        if found is not None and type(found) is not dict:
            raise DamagedData(f"A stored {kind!r} is damaged: a dict expected, got {type(found)!r}.")
    known = kind.__pydantic_fields__
    whole = {n: fields[n] if n in fields else f.get_default(call_default_factory=True) for n, f in known.items()}
    object.__setattr__(made, "__dict__", whole)
    object.__setattr__(made, "__pydantic_fields_set__", set(was_set))
    object.__setattr__(made, "__pydantic_extra__", extra)
    object.__setattr__(made, "__pydantic_private__", private)
    return made


def _made(kind: Any, form: str, fields: dict[str, Any]) -> Any:
    if form == "namedtuple":
        return kind._make([fields[f] if f in fields else kind._field_defaults[f] for f in kind._fields])
    made = _blank(kind)
    for field in dataclasses.fields(kind):
        _set_field(made, field, fields)
    return made


def make_foreign(code: int, payload: bytes, decode: Callable[[bytes], Any]) -> Any:
    """An object as another library describes it: the names of its module and its class, what its one argument was, and its
    fields. Of a class that is registered the object is made; whatever is not comes back as it is, until its class is.

    pydantic models are validated, for their fields were dumped all the way down; where they do not fit any more, as in that
    library, they are made of what there is. Other classes are made without their constructors.
    """
    said: Any = decode(payload)
    if type(said) is not list or [type(one) for one in cast("list[Any]", said)] != [str, str, list, dict]:
        raise DamagedData(f"A stored object holds {payload[:20]!r}…, which is not something Clew wrote.")
    module, name, given, fields = cast("tuple[str, str, list[Any], dict[str, Any]]", said)
    kind = cast("Any", _named(module, name))
    form = _forms.get(kind)
    if form == "enum" and given:
        value = given[0]
        if issubclass(kind, enum.Flag):
            return _member(kind, f"{module}.{name}", value)
        found = next((member for member in kind if type(member.value) is type(value) and member.value == value), None)
        return Opaque(f"{module}.{name}", payload, code) if found is None else found
    if form == "pydantic":
        try:
            return kind.model_validate(fields)
        except Exception:  # whatever validators of users raise
            return kind.model_construct(**fields)
    if form in ("dataclass", "namedtuple"):
        return _made(kind, form, fields)
    return Opaque(f"{module}.{name}", payload, code)


def _named(module: str, name: str) -> type | None:
    """A class by its module and name; one of a program that was started as a script may be of any module by now."""
    found = _classes.get(f"{module}.{name}")
    if found is not None:
        return found
    same = {kind for kind in _tags if kind.__name__ == name and "__main__" in (module, kind.__module__)}
    return same.pop() if len(same) == 1 else None


def _set_field(made: Any, field: "dataclasses.Field[Any]", fields: dict[str, Any]) -> None:
    if field.name in fields:
        value = fields[field.name]
    elif field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:  # a field gained since, without a default: there is nothing to set it to
        return
    object.__setattr__(made, field.name, value)


def tag_of(kind: type) -> str | None:
    return _tags.get(kind)


register(Send, name="clew.Send")
register(Command, name="clew.Command")
register(Nothing, name="clew.Nothing")
register(Overwrite, name="clew.Overwrite")
register(TimeoutPolicy, name="clew.TimeoutPolicy")
register(RetryPolicy, name="clew.RetryPolicy")
register(Interrupt, name="clew.Interrupt")
register(Failed, name="clew.Failed")
