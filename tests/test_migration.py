"""Code that changes under threads that are kept: keys and nodes that were added, removed and renamed, there and back."""

import operator
from typing import Annotated, Any, TypedDict

import pytest
from pydantic import BaseModel, ValidationError
from support.faces import Face
from support.graphs import says

from clew.checkpoint.base import Saver
from clew.errors import GraphError, UnknownNode
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.types import Command, Migration, Send, interrupt

Config = dict[str, Any]
LogList = Annotated[list[str], operator.add]


class Old(TypedDict, total=False):
    log: LogList
    name: str


class New(TypedDict, total=False):
    history: LogList
    title: str
    added: LogList


class Less(TypedDict, total=False):
    name: str


RENAMED = Migration(aliases={"history": ["log"], "title": ["label", "name"]})


def graph_of(schema: Any, saver: Saver, node: Any, *, migration: Migration | None = None, **options: Any) -> CompiledStateGraph:
    builder = StateGraph(schema).add_node("node", node, **options).add_edge(START, "node")
    return builder.compile(saver, migration=migration)


def old(saver: Saver) -> CompiledStateGraph:
    def node(state: Old) -> Old:
        return {"log": [f"old {state.get('name')}"]}

    return graph_of(Old, saver, node)


def new(saver: Saver) -> CompiledStateGraph:
    def node(state: New) -> New:
        return {"history": [f"new {state.get('title')}"], "added": ["x"]}

    return graph_of(New, saver, node, migration=RENAMED)


def less(saver: Saver) -> CompiledStateGraph:
    def node(state: Less) -> Less:
        return {"name": f"{state.get('name')}!"}

    return graph_of(Less, saver, node)


# -- keys -----------------------------------------------------------------------------------------------------------


