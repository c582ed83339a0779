"""`update_state`: a thread edited from outside, as if a node had just written."""

import operator
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ValidationError
from support.faces import SYNC, Face
from support.graphs import Log, chain, drawn, says

from clew.checkpoint.base import Saver
from clew.errors import CheckpointNotFound, DroppedWorkWarning, InvalidUpdateError, MissingCheckpointer, UnstorableValue
from clew.graph import END, START, StateGraph
from clew.types import Command, Durability, Overwrite, Send, StateUpdate, interrupt

Config = dict[str, Any]


def test_an_update_is_folded_and_leads_where_its_node_leads(face: Face, saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a", "b", "c")
    SYNC.invoke(graph, {"log": []}, thread)
    config = face.update(graph, thread, {"log": ["edited"]}, "a")
    state = face.get_state(graph, thread)
    assert state.config == config
    assert (state.values["log"], state.next) == (["a", "b", "c", "edited"], ("b",))
    assert state.metadata is not None
    assert (state.metadata["source"], state.metadata["step"]) == ("update", 4)
    assert face.invoke(graph, None, thread)["log"] == ["a", "b", "c", "edited", "b", "c"]


def test_whose_update_it_is_is_inferred_from_who_ran_last(face: Face, saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a", "b")
    SYNC.invoke(graph, {"log": []}, thread)
    face.update(graph, thread, {"log": ["x"]})
    assert face.get_state(graph, thread).next == ()
    first = face.history(graph, thread)[-2]  # START has run, and leads to a
    face.update(graph, first.config, {"log": ["y"]})
    assert face.get_state(graph, thread).next == ("a",)


def test_on_an_empty_thread_it_is_by_start(face: Face, saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a", "b")
    face.update(graph, thread, {"log": ["seed"]})
    assert face.get_state(graph, thread).next == ("a",)
    assert face.invoke(graph, None, thread)["log"] == ["seed", "a", "b"]


def test_the_only_node_of_a_graph_is_meant(face: Face, saver: Saver, thread: Config) -> None:
    graph = drawn((START, "a")).compile(saver)
    face.update(graph, thread, {"log": ["x"]})
    assert (face.get_state(graph, thread).values, face.get_state(graph, thread).next) == ({"log": ["x"]}, ())


def test_several_that_ran_last_have_to_be_told_apart(face: Face, saver: Saver, thread: Config) -> None:
    graph = drawn((START, "a"), (START, "b")).compile(saver)
    SYNC.invoke(graph, {}, thread)
    with pytest.raises(InvalidUpdateError, match=r"Ambiguous update, specify as_node: \['a', 'b'\] ran last"):
        face.update(graph, thread, {"log": ["x"]})
    face.update(graph, thread, {"log": ["x"]}, "b")
    assert face.get_state(graph, thread).values["log"] == ["a", "b", "x"]


def test_a_node_that_is_not_there_is_refused_naming_those_that_are(face: Face, saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a", "b")
    with pytest.raises(InvalidUpdateError, match=r"Node 'z' does not exist. Its nodes are \['a', 'b'\]"):
        face.update(graph, thread, {"log": []}, "z")
    assert face.history(graph, thread) == []


def test_routers_are_asked_with_the_update_in_place(face: Face, saver: Saver, thread: Config) -> None:
    def route(state: Log) -> Literal["b", "c"]:
        return "c" if "to c" in state.get("log", []) else "b"

    builder = drawn((START, "a"), ("b", END), ("c", END)).add_conditional_edges("a", route)
    graph = builder.compile(saver)
    face.update(graph, thread, {"log": ["to c"]}, "a")
    assert face.get_state(graph, thread).next == ("c",)
    face.update(graph, thread, Command(update={"n": 1}, goto=["b", Send("a", {})]), "a")
    assert face.get_state(graph, thread).next == ("a", "b", "c")


def test_an_update_drops_what_is_pending_and_warns_where_some_had_finished(face: Face, saver: Saver, thread: Config) -> None:
    def breaks(state: Any) -> Any:
        raise OSError("no disk")

    builder = StateGraph(Log).add_node("a", says("a")).add_node("b", breaks).add_node("c", says("c"))
    graph = builder.add_edge(START, "a").add_edge(START, "b").add_edge("b", "c").compile(saver)
    with pytest.raises(OSError, match="no disk"):
        SYNC.invoke(graph, {}, thread)
    with pytest.warns(DroppedWorkWarning, match=r"The update drops what \['a'\] had done"):
        face.update(graph, thread, {"log": ["by hand"]}, "b")
    state = face.get_state(graph, thread)
    assert (state.values["log"], state.next) == (["by hand"], ("c",))
    with pytest.raises(OSError, match="no disk"):
        SYNC.invoke(graph, {}, thread)
    face.update(graph, thread, None, END)
    state = face.get_state(graph, thread)
    assert (state.values["log"], state.next) == (["by hand", "a"], ())


def test_clearing_takes_no_values_and_needs_a_thread(face: Face, saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a")
    with pytest.raises(InvalidUpdateError, match="has nothing that could be cleared"):
        face.update(graph, thread, None, END)
    with pytest.raises(InvalidUpdateError, match="as_node=END takes None, got"):
        face.update(graph, thread, {"log": []}, END)


def test_an_update_grows_from_an_older_checkpoint_as_a_branch(face: Face, saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a", "b", "c")
    SYNC.invoke(graph, {"log": []}, thread)
    after_a = face.history(graph, thread)[2]
    assert after_a.next == ("b",)
    config = face.update(graph, after_a.config, {"log": Overwrite(["other"])})
    assert face.get_state(graph, config).parent_config == after_a.config
    assert face.invoke(graph, None, config)["log"] == ["other", "b", "c"]
    assert face.get_state(graph, after_a.config).values["log"] == ["a"]


def test_an_input_and_a_copy_can_be_made_without_running(face: Face, saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a")
    face.update(graph, thread, {"log": ["in"]}, "__input__")
    state = face.get_state(graph, thread)
    assert (state.next, (state.metadata or {})["source"]) == (("__start__",), "input")
    assert face.invoke(graph, None, thread)["log"] == ["in", "a"]
    face.update(graph, thread, None, "__copy__")
    copied = face.get_state(graph, thread)
    assert (copied.values["log"], (copied.metadata or {})["source"]) == (["in", "a"], "fork")


def test_supersteps_in_bulk_are_a_checkpoint_each(face: Face, saver: Saver, thread: Config) -> None:
    graph = drawn((START, "a"), (START, "b"), (["a", "b"], "c")).compile(saver)
    steps = [
        [StateUpdate({"log": ["in"]}, "__start__")],
        [StateUpdate({"log": ["of b"]}, "b"), StateUpdate({"log": ["of a"]}, "a")],
    ]
    face.bulk_update(graph, thread, steps)
    history = face.history(graph, thread)
    assert [(found.values["log"], found.next) for found in history] == [(["in", "of a", "of b"], ("c",)), (["in"], ("a", "b"))]
    assert face.invoke(graph, None, thread)["log"] == ["in", "of a", "of b", "c"]


def test_nonsense_in_bulk_is_refused_and_nothing_is_kept(face: Face, saver: Saver, thread: Config) -> None:
    graph = drawn((START, "a"), (START, "b")).compile(saver)
    with pytest.raises(ValueError, match="No supersteps provided"):
        face.bulk_update(graph, thread, [])
    with pytest.raises(ValueError, match="No updates provided"):
        face.bulk_update(graph, thread, [[]])
    with pytest.raises(InvalidUpdateError, match="say of each whose it is"):
        face.bulk_update(graph, thread, [[StateUpdate({}), StateUpdate({}, "a")]])
    assert face.history(graph, thread) == []


class Order(BaseModel):
    cups: int = 0
    said: Annotated[list[str], operator.add] = []


def test_bad_values_are_refused_before_they_are_kept(face: Face, saver: Saver, thread: Config) -> None:
    graph = StateGraph(Order).add_node("a", lambda state: {"cups": state.cups + 1}).add_edge(START, "a").compile(saver)
    face.invoke(graph, {"cups": 1}, thread)
    before = face.get_state(graph, thread)
    with pytest.raises(ValidationError, match="cups"):
        face.update(graph, thread, {"cups": "many"})
    with pytest.raises(InvalidUpdateError, match="Expected dict, got 'text' from node 'a'"):
        face.update(graph, thread, "text")
    assert face.get_state(graph, thread) == before


def test_what_cannot_be_stored_is_refused_and_nothing_is_kept(face: Face, saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a")
    face.update(graph, thread, {"log": ["x"]})
    before = face.get_state(graph, thread)
    with pytest.raises(UnstorableValue, match=r"at other\[0\]: node 'a' wrote a builtins.object|at other\[0\]: node 'a' wrote"):
        face.update(graph, thread, {"other": [object()]})
    assert face.get_state(graph, thread) == before


def test_an_edit_needs_a_saver_and_a_checkpoint_that_is_there(face: Face, saver: Saver, thread: Config) -> None:
    with pytest.raises(MissingCheckpointer):
        face.update(chain(None, "a"), thread, {"log": []})
    nowhere = {"configurable": {**thread["configurable"], "checkpoint_id": "0198c0de-0000-7000-8000-000000000001"}}
    with pytest.raises(CheckpointNotFound):
        face.update(chain(saver, "a"), nowhere, {"log": []})


def test_several_edits_of_which_one_is_refused_leave_the_thread_free(face: Face, saver: Saver, thread: dict[str, Any]) -> None:
    graph = chain(saver, "a")
    with pytest.raises(InvalidUpdateError):
        face.bulk_update(graph, thread, [[StateUpdate({"log": ["one"]}, "a")], [StateUpdate({"log": ["two"]}, "nobody")]])
    assert saver.storage.load("1", "", None).lease is None
    assert face.get_state(graph, thread).values == {"log": ["one"]}


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_what_a_command_as_input_writes_is_kept(face: Face, saver: Saver, thread: Config, durability: Durability) -> None:
    def ask(state: Log) -> Log:
        return {"log": [interrupt("well?")]}

    graph = StateGraph(Log).add_node(ask).add_edge(START, "ask").compile(saver)
    face.invoke(graph, {"log": ["in"]}, thread)
    face.invoke(graph, Command(update={"log": ["beside"]}), thread, durability=durability)
    assert face.get_state(graph, thread).values["log"] == ["in", "beside"]
    found = face.invoke(graph, Command(resume="yes", update={"log": ["now"]}), thread, durability=durability)
    assert found["log"] == face.get_state(graph, thread).values["log"] == ["in", "beside", "now", "yes"]
