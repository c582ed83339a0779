"""What is in a drawing, as data and as Mermaid."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from enum import Enum
from types import SimpleNamespace
from typing import Any, Literal, TypedDict

import pytest
from support.graphs import drawn

from clew.errors import GraphError
from clew.graph import END, START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.graph.draw import Drawing, DrawnNode, draw_graph


class State(TypedDict, total=False):
    x: int


def nothing(state: Any) -> Any:
    return {}


def spec(**options: Any) -> dict[str, Any]:
    """How a node is added; `graph` is what it does."""
    return {"action": options.pop("graph", nothing), **options}


def compiled(
    nodes: Mapping[str, dict[str, Any]], *edges: tuple[str, str], branches: Mapping[str, Any] | None = None
) -> CompiledStateGraph:
    builder = StateGraph(State)
    for name, options in nodes.items():
        builder.add_node(name, **options)
    for source, target in edges:
        builder.add_edge(source, target)
    for source, names in (branches or {}).items():
        builder.add_conditional_edges(source, nothing, names)
    return builder.compile()


def body(drawing: Drawing) -> list[str]:
    """Nodes and edges of the Mermaid text, without its head and its styles."""
    lines = drawing.draw_mermaid().splitlines()
    found = [line.removeprefix("\t") for line in lines[lines.index("graph TD;") + 1 :] if "classDef" not in line]
    return [line for line in found if not line.startswith(("__start__(", "__end__("))]


def edges(drawing: Drawing) -> list[tuple[str, str, str | None, bool]]:
    return [(edge.source, edge.target, edge.data, edge.conditional) for edge in drawing.edges]


# -- what is drawn --------------------------------------------------------------------------------------------------


def test_a_chain_as_mermaid() -> None:
    graph = drawn((START, "a"), ("a", "b"), ("b", END)).compile()
    assert graph.get_graph().draw_mermaid() == (
        "---\nconfig:\n  flowchart:\n    curve: linear\n---\ngraph TD;\n"
        "\t__start__([<p>__start__</p>]):::first\n\ta(a)\n\tb(b)\n\t__end__([<p>__end__</p>]):::last\n"
        "\t__start__ --> a;\n\ta --> b;\n\tb --> __end__;\n"
        "\tclassDef default fill:#f2f0ff,line-height:1.2\n\tclassDef first fill-opacity:0\n\tclassDef last fill:#bfb6fc\n"
    )


def test_without_styles_only_edges_are_left() -> None:
    graph = drawn((START, "a"), ("a", END)).compile()
    assert graph.get_graph().draw_mermaid(with_styles=False) == "graph TD;\n\t__start__ --> a;\n\ta --> __end__;\n"


def test_joins_are_one_edge_a_source_and_loose_ends_lead_to_the_end() -> None:
    graph = drawn((START, "a"), (START, "b"), (["a", "b"], "c")).compile()
    assert body(graph.get_graph())[3:] == ["__start__ --> a;", "__start__ --> b;", "a --> c;", "b --> c;", "c --> __end__;"]


def test_routes_are_dotted_and_labelled_where_the_label_says_more_than_the_name() -> None:
    builder = drawn((START, "a"), ("b", "a")).add_conditional_edges(
        "a", nothing, {"go": "b", "again": "a", True: END, "b": "b"}
    )
    assert edges(builder.compile().get_graph()) == [
        ("__start__", "a", None, False),
        ("a", "__end__", "True", True),
        ("a", "a", "again", True),
        ("a", "b", None, True),
        ("a", "b", "go", True),
        ("b", "a", None, False),
    ]


def test_a_literal_annotation_says_where() -> None:
    def route(state: Any) -> Literal["b", "__end__"]:
        return "b"

    builder = drawn((START, "a"), ("b", END)).add_conditional_edges("a", route)
    assert "a -.-> b;" in body(builder.compile().get_graph())


def test_a_cycle_is_given_no_way_out_that_it_does_not_have() -> None:
    assert edges(drawn((START, "a"), ("a", "b"), ("b", "a")).compile().get_graph()) == [
        ("__start__", "a", None, False),
        ("a", "b", None, False),
        ("b", "a", None, False),
    ]


def test_destinations_are_dotted() -> None:
    graph = compiled({"a": spec(destinations=("b", END)), "b": spec(destinations={"a": "back", END: END})}, (START, "a"))
    assert edges(draw_graph(graph))[1:] == [
        ("a", "__end__", None, True),
        ("a", "b", None, True),
        ("b", "__end__", None, True),
        ("b", "a", "back", True),
    ]


def test_metadata_and_defer_stand_in_the_node() -> None:
    nodes = {"a": spec(defer=True), "b": spec(metadata={"team": "red", "x": ["<1>", 2]})}
    drawing = compiled(nodes, (START, "a"), ("a", "b")).get_graph()
    assert body(drawing)[:4] == [
        "a(a<hr/><small><em>defer = True</em></small>)",
        "b(b<hr/><small><em>team = red",
        "x = #60;1#62;, 2</em></small>)",
        "__start__ --> a;",
    ]
    assert drawing.nodes["a"].metadata == {"defer": True}


def test_what_is_drawn_later_is_not_in_the_drawing() -> None:
    builder = drawn((START, "a"))
    graph = builder.compile()
    builder.add_node("late", nothing).add_edge("a", "late")
    assert list(graph.get_graph().nodes) == [START, "a", END]


async def nodes_of(graph: Any) -> list[str]:
    return list((await graph.aget_graph(xray=True)).nodes)


def test_both_faces_draw_the_same() -> None:
    import asyncio

    graph = drawn((START, "a"), ("a", END)).compile()
    assert asyncio.run(nodes_of(graph)) == list(graph.get_graph({}, xray=1).nodes) == [START, "a", END]


def test_the_first_and_the_last() -> None:
    drawing = drawn((START, "a"), ("a", END)).compile().get_graph()
    assert (drawing.first_node(), drawing.last_node()) == (drawing.nodes[START], drawing.nodes[END])
    assert (Drawing().first_node(), Drawing().last_node()) == (None, None)


# -- names that Mermaid would read as its own -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("with space", "with\\20space(with space)"),
        ("wörld 世界", "w\\f6rld\\20\\4e16\\754c(wörld 世界)"),
        ('quo"te', "quo\\22te(quo#quot;te)"),
        ("*bold*", "\\2abold\\2a(<p>*bold*</p>)"),
        ("_under_", "_under_(<p>_under_</p>)"),
        ("a-b", "a-b(a-b)"),
        ("a--b", "a\\2d\\2db(a--b)"),
        ("-> x", "\\2d\\3e\\20x(#45;#62; x)"),
        ("(x) [y] {z}", "\\28x\\29\\20\\5by\\5d\\20\\7bz\\7d(#40;x#41; #91;y#93; #123;z#125;)"),
        ("<b>", "\\3cb\\3e(#60;b#62;)"),
        ("a#b", "a\\23b(a#35;b)"),
        ("end", "\\65nd(end)"),
        ("end-user", "\\65nd-user(end-user)"),
        ("ending", "ending(ending)"),
        ("style", "\\73tyle(style)"),
        ("default", "default(default)"),
    ],
)
def test_any_name_can_be_drawn(name: str, line: str) -> None:
    drawing = drawn((START, name), (name, END)).compile().get_graph()
    assert body(drawing) == [line, f"__start__ --> {line[: line.index('(')]};", f"{line[: line.index('(')]} --> __end__;"]
    assert name in drawing.draw_ascii()
    assert ElementTree.fromstring(drawing.draw_svg()) is not None


def test_names_that_are_written_alike_stay_two_nodes() -> None:
    first, second, *_ = body(drawn((START, "a b"), ("a b", "aȋ"), ("aȋ", END)).compile().get_graph())
    assert first.split("(")[0] != second.split("(")[0]


@pytest.mark.parametrize(
    ("label", "text"),
    [("go on", "go on"), ("one two three", "one two&nbsp<br>&nbspthree"), ("a|b.c", "a#124;b#46;c"), ("x--y", "x#45;#45;y")],
)
def test_labels_are_wrapped_and_escaped(label: str, text: str) -> None:
    builder = drawn((START, "a"), ("a", "b")).add_conditional_edges("b", nothing, {label: "a"})
    drawing = builder.compile().get_graph()
    assert f"\tb -. &nbsp;{text}&nbsp; .-> a;\n" in drawing.draw_mermaid(wrap_label_n_words=2)


# -- graphs within graphs -------------------------------------------------------------------------------------------


def nested() -> Any:
    deep = compiled({"a": spec(), "b": spec()}, (START, "a"), ("a", "b"))
    middle = compiled({"deep": spec(graph=deep), "after": spec()}, (START, "deep"), ("deep", "after"), ("after", END))
    return compiled({"top": spec(graph=middle), "last": spec()}, (START, "top"), ("top", "last"))


@pytest.mark.parametrize(
    ("xray", "lines"),
    [
        (False, ["top(top)", "last(last)", "__start__ --> top;", "top --> last;", "last --> __end__;"]),
        (0, ["top(top)", "last(last)", "__start__ --> top;", "top --> last;", "last --> __end__;"]),
        (
            1,
            [
                "last(last)",
                "__start__ --> top\\3adeep;",
                "top\\3aafter --> last;",
                "last --> __end__;",
                "subgraph top",
                "top\\3adeep(deep)",
                "top\\3aafter(after)",
                "top\\3adeep --> top\\3aafter;",
                "end",
            ],
        ),
        (
            True,
            [
                "last(last)",
                "__start__ --> top\\3adeep\\3aa;",
                "top\\3aafter --> last;",
                "last --> __end__;",
                "subgraph top",
                "top\\3aafter(after)",
                "top\\3adeep\\3ab --> top\\3aafter;",
                "subgraph deep",
                "top\\3adeep\\3aa(a)",
                "top\\3adeep\\3ab(b)",
                "top\\3adeep\\3aa --> top\\3adeep\\3ab;",
                "end",
                "end",
            ],
        ),
    ],
)
def test_xray_looks_into_graphs(xray: bool | int, lines: list[str]) -> None:
    assert body(draw_graph(nested(), xray)) == lines
    assert body(draw_graph(nested(), 2)) == body(draw_graph(nested(), True))


def test_start_and_end_of_an_inner_graph_stay_where_they_say_something() -> None:
    branching = compiled({"a": spec(), "b": spec()}, branches={START: {"a": "a", "b": "b"}})
    drawing = draw_graph(compiled({"top": spec(graph=branching)}, (START, "top")), True)
    assert list(drawing.nodes) == [START, END, "top:__start__", "top:a", "top:b", "top:__end__"]
    assert drawing.nodes["top:a"] == DrawnNode("top:a", "a", nothing)
    assert ("__start__", "top:__start__", None, False) in edges(drawing)
    labelled = compiled({"a": spec()}, branches={START: {"if asked": "a"}})
    drawing = draw_graph(compiled({"top": spec(graph=labelled)}, (START, "top")), True)
    assert ("top:__start__", "top:a", "if asked", True) in edges(drawing)


def test_boxes_of_the_same_name_stay_apart() -> None:
    inner = compiled({"a": spec(), "b": spec()}, (START, "a"), ("a", "b"))
    outer = compiled({"work": spec(graph=inner)}, (START, "work"))
    graph = compiled({"x": spec(graph=outer), "y": spec(graph=outer), "end": spec(graph=inner)}, (START, "x"), ("x", "y"))
    boxes = [line for line in body(draw_graph(graph, True)) if line.startswith("subgraph")]
    assert boxes == [
        "subgraph x",
        'subgraph x\\3awork_["work"]',
        "subgraph y",
        'subgraph y\\3awork_["work"]',
        'subgraph \\65nd_["end"]',
    ]


@pytest.mark.parametrize("xray", [-1, "yes", 1.5, None])
def test_an_xray_that_is_none_is_told_what_to_pass(xray: Any) -> None:
    with pytest.raises(GraphError, match=r"expected True, False, or how many levels .* `get_graph\(xray=1\)`"):
        drawn((START, "a")).compile().get_graph(xray=xray)


# -- styles ---------------------------------------------------------------------------------------------------------


class Curve(Enum):
    BASIS = "basis"


def test_styles_are_taken_as_langchain_gives_them() -> None:
    drawing = drawn((START, "a")).compile().get_graph()
    config = {
        "title": "x: y",
        "config": {"theme": "neutral", "v": [1, "a b"], "themeVariables": {"primaryColor": "#e2e2e2", "on": True}},
    }
    colours = SimpleNamespace(default="fill:red", first="fill:blue", last="fill:green")
    text = drawing.draw_mermaid(curve_style=Curve.BASIS, node_colors=colours, frontmatter_config=config)
    assert text.startswith(
        "---\nconfig:\n  flowchart:\n    curve: basis\n  theme: neutral\n  themeVariables:\n    'on': true\n"
        "    primaryColor: '#e2e2e2'\n  v:\n  - 1\n  - a b\ntitle: 'x: y'\n---\n"
    )
    assert text.endswith("\tclassDef default fill:red\n\tclassDef first fill:blue\n\tclassDef last fill:green\n")
    assert "classDef first fill:blue\n" in drawing.draw_mermaid(node_colors={"first": "fill:blue"})


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"curve_style": "wavy"}, "curve_style='wavy' is no curve: expected one of linear, basis"),
        ({"wrap_label_n_words": 0}, "wrap_label_n_words=0: expected how many words a line has"),
        ({"node_colors": {"first": 3}}, "node_colors has 3 for 'first': expected CSS such as 'fill-opacity:0'"),
    ],
)
def test_wrong_styles_are_told_what_to_pass(wrong: Any, told: str) -> None:
    with pytest.raises(GraphError, match=told):
        drawn((START, "a")).compile().get_graph().draw_mermaid(**wrong)
