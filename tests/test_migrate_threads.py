"""Threads that LangGraph has written go on in Clew, whatever they were about; from SQLite and from PostgreSQL."""

import json
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.faces import SYNC, Face
from support.langgraph_env import run
from support.migrated import Database, load_graphs
from support.postgres_server import PostgresServer

from clew.checkpoint.base import Saver
from clew.interop.langgraph.outcomes import question
from clew.types import UNKNOWN, Command, Interrupt, StateSnapshot

pytestmark = pytest.mark.slow  # it runs LangGraph

graphs: Any = load_graphs()
WORKFLOW = "work"
ALL = ("ended", "paused", "half", "half_sent", "again", "several", "stopped", "forked", "edited", "sent", "talk", "family",
       "exiting")  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    graphs.RAN.clear()


def drawn(story: str) -> Any:
    """The graph of a story, to be compiled."""
    match story:
        case "ended" | "forked" | "exiting":
            return graphs.chain("one", "two")
        case "stopped":
            return graphs.chain("one", "two", "three")
        case "half" | "again" | "edited":
            return graphs.pair()
        case "several":
            return graphs.two_ask()
        case "sent":
            return graphs.going()
        case "talk":
            return graphs.talking()
        case "family":
            return graphs.families()
        case _:
            return graphs.wide()


class Thread:
    """A thread that has been moved, with its graph."""

    def __init__(self, face: Face, database: Database, saver: Saver, story: str, **compiled: Any) -> None:
        self.face, self.told = face, database.told[story]
        self.moved = database.moved(saver, story)
        self.config: Any = {"configurable": {"thread_id": story}}
        self.graph = graphs.workflow(saver) if story == WORKFLOW else drawn(story).compile(checkpointer=saver, **compiled)

    def invoke(self, given: Any, config: Any = None) -> Any:
        return self.face.invoke(self.graph, given, config or self.config)

    def state(self) -> StateSnapshot:
        return self.graph.get_state(self.config)

    def history(self) -> list[StateSnapshot]:
        return list(self.graph.get_state_history(self.config))[::-1]


def plain(value: Any) -> Any:
    """As tests/langgraph_side/write.py prints it."""
    return json.loads(json.dumps(value, default=lambda one: one.model_dump(exclude={"id"})))


@pytest.mark.parametrize("story", ALL)
def test_state_and_history_are_what_they_were(langgraph_database: Database, saver: Saver, story: str) -> None:
    thread = Thread(SYNC, langgraph_database, saver, story)
    state, history = thread.state(), thread.history()
    assert plain(state.values) == thread.told["values"]
    assert sorted(state.next) == sorted(thread.told["next"])
    assert [one.value for one in state.interrupts] == thread.told["asked"]
    assert not thread.moved.left_out
    assert [one.metadata["langgraph_checkpoint_id"] for one in history if one.metadata] == [
        one["id"] for one in thread.told["history"]
    ]
    for ours, theirs in zip(history, thread.told["history"], strict=True):
        assert ours.metadata is not None
        assert (ours.metadata["source"], ours.metadata["step"]) == (theirs["source"], theirs["step"])
        assert {key: value for key, value in plain(ours.values).items() if value != []} == {
            key: value for key, value in theirs["values"].items() if value != []
        }
        assert sorted(ours.next) == sorted(theirs["next"])
        assert ours.created_at is not None
        assert abs(datetime.fromisoformat(ours.created_at) - datetime.fromisoformat(theirs["created"])) < timedelta(seconds=1)


def test_a_thread_that_has_ended_goes_on_with_a_new_input(face: Face, langgraph_database: Database, saver: Saver) -> None:
    thread = Thread(face, langgraph_database, saver, "ended")
    before = thread.told["values"]["items"]
    assert thread.invoke({"items": ["more"]})["items"] == [*before, "more", "one", "two"]
    assert [one.metadata["step"] for one in thread.history() if one.metadata] == list(range(-1, 11))


def test_a_question_is_answered_and_finished_siblings_do_not_run_again(
    face: Face, langgraph_database: Database, saver: Saver
) -> None:
    thread = Thread(face, langgraph_database, saver, "paused")
    found = thread.invoke(Command(resume="a2"))
    assert found["items"] == ["first", "a1/a2", "beside", "sent 0", "sent 1", "sent 2", "joined", "last"]
    assert graphs.RAN == ["asks", "joined", "last"]


def test_several_questions_are_answered_by_their_ids(face: Face, langgraph_database: Database, saver: Saver) -> None:
    thread = Thread(face, langgraph_database, saver, "several")
    ids = {one.value: one.id for one in thread.state().interrupts}
    thread.invoke(Command(resume={ids["two?"]: "second"}))
    assert thread.invoke(Command(resume="first"))["items"] == ["first", "second"]


@pytest.mark.parametrize("story", ["half", "again"])
def test_of_a_half_done_superstep_only_the_rest_runs(
    face: Face, langgraph_database: Database, saver: Saver, story: str
) -> None:
    thread = Thread(face, langgraph_database, saver, story)
    [failed] = [task.error for task in thread.state().tasks if task.name == "right"]
    assert failed is not None
    assert (failed.type, failed.message) == ("ValueError", "right fails")
    assert thread.invoke(None)["items"] == ["left", "right", "both", "end"]
    assert graphs.RAN == ["right", "both", "end"]


