"""Looking back: listing loads nothing, a snapshot is what it always was, branches are listed, checkpoints compared."""

import copy
import gc
import operator
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.faces import ASYNC, SYNC, Face
from support.graphs import Log, of, says

from clew.checkpoint import manifest, reader, records
from clew.checkpoint.base import Saver
from clew.checkpoint.memory import MemoryStorage
from clew.checkpoint.sqlite import SqliteSaver
from clew.engine.branches import differences, lines
from clew.errors import DatabaseError
from clew.graph import START, MessagesState, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.interop.langchain import messages_in
from clew.types import Change, Checkpoint, Command, Saved, Send, StateSnapshot, interrupt

Config = dict[str, Any]


class Reads(MemoryStorage):
    """Counts the items that are read."""

    items_read = 0

    def items(self, thread: str, ranges: Any) -> list[bytes]:
        found = super().items(thread, ranges)
        self.items_read += len(found)
        return found


def chat(saver: Saver) -> CompiledStateGraph:
    def answer(state: MessagesState) -> Any:
        return {"messages": [("ai", f"That was {state['messages'][-1].content!r}, and this is longer than what is inlined.")]}

    return StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile(saver)


# -- loading late ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("face", [SYNC, ASYNC], ids=["sync", "async"])
def test_listing_a_thousand_checkpoints_decodes_no_message(face: Face, thread: Config, monkeypatch: Any) -> None:
    storage = Reads()
    graph = chat(Saver(storage))
    for turn in range(1000):
        SYNC.invoke(graph, {"messages": f"{turn} is the number of this turn, and it is long enough for an item"}, thread)
    decoded = {"messages": 0}

    def counting(decode: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def counted(data: Any) -> Any:
            value = decode(data)
            decoded["messages"] += len(messages_in(value))
            return value

        return counted

    monkeypatch.setattr(reader, "decode", counting(reader.decode))
    monkeypatch.setattr(reader, "decode_each", counting(reader.decode_each))
    storage.items_read = 0
    listed = face.history(chat(Saver(storage)), thread)
    assert len(listed) == 3000
    assert [state.next for state in listed[:3]] == [(), ("answer",), ("__start__",)]
    assert {task.name for state in listed for task in state.tasks} == {"answer", "__start__"}
    assert (storage.items_read, decoded["messages"]) == (0, 0)
    opened = listed[-4]
    assert len(opened.values["messages"]) == storage.items_read == decoded["messages"] > 0
    before = storage.items_read
    assert len(listed[-1].values["messages"]) <= len(opened.values["messages"])
    assert storage.items_read == before, "an item is read once for all of a listing"


def test_a_listing_takes_a_few_statements_a_batch_and_looks_at_no_row(
    face: Face, thread: Config, monkeypatch: Any, tmp_path: Path
) -> None:
    with SqliteSaver(tmp_path / "threads.db") as saver:
        graph = chat(saver)
        for turn in range(100):
            SYNC.invoke(graph, {"messages": f"turn {turn}"}, thread)
        graph.update_state(SYNC.history(graph, thread)[9].config, {"messages": "another branch, whose head is the thread's"})
        looked: list[bytes] = []

        def looking(body: bytes) -> manifest.Body:
            looked.append(body)
            return manifest.read_body(body)

        monkeypatch.setattr(records, "read_body", looking)
        statements: list[str] = []
        with saver.file.using() as db:
            db.set_trace_callback(statements.append)
        listed = face.history(graph, thread, limit=200)
        assert (len(listed), looked) == (200, [])
        scans = 200 // records.BATCH
        assert len(statements) <= scans * 4 + 1, "rows, those around them, what is kept beside, and what follows the first"
        steps = [state.metadata["step"] for state in listed if state.metadata]
        assert steps == [298 - 9 + 1, *range(298, 298 - 199, -1)]
        assert len(looked) <= 200 + 2 * scans, (
            "a row is looked at once, though it is the next one of another, and a third's base"
        )
        assert len(statements) <= scans * 4 + 1, "and nothing more is read for that"


@pytest.mark.slow
def test_what_is_listed_goes_when_it_is_let_go(thread: Config, saver: Saver) -> None:
    graph = chat(saver)
    SYNC.invoke(graph, {"messages": "x" * 100}, thread)
    gc.collect()
    gc.disable()
    try:
        seen = [(len(state.values["messages"]), [task.result for task in state.tasks]) for state in SYNC.history(graph, thread)]
        assert [count for count, _ in seen] == [2, 1, 0]
        assert len(SYNC.history(graph, thread)) == 3
        del seen
        assert gc.collect() == 0, "nothing of it is left to the garbage collector"
    finally:
        gc.enable()


def test_a_result_is_loaded_alone(thread: Config) -> None:
    storage = Reads()
    graph = chat(Saver(storage))
    SYNC.invoke(graph, {"messages": "x" * 100}, thread)
    answering = SYNC.history(chat(Saver(storage)), thread)[1]
    storage.items_read = 0
    assert "That was" in str(answering.tasks[0].result)
    assert storage.items_read == 1


def branching(saver: Saver | None) -> CompiledStateGraph:
    return StateGraph(Log).add_sequence([(name, says(name)) for name in "abc"]).add_edge(START, "a").compile(saver)


def test_a_late_snapshot_is_the_named_tuple_that_it_always_was(face: Face, saver: Saver, thread: Config) -> None:
    graph = branching(saver)
    face.invoke(graph, {"log": ["in"]}, thread)
    eager = [face.get_state(graph, state.config) for state in face.history(graph, thread)]
    copies: list[Callable[[Any], Any]] = [
        lambda state: state,
        copy.copy,
        copy.deepcopy,
        lambda state: pickle.loads(pickle.dumps(state)),
        lambda state: StateSnapshot(*state),
        lambda state: state._replace(next=state.next),
        lambda state: StateSnapshot(**state._asdict()),
        lambda state: state[:],
        lambda state: state[:3] + state[3:],
    ]
    for make in copies:
        late = face.history(graph, thread)
        assert [make(state) for state in late] == eager
        assert not any(make(state) != other for state, other in zip(late, eager, strict=True))
    state = face.history(graph, thread)[0]
    values, *_ = state
    assert type(state.values) is type(state[0]) is type(values) is dict
    assert repr(face.history(graph, thread)[0]) == repr(eager[0])
    assert repr(eager[0]).startswith("StateSnapshot(values={'log': ['in', 'a', 'b', 'c']}, next=()")
    with pytest.raises(ValueError, match="unexpected field names"):
        state._replace(nonsense=1)


def test_sends_and_inputs_are_late_as_well(face: Face, saver: Saver, thread: Config) -> None:
    builder = StateGraph(Log).add_node("n", lambda state: {"log": [str(state)]})
    builder.add_conditional_edges(START, lambda state: [Send("n", {"x": i}) for i in range(2)])
    graph = builder.compile(saver)
    face.invoke(graph, {"log": ["in"]}, thread)
    last, sends, entering = face.history(graph, thread)
    assert [task.result for task in sends.tasks] == [{"log": ["{'x': 0}"]}, {"log": ["{'x': 1}"]}]
    assert [task.result for task in entering.tasks] == [{"log": ["in"]}]
    assert last.values == {"log": ["in", "{'x': 0}", "{'x': 1}"]}


def test_what_is_late_cannot_be_read_from_a_saver_that_was_closed(tmp_path: Any, thread: Config) -> None:
    with SqliteSaver(tmp_path / "threads.db") as saver:
        graph = branching(saver)
        SYNC.invoke(graph, {"log": ["a value that is long enough to be an item of its own, which is in the file"]}, thread)
        late, read = SYNC.history(graph, thread, limit=1) + SYNC.history(graph, thread, limit=1)
        assert read.values["log"][1:] == ["a", "b", "c"]
    assert read.values["log"][1:] == ["a", "b", "c"]
    with pytest.raises(DatabaseError, match="closed"):
        assert late.values


# -- branches -------------------------------------------------------------------------------------------------------


def test_branches_are_listed_with_where_they_left(face: Face, saver: Saver, thread: Config) -> None:
    graph = branching(saver)
    face.invoke(graph, {"log": []}, thread)
    before_b = next(state for state in face.history(graph, thread) if state.next == ("b",))
    face.invoke(graph, None, before_b.config)
    face.invoke(graph, None, {**before_b.config, "metadata": {"branch": "what-if"}})
    face.update(graph, before_b.config, {"log": ["by hand"]}, "b")
    edited, named, again, main = face.branches(graph, thread)
    assert [(b.name, b.steps, b.current) for b in (main, again, named, edited)] == [
        ("main", 5, False),
        ("branch-1", 3, False),
        ("what-if", 3, False),
        ("branch-3", 1, True),
    ]
    assert main.fork_point is None
    assert again.fork_point == named.fork_point == edited.fork_point == before_b.config
    assert face.get_state(graph, main.head).values == {"log": ["a", "b", "c"]}
    assert face.get_state(graph, edited.head).next == ("c",)
    assert face.invoke(graph, None, main.head) == {"log": ["a", "b", "c"]}


def test_a_thread_that_is_not_there_has_no_branches(face: Face, saver: Saver, thread: Config) -> None:
    assert face.branches(branching(saver), thread) == []


def test_listing_branches_reads_no_items(face: Face, thread: Config) -> None:
    storage = Reads()
    graph = branching(Saver(storage))
    face.invoke(graph, {"log": ["x" * 100]}, thread)
    storage.items_read = 0
    assert len(face.branches(branching(Saver(storage)), thread)) == 1
    assert storage.items_read == 0


@given(st.lists(st.integers(0, 30), max_size=30))
def test_every_checkpoint_is_on_one_branch(parents: list[int]) -> None:
    """`parents` says of each checkpoint which of those before it grew from, counted back from it; too far back: from none."""
    ids = [bytes([number]) for number in range(len(parents))]
    grown = [ids[number - 1 - back] if back < number else None for number, back in enumerate(parents)]
    saved = [Saved(Checkpoint({}), id_, number, parent) for number, (id_, parent) in enumerate(zip(ids, grown, strict=True))]
    found = lines(saved)
    assert sorted(one.seq for line in found for one in line.checkpoints) == list(range(len(parents)))
    for line in found:
        for before, after in zip(line.checkpoints, line.checkpoints[1:], strict=False):
            assert after.parent == before.id
        assert line.fork_point == line.checkpoints[0].parent
    heads = {line.checkpoints[-1].id for line in found}
    assert heads == set(ids) - set(grown)


# -- differences ----------------------------------------------------------------------------------------------------


def test_what_changed_between_two_checkpoints(face: Face, saver: Saver, thread: Config) -> None:
    graph = branching(saver)
    face.invoke(graph, {"log": ["in"], "n": 1}, thread)
    first = next(state for state in face.history(graph, thread) if state.next == ("a",))
    face.update(graph, thread, {"n": 2, "other": [1]}, "c")
    diff = face.diff(graph, first.config, thread)
    assert diff == {
        "log": Change("grew", ["in"], ["in", "a", "b", "c"]),
        "n": Change("changed", 1, 2),
        "other": Change("added", None, [1]),
    }
    assert diff["log"].new == ["a", "b", "c"]
    assert graph.diff(thread, thread) == {}
    assert graph.diff(thread, first.config)["other"] == Change("removed", [1], None)


def test_differences_are_of_types_too_and_survive_what_cannot_be_compared() -> None:
    import numpy as np

    assert differences({"a": 1, "b": (1,)}, {"a": 1.0, "b": [1]}).keys() == {"a", "b"}
    assert differences({"a": np.array([1, 2])}, {"a": np.array([1, 2])}) == {}
    assert differences({"a": np.array([1, 2])}, {"a": np.array([1, 3])})["a"].kind == "changed"


# -- questions ------------------------------------------------------------------------------------------------------


def test_history_shows_what_was_asked_and_answered(face: Face, saver: Saver, thread: Config) -> None:
    class State(TypedDict, total=False):
        said: Annotated[list[str], operator.add]

    def asks(state: State) -> State:
        return {"said": [interrupt("one?"), interrupt("two?")]}

    graph = of(State, asks)(saver)
    face.invoke(graph, {}, thread)
    for answer in ("1", "2"):
        face.invoke(graph, Command(resume=answer), {**thread, "metadata": {"user": f"user {answer}"}})
    asked = next(state for state in face.history(graph, thread) if state.interrupts)
    assert [found.value for found in asked.interrupts] == ["one?", "two?"]
    answers = (asked.metadata or {})["answers"]
    assert [answers[found.id]["user"] for found in asked.interrupts] == ["user 1", "user 2"]
