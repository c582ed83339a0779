"""A support agent that looks up orders by itself, and pays money back once a person has approved.

    python examples/support_agent.py
    python examples/support_agent.py --model anthropic:claude-sonnet-5-5

Stop it in the middle of an approval, in any way, and start the same command again: it asks again, and pays once.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import BaseTool, tool
from offline import find_model
from terminal import arguments, converse

from clew.checkpoint.sqlite import SqliteSaver
from clew.graph.compiled import CompiledStateGraph
from clew.prebuilt import create_react_agent
from clew.types import interrupt

ORDERS = {
    "1001": "a lamp, 40.00 EUR, delivered on Monday",
    "1002": "a chair, 120.00 EUR, lost on its way",
    "1003": "a table, 310.00 EUR, on its way",
}
PROMPT = (
    "You work for a shop. Look orders up before you speak of them. Money is paid back with `refund`; a colleague approves it."
)
FIRST = "I want my money back for orders 1001 and 1002, please."


def make_tools(books: Path) -> list[BaseTool]:
    """What the agent can do. Paying back asks a person first."""

    def pay_back(order: str, amount: float) -> str:
        line = f"{order} {amount:.2f} EUR\n"  # the bank's part: it knows what it has paid, and pays it once
        if not books.exists() or line not in books.read_text():
            with books.open("a") as file:
                file.write(line)
        return f"Paid back {amount:.2f} EUR for order {order}."

    @tool
    def find_order(order: str) -> str:
        """Look an order up by its number."""
        return f"Order {order}: {ORDERS.get(order, 'there is none')}"

    @tool
    def refund(order: str, amount: float) -> str:
        """Pay an amount in EUR back for an order."""
        verdict = interrupt(f"Pay back {amount:.2f} EUR for order {order}? [yes, or why not]")
        if verdict.lower() not in ("y", "yes"):
            return f"Order {order} was not approved: {verdict}"
        return pay_back(order, amount)

    return [find_order, refund]


def build(model: BaseChatModel, tools: list[BaseTool], saver: SqliteSaver) -> CompiledStateGraph:
    """The agent. A call that a process died in is made again: looking up does no harm, and the bank pays once."""
    return create_react_agent(model, tools, prompt=PROMPT, checkpointer=saver, on_unknown="retry")


def by_rule(messages: Sequence[BaseMessage], tools: list[str]) -> AIMessage:
    """The offline model: looks up the orders it is told of, and asks for refunds where somebody wants their money back."""
    asked = max(index for index, message in enumerate(messages) if message.type == "human")
    text, since = str(messages[asked].content), [m for m in messages[asked:] if isinstance(m, ToolMessage)]
    orders = re.findall(r"\b\d{4}\b", text)
    if not orders:
        return AIMessage("Which order is it about? I know 1001, 1002 and 1003.")
    if not since:
        return calling("Let me look.", [("find_order", {"order": order}) for order in orders])
    priced = {order: price for m in since for order, price in re.findall(r"Order (\d+): .*?([\d.]+) EUR", str(m.content))}
    if priced and re.search(r"money back|refund", text, re.IGNORECASE) and all(m.name == "find_order" for m in since):
        return calling("", [("refund", {"order": order, "amount": float(price)}) for order, price in priced.items()])
    return AIMessage(" ".join(str(m.content) for m in since if m.name == since[-1].name))


def calling(text: str, calls: list[tuple[str, dict[str, Any]]]) -> AIMessage:
    return AIMessage(text, tool_calls=[{"name": name, "args": args, "id": f"call_{uuid4().hex[:12]}"} for name, args in calls])


def main() -> None:
    """Talks on the terminal."""
    options = arguments("A support agent; a person approves what it pays back.", "support.db")
    with SqliteSaver(options.keep) as saver:
        tools = make_tools(options.keep.with_suffix(".refunds.txt"))
        converse(build(find_model(options.model, by_rule), tools, saver), options, FIRST)


if __name__ == "__main__":
    main()
