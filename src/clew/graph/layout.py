"""Where everything in a picture stands: shapes with their lines of text, and paths with their labels. Nothing is painted here.

Each graph is laid out by itself, the inner ones first; inside the outer one it is a box with a port for every edge that comes
or goes. So no edge passes through a node, and no label lies on another.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from clew.constants import END, START
from clew.graph.draw import home_of, path_of
from clew.graph.layers import Link, Spot, bend, flip, order, rank, settle, spread

if TYPE_CHECKING:
    from clew.graph.draw import Drawing, DrawnNode

NAME: Final = 14.0
SMALL: Final = 11.0
LABEL: Final = 12.0
LINE: Final = 1.35  # of a font's size
GAP: Final = 26.0  # between neighbours
STEP: Final = 24.0  # between ranks, of which there are two from node to node
STUB: Final = 9.0  # how far an edge goes straight from a node before it bends
PAD: Final = 14.0
TITLE: Final = 20.0
LOOP: Final = 30.0
SPREAD: Final = 18.0  # between two edges that meet a node on the same side
TITLED: Final = "|title"

Measure = Callable[[str, float], float]  # the width of a line of text, in a font of this size
Point = tuple[float, float]


@dataclass(slots=True)
class Shape:
    """A node or a box. `kind` is `"node"`, `"end"` (START and END) or `"box"`; `lines` the name and what is below, smaller."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    lines: list[str]

    def moved(self, dx: float, dy: float) -> Shape:
        return replace(self, x=self.x + dx, y=self.y + dy)


@dataclass(slots=True)
class Path:
    """An edge: through `points`, vertically at each, with the arrow at the last. A `loop` goes around from first to last."""

    points: list[Point]
    dotted: bool = False
    loop: bool = False
    boxed: bool = False  # whether its label lies on a box
    label: list[str] = field(default_factory=list[str])
    label_at: Point = (0.0, 0.0)

    def moved(self, dx: float, dy: float) -> Path:
        at = self.label_at
        return replace(self, points=[(x + dx, y + dy) for x, y in self.points], label_at=(at[0] + dx, at[1] + dy))


@dataclass(slots=True)
class Scene:
    """A laid out drawing. Boxes come before what is in them."""

    width: float
    height: float
    shapes: list[Shape]
    paths: list[Path]


@dataclass(frozen=True, slots=True)
class Bundle:
    """The edges from one node to another, which are drawn as one."""

    source: str
    target: str
    dotted: bool
    label: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Port:
    """Where a bundle passes the border of a box: at its top or bottom, on the way to or from `inner`."""

    bundle: int
    inner: str
    top: bool
    entering: bool


@dataclass(slots=True)
class Level:
    """One graph, laid out around an origin of its own. `ports` has the x of each bundle that passes its border."""

    left: float = 0.0
    right: float = 0.0
    height: float = 0.0
    shapes: list[Shape] = field(default_factory=list[Shape])
    paths: dict[int, Path] = field(default_factory=dict[int, Path])
    ports: dict[int, float] = field(default_factory=dict[int, float])


def arrange(drawing: Drawing, measure: Measure) -> Scene:
    """Lays out a drawing for a font that `measure` knows."""
    level = _Layout(drawing, measure).level((), ())
    dx, dy = PAD - level.left, PAD
    return Scene(
        level.right - level.left + 2 * PAD,
        level.height + 2 * PAD,
        [shape.moved(dx, dy) for shape in level.shapes],
        [path.moved(dx, dy) for path in level.paths.values()],
    )


def bundles(drawing: Drawing, wrap: int) -> list[Bundle]:
    """The edges of a drawing, those between the same two nodes as one: solid if one of them is, with all their labels."""
    found = dict[tuple[str, str], Bundle]()
    for edge in drawing.edges:
        lines = tuple(textwrap.wrap(edge.data, wrap)) if edge.data else ()
        key = edge.source, edge.target
        if key in found:
            before = found[key]
            found[key] = Bundle(*key, before.dotted and edge.conditional, before.label + lines)
        else:
            found[key] = Bundle(*key, edge.conditional, lines)
    return list(found.values())


