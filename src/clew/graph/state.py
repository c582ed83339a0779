"""What users draw: `StateGraph` collects nodes and edges, and compiles them into something that runs."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, cast, overload

from clew.constants import END, START
from clew.engine.plan import Plan, Station
from clew.errors import GraphError
from clew.graph.compiled import CompiledStateGraph
from clew.graph.node import as_action, check_name, declared_targets, name_of
from clew.graph.validate import check_graph, check_source, check_target
from clew.runtime.attempt import Node, Router
from clew.runtime.host import Action
from clew.runtime.loop import Program
from clew.schema import read_schema
from clew.types import Join

if TYPE_CHECKING:
    from clew.checkpoint.base import Saver


class StateGraph:
    """A graph whose nodes read and write one shared state. Every method but `compile` returns the builder.

    Args:
        state_schema: a TypedDict, a dataclass or a pydantic model. A key annotated `Annotated[T, reducer]` folds what is
            written into what is there; any other takes one write a superstep, which replaces it.

    Raises:
        GraphError: the schema cannot be one.
    """

    def __init__(self, state_schema: type[Any]) -> None:
        self.schema = read_schema(state_schema)
        self.nodes: dict[str, Action] = {}
        self.deferred: set[str] = set()
        self.edges: dict[tuple[str, str], None] = {}  # a dict for its order: an edge drawn twice is one edge
        self.joins: dict[Join, None] = {}
        self.branches: dict[str, dict[str, Router]] = {}

    @overload
    def add_node(self, node: str, action: Callable[[Any], Any] | Any, *, defer: bool = ...) -> Self: ...
    @overload
    def add_node(self, node: Callable[[Any], Any] | Any, action: None = ..., *, defer: bool = ...) -> Self: ...
    def add_node(self, node: Any, action: Any = None, *, defer: bool = False) -> Self:
        """Adds a node: `add_node("name", function)`, or `add_node(function)` to call it by the function's name.

        Args:
            action: takes the state and returns what to write: a dict, an instance of the state, a `Command`, or None.
            defer: run it only when nothing else can run.

        Raises:
            GraphError: a name that is taken or reserved, or something that cannot be called.
        """
        if isinstance(node, str) and action is None:
            raise GraphError(f"Node {node!r} has nothing to do: add it as `add_node({node!r}, function)`.")
        name, action = (node, action) if action is not None else (name_of(node), node)
        check_name(name)
        if name in self.nodes:
            raise GraphError(f"Node `{name}` already present: give the second one another name.")
        if isinstance(action, CompiledStateGraph):
            raise GraphError(f"Node {name!r} is a graph: wrap it in a function that calls its `invoke` on what it needs.")
        self.nodes[name] = as_action(name, action)
        if defer:
            self.deferred.add(name)
        return self

    def add_edge(self, start_key: str | Sequence[str], end_key: str) -> Self:
        """After `start_key` has run, `end_key` runs. From a list: once all of them have run since it last did (a join).

        Raises:
            GraphError: from END, to START, or an empty list. Names are checked by `compile`.
        """
        check_target(end_key)
        if isinstance(start_key, str):
            check_source(start_key)
            self.edges[start_key, end_key] = None
            return self
        sources = tuple(start_key)
        for source in sources:
            check_source(source)
            if source == START:
                raise GraphError(
                    f"The join {list(sources)!r} → {end_key!r} waits for START, which is always over: leave it out."
                )
        if not sources:
            raise GraphError(f"The join to {end_key!r} waits for nothing: name the nodes it is to wait for.")
        self.joins[tuple(sorted(set(sources))), end_key] = None
        return self

    def add_conditional_edges(
        self,
        source: str,
        path: Callable[[Any], Any] | Any,
        path_map: Mapping[Hashable, str] | Sequence[str] | None = None,
    ) -> Self:
        """After `source` has run, `path` is called with the state and answers where to go.

        Args:
            path: answers a node name, `END`, a `Send`, or a list of those; `[]` leads nowhere. It sees the committed state
                with what `source` has just written.
            path_map: what its answers stand for; a list where they are the names themselves. Default: its return annotation,
                where that is a `Literal`; else any node.

        Raises:
            GraphError: from END, or a second branch of the same name.
        """
        check_source(source)
        name = getattr(path, "__name__", None) or "condition"
        named = self.branches.setdefault(source, {})
        if name in named:
            raise GraphError(f"Node {source!r} already has a conditional edge {name!r}: give the second function another name.")
        declared = declared_targets(path) if path_map is None else path_map
        names: Any = declared if declared is None or isinstance(declared, Mapping) else {target: target for target in declared}
        named[name] = Router(as_action(name, path), names)
        return self

    def add_sequence(self, nodes: Sequence[Any]) -> Self:
        """Adds functions or `(name, function)` pairs as nodes that follow one another. START is not connected.

        Raises:
            GraphError: no nodes, or two of one name.
        """
        if not nodes:
            raise GraphError("The sequence is empty: name one node at least.")
        before: str | None = None
        for node in nodes:
            name, action = cast("tuple[str, Any]", node) if isinstance(node, tuple) else (name_of(node), node)
            self.add_node(name, action)
            if before is not None:
                self.add_edge(before, name)
            before = name
        return self

    def set_entry_point(self, key: str) -> Self:
        """The same as `add_edge(START, key)`."""
        return self.add_edge(START, key)

    def set_conditional_entry_point(
        self, path: Callable[[Any], Any] | Any, path_map: Mapping[Hashable, str] | Sequence[str] | None = None
    ) -> Self:
        """The same as `add_conditional_edges(START, path, path_map)`."""
        return self.add_conditional_edges(START, path, path_map)

    def set_finish_point(self, key: str) -> Self:
        """The same as `add_edge(key, END)`."""
        return self.add_edge(key, END)

    def validate(self) -> Self:
        """Checks the drawing as `compile` does. Raises GraphError."""
        branches = {source: {name: router.names for name, router in named.items()} for source, named in self.branches.items()}
        check_graph(self.nodes, self.edges, self.joins, branches)
        return self

    def compile(self, checkpointer: "Saver | None" = None, *, name: str | None = None) -> CompiledStateGraph:
        """Makes a graph that runs. Nodes and edges added later do not change it.

        Args:
            checkpointer: keeps threads; without one nothing is remembered from one call to the next.
            name: what the graph is called; default `"LangGraph"`, which existing front ends look for.

        Raises:
            GraphError: the drawing is not one of a graph; says what to mend.
            TypeError: the checkpointer is none.
        """
        self.validate()
        if checkpointer is not None:
            self._keep_with(checkpointer)
        return CompiledStateGraph(self._program(), checkpointer, name or "LangGraph", self)

    def _keep_with(self, checkpointer: Any) -> None:
        from clew.checkpoint.base import Saver  # late: a graph that keeps nothing need not import what keeps
        from clew.checkpoint.codec import register_schema

        if not isinstance(checkpointer, Saver):
            raise TypeError(
                f"Invalid checkpointer {checkpointer!r}: expected a saver such as InMemorySaver() or SqliteSaver('chat.db')."
            )
        register_schema(self.schema.source)

    def _program(self) -> Program:
        stations, nodes = dict[str, Station](), dict[str, Node]()
        edges: dict[str, list[str]] = {}
        for source, target in self.edges:
            if target != END:
                edges.setdefault(source, []).append(target)
        joins: dict[str, list[Join]] = {}
        for join in self.joins:
            for source in join[0] if join[1] != END else ():
                joins.setdefault(source, []).append(join)
        for name in (START, *self.nodes):
            stations[name] = Station(tuple(edges.get(name, ())), tuple(joins.get(name, ())))
            nodes[name] = Node(name, self.nodes.get(name), tuple(self.branches.get(name, {}).values()))
        plan = Plan(self.schema.channels, stations, frozenset(self.deferred), self.schema.build)
        return Program(plan, nodes, plan.keeps)
