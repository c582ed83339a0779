"""The one door to `langchain_core`: the only file that imports it, always late. Nothing here knows of graphs or of storing.

Messages and documents are packed into short arrays and made again from a closed table of classes, without their validators:
what is stored is what was once valid.
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from clew.errors import InvalidUpdateError, MissingDependency
from clew.tool_output import derive_from

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
TRACING: Final = ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2", "LANGSMITH_TRACING_V2")
"""Variables of the environment that turn LangSmith's tracing on."""
MISSING: Final = object()
_blank: Final = cast("Callable[[Any], Any]", object.__new__)  # past constructors and validators
_set: Final = object.__setattr__
_PARTS: Final = itemgetter(slice(0, 4), slice(5, 29), slice(30, 34), slice(35, None))  # of an id with a dash after each four


class Shape(NamedTuple):
    """A class as it is packed.

    Attributes:
        content: the field with its content, which has a place of its own in the array, as `id` has.
        blank: every field in the class's order, with its default; None where a fresh one must be made or one must be given.
        made: the fields whose defaults are made afresh, each with what makes them.
        usual: the fields beside content and id, each with the default that goes without saying, `MISSING` where there is none.
        required: the fields of `usual` that have no default.
        open: whether it takes fields of any name.
    """

    name: str
    kind: Any
    content: str
    blank: dict[str, Any]
    made: list[tuple[str, Callable[[], Any]]]
    usual: list[tuple[str, Any]]
    required: frozenset[str]
    open: bool


@cache
def _module() -> Any:
    try:
        from langchain_core import messages
    except ImportError as error:
        raise MissingDependency(
            'Messages are those of langchain-core, which is not installed: type `pip install "clew[langchain]"`.'
        ) from error
    meet()
    return messages


def meet() -> None:
    """Lets tools of langchain-core return our `Command`s, which they would turn into text otherwise, where it is in use."""
    known = sys.modules.get("langchain_core.messages.tool")
    if known is not None:
        derive_from(known.ToolOutputMixin)


@cache
def _shapes() -> dict[Any, Shape]:
    """The closed table, by class."""
    messages = _module()
    from langchain_core.documents import Document

    named = {short: getattr(messages, name) for short, name in NAMES.items()} | {"document": Document}
    return {kind: _shape(short, kind) for short, kind in named.items()}


@cache
def _makers() -> dict[str, Callable[..., Any]]:
    """And what makes objects of each class, by short name."""
    return {shape.name: _maker(shape) for shape in _shapes().values()}


def _shape(name: str, kind: Any) -> Shape:
    content = "page_content" if name == "document" else "content"
    blank: dict[str, Any] = {}
    made: list[tuple[str, Callable[[], Any]]] = []
    usual: list[tuple[str, Any]] = []
    for field, info in kind.model_fields.items():
        blank[field] = None if info.is_required() else info.get_default()
        if info.default_factory is not None:
            made.append((field, info.default_factory))
        if field not in (content, "id"):
            usual.append((field, MISSING if info.is_required() else info.get_default(call_default_factory=True)))
    required = frozenset(field for field, default in usual if default is MISSING)
    return Shape(name, kind, content, blank, made, usual, required, kind.model_config.get("extra") == "allow")


def pack(value: Any) -> list[Any] | None:
    """`[type, id, content, fields that differ from their defaults, ...]` of a message or document, trailing Nones left out.

    An id that is a UUID as Python writes it, as those are that `add_messages` gives, takes its 16 bytes.

    None for an object of any other class, a subclass of these too, and for one that lacks fields of its class.
    """
    shape = _shapes().get(type(value))
    if shape is None:
        return None
    fields = value.__dict__
    if fields.keys() != shape.blank.keys():
        return None
    other: dict[str, Any] = {}
    for name, default in shape.usual:
        field = fields[name]
        # types first: fields hold anything, and an array that is compared gives an array
        if field is not default and (type(field) is not type(default) or field != default):
            other[name] = field
    id_, was_set, extra = fields["id"], value.__pydantic_fields_set__, value.__pydantic_extra__
    if type(id_) is bytes:  # it would come back as text
        return None
    supposed = _supposed(shape, id_, other)
    packed = [shape.name, _short(id_), fields[shape.content]]
    if extra:
        packed += (other or None, sorted(was_set ^ supposed) or None, extra)
    elif was_set != supposed:
        packed += (other or None, sorted(was_set ^ supposed))
    elif other:
        packed.append(other)
    return packed


