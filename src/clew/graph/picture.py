"""A drawing as a picture: SVG, which needs nothing installed, and PNG through Pillow. Where things stand is `layout`'s."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from clew.constants import START
from clew.errors import MissingDependency
from clew.graph.layout import LABEL, LINE, NAME, SMALL, Path, Point, Scene, Shape, arrange

if TYPE_CHECKING:
    from clew.graph.draw import Drawing

FILL: Final = {"node": "#f2f0ff", "end": "#bfb6fc", "box": "#fbfaff"}
STROKE: Final = {"node": "#9370db", "end": "#9370db", "box": "#cfc8ea"}
INK: Final = "#26223a"
FAINT: Final = "#5c5776"
EDGE: Final = "#55506e"
PAPER: Final = "#ffffff"
ARROW: Final = 9.0  # its length; it is 0.8 times as wide
ROUND: Final = {"node": 6.0, "box": 8.0}
DOTS: Final = 3.5
PIXELS: Final = 60_000_000  # no picture is painted larger
CURVE: Final = 14  # pieces of a curve
FALLBACKS: Final = (
    "DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "Arial Unicode.ttf", "msyh.ttc", "PingFang.ttc",
    "seguisym.ttf", "NotoSans-Regular.ttf",
)  # fmt: skip


# -- SVG --------------------------------------------------------------------------------------------------------------


def svg(drawing: Drawing) -> str:
    """See `Drawing.draw_svg`."""
    scene = arrange(drawing, _estimate)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{scene.width:.0f}" height="{scene.height:.0f}" '
        f'viewBox="0 0 {scene.width:.1f} {scene.height:.1f}" font-family="Helvetica, Arial, sans-serif" text-anchor="middle">',
        f'<rect width="100%" height="100%" fill="{PAPER}"/>',
    ]
    lines += [_svg_rect(shape) for shape in scene.shapes if shape.kind == "box"]
    lines += [line for path in scene.paths for line in _svg_path(path)]
    for shape in scene.shapes:
        if shape.kind != "box":
            lines.append(_svg_rect(shape))
        lines += [
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{ink}"{anchor}>{_clean(text)}</text>'
            for text, x, y, size, ink, anchor in _texts(shape)
        ]
    lines += [line for path in scene.paths for line in _svg_label(path)]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _svg_rect(shape: Shape) -> str:
    rx = ROUND.get(shape.kind, shape.height / 2)
    return (
        f'<rect x="{shape.x:.1f}" y="{shape.y:.1f}" width="{shape.width:.1f}" height="{shape.height:.1f}" rx="{rx:g}" '
        f'fill="{_fill(shape)}" stroke="{STROKE[shape.kind]}"/>'
    )


def _svg_path(path: Path) -> Iterator[str]:
    start, *curves = _curves(path)
    text = f"M{start[0][0]:.1f} {start[0][1]:.1f}"
    for curve in curves:
        text += (" C" if len(curve) == 3 else " L") + " ".join(f"{x:.1f} {y:.1f}" for x, y in curve)
    dots = f' stroke-dasharray="{DOTS} {DOTS}"' if path.dotted else ""
    yield f'<path d="{text}" fill="none" stroke="{EDGE}" stroke-width="1.3"{dots}/>'
    yield f'<polygon points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in _arrow(path))}" fill="{EDGE}"/>'


def _svg_label(path: Path) -> Iterator[str]:
    if not path.label:
        return
    width = max(_estimate(line, LABEL) for line in path.label) + 4
    height, (x, y) = len(path.label) * LABEL * LINE, path.label_at
    place = f'x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}"'
    yield f'<rect {place} fill="{_ground(path)}"/>'
    for line, at in _label_lines(path):
        yield f'<text x="{x:.1f}" y="{at:.1f}" font-size="{LABEL:g}" fill="{FAINT}">{_clean(line)}</text>'


def _clean(text: str) -> str:
    """As XML, without the characters that XML cannot have."""
    return escape("".join(each if each.isprintable() else " " for each in text))


@lru_cache(4096)
def _estimate(text: str, size: float) -> float:
    """How wide a line is in some sans-serif font: rather too much than too little."""
    return size * sum(_em(each) for each in text)


def _em(character: str) -> float:
    if character in "iljtfrI.,:;'|!()[]{} `":
        return 0.36
    if unicodedata.east_asian_width(character) in "WF":
        return 1.05
    if unicodedata.combining(character):
        return 0.0
    return 0.92 if character in "mwMW@%" else 0.72 if character.isupper() else 0.6


# -- PNG --------------------------------------------------------------------------------------------------------------


def png(drawing: Drawing) -> bytes:
    """See `Drawing.draw_png`."""
    try:
        from PIL import Image, ImageDraw
    except ImportError as error:
        raise MissingDependency(
            "Drawing a PNG needs Pillow, which is not installed: pip install 'clew[draw]'. draw_mermaid(), draw_svg() and "
            "draw_ascii() need nothing."
        ) from error
    fonts = _Fonts(1.0)
    scene = arrange(drawing, fonts.width)
    scale = min(4.0, (PIXELS / (scene.width * scene.height)) ** 0.5)
    image = Image.new("RGB", (max(2, int(scene.width * scale)), max(2, int(scene.height * scale))), PAPER)
    _Painter(ImageDraw.Draw(image), scale, _Fonts(scale)).paint(scene)
    image = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)  # smooth edges
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


class _Fonts:
    """Pillow's own font at any size; for characters that it lacks, one that the system has, if it has one."""

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.known = dict[tuple[str | None, float], Any]()
        self.lacking = self.mask("\U0010fffd")

    def mask(self, character: str) -> bytes:
        return bytes(self.font(None, 20.0).getmask(character))

    def font(self, name: str | None, size: float) -> Any:
        from PIL import ImageFont

        if (name, size) not in self.known:
            points = max(1.0, size * self.scale)
            try:
                self.known[name, size] = ImageFont.truetype(name, points) if name else ImageFont.load_default(points)
            except OSError:
                self.known[name, size] = None
        return self.known[name, size]

    def best(self, text: str, size: float) -> Any:
        strange = [each for each in dict.fromkeys(text) if ord(each) > 127 and self.mask(each) == self.lacking]
        names = FALLBACKS if strange else ()
        return next((found for name in names if (found := self.font(name, size)) is not None), self.font(None, size))

    def width(self, text: str, size: float) -> float:
        return float(self.best(text, size).getlength(text)) / self.scale