def test_renamed_keys_start_from_what_they_were_called_before(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(old(saver), {"log": ["in"], "name": "ada"}, thread)
    renamed = new(Saver(saver.storage))
    assert face.get_state(renamed, thread).values == {"history": ["in", "old ada"], "title": "ada", "added": []}
    assert [s.values.get("history", []) for s in face.history(renamed, thread)] == [["in", "old ada"], ["in"], []]
    result = face.invoke(renamed, {"history": ["again"]}, thread)
    assert result == {"history": ["in", "old ada", "again", "new ada"], "title": "ada", "added": ["x"]}


def test_going_back_to_the_older_code_finds_what_it_had(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(old(saver), {"log": ["in"], "name": "ada"}, thread)
    face.invoke(new(Saver(saver.storage)), {"history": ["new words"], "title": "new"}, thread)
    back = old(Saver(saver.storage))
    assert face.get_state(back, thread).values == {"log": ["in", "old ada"], "name": "ada"}
    assert face.invoke(back, {"log": ["back"]}, thread)["log"] == ["in", "old ada", "back", "old ada"]


def test_removed_keys_are_kept_unseen(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(old(saver), {"log": ["in"], "name": "ada"}, thread)
    without = less(Saver(saver.storage))
    assert face.get_state(without, thread).values == {"name": "ada"}
    assert face.invoke(without, {"name": "bob"}, thread) == {"name": "bob!"}
    assert face.get_state(old(Saver(saver.storage)), thread).values == {"log": ["in", "old ada"], "name": "bob!"}


def test_a_removed_key_that_a_finished_task_had_written_is_kept_as_well(face: Face, saver: Saver, thread: Config) -> None:
    broken = [True]

    def breaks(state: Any) -> Any:
        if broken.pop() if broken else False:
            raise OSError("once")
        return {"name": "went on"}

    def both(schema: Any, saver: Saver, migration: Migration | None = None) -> CompiledStateGraph:
        builder = StateGraph(schema).add_node("sibling", says("sibling")).add_node("breaks", breaks)
        return builder.add_edge(START, "sibling").add_edge(START, "breaks").compile(saver, migration=migration)

    with pytest.raises(OSError, match="once"):
        face.invoke(both(Old, saver), {"log": ["in"]}, thread)
    without = both(Less, Saver(saver.storage))
    assert face.get_state(without, thread).values == {}
    assert face.invoke(without, None, thread) == {"name": "went on"}
    assert face.get_state(both(Old, Saver(saver.storage)), thread).values["log"] == ["in"]


def test_a_finished_task_that_wrote_under_the_old_name_counts_under_the_new(face: Face, saver: Saver, thread: Config) -> None:
    broken = [True]

    def breaks(state: Any) -> Any:
        if broken.pop() if broken else False:
            raise OSError("once")
        return {"history": ["went on"]}

    def both(schema: Any, saver: Saver, migration: Migration | None = None) -> CompiledStateGraph:
        builder = StateGraph(schema).add_node("a", says("sibling")).add_node("breaks", breaks)
        return builder.add_edge(START, "a").add_edge(START, "breaks").compile(saver, migration=migration)

    with pytest.raises(OSError, match="once"):
        face.invoke(both(Old, saver), {"log": ["in"]}, thread)
    renamed = both(New, Saver(saver.storage), RENAMED)
    assert face.get_state(renamed, thread).values["history"] == ["in", "sibling"]
    assert face.invoke(renamed, None, thread)["history"] == ["in", "sibling", "went on"]


def test_an_input_that_had_not_been_applied_and_a_send_that_waits_speak_of_the_new_names(
    face: Face, saver: Saver, thread: Config
) -> None:
    seen: list[Any] = []

    def builder(schema: Any, key: str) -> Any:
        def node(state: Any) -> Any:
            seen.append(dict(state))
            return {key: [interrupt("?")]}

        found = StateGraph(schema).add_node("node", node)
        return found.add_conditional_edges(START, lambda state: Send("node", {"log": ["sent"], "other": 1}))

    face.invoke(builder(Old, "log").compile(saver), {"log": ["in"]}, thread)
    renamed = builder(New, "history").compile(Saver(saver.storage), migration=RENAMED)
    assert face.invoke(renamed, Command(resume="yes"), thread)["history"] == ["in", "yes"]
    assert seen == [{"log": ["sent"], "other": 1}, {"history": ["sent"], "other": 1}]
    other = {"configurable": {"thread_id": "2"}}
    old(saver).update_state(other, {"log": ["input"]}, "__input__")
    assert face.invoke(new(Saver(saver.storage)), None, other)["history"] == ["input", "new None"]


@pytest.mark.parametrize(
    ("aliases", "message"),
    [
        ({"nobody": ["log"]}, r"gives 'nobody' other names.*no such key: expected one of \['added', 'history', 'title'\]"),
        ({"title": ["history"]}, "alias 'history' of 'title' is a key of the state itself"),
        ({"title": ["x"], "history": ["x"]}, "Both 'title' and 'history' have the alias 'x'"),
    ],
)
def test_aliases_that_cannot_be_meant(aliases: Any, message: str, saver: Saver) -> None:
    with pytest.raises(GraphError, match=message):
        graph_of(New, saver, says("x"), migration=Migration(aliases=aliases))


def test_a_value_that_the_schema_refuses_by_now_says_which_and_what_to_do(face: Face, saver: Saver, thread: Config) -> None:
    class Before(BaseModel):
        count: Any = None

    class After(BaseModel):
        count: int = 0

    def three(state: Before) -> Any:
        return {"count": "three"}

    def add(state: After) -> Any:
        return {"count": state.count + 1}

    face.invoke(graph_of(Before, saver, three), {"count": 1}, thread)
    changed = graph_of(After, Saver(saver.storage), add)
    assert face.get_state(changed, thread).values == {"count": "three"}
    assert len(face.history(changed, thread)) == 3
    changed.update_state(thread, {}, "__start__")
    with pytest.raises(ValidationError, match="count") as caught:
        face.invoke(changed, None, thread)
    assert any("thread '1'" in note and "`update_state(" in note for note in caught.value.__notes__)
    changed.update_state(thread, {"count": 3}, "__start__")
    assert face.invoke(changed, None, thread)["count"] == 4


# -- nodes ----------------------------------------------------------------------------------------------------------


def waits(name: str, saver: Saver, aliases: tuple[str, ...] = (), *, joined: str = "joined", late: str = "late") -> Any:
    def asks(state: Any) -> Any:
        return {"log": [interrupt("?")]}

    builder = StateGraph(Old).add_node(name, asks, aliases=aliases).add_node("other", says("other"))
    builder.add_node(joined, says(joined), aliases=("joined",) if joined != "joined" else ())
    builder.add_node(late, says(late), defer=True, aliases=("late",) if late != "late" else ())
    builder.add_edge(START, name).add_edge(START, "other").add_edge(START, late)
    return builder.add_edge([name, "other"], joined).compile(saver)


def test_a_renamed_node_that_waits_and_a_join_and_a_deferred_node(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(waits("asks", saver), {"log": []}, thread)
    with pytest.raises(UnknownNode, match=r"'asks'\. The graph has no such node any more.*aliases=\['asks'\]"):
        face.invoke(waits("renamed", Saver(saver.storage)), Command(resume="yes"), thread)
    renamed = waits("renamed", Saver(saver.storage), ("asks",), joined="met", late="last")
    assert face.invoke(renamed, Command(resume="yes"), thread)["log"] == ["yes", "other", "met", "last"]


def test_a_deferred_node_that_is_gone_is_told_before_anything_runs(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(waits("asks", saver), {"log": []}, thread)
    builder = StateGraph(Old).add_node("asks", says("x")).add_node("other", says("x")).add_edge(START, "asks")
    with pytest.raises(UnknownNode, match=r"'late', which was deferred\. The graph has no such node"):
        face.invoke(builder.compile(Saver(saver.storage)), Command(resume="yes"), thread)
