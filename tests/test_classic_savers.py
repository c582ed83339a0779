"""Savers with the classic interface under the engine. What graphs do on them is tested where it is tested for all savers."""

import asyncio
import operator
import warnings
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import HumanMessage
from support.classic_savers import AwaitedSaver, PlainSaver
from support.faces import ASYNC, SYNC, Face
from support.pages import ROOT, run
from support.servers import RedisServer

from clew.checkpoint.base import BaseCheckpointSaver
from clew.checkpoint.foreign import REST, ForeignSaver
from clew.errors import CheckpointNotFound, ClassicSaverWarning, DatabaseError, UnstorableValue, WrongFace
from clew.graph import START, MessagesState, StateGraph
from clew.types import Command, interrupt


class State(TypedDict):
    log: Annotated[list[str], operator.add]


def asking() -> StateGraph[Any, Any, Any, Any]:
    builder = StateGraph(State)
    builder.add_node("first", lambda state: {"log": ["first"]})
    builder.add_node("second", lambda state: {"log": [interrupt("which?")]})
    builder.add_edge(START, "first")
    builder.add_edge("first", "second")
    return builder


def quietly(builder: StateGraph[Any, Any, Any, Any], saver: Any) -> Any:
    """Compiled, whether or not its saver's class was warned of before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClassicSaverWarning)
        return builder.compile(checkpointer=saver)


def test_values_stand_there_as_what_they_are(face: Face, thread: dict[str, Any]) -> None:
    saver = PlainSaver()
    builder = StateGraph(MessagesState).add_node("say", lambda state: {"messages": [("ai", "hello")]})
    graph = quietly(builder.add_edge(START, "say"), saver)
    face.invoke(graph, {"messages": [HumanMessage("hi", id="1")]}, {**thread, "metadata": {"user": "ann"}})
    found = saver.get_tuple(thread)
    assert found is not None
    values = found.checkpoint["channel_values"]
    assert [message.content for message in values["messages"]] == ["hi", "hello"]
    assert values["messages"][0] == HumanMessage("hi", id="1")
    assert values.keys() == {"messages", REST} == found.checkpoint["channel_versions"].keys()
    assert found.metadata == {"source": "loop", "step": 1, "parents": {}, "user": "ann"}
    assert [one.metadata.get("step") for one in saver.list(thread)] == [1, 0, -1]
    assert graph.get_state(thread).config == found.config


def test_another_process_goes_on_from_what_was_kept(face: Face, thread: dict[str, Any]) -> None:
    saver = PlainSaver()
    paused = face.invoke(quietly(asking(), saver), {"log": ["in"]}, thread)
    assert [asked.value for asked in paused["__interrupt__"]] == ["which?"]
    again = PlainSaver()
    again.shelf = saver.shelf  # the rows, and nothing that was remembered
    assert face.invoke(quietly(asking(), again), Command(resume="left"), thread) == {"log": ["in", "first", "left"]}


def test_after_a_crash_what_had_finished_is_not_run_again(face: Face, thread: dict[str, Any]) -> None:
    ran: list[str] = []
    broken = [True]

    def fine(state: State) -> dict[str, Any]:
        ran.append("fine")
        return {"log": ["fine"]}

    def fails(state: State) -> dict[str, Any]:
        ran.append("fails")
        if broken.pop():
            raise OSError("down")
        return {"log": ["mended"]}

    builder = StateGraph(State).add_node("fine", fine).add_node("fails", fails)
    builder.add_edge(START, "fine").add_edge(START, "fails")
    saver = PlainSaver()
    with pytest.raises(OSError, match="down"):
        face.invoke(quietly(builder, saver), {"log": []}, thread)
    broken.append(False)
    assert face.invoke(quietly(builder, saver), None, thread) == {"log": ["mended", "fine"]}
    assert sorted(ran) == ["fails", "fails", "fine"]


def test_async_methods_are_awaited_on_the_loop_of_the_run(thread: dict[str, Any]) -> None:
    saver = AwaitedSaver()
    graph = quietly(asking(), saver)

    async def chat() -> Any:
        await graph.ainvoke({"log": ["in"]}, thread)
        assert saver.loops == {asyncio.get_running_loop()}
        result = await graph.ainvoke(Command(resume="left"), thread)
        history = [snapshot async for snapshot in graph.aget_state_history(thread)]
        forked = await graph.ainvoke(None, history[-2].config)
        return result, [snapshot.next for snapshot in history], forked["log"]

    result, following, forked = asyncio.run(chat())
    assert result == {"log": ["in", "first", "left"]}
    assert following == [(), ("second",), ("first",), ("__start__",)]
    assert forked == ["in", "first"]


def test_what_can_only_be_awaited_is_refused_at_the_door(thread: dict[str, Any]) -> None:
    saver = AwaitedSaver()
    graph = quietly(asking(), saver)
    for refused in (lambda: graph.invoke({"log": []}, thread), lambda: graph.get_state(thread)):
        with pytest.raises(WrongFace, match=r"AwaitedSaver can only be awaited.*`ainvoke`"):
            refused()
    assert saver.shelf.checkpoints == {}


def test_it_says_once_what_it_cannot_do() -> None:
    class Mine(PlainSaver):
        pass

    builder = asking()
    with pytest.warns(ClassicSaverWarning, match="Mine has the classic interface.*whole.*two runs") as told:
        builder.compile(checkpointer=Mine())
    assert told[0].filename == __file__
    builder.compile(checkpointer=Mine())


def test_what_is_no_saver_is_refused() -> None:
    class Half(BaseCheckpointSaver[int]):
        def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any: ...

    for wrong in (Half(), object(), "chat.db"):
        with pytest.raises(TypeError, match="or one of your own with `get_tuple`, `list`, `put` and `put_writes`"):
            asking().compile(checkpointer=wrong)  # pyright: ignore[reportArgumentType]


def test_savers_that_were_written_for_langgraph_will_do(face: Face, thread: dict[str, Any]) -> None:
    """It comes with LangChain, so it is there; its values go through LangGraph's own serializer."""
    from langgraph.checkpoint.memory import InMemorySaver

    saver: Any = InMemorySaver()
    graph = quietly(asking(), saver)
    face.invoke(graph, {"log": ["in"]}, thread)
    assert face.invoke(graph, Command(resume="left"), thread) == {"log": ["in", "first", "left"]}
    assert saver.get_tuple(thread).checkpoint["channel_values"]["log"] == ["in", "first", "left"]


