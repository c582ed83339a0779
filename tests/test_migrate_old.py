"""Threads that LangGraph has written before 0.3: other names of channels, no paths of tasks, Sends kept beside the checkpoint
before. Where edges lead was left to the graph, so it has to be named."""

from collections.abc import Generator
from typing import Any, Final

import pytest
from support.faces import SYNC
from support.langgraph_env import ROOT, made, run
from support.migrated import Database, load_graphs
from support.postgres_server import PostgresServer

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import InMemorySaver
from clew.errors import UnreadableThread
from clew.types import Command

pytestmark = pytest.mark.slow
OLD: Final = (
    "langgraph==0.2.76",
    "langgraph-checkpoint==2.0.10",
    "langgraph-checkpoint-sqlite==2.0.1",
    "langgraph-checkpoint-postgres==2.0.8",
    "langchain-core<0.4",
    "psycopg[binary]>=3.2",
    "numpy>=2.0",
)
STORIES: Final = ("ended", "half", "again", "several", "stopped", "forked", "sent", "talk", "family", "work", "first_work")
graphs: Any = load_graphs()


@pytest.fixture(scope="module", params=["from sqlite", pytest.param("from postgres", marks=pytest.mark.server)])
def old_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Database]:
    python = made(ROOT / ".langgraph-old-venv", OLD, with_clew=False)
    if request.param == "from postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.database()
    else:
        url = str(tmp_path_factory.mktemp("langgraph-old") / "threads.db")
    found = Database(url, run(python, "write.py", url, *STORIES))
    yield found
    found.tables.close()


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    graphs.RAN.clear()


def moved(database: Database, saver: Saver, story: str, drawn: Any, **compiled: Any) -> tuple[Any, Any]:
    """The graph on the migrated thread, and the thread's config."""
    graph = drawn.compile(checkpointer=saver, **compiled)
    found = database.moved(saver, story, graph)
    assert not found.left_out
    config: Any = {"configurable": {"thread_id": story}}
    state, told = graph.get_state(config), database.told[story]
    assert sorted(state.next) == sorted(told["next"])
    assert [one.value for one in state.interrupts] == told["asked"]
    history = list(graph.get_state_history(config))[::-1]
    assert [one.metadata["langgraph_checkpoint_id"] for one in history] == [one["id"] for one in told["history"]]
    assert [sorted(one.next) for one in history] == [sorted(one["next"]) for one in told["history"]]
    for ours, theirs in zip(history, told["history"], strict=True):
        assert {key: len(value) for key, value in ours.values.items() if value} == {
            key: len(value) for key, value in theirs["values"].items() if value
        }
    return graph, config


def test_a_thread_that_has_ended_goes_on(old_database: Database, saver: Saver) -> None:
    graph, config = moved(old_database, saver, "ended", graphs.chain("one", "two"))
    assert SYNC.invoke(graph, {"items": ["more"]}, config)["items"][-4:] == ["two", "more", "one", "two"]


@pytest.mark.parametrize("story", ["half", "again"])
def test_of_a_half_done_superstep_only_the_rest_runs(old_database: Database, saver: Saver, story: str) -> None:
    graph, config = moved(old_database, saver, story, graphs.pair())
    assert SYNC.invoke(graph, None, config)["items"] == ["left", "right", "both", "end"]
    assert graphs.RAN == ["right", "both", "end"]


def test_questions_are_answered(old_database: Database, saver: Saver) -> None:
    graph, config = moved(old_database, saver, "several", graphs.two_ask())
    ids = {one.value: one.id for one in graph.get_state(config).interrupts}
    assert SYNC.invoke(graph, Command(resume={ids["one?"]: 1, ids["two?"]: 2}), config)["items"] == ["1", "2"]


def test_a_send_keeps_what_it_was_sent(old_database: Database, saver: Saver) -> None:
    graph, config = moved(old_database, saver, "sent", graphs.going())
    assert SYNC.invoke(graph, None, config)["items"] == ["goes", "left", "sent 7"]
    assert graphs.RAN == ["sent 7"]


def test_a_breakpoint_is_passed(old_database: Database, saver: Saver) -> None:
    graph, config = moved(old_database, saver, "stopped", graphs.chain("one", "two", "three"), interrupt_before=["two"])
    assert SYNC.invoke(graph, None, config)["items"] == ["one", "two", "three"]


def test_messages_and_their_question(old_database: Database, saver: Saver) -> None:
    graph, config = moved(old_database, saver, "talk", graphs.talking())
    assert SYNC.invoke(graph, Command(resume="sunny"), config)["messages"][-1].text == "you said sunny"


def test_graphs_inside_go_on(old_database: Database, saver: Saver) -> None:
    graph, config = moved(old_database, saver, "family", graphs.families())
    assert SYNC.invoke(graph, Command(resume="s2"), config)["items"][-1] == "s1/s2"
    assert graphs.RAN == ["asks"]


@pytest.mark.parametrize("story", ["work", "first_work"])
def test_what_a_workflow_has_called_does_not_run_again(old_database: Database, saver: Saver, story: str) -> None:
    graph = graphs.workflow(saver)
    assert not old_database.moved(saver, story, graph).left_out
    given: Any = [None, "yes 6"] if story == "work" else None
    config: Any = {"configurable": {"thread_id": story}}
    assert SYNC.invoke(graph, Command(resume="sure"), config) == [given, f"sure {10 if given else 6}"]
    assert graphs.RAN == ["work"]


def test_a_workflow_without_its_graph_is_not_guessed_at(old_database: Database) -> None:
    with InMemorySaver() as saver, pytest.raises(UnreadableThread, match="whose name is not kept"):
        old_database.moved(saver, "first_work")


def test_without_the_graph_it_is_said_what_is_missing(old_database: Database) -> None:
    with InMemorySaver() as saver:
        with pytest.raises(UnreadableThread, match=r"--graph app\.py:graph"):
            old_database.moved(saver, "ended")
        assert saver.threads() == []
