"""What users draw: `StateGraph` collects nodes and edges, and compiles them into something that runs."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Generic, Self, cast, overload

from clew.channels import Channel, merged
from clew.constants import END, START
from clew.errors import GraphError
from clew.graph.compile import program_of
from clew.graph.compiled import CompiledStateGraph
from clew.graph.node import (
    Defaults,
    NodeSpec,
    as_action,
    check_name,
    declared_destinations,
    declared_input,
    declared_targets,
    name_of,
)
from clew.graph.starting import NAMELESS
from clew.graph.typing import ContextT, InputT, OutputT, StateT
from clew.graph.validate import check_graph, check_source, check_target, stopping_at
from clew.interop.langchain import meet
from clew.runtime.attempt import Router
from clew.runtime.host import limit_of
from clew.schema import Schema, read_schema
from clew.types import CachePolicy, Join, Migration, RetryPolicy, Timeout

if TYPE_CHECKING:
    from clew.cache.base import BaseCache
    from clew.checkpoint.base import BaseCheckpointSaver, Saver
    from clew.store.base import BaseStore

Retries = RetryPolicy | Sequence[RetryPolicy]


class StateGraph(Generic[StateT, ContextT, InputT, OutputT]):
    """A graph whose nodes read and write one shared state. Every method but `compile` returns the builder.

    Args:
        state_schema: a TypedDict, a dataclass or a pydantic model. A key annotated `Annotated[T, reducer]` folds what is
            written into what is there; any other takes one write a superstep, which replaces it. A plain type such as `int` or
            `Annotated[list, operator.add]` makes a state of one value.
        context_schema: what callers pass as `context=`, for nodes to find as `runtime.context`; it is never kept.
        input_schema: the keys that an input may write. output_schema: the keys that callers get. Default: the state's. Their
            keys, and those of nodes' own schemas, belong to the graph as well.

    Raises:
        GraphError: a schema cannot be one, or contradicts another.
    """

    def __init__(
        self,
        state_schema: type[StateT],
        context_schema: type[ContextT] | None = None,
        *,
        input_schema: type[InputT] | None = None,
        output_schema: type[OutputT] | None = None,
    ) -> None:
        self.channels: dict[str, Channel] = {}
        self.schemas: dict[Any, Schema] = {}
        self.schema = self.add_schema(state_schema)
        self.input = self.add_schema(input_schema, "input") if input_schema is not None else self.schema
        self.output = self.add_schema(output_schema, "output") if output_schema is not None else self.schema
        self.context_schema = context_schema
        self.defaults = Defaults()
        self.nodes: dict[str, NodeSpec] = {}
        self._former: set[str] = set()  # names that nodes had before
        self.edges: dict[tuple[str, str], None] = {}  # a dict for its order: an edge drawn twice is one edge
        self.joins: dict[Join, None] = {}
        self.branches: dict[str, dict[str, Router]] = {}

    def add_schema(self, source: Any, role: str = "") -> Schema:
        """Makes the keys of a schema keys of the graph."""
        if source in self.schemas:
            return self.schemas[source]
        schema = read_schema(source)
        if role and schema.managed:
            raise GraphError(
                f"The {role} schema has {sorted(schema.managed)}, which the run works out: leave them to the state."
            )
        for key, channel in schema.channels.items():
            self.channels[key] = merged(key, self.channels[key], channel) if key in self.channels else channel
        self.schemas[source] = schema
        return schema

    @overload
    def add_node(
        self,
        node: str,
        action: Callable[[StateT], Any] | Any,
        *,
        defer: bool = ...,
        metadata: Mapping[str, Any] | None = ...,
        input_schema: type[Any] | None = ...,
        retry_policy: Retries | None = ...,
        cache_policy: CachePolicy | None = ...,
        error_handler: Callable[..., Any] | None = ...,
        destinations: Sequence[str] | Mapping[str, str] | None = ...,
        timeout: "Timeout | None" = ...,
        aliases: Sequence[str] = ...,
    ) -> Self: ...
    @overload
    def add_node(
        self,
        node: Callable[[StateT], Any] | Any,
        action: None = ...,
        *,
        defer: bool = ...,
        metadata: Mapping[str, Any] | None = ...,
        input_schema: type[Any] | None = ...,
        retry_policy: Retries | None = ...,
        cache_policy: CachePolicy | None = ...,
        error_handler: Callable[..., Any] | None = ...,
        destinations: Sequence[str] | Mapping[str, str] | None = ...,
        timeout: "Timeout | None" = ...,
        aliases: Sequence[str] = ...,
    ) -> Self: ...
    def add_node(
        self,
        node: Any,
        action: Any = None,
        *,
        defer: bool = False,
        metadata: Mapping[str, Any] | None = None,
        input_schema: type[Any] | None = None,
        retry_policy: Retries | None = None,
        cache_policy: CachePolicy | None = None,
        error_handler: Callable[..., Any] | None = None,
        destinations: Sequence[str] | Mapping[str, str] | None = None,
        timeout: "Timeout | None" = None,
        aliases: Sequence[str] = (),
    ) -> Self:
        """Adds a node: `add_node("name", function)`, or `add_node(function)` to call it by the function's name.

        Args:
            action: takes the state and returns what to write: a dict, an instance of the state, a `Command`, or None; a
                generator yields such updates one after the other. Plain or async, or a compiled graph, which takes the keys
                that it shares with this one and writes back its output. It may ask for more by the names of its parameters:
                `config`, `runtime`, `store`, `writer`, `previous`.
            defer: run it only when nothing else can run.
            metadata: shown in drawings, and added to the metadata of its run.
            input_schema: what it is given of the state; default: what its first parameter is annotated with, else all. Keys
                that only it has are private: no input and no output has them.
            retry_policy: one or several; the first that matches an error says whether to try again. cache_policy: whether it
                need run again for the same input; works with `compile(cache=…)`. timeout: seconds, a timedelta or a
                `TimeoutPolicy`, for one try, of a plain function as well.
            error_handler: `handler(state, error: NodeError)`, called when the last try has failed; what it returns counts as
                the node's, whose own edges are not followed then.
            destinations: where its Commands may lead, with labels where it is a mapping: for drawings, and checked. Default:
                its return annotation, `Command[Literal["a", "b"]]`.
            aliases: names that it had before; threads that were stopped at one of those go on here.

        Raises:
            GraphError: a name that is taken or reserved, something that cannot be called, a timeout that is none.
        """
        if isinstance(node, str) and action is None:
            raise GraphError(f"Node {node!r} has nothing to do: add it as `add_node({node!r}, function)`.")
        name, action = (node, action) if action is not None else (name_of(node), node)
        for taken in (name, *aliases):
            check_name(taken)
            if taken in self.nodes or taken in self._former:
                raise GraphError(f"Node `{taken}` already present: give the second one another name.")
        graph: Any = cast("Any", action) if isinstance(action, CompiledStateGraph) else None
        reads = input_schema if input_schema is not None else None if graph else declared_input(action)
        if reads is not None:
            self.add_schema(reads)
        limit_of(timeout) if timeout is not None else None
        self._former.update(aliases)
        self.nodes[name] = NodeSpec(
            given=action,
            action=as_action(name, action),
            reads=reads,
            defer=defer,
            metadata=metadata,
            destinations=_destinations(action, destinations),
            aliases=tuple(aliases),
            graph=graph,
            own=Defaults(retry=_retries(retry_policy), cache=cache_policy, handler=error_handler, timeout=timeout),
        )
        return self

    def set_node_defaults(
        self,
        *,
        retry_policy: Retries | None = None,
        cache_policy: CachePolicy | None = None,
        error_handler: Callable[..., Any] | None = None,
        timeout: "Timeout | None" = None,
    ) -> Self:
        """Says what nodes do that say nothing else themselves, those already added included; arguments as for `add_node`."""
        limit_of(timeout) if timeout is not None else None
        self.defaults = Defaults(retry=_retries(retry_policy), cache=cache_policy, handler=error_handler, timeout=timeout)
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
        path: Callable[[StateT], Any] | Any,
        path_map: Mapping[Hashable, str] | Sequence[str] | None = None,
    ) -> Self:
        """After `source` has run, `path` is called with the state and answers where to go.

        Args:
            path: answers a node name, `END`, a `Send`, or a list of those; `[]` leads nowhere. It sees the committed state
                with what `source` has just written; of it, the keys of the schema that its parameter is annotated with.
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
        reads = declared_input(path)
        view = self.add_schema(reads).view if reads is not None else None
        named[name] = Router(as_action(name, path), names, view)
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
        destinations = {name: tuple(spec.destinations) for name, spec in self.nodes.items() if spec.destinations}
        check_graph(self.nodes, self.edges, self.joins, branches, destinations)
        return self

    def compile(
        self,
        checkpointer: "BaseCheckpointSaver[Any] | bool | None" = None,
        *,
        cache: "BaseCache[Any] | None" = None,
        store: "BaseStore | None" = None,
        interrupt_before: str | Sequence[str] | None = None,
        interrupt_after: str | Sequence[str] | None = None,
        debug: bool = False,
        name: str | None = None,
        migration: Migration | None = None,
    ) -> CompiledStateGraph[StateT, ContextT, InputT, OutputT]:
        """Makes a graph that runs. Nodes and edges added later do not change it.

        Args:
            checkpointer: keeps threads; without one nothing is remembered from one call to the next. Of a graph inside another,
                which is kept as that is: None (default) begins anew each time the node around it runs, and goes on after a
                pause or a failure within; True remembers, as a thread does; False keeps nothing, and begins anew always.
            cache: holds results of nodes with a `cache_policy`. store: memory across threads, which nodes find as `store`.
            interrupt_before, interrupt_after: names of nodes at which every run stops, or `"*"`; see `stream`.
            debug: prints updates and values of every run.
            name: what the graph is called, and its memory with `checkpointer=True`; default `"LangGraph"`, which existing front
                ends look for.
            migration: how threads are read that older code has kept.

        Raises:
            GraphError: the drawing is not one of a graph; says what to mend.
            TypeError: the checkpointer, or the store, is none.

        Warns:
            ClassicSaverWarning: the checkpointer is a `BaseCheckpointSaver` of your own, which keeps whole checkpoints; once
                for each class.
        """
        self.validate()
        meet()
        for names in (interrupt_before or (), interrupt_after or ()):
            stopping_at(self.nodes, names)
        saver = checkpointer if checkpointer is None or isinstance(checkpointer, bool) else self._keep_with(checkpointer)
        if store is not None:
            _check_store(store)
        if saver or cache is not None:
            from clew.checkpoint.codec import register_schema  # late: as above

            for source in self.schemas:
                register_schema(source)
        return CompiledStateGraph(
            program_of(self, migration),
            self._as_it_is(),
            checkpointer=saver,
            store=store,
            cache=cache,
            name=name or NAMELESS,
            debug=debug,
            interrupt_before=interrupt_before or (),
            interrupt_after=interrupt_after or (),
        )

    def _as_it_is(self) -> Self:
        """A copy that drawing on does not change."""
        found = copy(self)
        found.nodes, found.edges, found.joins = dict(self.nodes), dict(self.edges), dict(self.joins)
        found._former = set(self._former)
        found.branches = {source: dict(named) for source, named in self.branches.items()}
        return found

    def _keep_with(self, checkpointer: Any) -> "Saver":
        from clew.checkpoint.base import Saver  # late: a graph that keeps nothing need not import what keeps

        if isinstance(checkpointer, Saver):
            return checkpointer
        from clew.checkpoint.foreign import adapted  # late: hardly anybody has one

        saver = adapted(checkpointer)
        if saver is None:
            raise TypeError(
                f"Invalid checkpointer {checkpointer!r}: expected a saver such as InMemorySaver() or SqliteSaver('chat.db'), "
                "or one of your own with `get_tuple`, `list`, `put` and `put_writes`."
            )
        return saver


def _retries(given: Retries | None) -> tuple[RetryPolicy, ...]:
    return () if given is None else (given,) if isinstance(given, RetryPolicy) else tuple(given)


def _destinations(action: Any, given: Sequence[str] | Mapping[str, str] | None) -> tuple[str, ...] | Mapping[str, str] | None:
    if given is None:
        return declared_destinations(action)
    return dict(given) if isinstance(given, Mapping) else tuple(given)


def _check_store(store: Any) -> None:
    from clew.store.base import BaseStore  # late: whoever has a store has imported it

    if not isinstance(store, BaseStore):
        raise TypeError(
            f"Invalid store {store!r}: expected one such as InMemoryStore() or SqliteStore('memory.db'), or a BaseStore of "
            "your own."
        )
