"""Runs whose events are kept: what a reader gets, who may join when, what is bounded and expires, and what it costs."""

import threading
from collections.abc import Callable, Generator
from typing import Any, cast

import pytest
from support.faces import Face
from support.graphs import Log, chain
from support.tales import asks, line
from support.told import numbers, same, standing

from clew.checkpoint.base import Saver
from clew.config import get_stream_writer
from clew.errors import EventsGone, RunLost
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.types import Command, Resumable, RetryPolicy, RunEvent

CONFIG: dict[str, Any] = {"configurable": {"thread_id": "1"}}
IN: dict[str, Any] = {"log": ["in"]}
RUN: dict[str, Any] = {"resumable": True}


def speaks(*words: str) -> Callable[[Log], Log]:
    def node(state: Log) -> Log:
        for word in words:
            get_stream_writer()(word)
        return {"log": [words[-1]]}

    return node


def speaker(saver: Saver, *words: str, **options: Any) -> CompiledStateGraph:
    return line(("speaks", speaks(*words)), "end", checkpointer=saver, **options)


def modes(parts: list[RunEvent]) -> list[tuple[str, Any]]:
    return [(part.mode, part.data) for part in parts if part.mode != "metadata"]


# -- what a reader gets ---------------------------------------------------------------------------------------------


def test_parts_are_numbered_and_say_what_stream_would(face: Face, saver: Saver) -> None:
    parts = face.stream(speaker(saver, "a", "b"), IN, CONFIG, stream_mode=["custom", "updates", "values"], **RUN)
    assert numbers(parts) == list(range(1, len(parts) + 1))
    assert len({part.run_id for part in parts}) == 1
    assert parts[0].data == {"run_id": parts[0].run_id, "thread_id": "1"}
    assert modes(parts) == [
        ("values", {"log": ["in"]}),
        ("custom", "a"),
        ("custom", "b"),
        ("updates", {"speaks": {"log": ["b"]}}),
        ("values", {"log": ["in", "b"]}),
        ("updates", {"end": {"log": ["end"]}}),
        ("values", {"log": ["in", "b", "end"]}),
        ("end", {"status": "success"}),
    ]


def test_one_mode_has_the_same_shape(face: Face, saver: Saver) -> None:
    parts = face.stream(speaker(saver, "a"), IN, CONFIG, stream_mode="custom", **RUN)
    assert [part.mode for part in parts] == ["metadata", "custom", "end"]


def test_an_ended_run_can_be_read_from_any_number_on(face: Face, saver: Saver) -> None:
    graph = speaker(saver, *"abcdef")
    parts = face.stream(graph, IN, CONFIG, stream_mode="custom", **RUN)
    assert face.join(graph, CONFIG) == parts
    for after in range(1, len(parts) + 1):
        assert face.join(graph, CONFIG, after=after, run_id=parts[0].run_id) == parts[after:]


def test_graphs_within_are_kept_where_they_are_asked_for(face: Face, saver: Saver) -> None:
    graph = line(("child", line(("speaks", speaks("a")))), checkpointer=saver)
    for config, subgraphs in (({"configurable": {"thread_id": "1"}}, False), ({"configurable": {"thread_id": "2"}}, True)):
        parts = face.stream(graph, IN, config, stream_mode="custom", subgraphs=subgraphs, **RUN)
        assert [part.data for part in parts if part.mode == "custom"] == ["a"] * subgraphs
        assert same(face.join(graph, config), parts)
    assert [segment.split(":")[0] for segment in parts[1].ns] == ["child"]


def test_a_checkpoint_says_of_which_run_it_is(face: Face, saver: Saver) -> None:
    graph = speaker(saver, "a")
    parts = face.stream(graph, IN, CONFIG, **RUN)
    named = face.stream(graph, IN, {**CONFIG, "run_id": "mine"}, **RUN)
    runs = [found.metadata.get("run_id") for found in face.history(graph, CONFIG) if found.metadata]
    assert [run for run in runs if run] == ["mine", parts[0].run_id]
    assert {part.run_id for part in named} == {"mine"}
    assert face.join(graph, CONFIG) == named, "the newest, where none is named"
    assert face.join(graph, CONFIG, run_id=parts[0].run_id) == parts


# -- how runs end ---------------------------------------------------------------------------------------------------


def test_a_question_ends_a_run_and_its_answer_begins_another(face: Face, saver: Saver) -> None:
    graph = line(asks("sure?"), checkpointer=saver)
    first = face.stream(graph, IN, CONFIG, **RUN)
    second = face.stream(graph, Command(resume="yes"), CONFIG, **RUN)
    assert first[-1].data == {"status": "interrupted"}
    assert second[-1].data == {"status": "success"}
    assert first[0].run_id != second[0].run_id
    assert second[0].seq == 1


