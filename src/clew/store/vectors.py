"""What items mean: texts to vectors by whatever the store was given, and how near vectors are. No storage here.

A vector is kept as 32-bit floats, little-endian, scaled to the length 1 (one of zeros means nothing and is not kept). So how
near two are, the cosine, is their inner product. It is worked out here, whatever the database made of it; with NumPy where that
is installed, some thirty times faster.
"""

from __future__ import annotations

import inspect
import math
import sys
from array import array
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from operator import mul
from typing import TYPE_CHECKING, Any, Final, Protocol, cast, runtime_checkable

from clew.errors import DatabaseError
from clew.store.paths import get_text_at_path, tokenize_path

if TYPE_CHECKING:
    from clew.store.items import IndexConfig
    from clew.store.storage import Place, Vector

SWAPPED: Final = sys.byteorder == "big"
NEAR: Final = 1e-5  # a database, which counts in 32 bits, may take one of two scores nearer than this for the other
CHUNK: Final = 4 << 20  # bytes of vectors that are gone through at once


@runtime_checkable
class Embeddings(Protocol):
    """LangChain's `Embeddings`, or anything with these methods."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]: ...
    def embed_query(self, text: str) -> list[float]: ...
    async def aembed_documents(self, texts: list[str]) -> list[list[float]]: ...
    async def aembed_query(self, text: str) -> list[float]: ...


class EmbeddingsOf:
    """A function of a list of texts, plain or async, as `Embeddings`."""

    def __init__(self, function: Callable[[Sequence[str]], Any]) -> None:
        self.function = function
        called = getattr(function, "__call__", None)  # noqa: B004  (an object is async where its __call__ is)
        self._awaited = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        made = self.function(texts)
        return _finished(made) if inspect.isawaitable(made) else made

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        import asyncio  # late: it is most of what importing Clew would cost

        made = self.function(texts) if self._awaited else await asyncio.to_thread(self.function, texts)
        return await made if inspect.isawaitable(made) else made

    async def aembed_query(self, text: str) -> list[float]:
        return (await self.aembed_documents([text]))[0]


def ensure_embeddings(embed: Any) -> Embeddings:
    """What was given as `embed`, as `Embeddings`. Raises TypeError where it is nothing that embeds."""
    if isinstance(embed, str):
        from clew.interop.langchain import embeddings_named

        return embeddings_named(embed)
    if isinstance(embed, Embeddings):
        return embed
    if callable(embed):
        return EmbeddingsOf(embed)
    raise TypeError(
        f"`embed` is {embed!r}: expected LangChain's Embeddings, a function of a list of texts, or a name such as "
        '"openai:text-embedding-3-small".'
    )


def _finished(made: Awaitable[Any]) -> Any:
    """What an async function comes to, for whoever cannot wait: on a loop of its own, in a thread where one is running here."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    async def wait() -> Any:
        return await made

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(wait())
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, wait()).result()


class Index:
    """A store's `index`, as it was understood.

    Raises:
        TypeError, ValueError: something in it cannot be meant.
    """

    def __init__(self, config: IndexConfig) -> None:
        given = cast("dict[str, Any]", config)
        if unknown := given.keys() - {"dims", "embed", "fields"}:
            raise ValueError(f"`index` has {sorted(unknown)}, which there is not: expected dims, embed and perhaps fields.")
        if "dims" not in given or "embed" not in given:
            raise ValueError(
                f"`index` has {sorted(given)}: expected at least dims and embed, as in {{'dims': 384, 'embed': f}}."
            )
        dims = given["dims"]
        if isinstance(dims, bool) or not isinstance(dims, int) or dims < 1:
            raise ValueError(f"`dims` is {dims!r}: expected how many numbers a vector has.")
        self.dims: int = dims
        self.fields = paths_of(given.get("fields") or ["$"])
        self._given = given["embed"]
        self._embeddings = None if isinstance(self._given, str) else ensure_embeddings(self._given)

    @property
    def embeddings(self) -> Embeddings:
        if self._embeddings is None:  # a model by its name is loaded when it is first needed
            self._embeddings = ensure_embeddings(self._given)
        return self._embeddings

    def texts(self, value: Any, index: Any) -> list[str]:
        """What of a value is embedded: each text once."""
        if index is False:
            return []
        paths = self.fields if index is None else paths_of(index)
        return list(dict.fromkeys(text for path in paths for text in get_text_at_path(value, path)))

    def embed(self, texts: list[str], queries: list[str]) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """The vectors of texts that are kept, and of texts that are asked for."""
        kept = self._checked(texts, self.embeddings.embed_documents(texts)) if texts else {}
        return kept, self._checked(queries, [self.embeddings.embed_query(query) for query in queries])

    async def aembed(self, texts: list[str], queries: list[str]) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """`embed`, awaited."""
        kept = self._checked(texts, await self.embeddings.aembed_documents(texts)) if texts else {}
        return kept, self._checked(queries, [await self.embeddings.aembed_query(query) for query in queries])

    def _checked(self, texts: list[str], vectors: Any) -> dict[str, bytes]:
        found = list(vectors)
        if len(found) != len(texts):
            raise ValueError(f"`embed` returned {len(found)} vectors for {len(texts)} texts.")
        return {text: packed(vector, self.dims) for text, vector in zip(texts, found, strict=True)}


