"""A drawing as text of fixed width, in ASCII but for the names themselves. Needs nothing installed.

The layout is that of `layers`, counted in characters; boxes are not drawn. Between two ranks every edge has a row of its own
to go sideways in, so that no two edges run along one another.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from clew.constants import END, START
from clew.graph.layers import Link, Spot, bend, flip, order, rank, settle, spread
from clew.graph.layout import Bundle, bundles

if TYPE_CHECKING:
    from clew.graph.draw import Drawing, DrawnNode

GAP: Final = 3.0
LOOP: Final = 4  # columns beside a node that an edge to itself takes

Segment = tuple[int, int, bool]  # from this column to that one; whether it is dotted


def text(drawing: Drawing) -> str:
    """See `Drawing.draw_ascii`."""
    names = sorted(drawing.nodes, key=lambda name: (name == END, name != START))
    drawn = bundles(drawing, 24)
    loops = {bundle.source: bundle for bundle in drawn if bundle.source == bundle.target}
    kept = [bundle for bundle in drawn if bundle.source != bundle.target]
    links = [Link(bundle.source, bundle.target, room=_room(bundle.label)) for bundle in kept]
    lines = {name: _lines(drawing.nodes[name]) for name in names}
    spots = {name: _spot(lines[name], loops.get(name)) for name in names}
    flip(names, links)
    rank(spots, links)
    bend(spots, links, 1.0)
    rows = order(spots, links)
    settle(spots, rows, links, GAP)
    spread(spots, links, {name: float(_inner(lines[name]) - 2) for name in names}, 4.0)
    settle(spots, rows, links, GAP)
    rows = [row for row in rows if not _is_empty(row, spots)]
    left = {name for row in rows for name in row}
    for link in links:
        link.bends = [name for name in link.bends if name in left]
    return _Page(spots, rows, list(zip(kept, links, strict=True)), lines, loops).text()


class _Page:
    """The characters, by row and column."""

    def __init__(
        self,
        spots: dict[str, Spot],
        rows: Sequence[Sequence[str]],
        edges: Sequence[tuple[Bundle, Link]],
        lines: Mapping[str, list[str]],
        loops: Mapping[str, Bundle],
    ) -> None:
        self.spots, self.rows, self.edges, self.lines, self.loops = spots, rows, edges, lines, loops
        self.cells = dict[tuple[int, int], str]()
        self.places = {name: place for place, row in enumerate(rows) for name in row}
        left = min(spot.x - spot.left for spot in spots.values())
        for spot in spots.values():
            spot.x = round(round(spot.x - left, 6))  # whatever an iteration leaves behind must not tip a half
        self.bands: list[tuple[int, int]] = []

    def text(self) -> str:
        at = 0
        for place, row in enumerate(self.rows):
            if place:
                at = self._between(place, at)
            height = int(max((self.spots[name].height for name in row), default=0))
            self.bands.append((at, at + height))
            self._passing(place, at, height)
            for name in row:
                if name in self.lines:
                    self._box(name, at + (height - int(self.spots[name].height)) // 2)
            at += height
        self._labels()
        self._arrows()
        return self._joined()

    # -- nodes ----------------------------------------------------------------------------------------------------------

    def _box(self, name: str, at: int) -> None:
        lines, spot = self.lines[name], self.spots[name]
        spot.y = at
        inner = _inner(lines)
        left = int(spot.x) - (inner + 2) // 2
        for row, line in enumerate(["", *lines, ""]):
            if row in (0, len(lines) + 1):
                self._write(at + row, left, "+" + "-" * inner + "+")
            else:
                pad = inner - _columns(line)
                self._write(at + row, left, "|" + " " * (pad // 2) + line + " " * (pad - pad // 2) + "|")
        if name in self.loops:
            bundle, right = self.loops[name], left + inner + 2
            self._write(at + 1, right, ("..." if bundle.dotted else "--+") + " " + " ".join(bundle.label))
            self._write(at + 2, right, "<.." if bundle.dotted else "<-+")

    def _passing(self, place: int, at: int, height: int) -> None:
        """The edges that go by a rank without ending there, and the ends of those whose node is less high."""
        for bundle, link in self.edges:
            for name in link.bends:
                if self.places[name] == place:
                    for row in range(at, at + height):
                        self._line(row, int(self.spots[name].x), bundle.dotted)
            for name, dx, below in ((link.upper, link.dx[0], True), (link.lower, link.dx[1], False)):
                if self.places[name] == place:
                    top = at + (height - int(self.spots[name].height)) // 2
                    for row in range(top + int(self.spots[name].height), at + height) if below else range(at, top):
                        self._line(row, round(self.spots[name].x + dx), bundle.dotted)

    # -- edges ----------------------------------------------------------------------------------------------------------

    def _between(self, place: int, at: int) -> int:
        """Draws what runs between a rank and the one before, and returns the row after it."""
        segments = [self._segment(bundle, link, place) for bundle, link in self.edges]
        found = sorted({segment for segment in segments if segment}, key=lambda one: (abs(one[0] - one[1]), one))
        tracks = min((_tracks(found), _tracks(found[::-1])), key=_crossings)
        arrows = any(name in self.lines for name in self.rows[place])
        height = max(tracks.values(), default=0) + (2 if arrows else 1)
        for segment in found:
            start, end, dotted = segment
            track = tracks[segment]
            for row in range(height):
                self._line(at + row, start if row < track else end, dotted)
            if start != end:
                for column in range(min(start, end), max(start, end) + 1):
                    here = self.cells.get((at + track, column), " ")
                    self.cells[at + track, column] = "+" if here in "|:+" or column in (start, end) else "." if dotted else "-"
        return at + height

    def _segment(self, bundle: Bundle, link: Link, place: int) -> Segment | None:
        way = link.way()
        for at, (one, other) in enumerate(pairwise(way)):
            if self.places[other] == place:
                start = self.spots[one].x + (link.dx[0] if at == 0 else 0)
                end = self.spots[other].x + (link.dx[1] if at == len(link.bends) else 0)
                return round(start), round(end), bundle.dotted
        return None

    def _labels(self) -> None:
        for bundle, link in self.edges:
            for name in link.bends:
                if self.spots[name].height and bundle.label:
                    for row, line in enumerate(bundle.label):
                        column = int(self.spots[name].x) - _columns(line) // 2 - 1
                        self._write(self.bands[self.places[name]][0] + row, column, f" {line} ")

    def _arrows(self) -> None:
        for _, link in self.edges:
            name, dx = (link.upper, link.dx[0]) if link.flipped else (link.lower, link.dx[1])
            spot = self.spots[name]
            row = int(spot.y + spot.height) if link.flipped else int(spot.y) - 1
            self.cells[row, round(spot.x + dx)] = "^" if link.flipped else "v"

    # -- characters -----------------------------------------------------------------------------------------------------

    def _line(self, row: int, column: int, dotted: bool) -> None:
        here = self.cells.get((row, column), " ")
        self.cells[row, column] = "+" if here in "-.+" else ":" if dotted and here != "|" else "|"

    def _write(self, row: int, column: int, line: str) -> None:
        for character in line:
            self.cells[row, column] = character
            wide = _columns(character)
            if wide == 2:
                self.cells[row, column + 1] = ""
            column += wide

    def _joined(self) -> str:
        left = min(column for _, column in self.cells)
        lines: list[list[str]] = [[] for _ in range(max(row for row, _ in self.cells) + 1)]
        for (row, column), character in sorted(self.cells.items()):
            lines[row] += [" "] * (column - left - len(lines[row])) + [character]
        return "\n".join("".join(line).rstrip() for line in lines)


def _is_empty(row: Sequence[str], spots: Mapping[str, Spot]) -> bool:
    """Whether a rank has only bends without labels, which need no row."""
    return all(not spots[name].height for name in row)


def _tracks(segments: Iterable[Segment]) -> dict[Segment, int]:
    """A row for each segment in which it meets none of those before it."""
    found = dict[Segment, int]()
    for segment in segments:
        if segment[0] == segment[1]:
            found[segment] = 0
            continue
        rows = range(2 * len(found) + 2)
        found[segment] = next((row for row in rows if not any(_meet(segment, row, *other) for other in found.items())), 0)
    return found


def _meet(one: Segment, row: int, other: Segment, taken: int) -> bool:
    """Whether two segments would run along one another: in the same row, or one below the other in the same column."""
    (a, b, _), (c, d, _) = one, other
    if c != d and row == taken and min(a, b) <= max(c, d) and min(c, d) <= max(a, b):
        return True
    if a == d and taken <= row:
        return True
    return b == c and row <= taken


def _crossings(tracks: Mapping[Segment, int]) -> int:
    """How often a segment's way sideways crosses another's way down."""
    found = 0
    for (a, b, _), row in tracks.items():
        for (c, d, _), turn in tracks.items():
            column = c if row < turn else d
            found += row != turn and min(a, b) <= column <= max(a, b) and a != b
    return found


def _lines(node: DrawnNode) -> list[str]:
    lines = [node.id, *(f"{key} = {value}" for key, value in (node.metadata or {}).items())]
    return ["".join(each if each.isprintable() else " " for each in line) for line in lines]


def _inner(lines: Sequence[str]) -> int:
    return max(_columns(line) for line in lines) + 2


def _spot(lines: Sequence[str], loop: Bundle | None) -> Spot:
    width = _inner(lines) + 2
    aside = (LOOP + max(0, _columns(" ".join(loop.label)))) if loop else 0
    return Spot(width // 2, width - width // 2 + aside, len(lines) + 2)


def _room(label: Sequence[str]) -> tuple[float, float]:
    return (max(_columns(line) for line in label) + 2.0, float(len(label))) if label else (0.0, 0.0)


def _columns(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 0 if unicodedata.combining(each) else 1 for each in line)
