"""`clew migrate`: threads of LangGraph into a database of Clew, one after the other, each whole or not at all."""

from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from clew.checkpoint.base import Saver
from clew.checkpoint.codec import register_schema
from clew.checkpoint.sqlite import SqliteSaver
from clew.cli import show
from clew.cli.loading import NotLoaded, load_graph
from clew.errors import ClewError
from clew.graph.compiled import CompiledStateGraph
from clew.interop.langgraph.moving import Moved, is_there, move
from clew.interop.langgraph.tables import Tables, opened
from clew.runtime.drive import drive


@dataclass(slots=True)
class Report:
    """What has come of a migration.

    Attributes:
        moved: threads that were brought over. there: those that the target had already. failed: why others could not be.
        before, after: bytes that the two databases take where they are kept; of the source with all that was not asked for.
    """

    moved: dict[str, Moved] = field(default_factory=dict[str, Moved])
    there: list[str] = field(default_factory=list[str])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    before: int = 0
    after: int = 0

    @property
    def left_out(self) -> Counter[str]:
        return _summed(moved.left_out for moved in self.moved.values())

    @property
    def unknown(self) -> Counter[str]:
        return _summed(moved.unknown for moved in self.moved.values())


def _summed(counts: Iterable[Any]) -> Counter[str]:
    found: Counter[str] = Counter()
    for count in counts:
        found.update(count)
    return found


def migrate(
    source: Annotated[
        str, typer.Option("--from", metavar="URL", help="What LangGraph has written: postgresql://…, sqlite:///… or a file.")
    ],
    target: Annotated[str, typer.Option("--to", metavar="URL", help="Where the threads are to go: sqlite:///… or a file.")],
    thread: Annotated[list[str] | None, typer.Option(help="Only this thread; may be given several times.")] = None,
    graph: Annotated[
        str | None, typer.Option(help="The threads' graph, such as app.py:graph: the types of its state are known then.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Bring threads anew that are there already.")] = False,
) -> None:
    """Bring threads over from LangGraph, with history, pending writes and questions. What is there already is left alone.

    The source is only read. A migration that was cut short is called again: it goes on with what is missing. Exits with 1
    where a thread could not be brought over.
    """
    try:
        drawn = _drawn(graph)
        with closing(opened(source)) as tables, _target(target) as saver:
            report = brought(tables, saver, thread, drawn, overwrite=overwrite)
    except ClewError as error:
        show.failure(str(error))
        raise typer.Exit(2) from None
    show.migrated(report)
    if report.failed:
        raise typer.Exit(1)


def _target(url: str) -> Saver:
    return SqliteSaver(url.removeprefix("sqlite:///"))


def _drawn(target: str | None) -> CompiledStateGraph | None:
    """The graph; the types of its state can be read from then on."""
    if target is None:
        return None
    found = load_graph(target)
    for schema in found.builder.schemas:
        register_schema(schema)
    return found


def brought(
    tables: Tables, saver: Saver, only: list[str] | None, graph: CompiledStateGraph | None, *, overwrite: bool
) -> Report:
    """Brings these threads over, or all; what stands in the way of one is no hindrance to the others."""
    report, names = Report(before=tables.occupies()), tables.threads()
    if missing := sorted(set(only or ()) - set(names)):
        raise NotLoaded(f"The source has no threads {missing}; it has {len(names)}, such as {names[:5]}.")
    wanted = names if only is None else only
    with show.Bar(len(wanted)) as bar:
        for name in wanted:
            bar.begin(name)
            if is_there(saver, name) and not overwrite:
                report.there.append(name)
                continue
            try:
                report.moved[name] = drive(move(tables, saver, name, graph, bar.tell))
            except Exception as error:  # a thread that cannot be read must not keep the others where they are
                kind = "" if isinstance(error, ClewError) else f"{type(error).__name__}: "
                report.failed[name] = f"{kind}{error}"
    report.after = saver.storage.occupies()
    return report
