"""From a drawing to a program: everything that can be decided once is decided here, so that no superstep asks again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from clew.constants import END, START, TAG_HIDDEN
from clew.engine.plan import Plan, Station
from clew.graph.node import Defaults, NodeSpec, as_action
from clew.graph.validate import renamed_keys
from clew.runtime.attempt import Node, Policies, Program
from clew.runtime.host import Action, limit_of
from clew.schema import View, checker, fields_of
from clew.types import Join, Migration, Task

if TYPE_CHECKING:
    from clew.graph.compiled import CompiledStateGraph
    from clew.graph.state import StateGraph

NOTHING_SAID: Final = Defaults()


def program_of(builder: "StateGraph[Any, Any, Any, Any]", migration: Migration | None = None) -> Program:
    """The builder must have been validated. Raises GraphError where the migration is none of this graph's."""
    renamed = renamed_keys(builder.channels, migration.aliases) if migration else {}
    edges: dict[str, list[str]] = {}
    for source, target in builder.edges:
        if target != END:
            edges.setdefault(source, []).append(target)
    joins: dict[str, list[Join]] = {}
    waits: dict[str, list[str]] = {}
    for join in builder.joins:
        if join[1] != END:
            waits.setdefault(join[1], []).append(f"join:{'+'.join(join[0])}:{join[1]}")
            for source in join[0]:
                joins.setdefault(source, []).append(join)
    state = builder.schema.view
    views = {source: schema.view for source, schema in builder.schemas.items()}
    deferred = frozenset(name for name, spec in builder.nodes.items() if spec.defer)
    tasks = {name: Task(name) for name in (START, *builder.nodes)}

    def station(name: str) -> Station:
        leads, joined = tuple(edges.get(name, ())), tuple(joins.get(name, ()))
        depends = joined or not deferred.isdisjoint(leads)
        return Station(tasks[name], leads, joined, None if depends else tuple([tasks[target] for target in sorted(leads)]))

    stations = {name: station(name) for name in tasks}
    nodes: dict[str, Node] = {START: Node(START, None, state, _routers(builder, START), hidden=True)}
    aliases: dict[str, str] = {}
    for name, spec in builder.nodes.items():
        view = views[spec.reads] if spec.reads is not None else state
        nodes[name] = Node(
            name,
            spec.action if spec.graph is None else _inside(builder, spec),
            view if spec.graph is None or spec.reads is not None else _shared(builder, spec.graph, state),
            _routers(builder, name),
            _policies(builder, name, spec),
            spec.metadata,
            (f"branch:to:{name}", *sorted(waits.get(name, ()))),
            TAG_HIDDEN in _tags(spec.given),
            spec.graph is not None,
        )
        for alias in spec.aliases:
            aliases[alias], stations[alias], nodes[alias] = name, stations[name], nodes[name]
    plan = Plan(
        builder.channels,
        stations,
        deferred,
        state,
        frozenset(builder.input.channels),
        builder.output.view,
        aliases,
        checker(builder.schema.source),
        renamed=renamed,
    )
    return Program(plan, nodes, plan.keeps)


def _routers(builder: "StateGraph[Any, Any, Any, Any]", name: str) -> tuple[Any, ...]:
    return tuple(builder.branches.get(name, {}).values())


def _tags(given: Any) -> Sequence[str]:
    """The tags that a Runnable or a graph was given by `with_config`."""
    config = getattr(given, "config", None)
    return (config.get("tags") or ()) if isinstance(config, dict) else ()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _policies(builder: "StateGraph[Any, Any, Any, Any]", name: str, spec: NodeSpec) -> Policies | None:
    own, defaults = spec.own, builder.defaults
    if own == defaults == NOTHING_SAID:
        return None
    timeout = own.timeout if own.timeout is not None else defaults.timeout
    handler = own.handler or defaults.handler
    found = Policies(
        own.retry or defaults.retry,
        own.cache or defaults.cache,
        None if timeout is None else limit_of(timeout),
        None if handler is None else as_action(f"__error_handler__{name}", handler, ("error",)),
    )
    kind = spec.given if hasattr(spec.given, "__qualname__") else cast("Any", type(spec.given))
    return found._replace(known_as=("clew", f"{kind.__module__}.{kind.__qualname__}", name))


# -- graphs as nodes ------------------------------------------------------------------------------------------------


def _shared(builder: "StateGraph[Any, Any, Any, Any]", graph: "CompiledStateGraph[Any, Any, Any, Any]", state: View) -> View:
    """What a graph is given of the state around it: the keys that both have, and no more."""
    if state.root or graph.program.plan.root:
        return replace(state, build=None)
    given = graph.program.plan.given
    return View(tuple(key for key in builder.channels if key in given))


def _inside(builder: "StateGraph[Any, Any, Any, Any]", spec: NodeSpec) -> Action:
    """A graph as a node: of what it returns, the keys that the graph around it has are its update."""
    action, channels = spec.action, builder.channels

    def kept(returned: Any) -> Any:
        if builder.schema.root or not isinstance(returned, Mapping):
            return returned
        return {key: value for key, value in cast("Mapping[str, Any]", returned).items() if key in channels}

    def plain(state: Any, **extra: Any) -> Any:
        return kept(cast("Callable[..., Any]", action.plain)(_as_input(state), **extra))

    async def awaited(state: Any, **extra: Any) -> Any:
        return kept(await cast("Callable[..., Any]", action.awaited)(_as_input(state), **extra))

    return replace(action, plain=plain, awaited=awaited, wants=())


def _as_input(state: Any) -> Any:
    """A Send may bring an instance of a schema."""
    return cast("Any", state) if isinstance(state, Mapping) else fields_of(state) or state