def as_text(value: Any) -> str | None:
    """`message.text` as a plain string: it is one of a class of its own, which can be called too. None for anything else."""
    return str.__str__(value) if type(value).__name__ == "TextAccessor" and isinstance(value, str) else None


def unpack(packed: Sequence[Any]) -> Any:
    """The message or document that `pack` packed. What its fields hold is not looked at.

    A field that its class no longer has is kept as one of its extra fields, as the class's constructor would.

    Raises:
        ValueError: nothing that `pack` made. MissingDependency: langchain-core is not installed.
    """
    try:
        return _makers()[packed[0]](*packed)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{_shown(packed)} is not a packed message ({str(error)[:200]})") from error


def _shown(packed: Any) -> str:
    from reprlib import repr  # what is shown of it costs no more where it is long or deep

    return repr(packed)


def from_fields(name: str, fields: Mapping[str, Any]) -> Any:
    """A message or document by the name of its class and all of its fields; None where that is none of these classes.

    Raises:
        ValueError: fields that its class cannot have. MissingDependency: langchain-core is not installed.
    """
    shape = next((shape for shape in _shapes().values() if shape.kind.__name__ == name), None)
    if shape is None:
        return None
    other = {key: value for key, value in fields.items() if key not in (shape.content, "id")}
    for key, default in shape.usual:
        if key in other and type(other[key]) is type(default) and other[key] == default:
            del other[key]
    return unpack([shape.name, fields.get("id"), fields.get(shape.content), other])


def _maker(shape: Shape) -> Callable[..., Any]:
    """What makes an object of a class out of the parts that `pack` packed. What is known beforehand is bound here: a thread has
    thousands of messages, most of them with nothing but an id and a content."""
    kind, content, fresh, required, is_open = shape.kind, shape.content, shape.made, shape.required, shape.open
    blank = shape.blank.copy

    def make(name: str, id_: Any, text: Any, other: Any = None, changed: Any = None, extra: Any = None) -> Any:
        fields = blank()
        for field, factory in fresh:
            fields[field] = factory()
        fields[content] = text
        fields["id"] = _long(id_) if type(id_) is bytes else id_
        was_set = {content} if id_ is None else {content, "id"}
        more: dict[str, Any] = {}
        if other is not None or changed is not None or extra is not None or required:
            _fill(shape, fields, was_set, more, other, changed, extra)
        made = _blank(kind)
        _set(made, "__dict__", fields)
        _set(made, "__pydantic_fields_set__", was_set)
        _set(made, "__pydantic_extra__", more if is_open else None)
        _set(made, "__pydantic_private__", None)
        return made

    return make


def _fill(
    shape: Shape, fields: dict[str, Any], was_set: set[str], more: dict[str, Any], other: Any, changed: Any, extra: Any
) -> None:
    """Puts what else was packed where it belongs: into the fields, the names of those that were set, and the extra fields."""
    for part, kind in ((other, dict), (changed, list), (extra, dict)):
        if part is not None and type(part) is not kind:  # such as a value of an unknown type, which must not be touched
            raise TypeError(f"found a {type(part).__name__}, expected a {kind.__name__}")
    more.update(extra or ())
    was_set.update(other or ())
    was_set.symmetric_difference_update(changed or ())
    fields.update(other or ())
    if len(fields) > len(shape.blank):  # names that the class has no field for must not come to hide its methods
        more.update((field, fields.pop(field)) for field in other.keys() - shape.blank.keys())
    if not shape.required <= (other or {}).keys():
        raise ValueError(f"without {sorted(shape.required)}")
    if more and not (shape.open and all(type(field) is str for field in more)):
        raise ValueError(f"a {shape.kind.__name__} has no fields {list(more)}")


def _short(id_: Any) -> Any:
    if type(id_) is str and len(id_) == 36:
        try:
            short = bytes.fromhex(id_.replace("-", ""))
        except ValueError:
            return id_
        if len(short) == 16 and _long(short) == id_:
            return short
    return id_


