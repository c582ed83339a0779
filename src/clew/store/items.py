"""The nouns of a store: items, what is asked of one, how it is set up. Items are registered with the codec here, as the state
of a graph may hold them; nothing else is done.

Users import these names from `clew.store.base`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias, TypedDict

from clew.checkpoint.usertypes import register

NamespacePath: TypeAlias = "tuple[str, ...]"
"""Labels, of which `"*"` stands for any one."""
Value: TypeAlias = "dict[str, Any]"  # in the classes below `dict` is a method
NamespaceMatchType: TypeAlias = Literal["prefix", "suffix"]


class NotProvided:
    """What `ttl` is where nothing was said: the store's default then. None says: for ever."""

    def __repr__(self) -> str:
        return "NOT_PROVIDED"


NOT_PROVIDED: Final = NotProvided()


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """What is kept in one place: a copy of it, which belongs to whoever asked.

    Attributes:
        value: as it was put. created_at, updated_at: by the store's clock, in UTC; `created_at` is that of the first `put`.
        version: a number that is never used twice for one place, and higher with each `put`: for `put(…, if_version=…)`.
    """

    value: Value
    key: str
    namespace: tuple[str, ...]
    created_at: dt.datetime
    updated_at: dt.datetime
    version: int = 0

    def dict(self) -> Mapping[str, Any]:
        """The item as JSON takes it, where it takes its value: times are text, in ISO format."""
        return {
            "namespace": list(self.namespace),
            "key": self.key,
            "value": self.value,
            "created_at": self.created_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
            "version": self.version,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchItem(Item):
    """An item that a search found.

    Attributes:
        score: how near it is to the query, from -1 to 1 (the cosine); None where there was no query.
    """

    score: float | None = None

    def dict(self) -> Mapping[str, Any]:
        return {**Item.dict(self), "score": self.score}


register(Item, name="clew.Item")
register(SearchItem, name="clew.SearchItem")


class GetOp(NamedTuple):
    """`get`, for `batch`. `refresh_ttl`: None for what the store's `ttl` says."""

    namespace: tuple[str, ...]
    key: str
    refresh_ttl: bool | None = None


class SearchOp(NamedTuple):
    """`search`, for `batch`."""

    namespace_prefix: tuple[str, ...]
    filter: Mapping[str, Any] | None = None
    limit: int = 10
    offset: int = 0
    query: str | None = None
    refresh_ttl: bool | None = None


class PutOp(NamedTuple):
    """`put`, for `batch`; `delete`, where the value is None. `ttl`: minutes, None for ever; default: what the store's says."""

    namespace: tuple[str, ...]
    key: str
    value: Mapping[str, Any] | None
    index: Literal[False] | Sequence[str] | None = None  # pyright: ignore[reportIncompatibleMethodOverride]  (the name that users type)
    ttl: float | NotProvided | None = NOT_PROVIDED
    if_version: int | None = None


class MatchCondition(NamedTuple):
    """What a namespace is to begin, or to end, with."""

    match_type: NamespaceMatchType
    path: NamespacePath


class ListNamespacesOp(NamedTuple):
    """`list_namespaces`, for `batch`."""

    match_conditions: Sequence[MatchCondition] | None = None
    max_depth: int | None = None
    limit: int = 100
    offset: int = 0


Op: TypeAlias = GetOp | SearchOp | PutOp | ListNamespacesOp
Result: TypeAlias = "Item | list[SearchItem] | list[tuple[str, ...]] | None"


class IndexConfig(TypedDict, total=False):
    """How items are found by what they mean.

    `dims`: how many numbers a vector has. `embed`: what makes vectors of texts: LangChain's `Embeddings`, a function of a list
    of texts, plain or async, or `"provider:model"` for LangChain's `init_embeddings`. `fields`: paths of what is embedded of a
    value, default `["$"]`, all of it; a path as in `"title"`, `"author.name"`, `"chapters[*].text"`, `"tags[-1]"`, `"{a,b}"`.
    """

    dims: int
    embed: Any
    fields: Sequence[str] | None


class TTLConfig(TypedDict, total=False):
    """How long items live, in minutes.

    `default_ttl`: of an item that is put without a `ttl`; None, as by default, for ever. `refresh_on_read`: whether reading an
    item lets it live as long again; default True. `sweep_interval_minutes`: how often the sweeper deletes what has expired,
    once it is started; default 5. An item that has expired is not found, swept or not (`omit_expired` may say so).
    """

    refresh_on_read: bool
    omit_expired: bool
    default_ttl: float | None
    sweep_interval_minutes: float | None
