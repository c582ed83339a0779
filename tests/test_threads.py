"""What survives: threads, their history, failures and resumption. Every behaviour on both faces and every saver."""

import operator
from collections import Counter
from typing import Annotated, Any, TypedDict

import pytest
from support.faces import ASYNC, SYNC, Face
from support.graphs import Log, chain

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import MemoryStorage
from clew.checkpoint.storage import Batch, Found, Storage
from clew.checkpoint.through import Through
from clew.errors import (
    DroppedWorkWarning,
    GraphRecursionError,
    UnknownNode,
)
from clew.graph import START, StateGraph
from clew.types import Failed

Config = dict[str, Any]


def at(thread: Config, **more: Any) -> Config:
    return {"configurable": {**thread["configurable"], **more}}


def test_a_thread_remembers_and_another_does_not(face: Face, saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a")
    assert face.invoke(graph, {"log": ["1"]}, thread) == {"log": ["1", "a"], "n": 1}
    assert face.invoke(graph, {"log": ["2"]}, thread) == {"log": ["1", "a", "2", "a"], "n": 3}
    assert face.invoke(graph, {"log": ["1"]}, {"configurable": {"thread_id": "2"}}) == {"log": ["1", "a"], "n": 1}


def test_without_a_saver_nothing_is_kept(face: Face, thread: Config) -> None:
    graph = chain(None, "a")
    assert face.invoke(graph, {"log": ["1"]}, thread) == face.invoke(graph, {"log": ["1"]}, thread)


def test_a_thread_id_may_be_any_scalar(face: Face, saver: Saver) -> None:
    graph = chain(saver, "a")
    face.invoke(graph, {"log": ["1"]}, {"configurable": {"thread_id": 1}})
    assert face.get_state(graph, {"configurable": {"thread_id": "1"}}).values["log"] == ["1", "a"]


def test_one_saver_serves_both_faces(saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a")
    SYNC.invoke(graph, {"log": ["1"]}, thread)
    ASYNC.invoke(graph, {"log": ["2"]}, thread)
    assert SYNC.get_state(graph, thread) == ASYNC.get_state(graph, thread)
    assert SYNC.history(graph, thread) == ASYNC.history(graph, thread)


def test_another_saver_over_the_same_storage_reads_what_this_one_wrote(face: Face, saver: Saver, thread: Config) -> None:
    values = {"log": ["1"], "other": {"tuple": (1, {2}), "deep": [{"text": "x" * 3000, "list": list(range(900))}]}}
    face.invoke(chain(saver, "a"), values, thread)
    again = chain(Saver(saver.storage), "a")
    assert face.get_state(again, thread).values == {**values, "log": ["1", "a"], "n": 1}
    assert face.invoke(again, {"log": ["2"]}, thread)["log"] == ["1", "a", "2", "a"]


def test_the_history_of_a_turn_is_input_start_and_nodes(face: Face, saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a", "b")
    face.invoke(graph, {"log": ["in"]}, {**thread, "metadata": {"user": "u", "list": []}})
    found = face.history(graph, thread)
    assert [(s.metadata or {})["source"] for s in found] == ["loop", "loop", "loop", "input"]
    assert [(s.metadata or {})["step"] for s in found] == [2, 1, 0, -1]
    assert [s.next for s in found] == [(), ("b",), ("a",), ("__start__",)]
    assert [s.values.get("log") for s in found] == [["in", "a", "b"], ["in", "a"], ["in"], []]
    assert [t.result for s in found for t in s.tasks] == [{"log": ["b"], "n": 2}, {"log": ["a"], "n": 1}, {"log": ["in"]}]
    assert [s.parent_config for s in found] == [*[s.config for s in found[1:]], None]
    assert all((s.metadata or {})["user"] == "u" and "list" not in (s.metadata or {}) for s in found)


def test_history_can_be_limited_filtered_and_begun_before(face: Face, saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a")
    for turn in range(30):
        face.invoke(graph, {"log": [str(turn)]}, thread)
    everything = face.history(graph, thread)
    assert len(everything) == 90
    assert face.history(graph, thread, limit=2) == everything[:2]
    assert face.history(graph, thread, before=everything[1].config, limit=3) == everything[2:5]
    inputs = face.history(graph, thread, filter={"source": "input"}, limit=2)
    assert [s.next for s in inputs] == [("__start__",), ("__start__",)]
    assert face.history(graph, {"configurable": {"thread_id": "none"}}) == []


def test_state_by_id_shows_the_start_of_the_step_with_what_its_tasks_wrote(face: Face, saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a", "b")
    face.invoke(graph, {"log": ["in"]}, thread)
    for shown in face.history(graph, thread):
        assert face.get_state(graph, shown.config) == shown


def test_a_thread_that_is_not_there_has_an_empty_state(face: Face, saver: Saver, thread: Config) -> None:
    config = {"configurable": {**thread["configurable"], "user": "bob"}}
    state = face.get_state(chain(saver, "a"), config)
    assert (state.values, state.next, state.metadata, state.created_at) == ({}, (), None, None)
    assert state.config == config


def test_deleting_a_thread_leaves_nothing_of_it(face: Face, saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a")
    face.invoke(graph, {"log": ["1"]}, thread)
    saver.delete_thread("1")
    assert face.get_state(graph, thread).values == {}
    assert saver.threads() == []
    assert face.invoke(graph, {"log": ["2"]}, thread)["log"] == ["2", "a"]


def test_a_thread_that_was_deleted_begins_anew_and_names_nothing_of_the_old_one(
    face: Face, saver: Saver, thread: Config
) -> None:
    graph, given = chain(saver, "a"), {"log": ["x" * 200], "other": {"text": "y" * 200}}
    face.invoke(graph, given, thread)
    Saver(saver.storage).delete_thread("1")  # as another process would
    face.invoke(graph, given, thread)
    again = chain(Saver(saver.storage), "a")
    assert face.get_state(again, thread).values["other"] == {"text": "y" * 200}
    assert face.history(again, thread)[-1].parent_config is None


def test_a_thread_is_listed_with_its_size(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(chain(saver, "a"), {"log": ["x" * 1000]}, thread)
    (row,) = saver.threads()
    assert (row.thread, row.checkpoints) == ("1", 3)
    assert 1000 < row.size < 1500


# -- failing and going on -------------------------------------------------------------------------------------------


class Breaking:
    """Three parallel nodes, one of which fails until it is mended; counts who ran."""

    def __init__(self, saver: Saver | None) -> None:
        self.ran: Counter[str] = Counter()
        self.broken = True
        builder = StateGraph(Log)
        for name in ("a", "b", "c"):
            builder.add_node(name, self.node(name)).add_edge(START, name).add_edge(name, "d")
        builder.add_node("d", lambda state: {"log": ["d"]})
        self.graph = builder.compile(saver)

    def node(self, name: str) -> Any:
        def node(state: Log) -> Log:
            self.ran[name] += 1
            if name == "b" and self.broken:
                raise OSError("no disk")
            return {"log": [name]}

        return node


def test_what_is_on_record_is_streamed_as_cached(face: Face, saver: Saver, thread: Config) -> None:
    case = Breaking(saver)
    with pytest.raises(OSError, match="no disk"):
        SYNC.invoke(case.graph, {}, thread)
    case.broken = False
    chunks = face.stream(case.graph, None, thread)
    assert chunks[0] == {"a": {"log": ["a"]}, "__metadata__": {"cached": True}}
    assert [next(iter(chunk)) for chunk in chunks] == ["a", "c", "b", "d"]


def test_errors_and_metadata_may_hold_any_text_and_number(face: Face, saver: Saver, thread: Config) -> None:
    odd = {"text": "\ud800\0", "number": 1 << 80}

    def broken(state: Log) -> Log:
        raise OSError(odd["text"])

    graph = StateGraph(Log).add_node(broken).add_edge(START, "broken").compile(saver)
    with pytest.raises(OSError, match="\ud800"):
        face.invoke(graph, {}, {**thread, "metadata": odd})
    state = face.get_state(graph, thread)
    assert odd.items() <= (state.metadata or {}).items()
    assert isinstance(state.tasks[0].error, Failed)
    assert state.tasks[0].error.message == odd["text"]


def test_an_open_step_reads_live_and_by_id(face: Face, saver: Saver, thread: Config) -> None:
    case = Breaking(saver)
    with pytest.raises(OSError, match="no disk") as caught:
        SYNC.invoke(case.graph, {"n": 1}, thread)
    live = face.get_state(case.graph, thread)
    assert (live.values, live.next) == ({"log": ["a", "c"], "n": 1}, ("b",))
    assert [task.result for task in live.tasks] == [{"log": ["a"]}, None, {"log": ["c"]}]
    error = live.tasks[1].error
    assert isinstance(error, Failed)
    assert (error.type, error.message) == ("OSError", "no disk")
    assert "raise OSError" in error.traceback
    assert live.tasks[1].id in caught.value.__notes__[0]
    record = face.get_state(case.graph, live.config)
    assert (record.values, record.next) == ({"log": [], "n": 1}, ("a", "b", "c"))
    assert [task.result for task in record.tasks] == [{"log": ["a"]}, None, {"log": ["c"]}]


def test_a_new_input_drops_the_open_step(face: Face, saver: Saver, thread: Config) -> None:
    case = Breaking(saver)
    with pytest.raises(OSError, match="no disk"):
        SYNC.invoke(case.graph, {"log": ["1"]}, thread)
    case.broken = False
    with pytest.warns(DroppedWorkWarning, match=r"drops what \['a', 'c'\] had done.*'1'"):
        assert face.invoke(case.graph, {"log": ["2"]}, thread)["log"] == ["1", "2", "a", "b", "c", "d"]
    dropped = face.history(case.graph, thread)[-2]
    assert [task.result for task in dropped.tasks] == [{"log": ["a"]}, None, {"log": ["c"]}]


def test_a_stream_closed_half_way_leaves_a_thread_that_goes_on(saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a", "b", "c")
    stream = graph.stream({}, thread)
    assert next(stream) == {"a": {"log": ["a"], "n": 0}}
    stream.close()  # pyright: ignore
    assert graph.get_state(thread).next == ("b",)
    assert graph.invoke(None, thread)["log"] == ["a", "b", "c"]


def test_a_cancelled_run_keeps_what_had_finished(saver: Saver, thread: Config) -> None:
    import asyncio

    async def run() -> None:
        reached = asyncio.Event()

        async def b(state: Log) -> Log:
            reached.set()
            await asyncio.Event().wait()
            return {}

        builder = StateGraph(Log).add_node("a", lambda state: {"log": ["a"]}).add_node(b)
        graph = builder.add_edge(START, "a").add_edge("a", "b").compile(saver)
        task = asyncio.create_task(graph.ainvoke({}, thread))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        state = await graph.aget_state(thread)
        assert (state.values, state.next) == ({"log": ["a"]}, ("b",))

    asyncio.run(run())


def test_a_removed_node_is_named_and_nothing_is_dropped(face: Face, saver: Saver, thread: Config) -> None:
    with pytest.raises(GraphRecursionError):
        face.invoke(chain(saver, "a", "b"), {}, {**thread, "recursion_limit": 1})
    with pytest.raises(UnknownNode, match=r"about to run 'b'.*\['a', 'c'\]"):
        face.invoke(chain(saver, "a", "c"), None, thread)
    assert face.invoke(chain(saver, "a", "b"), None, thread)["log"] == ["a", "b"]


def test_keys_come_and_go_with_the_schema_and_nothing_stored_is_lost(face: Face, saver: Saver, thread: Config) -> None:
    class Wider(Log, total=False):
        more: Annotated[list[int], operator.add]

    face.invoke(chain(saver, "a"), {"log": ["1"], "other": "kept"}, thread)

    class Narrow(TypedDict):
        log: Annotated[list[str], operator.add]

    narrow = StateGraph(Narrow).add_node("a", lambda state: {"log": ["narrow"]}).add_edge(START, "a").compile(saver)
    assert face.invoke(narrow, {}, thread) == {"log": ["1", "a", "narrow"]}
    wide = StateGraph(Wider).add_node("a", lambda state: {"more": [1]}).add_edge(START, "a").compile(saver)
    assert face.invoke(wide, {}, thread) == {"log": ["1", "a", "narrow"], "n": 1, "other": "kept", "more": [1]}


# -- going back -----------------------------------------------------------------------------------------------------


def test_an_older_checkpoint_is_run_again_as_a_branch(face: Face, saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a", "b")
    face.invoke(graph, {"log": ["in"]}, thread)
    before = face.history(graph, thread)
    assert face.invoke(graph, None, before[1].config) == {"log": ["in", "a", "b"], "n": 2}
    after = face.history(graph, thread)
    assert after[2:] == before
    assert [(s.metadata or {})["source"] for s in after[:2]] == ["loop", "fork"]
    assert after[1].parent_config == before[1].config


def test_an_input_at_an_older_checkpoint_begins_from_its_values(face: Face, saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a")
    for text in ("1", "2"):
        face.invoke(graph, {"log": [text]}, thread)
    first = face.history(graph, thread)[3].config
    assert face.invoke(graph, {"log": ["3"]}, first)["log"] == ["1", "a", "3", "a"]
    assert face.get_state(graph, thread).values["log"] == ["1", "a", "3", "a"]


def test_the_newest_checkpoint_by_its_id_goes_on_in_place(face: Face, saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a", "b")
    with pytest.raises(GraphRecursionError):
        face.invoke(graph, {}, {**thread, "recursion_limit": 1})
    assert face.invoke(graph, None, face.get_state(graph, thread).config)["log"] == ["a", "b"]
    assert len(face.history(graph, thread)) == 4


class Slow(Through):
    """Over a store that is slow: a process dies while a write is on its way, which arrives after the next one has read."""

    def __init__(self, storage: Storage, at: int) -> None:
        super().__init__(storage)
        self.left: int | None = at
        self.late: Batch | None = None

    def commit(self, batch: Batch) -> bool:
        if self.left is None:
            return super().commit(batch)
        self.left -= 1
        if self.left > 0:
            return super().commit(batch)
        if self.left == 0:
            self.late = batch
        raise OSError("this process is dead")

    def load(self, thread: str, ns: str, checkpoint_id: bytes | None) -> Found:
        found, late = super().load(thread, ns, checkpoint_id), self.late
        if self.left is None and late is not None:
            self.late = None
            self.storage.commit(late)
        return found


@pytest.mark.parametrize("at", [2, 3])
def test_what_a_dead_process_had_on_its_way_is_gone_on_from(face: Face, at: int, thread: Config) -> None:
    slow = Slow(MemoryStorage(), at)
    with pytest.raises(OSError, match="dead"):
        face.invoke(chain(Saver(slow), "a", "b", "c"), {"log": ["in"]}, thread)
    slow.left = None
    assert face.invoke(chain(Saver(slow), "a", "b", "c"), None, thread) == {"log": ["in", "a", "b", "c"], "n": 3}
    assert slow.late is None