def paths_of(given: Any) -> list[str]:
    if (
        isinstance(given, str)
        or not isinstance(given, Sequence)
        or not all(isinstance(path, str) for path in cast("Any", given))
    ):
        raise TypeError(f"An index is a list of paths, or False for none, got {given!r}: write it as in index=['title'].")
    paths = list(cast("Sequence[str]", given))
    for path in paths:
        tokenize_path(path)
    return paths


def packed(vector: Any, dims: int) -> bytes:
    """A vector as it is kept. Raises ValueError where it has not `dims` numbers."""
    numbers = [float(number) for number in vector]
    if len(numbers) != dims:
        raise ValueError(f"`embed` returned a vector of {len(numbers)} numbers, but the index has dims={dims}.")
    length = math.hypot(*numbers)
    if not math.isfinite(length):
        raise ValueError("`embed` returned a vector with a number in it that is not finite.")
    made = array("f", [number / length for number in numbers] if length else [0.0] * dims)
    if SWAPPED:
        made.byteswap()
    return made.tobytes()


def unpacked(data: bytes) -> array[float]:
    numbers = array("f", data)
    if SWAPPED:
        numbers.byteswap()
    return numbers


def ranked(query: bytes, vectors: Iterable[Vector]) -> list[tuple[float, Place]]:
    """Places with their scores, by the best of each one's vectors, the nearest first.

    Raises:
        DatabaseError: vectors of another length.
    """
    found: list[tuple[float, Place]] = []
    chunk: list[Vector] = []
    size = 0
    for vector in vectors:
        if len(vector.data) != len(query):
            _check_several(vector, len(query))
        chunk.append(vector)
        size += len(vector.data)
        if size >= CHUNK:
            found += _scored(query, chunk)
            chunk, size = [], 0
    found += _scored(query, chunk)
    found.sort(key=lambda pair: -pair[0])
    return found


def _check_several(vector: Vector, size: int) -> None:
    """Raises where these are not several vectors of so many bytes, but one or more of another length."""
    # the first one's length tells: what is cut off from a longer vector is shorter than 1
    if len(vector.data) % size or abs(math.hypot(*unpacked(vector.data[:size])) - 1) > NEAR:
        raise DatabaseError(
            f"{vector.place.key!r} in {vector.place.namespace!r} was embedded with another number of `dims` than {size // 4}: "
            "put what is stored again, as another model means something else by its numbers too."
        )


def _scored(query: bytes, vectors: list[Vector]) -> Iterator[tuple[float, Place]]:
    """In 64 bits, and alike wherever among the others a vector stands (a product of matrices would not be)."""
    if not vectors:
        return
    try:
        import numpy
    except ImportError:
        asked = unpacked(query)
        for vector in vectors:
            numbers, dims = unpacked(vector.data), len(asked)
            yield max(math.fsum(map(mul, asked, numbers[at : at + dims])) for at in range(0, len(numbers), dims)), vector.place
        return
    many: Any = numpy.frombuffer(b"".join(vector.data for vector in vectors), "<f4").reshape(-1, len(query) // 4)
    scores = (many * numpy.frombuffer(query, "<f4").astype("f8")).sum(axis=1)
    at = 0
    for vector in vectors:
        until = at + len(vector.data) // len(query)
        yield float(scores[at:until].max() if until - at > 1 else scores[at]), vector.place
        at = until