def test_an_async_method_that_is_there_for_its_name_only_is_passed_over(thread: dict[str, Any]) -> None:
    class Stubbed(PlainSaver):
        async def aget_tuple(self, config: Any) -> Any:
            raise NotImplementedError("use the other class")

    graph = quietly(asking(), Stubbed())
    ASYNC.invoke(graph, {"log": ["in"]}, thread)
    assert ASYNC.get_state(graph, thread).values == {"log": ["in", "first"]}


def test_a_value_that_cannot_be_kept_fails_at_its_node(face: Face, thread: dict[str, Any]) -> None:
    builder = StateGraph(State).add_node("odd", lambda state: {"log": [object()]}).add_edge(START, "odd")
    graph = quietly(builder, PlainSaver())
    with pytest.raises(UnstorableValue, match=r"at log\[0\]: node 'odd' wrote"):
        face.invoke(graph, {"log": []}, thread)


def test_an_id_that_is_not_there_is_said(face: Face, thread: dict[str, Any]) -> None:
    graph = quietly(asking(), PlainSaver())
    face.invoke(graph, {"log": []}, thread)
    gone = {"configurable": {"thread_id": "1", "checkpoint_id": "01a214ef-b985-74f4-88a7-e38100000002"}}
    with pytest.raises(CheckpointNotFound, match="01a214ef"):
        face.invoke(graph, None, gone)


def test_what_others_wrote_is_not_taken_for_ours(face: Face, thread: dict[str, Any]) -> None:
    from langgraph.checkpoint.base import empty_checkpoint

    saver = PlainSaver()
    saver.put({"configurable": {"thread_id": "1", "checkpoint_ns": ""}}, empty_checkpoint(), {}, {})  # pyright: ignore
    with pytest.raises(DatabaseError, match="was not written by Clew"):
        face.invoke(quietly(asking(), saver), {"log": []}, thread)


