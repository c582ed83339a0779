"""One node of a graph, called by itself: what tests of nodes want."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from clew.constants import START
from clew.engine.writes import Yielded
from clew.graph.node import Defaults, as_action
from clew.runtime.host import Action

if TYPE_CHECKING:
    from clew.graph.compiled import CompiledStateGraph
    from clew.graph.state import StateGraph
    from clew.store.base import BaseStore


class NodeAlone:
    """A node without the graph around it: no edges, routers, retries, breakpoints, and nothing is kept.

    It is given what it asks for as in a run: the keys of the state that it reads, its config, `runtime`, the graph's store.
    """

    def __init__(self, builder: StateGraph[Any, Any, Any, Any], name: str, store: BaseStore | None) -> None:
        self._builder, self._name, self._store = builder, name, store

    def invoke(self, input: Any, config: Any = None, **options: Any) -> Any:
        """What the node returns.

        Args:
            input: the state: a dict, or an instance of its class; reducers begin with it.
            options: as of the graph's own `invoke`, such as `context=`.

        Returns:
            What it returned, a `Command` too; of a generator all that it yielded, as a list.

        Raises:
            RuntimeError: it asks (`interrupt`), and nobody can answer. Whatever the node raises.
        """
        told: list[Any] = []
        self._graph(told.append).invoke(input, config, **options)
        return self._answer(told)

    async def ainvoke(self, input: Any, config: Any = None, **options: Any) -> Any:
        """`invoke`, awaited."""
        told: list[Any] = []
        await self._graph(told.append).ainvoke(input, config, **options)
        return self._answer(told)

    def _graph(self, tell: Callable[[Any], None]) -> CompiledStateGraph[Any, Any, Any, Any]:
        spec, one = self._builder.nodes[self._name], copy(self._builder)
        action = as_action(self._name, spec.graph) if spec.graph is not None else spec.action
        one.nodes = {self._name: replace(spec, action=_telling(action, tell), graph=None, destinations=None, own=Defaults())}
        one.defaults = Defaults()
        one.edges, one.joins, one.branches = {(START, self._name): None}, {}, {}
        return one.compile(store=self._store)

    def _answer(self, told: list[Any]) -> Any:
        if not told:
            raise RuntimeError(f"Node {self._name!r} asks for an answer: run the graph, with a checkpointer, to give it one.")
        return told[0]


def _telling(action: Action, tell: Callable[[Any], None]) -> Action:
    """The same, which tells what it returns and writes nothing."""
    plain, awaited = action.plain, action.awaited

    def called(*given: Any, **more: Any) -> None:
        assert plain is not None
        _tell(tell, plain(*given, **more))

    async def waited(*given: Any, **more: Any) -> None:
        assert awaited is not None
        _tell(tell, await awaited(*given, **more))

    return Action(action.name, plain and called, awaited and waited, action.wants)


def _tell(tell: Callable[[Any], None], returned: Any) -> None:
    tell(list(returned) if type(returned) is Yielded else returned)
