"""A graph as a drawing: nodes and edges as data, read off a compiled graph, and the ways to show them.

How it is shown is elsewhere (`mermaid`, `textual`, `layout`, `picture`), and imported when it is asked for: a drawing as data,
as Mermaid, JSON, text or SVG needs nothing installed. Nothing here runs a node, a router or the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from clew.constants import END, START
from clew.errors import GraphError

if TYPE_CHECKING:
    from clew.graph.structure import Structure

INTO: Final = ":"  # parts the names in the id of a node that is inside another: `parent:child`
SOMEWHERE: Final = "?"  # the label of where a router leads that does not say where


@dataclass(frozen=True, slots=True)
class DrawnNode:
    """A node. `id` is its path from the outermost graph, `name` what its own graph calls it, `data` what it runs."""

    id: str
    name: str
    data: Any = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class DrawnEdge:
    """An edge between two ids. `data` is its label; `conditional` whether it is only sometimes taken."""

    source: str
    target: str
    data: str | None = None
    conditional: bool = False


@dataclass(slots=True)
class Drawing:
    """What `get_graph` returns. Notebooks show it by themselves.

    Attributes:
        nodes: by id, in the order in which they were added, START first and END after the graph's own.
        edges: solid ones and, `conditional`, dotted ones.
    """

    nodes: dict[str, DrawnNode] = field(default_factory=dict[str, DrawnNode])
    edges: list[DrawnEdge] = field(default_factory=list[DrawnEdge])

    def first_node(self) -> DrawnNode | None:
        """START."""
        return self.nodes.get(START)

    def last_node(self) -> DrawnNode | None:
        """END."""
        return self.nodes.get(END)

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """Nodes and edges as plain dicts; metadata values are handed on as they are."""
        return {"nodes": [_node_json(node) for node in self.nodes.values()], "edges": [_edge_json(one) for one in self.edges]}

    def draw_mermaid(
        self,
        *,
        with_styles: bool = True,
        curve_style: Any = "linear",
        node_colors: Any = None,
        wrap_label_n_words: int = 9,
        frontmatter_config: Mapping[str, Any] | None = None,
    ) -> str:
        """The drawing as Mermaid text, which GitHub and many editors show as a picture.

        Args:
            with_styles: False leaves out node shapes, colours and front matter.
            curve_style: `"linear"`, `"basis"`, `"step"`, … or an enum of those.
            node_colors: `{"default": css, "first": css, "last": css}`, or an object with such attributes.
            wrap_label_n_words: how many words of a label stand on one line.
            frontmatter_config: what else the front matter says, as in `{"config": {"theme": "neutral"}}`.

        Raises:
            GraphError: an argument that Mermaid would not know.
        """
        from clew.graph.mermaid import mermaid

        return mermaid(self, with_styles, curve_style, node_colors, wrap_label_n_words, frontmatter_config)

    def draw_svg(self) -> str:
        """The drawing as an SVG picture."""
        from clew.graph.picture import svg

        return svg(self)

    def draw_png(self, output_file_path: str | Path | None = None, **ignored: Any) -> bytes:
        """The drawing as a PNG picture, drawn here: nothing is sent anywhere.

        Args:
            output_file_path: where to write it as well.
            ignored: options of drawing services (`draw_method`, `background_color`, …), so that calls can stay as they are.

        Raises:
            MissingDependency: Pillow is not installed.
        """
        from clew.graph.picture import png

        picture = png(self)
        if output_file_path is not None:
            Path(output_file_path).write_bytes(picture)
        return picture

    def draw_mermaid_png(self, output_file_path: str | Path | None = None, **ignored: Any) -> bytes:
        """The same as `draw_png`."""
        return self.draw_png(output_file_path, **ignored)

    def draw_ascii(self) -> str:
        """The drawing as text of fixed width. Inlined graphs have no frame here: their nodes are called `parent:child`."""
        from clew.graph.textual import text

        return text(self)

    def print_ascii(self) -> None:
        """Prints `draw_ascii()`."""
        print(self.draw_ascii())

    def _repr_svg_(self) -> str | None:
        try:
            return self.draw_svg()
        except Exception:  # a notebook then shows the repr
            return None

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return mimebundle(self)


def path_of(node: str) -> tuple[str, ...]:
    """The names of the inlined graphs that a node is in, outermost first."""
    return tuple(node.split(INTO)[:-1])


def home_of(source: str, target: str) -> tuple[str, ...]:
    """The path of the innermost graph that has both ends of an edge."""
    one, other = path_of(source), path_of(target)
    depth = next(
        (at for at, (left, right) in enumerate(zip(one, other, strict=False)) if left != right), min(len(one), len(other))
    )
    return one[:depth]


def mimebundle(shown: Structure | Drawing) -> dict[str, Any]:
    """What a notebook shows of a drawing or a compiled graph. Never raises: at worst it is the repr."""
    found: dict[str, Any] = {"text/plain": repr(shown)}
    try:
        drawing = shown if isinstance(shown, Drawing) else draw_graph(shown)
        found["image/svg+xml"] = drawing.draw_svg()
    except Exception:
        return found
    return found


def draw_graph(graph: Structure, xray: bool | int = False) -> Drawing:
    """Draws a compiled graph.

    Args:
        xray: True inlines the graphs that are its nodes, all the way down; a number, so many levels.

    Raises:
        GraphError: `xray` is none of these.
    """
    if not isinstance(xray, int) or xray < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise GraphError(f"xray={xray!r}: expected True, False, or how many levels to look into, as in `get_graph(xray=1)`.")
    return _draw(graph, None if xray is True else int(xray))


# -- reading a compiled graph -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """What a drawing needs to know of a node."""

    data: Any
    metadata: dict[str, Any]
    destinations: Mapping[str, str]  # target -> label
    graph: Any


@dataclass(frozen=True, slots=True)
class Plan:
    """What a drawing needs to know of a graph; `routes` has for each router its source and its label -> target, or None."""

    parts: dict[str, Part]
    edges: list[tuple[str, str]]
    routes: list[tuple[str, Mapping[Any, str] | None]]


def read_plan(graph: Structure) -> Plan:
    """The one place that knows how a compiled graph keeps its nodes and edges."""
    builder = graph.builder
    parts = dict[str, Part]()
    for name, spec in builder.nodes.items():
        metadata = {**(spec.metadata or {}), **({"defer": True} if spec.defer else {})}
        stops = {"before": graph.interrupt_before, "after": graph.interrupt_after}
        if pauses := [when for when, names in stops.items() if names != "*" and name in names]:
            metadata["__interrupt"] = ",".join(pauses)
        declared = spec.destinations or ()
        targets = declared if isinstance(declared, Mapping) else dict.fromkeys(declared, "")
        labels = {target: str(label or target) for target, label in targets.items()}
        parts[name] = Part(spec.graph if spec.graph is not None else spec.given, metadata, labels, spec.graph)
    edges = [*builder.edges, *((source, target) for sources, target in builder.joins for source in sources)]
    routes = [(source, router.names) for source, named in builder.branches.items() for router in named.values()]
    return Plan(parts, edges, routes)


def _draw(graph: Structure, depth: int | None) -> Drawing:
    plan = read_plan(graph)
    drawing = Drawing({START: DrawnNode(START, START, START)}, _edges(plan))
    for name, part in plan.parts.items():
        drawing.nodes[name] = DrawnNode(name, name, part.data, part.metadata or None)
    drawing.nodes[END] = DrawnNode(END, END)
    for name, part in plan.parts.items():
        if part.graph is not None and depth != 0:
            _inline(drawing, name, _draw(part.graph, None if depth is None else depth - 1))
    return drawing


def _edges(plan: Plan) -> list[DrawnEdge]:
    """By source and target; those that lead to END whatever happens come last."""
    found = dict[DrawnEdge, None]()
    for source, target in plan.edges:
        found[DrawnEdge(source, target)] = None
    for source, names in plan.routes:
        for label, target in {SOMEWHERE: END}.items() if names is None else names.items():
            found[DrawnEdge(source, target, _label(label, target), True)] = None
    for name, part in plan.parts.items():
        for target, label in part.destinations.items():
            found[DrawnEdge(name, target, _label(label, target), True)] = None
    leading = {edge.source for edge in found}
    for name in plan.parts:
        if name not in leading:
            found[DrawnEdge(name, END)] = None
    return sorted(found, key=_rank)


def _rank(edge: DrawnEdge) -> tuple[bool, str, str, bool, str]:
    return edge.target == END and not edge.conditional, edge.source, edge.target, edge.conditional, edge.data or ""


def _label(label: Any, target: str) -> str | None:
    return None if str(label) == target else str(label)


def _inline(drawing: Drawing, name: str, inner: Drawing) -> None:
    """Puts `inner` in the place of a node. Its START and END go where they say no more than the edge that led to the node."""
    into, out = _entry(inner), _exit(inner)
    prefix = name + INTO
    del drawing.nodes[name]
    for node in inner.nodes.values():
        if node.id not in (START, END) or node.id in (into, out):
            drawing.nodes[prefix + node.id] = replace(node, id=prefix + node.id)
    drawing.edges = [
        replace(
            edge,
            source=prefix + out if edge.source == name else edge.source,
            target=prefix + into if edge.target == name else edge.target,
        )
        for edge in drawing.edges
    ]
    for edge in inner.edges:
        if (edge.source != START or into == START) and (edge.target != END or out == END):
            drawing.edges.append(replace(edge, source=prefix + edge.source, target=prefix + edge.target))


def _entry(inner: Drawing) -> str:
    leaving = [edge for edge in inner.edges if edge.source == START]
    if len(leaving) != 1 or leaving[0].data is not None or leaving[0].target == END:
        return START
    first = leaving[0].target
    return first if sum(edge.target == first for edge in inner.edges) == 1 else START


def _exit(inner: Drawing) -> str:
    coming = [edge for edge in inner.edges if edge.target == END]
    if len(coming) != 1 or coming[0].data is not None or coming[0].source == START:
        return END
    last = coming[0].source
    return last if sum(edge.source == last for edge in inner.edges) == 1 else END


# -- JSON -------------------------------------------------------------------------------------------------------------


def _node_json(node: DrawnNode) -> dict[str, Any]:
    found: dict[str, Any] = {"id": node.id}
    if node.data is not None:
        found |= {"type": "runnable", "data": {"id": list(_address(node.data)), "name": node.id}}
    if node.metadata:
        found["metadata"] = dict(node.metadata)
    return found


def _address(data: Any) -> Iterator[str]:
    """Where the code of a node is, as the parts of a dotted path."""
    if data == START:
        yield from ("clew", "graph", "START")
        return
    named: Any = data if hasattr(data, "__qualname__") else cast("Any", type(data))
    yield from str(getattr(named, "__module__", None) or "__main__").split(".")
    yield str(named.__qualname__)


def _edge_json(edge: DrawnEdge) -> dict[str, Any]:
    found: dict[str, Any] = {"source": edge.source, "target": edge.target}
    if edge.data is not None:
        found["data"] = edge.data
    if edge.conditional:
        found["conditional"] = True
    return found
