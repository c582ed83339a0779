"""The two faces of a graph, called alike."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Protocol

from clew.graph.compiled import CompiledStateGraph
from clew.types import Branch, Change, RunEvent, StateSnapshot


class Face(Protocol):
    def invoke(self, graph: CompiledStateGraph, given: Any, config: Any = None, **options: Any) -> Any: ...
    def stream(self, graph: CompiledStateGraph, given: Any, config: Any = None, **options: Any) -> list[Any]: ...
    def read(self, graph: CompiledStateGraph, given: Any, config: Any, into: list[Any], **options: Any) -> None: ...
    def join(self, graph: CompiledStateGraph, config: Any, **options: Any) -> list[RunEvent]: ...
    def batch(self, graph: CompiledStateGraph, inputs: list[Any], config: Any = None, **options: Any) -> list[Any]: ...
    def get_state(self, graph: CompiledStateGraph, config: Any, **options: Any) -> StateSnapshot: ...
    def history(self, graph: CompiledStateGraph, config: Any, **options: Any) -> list[StateSnapshot]: ...
    def update(self, graph: CompiledStateGraph, config: Any, values: Any, as_node: str | None = None) -> dict[str, Any]: ...
    def bulk_update(self, graph: CompiledStateGraph, config: Any, supersteps: Any) -> dict[str, Any]: ...
    def branches(self, graph: CompiledStateGraph, config: Any) -> list[Branch]: ...
    def diff(self, graph: CompiledStateGraph, before: Any, after: Any) -> dict[str, Change]: ...


class Sync:
    def invoke(self, graph: CompiledStateGraph, given: Any, config: Any = None, **options: Any) -> Any:
        return graph.invoke(given, config, **options)

    def stream(self, graph: CompiledStateGraph, given: Any, config: Any = None, **options: Any) -> list[Any]:
        return list(graph.stream(given, config, **options))

    def read(self, graph: CompiledStateGraph, given: Any, config: Any, into: list[Any], **options: Any) -> None:
        """`stream`, each chunk put `into` a list as it comes."""
        for part in graph.stream(given, config, **options):
            into.append(part)  # noqa: PERF402  (what has come stays there where the run fails)

    def join(self, graph: CompiledStateGraph, config: Any, **options: Any) -> list[RunEvent]:
        return list(graph.join_stream(config, **options))

    def batch(self, graph: CompiledStateGraph, inputs: list[Any], config: Any = None, **options: Any) -> list[Any]:
        return graph.batch(inputs, config, **options)

    def get_state(self, graph: CompiledStateGraph, config: Any, **options: Any) -> StateSnapshot:
        return graph.get_state(config, **options)

    def history(self, graph: CompiledStateGraph, config: Any, **options: Any) -> list[StateSnapshot]:
        return list(graph.get_state_history(config, **options))

    def update(self, graph: CompiledStateGraph, config: Any, values: Any, as_node: str | None = None) -> dict[str, Any]:
        return graph.update_state(config, values, as_node)

    def bulk_update(self, graph: CompiledStateGraph, config: Any, supersteps: Any) -> dict[str, Any]:
        return graph.bulk_update_state(config, supersteps)

    def branches(self, graph: CompiledStateGraph, config: Any) -> list[Branch]:
        return graph.branches(config)

    def diff(self, graph: CompiledStateGraph, before: Any, after: Any) -> dict[str, Change]:
        return graph.diff(before, after)


async def _all(found: AsyncIterator[Any]) -> list[Any]:
    return [one async for one in found]


class Async:
    def invoke(self, graph: CompiledStateGraph, given: Any, config: Any = None, **options: Any) -> Any:
        return asyncio.run(graph.ainvoke(given, config, **options))

    def stream(self, graph: CompiledStateGraph, given: Any, config: Any = None, **options: Any) -> list[Any]:
        return asyncio.run(_all(graph.astream(given, config, **options)))

    def read(self, graph: CompiledStateGraph, given: Any, config: Any, into: list[Any], **options: Any) -> None:
        async def read() -> None:
            async for part in graph.astream(given, config, **options):
                into.append(part)  # noqa: PERF401  (see above)

        asyncio.run(read())

    def join(self, graph: CompiledStateGraph, config: Any, **options: Any) -> list[RunEvent]:
        return asyncio.run(_all(graph.ajoin_stream(config, **options)))

    def batch(self, graph: CompiledStateGraph, inputs: list[Any], config: Any = None, **options: Any) -> list[Any]:
        return asyncio.run(graph.abatch(inputs, config, **options))

    def get_state(self, graph: CompiledStateGraph, config: Any, **options: Any) -> StateSnapshot:
        return asyncio.run(graph.aget_state(config, **options))

    def history(self, graph: CompiledStateGraph, config: Any, **options: Any) -> list[StateSnapshot]:
        found: list[StateSnapshot] = []

        async def read() -> None:
            async for one in graph.aget_state_history(config, **options):
                found.append(one)  # noqa: PERF401  (not returned: `asyncio.run` of Python 3.11 takes the repr of what is)

        asyncio.run(read())
        return found

    def update(self, graph: CompiledStateGraph, config: Any, values: Any, as_node: str | None = None) -> dict[str, Any]:
        return asyncio.run(graph.aupdate_state(config, values, as_node))

    def bulk_update(self, graph: CompiledStateGraph, config: Any, supersteps: Any) -> dict[str, Any]:
        return asyncio.run(graph.abulk_update_state(config, supersteps))

    def branches(self, graph: CompiledStateGraph, config: Any) -> list[Branch]:
        return asyncio.run(graph.abranches(config))

    def diff(self, graph: CompiledStateGraph, before: Any, after: Any) -> dict[str, Change]:
        return asyncio.run(graph.adiff(before, after))


SYNC, ASYNC = Sync(), Async()
