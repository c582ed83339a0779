"""Where Clew differs on purpose (DESIGN §10): a test for every row of the graph language and of going back, named after it."""

import operator
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from pydantic import BaseModel
from support.faces import SYNC, Face
from support.graphs import Log, chain, drawn, says

from clew.channels import EphemeralValue
from clew.checkpoint.base import Saver
from clew.errors import (
    CheckpointNotFound,
    DroppedWorkWarning,
    EmptyInputError,
    GraphError,
    GraphRecursionError,
    InvalidUpdateError,
    MissingThreadId,
    UnknownKeyWarning,
    UnknownNode,
)
from clew.graph import END, START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.types import Command, Overwrite, RetryPolicy, Send

Config = dict[str, Any]


def one(node: Any, schema: Any = Log, saver: Saver | None = None, **policies: Any) -> CompiledStateGraph:
    return StateGraph(schema).add_node("node", node, **policies).add_edge(START, "node").compile(saver)


# -- targets and keys -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["typo", Send("typo", {}), ["node", "typo"]])
def test_unknown_goto_targets_raise_at_once_naming_what_exists(face: Face, target: Any) -> None:
    with pytest.raises(UnknownNode, match=r"'node' leads to 'typo', which is not a node.*\['node'\]"):
        face.invoke(one(lambda state: Command(goto=target)), {})  # pyright: ignore[reportUnknownLambdaType]


@pytest.mark.parametrize("target", ["typo", Send("typo", {}), [END, "typo"]])
def test_unknown_route_targets_raise_at_once_naming_what_exists(face: Face, target: Any) -> None:
    graph = drawn((START, "a")).add_conditional_edges("a", lambda state: target).compile()
    with pytest.raises(UnknownNode, match=r"'a' leads to 'typo', which is not a node.*\['a'\]"):
        face.invoke(graph, {})


def test_an_answer_that_the_path_map_does_not_have_is_named(face: Face) -> None:
    graph = drawn((START, "a")).add_conditional_edges("a", lambda state: "no", {"yes": "a"}).compile()
    with pytest.raises(InvalidUpdateError, match=r"answered 'no'.*\['yes'\]"):
        face.invoke(graph, {})


def test_unknown_update_keys_warn(face: Face) -> None:
    graph = one(lambda state: {"lgo": 1, "n": 2})  # pyright: ignore[reportUnknownLambdaType]
    with pytest.warns(UnknownKeyWarning, match=r"Node 'node' wrote the key 'lgo'.*'log', 'n'"):
        assert face.invoke(graph, {}) == {"log": [], "n": 2}


def test_unknown_input_keys_warn(face: Face) -> None:
    with pytest.warns(UnknownKeyWarning, match="The input wrote the key 'lgo'"):
        face.invoke(one(says("x")), {"lgo": 1})


def test_unknown_output_keys_are_refused(face: Face) -> None:
    with pytest.raises(ValueError, match="output_keys names 'lgo'"):
        face.invoke(one(says("x")), {}, output_keys="lgo")


# -- in-place mutation ----------------------------------------------------------------------------------------------


def test_in_place_mutation_of_state_does_not_leak(face: Face) -> None:
    def meddling(state: Log) -> Log:
        state["log"].append("meddled")  # pyright: ignore
        return {"n": 1}

    given = ["in"]
    graph = StateGraph(Log).add_node("a", meddling).add_edge(START, "a").compile()
    assert face.invoke(graph, {"log": given}) == {"log": ["in"], "n": 1}
    assert given == ["in"]


@pytest.mark.parametrize(
    "value", [[1], {1: 1}, {1}, deque([1]), Counter([1]), OrderedDict({1: 1}), defaultdict(int, {1: 1}), bytearray(b"1")]
)
def test_in_place_mutation_of_any_container_does_not_leak(face: Face, value: Any) -> None:
    before = repr(value)

    def meddling(state: Any) -> None:
        state["other"].clear()

    assert repr(face.invoke(one(meddling), {"other": value})["other"]) == before == repr(value)


