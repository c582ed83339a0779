"""Conversations: the `messages` key and its reducer. Importing this imports no message library; using it does."""

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypedDict
from uuid import uuid4

from clew.channels import reducer
from clew.errors import ClewError
from clew.interop.langchain import as_messages, in_openai_format, is_removal

if TYPE_CHECKING:
    from clew.interop.langchain import AnyMessage
else:
    AnyMessage = Any

REMOVE_ALL_MESSAGES: Final = "__remove_all__"
"""The id of a `RemoveMessage` that clears the list; what stands after it in the same update stays."""

Format = Literal["langchain-openai"]
_id: Final = attrgetter("id")

# The ids of the lists merged last, so that appending to a long conversation need not read all of it again. Each list stands
# beside its ids, so that its address is its own for as long as it is remembered.
_ids: Final[dict[int, tuple[Any, set[str]]]] = {}
REMEMBERED: Final = 32


class UnknownMessage(ClewError, ValueError):
    """A RemoveMessage names an id that no message has."""


def prepare_messages(update: Any) -> list[Any]:
    """An update as message objects with ids; ids that are missing are filled in, on the caller's own objects."""
    messages = as_messages(update)
    for message in messages:
        if message.id is None:
            message.id = str(uuid4())
    return messages


def merge_messages(left: list[Any], right: list[Any]) -> list[Any]:
    """`add_messages` for two lists that are prepared, of which `left` is the graph's own."""
    for index in range(len(right) - 1, -1, -1):
        if is_removal(right[index]) and right[index].id == REMOVE_ALL_MESSAGES:
            return [message for message in right[index + 1 :] if not is_removal(message)]
    new = list(map(_id, right))
    known = _ids.pop(id(left), (None, set[str]()))
    ids = known[1] if known[0] is left and len(known[1]) == len(left) else set(map(_id, left))
    if len(set(new)) < len(new) or any(map(is_removal, right)) or not ids.isdisjoint(new):
        return _replaced(left, right)
    merged = left + right
    ids.update(new)
    _ids[id(merged)] = merged, ids
    if len(_ids) > REMEMBERED:
        _ids.pop(next(iter(_ids)), None)
    return merged


def _replaced(left: list[Any], right: list[Any]) -> list[Any]:
    merged = left.copy()
    at = {message.id: index for index, message in enumerate(merged)}
    removed: set[str] = set()
    for message in right:
        known = at.get(message.id)
        if is_removal(message):
            if known is None:
                raise UnknownMessage(
                    f"RemoveMessage names the id {message.id!r}, which no message has: they are "
                    "in `state['messages']`, each with its `id`."
                )
            removed.add(message.id)
        elif known is None:
            at[message.id] = len(merged)
            merged.append(message)
        else:
            merged[known] = message
            removed.discard(message.id)
    return [message for message in merged if message.id not in removed]


@reducer(keeps_elements=True, prepare=prepare_messages, fold=merge_messages)
def add_messages(left: Any = None, right: Any = None, *, format: Format | None = None) -> Any:
    """Adds messages to a list: one with a known id replaces its predecessor in place, any other is appended.

    Args:
        left, right: one message or a list; each a message object, a string (human), a `(role, content)` pair or a dict with
            role and content. Messages without an id are given one (a UUID4), in place. A `RemoveMessage(id=…)` in `right` takes
            that message out; `RemoveMessage(id=REMOVE_ALL_MESSAGES)` all before it.
        format: `"langchain-openai"` gives contents as OpenAI's blocks. With neither side given, returns a reducer with that
            format, for `Annotated[list, add_messages(format="langchain-openai")]`.

    Returns:
        A new list; kept messages are the same objects, and `left` is left alone.

    Raises:
        ValueError: one side only; another format; a RemoveMessage whose id no message has.
        InvalidUpdateError: something that is no message. MissingDependency: langchain-core is not installed.
    """
    if format not in (None, "langchain-openai"):
        raise ValueError(f"format is {format!r}: expected 'langchain-openai' or None.")
    if left is None and right is None:
        return _formatted(format)
    if left is None or right is None:
        raise ValueError("add_messages needs both sides, or neither: add_messages(left, right).")
    merged = merge_messages(prepare_messages(left), prepare_messages(right))
    return in_openai_format(merged) if format else merged


def _formatted(format: Format | None) -> Callable[[Any, Any], Any]:
    @reducer(prepare=prepare_messages)
    def add(left: Any, right: Any) -> Any:
        return add_messages(left, right, format=format)

    return add


class MessagesState(TypedDict):
    """A state with a conversation; add keys of your own in a subclass."""

    messages: Annotated[list[AnyMessage], add_messages]


def __getattr__(name: str) -> Any:
    if name == "RemoveMessage":
        from clew.interop.langchain import RemoveMessage

        return RemoveMessage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
