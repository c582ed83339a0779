"""A chat model that says what it is told to, word by word, and can be held in the middle; and who hears it as it speaks."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from support.faces import ASYNC, Face

IN_TIME = 20.0
"""Seconds that a test may take before something must have gone wrong."""


class Speaking(BaseChatModel):
    """Says `words`. After the first it waits until `heard` is set, where there is one.

    Attributes:
        fails: what it raises after its last word.
    """

    words: list[str]
    heard: Any = None
    fails: Any = None

    @property
    def _llm_type(self) -> str:
        return "speaking"

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(" ".join(self.words)))])

    def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any) -> Iterator[ChatGenerationChunk]:
        for number, word in enumerate(self.words):
            if number == 1 and self.heard is not None:
                _in_time(self.heard.wait(IN_TIME))
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        if self.fails:
            raise self.fails

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for number, word in enumerate(self.words):
            if number == 1 and self.heard is not None:
                _in_time(await asyncio.to_thread(self.heard.wait, IN_TIME))
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        if self.fails:
            raise self.fails


def _in_time(heard: bool) -> None:
    assert heard, "nobody has heard the first word"


def says(*words: str, heard: threading.Event | None = None, **more: Any) -> Speaking:
    return Speaking(words=list(words), heard=heard, **more)


def follow(face: Face, graph: Any, given: Any, seen: Callable[[Any], None], **options: Any) -> None:
    """Hands over each chunk as it comes."""
    if face is not ASYNC:
        for chunk in graph.stream(given, **options):
            seen(chunk)
        return

    async def reading() -> None:
        async for chunk in graph.astream(given, **options):
            seen(chunk)

    asyncio.run(reading())
