"""States of many keys: what is known of their values spares a look at each, and nobody notices."""

from typing import Any, TypedDict

from hypothesis import given, settings
from hypothesis import strategies as st
from support.faces import Face

from clew.checkpoint.base import Saver
from clew.engine.apply import MANY
from clew.graph import START, StateGraph

KEYS = [f"k{number:02}" for number in range(MANY + 2)]
Wide: Any = TypedDict("Wide", dict.fromkeys(KEYS, Any))  # pyright: ignore
VALUES = st.one_of(st.integers(), st.lists(st.integers(), max_size=2), st.dictionaries(st.sampled_from("ab"), st.integers()))
WRITES = st.dictionaries(st.sampled_from(KEYS), VALUES)


def chain(updates: list[dict[str, Any]], seen: list[dict[str, Any]], **options: Any) -> Any:
    builder, before = StateGraph(Wide), START

    def node(update: dict[str, Any]) -> Any:
        def writes(state: Any) -> Any:
            seen.append({key: value.copy() if isinstance(value, list | dict) else value for key, value in state.items()})
            for value in state.values():  # whatever it does to its own
                if isinstance(value, list | dict):
                    value.clear()
            return update

        return writes

    for number, update in enumerate(updates):
        builder.add_node(f"n{number}", node(update)).add_edge(before, f"n{number}")
        before = f"n{number}"
    return builder.compile(**options)


@settings(max_examples=60, deadline=None)
@given(first=st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1), updates=st.lists(WRITES, min_size=1, max_size=5))
def test_nodes_see_copies_of_what_was_written_in_the_schemas_order(first: Any, updates: list[dict[str, Any]]) -> None:
    seen: list[dict[str, Any]] = []
    found = chain(updates, seen).invoke(first)
    expected = dict(first)
    for update, state in zip(updates, seen, strict=True):
        assert list(state.items()) == in_order(expected)
        expected |= update
    assert list(found.items()) == in_order(expected)


def in_order(values: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(key, values[key]) for key in KEYS if key in values]


def test_a_state_of_many_keys_is_kept_and_gone_on_with(face: Face, saver: Saver) -> None:
    seen: list[dict[str, Any]] = []
    config = {"configurable": {"thread_id": "1"}}
    graph = chain([{KEYS[0]: [1]}, {KEYS[0]: 2, KEYS[1]: {"a": 1}}, {}], seen, checkpointer=saver)
    whole: dict[str, Any] = {key: [number] for number, key in enumerate(KEYS)}
    ended = {**whole, KEYS[0]: 2, KEYS[1]: {"a": 1}}
    assert face.invoke(graph, whole, config) == ended
    assert face.invoke(graph, {KEYS[2]: 5}, config) == ended | {KEYS[2]: 5}
    assert seen[2:4] == [ended, ended | {KEYS[2]: 5}]
    assert face.get_state(graph, config).values == ended | {KEYS[2]: 5}


def test_callers_and_readers_get_plain_dicts(face: Face) -> None:
    graph = chain([{KEYS[0]: [1]}, {KEYS[1]: 1}, {KEYS[2]: 2}], [])
    whole: dict[str, Any] = dict.fromkeys(KEYS, 0)
    found: list[Any] = [face.invoke(graph, whole), *face.stream(graph, whole, stream_mode="values")]
    assert all(type(state) is dict for state in found)
