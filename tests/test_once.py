"""`runtime.once`: what has an effect outside never happens twice without a word."""

from typing import Any

import pytest
from support.faces import ASYNC, Face
from support.graphs import Log

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import MemoryStorage
from clew.errors import OutcomeUnknown, UnstorableValue
from clew.func import entrypoint, task
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.runtime import Runtime
from clew.testing.crash import Crash, CrashingStorage
from clew.types import Command, RetryPolicy, Send, interrupt

Config = dict[str, Any]


class Bank:
    """Counts what it was told to do; dies in the middle of it, or fails, when told to."""

    def __init__(self) -> None:
        self.charged: list[Any] = []
        self.dies = False
        self.fails = False

    def charge(self, amount: Any, note: str = "") -> str:
        if self.fails:
            self.fails = False
            raise ConnectionError("not charged")
        self.charged.append(amount)
        if self.dies:
            self.dies = False
            raise Crash
        return f"charged {amount}{note}"


def paying(saver: Saver | None, bank: Bank, **options: Any) -> CompiledStateGraph:
    def pay(state: Log, runtime: Runtime[Any]) -> Log:
        receipt = runtime.once("charge", bank.charge, 7, **options)
        return {"log": [receipt, interrupt("fine?")] if not state.get("n") else [receipt]}

    return StateGraph(Log).add_node(pay).add_edge(START, "pay").compile(saver)


def died(face: Face, saver: Saver, thread: Config, bank: Bank, **options: Any) -> CompiledStateGraph:
    """A graph whose process has died while the bank was charging; as another process finds it."""
    bank.dies = True
    with pytest.raises(Crash):
        face.invoke(paying(saver, bank, **options), {"n": 1}, thread)
    return paying(Saver(saver.storage), bank, **options)


def test_it_is_done_once_however_often_the_node_runs(face: Face, saver: Saver, thread: Config) -> None:
    bank = Bank()
    face.invoke(paying(saver, bank, note="!"), {}, thread)
    elsewhere = paying(Saver(saver.storage), bank, note="!")
    assert face.invoke(elsewhere, Command(resume="yes"), thread) == {"log": ["charged 7!", "yes"]}
    assert bank.charged == [7]


def test_a_ten_answer_loop_runs_what_is_before_each_question_once(face: Face, saver: Saver, thread: Config) -> None:
    ran: list[int] = []

    def prepare(number: int) -> str:
        ran.append(number)
        return f"draft {number}"

    def loop(state: Log, runtime: Runtime[Any]) -> Log:
        said: list[str] = []
        for number in range(10):
            draft = runtime.once(f"draft-{number}", prepare, number)
            said.append(f"{draft}: {interrupt(draft)}")
        return {"log": said}

    graph = StateGraph(Log).add_node(loop).add_edge(START, "loop").compile(saver)
    face.invoke(graph, {}, thread)
    result: Any = None
    for number in range(10):
        result = face.invoke(graph, Command(resume=f"answer {number}"), thread)
    assert result["log"] == [f"draft {number}: answer {number}" for number in range(10)]
    assert len(ran) <= 11
    assert ran == list(range(10))


def test_one_that_failed_was_not_done_and_is_done_again(face: Face, saver: Saver, thread: Config) -> None:
    bank = Bank()
    bank.fails = True
    graph = paying(saver, bank)
    with pytest.raises(ConnectionError, match="not charged"):
        face.invoke(graph, {"n": 1}, thread)
    assert face.invoke(graph, None, thread)["log"] == ["charged 7"]
    assert bank.charged == [7]


def test_where_nobody_knows_somebody_is_asked(face: Face, saver: Saver, thread: Config) -> None:
    bank = Bank()
    graph = died(face, saver, thread, bank)
    asked = face.invoke(graph, None, thread)["__interrupt__"]
    assert [found.value["once"] for found in asked] == ["charge"]
    assert "answer" in asked[0].value
    assert face.invoke(graph, Command(resume={"result": "as the bank says"}), thread)["log"] == ["as the bank says"]
    assert bank.charged == [7]


def test_somebody_may_answer_that_it_was_not_done(face: Face, saver: Saver, thread: Config) -> None:
    bank = Bank()
    graph = died(face, saver, thread, bank)
    face.invoke(graph, None, thread)
    assert face.invoke(graph, Command(resume={"retry": True}), thread)["log"] == ["charged 7"]
    assert bank.charged == [7, 7]


