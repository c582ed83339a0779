"""A layered layout of one graph: which rank each thing has, in what order a rank stands, and at which x.

Things are `Spot`s: nodes, boxes, ports, and the bends of links. Real things have even ranks; the odd ones between them are for
bends, so every link has at least one, where its label finds room. Heights, colours and nesting are not known here.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import fsum  # `sum` of floats differs between versions of Python, and drawings with it
from typing import Final

SWEEPS: Final = 24
SETTLINGS: Final = 160
STIFF: Final = 8.0  # how much straighter a link is where it passes between nodes than where it meets them
PINNED: Final = 1000.0


@dataclass(slots=True)
class Spot:
    """Something with a place: what it takes to the left and right of its `x`, and how high it is."""

    left: float = 0.0
    right: float = 0.0
    height: float = 0.0
    rank: int = 0
    x: float = 0.0
    y: float = 0.0  # its upper end


@dataclass(slots=True)
class Link:
    """A link between two spots. `upper` and `lower` are its ends as ranked; `flipped` says that it really leads upward.

    `dx` is where it meets its ends, as offsets from their `x`; `bends` are the spots on its way, downward.
    """

    upper: str
    lower: str
    flipped: bool = False
    room: tuple[float, float] = (0.0, 0.0)  # the label's width and height
    dx: tuple[float, float] = (0.0, 0.0)
    bends: list[str] = field(default_factory=list[str])

    def way(self) -> list[str]:
        return [self.upper, *self.bends, self.lower]


def flip(names: Sequence[str], links: Sequence[Link]) -> None:
    """Turns links so that no cycle is left, following them from the first name on.

    What cannot be reached from there is hung below what it leads to, rather than above the beginning.
    """
    leading = _leading(links)
    seen, open_now = dict[str, int](), set[str]()
    turned: list[Link] = []
    for tree, root in enumerate(names):
        if root in seen:
            continue
        seen[root] = tree
        open_now.add(root)
        stack = [(root, iter(leading.get(root, ())))]
        while stack:
            name, rest = stack[-1]
            link = next(rest, None)
            if link is None:
                open_now.discard(name)
                stack.pop()
            elif link.lower not in seen:
                seen[link.lower] = tree
                open_now.add(link.lower)
                stack.append((link.lower, iter(leading.get(link.lower, ()))))
            elif link.lower in open_now or (seen[link.lower] != tree and link.lower in leading):
                turned.append(link)
    for link in turned:
        link.upper, link.lower, link.flipped = link.lower, link.upper, not link.flipped


def rank(spots: Mapping[str, Spot], links: Sequence[Link]) -> None:
    """Gives every spot the lowest even rank that is below all that lead to it. There must be no cycle."""
    leading, waiting = _leading(links), dict.fromkeys(spots, 0)
    for link in links:
        waiting[link.lower] += 1
    ready = [name for name in spots if not waiting[name]]
    roots = ready[1:]
    for name in ready:  # which grows
        for link in leading.get(name, ()):
            spots[link.lower].rank = max(spots[link.lower].rank, spots[name].rank + 2)
            waiting[link.lower] -= 1
            if not waiting[link.lower]:
                ready.append(link.lower)
    last = max((spot.rank for spot in spots.values()), default=0)
    for name in roots:  # down to what they lead to; what has no links at all, to the bottom
        spots[name].rank = min((spots[link.lower].rank - 2 for link in leading.get(name, ())), default=last)


def bend(spots: dict[str, Spot], links: Sequence[Link], thin: float) -> None:
    """Puts a bend into every rank that a link passes; the one next to where it really starts has room for its label."""
    for number, link in enumerate(links):
        between = range(spots[link.upper].rank + 1, spots[link.lower].rank)
        labelled = (between[-1] if link.flipped else between[0]) if between else None
        for at in between:
            width, height = link.room if at == labelled else (0.0, 0.0)
            spots[name := f"{number}|{at}"] = Spot(max(width, thin) / 2, max(width, thin) / 2, height, at)
            link.bends.append(name)


def order(spots: Mapping[str, Spot], links: Sequence[Link]) -> list[list[str]]:
    """The ranks from top to bottom, each ordered so that few links cross."""
    below, above = dict[str, list[str]](), dict[str, list[str]]()
    for link in links:
        way = link.way()
        for upper, lower in pairwise(way):
            below.setdefault(upper, []).append(lower)
            above.setdefault(lower, []).append(upper)
    rows = _first_order(spots, below)
    best, fewest = rows, _crossings(rows, below)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        rows = [list(row) for row in rows]
        down = sweep % 2 == 0
        pairs = pairwise(rows) if down else pairwise(rows[::-1])
        for fixed, moved in pairs:
            _by_neighbours(fixed, moved, above if down else below, sweep % 4 > 1)
        _swap(rows, (above, below))
        if (found := _crossings(rows, below)) < fewest:
            best, fewest = rows, found
    return best


def settle(spots: Mapping[str, Spot], rows: Sequence[Sequence[str]], links: Sequence[Link], gap: float) -> None:
    """Gives every spot its x: as near to those it is linked to as the others in its rank allow."""
    pulls = dict[str, list[tuple[str, float, float]]]()  # name -> (other end, offset, weight)
    for link in links:
        way = link.way()
        for at, (upper, lower) in enumerate(pairwise(way)):
            out, into = (link.dx[0] if at == 0 else 0.0), (link.dx[1] if at == len(link.bends) else 0.0)
            weight = STIFF if 0 < at < len(link.bends) else 1.0
            pulls.setdefault(upper, []).append((lower, into - out, weight))
            pulls.setdefault(lower, []).append((upper, out - into, weight))
    for row in rows:
        at = 0.0
        for name in row:
            spots[name].x = at + spots[name].left
            at += spots[name].left + spots[name].right + gap
        for name in row:
            spots[name].x -= at / 2
    chains = [[spots[name] for name in link.bends] for link in links if len(link.bends) > 1]
    rigid = dict[int, tuple[float, float]]()
    for time in range(SETTLINGS):
        if SETTLINGS // 2 <= time <= SETTLINGS * 3 // 4:  # from now on a long link is moved as a whole, and then not at all
            weight = 2 * STIFF if time < SETTLINGS * 3 // 4 else PINNED
            for chain in chains:
                mean = fsum(spot.x for spot in chain) / len(chain)
                rigid |= {id(spot): (mean, weight) for spot in chain}
        for row in rows if time % 2 else reversed(rows):
            wanted = [rigid.get(id(spots[name])) or _wanted(spots, name, pulls.get(name, ())) for name in row]
            _settle_row([spots[name] for name in row], wanted, gap)
    for link in links:
        _straighten(spots, rows, link, gap)


def spread(spots: Mapping[str, Spot], links: Iterable[Link], widths: Mapping[str, float], step: float) -> None:
    """Parts the links that meet something wide on the same side, in the order in which they come."""
    ends = dict[tuple[str, bool], list[tuple[float, int, Link]]]()
    for number, link in enumerate(links):
        way = link.way()
        ends.setdefault((link.upper, True), []).append((spots[way[1]].x, number, link))
        ends.setdefault((link.lower, False), []).append((spots[way[-2]].x, number, link))
    for (name, out), met in ends.items():
        if name not in widths or len(met) < 2:
            continue
        each = max(0.0, min(step, widths[name] / (len(met) - 1)))
        for place, (_, _, link) in enumerate(sorted(met, key=lambda one: one[:2])):
            dx = (place - (len(met) - 1) / 2) * each
            link.dx = (dx, link.dx[1]) if out else (link.dx[0], dx)


# -- within -----------------------------------------------------------------------------------------------------------


def _leading(links: Sequence[Link]) -> dict[str, list[Link]]:
    found = dict[str, list[Link]]()
    for link in links:
        found.setdefault(link.upper, []).append(link)
    return found


def _first_order(spots: Mapping[str, Spot], below: Mapping[str, list[str]]) -> list[list[str]]:
    """As they are found from the top, each with what follows it."""
    lowest = min((spot.rank for spot in spots.values()), default=0)
    rows: list[list[str]] = [[] for _ in range(max((spot.rank for spot in spots.values()), default=0) - lowest + 1)]
    seen = set[str]()
    stack = sorted(spots, key=lambda name: spots[name].rank, reverse=True)
    while stack:
        if (name := stack.pop()) not in seen:
            seen.add(name)
            rows[spots[name].rank - lowest].append(name)
            stack.extend(reversed(below.get(name, ())))
    return rows


def _by_neighbours(fixed: Sequence[str], moved: list[str], towards: Mapping[str, list[str]], mirror: bool) -> None:
    at = {name: place for place, name in enumerate(fixed)}
    means = dict[str, float]()
    for place, name in enumerate(moved):
        near = [at[other] for other in towards.get(name, ()) if other in at]
        means[name] = fsum(near) / len(near) if near else float(place)
    if mirror:  # what is as near on both sides changes sides
        moved.reverse()
    moved.sort(key=means.__getitem__)


def _crossings(rows: Sequence[Sequence[str]], below: Mapping[str, list[str]]) -> int:
    return sum(_crossings_between(upper, lower, below) for upper, lower in pairwise(rows))


def _crossings_between(upper: Sequence[str], lower: Sequence[str], below: Mapping[str, list[str]]) -> int:
    at = {name: place for place, name in enumerate(lower)}
    found, placed = 0, list[int]()
    for name in upper:
        ends = sorted(at[other] for other in below.get(name, ()) if other in at)
        found += sum(len(placed) - bisect_right(placed, end) for end in ends)
        for end in ends:
            insort(placed, end)
    return found


def _swap(rows: Sequence[list[str]], towards: Sequence[Mapping[str, list[str]]]) -> None:
    """Exchanges neighbours where that takes crossings away."""
    at = {name: place for row in rows for place, name in enumerate(row)}
    for row in rows:
        for place in range(len(row) - 1):
            one, other = row[place], row[place + 1]
            gain = 0
            for near in towards:
                for left in near.get(one, ()):
                    for right in near.get(other, ()):
                        gain += (at[left] > at[right]) - (at[left] < at[right])
            if gain > 0:
                row[place], row[place + 1] = other, one
                at[one], at[other] = place + 1, place


def _wanted(spots: Mapping[str, Spot], name: str, pulls: Sequence[tuple[str, float, float]]) -> tuple[float, float]:
    """Where a spot would stand if it were alone in its rank, and how much it minds standing elsewhere."""
    if not pulls:
        return spots[name].x, 0.01
    weight = fsum(each for _, _, each in pulls)
    return fsum((spots[other].x + offset) * each for other, offset, each in pulls) / weight, weight


def _settle_row(row: Sequence[Spot], wanted: Sequence[tuple[float, float]], gap: float) -> None:
    """The least squares under the distances that the row needs: neighbours that would overlap are moved as one block."""
    blocks: list[tuple[float, float, int]] = []  # mean, weight, how many
    shifts, shift = list[float](), 0.0
    for place, spot in enumerate(row):
        if place:
            shift += row[place - 1].right + gap + spot.left
        shifts.append(shift)
        mean, weight, many = wanted[place][0] - shift, wanted[place][1], 1
        while blocks and blocks[-1][0] > mean:
            other, heavy, count = blocks.pop()
            mean, weight, many = (mean * weight + other * heavy) / (weight + heavy), weight + heavy, many + count
        blocks.append((mean, weight, many))
    means = [mean for mean, _, many in blocks for _ in range(many)]
    for spot, mean, shift in zip(row, means, shifts, strict=True):
        spot.x = mean + shift


def _straighten(spots: Mapping[str, Spot], rows: Sequence[Sequence[str]], link: Link, gap: float) -> None:
    """Puts the bends of a link on one vertical, and that on one of its ends, where their ranks have the room."""
    low, high = float("-inf"), float("inf")
    first = spots[rows[0][0]].rank
    for name in link.bends:
        row, spot = rows[spots[name].rank - first], spots[name]
        place = row.index(name)
        if place:
            low = max(low, spots[row[place - 1]].x + spots[row[place - 1]].right + gap + spot.left)
        if place + 1 < len(row):
            high = min(high, spots[row[place + 1]].x - spots[row[place + 1]].left - gap - spot.right)
    if not link.bends or low > high:
        return
    mean = fsum(spots[name].x for name in link.bends) / len(link.bends)
    ends = (spots[link.upper].x + link.dx[0], spots[link.lower].x + link.dx[1])
    x = min(max(mean, low), high)
    near = [end for end in ends if low <= end <= high and abs(end - x) < gap / 2]
    for name in link.bends:
        spots[name].x = min(near, key=lambda end: abs(end - x)) if near else x
