"""What `coming-from-langgraph.md` says of LangGraph's names is so: what it calls same or better is there, nothing else is."""

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from support.faces import Face
from support.pages import ROOT

from clew.graph import START, StateGraph

PAGE = ROOT / "docs" / "how-to" / "coming-from-langgraph.md"
HERE, AWAY = ("same", "better"), ("not yet", "left out")
NAMES, ARGUMENTS, KEYS = "Names", "Arguments", "Keys"
NAMED = re.compile(r"`([^`]+)`")


class Table(NamedTuple):
    """A table of the page: what it lists (names, arguments or keys), of which modules or objects, and the verdict of each."""

    kind: str
    places: tuple[str, ...]
    rows: tuple[tuple[str, str], ...]


def tables() -> Iterator[Table]:
    for section in PAGE.read_text().split("\n### ")[1:]:
        heading, _, body = section.partition("\n")
        kind, _, places = heading.partition(" of ")
        if kind not in (NAMES, ARGUMENTS, KEYS):
            continue
        rows = [line.replace(r"\|", "/").strip("| ").split("|") for line in body.splitlines() if line.startswith("| `")]
        listed = tuple((name, row[1].strip()) for row in rows for name in NAMED.findall(row[0]))
        yield Table(kind, tuple(NAMED.findall(places)), listed)


def found(path: str) -> Any:
    """The module, or what it holds, of this dotted path; None where there is none."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            place: Any = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError as error:
            if error.name is None or not path.startswith(error.name):  # it is there, and something that it needs is not
                raise
            continue
        for name in parts[end:]:
            place = getattr(place, name, None)
        return place
    return None


def known(kind: str, place: Any, name: str) -> bool:
    if kind == KEYS:
        return name in place.__annotations__
    if kind == ARGUMENTS:
        return name in inspect.signature(place).parameters
    return hasattr(place, name) or name in getattr(place, "__annotations__", {})


TABLES = list(tables())
ROWS = [(table, name, verdict) for table in TABLES for name, verdict in table.rows]


def test_the_page_has_tables() -> None:
    assert len(ROWS) > 200
    assert all(table.places and table.rows for table in TABLES)
    assert {verdict for _, _, verdict in ROWS} == {*HERE, *AWAY}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table.kind} of {table.places[0]}")
def test_a_table_is_so(table: Table) -> None:
    places = {path: found(path) for path in table.places}
    there = [path for path, place in places.items() if place is not None]
    if any(verdict in HERE for _, verdict in table.rows):
        assert there == list(places)
    wrong: list[str] = []
    for name, verdict in table.rows:
        homes = [path for path in there if known(table.kind, places[path], name)]
        if bool(homes) != (verdict in HERE):
            wrong.append(f"{name} is called {verdict!r} and is {f'in {homes}' if homes else 'not there'}")
    assert not wrong, f"{table.kind} of {', '.join(places)}, in {PAGE.name}: {wrong}"


def test_every_name_is_listed_once() -> None:
    listed = [(table.kind, table.places, name) for table, name, _ in ROWS]
    assert len(listed) == len(set(listed))


def plain(state: Any) -> None:
    return None


def test_invoke_takes_what_the_table_of_stream_lists(face: Face) -> None:
    """It hands on what it does not name itself, so this tries."""
    graph = StateGraph(dict[str, int]).add_node(plain).add_edge(START, "plain").compile()
    stream = next(table for table in TABLES if table.places == ("clew.graph.state.CompiledStateGraph.stream",))
    defaults = inspect.signature(graph.stream).parameters
    for name, verdict in stream.rows:
        if verdict in AWAY:
            with pytest.raises(TypeError, match=name):
                face.invoke(graph, {}, **{name: None})
        elif name not in ("input", "config", "stream_mode"):
            face.invoke(graph, {}, **{name: defaults[name].default})
