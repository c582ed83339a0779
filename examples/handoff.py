"""A travel desk: one agent for flights and one for hotels, who hand the conversation over to one another.

    python examples/handoff.py
    python examples/handoff.py --model anthropic:claude-sonnet-5-5

Whoever spoke last hears what the customer says next. The conversation, who has it and what was booked are kept: the same
command goes on with it.
"""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import uuid4

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, ToolMessage
from langchain_core.tools import BaseTool, tool
from offline import find_model
from terminal import arguments, converse

from clew.checkpoint.sqlite import SqliteSaver
from clew.graph import END, START, MessagesState, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.prebuilt import ToolNode, ToolRuntime
from clew.types import Command, Send

FLIGHTS = {"Rome": ["nine o'clock, 89 EUR", "noon, 120 EUR"], "Oslo": ["seven o'clock, 140 EUR"]}
HOTELS = {"Rome": ["Albergo Sole, 95 EUR", "Casa Luna, 130 EUR, with a view"], "Oslo": ["Fjord Inn, 150 EUR"]}
FIRST = "Book me a flight to Rome, and a hotel there."


def newest(old: str, new: str) -> str:
    return new


class Desk(MessagesState):
    active: Annotated[str, newest]  # whose turn it is; two who hand over at once do not collide
    booked: Annotated[list[str], operator.add]


@tool
def find_flights(city: str) -> str:
    """Flights to a city."""
    return f"To {city}: {'; '.join(FLIGHTS.get(city, ['none']))}"


@tool
def book_flight(flight: str, runtime: ToolRuntime) -> Command[Any]:
    """Book a flight that was found."""
    return told(runtime, f"Booked the flight: {flight}.", booked=[f"flight: {flight}"])


@tool
def find_hotels(city: str) -> str:
    """Hotels in a city."""
    return f"In {city}: {'; '.join(HOTELS.get(city, ['none']))}"


@tool
def book_hotel(hotel: str, runtime: ToolRuntime) -> Command[Any]:
    """Book a hotel that was found."""
    return told(runtime, f"Booked the hotel: {hotel}.", booked=[f"hotel: {hotel}"])


@tool
def transfer_to_hotels(runtime: ToolRuntime) -> Command[Any]:
    """Hand the conversation over to the colleague who knows hotels."""
    return told(runtime, "Hotels has the conversation now.", active="hotels")


@tool
def transfer_to_flights(runtime: ToolRuntime) -> Command[Any]:
    """Hand the conversation over to the colleague who knows flights."""
    return told(runtime, "Flights has the conversation now.", active="flights")


def told(runtime: ToolRuntime, text: str, **update: Any) -> Command[Any]:
    """What the model is told of its call, together with what the call changes besides."""
    return Command(update={"messages": [ToolMessage(text, tool_call_id=runtime.tool_call_id)], **update})


@dataclass(frozen=True)
class Agent:
    prompt: str
    tools: list[BaseTool]


AGENTS = {
    "flights": Agent(
        "You book flights, and nothing else. Hotels are your colleague's: hand over once the flight is settled.",
        [find_flights, book_flight, transfer_to_hotels],
    ),
    "hotels": Agent(
        "You book hotels, and nothing else. Flights are your colleague's: hand over once the hotel is settled.",
        [find_hotels, book_hotel, transfer_to_flights],
    ),
}


def build(model: BaseChatModel, saver: SqliteSaver) -> CompiledStateGraph:
    """Each agent is a node. Its calls are tasks side by side; then the one who has the conversation goes on. So a conversation
    that is handed over has the results of all calls in it, and no provider refuses it."""
    tools = ToolNode([tool for agent in AGENTS.values() for tool in agent.tools])

    def node_of(name: str) -> Callable[[Desk], Command[Any]]:
        bound, prompt = model.bind_tools(AGENTS[name].tools), SystemMessage(AGENTS[name].prompt)

        def answer(state: Desk) -> Command[Any]:
            said = bound.invoke([prompt, *state["messages"]])
            said.name = name
            calls = [Send("tools", [call]) for call in said.tool_calls]
            return Command(update={"messages": [said], "active": name}, goto=calls or END)

        return answer

    def whose_turn(state: Desk) -> Command[Any]:
        """Runs once all calls have ended: a router behind each of them would see what that one call wrote, and no other."""
        return Command(goto=state["active"])

    builder = StateGraph(Desk).add_node("tools", tools).add_node("whose_turn", whose_turn, destinations=list(AGENTS))
    for name in AGENTS:
        builder.add_node(name, node_of(name), destinations=["tools", END])
    builder.add_conditional_edges(START, lambda state: state.get("active") or "flights", list(AGENTS))
    return builder.add_edge("tools", "whose_turn").compile(checkpointer=saver)


def by_rule(messages: Sequence[BaseMessage], tools: list[str]) -> AIMessage:
    """The offline model: finds and books its own part of the journey, and hands over the other one."""
    mine, other = ("flights", "hotels") if "find_flights" in tools else ("hotels", "flights")
    told = [str(message.content) for message in messages if message.type == "human"]
    since = messages[max(index for index, message in enumerate(messages) if message.type == "human") + 1 :]
    done = {message.name: str(message.content) for message in since if isinstance(message, ToolMessage)}
    city = next((found[-1] for text in reversed(told) if (found := re.findall(r"\b(?:to|in|for) ([A-Z]\w+)", text))), "Rome")
    wanted = [part for part in (mine, other) if part[:-1] in told[-1].lower()]
    if mine in wanted and f"find_{mine}" not in done:
        return calling(f"find_{mine}", city=city)
    if mine in wanted and "book" in told[-1].lower() and f"book_{mine[:-1]}" not in done:
        offers = done[f"find_{mine}"].partition(": ")[2].split("; ")
        wished = [offer for offer in offers if "view" in offer and "view" in told[-1]]
        return calling(f"book_{mine[:-1]}", **{mine[:-1]: (wished or offers)[0]})
    if other in wanted and f"find_{other}" not in done:
        return calling(f"transfer_to_{other}")
    booked = [text for name, text in done.items() if name and name.startswith("book")]
    said = booked or [text for name, text in done.items() if name and not name.startswith("transfer")]
    return AIMessage(" ".join(said) or f"I can book {mine} to {' and '.join(FLIGHTS)}.")


def calling(name: str, **args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": f"call_{uuid4().hex[:12]}"}])


def main() -> None:
    """Talks on the terminal."""
    options = arguments("A travel desk of two agents, who hand the conversation over.", "travel.db")
    with SqliteSaver(options.keep) as saver:
        graph = build(find_model(options.model, by_rule), saver)
        converse(graph, options, FIRST)
        booked = graph.get_state({"configurable": {"thread_id": options.thread}}).values.get("booked", [])
        print(f"Booked so far: {booked}")


if __name__ == "__main__":
    main()