def test_in_place_mutation_does_not_reach_siblings(face: Face) -> None:
    done = threading.Event()

    def meddling(state: Any) -> None:
        state["log"].append("meddled")
        done.set()

    def reading(state: Any) -> Log:
        done.wait(10)
        return {"other": [*state["log"]]}

    builder = StateGraph(Log).add_node("a", meddling).add_node("b", reading).add_edge(START, "a").add_edge(START, "b")
    assert face.invoke(builder.compile(), {"log": ["in"]}) == {"log": ["in"], "other": ["in"]}


def test_in_place_mutation_of_what_was_sent_does_not_reach_the_next_task(face: Face) -> None:
    shared: dict[str, Any] = {"seen": 0}

    def worker(given: dict[str, Any]) -> Log:
        given["seen"] += 1
        return {"log": [given["seen"]]}

    builder = StateGraph(Log).add_node("w", worker)
    builder.add_node("fan", lambda state: Command(goto=[Send("w", shared), Send("w", shared)])).add_edge(START, "fan")
    assert face.invoke(builder.compile(), {})["log"] == [1, 1]
    assert shared == {"seen": 0}


# -- reducers -------------------------------------------------------------------------------------------------------


def test_the_reducer_is_found_wherever_it_stands(face: Face) -> None:
    class State(TypedDict):
        log: Annotated[list[str], operator.add, "a note behind it"]

    graph = StateGraph(State).add_node("a", lambda state: {"log": ["a"]}).add_edge(START, "a").compile()
    assert face.invoke(graph, {"log": ["in"]}) == {"log": ["in", "a"]}


class Appending(TypedDict):
    log: Annotated[list[str], lambda a, b: a + b]  # pyright: ignore


class Prepending(TypedDict):
    log: Annotated[list[str], lambda a, b: b + a]  # pyright: ignore


def test_two_lambdas_are_two_reducers() -> None:
    with pytest.raises(GraphError, match="Channel 'log' already exists with a different type"):
        StateGraph(Appending, input_schema=Prepending)


class Defaults(BaseModel):
    log: Annotated[list[int], operator.add] = [7]


def test_defaults_of_reducer_keys_are_applied(face: Face) -> None:
    graph = one(lambda state: {"log": [len(state.log)]}, Defaults)  # pyright: ignore
    assert face.invoke(graph, {}) == {"log": [7, 1]}
    assert Defaults().log == [7]


@pytest.mark.parametrize("value", [Overwrite(5), {"__overwrite__": 5}, {"type": "__overwrite__", "value": 5}])
def test_overwrite_sets_any_key(face: Face, value: Any) -> None:
    assert face.invoke(one(lambda state: {"n": value}), {"n": 1})["n"] == 5  # pyright: ignore[reportUnknownLambdaType]


# -- Commands -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("goto", [(), "node"])
def test_a_command_on_a_fresh_thread_applies_its_updates_once(face: Face, saver: Saver, thread: Config, goto: Any) -> None:
    graph = one(says("node"), saver=saver)
    assert face.invoke(graph, Command(update={"log": ["in"]}, goto=goto), thread)["log"] == ["in", "node"]


def test_a_command_that_updates_a_finished_thread_is_a_checkpoint(face: Face, saver: Saver, thread: Config) -> None:
    graph = one(says("node"), saver=saver)
    face.invoke(graph, {}, thread)
    assert face.invoke(graph, Command(update={"log": ["more"]}), thread)["log"] == ["node", "more"]
    assert face.get_state(graph, thread).values["log"] == ["node", "more"]


def test_an_empty_command_is_a_clear_error(face: Face, saver: Saver, thread: Config) -> None:
    graph = one(says("node"), saver=saver)
    for _ in range(2):  # on a fresh thread, and on one that has run
        with pytest.raises(EmptyInputError, match="Command with nothing in it: give it `update=…`, `goto=…`"):
            face.invoke(graph, Command(), thread)
        face.invoke(graph, {}, thread)


def test_command_parent_at_the_root_is_a_clear_error(face: Face) -> None:
    graph = one(lambda state: Command(graph=Command.PARENT, goto="x"))  # pyright: ignore[reportUnknownLambdaType]
    with pytest.raises(InvalidUpdateError, match=r"'node' returned a Command .*there is no graph around this one"):
        face.invoke(graph, {})
    with pytest.raises(InvalidUpdateError, match="there is no parent graph"):
        face.invoke(graph, Command(graph=Command.PARENT, goto="x"))


