"""The clauses of `stores.py` about items: what is put comes back, and is found, in order, by namespace and by filter."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from clew.errors import InvalidNamespaceError, UnstorableValue
from clew.store.items import PutOp
from clew.testing.stores import Subject, clause, held, keys, raised

VALUE: Final[dict[str, Any]] = {
    "text": "é\0\U0001f9f6",
    "numbers": [1, -(2**70), 0.1, float("inf"), Decimal("1.10")],
    "nothing": None,
    "flags": (True, False),
    "bytes": b"\x00\xff",
    "when": dt.datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC),
    "nested": {"a.b": {"": [{}, set[int](), {1, 2}]}},
}
KEYS: Final = ("", " ", "a.b", "a/b", "\0", "a\0b", "*", "%", "_", "'\"\\", "é", "e\u0301", "\U0001f9f6", "k" * 2000)
LABELS: Final = (" ", "a/b", "*", "%", "_x", "'\"\\", "é", "\U0001f9f6", "-", "!")


# -- what is put ----------------------------------------------------------------------------------------------------


@clause
def what_is_put_comes_back(on: Subject) -> None:
    """An item comes back with its value, of the same types, from any store over the database; another key, and another
    namespace, has none."""
    store, other = on.store(), on.store()
    store.put(on.ns("a"), "k", VALUE)
    item = held(other, on.ns("a"), "k")
    assert (item.namespace, item.key, item.value) == (on.ns("a"), "k", VALUE)
    assert [type(value) for value in item.value.values()] == [type(value) for value in VALUE.values()]
    assert item.created_at == item.updated_at
    assert item.created_at.utcoffset() == dt.timedelta(0)
    assert store.get(on.ns("a"), "K") is store.get(on.ns("b"), "k") is store.get(on.ns("a", "a"), "k") is None
    store.delete(on.ns("a"), "k")
    store.delete(on.ns("a"), "k")
    assert other.get(on.ns("a"), "k") is None


@clause
def nobody_holds_what_is_stored(on: Subject) -> None:
    """What was put, and what was got, may be changed without changing the item."""
    store = on.store()
    given: dict[str, Any] = {"list": [1]}
    store.put(on.ns(), "k", given)
    given["list"].append(2)
    for _ in range(2):
        item = held(store, on.ns(), "k")
        assert item.value == {"list": [1]}
        item.value["list"].append(3)
    store.search(on.ns())[0].value["list"].append(4)
    assert store.search(on.ns())[0].value == {"list": [1]}


@clause
def a_put_replaces_and_keeps_when_it_began(on: Subject) -> None:
    """Another put replaces the value, all of it; `created_at` stays, `updated_at` and `version` move on."""
    store = on.store()
    store.put(on.ns(), "k", {"a": 1})
    first = held(store, on.ns(), "k")
    store.put(on.ns(), "k", {"b": 2})
    second = held(store, on.ns(), "k")
    assert second.value == {"b": 2}
    assert second.created_at == first.created_at == first.updated_at
    assert second.updated_at > first.updated_at
    assert second.version > first.version > 0


@clause
def names_are_any_text(on: Subject) -> None:
    """Keys with NUL, dots and anything else that UTF-8 can write are themselves; so are labels."""
    store = on.store()
    for number, key in enumerate(KEYS):
        store.put(on.ns("keys"), key, {"n": number})
    for number, label in enumerate(LABELS):
        store.put(on.ns(label), "k", {"n": number})
        store.put(on.ns(label, label), "k", {"n": -number})
    for number, key in enumerate(KEYS):
        assert held(store, on.ns("keys"), key).value == {"n": number}, key
    assert sorted(keys(store, *on.ns("keys"))) == sorted(KEYS)
    for number, label in enumerate(LABELS):
        assert [item.value["n"] for item in store.search(on.ns(label))] == [-number, number], label
    expected = sorted([on.ns("keys"), *(on.ns(label) for label in LABELS), *(on.ns(label, label) for label in LABELS)])
    assert store.list_namespaces(prefix=on.ns()) == expected


@clause
def big_values_are_kept(on: Subject) -> None:
    """A value of some megabytes is kept as it is."""
    store, value = on.store(), {"bytes": bytes(range(256)) * 12_000, "text": "é" * 500_000}
    store.put(on.ns(), "k", value)
    assert held(store, on.ns(), "k").value == value
    assert keys(store, *on.ns()) == ["k"]


@clause
def what_cannot_be_meant_is_refused(on: Subject) -> None:
    """Namespaces, keys, values and numbers that cannot be meant are refused, and nothing of their batch is done."""
    store: Any = on.store()
    for ns in ((), ("",), ("a.b",), ("a\0",), (1,), "abc", None, ("langgraph", "x"), ("\ud800",)):
        raised(InvalidNamespaceError, store.put, ns, "k", {})
    for ns in (("",), ("a.b",), "abc"):
        raised(InvalidNamespaceError, store.search, ns)
        raised(InvalidNamespaceError, store.get, ns, "k")
    assert store.get(("langgraph", "x"), "k") is None
    raised(TypeError, store.put, on.ns(), 1, {})
    raised(ValueError, store.put, on.ns(), "\ud800", {})
    for value in (None, "text", [1], {1: 2}):
        raised(TypeError, store.put, on.ns(), "k", value)
    for number in (-1, 1.5, True, "1"):
        raised(ValueError, store.search, on.ns(), limit=number)
        raised(ValueError, store.put, on.ns(), "k", {}, if_version=number)
    raised(ValueError, store.list_namespaces, max_depth=0)
    error = raised(UnstorableValue, store.batch, [PutOp(on.ns(), "a", {}), PutOp(on.ns(), "k", {"x": [1, object()]})])
    assert "'k'['x'][1]" in str(error)
    assert keys(store, *on.ns()) == []


# -- searching ------------------------------------------------------------------------------------------------------


@clause
def search_goes_from_the_newest(on: Subject) -> None:
    """A search without a query has what was written last first, and of one batch by key, then namespace."""
    store = on.store()
    for key in "cab":
        store.put(on.ns("a"), key, {})
    store.put(on.ns("a", "deep"), "z", {})
    store.put(on.ns("a"), "c", {})
    assert keys(store, *on.ns()) == ["c", "z", "b", "a"]
    assert store.search(on.ns())[0].score is None
    store.batch([PutOp(on.ns(label), key, {}) for key, label in (("m", "2"), ("é", "1"), ("Z", "1"), ("m", "1"), ("", "1"))])
    found = [(item.key, item.namespace[1]) for item in store.search(on.ns(), limit=5)]
    assert found == [("", "1"), ("Z", "1"), ("m", "1"), ("m", "2"), ("é", "1")]


@clause
def a_prefix_is_whole_labels(on: Subject) -> None:
    """A search finds what is below its labels, and nothing whose labels only begin alike."""
    store = on.store()
    for number, labels in enumerate((("a",), ("a", "b"), ("a", "b", "c"), ("ab",), ("a-",), ("a!",), ("b",), ("b", "a"))):
        store.put(on.ns(*labels), str(number), {})
    assert keys(store, *on.ns("a")) == ["2", "1", "0"]
    assert keys(store, *on.ns("a", "b")) == ["2", "1"]
    assert keys(store, *on.ns("c")) == []
    assert len(keys(store, *on.ns())) == 8


@clause
def search_is_read_in_parts(on: Subject) -> None:
    """`limit` and `offset` cut one order, with a filter and without; ten items is what is found where nothing is said."""
    store = on.store()
    store.batch([PutOp(on.ns(), f"{number:02}", {"odd": number % 2}) for number in range(25)])
    assert keys(store, *on.ns(), limit=7, offset=5) == [f"{number:02}" for number in range(5, 12)]
    assert keys(store, *on.ns(), filter={"odd": 1}, limit=5, offset=10) == ["21", "23"]
    assert keys(store, *on.ns(), limit=0) == []
    assert keys(store, *on.ns(), offset=25) == []
    assert len(store.search(on.ns())) == 10


ZONE: Final = dt.timezone(dt.timedelta(hours=5))
FILTERED: Final[dict[str, dict[str, Any]]] = {
    "int": {"v": 2, "k": "n"},
    "float": {"v": 2.0, "k": "n"},
    "more": {"v": 10, "k": "n"},
    "big": {"v": 2**70},
    "text": {"v": "2"},
    "word": {"v": "b"},
    "true": {"v": True},
    "false": {"v": False},
    "none": {"v": None},
    "missing": {"w": 1},
    "list": {"v": [1, "a"]},
    "tuple": {"v": (1, "a")},
    "dict": {"v": {"x": 1, "y": {"z": "q"}}},
    "dotted": {"v.x": 1},
    "time": {"v": dt.datetime(2020, 1, 1, 0, tzinfo=dt.UTC)},
    "local": {"v": dt.datetime(2020, 1, 1, 0)},
    "nan": {"v": float("nan")},
    "quote": {"v": "it's", "we'ird \"key\\": 1},
}
FILTERS: Final[tuple[tuple[Mapping[str, Any], set[str]], ...]] = (
    ({"v": 2}, {"int", "float"}),
    ({"v": 2, "k": "n"}, {"int", "float"}),
    ({"v": "2"}, {"text"}),
    ({"v": True}, {"true"}),
    ({"v": 1}, set()),
    ({"v": None}, {"none"}),
    ({"v": [1, "a"]}, {"list", "tuple"}),
    ({"v": []}, set()),
    ({"v": {"x": 1}}, {"dict"}),
    ({"v": {"x": 1, "y": {"z": "q"}}}, {"dict"}),
    ({"v": {"y": {"z": {"$gt": "p"}}}}, {"dict"}),
    ({"v": {"x": 2}}, set()),
    ({"v": {"$eq": {"x": 1}}}, set()),
    ({"v": {"$eq": {"y": {"z": "q"}, "x": 1}}}, {"dict"}),
    ({"v.x": 1}, {"dotted"}),
    ({"v": {"$gt": 2}}, {"more", "big"}),
    ({"v": {"$gte": 2, "$lt": 10}}, {"int", "float"}),
    ({"v": {"$lte": 9.5}}, {"int", "float"}),
    ({"v": {"$gt": "2"}}, {"word", "quote"}),
    ({"v": {"$gte": "2"}}, {"text", "word", "quote"}),
    ({"v": {"$gte": dt.datetime(2020, 1, 1, 5, tzinfo=ZONE)}}, {"time"}),
    ({"v": {"$gt": dt.datetime(2020, 1, 1, 5, tzinfo=ZONE)}}, set()),
    ({"v": {"$lte": dt.datetime(2020, 1, 1)}}, {"local"}),
    ({"v": {"$in": [2, "b", None]}}, {"int", "float", "word", "none"}),
    ({"v": {"$in": ()}}, set()),
    ({"v": {"$ne": 2}, "k": {"$ne": None}}, set(FILTERED) - {"int", "float"}),
    ({"w": {"$ne": 1}}, set(FILTERED) - {"missing"}),
    ({"v": "it's"}, {"quote"}),
    ({"we'ird \"key\\": {"$gte": 1}}, {"quote"}),
    ({}, set(FILTERED)),
)


@clause
def filters_go_by_type_and_depth(on: Subject) -> None:
    """A filter compares values by what they are, at any depth, by `$eq $ne $gt $gte $lt $lte $in`; see `clew.store.filters`."""
    store = on.store()
    store.batch([PutOp(on.ns(), name, value) for name, value in FILTERED.items()])
    for wanted, expected in FILTERS:
        assert set(keys(store, *on.ns(), filter=wanted)) == expected, wanted
    wrongs: list[Any] = [{"v": {"$or": []}}, {"$gt": 1}, {"v": {"$gt": 1, "x": 2}}, {"v": {"$gt": None}}, {"v": {"$in": 3}}]
    for wrong in wrongs:
        raised(ValueError, store.search, on.ns(), filter=wrong)


@clause
def namespaces_are_those_with_items(on: Subject) -> None:
    """Namespaces are listed in order, by prefix, suffix, wildcards and depth; one whose last item is gone is none, and reading
    makes none."""
    store = on.store()
    for labels in (("a", "b", "c"), ("a", "b", "d"), ("a", "x", "c"), ("b",), ("a-",)):
        store.put(on.ns(*labels), "k", {})
    store.get(on.ns("never"), "k")
    store.put(on.ns("gone"), "k", {})
    store.delete(on.ns("gone"), "k")

    def listed(*path: str, **given: Any) -> list[tuple[str, ...]]:
        return [ns[1:] for ns in store.list_namespaces(prefix=on.ns(*path), **given)]

    assert listed() == [("a", "b", "c"), ("a", "b", "d"), ("a", "x", "c"), ("a-",), ("b",)]
    assert listed("a", "b") == [("a", "b", "c"), ("a", "b", "d")]
    assert listed("a", "*", "c") == [("a", "b", "c"), ("a", "x", "c")]
    assert listed(suffix=("c",)) == [("a", "b", "c"), ("a", "x", "c")]
    assert listed(suffix=("b", "*")) == [("a", "b", "c"), ("a", "b", "d")]
    assert listed(max_depth=3) == [("a", "b"), ("a", "x"), ("a-",), ("b",)]
    assert listed(max_depth=3, limit=2, offset=1) == [("a", "x"), ("a-",)]
    assert listed("none") == []