class _Painter:
    def __init__(self, draw: Any, scale: float, fonts: _Fonts) -> None:
        self.draw, self.scale, self.fonts = draw, scale, fonts

    def paint(self, scene: Scene) -> None:
        for shape in scene.shapes:
            if shape.kind == "box":
                self.rect(shape)
        for path in scene.paths:
            self.path(path)
        for shape in scene.shapes:
            if shape.kind != "box":
                self.rect(shape)
            for text, x, y, size, ink, anchor in _texts(shape):
                self.text(text, (x, y), size, ink, "ls" if anchor else "ms")
        for path in scene.paths:
            self.label(path)

    def rect(self, shape: Shape) -> None:
        box = [shape.x, shape.y, shape.x + shape.width, shape.y + shape.height]
        radius = ROUND.get(shape.kind, shape.height / 2) * self.scale
        style = {"fill": _fill(shape), "outline": STROKE[shape.kind], "width": self.thick(1.1)}
        self.draw.rounded_rectangle([each * self.scale for each in box], radius, **style)

    def path(self, path: Path) -> None:
        points = _flat(_curves(path))
        for piece in _dashes(points) if path.dotted else [points]:
            scaled = [(x * self.scale, y * self.scale) for x, y in piece]
            self.draw.line(scaled, fill=EDGE, width=self.thick(1.3), joint="curve")
        self.draw.polygon([(x * self.scale, y * self.scale) for x, y in _arrow(path)], fill=EDGE)

    def label(self, path: Path) -> None:
        if not path.label:
            return
        width = max(self.fonts.width(line, LABEL) for line in path.label) / 2 + 2
        height, (x, y) = len(path.label) * LABEL * LINE / 2, path.label_at
        self.draw.rectangle([each * self.scale for each in (x - width, y - height, x + width, y + height)], fill=_ground(path))
        for line, at in _label_lines(path):
            self.text(line, (x, at), LABEL, FAINT, "ms")

    def text(self, text: str, at: Point, size: float, ink: str, anchor: str) -> None:
        font = self.fonts.best(text, size)
        self.draw.text((at[0] * self.scale, at[1] * self.scale), text, fill=ink, font=font, anchor=anchor)

    def thick(self, width: float) -> int:
        return max(1, round(width * self.scale))