# -- runs -----------------------------------------------------------------------------------------------------------


def test_recursion_limit_counts_supersteps_exactly(face: Face, saver: Saver, thread: Config) -> None:
    graph = chain(None, "a", "b", "c")
    assert face.invoke(graph, {}, {"recursion_limit": 3})["log"] == ["a", "b", "c"]
    with pytest.raises(GraphRecursionError, match=r"took 2 supersteps .*\['c'\] would run next"):
        face.invoke(graph, {}, {"recursion_limit": 2})
    kept = chain(saver, "a", "b", "c", "d")
    with pytest.raises(GraphRecursionError):
        face.invoke(kept, {}, {**thread, "recursion_limit": 1})
    with pytest.raises(GraphRecursionError):
        face.invoke(kept, None, {**thread, "recursion_limit": 2})
    assert face.get_state(kept, thread).next == ("d",)
    assert face.invoke(kept, None, {**thread, "recursion_limit": 1})["log"] == ["a", "b", "c", "d"]


def test_invoke_returns_the_state_after_the_last_superstep(face: Face) -> None:
    class Fleeting(TypedDict, total=False):
        log: Annotated[list[str], operator.add]
        once: Annotated[str, EphemeralValue]

    builder = StateGraph(Fleeting).add_node("a", lambda state: {"once": "a"}).add_node("b", lambda state: None)
    assert face.invoke(builder.add_edge(START, "a").add_edge("a", "b").compile(), {}) == {"log": []}


def test_output_and_error_in_one_task_is_an_error(face: Face, saver: Saver, thread: Config) -> None:
    answers: list[Any] = [OSError("no route"), "b"]

    def route(state: Log) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    builder = StateGraph(Log).add_node("a", lambda state: {"log": ["a"]}).add_node("b", lambda state: {"log": ["b"]})
    graph = builder.add_edge(START, "a").add_conditional_edges("a", route).compile(saver)
    with pytest.raises(OSError, match="no route"):
        face.invoke(graph, {}, thread)
    assert face.invoke(graph, None, thread) == {"log": ["a", "b"]}


def test_writes_that_cannot_be_applied_do_not_poison_the_thread(face: Face, saver: Saver, thread: Config) -> None:
    written: dict[str, Any] = {"a": {"n": 1}, "b": {"n": 2}}
    builder = StateGraph(Log)
    for name in written:
        builder.add_node(name, lambda state, name=name: written[name]).add_edge(START, name)
    graph = builder.compile(saver)
    with pytest.raises(InvalidUpdateError, match="2 nodes wrote the key 'n'"):
        face.invoke(graph, {"log": ["in"]}, thread)
    state = face.get_state(graph, thread)
    assert (state.values, state.next) == ({"log": ["in"]}, ("a", "b"))
    written["b"] = {"log": ["mended"]}
    assert face.invoke(graph, None, thread) == {"log": ["in", "mended"], "n": 1}


@pytest.mark.parametrize("modes", [["values", "updates"], ("values", "updates")])
def test_a_tuple_as_stream_mode_keeps_its_tags(face: Face, modes: Any) -> None:
    tags = [mode for mode, _ in face.stream(chain(None, "a", "b"), {}, stream_mode=modes)]
    assert tags == ["updates", "values", "updates", "values"]


def test_a_sync_node_that_outlives_its_timeout_is_abandoned_and_its_late_result_discarded(face: Face) -> None:
    release, tries = threading.Event(), list[int]()

    def node(state: Log) -> Log:
        tries.append(1)
        if len(tries) == 1:
            release.wait(10)
            return {"log": ["late"]}
        release.set()
        return {"log": ["in time"]}

    graph = one(node, timeout=0.03, retry_policy=RetryPolicy(initial_interval=0, jitter=False))
    assert face.invoke(graph, {})["log"] == ["in time"]


