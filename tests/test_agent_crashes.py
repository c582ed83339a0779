"""An agent with two calls at once, crashed at every storage call: resumed, or spoken to instead, its history is one that every
provider takes, and no call is made twice that its policy does not let run twice."""

from collections import Counter
from typing import Any, Literal

import pytest
from langchain_core.tools import tool
from support.agents import Thinker, problems, shop
from support.faces import SYNC, Face

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import MemoryStorage
from clew.graph.compiled import CompiledStateGraph
from clew.prebuilt import create_react_agent, outcome_of
from clew.testing import crash_everywhere
from clew.testing.crash import Crash, CrashingStorage
from clew.types import Command, Durability

pytestmark = pytest.mark.slow
VERSIONS = pytest.mark.parametrize("version", ["v1", "v2"])
LEVELS = pytest.mark.parametrize("durability", ["sync", "async", "exit"])
Version = Literal["v1", "v2"]
CONFIG = {"configurable": {"thread_id": "shop"}}


def agent(saver: Saver, done: Counter[str], version: Version, **options: Any) -> CompiledStateGraph:
    return create_react_agent(Thinker(), shop(done), checkpointer=saver, version=version, **options)


@VERSIONS
@LEVELS
def test_tools_that_may_run_twice_end_as_if_nothing_had_happened(version: Version, durability: Durability) -> None:
    done: Counter[str] = Counter()
    given = [{"messages": [{"role": "user", "content": text, "id": text}]} for text in ("buy tea, buy cup", "thanks")]

    def build(saver: Saver) -> CompiledStateGraph:
        return agent(saver, done, version, on_unknown="retry")

    assert crash_everywhere(build, *given, durability=durability) >= 12


def say(face: Face, saver: Saver, done: Counter[str], version: Version, text: str | None) -> list[Any]:
    """A new process takes the thread: on with what is there, or with a new message."""
    graph = agent(saver, done, version)
    given = None if text is None else {"messages": [("user", text)]}
    return face.invoke(graph, given, CONFIG)["messages"]


def checked(messages: list[Any], done: Counter[str], where: str) -> Counter[str]:
    """What became of each call. Every one has its one result, which says the truth."""
    assert problems(messages) == [], where
    results = {message.tool_call_id: message for message in messages if message.type == "tool"}
    asked = {call["id"] for message in messages if message.type == "ai" for call in message.tool_calls}
    assert results.keys() == asked, where
    became: Counter[str] = Counter()
    for id, result in results.items():
        outcome = outcome_of(result) or "done"
        became[outcome] += 1
        assert done[id] in {"done": (1,), "cancelled": (0,), "unknown": (0, 1)}[outcome], f"{where}: {outcome} {done}"
    assert max(done.values(), default=0) <= 1, f"{where}: {done}"
    return became


@pytest.mark.filterwarnings("ignore::clew.errors.DroppedWorkWarning")  # results of calls are found again
@VERSIONS
@LEVELS
@pytest.mark.parametrize("then", ["on with it", "a new message"])
def test_histories_are_whole_after_every_crash(face: Face, version: Version, durability: Durability, then: str) -> None:
    asked = "buy tea, buy cup" if face is SYNC else "order tea, order cup"

    def run(saver: Saver, done: Counter[str]) -> None:
        face.invoke(agent(saver, done, version), {"messages": [("user", asked)]}, CONFIG, durability=durability)

    calm = CrashingStorage(MemoryStorage())
    run(Saver(calm), Counter())
    became: Counter[str] = Counter()
    for crash_at in range(calm.calls):
        for after in (False, True):
            done: Counter[str] = Counter()
            crashing = CrashingStorage(MemoryStorage(), crash_at, done=after)
            with pytest.raises(Crash):
                run(Saver(crashing), done)
            crashing.close()
            saver, where = Saver(crashing.storage), f"crashed {'after' if after else 'before'} call {crash_at}"
            go_on = then == "on with it" and agent(saver, done, version).get_state(CONFIG).next
            messages = say(face, saver, done, version, None if go_on else "thanks")
            became += checked(messages, done, where)
            messages = say(face, saver, done, version, "and now order milk" if face is not SYNC else "buy milk")
            checked(messages, done, where)
    assert became["done"], "some crashes came after the tools"
    if durability != "exit":  # which keeps nothing of a turn that did not come to its end
        assert became["unknown"], "some came between a call's begin and its end"
        # of calls of a v1 task, which it is sent without, nobody knows whether they were noted
        assert bool(became["cancelled"]) == (then == "a new message" and version == "v2"), became


def test_a_doubt_stays_one_beside_a_command(face: Face, saver: Saver, thread: dict[str, Any]) -> None:
    """Of two calls the first is done, and the process died in the second; then something is written beside them."""
    ran: list[str] = []

    @tool
    def look(what: str) -> str:
        """Looks."""
        return f"here is {what}"

    @tool
    def pay(what: str) -> str:
        """Pays, and dies."""
        ran.append(what)
        raise Crash

    def clerk() -> Any:
        return create_react_agent(Thinker(), [look, pay], checkpointer=saver)

    given: Any = {"messages": ["look tea, pay Bob"]}
    with pytest.raises(Crash):
        face.invoke(clerk(), given, thread | {"max_concurrency": 1})
    messages = face.invoke(clerk(), Command(update={"messages": ["hurry"]}), thread)["messages"]
    assert ran == ["Bob"]
    assert problems(messages) == []
    assert [outcome_of(m) or m.text for m in messages if m.type == "tool"] == ["here is tea", "unknown"]
