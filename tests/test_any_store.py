"""Any sequence of batches gives the same answers on every store, and on a model of one that is a dict."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from math import hypot
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.store_servers import SERVERS

from clew.errors import VersionConflict
from clew.store.filters import parsed
from clew.store.items import GetOp, ListNamespacesOp, MatchCondition, Op, PutOp, SearchItem, SearchOp
from clew.store.keeping import Store
from clew.store.memory import InMemoryStore
from clew.store.sqlite import SqliteStore
from clew.testing.stores import INDEX, embed

LONG = 1e9  # minutes: that what expires is the same is a clause, as clocks differ

# -- the model ------------------------------------------------------------------------------------------------------


class Kept(NamedTuple):
    value: dict[str, Any]
    created: int
    updated: int
    text: str | None


class Model:
    """A store as one would write it down: times are the numbers of writes."""

    def __init__(self) -> None:
        self.items: dict[tuple[tuple[str, ...], str], Kept] = {}
        self.writes = 0

    def batch(self, ops: list[Op], versions: list[str]) -> list[Any]:
        results = [self.read(op) for op in ops]
        puts = {(op.namespace, op.key): (op, asked) for op, asked in zip(ops, versions, strict=True) if isinstance(op, PutOp)}
        for place, (_, asked) in puts.items():
            if asked == "stale" or (asked == "none" and place in self.items) or (asked == "same" and place not in self.items):
                return ["conflict"]
        self.writes += 1
        for place, (op, _) in puts.items():
            before = self.items.pop(place, None)
            if op.value is not None:
                text = None if op.index is False else op.value.get("text")
                self.items[place] = Kept(dict(op.value), before.created if before else self.writes, self.writes, text)
        return results

    def read(self, op: Op) -> Any:
        match op:
            case GetOp():
                kept = self.items.get((op.namespace, op.key))
                return kept and (op.namespace, op.key, kept.value, kept.created == kept.updated)
            case SearchOp():
                return self.search(op)
            case ListNamespacesOp():
                found = {ns[: op.max_depth] for ns, _ in self.items if all(_meets(ns, *c) for c in op.match_conditions or ())}
                return sorted(found)[op.offset : op.offset + op.limit]
            case _:
                return None

    def search(self, op: SearchOp) -> Any:
        wanted = parsed(op.filter)
        found = [
            (ns, key, kept)
            for (ns, key), kept in self.items.items()
            if ns[: len(op.namespace_prefix)] == op.namespace_prefix and (wanted is None or wanted.matches(kept.value))
        ]
        found.sort(key=lambda one: (-one[2].updated, one[1], ".".join(one[0])))
        if op.query:
            scores = {one[:2]: _cosine(one[2].text, op.query) for one in found if one[2].text}
            found = sorted((one for one in found if one[:2] in scores), key=lambda one: -scores[one[:2]])
            return [(ns, key, kept.value, scores[ns, key]) for ns, key, kept in found[op.offset : op.offset + op.limit]]
        return [(ns, key, kept.value, None) for ns, key, kept in found[op.offset : op.offset + op.limit]]


def _meets(ns: tuple[str, ...], kind: str, path: tuple[str, ...]) -> bool:
    labels = ns[: len(path)] if kind == "prefix" else ns[len(ns) - len(path) :]
    return len(path) <= len(ns) and all(wanted in ("*", label) for label, wanted in zip(labels, path, strict=True))


def _cosine(text: str, query: str) -> float:
    a, b = embed([text, query])
    return sum(x * y for x, y in zip(a, b, strict=True)) / (hypot(*a) * hypot(*b))


# -- a store, asked alike -------------------------------------------------------------------------------------------


def asked(store: Store, ops: list[Op], versions: list[str]) -> list[Any]:
    ready: list[Op] = []
    for op, version in zip(ops, versions, strict=True):
        if isinstance(op, PutOp) and version != "any":
            item = store.get(op.namespace, op.key)
            there = item.version if item else 0
            number = {"same": there or 1, "none": 0, "stale": there + 1}[version]
            op = op._replace(if_version=number)
        ready.append(op)
    try:
        return [told(result) for result in store.batch(ready)]
    except VersionConflict:
        return ["conflict"]


def told(result: Any) -> Any:
    if isinstance(result, list):
        found = cast("list[Any]", result)
        return [(i.namespace, i.key, i.value, i.score) if isinstance(i, SearchItem) else i for i in found]
    return result and (result.namespace, result.key, result.value, result.created_at == result.updated_at)


# -- what is asked --------------------------------------------------------------------------------------------------

labels = st.sampled_from(["a", "b", "a-", "é"])
namespaces = st.lists(labels, min_size=1, max_size=3).map(tuple)
prefixes = st.lists(labels, max_size=2).map(tuple)
keys = st.sampled_from(["", "k", "K", "k\0", "é", "\U0001f9f6"])
texts = st.sampled_from(["abc", "abd", "xyz", "aaa", "abcxyz"])
plain: st.SearchStrategy[Any] = st.sampled_from([0, 1, 1.0, 2, True, False, None, "a", "b", "é\0", [1], {"x": 1}])
values = st.fixed_dictionaries(
    {}, optional={"n": plain, "a.b": plain, "text": texts, "in": st.fixed_dictionaries({"n": plain})}
)
tests = st.one_of(
    plain,
    st.dictionaries(st.sampled_from(["$eq", "$ne"]), plain, min_size=1),
    st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), st.sampled_from([0, 1.5, "a", "é"]), min_size=1),
    st.fixed_dictionaries({"$in": st.lists(plain, max_size=3)}),
)
filters = st.none() | st.dictionaries(st.sampled_from(["n", "a.b", "text"]), tests, max_size=2) | st.fixed_dictionaries({"in": st.fixed_dictionaries({"n": tests})})  # fmt: skip  # noqa: E501
paths = st.lists(labels | st.just("*"), min_size=1, max_size=2).map(tuple)
puts = st.builds(
    PutOp, namespaces, keys, st.none() | values, st.sampled_from([None, False]), st.sampled_from([None, LONG]), st.none()
)
reads = st.one_of(
    st.builds(GetOp, namespaces, keys, st.none()),
    st.builds(SearchOp, prefixes, filters, st.integers(0, 4), st.integers(0, 3), st.none() | texts, st.none()),
    st.builds(
        ListNamespacesOp,
        st.lists(st.builds(MatchCondition, st.sampled_from(["prefix", "suffix"]), paths), max_size=2),
        st.none() | st.integers(1, 3),
        st.integers(0, 5),
        st.integers(0, 2),
    ),
)
conditions = st.sampled_from(["any", "any", "any", "same", "none", "stale"])


@st.composite
def batches(draw: Callable[..., Any]) -> tuple[list[Op], list[str]]:
    ops: list[Op] = draw(st.lists(puts | puts | reads, min_size=1, max_size=6))
    places = [(op.namespace, op.key) for op in ops if isinstance(op, PutOp)]
    free = len(set(places)) == len(places)  # of a place that is put twice nothing may be asked
    return ops, [draw(conditions) if free else "any" for _ in ops]


@contextmanager
def stores() -> Generator[dict[str, Store]]:
    with InMemoryStore(index=INDEX) as memory, SqliteStore(":memory:", index=INDEX) as sqlite:
        yield {"memory": memory, "sqlite": sqlite}


EVERYTHING: list[Op] = [SearchOp((), limit=1000), ListNamespacesOp(limit=1000), SearchOp((), query="abc", limit=1000)]


def same(ops: list[Op], found: list[Any], right: list[Any]) -> None:
    """Scores are counted in other ways by the model, and may order what is nearly as near in another."""
    if "conflict" in (found[0], right[0]):
        assert found == right
        return
    for op, result, expected in zip(ops, found, right, strict=True):
        if isinstance(op, SearchOp) and op.query:
            assert [one[3] for one in result] == pytest.approx([one[3] for one in expected], abs=1e-6)
        else:
            assert result == expected


@pytest.mark.slow
@given(st.lists(batches(), max_size=8))
@settings(deadline=None, max_examples=100)
@example([([PutOp(("a",), "k", {"n": 1}), PutOp(("a",), "k", None), PutOp(("a",), "k", {"n": 2})], ["any"] * 3)])
def test_any_batches_are_answered_alike(story: list[tuple[list[Op], list[str]]]) -> None:
    with stores() as made:
        told_alike(made, story)


def told_alike(made: dict[str, Store], story: list[tuple[list[Op], list[str]]]) -> None:
    model = Model()
    for ops, versions in [*story, (EVERYTHING, ["any"] * 3)]:
        right = model.batch(ops, versions)
        answers = {name: asked(store, ops, versions) for name, store in made.items()}
        for name, found in answers.items():
            same(ops, found, right)
            assert found == answers["memory"], name


@pytest.mark.slow
@pytest.mark.server
def test_any_batches_are_answered_alike_by_servers(request: pytest.FixtureRequest) -> None:
    served = {name: server(request) for name, server in SERVERS.items()}
    with ExitStack() as stack:
        made: dict[str, Store] = {name: stack.enter_context(one.make(index=INDEX)) for name, one in served.items()}

        @given(st.lists(batches(), max_size=8))
        @settings(deadline=None, max_examples=10)
        def test(story: list[tuple[list[Op], list[str]]]) -> None:
            for one in made.values():
                found = one.search((), limit=1000)
                one.batch([PutOp(item.namespace, item.key, None) for item in found])
            told_alike({"memory": InMemoryStore(index=INDEX), **made}, story)

        test()