def _long(short: bytes) -> str:
    if len(short) != 16:
        raise ValueError(f"an id of {len(short)} bytes")
    return "".join(_PARTS(short.hex("-", 2)))


def _supposed(shape: Shape, id_: Any, other: Iterable[str]) -> set[str]:
    """The fields that are most likely to have been set by hand, so that mostly nothing need be stored about it."""
    return {shape.content, *other} if id_ is None else {shape.content, "id", *other}


@cache
def _full() -> frozenset[Any]:
    """The classes that need no coercion."""
    return frozenset(getattr(_module(), name) for short, name in NAMES.items() if not short.endswith("+"))


def as_messages(given: Any) -> list[Any]:
    """One message or a list of them, as message objects: strings are human, pairs `(role, content)`, dicts have both by name.

    Message objects stay the same objects; chunks become full messages.

    Raises:
        InvalidUpdateError: something that is no message.
    """
    messages = _module()
    items = cast("list[Any]", given) if isinstance(given, list) else [given]
    if _full().issuperset(map(type, items)):  # mostly so, and at C speed
        return items.copy()
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
            f"{repr(item)[:200]} is not a message: expected a message object, a string, a `(role, content)` pair such as "
            '("user", "hi"), or a dict such as {"role": "user", "content": "hi"}.'
        ) from error


def is_removal(message: Any) -> bool:
    return message.type == "remove"


@cache
def _lasting() -> frozenset[Any]:
    return _full() - {_module().RemoveMessage}


def has_removals(found: list[Any]) -> bool:
    """Whether a `RemoveMessage` is among these messages."""
    if _lasting().issuperset(map(type, found)):  # mostly so, and at C speed
        return False
    return any(isinstance(message, _module().RemoveMessage) for message in found)


def in_openai_format(found: list[Any]) -> list[Any]:
    """The messages with their contents as OpenAI's blocks, new objects with the same ids; what is split off has none."""
    messages = _module()
    return messages.convert_to_messages(messages.convert_to_openai_messages(found, include_id=True))


def embeddings_named(name: str) -> Any:
    """The model of embeddings of this name, as in `"openai:text-embedding-3-small"`.

    Raises:
        MissingDependency: langchain or the model's own package is not installed.
    """
    try:
        from langchain.embeddings import init_embeddings  # pyright: ignore  (need not be installed)
    except ImportError as error:
        raise MissingDependency(
            f"The embeddings {name!r} are reached through langchain, which is not installed: type `pip install langchain` and "
            "the package of the model, such as `langchain-openai`. Or hand in a function of a list of texts."
        ) from error
    try:
        return init_embeddings(name)  # pyright: ignore
    except ImportError as error:
        raise MissingDependency(f"The embeddings {name!r} cannot be had: {error}") from error


def messages_in(value: Any, *, deep: bool = False) -> list[Any]:
    """The messages that a value is, or has in it as a list or tuple; `deep`: or among the values of a dict or an object."""
    messages = sys.modules.get("langchain_core.messages")
    if messages is None:
        return []
    if isinstance(value, list | tuple):
        return [item for item in cast("Sequence[Any]", value) if isinstance(item, messages.BaseMessage)]
    if isinstance(value, messages.BaseMessage):
        return [value]
    fields: Any = cast("Any", value) if isinstance(value, dict) else getattr(value, "__dict__", None)
    return [message for one in fields.values() for message in messages_in(one)] if deep and fields else []


def is_heard(callbacks: Any) -> bool:
    """Whether there may be somebody to tell of a run that is called with these callbacks; costs next to nothing."""
    if callbacks:
        return True
    config = sys.modules.get("langchain_core.runnables.config")
    if config is None:
        return False
    around, context = config.var_child_runnable_config.get(), sys.modules.get("langchain_core.tracers.context")
    if around and around.get("callbacks"):
        return True
    if context is not None and (context.tracing_v2_callback_var.get() or context.run_collector_var.get()):
        return True
    return _is_traced()


@cache
def _is_traced() -> bool:
    """Whether the environment turns LangSmith's tracing on. Looked at once, as LangChain does: a variable that is not set takes
    longer to ask for than all else that is asked here."""
    return any(os.environ.get(name) == "true" for name in TRACING)


def __getattr__(name: str) -> Any:
    if name in ("RemoveMessage", "AnyMessage"):
        return getattr(_module(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