def test_a_breakpoint_ends_a_run(face: Face, saver: Saver) -> None:
    graph = chain(saver, "a", "b")
    first = face.stream(graph, IN, CONFIG, interrupt_before=["b"], **RUN)
    assert first[-1].data == {"status": "interrupted"}
    assert face.stream(graph, None, CONFIG, **RUN)[0].run_id != first[0].run_id


def test_a_failure_is_raised_and_told(face: Face, saver: Saver) -> None:
    def fails(state: Log) -> Log:
        get_stream_writer()("so far")
        raise ValueError("no")

    graph = line(("fails", fails), checkpointer=saver)
    parts: list[RunEvent] = []
    with pytest.raises(ValueError, match="no"):
        face.read(graph, IN, CONFIG, parts, stream_mode="custom", **RUN)
    assert modes(parts) == [("custom", "so far"), ("end", {"status": "error", "error": "ValueError", "message": "no"})]
    assert face.join(graph, CONFIG) == parts


def test_naming_a_run_goes_on_with_its_numbers(face: Face, saver: Saver) -> None:
    broken = [True]

    def shaky(state: Log) -> Log:
        get_stream_writer()("word")
        if broken.pop():
            raise OSError
        return {"log": ["done"]}

    graph = line(("shaky", shaky), checkpointer=saver)
    config, first = {**CONFIG, "run_id": "r"}, list[RunEvent]()
    with pytest.raises(OSError):
        face.read(graph, IN, config, first, stream_mode="custom", **RUN)
    broken.append(False)
    second = face.stream(graph, None, config, stream_mode="custom", **RUN)
    assert numbers([*first, *second]) == list(range(1, len(first) + len(second) + 1))
    assert second[0].mode == "attempt"
    assert second[0].data == {"task": first[1].task, "node": "shaky", "attempt": 2, "since": first[1].seq}
    assert [part.data for part in standing([*first, *second]) if part.mode == "custom"] == ["word"]
    assert same(face.join(graph, CONFIG), [*first, *second])


def test_a_second_try_takes_back_what_the_first_has_told(face: Face, saver: Saver) -> None:
    tries: list[int] = []

    def shaky(state: Log) -> Log:
        tries.append(1)
        for word in range(3):
            get_stream_writer()(f"{len(tries)}-{word}")
        if len(tries) < 3:
            raise OSError
        return {"log": ["done"]}

    policy = RetryPolicy(initial_interval=0, jitter=False, retry_on=OSError)
    builder = StateGraph(Log).add_node("shaky", shaky, retry_policy=policy).add_node("calm", speaks("calm"))
    graph = builder.add_edge(START, "shaky").add_edge(START, "calm").compile(saver)
    parts = face.stream(graph, IN, CONFIG, stream_mode="custom", **RUN)
    assert [part.data["attempt"] for part in parts if part.mode == "attempt"] == [2, 3]
    stands = [part.data for part in standing(parts) if part.mode == "custom"]
    assert sorted(stands) == ["3-0", "3-1", "3-2", "calm"]


def test_closed_half_way_a_run_goes_on_under_its_numbers(saver: Saver) -> None:
    graph = chain(saver, "a", "b", "c")
    stream = graph.stream(IN, CONFIG, **RUN)
    first = [next(part for part in stream if part.mode == "updates")]
    cast("Generator[RunEvent]", stream).close()
    more = list(graph.stream(None, CONFIG, **RUN))
    whole = list(graph.join_stream(CONFIG))
    assert {part.run_id for part in more} == {first[0].run_id}
    assert [part.data for part in whole if part.mode == "updates"] == [
        {name: {"log": [name], "n": n}} for n, name in enumerate("abc", 1)
    ]
    assert whole[-len(more) :] == more


# -- several readers --------------------------------------------------------------------------------------------------


class Held:
    """A node that waits in its middle until it is let go."""

    def __init__(self) -> None:
        self.reached, self.go = threading.Event(), threading.Event()

    def node(self, state: Log) -> Log:
        get_stream_writer()("first half")
        self.reached.set()
        assert self.go.wait(20)
        get_stream_writer()("second half")
        return {"log": ["held"]}


def running(face: Face, graph: CompiledStateGraph, parts: list[RunEvent]) -> threading.Thread:
    thread = threading.Thread(target=face.read, args=(graph, IN, CONFIG, parts), kwargs={"stream_mode": "custom", **RUN})
    thread.start()
    return thread


def follow(face: Face, graph: CompiledStateGraph, into: list[RunEvent]) -> None:
    into += face.join(graph, CONFIG)


