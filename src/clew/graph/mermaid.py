"""A drawing as Mermaid text. Only text is made here, and nothing is asked of a service or a library.

Names and labels may hold anything: whatever Mermaid would read as syntax is written as an entity.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, cast

from clew.constants import END, START
from clew.errors import GraphError
from clew.graph.draw import home_of, path_of

if TYPE_CHECKING:
    from clew.graph.draw import Drawing, DrawnEdge, DrawnNode

CURVES: Final = (
    "linear basis bumpX bumpY cardinal catmullRom monotoneX monotoneY natural step stepAfter stepBefore".split()  # noqa: SIM905
)
COLOURS: Final = {"default": "fill:#f2f0ff,line-height:1.2", "first": "fill-opacity:0", "last": "fill:#bfb6fc"}
ENTITIES: Final = {ord(each): f"#{ord(each)};" for each in "()[]{}<>#|"} | {ord('"'): "#quot;"}
KEYWORD: Final = re.compile(
    r"(end|graph|subgraph|flowchart|style|click|class|classDef|linkStyle|call|href|interpolate|direction|default"
    r"|_self|_blank|_parent|_top)\b"
)
EMPHASIS: Final = frozenset("*_`")  # a name between two of these would be read as Markdown


def mermaid(drawing: Drawing, styled: bool, curve: Any, colours: Any, wrap: int, frontmatter: Mapping[str, Any] | None) -> str:
    """See `Drawing.draw_mermaid`."""
    if wrap < 1:
        raise GraphError(f"wrap_label_n_words={wrap!r}: expected how many words a line has, 1 or more.")
    ids = _ids(drawing)
    lines = list(_frontmatter(curve, frontmatter)) if styled else []
    lines.append("graph TD;")
    lines += _box(drawing, ids, (), styled, wrap)
    lines += [f"\tclassDef {kind} {css}" for kind, css in _colours(colours).items()] if styled else []
    return "\n".join(lines) + "\n"


# -- nodes and edges --------------------------------------------------------------------------------------------------


def _box(drawing: Drawing, ids: Mapping[str, str], within: tuple[str, ...], styled: bool, wrap: int) -> Iterator[str]:
    """What stands directly in a graph, then the graphs inside it."""
    if styled:
        for node in drawing.nodes.values():
            if path_of(node.id) == within:
                yield f"\t{ids[node.id]}{_shape(node)}"
    for edge in drawing.edges:
        if home_of(edge.source, edge.target) == within:
            yield f"\t{ids[edge.source]}{_arrow(edge, wrap)}{ids[edge.target]};"
    depth = len(within) + 1
    inside = [path_of(node)[:depth] for node in drawing.nodes if path_of(node)[: depth - 1] == within]
    for path in dict.fromkeys(path for path in inside if len(path) == depth):
        if lines := list(_box(drawing, ids, path, styled, wrap)):
            yield from (f"\tsubgraph {_title(drawing, path)}", *lines, "\tend")


def _title(drawing: Drawing, path: tuple[str, ...]) -> str:
    """A box is called by its plain name, unless that is not one or something else in the text is called so too."""
    name = path[-1]
    taken = sum(name == other[-1] for other in _paths(drawing)) + (name in drawing.nodes)
    if re.fullmatch(r"\w+([ -]\w+)*", name, re.ASCII) and not KEYWORD.search(name) and taken <= 1:
        return name
    return f'{_id(":".join(path))}_["{_text(name).replace("`", "#96;")}"]'


def _paths(drawing: Drawing) -> set[tuple[str, ...]]:
    paths = {path_of(node) for node in drawing.nodes}
    return {path[:depth] for path in paths for depth in range(1, len(path) + 1)}


def _ids(drawing: Drawing) -> dict[str, str]:
    ids, used = dict[str, str](), set[str]()
    for node in drawing.nodes:
        found = _id(node)
        while found in used:  # two names that are written alike
            found += "_"
        used.add(found)
        ids[node] = found
    return ids


def _id(name: str) -> str:
    """Letters, digits and `_` as they are, and a `-` between those; anything else by its number, as in CSS."""
    found = re.sub(r"(?<!\w)-|-(?!\w)|[^\w-]", lambda found: f"\\{ord(found[0]):x}", name, flags=re.ASCII)
    return f"\\{ord(found[0]):x}{found[1:]}" if KEYWORD.match(found) and found != "default" else found


def _shape(node: DrawnNode) -> str:
    name = re.sub(r"^[-~]+", lambda found: "".join(f"#{ord(each)};" for each in found[0]), _text(node.name))
    if name and name[0] in EMPHASIS and name[-1] in EMPHASIS:
        name = f"<p>{name}</p>"
    if node.metadata:
        lines = "\n".join(f"{_text(str(key))} = {_value(value)}" for key, value in node.metadata.items())
        name += f"<hr/><small><em>{lines}</em></small>"
    if node.id == START:
        return f"([{name}]):::first"
    return f"([{name}]):::last" if node.id == END else f"({name})"


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(_text(str(one)) for one in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return _text(str(value))


def _text(text: str) -> str:
    return text.translate(ENTITIES)


def _arrow(edge: DrawnEdge, wrap: int) -> str:
    if not edge.data:
        return " -.-> " if edge.conditional else " --> "
    words = re.sub(r"(?<!\w)-|-(?!\w)|\.", lambda found: f"#{ord(found[0])};", _text(edge.data)).split() or [""]
    lines = [" ".join(words[at : at + wrap]) for at in range(0, len(words), wrap)]
    label = "&nbsp<br>&nbsp".join(lines)
    return f" -. &nbsp;{label}&nbsp; .-> " if edge.conditional else f" -- &nbsp;{label}&nbsp; --> "


# -- styles and front matter ------------------------------------------------------------------------------------------


def _colours(given: Any) -> dict[str, str]:
    if given is None:
        return COLOURS
    held: Mapping[str, Any] = cast("Any", given) if isinstance(given, Mapping) else {}
    found = {kind: held.get(kind, getattr(cast("Any", given), kind, css)) for kind, css in COLOURS.items()}
    for kind, css in found.items():
        if not isinstance(css, str):
            raise GraphError(f"node_colors has {css!r} for {kind!r}: expected CSS such as {COLOURS[kind]!r}.")
    return found


def _frontmatter(curve: Any, given: Mapping[str, Any] | None) -> Iterator[str]:
    curve = curve.value if isinstance(curve, Enum) else curve
    if curve not in CURVES:
        raise GraphError(f"curve_style={curve!r} is no curve: expected one of {', '.join(CURVES)}.")
    given = dict(given or {})
    config = dict(given.get("config") or {})
    config["flowchart"] = {**(config.get("flowchart") or {}), "curve": curve}
    yield from ("---", *_yaml({**given, "config": config}, ""), "---")


def _yaml(value: Mapping[Any, Any], indent: str) -> Iterator[str]:
    for key, held in sorted(value.items(), key=lambda pair: str(pair[0])):
        if isinstance(held, Mapping) and held:
            yield f"{indent}{_scalar(key)}:"
            yield from _yaml(held, indent + "  ")  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(held, (list, tuple)) and held:
            yield f"{indent}{_scalar(key)}:"
            yield from (f"{indent}- {_scalar(one)}" for one in held)  # pyright: ignore[reportUnknownVariableType]
        else:
            yield f"{indent}{_scalar(key)}: {_scalar(held)}"


def _scalar(value: Any) -> str:
    import json

    if not isinstance(value, str):
        return json.dumps(value)  # which is YAML as well
    plain = re.fullmatch(r"[A-Za-z][\w ,'/()-]*(?<! )", value, re.ASCII)
    if plain and value.lower() not in ("true", "false", "yes", "no", "on", "off", "null", "y", "n"):
        return value
    return json.dumps(value) if re.search(r"[\x00-\x1f]", value) else "'" + value.replace("'", "''") + "'"