# -- going back -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["1ef4f797-8335-6428-8001-8a1503f9b875", "nonsense"])
@pytest.mark.parametrize("verb", ["invoke", "resume", "get_state", "history", "before", "update", "diff"])
def test_a_mistyped_checkpoint_id_is_not_found_and_nothing_is_kept(
    face: Face, saver: Saver, thread: Config, verb: str, wrong: str
) -> None:
    graph = chain(saver, "a")
    face.invoke(graph, {}, thread)
    before = face.history(graph, thread)
    mistyped = {"configurable": {**thread["configurable"], "checkpoint_id": wrong}}
    verbs: dict[str, Callable[[], Any]] = {
        "invoke": lambda: face.invoke(graph, {}, mistyped),
        "resume": lambda: face.invoke(graph, None, mistyped),
        "get_state": lambda: face.get_state(graph, mistyped),
        "history": lambda: face.history(graph, mistyped),
        "before": lambda: face.history(graph, thread, before=mistyped),
        "update": lambda: face.update(graph, mistyped, {"log": ["x"]}),
        "diff": lambda: face.diff(graph, thread, mistyped),
    }
    with pytest.raises(CheckpointNotFound, match=wrong):
        verbs[verb]()
    assert face.history(graph, thread) == before


def test_a_missing_thread_id_says_what_to_type_whatever_is_asked(face: Face, saver: Saver) -> None:
    graph, nowhere = chain(saver, "a"), {"configurable": {"user": "bob"}}
    verbs: list[Callable[[], Any]] = [
        lambda: face.invoke(graph, {}, nowhere),
        lambda: face.get_state(graph, nowhere),
        lambda: face.history(graph, nowhere),
        lambda: face.update(graph, nowhere, {}),
        lambda: face.branches(graph, nowhere),
        lambda: face.diff(graph, nowhere, nowhere),
    ]
    for verb in verbs:
        with pytest.raises(MissingThreadId, match=r'\{"configurable": \{"thread_id": "1"\}\}'):
            verb()


@pytest.mark.parametrize("dropped_by", ["a new input", "an update"])
def test_work_of_a_half_done_step_that_is_dropped_stays_in_history_and_is_warned_of(
    face: Face, saver: Saver, thread: Config, dropped_by: str
) -> None:
    broken = [True]

    def breaks(state: Log) -> Log:
        if broken[0]:
            raise OSError("no disk")
        return {"log": ["b"]}

    builder = StateGraph(Log).add_node("a", says("a")).add_node("b", breaks).add_edge(START, "a").add_edge(START, "b")
    graph = builder.compile(saver)
    with pytest.raises(OSError, match="no disk"):
        SYNC.invoke(graph, {}, thread)
    broken[0] = False
    half = face.get_state(graph, thread).config
    drops: dict[str, Callable[[], Any]] = {
        "a new input": lambda: face.invoke(graph, {"log": ["anew"]}, thread),
        "an update": lambda: face.update(graph, thread, {"log": ["by hand"]}, "b"),
    }
    with pytest.warns(DroppedWorkWarning, match=r"drops what \['a'\] had done"):
        drops[dropped_by]()
    then = next(snapshot for snapshot in face.history(graph, thread) if snapshot.config == half)
    assert [task.result for task in then.tasks] == [{"log": ["a"]}, None]
    assert face.invoke(graph, None, half)["log"] == ["a", "b"]


def test_nothing_committed_is_ever_unreachable(face: Face, saver: Saver, thread: Config) -> None:
    graph = chain(saver, "a", "b")
    for _ in range(2):
        face.invoke(graph, {"log": ["in"]}, thread)
    for number in (5, 3, 0, 4):
        face.invoke(graph, None, face.history(graph, thread)[number].config)
    history = {str(snapshot.config): snapshot for snapshot in face.history(graph, thread)}
    reached: set[str] = set()
    for branch in face.branches(graph, thread):
        at: Config | None = branch.head
        while at is not None:
            reached.add(str(at))
            at = history[str(at)].parent_config
    assert reached == set(history)


# -- drawings -------------------------------------------------------------------------------------------------------


def test_a_router_without_declared_targets_draws_one_dotted_edge_with_a_question_mark() -> None:
    builder = drawn((START, "a"), ("b", END)).add_conditional_edges("a", lambda state: [])
    drawing = builder.compile().get_graph().draw_mermaid()
    assert [line.strip() for line in drawing.splitlines() if "a -" in line] == ["a -. &nbsp;?&nbsp; .-> __end__;"]
