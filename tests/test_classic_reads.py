"""The classic reading verbs of every saver, the names that people import beside them, and the default serializer."""

import asyncio
import datetime as dt
import operator
from collections import deque
from typing import Annotated, Any, TypedDict

import pytest
from support.faces import Face

from clew.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    CheckpointTuple,
    Saver,
    copy_checkpoint,
    empty_checkpoint,
    get_checkpoint_id,
    get_checkpoint_metadata,
)
from clew.checkpoint.serde.base import SerializerProtocol
from clew.checkpoint.serde.jsonplus import JsonPlusSerializer
from clew.errors import DatabaseError
from clew.graph import START, StateGraph
from clew.types import Command, interrupt


class State(TypedDict):
    log: Annotated[list[str], operator.add]


def asking(saver: Any) -> Any:
    builder = StateGraph(State)
    builder.add_node("first", lambda state: {"log": ["first"]})
    builder.add_node("second", lambda state: {"log": [interrupt("which?")]})
    builder.add_edge(START, "first")
    builder.add_edge("first", "second")
    return builder.compile(checkpointer=saver)


class Plain:
    """How the verbs are called on the sync face; `Awaited` is the other one."""

    def get(self, saver: Saver, config: Any) -> CheckpointTuple | None:
        return saver.get_tuple(config)

    def all(self, saver: Saver, config: Any, **options: Any) -> list[CheckpointTuple]:
        return list(saver.list(config, **options))


class Awaited:
    def get(self, saver: Saver, config: Any) -> CheckpointTuple | None:
        return asyncio.run(saver.aget_tuple(config))

    def all(self, saver: Saver, config: Any, **options: Any) -> list[CheckpointTuple]:
        async def listed() -> list[CheckpointTuple]:
            return [found async for found in saver.alist(config, **options)]

        return asyncio.run(listed())


