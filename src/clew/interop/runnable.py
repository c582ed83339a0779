"""A graph as a `Runnable` of LangChain, for whoever has chains of those. Knows a graph by its verbs only."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from clew.errors import MissingDependency

try:
    from langchain_core.runnables import Runnable
except ImportError as error:
    raise MissingDependency(
        'A graph in a chain, and its events, take langchain-core, which is not installed: type `pip install "clew[langchain]"`.'
    ) from error


class GraphRunnable(Runnable[Any, Any]):
    """Calls a graph; options beside the config are the graph's own.

    Attributes:
        graph: what is called.
    """

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.name = graph.name

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        return self.graph.invoke(input, config, **kwargs)

    async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        return await self.graph.ainvoke(input, config, **kwargs)

    def stream(self, input: Any, config: Any = None, **kwargs: Any) -> Iterator[Any]:
        return self.graph.stream(input, config, **kwargs)

    def astream(self, input: Any, config: Any = None, **kwargs: Any) -> AsyncIterator[Any]:
        return self.graph.astream(input, config, **kwargs)
