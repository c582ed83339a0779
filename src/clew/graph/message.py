"""Conversations: the `messages` key and its reducer. Importing this imports no message library; using it does."""

import os
from collections import OrderedDict
from collections.abc import Callable
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, TypedDict

from clew.channels import reducer
from clew.errors import UnknownMessage
from clew.interop.langchain import as_messages, has_removals, in_openai_format, is_removal
from clew.nouns import maker

if TYPE_CHECKING:
    from clew.interop.langchain import AnyMessage
else:
    AnyMessage = Any

REMOVE_ALL_MESSAGES: Final = "__remove_all__"
"""The id of a `RemoveMessage` that clears the list; what stands after it in the same update stays."""

Format = Literal["langchain-openai"]


_ready: list[str] = []
"""Random ids that nobody has taken; a forked child must not have its parent's."""
os.register_at_fork(after_in_child=_ready.clear)
VARIANTS: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
"""The digit of a UUID that says what it is one of, by the random one in its place."""


class Seen(NamedTuple):
    """A list that was merged lately: the ids of its messages, and the addresses of their objects, which it keeps alive.

    `added` has been appended to it since, and is in the sets too: routers see a merge before it is made for good.
    """

    messages: list[Any]
    ids: set[str]
    objects: set[int]
    added: list[Any] | None = None


_seen, _id_of = maker(Seen), attrgetter("id")

# By the address of the list, so that appending to a long conversation need not read all of it again. Runs in many threads share
# it: each step is one call that no other thread can come between.
_lately: Final[OrderedDict[int, Seen]] = OrderedDict()
REMEMBERED: Final = 32
FEW: Final = 8
"""So many messages are remembered: fewer are sooner read again."""


def random_id() -> str:
    """A UUIDv4 in its usual form. Asking the system takes as long as all the rest, so several are made at once."""
    try:
        return _ready.pop()
    except IndexError:  # several threads may find it so
        drawn = os.urandom(16 * 32).hex()
        made = [_random(drawn[at : at + 32]) for at in range(0, len(drawn), 32)]
        _ready.extend(made[1:])
        return made[0]


def _random(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{VARIANTS[digits[16]]}{digits[17:20]}-{digits[20:]}"


def prepare_messages(update: Any) -> list[Any]:
    """An update as message objects with ids; ids that are missing are filled in, on the caller's own objects."""
    messages = as_messages(update)
    for message in messages:
        if message.id is None:
            message.id = random_id()
    return messages


def merge_messages(left: list[Any], right: list[Any]) -> list[Any]:
    """`add_messages` for two lists that are prepared, of which `left` is the graph's own."""
    seen = _lately.pop(id(left), None)
    if left and len(right) >= len(left) and all(map(is_, left, right)):  # a graph inside a node gives back what it was given
        right, seen = right[len(left) :], None
    if seen is not None and seen.messages is left and seen.added is right:
        return _remembered(seen, left, right)
    if seen is None or seen.messages is not left or len(seen.ids) != len(left):
        seen = _seen((left, set(map(_id_of, left)), set(map(id, left)), None))
    # a message that is given back with another id is still the one that is there
    ids, objects = set(map(_id_of, right)), set(map(id, right))
    if not (seen.objects.isdisjoint(objects) and _only_new(seen.ids, right, ids)):
        return _replaced(left, right)
    if len(left) + len(right) < FEW:
        return left + right
    seen.ids.update(ids)
    seen.objects.update(objects)
    return _remembered(seen, left, right)


def _remembered(seen: Seen, left: list[Any], right: list[Any]) -> list[Any]:
    merged = left + right
    _lately[id(left)] = _seen((left, seen.ids, seen.objects, right))
    _lately[id(merged)] = _seen((merged, seen.ids, seen.objects, None))
    try:
        while len(_lately) > REMEMBERED:
            _lately.popitem(last=False)
    except KeyError:  # emptied by others meanwhile
        pass
    return merged


def _only_new(known: set[str], right: list[Any], new: set[str]) -> bool:
    return len(new) == len(right) and known.isdisjoint(new) and not has_removals(right)


def _replaced(left: list[Any], right: list[Any]) -> list[Any]:
    for index in range(len(right) - 1, -1, -1):
        if is_removal(right[index]) and right[index].id == REMOVE_ALL_MESSAGES:
            return [message for message in right[index + 1 :] if not is_removal(message)]
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
        A new list; kept messages are the same objects (with a `format`, new ones of the same ids), and `left` is left alone.

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
    left, right = prepare_messages(left), prepare_messages(right)
    merged = left + right if _only_new({m.id for m in left}, right, {m.id for m in right}) else _replaced(left, right)
    return prepare_messages(in_openai_format(merged)) if format else merged


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
