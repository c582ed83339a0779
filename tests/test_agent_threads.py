"""An agent on its thread: it stops and goes on, is spoken to instead, asks, is restarted, and is part of another graph."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from langchain_core.tools import tool
from support.agents import Thinker, shop
from support.faces import Face
from support.tools import texts

from clew.checkpoint.base import Saver
from clew.checkpoint.sqlite import SqliteSaver
from clew.graph import START, MessagesState, StateGraph
from clew.prebuilt import InjectedState, create_react_agent
from clew.prebuilt.chat_agent_executor import AgentState
from clew.types import Command, interrupt

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
    assert [m.additional_kwargs for m in messages[2:4]] == [{"outcome": "cancelled"}] * 2
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
