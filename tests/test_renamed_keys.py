"""Keys of the state that were renamed, added or removed while threads stood still: nothing that was stored is lost."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import pytest
from pydantic import BaseModel, ValidationError
from support.faces import Face

from clew.channels import EphemeralValue
from clew.checkpoint.base import Saver
from clew.errors import GraphError
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.types import Command, Migration, Send, interrupt

Config = dict[str, Any]
Names = list[str]


class Before(TypedDict, total=False):
    log: Annotated[Names, operator.add]
    n: int


class After(TypedDict, total=False):
    journal: Annotated[Names, operator.add]
    count: int
    extra: Annotated[Names, operator.add]


class Without(TypedDict, total=False):
    log: Annotated[Names, operator.add]


RENAMED = Migration(aliases={"journal": ["log"], "count": ["n"]})


def compiled(
    saver: Saver, schema: Any, migration: Migration | None = None, **nodes: Callable[[Any], Any]
) -> CompiledStateGraph:
    """A graph of nodes one after the other."""
    builder = StateGraph(schema)
    before = START
    for name, node in nodes.items():
        builder.add_node(name, node).add_edge(before, name)
        before = name
    return builder.compile(saver, migration=migration)


def beside(saver: Saver, schema: Any, migration: Migration | None = None, **nodes: Callable[[Any], Any]) -> CompiledStateGraph:
    """A graph of nodes side by side."""
    builder = StateGraph(schema)
    for name, node in nodes.items():
        builder.add_node(name, node).add_edge(START, name)
    return builder.compile(saver, migration=migration)


def old(saver: Saver) -> CompiledStateGraph:
    return compiled(saver, Before, a=lambda state: {"log": [f"old {state.get('n')}"], "n": state.get("n", 0) + 1})


def new(saver: Saver) -> CompiledStateGraph:
    return compiled(saver, After, RENAMED, a=lambda state: {"journal": [f"new {state['count']}"], "count": state["count"] + 1})


# -- values ---------------------------------------------------------------------------------------------------------


def test_a_renamed_key_starts_from_what_is_stored_under_its_old_name(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(old(saver), {"n": 1}, thread)
    assert face.get_state(new(saver), thread).values == {"journal": ["old 1"], "count": 2, "extra": []}
    assert face.invoke(new(saver), {}, thread) == {"journal": ["old 1", "new 2"], "count": 3, "extra": []}
    assert face.invoke(new(Saver(saver.storage)), {}, thread)["journal"] == ["old 1", "new 2", "new 3"]


def test_an_input_may_be_the_first_to_write_a_renamed_key(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(old(saver), {"n": 1}, thread)
    assert face.invoke(new(saver), {"journal": ["in"], "count": 7}, thread)["journal"] == ["old 1", "in", "new 7"]


def test_history_speaks_of_the_new_names(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(old(saver), {"n": 1}, thread)
    newest, ran, entered = face.history(new(saver), thread)
    assert [shown.values for shown in (newest, ran, entered)] == [
        {"journal": ["old 1"], "count": 2},
        {"journal": [], "count": 1},
        {"journal": []},
    ]
    assert ran.tasks[0].result == {"journal": ["old 1"], "count": 2}
    assert entered.tasks[0].result == {"count": 1}
    assert face.get_state(new(saver), ran.config).values == ran.values


def test_the_old_code_still_finds_what_it_had(face: Face, saver: Saver, thread: Config) -> None:
    """Rolled back and forth: each code goes on from what it wrote itself."""
    face.invoke(old(saver), {"n": 1}, thread)
    face.invoke(new(saver), {}, thread)
    assert face.get_state(old(saver), thread).values == {"log": ["old 1"], "n": 2}
    assert face.invoke(old(saver), {}, thread) == {"log": ["old 1", "old 2"], "n": 3}
    assert face.invoke(new(saver), {}, thread) == {"journal": ["old 1", "new 2", "new 3"], "count": 4, "extra": []}


def test_a_removed_key_is_kept_and_not_shown_and_found_again(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(old(saver), {"n": 1}, thread)
    without = compiled(saver, Without, a=lambda state: {"log": [f"{sorted(state)}"]})
    assert face.get_state(without, thread).values == {"log": ["old 1"]}
    assert face.invoke(without, {}, thread) == {"log": ["old 1", "['log']"]}
    assert face.invoke(old(Saver(saver.storage)), {}, thread) == {"log": ["old 1", "['log']", "old 2"], "n": 3}


def test_the_first_alias_that_has_a_value_counts(face: Face, saver: Saver, thread: Config) -> None:
    class Newest(TypedDict, total=False):
        total: int

    face.invoke(old(saver), {"n": 1}, thread)
    newest = Migration(aliases={"total": ["count", "n"]})
    shown = compiled(saver, Newest, newest, a=lambda state: None)
    assert face.get_state(shown, thread).values == {"total": 2}
    face.invoke(new(saver), {}, thread)
    assert face.get_state(shown, thread).values == {"total": 3}


def test_a_changed_reducer_folds_into_the_stored_value_as_it_is(face: Face, saver: Saver, thread: Config) -> None:
    class Counting(TypedDict, total=False):
        n: Annotated[int, operator.add]

    face.invoke(old(saver), {"n": 1}, thread)
    assert face.invoke(compiled(saver, Counting, a=lambda state: {"n": 40}), {}, thread) == {"n": 42}


def test_a_renamed_value_that_lives_for_one_superstep_is_not_brought_back(face: Face, saver: Saver, thread: Config) -> None:
    class Once(TypedDict, total=False):
        log: Annotated[Names, operator.add]
        once: Annotated[str, EphemeralValue]

    class Fleeting(TypedDict, total=False):
        log: Annotated[Names, operator.add]
        brief: Annotated[str, EphemeralValue]

    def reads(state: Any) -> Any:
        return {"log": [state.get("brief")]}

    writes = compiled(saver, Once, a=lambda state: {"once": "old"}, b=lambda state: interrupt("?"))
    face.invoke(writes, {}, thread)
    after = compiled(saver, Fleeting, Migration(aliases={"brief": ["once"]}), a=reads, b=reads, c=reads)
    assert face.invoke(after, None, thread)["log"] == ["old", None]


def test_an_update_from_an_old_checkpoint_grows_from_the_renamed_values(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(old(saver), {"n": 1}, thread)
    _, ran, _ = face.history(old(saver), thread)
    config = face.update(new(saver), ran.config, {"journal": ["edited"]}, "a")
    assert face.get_state(new(saver), config).values == {"journal": ["edited"], "count": 1, "extra": []}
    assert face.get_state(old(saver), config).values == {"log": [], "n": 1}


def test_an_older_checkpoint_is_run_again_by_the_new_code(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(old(saver), {"n": 1}, thread)
    _, ran, _ = face.history(old(saver), thread)
    assert face.invoke(new(saver), None, ran.config) == {"journal": ["new 1"], "count": 2, "extra": []}


# -- half-done supersteps, questions and Sends ----------------------------------------------------------------------


def falls(state: Any) -> Any:
    raise OSError("no route")


def half_done(face: Face, saver: Saver, thread: Config) -> None:
    """`a` has finished, `b` has failed; the input stands in the state."""
    graph = beside(saver, Before, a=lambda state: {"log": ["a"], "n": 5}, b=falls)
    with pytest.raises(OSError, match="no route"):
        face.invoke(graph, {"log": ["in"], "n": 1}, thread)


def test_what_a_sibling_had_written_is_folded_into_the_renamed_key(face: Face, saver: Saver, thread: Config) -> None:
    half_done(face, saver, thread)
    graph = beside(saver, After, RENAMED, a=falls, b=lambda state: {"journal": [f"b saw {state['count']}"]})
    state = face.get_state(graph, thread)
    assert (state.values, state.next) == ({"journal": ["in", "a"], "count": 5, "extra": []}, ("b",))
    assert state.tasks[0].result == {"journal": ["a"], "count": 5}
    streamed = face.stream(graph, None, thread, stream_mode="updates")
    assert streamed[0] == {"a": {"journal": ["a"], "count": 5}, "__metadata__": {"cached": True}}
    assert face.get_state(graph, thread).values == {"journal": ["in", "a", "b saw 1"], "count": 5, "extra": []}
    assert face.get_state(beside(saver, Before, a=falls, b=falls), thread).values == {"log": ["in"], "n": 1}


def test_what_a_sibling_wrote_to_a_removed_key_is_kept_and_not_shown(face: Face, saver: Saver, thread: Config) -> None:
    half_done(face, saver, thread)
    graph = beside(saver, Without, a=falls, b=lambda state: {"log": ["b"]})
    state = face.get_state(graph, thread)
    assert (state.values, state.tasks[0].result) == ({"log": ["in", "a"]}, {"log": ["a"]})
    assert face.stream(graph, None, thread, stream_mode="updates")[0]["a"] == {"log": ["a"]}
    assert face.get_state(graph, thread).values == {"log": ["in", "a", "b"]}
    assert face.get_state(old(saver), thread).values == {"log": ["in", "a", "b"], "n": 5}


@pytest.mark.parametrize("clear", [True, False])
def test_an_update_of_a_half_done_superstep_speaks_of_the_new_names(
    face: Face, saver: Saver, thread: Config, clear: bool
) -> None:
    half_done(face, saver, thread)
    graph = beside(saver, After, RENAMED, a=falls, b=lambda state: {"journal": ["b"]})
    if clear:
        face.update(graph, thread, None, "__end__")
        assert face.get_state(graph, thread).values == {"journal": ["in", "a"], "count": 5, "extra": []}
    else:
        face.invoke(graph, Command(update={"extra": ["x"]}), thread)
        assert face.get_state(graph, thread).values == {"journal": ["in", "a", "b"], "count": 5, "extra": ["x"]}


@pytest.mark.parametrize("schema", [After, Without])
def test_an_input_that_was_stored_and_not_taken_in_speaks_of_the_new_names(
    face: Face, saver: Saver, thread: Config, schema: Any
) -> None:
    def entering(schema: Any, migration: Migration | None, route: Callable[[Any], Any]) -> CompiledStateGraph:
        builder = StateGraph(schema).add_node("a", lambda state: {})  # pyright: ignore[reportUnknownLambdaType]
        return builder.add_conditional_edges(START, route, ["a"]).compile(saver, migration=migration)

    with pytest.raises(OSError, match="no route"):
        face.invoke(entering(Before, None, falls), {"log": ["in"], "n": 1}, thread)
    graph = entering(schema, RENAMED if schema is After else None, lambda state: "a")
    expected: dict[str, Any] = {"journal": ["in"], "count": 1, "extra": []} if schema is After else {"log": ["in"]}
    written = {key: value for key, value in expected.items() if value}
    assert face.get_state(graph, thread).tasks[0].result == written
    assert face.invoke(graph, None, thread) == expected
    if schema is Without:
        assert face.get_state(entering(Before, None, falls), thread).values == {"log": ["in"], "n": 1}


def test_a_question_waits_while_keys_are_renamed(face: Face, saver: Saver, thread: Config) -> None:
    def asks(key: str, total: str) -> Callable[[Any], Any]:
        return lambda state: {key: [interrupt("?", key="q") + str(state[total])]}

    face.invoke(compiled(saver, Before, a=asks("log", "n")), {"log": ["in"], "n": 1}, thread)
    graph = compiled(saver, After, RENAMED, a=asks("journal", "count"))
    assert [found.value for found in face.get_state(graph, thread).interrupts] == ["?"]
    assert face.invoke(graph, Command(resume="yes"), thread) == {"journal": ["in", "yes1"], "count": 1, "extra": []}


def sending(
    schema: Any, fan: Callable[[Any], Any], worker: Callable[[Any], Any], **given: Any
) -> StateGraph[Any, Any, Any, Any]:
    builder = StateGraph(schema).add_node("w", worker, **given).add_node("fan", lambda state: {})  # pyright: ignore[reportUnknownLambdaType]
    return builder.add_edge(START, "fan").add_conditional_edges("fan", fan)


def test_sends_that_wait_carry_the_new_names(face: Face, saver: Saver, thread: Config) -> None:
    def worker(given: Any) -> Any:
        if given["n"] == 2:
            raise OSError("no route")
        return {"log": [f"old {given['n']}"]}

    sends = [Send("w", {"n": n, "own": "x"}) for n in (1, 2)]
    with pytest.raises(OSError, match="no route"):
        face.invoke(sending(Before, lambda state: sends, worker).compile(saver), {}, thread)
    worker = lambda given: {"journal": [f"new {sorted(given)} {given['count']}"]}  # noqa: E731
    graph = sending(After, lambda state: [], worker).compile(saver, migration=RENAMED)
    assert face.invoke(graph, None, thread)["journal"] == ["old 1", "new ['count', 'own'] 2"]


# -- what cannot be a migration -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aliases", "message"),
    [
        ({"journal": ["count"]}, r"'count' of 'journal' is a key of the state itself"),
        ({"journal": ["log"], "count": ["log"]}, r"Both 'journal' and 'count' have the alias 'log'"),
        ({"log": ["journal"]}, r"gives 'log' other names, .* no such key: expected one of \['count', 'extra', 'journal'\]"),
        ({"journal": "log"}, r"are 'log': expected a list of names, type `\{'journal': \['log'\]\}`"),
    ],
)
def test_a_migration_that_contradicts_the_state_is_refused(saver: Saver, aliases: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        compiled(saver, After, Migration(aliases=aliases), a=lambda state: {})


# -- values that no longer fit --------------------------------------------------------------------------------------


class Strict(BaseModel):
    n: int


class Loose(TypedDict, total=False):
    n: Any


def test_a_value_that_a_pydantic_state_refuses_is_read_and_mended(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(compiled(saver, Loose, a=lambda state: {}, b=lambda state: interrupt("?")), {"n": "many"}, thread)
    graph = compiled(saver, Strict, a=lambda state: {}, b=lambda state: {"n": state.n + 1})
    assert face.get_state(graph, thread).values == {"n": "many"}
    assert len(face.history(graph, thread)) == 3
    with pytest.raises(ValidationError, match="n\n") as caught:
        face.invoke(graph, None, thread)
    assert caught.value.__notes__[0] == (
        "Node 'b' reads the state as Strict, which does not take what thread '1' has under ['n']. Mend it with "
        "`update_state(config, {'n': …}, as_node=…)`, and `invoke(None, config)`."
    )
    face.update(graph, thread, {"n": 1}, "a")
    assert face.invoke(graph, None, thread) == {"n": 2}


def test_a_key_that_a_dataclass_has_gained_and_needs_is_named(face: Face, saver: Saver, thread: Config) -> None:
    @dataclass
    class Needs:
        n: int
        more: str

    face.invoke(compiled(saver, Loose, a=lambda state: {}, b=lambda state: interrupt("?")), {"n": 1}, thread)
    graph = compiled(saver, Needs, a=lambda state: {}, b=lambda state: {"more": state.more.upper()})
    with pytest.raises(TypeError, match="more") as caught:
        face.invoke(graph, None, thread)
    assert "reads the state as Needs, which does not take what thread '1' has. Mend it" in caught.value.__notes__[0]
    face.update(graph, thread, {"more": "x"}, "a")
    assert face.invoke(graph, None, thread) == {"n": 1, "more": "X"}
