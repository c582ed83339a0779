"""What the pages about conversations and agents do to them: whatever the conversation, providers take what comes out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from support.histories import problems_for_anthropic, problems_for_openai
from support.pages import ROOT, run
from support.standin import StandIn

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import MemoryStorage
from clew.graph import END, START, StateGraph, add_messages
from clew.graph.compiled import CompiledStateGraph
from clew.testing import crash_everywhere
from clew.types import Durability

pytestmark = pytest.mark.slow  # each runs its page, and then much besides

HOW_TO = ROOT / "docs" / "how-to"
# Pages, each with how often it is refused on purpose, to show it.
REFUSED = {"manage-history": 1, "delete-messages": 1, "summarise": 0, "agent-by-hand": 0, "functional-agents": 0}
Names = dict[str, Any]


@pytest.fixture(params=REFUSED)
def page(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def names(page: str, anthropic_server: StandIn, openai_server: StandIn) -> Names:
    """All that the page has made, after it has run."""
    return run(HOW_TO / f"{page}.md")


@st.composite
def conversations(draw: st.DrawFn) -> list[BaseMessage]:
    """Turns at rest, with tools side by side and after one another; a valid one."""
    messages: list[BaseMessage] = [SystemMessage("Be kind.")] if draw(st.booleans()) else []
    for turn in range(draw(st.integers(1, 4))):
        messages.append(HumanMessage(f"question {turn}"))
        for step in range(draw(st.integers(0, 2))):
            ids = [f"call_{turn}_{step}_{call}" for call in range(draw(st.integers(1, 3)))]
            calls: list[Any] = [{"name": "look", "args": {}, "id": id_} for id_ in ids]
            messages.append(AIMessage(draw(st.sampled_from(["", "let me see"])), tool_calls=calls))
            messages += [
                ToolMessage(draw(st.sampled_from(["", "seen"])), tool_call_id=id_) for id_ in draw(st.permutations(ids))
            ]
        messages.append(AIMessage(f"answer {turn}"))
    return add_messages([], messages)


def valid(messages: list[BaseMessage]) -> bool:
    return problems_for_anthropic(messages) == [] == problems_for_openai(messages)


def holds(names: Names, rule: Callable[[Names, list[BaseMessage]], bool]) -> None:
    @settings(deadline=None, max_examples=60)
    @given(conversations())
    def check(messages: list[BaseMessage]) -> None:
        assert valid(messages)
        assert rule(names, messages)

    check()


def forgotten(names: Names, messages: list[BaseMessage]) -> bool:
    return valid(add_messages(messages, names["forget"]({"messages": messages})["messages"]))


def summarised(names: Names, messages: list[BaseMessage]) -> bool:
    state: Names = {"messages": messages}
    if names["long_enough"](state) == "summarise":
        update = names["summarise"](state)
        state = {"messages": add_messages(messages, update["messages"]), "summary": update["summary"]}
    return valid(names["with_summary"](state)) and valid(state["messages"])


def summed_up(names: Names, messages: list[BaseMessage]) -> bool:
    state: Names = {"messages": messages}
    if names["long_to_send"](state) == "sum_up":
        state |= names["sum_up"](state)
    return valid(names["sent"](state))


def windows(names: Names, messages: list[BaseMessage]) -> bool:
    """What a window leaves of it is nothing, or something valid, however large the window is."""
    options: dict[str, Any] = {"strategy": "last", "start_on": "human", "end_on": ("human", "tool"), "include_system": True}
    said = [*messages, HumanMessage("and then?")]
    seen = [names["trim_messages"](said, max_tokens=size, token_counter=len, **options) for size in range(1, len(said) + 1)]
    return all(valid(window) or {message.type for message in window} <= {"system"} for window in [*seen, names["window"](said)])


@pytest.mark.parametrize("page", ["manage-history"], indirect=True)
def test_a_window_is_valid(names: Names) -> None:
    holds(names, windows)
    holds(names, lambda names, messages: valid(names["last_turn"](messages)) and valid(names["without_old_tools"](messages)))


@pytest.mark.parametrize("page", ["delete-messages"], indirect=True)
def test_what_is_left_of_a_conversation_is_valid(names: Names) -> None:
    holds(names, forgotten)


@pytest.mark.parametrize("page", ["summarise"], indirect=True)
def test_what_stands_beside_a_summary_is_valid(names: Names, anthropic_server: StandIn) -> None:
    holds(names, summarised)
    holds(names, summed_up)
    assert len(anthropic_server.requests) > 30  # there was something to sum up
    assert anthropic_server.refused == []


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("page", ["summarise"], indirect=True)
def test_a_crash_leaves_the_summary_and_what_it_stands_for_or_neither(names: Names, durability: Durability) -> None:
    def call_model(state: Names) -> Names:
        said = names["call_model"](state)["messages"].text
        return {"messages": AIMessage(said, id=f"re {state['messages'][-1].id}")}  # the same each time it is run

    def build(saver: Saver) -> CompiledStateGraph:
        builder = StateGraph(names["Talk"]).add_node(call_model).add_node("summarise", names["summarise"])
        builder.add_conditional_edges("call_model", names["long_enough"], ["summarise", END])
        return builder.add_edge(START, "call_model").compile(saver)

    given = [{"messages": [HumanMessage(text, id=text)]} for text in ("I'm bob", "a", "b", "c", "what's my name?")]
    assert crash_everywhere(build, *given, durability=durability) >= 12
    graph = build(Saver(MemoryStorage()))
    for said in given:
        graph.invoke(said, {"configurable": {"thread_id": "1"}}, durability=durability)
    state = graph.get_state({"configurable": {"thread_id": "1"}}).values
    assert state["summary"] == "The user is called Bob and has said: I'm bob / a / b / c"
    assert state["messages"][-1].text.startswith("Your name is Bob")


@pytest.mark.parametrize("page", ["agent-by-hand"], indirect=True)
def test_what_the_agents_have_said_is_valid(names: Names) -> None:
    conversations = [names[graph].get_state(names["config"]).values["messages"] for graph in ("agent", "careful")]
    conversations.append(names["loop"].checkpointer.get(names["config"])["channel_values"]["__previous__"])
    for messages in conversations:
        assert any(message.type == "tool" for message in messages)
        assert valid(messages)


def test_the_provider_refused_only_what_was_to_be_refused(
    page: str, names: Names, anthropic_server: StandIn, openai_server: StandIn
) -> None:
    assert len(anthropic_server.requests) > 3
    assert len(anthropic_server.refused + openai_server.refused) == REFUSED[page]


@pytest.mark.parametrize("page", ["agent-by-hand", "functional-agents", "summarise"])
def test_the_page_is_the_same_with_another_provider(
    page: str, anthropic_server: StandIn, openai_server: StandIn, tmp_path: Path
) -> None:
    text = (HOW_TO / f"{page}.md").read_text()
    other = tmp_path / "page.md"
    other.write_text(
        text.replace("langchain_anthropic import ChatAnthropic", "langchain_openai import ChatOpenAI as ChatAnthropic")
    )
    run(other)
    assert anthropic_server.requests == []
    assert len(openai_server.requests) > 3
    assert openai_server.refused == []
