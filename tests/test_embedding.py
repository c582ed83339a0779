"""What makes vectors of texts: everything that people hand in as `embed`, on both faces, and which texts of a value."""

import asyncio
import sys
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from clew.errors import DatabaseError, MissingDependency, UnindexedWarning
from clew.store.base import get_text_at_path, tokenize_path
from clew.store.keeping import Store
from clew.store.memory import InMemoryStore, MemoryStorage
from clew.testing.stores import DIMS, OnLoop, embed

VALUE: dict[str, Any] = {
    "title": "T",
    "n": 3,
    "half": 0.5,
    "yes": True,
    "none": None,
    "author": {"name": "Ann", "born": 1970},
    "parts": [{"text": "one"}, {"text": "two"}, {"other": "x"}],
    "tags": ("a", "b"),
}


@pytest.fixture(params=["sync", "async"])
def by(request: pytest.FixtureRequest) -> Any:
    """A store by one of its faces."""

    def faced(store: Store) -> Any:
        return store if request.param == "sync" else OnLoop(store)

    return faced


class Counting:
    """A function that tells what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        self.asked.append(list(texts))
        return embed(texts)


async def embed_awaited(texts: Sequence[str]) -> list[list[float]]:
    await asyncio.sleep(0)
    return embed(texts)


class Awaited:
    async def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        return await embed_awaited(texts)


@pytest.mark.parametrize("given", [embed, embed_awaited, Awaited(), DeterministicFakeEmbedding(size=DIMS)])
def test_whatever_embeds_may_be_handed_in(given: Any, by: Any) -> None:
    store = by(InMemoryStore(index={"dims": DIMS, "embed": given}))
    store.put(("a",), "k", {"text": "abc"})
    store.put(("a",), "l", {"text": "xyz"})
    found = store.search(("a",), query='{"text": "abc"}')
    assert [item.key for item in found] == ["k", "l"]
    assert found[0].score == pytest.approx(1)


def test_what_is_async_is_awaited_for_sync_code_on_a_loop_too() -> None:
    async def run() -> list[str]:
        store = InMemoryStore(index={"dims": DIMS, "embed": embed_awaited})
        store.put(("a",), "k", {"text": "abc"})
        return [item.key for item in store.search((), query="abc")]

    assert asyncio.run(run()) == ["k"]


def test_what_blocks_does_not_block_the_loop() -> None:
    threads: set[int] = set()

    def slow(texts: Sequence[str]) -> list[list[float]]:
        threads.add(threading.get_ident())
        return embed(texts)

    async def run() -> None:
        await InMemoryStore(index={"dims": DIMS, "embed": slow}).aput(("a",), "k", {"text": "abc"})

    asyncio.run(run())
    assert threading.get_ident() not in threads


def test_each_text_of_a_batch_is_embedded_once(by: Any) -> None:
    from clew.store.items import PutOp

    counting = Counting()
    store = by(InMemoryStore(index={"dims": DIMS, "embed": counting, "fields": ["text"]}))
    store.batch([PutOp(("a",), str(n), {"text": "ab"[n % 2]}) for n in range(6)] + [PutOp(("a",), "5", {"text": "z"})])
    assert counting.asked == [["a", "b", "z"]]
    counting.asked.clear()
    store.put(("a",), "k", {"text": "abc"}, index=False)
    store.get(("a",), "k")
    store.search(("a",))
    assert counting.asked == []


def test_a_text_that_means_nothing_is_found_by_nothing(by: Any) -> None:
    store = by(InMemoryStore(index={"dims": DIMS, "embed": embed, "fields": ["text"]}))
    store.put(("a",), "k", {"text": ""})
    store.put(("a",), "l", {"text": "abc"})
    assert [item.key for item in store.search((), query="abc")] == ["l"]
    assert [item.score for item in store.search((), query=" ")] == [0.0]


def test_without_an_index_a_query_is_left_out_with_a_warning(by: Any) -> None:
    store = by(InMemoryStore())
    store.put(("a",), "k", {})
    with pytest.warns(UnindexedWarning, match="has no index, so the query 'abc' is left out") as warned:
        assert [item.key for item in store.search((), query="abc")] == ["k"]
    assert len(warned) == 1


@pytest.mark.parametrize(
    ("config", "kind", "said"),
    [
        ({"dims": 2}, ValueError, r"expected at least dims and embed"),
        ({"dims": 0, "embed": embed}, ValueError, "`dims` is 0"),
        ({"dims": 2, "embed": 3}, TypeError, "`embed` is 3: expected LangChain's Embeddings"),
        ({"dims": 2, "embed": embed, "field": ["a"]}, ValueError, r"\['field'\], which there is not"),
        ({"dims": 2, "embed": embed, "fields": "text"}, TypeError, "list of paths"),
        ({"dims": 2, "embed": embed, "fields": ["a[0"]}, ValueError, r"'a\[0' has a '\[' that is not closed"),
    ],
)
def test_an_index_that_cannot_be_meant_is_refused(config: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        InMemoryStore(index=config)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ([[1.0, 2.0]], "a vector of 2 numbers, but the index has dims=3"),
        ([], "returned 0 vectors for 1 texts"),
        ([[1.0, float("nan"), 0.0]], "not finite"),
    ],
)
def test_vectors_that_cannot_be_meant_are_refused_and_nothing_is_written(made: list[list[float]], said: str, by: Any) -> None:
    store = by(InMemoryStore(index={"dims": 3, "embed": lambda texts: made}))  # pyright: ignore[reportUnknownLambdaType]
    with pytest.raises(ValueError, match=said):
        store.put(("a",), "k", {"text": "abc"})
    assert store.search(()) == []


def test_a_vector_of_zeros_is_none_whatever_their_sign() -> None:
    def embed_nothing(texts: Sequence[str]) -> list[list[float]]:
        return [[0.0, -0.0] for _ in texts]

    store = InMemoryStore(index={"dims": 2, "embed": embed_nothing})
    store.put(("a",), "k", {"text": "abc"})
    assert store.search((), query="abc") == []


def test_vectors_of_another_model_are_said_to_be() -> None:
    storage = MemoryStorage()
    Store(storage, index={"dims": DIMS, "embed": embed}).put(("a",), "k", {"text": "abc"})

    def other_model(texts: Sequence[str]) -> list[list[float]]:
        return [[1.0, 2.0, 3.0] for _ in texts]

    other = Store(storage, index={"dims": 3, "embed": other_model})
    with pytest.raises(DatabaseError, match=r"'k' in \('a',\) was embedded with another number of `dims` than 3"):
        other.search((), query="abc")


def test_a_model_by_its_name_is_loaded_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    store = InMemoryStore(index={"dims": 3, "embed": "nobody:nothing"})
    store.put(("a",), "k", {"text": "abc"}, index=False)
    with pytest.raises((MissingDependency, ValueError), match="nobody"):
        store.put(("a",), "k", {"text": "abc"})
    monkeypatch.setitem(sys.modules, "langchain.embeddings", None)
    with pytest.raises(MissingDependency, match="`pip install langchain`"):
        store.put(("a",), "k", {"text": "abc"})


# -- paths ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "texts"),
    [
        ("title", ["T"]),
        ("n", ["3"]),
        ("half", ["0.5"]),
        ("yes", ["True"]),
        ("none", []),
        ("missing", []),
        ("author.name", ["Ann"]),
        ("author", ['{"born": 1970, "name": "Ann"}']),
        ("author.*", ["Ann", "1970"]),
        ("author.{name,born}", ["Ann", "1970"]),
        ("{title,author.name}", ["T", "Ann"]),
        ("parts[0].text", ["one"]),
        ("parts[-2].text", ["two"]),
        ("parts[9].text", []),
        ("parts[*].text", ["one", "two"]),
        ("parts[*].{text,other}", ["one", "two", "x"]),
        ("tags[*]", ["a", "b"]),
        ("tags.*", ["a", "b"]),
        ("title.x", []),
        ("title[0]", []),
        ("tags[x]", []),
        ("$.title", ["T"]),
    ],
)
def test_paths_lead_to_texts(path: str, texts: list[str]) -> None:
    assert get_text_at_path(VALUE, path) == texts


def test_the_whole_value_is_json_whatever_the_order_of_its_keys() -> None:
    assert get_text_at_path({"b": "é", "a": [1]}, "$") == get_text_at_path({"a": [1], "b": "é"}, "") == ['{"a": [1], "b": "é"}']
    assert tokenize_path("a.b[0].{c,d}") == ["a", "b", "[0]", "{c,d}"]
