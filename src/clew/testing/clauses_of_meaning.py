"""The clauses of `stores.py` about searching by meaning."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

from clew.errors import DatabaseError, VersionConflict
from clew.store.items import PutOp
from clew.store.storage import Place, Vector
from clew.store.vectors import packed, ranked
from clew.testing.stores import DIMS, INDEX, Subject, clause, embed, heavy, raised

MANY: Final = 10_000


def found(on: Any, ns: tuple[str, ...], query: str, **given: Any) -> list[str]:
    return [item.key for item in on.search(ns, query=query, **given)]


@clause
def the_nearest_come_first(on: Subject) -> None:
    """A query ranks by the cosine, highest first, with its score; the order of writing decides between equals."""
    store = on.store(index=INDEX)
    for key, text in (("a", "abc"), ("b", "abcd"), ("c", "xyz"), ("d", "aabbcc"), ("e", "abc")):
        store.put(on.ns(), key, {"text": text})
    items = store.search(on.ns(), query="abc")
    assert [item.key for item in items] == ["e", "d", "a", "b", "c"]
    scores = [item.score or 0.0 for item in items]
    assert scores[0] == scores[2]
    assert abs(scores[0] - 1) < 1e-6
    assert abs(scores[3] - 3 / (3 * 4) ** 0.5) < 1e-6
    assert found(store, on.ns(), "abc", limit=2, offset=1) == ["d", "a"]


@clause
def the_best_of_several_vectors_counts(on: Subject) -> None:
    """An item with several texts is as near as the nearest of them, and is found once."""
    store = on.store(index={**INDEX, "fields": ["text", "parts[*].text"]})
    store.put(on.ns(), "many", {"text": "zzz", "parts": [{"text": "abc"}, {"text": "xxx"}, {"text": "abc"}]})
    store.put(on.ns(), "one", {"text": "abz"})
    assert found(store, on.ns(), "abc") == ["many", "one"]
    assert found(store, on.ns(), "xxx")[0] == "many"
    assert found(store, on.ns(), "zzz")[0] == "many"


@clause
def an_item_says_what_it_is_found_by(on: Subject) -> None:
    """`index=False`, and paths that lead nowhere, leave an item out of every search with a query; `index=[…]` has other paths
    than the store's. Without a query all are found."""
    store = on.store(index=INDEX)
    store.put(on.ns(), "usual", {"text": "abc", "other": "xyz"})
    store.put(on.ns(), "other", {"text": "abc", "other": "xyz"}, index=["other"])
    store.put(on.ns(), "never", {"text": "abc"}, index=False)
    store.put(on.ns(), "empty", {"more": "abc"})
    assert found(store, on.ns(), "abc") == ["usual", "other"]
    assert found(store, on.ns(), "xyz") == ["other", "usual"]
    assert len(store.search(on.ns())) == 4


@clause
def vectors_go_with_their_item(on: Subject) -> None:
    """A put replaces what an item is found by, deleting takes it away; a conflict changes nothing of it."""
    store = on.store(index=INDEX)
    store.put(on.ns(), "k", {"text": "abc"})
    store.put(on.ns(), "l", {"text": "abd"})
    store.put(on.ns(), "k", {"text": "xyz"})
    assert found(store, on.ns(), "abc") == ["l", "k"]
    raised(VersionConflict, store.put, on.ns(), "k", {"text": "abc"}, if_version=1)
    assert found(store, on.ns(), "abc") == ["l", "k"]
    store.put(on.ns(), "k", {"text": "abc"}, index=False)
    assert found(store, on.ns(), "abc") == ["l"]
    store.delete(on.ns(), "l")
    assert found(store, on.ns(), "abc") == []


@clause
def a_query_goes_with_prefix_and_filter(on: Subject) -> None:
    """Prefix and filter leave items out before any are counted, however far down the list those that are left stand."""
    store = on.store(index=INDEX)
    store.batch([PutOp(on.ns("near"), f"{number:03}", {"text": "abc", "kind": "near"}) for number in range(120)])
    store.batch([PutOp(on.ns("far", "x"), f"{number}", {"text": f"xyz{number}", "kind": "far"}) for number in range(3)])
    assert len(found(store, on.ns(), "abc", filter={"kind": "far"})) == 3
    assert len(found(store, on.ns("far"), "abc")) == 3
    assert found(store, on.ns(), "abc", limit=3, offset=118, filter={"kind": "near"}) == ["118", "119"]
    assert found(store, on.ns(), "abc", filter={"kind": "none"}) == []


@clause
def vectors_of_another_length_are_told(on: Subject) -> None:
    """Where the items below a prefix were embedded with another number of `dims`, a query says so, and leaves none of them out
    silently; items elsewhere do not matter."""

    def embed_shortly(texts: Sequence[str]) -> list[list[float]]:
        return [[1.0] for _ in texts]

    store, other = on.store(index=INDEX), on.store(index={"dims": 1, "embed": embed_shortly})
    store.put(on.ns("a"), "k", {"text": "abc"})
    other.put(on.ns("b"), "l", {"text": "abc"})
    assert "another number of `dims` than 1" in str(raised(DatabaseError, other.search, on.ns(), query="abc"))
    assert "another number of `dims` than 16" in str(raised(DatabaseError, store.search, on.ns(), query="abc"))
    assert found(store, on.ns("a"), "abc") == ["k"]
    assert found(other, on.ns("b"), "abc") == ["l"]


@heavy
def ten_thousand_are_searched_exactly(on: Subject) -> None:
    """Among ten thousand items the nearest are found, every one, as going through all of them finds them."""
    chance = random.Random(7)
    texts = ["".join(chance.choices("abcdefghijklmnop", k=chance.randint(3, 40))) for _ in range(MANY)]
    store = on.store(index=INDEX)
    for start in range(0, MANY, 1000):
        numbers = range(start, start + 1000)
        store.batch([PutOp(on.ns(str(n % 10)), f"{n:05}", {"text": texts[n], "third": n % 3 == 0}) for n in numbers])
    vectors = [Vector(Place(on.ns(str(n % 10)), f"{n:05}"), packed(embed([text])[0], DIMS)) for n, text in enumerate(texts)]
    for query in ("abc", "ponm", "aaab", "hgfedcba"):
        scores = {place: score for score, place in ranked(packed(embed([query])[0], DIMS), vectors)}
        for labels, wanted, limit in (((), None, 100), (("3",), None, 50), ((), {"third": True}, 50)):
            right = sorted(
                (score for place, score in scores.items() if place.namespace[: 1 + len(labels)] == on.ns(*labels)
                 and (wanted is None or int(place.key) % 3 == 0)), reverse=True
            )  # fmt: skip
            items = store.search(on.ns(*labels), query=query, filter=wanted, limit=limit)
            assert [item.score for item in items] == right[:limit]
            assert all(item.score == scores[Place(item.namespace, item.key)] for item in items)
