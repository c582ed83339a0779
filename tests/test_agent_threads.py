"""An agent on its thread: it stops and goes on, is spoken to instead, asks, is restarted, and is part of another graph."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from support.agents import Thinker, shop
from support.faces import SYNC, Face
from support.tools import asks, call, texts

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import InMemorySaver
from clew.checkpoint.sqlite import SqliteSaver
from clew.func import entrypoint
from clew.graph import START, MessagesState, StateGraph
from clew.prebuilt import InjectedState, ToolNode, create_react_agent, outcome_of
from clew.prebuilt.chat_agent_executor import AgentState
from clew.types import Command, interrupt


class Gone(BaseException):
    """The process is."""


VERSIONS = pytest.mark.parametrize("version", ["v1", "v2"])
Version = Literal["v1", "v2"]


@tool
def buy(what: str) -> str:
    """Buys."""
    return f"bought {what}"


def run(face: Face, agent: Any, text: str = "buy tea, buy cup", config: Any = None) -> dict[str, Any]:
    return face.invoke(agent, {"messages": [("user", text)]}, config)


@VERSIONS
def test_it_stops_before_its_tools_and_goes_on(face: Face, saver: Saver, thread: dict[str, Any], version: Version) -> None:
    agent = create_react_agent(Thinker(), [buy], checkpointer=saver, interrupt_before=["tools"], version=version)
    assert run(face, agent, "buy tea", thread)["messages"][-1].type == "ai"
    assert set(face.get_state(agent, thread).next) == {"tools"}
    assert face.invoke(agent, None, thread)["messages"][-1].text == "bought tea"


@VERSIONS
def test_a_message_instead_cancels_the_calls(face: Face, saver: Saver, thread: dict[str, Any], version: Version) -> None:
    done: Counter[str] = Counter()
    agent = create_react_agent(Thinker(), shop(done), checkpointer=saver, interrupt_before=["tools"], version=version)
    run(face, agent, "buy tea, buy cup", thread)
    messages = run(face, agent, "never mind", thread)["messages"]
    assert [m.type for m in messages] == ["human", "ai", "tool", "tool", "human", "ai"]
    known = "cancelled" if version == "v2" else "unknown"  # in v1 nothing says that they would have been noted
    assert [m.additional_kwargs for m in messages[2:4]] == [{"outcome": known}] * 2
    assert not done
    assert face.get_state(agent, thread).values["messages"] == messages


def test_tools_ask_a_human(face: Face, saver: Saver, thread: dict[str, Any]) -> None:
    @tool
    def book(what: str) -> str:
        """Asks first."""
        return f"{what}: {interrupt(f'{what}?')}"

    agent = create_react_agent(Thinker(), [book], checkpointer=saver)
    asked = run(face, agent, "book hotel, book train", thread)["__interrupt__"]
    answers = {one.id: "yes" if one.value == "hotel?" else "no" for one in asked}
    assert face.invoke(agent, Command(resume=answers), thread)["messages"][-1].text == "hotel: yes and train: no"


def test_tools_are_told_the_state_after_a_restart(face: Face, tmp_path: Path, thread: dict[str, Any]) -> None:
    class State(AgentState):
        user: str

    @tool
    def greet(what: str, state: Annotated[dict[str, Any], InjectedState]) -> str:
        """Greets."""
        return f"{what}, {state['user']}, {len(state['messages'])}"

    def clerk() -> Any:
        options: Any = {"state_schema": State, "interrupt_before": ["tools"]}
        return create_react_agent(Thinker(), [greet], checkpointer=SqliteSaver(tmp_path / "threads.db"), **options)

    face.invoke(clerk(), {"messages": ["greet hello, greet again"], "user": "Ada"}, thread)
    assert face.invoke(clerk(), None, thread)["messages"][-1].text == "hello, Ada, 2 and again, Ada, 2"


def test_an_agent_within_a_graph(face: Face, saver: Saver, thread: dict[str, Any]) -> None:
    clerk = create_react_agent(Thinker(), [buy], name="clerk")
    graph = StateGraph(MessagesState).add_node(clerk).add_edge(START, "clerk").compile(checkpointer=saver)
    assert texts(run(face, graph, "buy tea", thread)["messages"]) == ["buy tea", "", "bought tea", "bought tea"]


@pytest.mark.filterwarnings("ignore::clew.errors.DroppedWorkWarning")  # the result of the call is found again
def test_a_call_that_was_cancelled_and_a_new_message(saver: Saver, thread: dict[str, Any]) -> None:
    begun = asyncio.Event()

    @tool
    async def wait(what: str) -> str:
        """Never ends."""
        begun.set()
        await asyncio.Event().wait()
        return what

    @tool
    async def look(what: str) -> str:
        """Ends at once."""
        return f"here is {what}"

    agent = create_react_agent(Thinker(), [look, wait], checkpointer=saver)

    async def story() -> Any:
        given: Any = {"messages": ["look tea, wait cup"]}
        chunks: Any = agent.astream(given, thread, stream_mode="updates")
        async for chunk in chunks:
            if "tools" in chunk:  # the first of the two has its result on record
                break
        await begun.wait()
        await chunks.aclose()
        thanks: Any = {"messages": ["thanks"]}
        return (await agent.ainvoke(thanks, thread))["messages"]

    messages = asyncio.run(story())
    assert [m.type for m in messages] == ["human", "ai", "tool", "tool", "human", "ai"]
    assert [(m.tool_call_id, outcome_of(m)) for m in messages[2:4]] == [("tea-0", None), ("cup-0", "unknown")]
    assert messages[2].text == "here is tea"


def test_a_tool_node_in_a_function(face: Face, thread: dict[str, Any]) -> None:
    done: Counter[str] = Counter()
    node = ToolNode(shop(done))
    die = [True]

    def ask(messages: list[Any]) -> Any:
        return Thinker().bind_tools(list(node.tools_by_name.values())).invoke(messages)

    if face is SYNC:

        @entrypoint(checkpointer=InMemorySaver())
        def agent(messages: list[Any]) -> Any:
            asked = ask(messages)
            results = node.invoke([*messages, asked])
            if die.pop():
                raise Gone
            return [*messages, asked, *results]
    else:

        @entrypoint(checkpointer=InMemorySaver())
        async def agent(messages: list[Any]) -> Any:
            asked = ask(messages)
            results = await node.ainvoke([*messages, asked])
            if die.pop():
                raise Gone
            return [*messages, asked, *results]

    with pytest.raises(Gone):
        face.invoke(agent, [HumanMessage("buy tea, buy cup", id="h")], thread)
    die.append(False)
    found = face.invoke(agent, None, thread)
    assert texts(found) == ["buy tea, buy cup", "", "bought tea", "bought cup"]
    assert done == {"tea-0": 1, "cup-0": 1}


def test_of_calls_that_came_in_nothing_is_known(face: Face, saver: Saver, thread: dict[str, Any]) -> None:
    agent = create_react_agent(Thinker(), [buy], checkpointer=saver)
    given = [HumanMessage("buy tea"), asks(call("buy", "1", what="tea")), HumanMessage("and?")]
    assert outcome_of(face.invoke(agent, {"messages": given}, thread)["messages"][2]) == "unknown"


def test_a_message_after_a_tool_has_failed(face: Face, saver: Saver, thread: dict[str, Any]) -> None:
    @tool
    def fail(what: str) -> str:
        """Fails."""
        raise LookupError(what)

    agent = create_react_agent(Thinker(), [fail], checkpointer=saver)
    with pytest.raises(LookupError):
        run(face, agent, "fail tea", thread)
    found = run(face, agent, "never mind", thread)["messages"][2]
    assert (outcome_of(found), found.status) == ("failed", "error")
    assert run(face, agent, "still there?", thread)["messages"][2] == found


def test_of_tools_that_note_nothing_nothing_is_known(face: Face, saver: Saver, thread: dict[str, Any]) -> None:
    agent = create_react_agent(Thinker(), [buy], checkpointer=saver, interrupt_before=["tools"], on_unknown="retry")
    run(face, agent, "buy tea", thread)
    assert outcome_of(run(face, agent, "never mind", thread)["messages"][2]) == "unknown"