def test_an_answer_that_says_neither_is_refused_and_can_be_given_anew(face: Face, saver: Saver, thread: Config) -> None:
    bank = Bank()
    graph = died(face, saver, thread, bank)
    face.invoke(graph, None, thread)
    with pytest.raises(OutcomeUnknown, match=r"answered with 'yes': expected \{\"result\": …\}"):
        face.invoke(graph, Command(resume="yes"), thread)
    assert bank.charged == [7]
    answered = face.invoke(graph, Command(resume={"result": "as the bank says"}), thread)
    assert answered["log"] == ["as the bank says"]


def test_an_answer_is_for_the_call_it_was_asked_about_and_no_later_one(face: Face, saver: Saver, thread: Config) -> None:
    bank = Bank()
    graph = died(face, saver, thread, bank)
    face.invoke(graph, None, thread)
    bank.dies = True
    with pytest.raises(Crash):
        face.invoke(graph, Command(resume={"retry": True}), thread)
    again = paying(Saver(saver.storage), bank)
    assert "__interrupt__" in face.invoke(again, None, thread)
    assert bank.charged == [7, 7]
    assert face.invoke(again, Command(resume={"retry": True}), thread)["log"] == ["charged 7"]


def test_what_the_node_does_to_a_result_is_not_on_record(face: Face, saver: Saver, thread: Config) -> None:
    tried: list[int] = []

    def node(state: Log, runtime: Runtime[Any]) -> Log:
        log: list[str] = runtime.once("read", lambda: ["as it was"])
        log.append("and more")
        tried.append(1)
        if len(tried) == 1:
            raise OSError("after that")
        return {"log": log}

    policy = RetryPolicy(initial_interval=0, jitter=False, retry_on=OSError)
    builder = StateGraph(Log).add_node("node", node, retry_policy=policy).add_edge(START, "node")
    for kept in (saver, None):
        tried.clear()
        assert face.invoke(builder.compile(kept), {}, thread)["log"][-2:] == ["as it was", "and more"]
        assert len(tried) == 2


def test_a_function_that_returns_a_coroutine_was_not_called(saver: Saver, thread: Config) -> None:
    called: list[int] = []

    async def charge() -> None:
        called.append(1)

    async def node(state: Log, runtime: Runtime[Any]) -> Log:
        return {"other": await runtime.once("charge", lambda: charge())}

    graph = StateGraph(Log).add_node(node).add_edge(START, "node").compile(saver)
    with pytest.raises(TypeError, match="Hand in the async function itself"):
        ASYNC.invoke(graph, {}, thread)
    assert called == []


def test_where_nobody_knows_it_may_be_done_again_or_fail(face: Face, saver: Saver, thread: Config) -> None:
    bank = Bank()
    assert face.invoke(died(face, saver, thread, bank, on_unknown="retry"), None, thread)["log"] == ["charged 7"]
    assert bank.charged == [7, 7]
    other = {"configurable": {"thread_id": "2"}}
    graph = died(face, saver, other, bank, on_unknown="fail")
    with pytest.raises(OutcomeUnknown, match=r"'charge' was begun at 20.* by node 'pay'.*on_unknown='retry'"):
        face.invoke(graph, None, other)
    assert bank.charged == [7, 7, 7]


def test_a_policy_that_there_is_none_of(face: Face) -> None:
    with pytest.raises(ValueError, match=r"on_unknown='never': expected one of \['ask', 'retry', 'fail'\]"):
        face.invoke(paying(None, Bank(), on_unknown="never"), {"n": 1})


@pytest.mark.parametrize("durability", ["sync", "async"])
@pytest.mark.parametrize("done", [False, True])
def test_a_crash_at_any_storage_call_never_does_it_twice_without_a_word(
    face: Face, thread: Config, done: bool, durability: str
) -> None:
    calm = CrashingStorage(MemoryStorage())
    face.invoke(paying(Saver(calm), Bank()), {"n": 1}, thread, durability=durability)
    for crash_at in range(calm.calls):
        bank, storage = Bank(), MemoryStorage()
        try:
            graph = paying(Saver(CrashingStorage(storage, crash_at, done=done)), bank)
            face.invoke(graph, {"n": 1}, thread, durability=durability)
        except Crash:
            graph = paying(Saver(storage), bank)
            begun = face.get_state(graph, thread).metadata is not None
            result = face.invoke(graph, None if begun else {"n": 1}, thread)
            if asked := result.get("__interrupt__"):
                answer = {"result": "charged 7"} if bank.charged else {"retry": True}
                assert asked[0].value["once"] == "charge"
                result = face.invoke(graph, Command(resume=answer), thread)
            assert result["log"] == ["charged 7"]
        assert bank.charged == [7]