def test_of_sends_only_those_run_that_have_not(face: Face, langgraph_database: Database, saver: Saver) -> None:
    thread = Thread(face, langgraph_database, saver, "half_sent")
    kept = {item for task in thread.state().tasks if task.name == "sent" and task.result for item in task.result["items"]}
    assert "sent 1" not in kept  # of its siblings it depends on the moment which LangGraph has kept when it fails
    thread.invoke(Command(resume="a1"))
    assert sorted(graphs.RAN) == ["asks", "beside", *sorted({"sent 0", "sent 1", "sent 2"} - kept)]
    found = thread.invoke(Command(resume="a2"))
    assert found["items"] == ["first", "a1/a2", "beside", "sent 0", "sent 1", "sent 2", "joined", "last"]


def test_a_send_keeps_what_it_was_sent(face: Face, langgraph_database: Database, saver: Saver) -> None:
    thread = Thread(face, langgraph_database, saver, "sent")
    assert thread.invoke(None)["items"] == ["goes", "left", "sent 7"]
    assert graphs.RAN == ["sent 7"]


def test_a_breakpoint_where_it_stopped_is_passed(face: Face, langgraph_database: Database, saver: Saver) -> None:
    thread = Thread(face, langgraph_database, saver, "stopped", interrupt_before=["two", "three"])
    assert thread.invoke(None)["items"] == ["one", "two"]
    assert thread.state().next == ("three",)
    assert thread.invoke(None)["items"] == ["one", "two", "three"]


def test_branches_keep_where_they_left(face: Face, langgraph_database: Database, saver: Saver) -> None:
    thread = Thread(face, langgraph_database, saver, "forked")
    assert [branch.steps for branch in thread.face.branches(thread.graph, thread.config)] == [2, 2, 4]
    first = next(one for one in thread.history() if one.values.get("items") == ["in", "one", "two"])
    assert thread.invoke({"items": ["on"]}, first.config)["items"] == ["in", "one", "two", "on", "one", "two"]


def test_an_old_checkpoint_is_run_again(face: Face, langgraph_database: Database, saver: Saver) -> None:
    thread = Thread(face, langgraph_database, saver, "ended")
    old = next(one for one in thread.history() if one.next == ("two",))
    assert thread.invoke(None, old.config)["items"] == ["in", "one", "two"]
    assert graphs.RAN == ["two"]


def test_an_old_question_is_answered_anew(face: Face, langgraph_database: Database, saver: Saver) -> None:
    thread = Thread(face, langgraph_database, saver, "paused")
    old = thread.state().config
    thread.invoke(Command(resume="a2"))
    assert "a1/other" in thread.invoke(Command(resume="other"), old)["items"]


def test_history_tells_what_each_task_came_to(face: Face, langgraph_database: Database, saver: Saver) -> None:
    thread = Thread(face, langgraph_database, saver, "paused")
    [first] = [one for one in thread.history() if one.next == ("first",)]
    assert [(task.name, task.result) for task in first.tasks] == [("first", {"items": ["first"]})]


def test_messages_get_their_ids_once(face: Face, langgraph_database: Database, saver: Saver) -> None:
    thread = Thread(face, langgraph_database, saver, "talk")
    messages = thread.state().values["messages"]
    written = [message for one in thread.history() for task in one.tasks for message in (task.result or {}).get("messages", [])]
    assert {message.id for message in written} == {message.id for message in messages}
    found = thread.invoke(Command(resume="sunny"))["messages"]
    assert [message.text for message in found[3:]] == ["", "sunny", "you said sunny"]
    assert found[: len(messages)] == messages


def test_graphs_inside_go_on_where_they_paused(face: Face, langgraph_database: Database, saver: Saver) -> None:
    thread = Thread(face, langgraph_database, saver, "family")
    inside = thread.graph.get_state(thread.config, subgraphs=True).tasks[0].state.tasks[0].state
    assert inside.next == ("asks",)
    items = thread.invoke(Command(resume="s2"))["items"]
    assert graphs.RAN == ["asks"]
    assert items[-1] == "s1/s2"


def test_a_graph_inside_goes_on_from_what_it_remembers(face: Face, langgraph_database: Database, saver: Saver) -> None:
    thread = Thread(face, langgraph_database, saver, "family")
    inside: Any = {"configurable": {"thread_id": "family", "checkpoint_ns": "counter"}}
    remembered = thread.graph.get_state(inside).values["items"]
    thread.invoke({"items": ["third"]})
    counted = thread.graph.get_state(inside).values["items"]
    assert counted[: len(remembered)] == remembered
    assert len(counted) > len(remembered)


def test_a_workflow_goes_on_without_running_again_what_has_run(face: Face, langgraph_database: Database, saver: Saver) -> None:
    thread = Thread(face, langgraph_database, saver, "work")
    assert thread.invoke(Command(resume="sure")) == [[None, "yes 6"], "sure 10"]
    assert graphs.RAN == ["work"]
    thread.invoke(1)
    assert thread.invoke(Command(resume="yes")) == [[[None, "yes 6"], "sure 10"], "yes 2"]


@pytest.mark.server
def test_a_shallow_saver_has_kept_the_newest_checkpoint(
    face: Face, langgraph_env: Path, postgres_server: PostgresServer, saver: Saver
) -> None:
    url = postgres_server.database()
    database = Database(url, run(langgraph_env, "write.py", f"shallow+{url}", "ended"))
    with closing(database.tables):
        thread = Thread(face, database, saver, "ended")
        assert thread.moved.checkpoints == 1
        assert thread.state().values == thread.told["values"]
        assert thread.invoke({"items": ["more"]})["items"][-3:] == ["more", "one", "two"]


@pytest.mark.parametrize(("value", "known"), [("q", True), ({"a": {"b": 1}}, True), (["q"], False), ({"a": ("b",)}, False)])
def test_a_question_is_compared_where_it_has_come_back_as_it_was(value: Any, known: bool) -> None:
    assert (question("0", Interrupt(value, "1")).asked != UNKNOWN) == known
