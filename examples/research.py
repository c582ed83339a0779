"""A question is taken apart, its parts are looked up side by side in a folder of Markdown, and what was found becomes a report.

    python examples/research.py "Where are threads kept, and what happens after a crash?"
    python examples/research.py --model anthropic:claude-sonnet-5-5 --sources ~/notes "…"

Stop it whenever you like (Ctrl-C, kill -9): the same command goes on where it stopped, and reads no part again that was read.
A question that was answered before is answered from its thread.
"""

import argparse
import operator
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from offline import find_model
from pydantic import BaseModel, Field

from clew.checkpoint.sqlite import SqliteSaver
from clew.graph import END, START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.types import RetryPolicy, Send


class Plan(BaseModel):
    """The parts of a question."""

    parts: list[str] = Field(description="Questions that can be looked up by themselves, two to five of them.")


class Part(TypedDict):
    part: str


class Note(TypedDict):
    part: str
    said: str
    sources: list[str]


Update = dict[str, Any]


class Research(TypedDict):
    question: str
    parts: list[str]
    notes: Annotated[list[Note], operator.add]
    report: str


def build(model: BaseChatModel, sources: Path, saver: SqliteSaver) -> CompiledStateGraph:
    """plan → read, once for each part, side by side → write."""

    def plan(state: Research) -> Update:
        asked = f"Take this question apart: {state['question']}"
        found = model.with_structured_output(Plan, method="json_schema").invoke(asked)
        assert isinstance(found, Plan)
        return {"parts": found.parts}

    def each_part(state: Research) -> list[Send]:
        return [Send("read", {"part": part}) for part in state["parts"]]

    def read(state: Part) -> Update:
        passages = search(sources, state["part"])
        shown = "\n\n".join(f"[{name}] {text}" for name, text in passages)
        answer = model.invoke(f"Answer in two sentences: {state['part']}\nGo by these passages only:\n\n{shown}")
        return {"notes": [{"part": state["part"], "said": answer.text, "sources": [name for name, _ in passages]}]}

    def write(state: Research) -> Update:
        notes = "\n\n".join(f"{note['part']}\n{note['said']} [{', '.join(note['sources'])}]" for note in state["notes"])
        return {"report": model.invoke(f"Write a report that answers: {state['question']}\nYour notes:\n\n{notes}").text}

    builder = StateGraph(Research).add_node(plan).add_node(write)
    builder.add_node("read", read, retry_policy=RetryPolicy(max_attempts=3))
    builder.add_edge(START, "plan").add_conditional_edges("plan", each_part, ["read"])
    return builder.add_edge("read", "write").add_edge("write", END).compile(checkpointer=saver)


def search(sources: Path, part: str) -> list[tuple[str, str]]:
    """The three paragraphs of the folder that say most about `part`, each with the name of its file. Rare words say more."""
    pages = {page.name: page.read_text() for page in sorted(sources.rglob("*.md"))}
    found = [(name, text.replace("\n", " ")) for name, page in pages.items() for text in re.split(r"\n\s*\n", page)]
    found = [(name, text) for name, text in found if text[:1].isalpha()]  # neither headings nor code
    common = Counter(word for _, text in found for word in words(text))
    found.sort(key=lambda one: -sum(1 / common[word] for word in words(part) & words(one[1])))
    return found[:3]


def words(text: str) -> set[str]:
    return set(re.findall(r"\w{4,}", text.lower()))


def by_rule(messages: Sequence[BaseMessage], tools: list[str]) -> AIMessage:
    """The offline model: takes a question apart at its commas, and answers with what it was shown first."""
    asked = str(messages[-1].content)
    if tools:
        parts = [part.strip(" ?,") + "?" for part in re.split(r",\s*(?:and\s+)?", asked.partition(": ")[2])]
        return AIMessage("", tool_calls=[{"name": "Plan", "args": {"parts": parts}, "id": "plan"}])
    first, _, rest = asked.partition("\n\n")
    if first.startswith("Write"):
        return AIMessage(rest)
    return AIMessage(". ".join(re.sub(r"^\[.*?\] ", "", rest).partition("\n\n")[0].split(". ")[:2]))


def main() -> None:
    """Begins, or goes on."""
    parser = argparse.ArgumentParser(description="Research in a folder of Markdown files.")
    parser.add_argument(
        "question", nargs="?", default="Where are threads kept, what is pruned, and what happens after a crash?"
    )
    parser.add_argument("--model", default="offline", help="such as anthropic:claude-sonnet-5-5; without one, nothing is asked")
    parser.add_argument("--sources", type=Path, default=Path(__file__).parents[1] / "docs")
    parser.add_argument("--keep", default="research.db", help="the file in which the work is kept (%(default)s)")
    parser.add_argument("--at-once", type=int, default=4, help="parts that are read at a time (%(default)s)")
    parser.add_argument("--pace", type=float, default=0.3, help="seconds that the offline model takes (%(default)s)")
    options = parser.parse_args()

    with SqliteSaver(options.keep) as saver:
        graph = build(find_model(options.model, by_rule, options.pace), options.sources, saver)
        config = {"configurable": {"thread_id": options.question}, "max_concurrency": options.at_once}
        state = graph.get_state(config)
        if state.next:
            print(f"Going on at {', '.join(sorted(set(state.next)))}.", flush=True)
        elif state.values:
            print("This was answered before.")
        if state.next or not state.values:
            given = None if state.next else {"question": options.question}
            for update in graph.stream(given, config, stream_mode="updates"):
                tell(update)
        print(f"\n{graph.get_state(config).values['report']}")


def tell(update: dict[str, Update]) -> None:
    """One line for each thing that was done; not again what comes from the record."""
    if "__metadata__" in update:
        return
    for node, change in update.items():
        for part in change.get("parts", ()):
            print(f"  to read: {part}", flush=True)
        for note in change.get("notes", ()):
            print(f"  read:    {note['part']} ({', '.join(dict.fromkeys(note['sources']))})", flush=True)
        if node == "write":
            print("  written.", flush=True)


if __name__ == "__main__":
    main()