def test_siblings_and_tries_have_their_own(face: Face, saver: Saver, thread: Config) -> None:
    bank, tried = Bank(), list[int]()

    def pay(state: Any, runtime: Runtime[Any]) -> Log:
        receipt = runtime.once("charge", bank.charge, state["amount"])
        tried.append(1)
        if len(tried) == 1:
            raise OSError("after the charge")
        return {"log": [receipt]}

    builder = StateGraph(Log).add_node("pay", pay, retry_policy=RetryPolicy(initial_interval=0, jitter=False, retry_on=OSError))
    builder.add_conditional_edges(START, lambda state: [Send("pay", {"amount": i}) for i in range(3)])
    for kept in (saver, None):
        bank.charged.clear()
        tried.clear()
        assert face.invoke(builder.compile(kept), {}, thread)["log"] == ["charged 0", "charged 1", "charged 2"]
        assert sorted(bank.charged) == [0, 1, 2]


def test_async_functions_are_awaited(saver: Saver, thread: Config) -> None:
    bank = Bank()

    async def charge(amount: int) -> str:
        return bank.charge(amount)

    async def pay(state: Log, runtime: Runtime[Any]) -> Log:
        return {"log": [await runtime.once("charge", charge, 7), interrupt("fine?")]}

    graph = StateGraph(Log).add_node(pay).add_edge(START, "pay").compile(saver)
    ASYNC.invoke(graph, {}, thread)
    assert ASYNC.invoke(graph, Command(resume="yes"), thread)["log"] == ["charged 7", "yes"]
    bank.fails = True
    with pytest.raises(ConnectionError):
        ASYNC.invoke(graph, {}, thread)
    ASYNC.invoke(graph, None, thread)
    assert bank.charged == [7, 7]


def test_in_tasks_and_in_graphs_within(face: Face, saver: Saver, thread: Config) -> None:
    bank = Bank()

    @task
    def pays(amount: int, *, runtime: Any = None) -> str:
        return f"{runtime.once('charge', bank.charge, amount)} {interrupt('fine?')}"

    def node(state: Log) -> Log:
        return {"log": [pays(3).result()]}

    child = StateGraph(Log).add_node(node).add_edge(START, "node").compile()

    @entrypoint(checkpointer=saver)
    def workflow(given: int) -> Any:
        return pays(1).result(), child.invoke({"log": []})["log"]

    face.invoke(workflow, 0, thread)
    face.invoke(workflow, Command(resume="yes"), thread)
    assert face.invoke(workflow, Command(resume="too"), thread) == ("charged 1 yes", ["charged 3 too"])
    assert bank.charged == [1, 3]


def test_a_result_that_cannot_be_stored(face: Face, saver: Saver, thread: Config) -> None:
    def node(state: Log, runtime: Runtime[Any]) -> Log:
        return {"log": [runtime.once("x", lambda: iter([1]))]}

    graph = StateGraph(Log).add_node(node).add_edge(START, "node").compile(saver)
    with pytest.raises(UnstorableValue, match="iterator"):
        face.invoke(graph, {}, thread)


def test_outside_of_a_run() -> None:
    runtime: Any = Runtime(context=None, stream_writer=print, heartbeat=print, execution_info=None)  # pyright: ignore
    with pytest.raises(RuntimeError, match="outside of a run"):
        runtime.once("x", print)


def test_what_was_done_stays_done_beside_a_command(face: Face, saver: Saver, thread: Config) -> None:
    """A Command that writes beside what is pending makes a checkpoint of its own; tasks take along what they have noted."""
    bank = Bank()
    graph = paying(saver, bank)
    face.invoke(graph, {}, thread)
    face.invoke(graph, Command(update={"log": ["hurry"]}), thread)
    found = face.invoke(graph, Command(resume="yes", update={"log": ["now"]}), thread)
    assert sorted(found["log"]) == ["charged 7", "hurry", "now", "yes"]
    assert bank.charged == [7]
