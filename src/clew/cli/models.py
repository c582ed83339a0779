"""The models that `clew chat` can talk to: real ones through LangChain, and one that needs no network."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from clew.errors import MissingDependency

Model = Callable[[Sequence[Any]], Any]

SCRIPTED: Final = "scripted"
NAMED: Final = re.compile(r"\b(?:i am|i'm|i’m|my name is|call me)\s+([a-z][\w'-]*)", re.IGNORECASE)
ASKED: Final = re.compile(r"\b(?:what(?:'s|’s| is| was)|do you (?:know|remember))\s+my\s+name\b", re.IGNORECASE)


def find_model(name: str) -> Model:
    """What answers a conversation: `scripted`, or a model as LangChain names it, such as `anthropic:claude-sonnet-5-5`.

    Raises:
        MissingDependency: langchain or the model's own package is not installed.
    """
    if name == SCRIPTED:
        return scripted
    try:
        from langchain.chat_models import init_chat_model  # pyright: ignore  (need not be installed)
    except ImportError as error:
        raise MissingDependency(
            f"The model {name!r} is reached through langchain, which is not installed: type `pip install langchain` and the "
            "package of the model, such as `langchain-anthropic`."
        ) from error
    try:
        return init_chat_model(name).invoke  # pyright: ignore
    except (ImportError, ValueError) as error:
        raise MissingDependency(f"The model {name!r} cannot be had: {error}") from error


def scripted(messages: Sequence[Any]) -> Any:
    """A stand-in without a network. It knows nothing but what it reads: a name is found in the messages it is given, or not."""
    said = [str(message.content) for message in messages if message.type == "human"]
    name = next((found[1].capitalize() for text in reversed(said) if (found := NAMED.search(text))), None)
    return ("ai", _answer(said[-1] if said else "", name))


def _answer(text: str, name: str | None) -> str:
    if ASKED.search(text):
        if name is None:
            return "I don't know your name: nobody has told me in this conversation. What is it?"
        return f"Your name is {name}, as you told me earlier in our conversation."
    if NAMED.search(text) and name is not None:
        return f"Hello {name}! It's nice to meet you. How are you doing today?"
    return f"I see{', ' + name if name else ''}. Tell me more, or ask me what your name is."
