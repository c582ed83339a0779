"""The one door to `langchain_core`: the only file that imports it, always late. Nothing here knows of graphs or of storing.

Messages and documents are packed into short arrays and made again from a closed table of classes, without their validators:
what is stored is what was once valid.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from clew.errors import InvalidUpdateError, MissingDependency

if TYPE_CHECKING:
    from langchain_core.messages import AnyMessage as AnyMessage
    from langchain_core.messages import RemoveMessage as RemoveMessage

NAMES: Final = {
    "human": "HumanMessage",
    "ai": "AIMessage",
    "system": "SystemMessage",
    "tool": "ToolMessage",
    "function": "FunctionMessage",
    "chat": "ChatMessage",
    "remove": "RemoveMessage",
    "human+": "HumanMessageChunk",
    "ai+": "AIMessageChunk",
    "system+": "SystemMessageChunk",
    "tool+": "ToolMessageChunk",
    "function+": "FunctionMessageChunk",
    "chat+": "ChatMessageChunk",
}
OWN: Final = frozenset({"content", "page_content", "id", "type"})
_blank: Final = cast("Callable[[Any], Any]", object.__new__)  # past constructors and validators
_set: Final = object.__setattr__


class Shape(NamedTuple):
    """A class as it is packed: its short name, the field with its content, what makes a fresh dict of its defaults, and whether
    it is open to fields of any name."""

    name: str
    kind: Any
    content: str
    fresh: Callable[[], dict[str, Any]]
    open: bool


@cache
def _module() -> Any:
    try:
        from langchain_core import messages
    except ImportError as error:
        raise MissingDependency(
            'Messages are those of langchain-core, which is not installed: type `pip install "clew[langchain]"`.'
        ) from error
    return messages


@cache
def _shapes() -> tuple[dict[Any, Shape], dict[str, Shape]]:
    """The closed table, by class and by short name."""
    messages = _module()
    from langchain_core.documents import Document

    named = {short: getattr(messages, name) for short, name in NAMES.items()} | {"document": Document}
    shapes = [_shape(short, kind) for short, kind in named.items()]
    return {shape.kind: shape for shape in shapes}, {shape.name: shape for shape in shapes}


def _shape(name: str, kind: Any) -> Shape:
    plain: dict[str, Any] = {}
    made: list[tuple[str, Callable[[], Any]]] = []
    for field, info in kind.model_fields.items():
        if info.default_factory is not None:
            made.append((field, info.default_factory))
        elif not info.is_required():
            plain[field] = info.default

    def fresh() -> dict[str, Any]:
        fields = plain.copy()
        for field, factory in made:
            fields[field] = factory()
        return fields

    return Shape(
        name, kind, "page_content" if name == "document" else "content", fresh, kind.model_config.get("extra") == "allow"
    )


def pack(value: Any) -> list[Any] | None:
    """`[type, id, content, fields that differ from their defaults, ...]` of a message or document, trailing Nones left out.

    None for an object of any other class, a subclass of these too.
    """
    shape = _shapes()[0].get(type(value))
    if shape is None:
        return None
    fields, defaults = value.__dict__, shape.fresh()
    other = {
        name: field
        for name, field in fields.items()
        if name not in OWN and (name not in defaults or field != defaults[name] or type(field) is not type(defaults[name]))
    }
    if fields["type"] != defaults["type"]:
        other["type"] = fields["type"]
    was_set: set[str] = value.__pydantic_fields_set__ ^ _supposed(shape, fields["id"], other)
    packed = [
        shape.name,
        fields["id"],
        fields[shape.content],
        other or None,
        sorted(was_set) or None,
        value.__pydantic_extra__ or None,
    ]
    while packed[-1] is None:
        packed.pop()
    return packed


def unpack(packed: Sequence[Any]) -> Any:
    """The message or document that `pack` packed.

    Raises:
        ValueError: nothing that `pack` made. MissingDependency: langchain-core is not installed.
    """
    try:
        shape = _shapes()[1][packed[0]]
        id_, content = packed[1], packed[2]
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{packed!r} is not a packed message") from error
    fields = shape.fresh()
    fields[shape.content] = content
    fields["id"] = id_
    other, was_set, extra = packed[3:6] if len(packed) == 6 else (*packed[3:], None, None, None)[:3]
    if other:
        fields.update(other)
    supposed = _supposed(shape, id_, other or ())
    made = _blank(shape.kind)
    _set(made, "__dict__", fields)
    _set(made, "__pydantic_fields_set__", supposed ^ set(was_set) if was_set else supposed)
    _set(made, "__pydantic_extra__", extra or ({} if shape.open else None))
    _set(made, "__pydantic_private__", None)
    return made


def _supposed(shape: Shape, id_: Any, other: Iterable[str]) -> set[str]:
    """The fields that are most likely to have been set by hand, so that mostly nothing need be stored about it."""
    return {shape.content, *other} if id_ is None else {shape.content, "id", *other}


def as_messages(given: Any) -> list[Any]:
    """One message or a list of them, as message objects: strings are human, pairs `(role, content)`, dicts have both by name.

    Message objects stay the same objects; chunks become full messages.

    Raises:
        InvalidUpdateError: something that is no message.
    """
    messages = _module()
    items = cast("list[Any]", given) if isinstance(given, list) else [given]
    found: list[Any] = []
    for item in items:
        if isinstance(item, messages.BaseMessageChunk):
            found.append(messages.message_chunk_to_message(item))
        elif isinstance(item, messages.BaseMessage):
            found.append(item)
        else:
            found.append(_converted(messages, item))
    return found


def _converted(messages: Any, item: Any) -> Any:
    try:
        return messages.convert_to_messages([item])[0]
    except (NotImplementedError, ValueError, KeyError, TypeError) as error:
        raise InvalidUpdateError(
            f"{item!r} is not a message: expected a message object, a string, a `(role, content)` pair such as "
            '("user", "hi"), or a dict such as {"role": "user", "content": "hi"}.'
        ) from error


def is_removal(message: Any) -> bool:
    return message.type == "remove"


def in_openai_format(found: list[Any]) -> list[Any]:
    """The messages with their contents as OpenAI's blocks."""
    messages = _module()
    return messages.convert_to_messages(messages.convert_to_openai_messages(found))


def __getattr__(name: str) -> Any:
    if name in ("RemoveMessage", "AnyMessage"):
        return getattr(_module(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