@pytest.fixture(params=[Plain(), Awaited()], ids=["sync", "async"])
def reads(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_a_checkpoint_is_read_with_what_its_tasks_came_to(saver: Saver, reads: Any, thread: dict[str, Any]) -> None:
    graph = asking(saver)
    graph.invoke({"log": ["in"]}, {**thread, "metadata": {"user": "ann"}})
    shown = graph.get_state(thread)
    found = reads.get(saver, thread)
    assert found.config == shown.config
    assert found.parent_config == shown.parent_config
    assert found.checkpoint["id"] == shown.config["configurable"]["checkpoint_id"] == get_checkpoint_id(found.config)
    assert found.checkpoint["channel_values"] == {"log": ["in", "first"]}
    assert found.checkpoint["ts"] == shown.created_at
    assert found.checkpoint["channel_versions"].keys() == {"log"}
    assert found.metadata == {"source": "loop", "step": 1, "parents": {}, "user": "ann"}
    task = shown.tasks[0]
    assert found.pending_writes == [(task.id, "__interrupt__", task.interrupts)]

    graph.invoke(Command(resume="left"), thread)
    older = reads.get(saver, found.config)
    assert older.pending_writes == [(task.id, "__resume__", ["left"]), (task.id, "log", ["left"])]


def test_an_input_and_an_error_are_writes_as_well(saver: Saver, reads: Any, thread: dict[str, Any]) -> None:
    def fails(state: State) -> None:
        raise ValueError("no")

    builder = StateGraph(State)
    builder.add_node("fails", fails)
    builder.add_edge(START, "fails")
    graph = builder.compile(checkpointer=saver)
    with pytest.raises(ValueError, match="no"):
        graph.invoke({"log": ["in"]}, thread)
    after, before = reads.all(saver, thread)
    assert [write[1:] for write in before.pending_writes] == [("log", ["in"])]
    assert [write[1:] for write in after.pending_writes] == [("__error__", "ValueError('no')")]


def test_what_is_not_there_is_none(saver: Saver, reads: Any, thread: dict[str, Any]) -> None:
    assert reads.get(saver, thread) is None
    asking(saver).invoke({"log": []}, thread)
    for wrong in ("nonsense", "01a214ef-b985-74f4-88a7-e38100000002"):
        assert reads.get(saver, {"configurable": {"thread_id": "1", "checkpoint_id": wrong}}) is None
    assert reads.all(saver, {"configurable": {"thread_id": "2"}}) == []


def test_lists_are_newest_first_and_can_be_cut(saver: Saver, reads: Any, thread: dict[str, Any]) -> None:
    graph = asking(saver)
    graph.invoke({"log": []}, thread)
    graph.invoke({"log": []}, {"configurable": {"thread_id": "2"}})
    mine = reads.all(saver, thread)
    assert [found.metadata["step"] for found in mine] == [1, 0, -1]
    assert reads.all(saver, thread, limit=2) == mine[:2]
    assert reads.all(saver, thread, limit=0) == []
    assert reads.all(saver, thread, before=mine[0].config) == mine[1:]
    assert reads.all(saver, thread, filter={"step": 0}) == mine[1:2]
    assert reads.all(saver, thread, filter={"step": 0, "source": "input"}) == []
    assert reads.all(saver, mine[1].config) == mine[1:2]
    threads = [found.config["configurable"]["thread_id"] for found in reads.all(saver, None)]
    assert threads == ["2"] * 3 + ["1"] * 3


def made(found: CheckpointTuple) -> str:
    return found.checkpoint["id"]


def test_a_list_without_a_namespace_has_all_of_them(saver: Saver, reads: Any, thread: dict[str, Any]) -> None:
    inner = StateGraph(State)
    inner.add_node("within", lambda state: {"log": ["within"]})
    inner.add_edge(START, "within")
    outer = StateGraph(State)
    outer.add_node("child", inner.compile(checkpointer=True))
    outer.add_edge(START, "child")
    outer.compile(checkpointer=saver).invoke({"log": []}, thread)

    def of(ns: str | None) -> list[CheckpointTuple]:
        named = {} if ns is None else {"checkpoint_ns": ns}
        return reads.all(saver, {"configurable": {"thread_id": "1", **named}})

    everywhere = of(None)
    assert sorted(map(made, everywhere)) == sorted(map(made, of("") + of("child")))
    assert list(map(made, everywhere)) == sorted(map(made, everywhere), reverse=True)
    assert of("child")[0].metadata.get("parents") == {"": of("")[1].checkpoint["id"]}


def test_get_is_the_checkpoint_alone(saver: Saver, face: Face, thread: dict[str, Any]) -> None:
    assert saver.get(thread) is None
    face.invoke(asking(saver), {"log": []}, thread)
    found = saver.get(thread)
    assert found is not None
    assert found == asyncio.run(saver.aget(thread))
    assert found["channel_values"] == {"log": ["first"]}


def test_every_saver_is_one_by_its_class(saver: Saver) -> None:
    assert isinstance(saver, BaseCheckpointSaver)


def test_who_would_write_to_it_is_told_how(saver: Saver, thread: dict[str, Any]) -> None:
    with pytest.raises(NotImplementedError, match=r"not through 'put'.*`clew.interop.langgraph.as_langgraph_saver"):
        saver.put(thread, empty_checkpoint(), {}, {})
    with pytest.raises(NotImplementedError, match="not through 'aput_writes'"):
        asyncio.run(saver.aput_writes(thread, [], "task"))


def test_metadata_takes_the_scalars_of_a_config() -> None:
    config = {
        "metadata": {"user": "a\0nn", "many": [1], "source": "mine"},
        "configurable": {"thread_id": "1", "__secret": "x", "model": "small", "checkpoint_ns": ""},
    }
    assert get_checkpoint_metadata(config, {"source": "loop", "step": 1}) == {
        "source": "loop",
        "step": 1,
        "user": "ann",
        "model": "small",
    }


def test_a_copied_checkpoint_has_containers_of_its_own() -> None:
    first = empty_checkpoint()
    first["versions_seen"]["node"] = {"a": 1}
    second = copy_checkpoint(first)
    assert second == first
    second["channel_values"]["a"] = 1
    second["versions_seen"]["node"]["a"] = 2
    assert first["channel_values"] == {}
    assert first["versions_seen"] == {"node": {"a": 1}}
    assert empty_checkpoint()["id"] > first["id"]
    assert sorted(WRITES_IDX_MAP.values()) == [-4, -3, -2, -1]


def test_a_saver_says_which_verb_it_lacks() -> None:
    class Mine(BaseCheckpointSaver[int]):
        pass

    with pytest.raises(NotImplementedError, match="Mine has no 'get_tuple'"):
        Mine().get({"configurable": {"thread_id": "1"}})
    with pytest.raises(NotImplementedError, match="Mine has no 'aget_tuple'"):
        asyncio.run(Mine().aget({"configurable": {"thread_id": "1"}}))
    assert Mine().get_next_version(None, None) == 1
    assert Mine().get_next_version(3, None) == 4


VALUE = {"when": dt.date(2026, 1, 2), "pair": (1, deque([b"\0"], 3)), 5: {"deep": {1, 2}}}


def test_the_serializer_brings_values_back_as_they_were() -> None:
    serde = JsonPlusSerializer()
    assert isinstance(serde, SerializerProtocol)
    assert serde.loads_typed(serde.dumps_typed(VALUE)) == VALUE
    with pytest.raises(DatabaseError, match="'pickle', which is not something that Clew wrote"):
        serde.loads_typed(("pickle", b"x"))


def test_metadata_are_json_that_people_can_read() -> None:
    serde = JsonPlusSerializer()
    assert serde.dumps({"source": "loop", "step": 1}) == b'{"source": "loop", "step": 1}'
    told = {"when": dt.date(2026, 1, 2), "who": "Zoë"}
    assert serde.loads(serde.dumps(told).decode()) == told
    with pytest.raises(DatabaseError, match="not something that Clew wrote"):
        serde.loads(b"{")


def test_a_serializer_of_two_functions_will_do() -> None:
    import json

    class Mine(BaseCheckpointSaver[int]):
        pass

    serde = Mine(serde=json).serde
    assert serde.loads_typed(serde.dumps_typed({"a": [1]})) == {"a": [1]}
    assert serde.dumps_typed({"a": 1}) == ("dict", '{"a": 1}')