class _Layout:
    def __init__(self, drawing: Drawing, measure: Measure) -> None:
        self.nodes = drawing.nodes
        self.bundles = bundles(drawing, 26)
        self.measure = measure

    def level(self, within: tuple[str, ...], ports: Sequence[Port]) -> Level:
        """Lays out the graph whose nodes' ids begin with `within`."""
        items = self._items(within, ports)
        links, loops = self._links(within)
        flip(list(items), list(links.values()))
        spots = {name: Spot() for name in items}
        rank(spots, list(links.values()))
        inside = {
            name: self.level((*within, _last(name)), self._ports(name, links, ports)) for name in items if items[name] is None
        }
        shapes = {name: self._shape(node) for name, node in items.items() if node is not None}
        for name, spot in spots.items():
            self._size(spot, inside.get(name), shapes.get(name), loops.get(name))
        self._border(within, ports, spots, links, items)
        passing = {port.bundle for port in ports}
        for number, link in links.items():
            link.room = (0.0, 0.0) if number in passing else self.room(self.bundles[number].label)
            upper, lower = inside.get(link.upper), inside.get(link.lower)
            link.dx = (upper.ports[number] if upper else 0.0), (lower.ports[number] if lower else 0.0)
        bend(spots, list(links.values()), 2.0)
        rows = order(spots, list(links.values()))
        if TITLED in spots:
            rows[0].sort(key=lambda name: name != TITLED)
        settle(spots, rows, list(links.values()), GAP)
        spread(spots, links.values(), {name: shape.width - 1.6 * PAD for name, shape in shapes.items()}, SPREAD)
        settle(spots, rows, list(links.values()), GAP)
        return _Finish(self, within, spots, rows, links, loops, inside, shapes).level(ports)

    # -- what there is --------------------------------------------------------------------------------------------------

    def _items(self, within: tuple[str, ...], ports: Sequence[Port]) -> dict[str, DrawnNode | None]:
        """What stands directly in a graph; None for a box. Where one enters comes first, and END last."""
        depth = len(within) + 1
        names = dict.fromkeys(":".join(node.split(":")[:depth]) for node in self.nodes if path_of(node)[: depth - 1] == within)
        entered = {_item(port.inner, within) for port in ports if port.entering}
        first = sorted(names, key=lambda name: (_last(name) == END, _last(name) != START, name not in entered))
        return {name: self.nodes.get(name) for name in first}

    def _links(self, within: tuple[str, ...]) -> tuple[dict[int, Link], dict[str, int]]:
        links, loops = dict[int, Link](), dict[str, int]()
        for number, bundle in enumerate(self.bundles):
            if home_of(bundle.source, bundle.target) != within:
                continue
            upper, lower = _item(bundle.source, within), _item(bundle.target, within)
            if upper == lower:
                loops[upper] = number
            else:
                links[number] = Link(upper, lower)
        return links, loops

    def _ports(self, name: str, links: Mapping[int, Link], ports: Sequence[Port]) -> list[Port]:
        """The ports of a box: of the links that end at it, and of what passes this graph's own border on its way to it."""
        found: list[Port] = []
        for number, link in links.items():
            bundle = self.bundles[number]
            if name == link.upper:
                found.append(Port(number, bundle.target if link.flipped else bundle.source, False, link.flipped))
            elif name == link.lower:
                found.append(Port(number, bundle.source if link.flipped else bundle.target, True, not link.flipped))
        depth = name.count(":") + 1
        return found + [port for port in ports if ":".join(port.inner.split(":")[:depth]) == name]

    def _border(
        self,
        within: tuple[str, ...],
        ports: Sequence[Port],
        spots: dict[str, Spot],
        links: dict[int, Link],
        items: Mapping[str, DrawnNode | None],
    ) -> None:
        """Adds the ports and the title of a box, above and below everything else."""
        if not within:
            return
        last = max(spots[name].rank for name in items) + 1
        width = self.measure(within[-1], LABEL)
        spots[TITLED] = Spot(0.0, width, 0.0, -1)
        for port in ports:
            at, item = f"|{port.bundle}", _item(port.inner, within)
            spots[at] = Spot(rank=-1 if port.top else last)
            ends = (at, item) if port.top else (item, at)
            links[port.bundle] = Link(*ends, flipped=port.top != port.entering)

    # -- sizes ----------------------------------------------------------------------------------------------------------

    def _shape(self, node: DrawnNode) -> Shape:
        lines = [node.name.replace("\n", " "), *(f"{key} = {_shown(value)}" for key, value in (node.metadata or {}).items())]
        widths = [self.measure(line, SMALL if at else NAME) for at, line in enumerate(lines)]
        height = NAME * LINE + (len(lines) - 1) * SMALL * LINE + (6 if len(lines) > 1 else 0) + PAD
        return Shape("end" if node.name in (START, END) else "node", 0.0, 0.0, max(widths) + 2 * PAD, height, lines)

    def _size(self, spot: Spot, inner: Level | None, shape: Shape | None, loop: int | None) -> None:
        if inner is not None:
            spot.left, spot.right, spot.height = -inner.left, inner.right, inner.height
        elif shape is not None:
            spot.left = spot.right = shape.width / 2
            spot.height = shape.height
        if loop is not None:
            width, height = self.room(self.bundles[loop].label)
            spot.right += LOOP + width
            spot.height = max(spot.height, height)

    def room(self, label: Sequence[str]) -> tuple[float, float]:
        if not label:
            return 0.0, 0.0
        return max(self.measure(line, LABEL) for line in label) + 8, len(label) * LABEL * LINE + 2


