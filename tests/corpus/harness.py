"""What an example is made of: the mark, the two faces, and the difference it declares. Knows neither package."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

SYNC, ASYNC = "sync", "async"
FACES: Final = (SYNC, ASYNC)


class Face(Protocol):
    """The verbs of a graph. An example calls them here, and so runs on both faces. `follow` is `stream`, with an error that
    ends it as the last chunk."""

    def invoke(self, graph: Any, given: Any, config: Any = None, **options: Any) -> Any: ...
    def stream(self, graph: Any, given: Any, config: Any = None, **options: Any) -> list[Any]: ...
    def follow(self, graph: Any, given: Any, config: Any = None, **options: Any) -> list[Any]: ...
    def batch(self, graph: Any, inputs: list[Any], config: Any = None, **options: Any) -> list[Any]: ...
    def get_state(self, graph: Any, config: Any, **options: Any) -> Any: ...
    def history(self, graph: Any, config: Any, **options: Any) -> list[Any]: ...


class SyncFace:
    def invoke(self, graph: Any, given: Any, config: Any = None, **options: Any) -> Any:
        return graph.invoke(given, config, **options)

    def stream(self, graph: Any, given: Any, config: Any = None, **options: Any) -> list[Any]:
        return list(graph.stream(given, config, **options))

    def follow(self, graph: Any, given: Any, config: Any = None, **options: Any) -> list[Any]:
        chunks: list[Any] = []
        try:
            chunks.extend(graph.stream(given, config, **options))  # those before an error stay
        except Exception as error:
            chunks.append(error)
        return chunks

    def batch(self, graph: Any, inputs: list[Any], config: Any = None, **options: Any) -> list[Any]:
        return graph.batch(inputs, config, **options)

    def get_state(self, graph: Any, config: Any, **options: Any) -> Any:
        return graph.get_state(config, **options)

    def history(self, graph: Any, config: Any, **options: Any) -> list[Any]:
        return list(graph.get_state_history(config, **options))


async def _all(found: AsyncIterator[Any]) -> list[Any]:
    return [one async for one in found]


class AsyncFace:
    def invoke(self, graph: Any, given: Any, config: Any = None, **options: Any) -> Any:
        return asyncio.run(graph.ainvoke(given, config, **options))

    def stream(self, graph: Any, given: Any, config: Any = None, **options: Any) -> list[Any]:
        return asyncio.run(_all(graph.astream(given, config, **options)))

    def follow(self, graph: Any, given: Any, config: Any = None, **options: Any) -> list[Any]:
        chunks: list[Any] = []

        async def follow() -> None:
            try:
                async for chunk in graph.astream(given, config, **options):
                    chunks.append(chunk)  # noqa: PERF401  (those before an error stay)
            except Exception as error:
                chunks.append(error)

        asyncio.run(follow())
        return chunks

    def batch(self, graph: Any, inputs: list[Any], config: Any = None, **options: Any) -> list[Any]:
        return asyncio.run(graph.abatch(inputs, config, **options))

    def get_state(self, graph: Any, config: Any, **options: Any) -> Any:
        return asyncio.run(graph.aget_state(config, **options))

    def history(self, graph: Any, config: Any, **options: Any) -> list[Any]:
        return asyncio.run(_all(graph.aget_state_history(config, **options)))


BY_NAME: Final[dict[str, Face]] = {SYNC: SyncFace(), ASYNC: AsyncFace()}


@dataclass(frozen=True, slots=True)
class Differs:
    """A difference that is meant.

    Attributes:
        row: the left side of its row in "Where Clew differs on purpose" (DESIGN §10), or the beginning of it.
        here: makes of LangGraph's plain record the one that Clew must give.
    """

    row: str
    here: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Mark:
    """What `example` says of a function. `guide` is the row of behaviour.md it stands for."""

    guide: str
    faces: Sequence[str]
    differs: Differs | None


def example(guide: str, *, faces: Sequence[str] = FACES, differs: Differs | None = None) -> Callable[[Any], Any]:
    """Marks a function of one argument, a `Face`, that returns what its user sees."""

    def mark(function: Any) -> Any:
        function.corpus = Mark(guide, faces, differs)
        return function

    return mark


def raised(call: Callable[[], Any]) -> Any:
    """The error that `call` raises, to be recorded; or what it returned where it raises none."""
    try:
        return call()
    except Exception as error:
        return error


def in_order(chunks: list[Any]) -> list[Any]:
    """Chunks whose order the machine decides (parallel tasks), in one that it does not."""
    return sorted(chunks, key=repr)


def shown(snapshot: Any) -> dict[str, Any]:
    """A `StateSnapshot` without what is new in each run."""
    metadata: dict[str, Any] = snapshot.metadata or {}
    return {
        "values": snapshot.values,
        "next": snapshot.next,
        "step": metadata.get("step"),
        "source": metadata.get("source"),
        "tasks": [[task.name, task.result, task.error and "error", task.state is not None] for task in snapshot.tasks],
        "parent": snapshot.parent_config is not None,
    }
