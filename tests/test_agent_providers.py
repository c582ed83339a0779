"""The agent with the real clients of two providers, whose stand-ins refuse what the providers refuse: a thread that was cut
short in the middle of a call is spoken to and answers."""

from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel
from support.faces import Face

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import InMemorySaver
from clew.prebuilt import create_react_agent, outcome_of

MODELS = pytest.mark.parametrize("name", ["anthropic", "openai"])


class Gone(BaseException):
    """The process is."""


@pytest.fixture
def models(anthropic: str, openai_server: Any) -> dict[str, Any]:
    """`unforced` is one of those that cannot be made to call a tool."""
    claude: Any = ChatAnthropic  # its other arguments have defaults
    return {
        "anthropic": claude(model_name="claude-haiku-4-5"),
        "unforced": claude(model_name="claude-sonnet-5-5"),
        "openai": ChatOpenAI(model="gpt-5"),
    }


def tools(*, dying: bool) -> list[Any]:
    @tool
    def weather(city: str) -> str:
        """How the weather is."""
        return f"sunny in {city}"

    @tool
    def book(city: str) -> str:
        """Books a room."""
        if dying:
            raise Gone
        return f"a room in {city}"

    return [weather, book]


def say(face: Face, agent: Any, text: str | None, thread: Any) -> list[Any]:
    return face.invoke(agent, None if text is None else {"messages": [("user", text)]}, thread)["messages"]


@pytest.mark.parametrize("name", ["anthropic", "openai", "unforced"])
def test_it_calls_tools_and_answers_in_a_shape(face: Face, models: dict[str, Any], name: str) -> None:
    class Weather(BaseModel):
        """A report."""

        city: str

    agent = create_react_agent(models[name], tools(dying=False), response_format=Weather, prompt="be brief")
    found = face.invoke(agent, {"messages": [("user", 'weather(city="Rome") and book(city="Rome")')]})
    assert found["messages"][-1].text == "I looked it up: sunny in Rome; a room in Rome"
    assert isinstance(found["structured_response"], Weather)


@MODELS
@pytest.mark.filterwarnings("ignore::clew.errors.DroppedWorkWarning")  # results of calls are found again
@pytest.mark.parametrize("next_text", ["are you there?", None])
def test_a_thread_that_was_cut_short(
    face: Face, saver: Saver, thread: dict[str, Any], models: dict[str, Any], name: str, next_text: str | None
) -> None:
    with pytest.raises(Gone):
        say(face, create_react_agent(models[name], tools(dying=True), checkpointer=saver), 'book(city="Rome")', thread)
    agent = create_react_agent(models[name], tools(dying=False), checkpointer=saver)
    found = say(face, agent, next_text, thread)
    assert [outcome_of(message) for message in found if message.type == "tool"] == ["unknown"]
    assert found[-1].type == "ai"
    found = say(face, agent, 'now weather(city="Rome")', thread)
    assert found[-1].text == "I looked it up: sunny in Rome"


@MODELS
def test_settling_is_what_makes_it_answer(face: Face, thread: dict[str, Any], models: dict[str, Any], name: str) -> None:
    """The stand-ins do refuse such a thread."""
    agent = create_react_agent(models[name], tools(dying=False), checkpointer=InMemorySaver(), interrupt_before=["tools"])
    left = say(face, agent, 'weather(city="Rome")', thread)
    with pytest.raises(Exception, match=r"tool_use|tool_calls"):
        models[name].invoke([*left, ("user", "are you there?")])
    assert say(face, agent, "are you there?", thread)[-1].type == "ai"