# -- both -------------------------------------------------------------------------------------------------------------


def _fill(shape: Shape) -> str:
    return PAPER if shape.lines[0] == START else FILL[shape.kind]


def _ground(path: Path) -> str:
    return FILL["box"] if path.boxed else PAPER


def _texts(shape: Shape) -> Iterator[tuple[str, float, float, float, str, str]]:
    """Each line of a shape: text, x and y of its base, size, ink, and how SVG anchors it."""
    if shape.kind == "box":
        yield shape.lines[0], shape.x + 8, shape.y + 16, LABEL, FAINT, ' text-anchor="start"'
        return
    x, more = shape.x + shape.width / 2, len(shape.lines) - 1
    top = shape.y + (shape.height - NAME * LINE - more * SMALL * LINE - (6 if more else 0)) / 2
    yield shape.lines[0], x, top + NAME * 1.03, NAME, INK, ""
    for at, line in enumerate(shape.lines[1:]):
        yield line, x, top + NAME * LINE + 6 + (at + 0.8) * SMALL * LINE, SMALL, FAINT, ""


def _label_lines(path: Path) -> Iterator[tuple[str, float]]:
    top = path.label_at[1] - len(path.label) * LABEL * LINE / 2
    for at, line in enumerate(path.label):
        yield line, top + (at + 0.77) * LABEL * LINE


def _arrow(path: Path) -> list[Point]:
    (x, y), wide = path.points[-1], ARROW * 0.4
    if path.loop:
        return [(x, y), (x + ARROW, y - wide), (x + ARROW, y + wide)]
    back = -ARROW if _downward(path) else ARROW
    return [(x, y), (x - wide, y + back), (x + wide, y + back)]


def _downward(path: Path) -> bool:
    last = path.points[-1][1]
    return next((y < last for _, y in reversed(path.points) if y != last), True)


def _curves(path: Path) -> list[tuple[Point, ...]]:
    """A start, then lines (to one point) and curves (two control points and an end), up to where the arrow begins."""
    (x, y) = path.points[-1]
    if path.loop:
        start = path.points[0]
        return [(start,), ((x + 26, y - 26), (x + 30, y + 5), (x + ARROW - 1, y))]
    back = 1 - ARROW if _downward(path) else ARROW - 1
    points = [point for at, point in enumerate(path.points[:-1]) if at == 0 or point != path.points[at - 1]]
    while len(points) > 1 and points[-1][0] == x and abs(y - points[-1][1]) <= abs(back):
        points.pop()
    found: list[tuple[Point, ...]] = [(points[0],)]
    for (x0, y0), (x1, y1) in zip(points, [*points[1:], (x, y + back)], strict=True):
        middle = (y0 + y1) / 2
        found.append(((x1, y1),) if abs(x0 - x1) < 0.05 else ((x0, middle), (x1, middle), (x1, y1)))
    return found


def _flat(curves: Sequence[tuple[Point, ...]]) -> list[Point]:
    points = [curves[0][0]]
    for curve in curves[1:]:
        if len(curve) == 1:
            points.append(curve[0])
            continue
        (x0, y0), ((x1, y1), (x2, y2), (x3, y3)) = points[-1], curve
        for step in range(1, CURVE + 1):
            t = step / CURVE
            a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
            points.append((a * x0 + b * x1 + c * x2 + d * x3, a * y0 + b * y1 + c * y2 + d * y3))
    return points


def _dashes(points: Sequence[Point]) -> Iterator[list[Point]]:
    """The parts of a line that are drawn when it is dotted."""
    dash: list[Point] = [points[0]]
    left, on = DOTS, True
    for (x0, y0), (x1, y1) in pairwise(points):
        length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        done = 0.0
        while length - done > left:
            done += left
            at = (x0 + (x1 - x0) * done / length, y0 + (y1 - y0) * done / length)
            if on:
                yield [*dash, at]
            dash, left, on = [at], DOTS, not on
        left -= length - done
        dash.append((x1, y1))
    if on and len(dash) > 1:
        yield dash
