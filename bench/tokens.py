"""What a token costs: a chat model read by itself, called with a handler that does nothing, and read through a graph.

Like `workloads.py` it is written once for both libraries. The model makes its tokens at once, or lets others run before each
(`waits`), as one does that reads from a network.
"""

import asyncio
import gc
import os
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final, NamedTuple

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from workloads import Cost, Face, Stopwatch, load, middle

TOKENS: Final = 1_000
ROUNDS: Final = 15


class Share(NamedTuple):
    """A token's cost beyond that of the model read by itself, and beyond that of the model with a handler that does nothing;
    and the seconds by which the first token comes later than from the model by itself.

    Each is a median of differences, taken between works that ran one right after the other: they are a tenth or a fifth of
    what they are differences of, and a machine whose pace changes would drown a difference of medians."""

    over_model: Cost
    over_handler: Cost
    first: float


class Ticker(BaseChatModel):
    """Says `TOKENS` tokens."""

    waits: bool

    @property
    def _llm_type(self) -> str:
        return "ticker"

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        raise NotImplementedError  # whoever calls it wants a stream

    def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any) -> Iterator[ChatGenerationChunk]:
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            for _number in range(TOKENS):
                if self.waits:
                    os.read(nothing, 1)  # other threads may run meanwhile
                yield ChatGenerationChunk(message=AIMessageChunk(content="token "))
        finally:
            os.close(nothing)

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for _number in range(TOKENS):
            if self.waits:
                await asyncio.sleep(0)
            yield ChatGenerationChunk(message=AIMessageChunk(content="token "))


class Silent(BaseCallbackHandler):
    """Makes a model stream that is invoked, and does nothing: what LangChain itself takes for handing a token on."""

    run_inline = True

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None: ...
    def on_llm_new_token(self, *args: Any, **kwargs: Any) -> None: ...

    def tap_output_iter(self, run_id: Any, output: Any) -> Any:
        return output

    def tap_output_aiter(self, run_id: Any, output: Any) -> Any:
        return output


def tokens(package: str, face: Face, waits: bool) -> Share:
    """The shares of one library, over `ROUNDS` rounds in which the three take turns, there and back again."""
    model, asked = Ticker(waits=waits), [HumanMessage("hi")]
    graph = speaking(package, model, face)
    given, mode = {"messages": asked}, {"stream_mode": "messages"}
    if face == "async":
        return asyncio.run(
            _awaited(
                lambda: _drained(model.astream(asked)),
                lambda: model.ainvoke(asked, {"callbacks": [Silent()]}),
                lambda: _drained(graph.astream(given, **mode)),
            )
        )
    works = (
        lambda: _drain(model.stream(asked)),
        lambda: model.invoke(asked, {"callbacks": [Silent()]}),
        lambda: _drain(graph.stream(given, **mode)),
    )
    for work in works:
        work()
    return _share([_timed(works[column]) for column in _turns()])


def speaking(package: str, model: Ticker, face: Face) -> Any:
    """A graph of one node, which calls the model."""
    found = load(package, "graph")

    def plain(state: Any) -> Any:
        return {"messages": [model.invoke(state["messages"])]}

    async def awaited(state: Any) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = found.StateGraph(found.MessagesState).add_node("model", awaited if face == "async" else plain)
    return builder.add_edge(found.START, "model").compile()


async def _awaited(*works: Callable[[], Awaitable[Any]]) -> Share:
    for work in works:
        await work()
    taken: list[tuple[Cost, Any]] = []
    for column in _turns():
        gc.collect()
        watch = Stopwatch()
        found = await works[column]()
        taken.append((watch.read(), found))
    return _share(taken)


def _turns() -> Iterator[int]:
    """The columns in the order in which they run: alone, handled, read; read, handled, alone; and so on."""
    for number in range(ROUNDS):
        yield from range(3) if number % 2 == 0 else reversed(range(3))


def _timed(work: Callable[[], Any]) -> tuple[Cost, Any]:
    gc.collect()
    watch = Stopwatch()
    found = work()
    return watch.read(), found


def _drain(chunks: Iterator[Any]) -> float:
    """Reads all of it; the seconds until the first."""
    watch, first = Stopwatch(), 0.0
    for count, _ in enumerate(chunks):
        if not count:
            first = watch.read().wall
    return first


async def _drained(chunks: AsyncIterator[Any]) -> float:
    watch, first, count = Stopwatch(), 0.0, 0
    async for _ in chunks:
        if not count:
            first = watch.read().wall
        count += 1
    return first


def _share(taken: list[tuple[Cost, Any]]) -> Share:
    rounds = [taken[at : at + 3] for at in range(0, len(taken), 3)]
    rounds = [each if number % 2 == 0 else each[::-1] for number, each in enumerate(rounds)]
    firsts = [read - alone for (_, alone), _, (_, read) in rounds]
    return Share(
        middle([_beyond(read, alone) for (alone, _), _, (read, _) in rounds]),
        middle([_beyond(read, handled) for _, (handled, _), (read, _) in rounds]),
        statistics.median(firsts),
    )


def _beyond(whole: Cost, part: Cost) -> Cost:
    return Cost((whole.cpu - part.cpu) / TOKENS, (whole.wall - part.wall) / TOKENS)
