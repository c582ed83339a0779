"""A drawing as JSON, text, SVG and PNG; and that nothing in a picture lies on something else."""

import io
import sys
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path
from typing import Any, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.graphs import drawn

from clew.errors import MissingDependency
from clew.graph import END, START, StateGraph
from clew.graph.draw import Drawing, DrawnEdge, DrawnNode, path_of
from clew.graph.layout import Scene, arrange


class State(TypedDict, total=False):
    x: int


def nothing(state: Any) -> Any:
    return {}


# -- JSON, text, pictures -------------------------------------------------------------------------------------------


def test_json() -> None:
    builder = StateGraph(State).add_node("a", nothing, defer=True).add_edge(START, "a")
    builder.add_conditional_edges("a", nothing, {"ok": END})
    assert builder.compile().get_graph().to_json() == {
        "nodes": [
            {"id": "__start__", "type": "runnable", "data": {"id": ["clew", "graph", "START"], "name": "__start__"}},
            {
                "id": "a",
                "type": "runnable",
                "data": {"id": [*__name__.split("."), "nothing"], "name": "a"},
                "metadata": {"defer": True},
            },
            {"id": "__end__"},
        ],
        "edges": [
            {"source": "__start__", "target": "a"},
            {"source": "a", "target": "__end__", "data": "ok", "conditional": True},
        ],
    }


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    builder = drawn((START, "ask"), ("tools", "ask")).add_conditional_edges("ask", nothing, {"use": "tools", "done": END})
    drawing = builder.compile().get_graph()
    drawing.print_ascii()
    assert capsys.readouterr().out.splitlines() == TEXT.strip("\n").splitlines()


TEXT = """
        +-----------+
        | __start__ |
        +-----------+
              |
              v
           +-----+
           | ask |
           +-----+
     +......+ : ^---+
   done      use    |
     :        +.+   |
     v          v   |
+---------+   +-------+
| __end__ |   | tools |
+---------+   +-------+
"""


def test_the_text_of_an_edge_to_itself() -> None:
    builder = drawn((START, "a")).add_conditional_edges("a", nothing, {"again": "a", "stop": END})
    text = builder.compile().get_graph().draw_ascii()
    assert "| a |... again" in text
    assert "+---+<.." in text


def test_a_png_has_something_on_it(tmp_path: Path) -> None:
    from PIL import Image

    drawing = drawn((START, "a"), ("a", "b"), ("b", END)).compile().get_graph()
    picture = drawing.draw_png(tmp_path / "graph.png")
    assert (
        (tmp_path / "graph.png").read_bytes() == picture == drawing.draw_mermaid_png(draw_method="api", background_color="red")
    )
    with Image.open(io.BytesIO(picture)) as image:
        counted: Any = image.convert("RGB").getcolors(1 << 24)
    found: set[tuple[int, int, int]] = {colour for _, colour in counted}
    assert {(255, 255, 255), (0xF2, 0xF0, 0xFF), (0xBF, 0xB6, 0xFC)} <= found  # paper, a node, END
    assert min(sum(colour) for colour in found) < 200  # ink


def test_an_svg_has_every_name_and_label() -> None:
    builder = drawn((START, "a <b>"), ("c\x00d", END)).add_conditional_edges("a <b>", nothing, {"x & y": "c\x00d"})
    found = ElementTree.fromstring(builder.compile().get_graph().draw_svg())
    assert [each.text for each in found.iter("{http://www.w3.org/2000/svg}text")] == [
        "__start__",
        "a <b>",
        "c d",
        "__end__",
        "x & y",
    ]
    assert any("stroke-dasharray" in each.attrib for each in found.iter("{http://www.w3.org/2000/svg}path"))


def test_without_pillow_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    drawing = drawn((START, "a")).compile().get_graph()
    with pytest.raises(MissingDependency, match=r"pip install 'clew\[draw\]'"):
        drawing.draw_png()
    assert drawing.draw_svg()
    assert drawing.draw_ascii()


def test_notebooks_show_graphs_and_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    graph: Any = drawn((START, "a")).compile()
    drawing: Any = graph.get_graph()
    assert graph._repr_mimebundle_()["image/svg+xml"] == drawing._repr_svg_() == drawing.draw_svg()
    assert drawing._repr_mimebundle_()["text/plain"] == repr(drawing)
    monkeypatch.setattr("clew.graph.picture.svg", None)
    assert list(graph._repr_mimebundle_()) == list(drawing._repr_mimebundle_()) == ["text/plain"]
    assert drawing._repr_svg_() is None


# -- nothing lies on something else ---------------------------------------------------------------------------------


@st.composite
def drawings(draw: st.DrawFn) -> Drawing:
    """Graphs with up to two levels of graphs inside, and edges anywhere."""
    names = draw(st.lists(st.sampled_from(["", "p:", "p:q:", "r:"]), min_size=1, max_size=12))
    ids = [START, *(f"{prefix}{'n' * (at % 5 + 1)}{at}" for at, prefix in enumerate(names)), END]
    ends = st.tuples(st.sampled_from(ids[:-1]), st.sampled_from(ids[1:]))
    label = st.sampled_from([None, None, "go", "a label with many words in it, so that it is wrapped"])
    lines = draw(st.lists(st.tuples(ends, label, st.booleans()), max_size=20))
    found = [DrawnEdge(START, ids[1]), *(DrawnEdge(*ends, label, dotted) for ends, label, dotted in lines)]
    return Drawing({each: DrawnNode(each, each.split(":")[-1]) for each in ids}, found)


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def check_scene(scene: Scene) -> None:
    areas = [(each.x, each.y, each.x + each.width, each.y + each.height) for each in scene.shapes if each.kind != "box"]
    for at, area in enumerate(areas):
        assert area[0] >= 0
        assert area[1] >= 0
        assert area[2] <= scene.width
        assert area[3] <= scene.height
        assert not any(overlap(area, other) for other in areas[:at])
    labels: list[tuple[float, ...]] = []
    for path in scene.paths:
        if path.label:
            x, y = path.label_at
            half = max(len(line) for line in path.label) * 3
            labels.append((x - half, y - 5, x + half, y + 5))
        for (x0, y0), (x1, y1) in pairwise(path.points) if not path.loop else ():
            box = (min(x0, x1) + 0.1, min(y0, y1) + 0.1, max(x0, x1) + 0.2, max(y0, y1) - 0.1)
            assert not any(overlap(box, area) for area in areas)
    for at, label in enumerate(labels):
        assert not any(overlap(label, other) for other in (*areas, *labels[:at]))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(drawings())
def test_no_edge_passes_through_a_node_and_nothing_overlaps(drawing: Drawing) -> None:
    check_scene(arrange(drawing, lambda text, size: len(text) * size * 0.6))
    text = drawing.draw_ascii()
    assert all(node in text for node in drawing.nodes)
    assert ElementTree.fromstring(drawing.draw_svg()) is not None
    assert drawing.draw_mermaid().count("subgraph") == len(
        {path_of(node)[:at] for node in drawing.nodes for at in (1, 2)} - {()}
    )
