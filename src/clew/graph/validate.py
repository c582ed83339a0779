"""Whether a drawing makes a graph. Every error says what was found, what there is, and how to mend it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clew.constants import END, START
from clew.errors import GraphError


def check_source(name: Any) -> None:
    if name == END:
        raise GraphError("END cannot be a start node: nothing comes after it.")


def check_target(name: Any) -> None:
    if name == START:
        raise GraphError("START cannot be an end node: to begin again, lead to the node that START leads to.")


def check_graph(
    nodes: Iterable[str],
    edges: Iterable[tuple[str, str]],
    joins: Iterable[tuple[tuple[str, ...], str]],
    branches: Mapping[str, Mapping[str, Mapping[Any, str] | None]],
    destinations: Mapping[str, Iterable[str]],
) -> None:
    """Raises GraphError for an edge, join, branch or destination that names no node, and for a graph that nothing enters.

    `branches` has per source and branch name its path_map, or None.
    """
    known = set(nodes)
    sources, targets = known | {START}, known | {END}
    for source, target in edges:
        if source not in sources:
            raise _unknown(source, known, f"The edge {source!r} → {target!r} starts from")
        if target not in targets:
            raise _unknown(target, known, f"The edge {source!r} → {target!r} ends at")
    for joined, target in joins:
        for source in joined:
            if source not in known:
                raise _unknown(source, known, f"The join {list(joined)!r} → {target!r} waits for")
        if target not in targets:
            raise _unknown(target, known, f"The join {list(joined)!r} → {target!r} ends at")
    for source, named in branches.items():
        for branch, names in named.items():
            if source not in sources:
                raise _unknown(source, known, f"The conditional edge {branch!r} starts from")
            for target in names.values() if names else ():
                if target not in targets:
                    raise _unknown(target, known, f"The conditional edge {branch!r} of {source!r} leads to")
    for source, names in destinations.items():
        for target in names:
            if target not in targets:
                raise _unknown(target, known, f"A Command of node {source!r} is declared to lead to")
    if START not in {source for source, _ in edges} | set(branches):
        raise GraphError(
            "Graph must have an entrypoint: add at least one edge from START to another node, as in "
            f"`builder.add_edge(START, {next(iter(sorted(known)), 'my_node')!r})`."
        )


def renamed_keys(keys: Iterable[str], aliases: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Old names of keys, and what they are called now.

    Raises:
        GraphError: a key that the state does not have, an old name that it still has, or one that two keys claim.
    """
    known, renamed = set(keys), dict[str, str]()
    for key, names in aliases.items():
        if key not in known:
            raise GraphError(
                f"The migration gives {key!r} other names, and the state has no such key: expected one of {sorted(known)}. The "
                "name of now comes first, as in `Migration(aliases={'new': ['old']})`."
            )
        if isinstance(names, str):
            raise GraphError(
                f"The aliases of {key!r} are {names!r}: expected a list of names, type `{{{key!r}: [{names!r}]}}`."
            )
        for name in names:
            if name in known:
                raise GraphError(
                    f"The alias {name!r} of {key!r} is a key of the state itself, whose values are its own: expected a name "
                    f"that no key has any more. Leave {name!r} out of the aliases, or out of the state."
                )
            if name in renamed:
                raise GraphError(
                    f"Both {renamed[name]!r} and {key!r} have the alias {name!r}: expected one key for each old name. Take it "
                    "out of one of them, and let a node copy the value where both need it."
                )
            renamed[name] = key
    return renamed


def stopping_at(nodes: Mapping[str, Any], names: str | Sequence[str]) -> frozenset[str]:
    """The nodes of a breakpoint, by their old names too. Raises GraphError where one of them is none."""
    if names == "*":
        names = tuple(nodes)
    found = frozenset((names,) if isinstance(names, str) else names)
    for name in sorted(found - nodes.keys()):
        raise GraphError(f"A breakpoint names {name!r}, which is not a node: name some of {sorted(nodes)}, or '*' for all.")
    return found.union(*[nodes[name].aliases for name in found])


def _unknown(name: str, known: set[str], what: str) -> GraphError:
    return GraphError(
        f"{what} {name!r}, which is not a node: add it with `builder.add_node({name!r}, …)`, or name one of {sorted(known)}."
    )