def test_readers_join_before_during_and_after(face: Face, saver: Saver) -> None:
    held, parts = Held(), list[RunEvent]()
    graph = line(("held", held.node), checkpointer=saver)
    with pytest.raises(EventsGone, match="No events of any run of thread '1'"):
        face.join(graph, CONFIG)
    run = running(face, graph, parts)
    try:
        assert held.reached.wait(20)
        followed: list[list[RunEvent]] = [[], []]
        slow = graph.join_stream(CONFIG)
        early = [next(slow), next(slow)]  # while the node waits: what it told before is kept already
        quick = [threading.Thread(target=follow, args=(face, graph, into)) for into in followed]
        for reader in quick:
            reader.start()
    finally:
        held.go.set()
        run.join()
    for reader in quick:
        reader.join()
    early += slow
    assert [part.data for part in parts if part.mode == "custom"] == ["first half", "second half"]
    assert followed == [parts, parts]
    assert early == parts
    assert face.join(graph, CONFIG) == parts


def test_a_run_that_was_cut_short_is_waited_for_or_given_up(face: Face, saver: Saver) -> None:
    graph = chain(saver, "a", "b")
    stream = graph.stream(IN, CONFIG, **RUN)
    run, last = next(stream).run_id, next(stream).seq
    cast("Generator[RunEvent]", stream).close()
    with pytest.raises(RunLost, match="was cut short after event") as lost:
        face.join(graph, CONFIG, patience=0.0)
    assert lost.value.run_id == run
    assert lost.value.last >= last
    follower = graph.join_stream(CONFIG, after=last, patience=None)
    rest = list(graph.stream(None, CONFIG, **RUN))
    assert list(follower)[-len(rest) :] == rest


def test_a_run_that_another_has_followed_is_given_up_at_once(face: Face, saver: Saver) -> None:
    graph = chain(saver, "a", "b")
    stream = graph.stream(IN, CONFIG, **RUN)
    run = next(stream).run_id
    cast("Generator[RunEvent]", stream).close()
    face.stream(graph, IN, CONFIG, **RUN)
    with pytest.raises(RunLost, match="has begun another run since"):
        face.join(graph, CONFIG, run_id=run, patience=None)


# -- bounds ---------------------------------------------------------------------------------------------------------


def test_what_was_dropped_is_never_passed_over(face: Face, saver: Saver) -> None:
    graph = chain(saver, *"abcdefgh")
    parts = face.stream(graph, IN, CONFIG, resumable=Resumable(keep_last=4))
    with pytest.raises(EventsGone, match="are not kept any more") as gone:
        face.join(graph, CONFIG, after=2)
    first = gone.value.first
    assert first is not None
    assert 4 <= len(parts) - first + 1 <= 6, "they go in groups"
    assert face.join(graph, CONFIG, after=first - 1) == parts[first - 1 :]


def test_bytes_are_bounded_as_well(face: Face, saver: Saver) -> None:
    graph = speaker(saver, *["x" * 1000] * 3)
    face.stream(graph, IN, CONFIG, stream_mode=["custom", "values"], resumable=Resumable(max_bytes=2000))
    with pytest.raises(EventsGone):
        face.join(graph, CONFIG)
    assert saver.stats("1").threads[0].events.bytes < 4500


def test_a_log_expires(face: Face, saver: Saver) -> None:
    graph = speaker(saver, "a")
    parts = face.stream(graph, IN, CONFIG, resumable=Resumable(ttl=0))
    assert parts[-1].mode == "end"
    with pytest.raises(EventsGone, match="have expired"):
        face.join(graph, CONFIG, run_id=parts[0].run_id)


def test_a_number_that_was_never_told_is_a_mistake(face: Face, saver: Saver) -> None:
    graph = speaker(saver, "a")
    face.stream(graph, IN, CONFIG, **RUN)
    with pytest.raises(ValueError, match="there is none after 99"):
        face.join(graph, CONFIG, after=99)
    with pytest.raises(ValueError, match="after is -1"):
        face.join(graph, CONFIG, after=-1)


# -- threads --------------------------------------------------------------------------------------------------------


def test_events_go_with_their_thread_and_are_not_copied(face: Face, saver: Saver) -> None:
    graph = speaker(saver, "a")
    face.stream(graph, IN, CONFIG, **RUN)
    saver.copy_thread("1", "2")
    with pytest.raises(EventsGone):
        face.join(graph, {"configurable": {"thread_id": "2"}})
    saver.prune(["1"])
    assert face.join(graph, CONFIG)
    assert saver.stats("1").threads[0].events.number > 0
    saver.delete_thread("1")
    with pytest.raises(EventsGone):
        face.join(graph, CONFIG)


def test_runs_that_are_deleted_leave_no_events(face: Face, saver: Saver) -> None:
    graph = speaker(saver, "a")
    parts = face.stream(graph, IN, CONFIG, **RUN)
    kept = face.stream(graph, IN, CONFIG, **RUN)
    saver.delete_for_runs([parts[0].run_id])
    with pytest.raises(EventsGone):
        face.join(graph, CONFIG, run_id=parts[0].run_id)
    assert face.join(graph, CONFIG) == kept
