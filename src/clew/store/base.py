"""The face of a store: what users call, over `batch` and `abatch`. How one keeps anything is none of this file's business.

The names that people import from here stand here; a store over a database derives from `clew.store.keeping.Store`.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, cast

from clew.errors import InvalidNamespaceError, VersionConflict
from clew.store.items import (
    NOT_PROVIDED,
    GetOp,
    IndexConfig,
    Item,
    ListNamespacesOp,
    MatchCondition,
    NamespaceMatchType,
    NamespacePath,
    NotProvided,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
)
from clew.store.paths import get_text_at_path, tokenize_path
from clew.store.vectors import Embeddings, ensure_embeddings

__all__ = [
    "NOT_PROVIDED",
    "BaseStore",
    "Embeddings",
    "GetOp",
    "IndexConfig",
    "InvalidNamespaceError",
    "Item",
    "ListNamespacesOp",
    "MatchCondition",
    "NamespaceMatchType",
    "NamespacePath",
    "NotProvided",
    "Op",
    "PutOp",
    "Result",
    "SearchItem",
    "SearchOp",
    "TTLConfig",
    "VersionConflict",
    "ensure_embeddings",
    "get_text_at_path",
    "tokenize_path",
]

Index = Literal[False] | Sequence[str] | None
TTL = float | NotProvided | None


class BaseStore(ABC):
    """Keeps items under a namespace and a key, for every thread alike. One object serves both faces.

    A store of your own implements `batch` and `abatch`; one over a database had better be a `clew.store.keeping.Store`.
    """

    supports_ttl: bool = False

    @abstractmethod
    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """What each of these comes to, in their order: all or none of the puts are written, and reads do not see them.

        Of several puts to one place the last counts. Other writers may come between two reads.

        Raises:
            VersionConflict: an `if_version` does not hold; nothing was written.
            InvalidNamespaceError, TypeError, ValueError: arguments that cannot be meant; nothing was done.
            UnstorableValue: a value cannot be stored, its path is in the message; nothing was done.
        """

    @abstractmethod
    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """`batch`, awaited."""

    # -- one item ---------------------------------------------------------------------------------------------------

    def get(self, namespace: tuple[str, ...], key: str, *, refresh_ttl: bool | None = None) -> Item | None:
        """The item that is there, as a copy; None where there is none.

        Args:
            refresh_ttl: whether it is to live as long again; None for what the store's `ttl` says.
        """
        return cast("Item | None", self.batch([GetOp(namespace, key, refresh_ttl)])[0])

    async def aget(self, namespace: tuple[str, ...], key: str, *, refresh_ttl: bool | None = None) -> Item | None:
        """`get`, awaited."""
        return cast("Item | None", (await self.abatch([GetOp(namespace, key, refresh_ttl)]))[0])

    def put(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any],
        index: Index = None,
        *,
        ttl: TTL = NOT_PROVIDED,
        if_version: int | None = None,
    ) -> None:
        """Puts an item in place of what was there.

        Args:
            namespace: labels, as in `("memories", user_id)`: not empty, without "." and NUL; the first is not `"langgraph"`.
            value: a dict with text as keys, of anything that the state of a graph can hold.
            index: paths of what it is found by, in place of those of the store's `index`; False for none.
            ttl: minutes that it lives; None for ever. Default: what the store's `ttl` says.
            if_version: write only if this is the version of what is there, 0 for nothing there; None writes whatever is there.

        Raises:
            VersionConflict: another version is there. Nothing was written; `update` reads it again and tries anew.
        """
        self.batch([PutOp(namespace, key, _given(value), index, ttl, if_version)])

    async def aput(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any],
        index: Index = None,
        *,
        ttl: TTL = NOT_PROVIDED,
        if_version: int | None = None,
    ) -> None:
        """`put`, awaited."""
        await self.abatch([PutOp(namespace, key, _given(value), index, ttl, if_version)])

    def delete(self, namespace: tuple[str, ...], key: str, *, if_version: int | None = None) -> None:
        """Deletes an item; nothing where there is none.

        Raises:
            VersionConflict: `if_version` was given, and another version is there.
        """
        self.batch([PutOp(namespace, key, None, if_version=if_version)])

    async def adelete(self, namespace: tuple[str, ...], key: str, *, if_version: int | None = None) -> None:
        """`delete`, awaited."""
        await self.abatch([PutOp(namespace, key, None, if_version=if_version)])

    def update(
        self,
        namespace: tuple[str, ...],
        key: str,
        change: Callable[[dict[str, Any] | None], Mapping[str, Any] | None],
        index: Index = None,
        *,
        ttl: TTL = NOT_PROVIDED,
    ) -> None:
        """Puts what `change` makes of the value that is there, so that no write of somebody else is lost.

        Args:
            change: is given the value, None where there is none, and returns the new one, or None to delete the item. Where
                somebody else was faster it is called again, with what is there by then.
        """
        while True:
            item = self.get(namespace, key, refresh_ttl=False)
            new = change(item.value if item else None)
            try:
                self.batch([PutOp(namespace, key, new, index, ttl, item.version if item else 0)])
            except VersionConflict:
                continue
            return

    async def aupdate(
        self,
        namespace: tuple[str, ...],
        key: str,
        change: Callable[[dict[str, Any] | None], Mapping[str, Any] | Awaitable[Mapping[str, Any] | None] | None],
        index: Index = None,
        *,
        ttl: TTL = NOT_PROVIDED,
    ) -> None:
        """`update`, awaited; `change` may be async."""
        while True:
            item = await self.aget(namespace, key, refresh_ttl=False)
            made = change(item.value if item else None)
            new = await made if inspect.isawaitable(made) else made
            try:
                await self.abatch([PutOp(namespace, key, new, index, ttl, item.version if item else 0)])
            except VersionConflict:
                continue
            return

    # -- many -------------------------------------------------------------------------------------------------------

    def search(
        self,
        namespace_prefix: tuple[str, ...],
        /,
        *,
        query: str | None = None,
        filter: Mapping[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
    ) -> list[SearchItem]:
        """Items whose namespaces begin with these labels, all where there are none: those written last first, then by key.

        Args:
            query: those nearest to it first, by the best of each item's vectors; an item that was put with `index=False`, or
                has nothing where the paths lead, is not among them. Without an `index` the query is left out, with a warning.
            filter: what their values must have: see `clew.store.filters`. limit, offset: so many, after so many.
        """
        op = SearchOp(namespace_prefix, filter, limit, offset, query, refresh_ttl)
        return cast("list[SearchItem]", self.batch([op])[0])

    async def asearch(
        self,
        namespace_prefix: tuple[str, ...],
        /,
        *,
        query: str | None = None,
        filter: Mapping[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
    ) -> list[SearchItem]:
        """`search`, awaited."""
        op = SearchOp(namespace_prefix, filter, limit, offset, query, refresh_ttl)
        return cast("list[SearchItem]", (await self.abatch([op]))[0])

    def list_namespaces(
        self,
        *,
        prefix: NamespacePath | None = None,
        suffix: NamespacePath | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[tuple[str, ...]]:
        """Namespaces that have an item, in order.

        Args:
            prefix, suffix: what they begin and end with; `"*"` stands for any one label. max_depth: longer ones are cut to so
                many labels, and told once. limit, offset: so many, after so many.
        """
        op = _listing(prefix, suffix, max_depth, limit, offset)
        return cast("list[tuple[str, ...]]", self.batch([op])[0])

    async def alist_namespaces(
        self,
        *,
        prefix: NamespacePath | None = None,
        suffix: NamespacePath | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[tuple[str, ...]]:
        """`list_namespaces`, awaited."""
        op = _listing(prefix, suffix, max_depth, limit, offset)
        return cast("list[tuple[str, ...]]", (await self.abatch([op]))[0])


def _listing(
    prefix: NamespacePath | None, suffix: NamespacePath | None, max_depth: int | None, limit: int, offset: int
) -> ListNamespacesOp:
    given: tuple[tuple[NamespaceMatchType, NamespacePath | None], ...] = (("prefix", prefix), ("suffix", suffix))
    conditions = tuple(MatchCondition(kind, path) for kind, path in given if path)
    return ListNamespacesOp(conditions or None, max_depth, limit, offset)


def _given(value: Any) -> Any:
    if value is None:
        raise TypeError("`put` was given None for a value: to delete an item call `delete`.")
    return value
