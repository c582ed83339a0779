"""The verbs of a graph that say what it is made of: drawings, and the graphs inside it. Nothing runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from clew.graph.alone import NodeAlone

if TYPE_CHECKING:
    from clew.graph.draw import Drawing
    from clew.graph.state import StateGraph
    from clew.store.base import BaseStore


class Structure:
    """What `CompiledStateGraph` can say about itself."""

    builder: StateGraph[Any, Any, Any, Any]
    interrupt_before: str | Sequence[str]
    interrupt_after: str | Sequence[str]
    store: BaseStore | None

    @property
    def nodes(self) -> dict[str, NodeAlone]:
        """The nodes by their names, each to be called by itself: `graph.nodes["plan"].invoke({"task": "…"})`."""
        return {name: NodeAlone(self.builder, name, self.store) for name in self.builder.nodes}

    def get_subgraphs(self, *, namespace: str | None = None, recurse: bool = False) -> Iterator[tuple[str, Structure]]:
        """The graphs that are nodes of this one, by name; with `recurse` those within them too, as `outer|inner`.

        Args:
            namespace: only the one of this name. (A graph that a function of yours calls is not known before it does.)
        """
        for name, spec in self.builder.nodes.items():
            if spec.graph is None or (namespace is not None and namespace.partition("|")[0] != name):
                continue
            inside = namespace[len(name) + 1 :] if namespace is not None else None
            if not inside:
                yield name, spec.graph
            if recurse or inside:
                for inner, graph in spec.graph.get_subgraphs(namespace=inside or None, recurse=recurse):
                    yield f"{name}|{inner}", graph

    async def aget_subgraphs(
        self, *, namespace: str | None = None, recurse: bool = False
    ) -> AsyncIterator[tuple[str, Structure]]:
        """`get_subgraphs`, as an async iterator."""
        for found in self.get_subgraphs(namespace=namespace, recurse=recurse):
            yield found

    def get_graph(self, config: Any = None, *, xray: bool | int = False) -> Drawing:
        """The graph as a drawing: nodes and edges as data, Mermaid, SVG, PNG, text.

        Args:
            config: taken so that calls can stay as they are; a drawing does not depend on it.
            xray: True draws the graphs that are nodes from the inside, all the way down; a number, so many levels.

        Raises:
            GraphError: `xray` is none of these.
        """
        from clew.graph.draw import draw_graph  # late: few runs are drawn

        return draw_graph(self, xray)

    async def aget_graph(self, config: Any = None, *, xray: bool | int = False) -> Drawing:
        """`get_graph`, awaited."""
        return self.get_graph(config, xray=xray)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        from clew.graph.draw import mimebundle

        return mimebundle(self)