def test_the_newest_is_the_newest_though_clocks_differ(thread: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    import clew.ids

    monkeypatch.setattr(clew.ids, "_last", 0)  # what it is now comes back, whatever happens to it here
    saver = PlainSaver()
    now = time.time_ns()
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time_ns", lambda: now + 3_600_000_000_000)
        SYNC.invoke(quietly(asking(), saver), {"log": ["in"]}, thread)
    monkeypatch.setattr(clew.ids, "_last", 0)  # as in a process that has made no ids yet
    assert SYNC.invoke(quietly(asking(), saver), Command(resume="left"), thread)["log"] == ["in", "first", "left"]
    assert SYNC.get_state(quietly(asking(), saver), thread).values == {"log": ["in", "first", "left"]}


def test_a_thread_is_deleted_by_the_savers_own_verb(thread: dict[str, Any]) -> None:
    saver = PlainSaver()
    graph = quietly(asking(), saver)
    graph.invoke({"log": []}, thread)
    assert isinstance(graph.checkpointer, ForeignSaver)
    asyncio.run(graph.checkpointer.adelete_thread("1"))
    assert saver.shelf.checkpoints == saver.shelf.writes == {}
    assert graph.get_state(thread).values == {}
    with pytest.raises(NotImplementedError, match=r"PlainSaver has the classic.*cannot list its threads"):
        graph.checkpointer.threads()


# -- the savers of docs/how-to/write-your-own-saver.md, over a real Redis ---------------------------------------------------


@pytest.fixture(scope="module")
def page(redis_server: RedisServer) -> dict[str, Any]:
    """The names that the page makes."""
    with redis_server.client() as client, pytest.MonkeyPatch.context() as there:
        client.execute_command("FLUSHALL")  # pyright: ignore[reportUnknownMemberType]
        there.setenv("REDIS_PORT", str(redis_server.port))
        with warnings.catch_warnings():
            return run(ROOT / "docs" / "how-to" / "write-your-own-saver.md")


def test_a_thread_in_redis_has_its_whole_history(
    page: dict[str, Any], redis_client: Any, face: Face, thread: dict[str, Any]
) -> None:
    graph = quietly(asking(), page["RedisSaver"](redis_client))
    face.invoke(graph, {"log": ["in"]}, thread)
    face.invoke(graph, Command(resume="left"), thread)
    history = face.history(graph, thread)
    assert [(shown.next, shown.values["log"]) for shown in history] == [
        ((), ["in", "first", "left"]),
        (("second",), ["in", "first"]),
        (("first",), ["in"]),
        (("__start__",), []),
    ]
    assert history[1].tasks[0].result == {"log": ["left"]}
    assert [asked.value for asked in history[1].interrupts] == ["which?"]
    again = face.invoke(graph, None, history[1].config)
    assert [asked.value for asked in again["__interrupt__"]] == ["which?"]
    assert face.invoke(graph, Command(resume="right"), thread)["log"] == ["in", "first", "right"]
    edited = face.update(graph, history[2].config, {"log": ["edited"]}, as_node="first")
    assert face.get_state(graph, thread).config == edited
    assert face.get_state(graph, thread).values == {"log": ["in", "edited"]}
    assert len(face.history(graph, thread, limit=2)) == 2
    assert [shown.values for shown in face.history(graph, thread, before=history[2].config)] == [{"log": []}]


def test_a_graph_with_a_memory_of_its_own_keeps_it_in_redis(
    page: dict[str, Any], redis_client: Any, face: Face, thread: dict[str, Any]
) -> None:
    inner = StateGraph(State).add_node("within", lambda state: {"log": [interrupt("inside?")]}).add_edge(START, "within")
    outer = StateGraph(State).add_node("child", inner.compile(checkpointer=True)).add_edge(START, "child")
    graph = quietly(outer, page["RedisSaver"](redis_client))
    result: Any = None
    memory = ["one", "one", "two"]  # it is given the outer log, and adds it to its own
    for answer in ("one", "two"):
        face.invoke(graph, {"log": []}, thread)
        result = face.invoke(graph, Command(resume=answer), thread)
    assert result["log"] == ["one", *memory]
    within = {"configurable": {"thread_id": "1", "checkpoint_ns": "child"}}
    assert face.get_state(graph, within).values == {"log": memory}


def test_an_async_saver_over_redis_has_all_of_it(
    page: dict[str, Any], redis_server: RedisServer, redis_client: Any, thread: dict[str, Any]
) -> None:
    async def chat() -> Any:
        async with page["AsyncRedisSaver"].from_conn_info(host="127.0.0.1", port=redis_server.port, db=0) as saver:
            graph = quietly(asking(), saver)
            await graph.ainvoke({"log": ["in"]}, thread)
            await graph.ainvoke(Command(resume="left"), thread)
            history = [shown async for shown in graph.aget_state_history(thread)]
            await graph.ainvoke(None, history[1].config)
            forked = await graph.ainvoke(Command(resume="right"), thread)
            await graph.aupdate_state(thread, {"log": ["edited"]}, as_node="second")
            return forked["log"], [shown.next for shown in history], (await graph.aget_state(thread)).values["log"]

    forked, following, now = asyncio.run(chat())
    assert forked == ["in", "first", "right"]
    assert following == [(), ("second",), ("first",), ("__start__",)]
    assert now == ["in", "first", "right", "edited"]
