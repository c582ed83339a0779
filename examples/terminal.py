"""A conversation on the terminal, from wherever its thread is: what the examples with people in them have in common."""

import argparse
from itertools import chain
from pathlib import Path
from typing import Any

from clew.errors import GraphRecursionError
from clew.graph.compiled import CompiledStateGraph
from clew.types import Command


def arguments(description: str, keep: str) -> argparse.Namespace:
    """What the command was told: `say`, `model`, `thread`, `keep`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("say", nargs="?", help="what the customer says next; asked for otherwise")
    parser.add_argument("--model", default="offline", help="such as anthropic:claude-sonnet-5-5 (%(default)s: a rule, no key)")
    parser.add_argument("--thread", default="1", help="whose conversation it is (%(default)s)")
    parser.add_argument("--keep", type=Path, default=Path(keep), help="the file in which it is kept (%(default)s)")
    return parser.parse_args()


def converse(graph: CompiledStateGraph, options: argparse.Namespace, first: str) -> None:
    """Until nobody is there to say anything. `first` is said where the thread is new and nothing else is to be said."""
    config = {"configurable": {"thread_id": options.thread}, "recursion_limit": 50}  # a model that goes round costs money
    say: str | None = options.say
    if say is None and not graph.get_state(config).values:
        say = first
    try:
        while True:
            state = graph.get_state(config)
            if state.interrupts:  # several may be open: each answer is kept at once
                question = state.interrupts[0]
                given: Any = Command(resume={question.id: heard(f"  ? {question.value} ")})
            elif state.next:
                given = None  # it was stopped while it was at work
            else:
                if say is not None:
                    print(f"\nCustomer: {say}")
                given, say = {"messages": say or heard("\nCustomer: ")}, None
            for update in graph.stream(given, config, stream_mode="updates"):
                tell(update)
    except GraphRecursionError as error:
        print(f"\n{error}")
    except (EOFError, KeyboardInterrupt):
        print(f"\n(Kept in {options.keep}: the same command goes on from here.)")


def heard(prompt: str) -> str:
    """One line of the terminal that is not empty."""
    while not (line := input(prompt).strip()):
        pass
    return line


def tell(update: dict[str, Any]) -> None:
    """What was said and done, as it happens; not again what was done before an answer, which comes from the record."""
    if "__metadata__" in update or "__interrupt__" in update:
        return
    said: list[Any] = [change["messages"] for change in update.values() if change]
    for message in chain.from_iterable(said):
        who = message.name or "agent"
        if message.type == "tool":
            print(f"  < {message.content}", flush=True)
        elif message.text:
            print(f"{who}: {message.text}", flush=True)
        for call in getattr(message, "tool_calls", ()):
            args = ", ".join(f"{name}={value!r}" for name, value in call["args"].items())
            print(f"  {who} > {call['name']}({args})", flush=True)