class _Finish:
    """The last part of laying out a level: its y, and from all that its shapes and paths."""

    def __init__(
        self,
        layout: _Layout,
        within: tuple[str, ...],
        spots: dict[str, Spot],
        rows: list[list[str]],
        links: dict[int, Link],
        loops: dict[str, int],
        inside: dict[str, Level],
        shapes: dict[str, Shape],
    ) -> None:
        self.layout, self.within, self.spots, self.rows = layout, within, spots, rows
        self.links, self.loops, self.inside, self.shapes = links, loops, inside, shapes
        self.bands: list[tuple[float, float]] = []

    def level(self, ports: Sequence[Port]) -> Level:
        height = self._stack()
        side = PAD if self.within else 0.0
        left = min(spot.x - spot.left for name, spot in self.spots.items() if name != TITLED) - side
        right = max(spot.x + spot.right for name, spot in self.spots.items() if name != TITLED) + side
        found = Level(left, right, height, ports={port.bundle: self.spots[f"|{port.bundle}"].x for port in ports})
        if TITLED in self.spots:
            title = self.spots[TITLED]
            found.left = min(left, title.x - 8.0)
            found.right = max(right, title.x + title.right + 8.0)
            found.shapes.append(Shape("box", found.left, 0.0, found.right - found.left, height, [self.within[-1]]))
        for name, shape in self.shapes.items():
            spot = self.spots[name]
            found.shapes.append(shape.moved(spot.x - shape.width / 2, spot.y + (spot.height - shape.height) / 2))
        for name, inner in self.inside.items():
            spot = self.spots[name]
            found.shapes += [shape.moved(spot.x, spot.y) for shape in inner.shapes]
        self._paths(found)
        return found

    def _stack(self) -> float:
        """Gives every rank its band of y, and returns the height of all."""
        at = 0.0
        for place, row in enumerate(self.rows):
            if place:
                at += self._step(place)
            height = max((self.spots[name].height for name in row), default=0.0)
            self.bands.append((at, at + height))
            for name in row:
                self.spots[name].y = at + (height - self.spots[name].height) / 2
            at += height
        real = [place for place, row in enumerate(self.rows) if any(name in self.shapes or name in self.inside for name in row)]
        return at + (PAD if self.within and real[-1] == len(self.rows) - 1 else 0.0)

    def _step(self, place: int) -> float:
        """What is left between a rank and the one before: more where edges go far to the side."""
        far, titled = 0.0, TITLED in self.spots and place == 1
        upper, lower = set(self.rows[place - 1]), set(self.rows[place])
        for link in self.links.values():
            way = link.way()
            for one, other in pairwise(way):
                if one in upper and other in lower:
                    far = max(far, abs(self.spots[one].x - self.spots[other].x))
        return max(STEP, min(far * 0.22, 3 * STEP), TITLE + PAD if titled else 0.0)

    def _paths(self, found: Level) -> None:
        pieces = {number: self._piece(link) for number, link in self.links.items()}
        for name, inner in self.inside.items():
            spot = self.spots[name]
            for number, path in inner.paths.items():
                moved = path.moved(spot.x, spot.y)
                if (piece := pieces.get(number)) is None:
                    found.paths[number] = moved
                elif name == (self.links[number].lower if self.links[number].flipped else self.links[number].upper):
                    piece.points = moved.points + piece.points
                else:
                    piece.points = piece.points + moved.points
        for number, piece in pieces.items():
            bundle = self.layout.bundles[number]
            piece.dotted, piece.label, piece.boxed = bundle.dotted, list(bundle.label), bool(self.within)
            found.paths[number] = piece
        for name, number in self.loops.items():
            found.paths[number] = self._loop(name, number)

    def _piece(self, link: Link) -> Path:
        upper, lower = self.spots[link.upper], self.spots[link.lower]
        first = self.rows[0]
        base = self.spots[first[0]].rank
        start, end = upper.x + link.dx[0], lower.x + link.dx[1]
        foot, head = self._edges(link.upper), self._edges(link.lower)
        points = [(start, foot[1]), (start, self.bands[upper.rank - base][1] + (STUB if upper.rank % 2 == 0 else 0))]
        for at, name in enumerate(link.bends):
            spot = self.spots[name]
            top, bottom = self.bands[spot.rank - base]
            after = self.spots[link.bends[at + 1]].x if at + 1 < len(link.bends) else end
            if spot.rank % 2 == 0:
                points += [(spot.x, top - STUB), (spot.x, bottom + STUB)]
            elif not self._is_free(name, points[-1][0], after):
                points += [(spot.x, top), (spot.x, bottom)]
        points += [(end, self.bands[lower.rank - base][0] - (STUB if lower.rank % 2 == 0 else 0)), (end, head[0])]
        path = Path(points[::-1] if link.flipped else points)
        for name in link.bends:
            if link.room != (0.0, 0.0) and self.spots[name].height:
                path.label_at = self.spots[name].x, self.spots[name].y + self.spots[name].height / 2
        return path

    def _is_free(self, name: str, before: float, after: float) -> bool:
        """Whether an edge can pass the labels of a rank without regard to its bend there."""
        if self.spots[name].height:
            return False
        row = self.rows[self.spots[name].rank - self.spots[self.rows[0][0]].rank]
        low, high = min(before, after), max(before, after)
        labels = [spot for other in row if (spot := self.spots[other]).height and other != name]
        return not any(spot.x - spot.left - 6 < high and low < spot.x + spot.right + 6 for spot in labels)

    def _edges(self, name: str) -> Point:
        """The upper and lower y of what a link meets."""
        spot, shape = self.spots[name], self.shapes.get(name)
        height = shape.height if shape else spot.height
        top = spot.y + (spot.height - height) / 2
        return top, top + height

    def _loop(self, name: str, number: int) -> Path:
        spot, shape = self.spots[name], self.shapes[name]
        label = list(self.layout.bundles[number].label)
        x, y = spot.x + shape.width / 2, spot.y + spot.height / 2
        width = self.layout.room(label)[0]
        at = (x + LOOP + width / 2 - 4, y)
        dotted = self.layout.bundles[number].dotted
        return Path([(x, y - 7), (x, y + 7)], dotted, True, bool(self.within), label, at)


def _item(node: str, within: tuple[str, ...]) -> str:
    """What stands for a node in a graph: itself, or the box that it is in."""
    return ":".join(node.split(":")[: len(within) + 1])


def _last(name: str) -> str:
    return name.rsplit(":", 1)[-1]


def _shown(value: object) -> str:
    text = str(value).replace("\n", " ")
    return text if len(text) <= 60 else text[:59] + "…"
