"""`clew migrate`: threads of LangGraph into a database of Clew; see `clew.interop.langgraph.migration`."""

from typing import Annotated

import typer

from clew.cli import show
from clew.cli.loading import load_graph
from clew.cli.opening import open_saver
from clew.errors import ClewError
from clew.interop.langgraph import migration, tables


def migrate(
    source: Annotated[
        str, typer.Option("--from", metavar="URL", help="What LangGraph has written: postgresql://…, sqlite:///… or a file.")
    ],
    target: Annotated[
        str, typer.Option("--to", metavar="URL", help="Where the threads are to go: any database of Clew's, by its URL.")
    ],
    thread: Annotated[list[str] | None, typer.Option(help="Only this thread; may be given several times.")] = None,
    graph: Annotated[
        str | None, typer.Option(help="The threads' graph, such as app.py:graph: the types of its state are known then.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Bring threads anew that are there already.")] = False,
) -> None:
    """Bring threads over from LangGraph, with history, pending writes and questions. What is there already is left alone.

    The source is only read. A migration that was cut short is called again: it goes on with what is missing. Exits with 1
    where a thread could not be brought over, and with 2 where none could, as there is no such database.
    """
    try:
        drawn = load_graph(graph) if graph else None
        tables.opened(source).close()  # nothing is made where there is nothing to bring
        with open_saver(target, make=True) as saver, show.Bar() as bar:
            report = migration.migrate(source, saver, thread, graph=drawn, overwrite=overwrite, watcher=bar)
    except ClewError as error:
        show.failure(str(error))
        raise typer.Exit(2) from None
    show.migrated(report)
    if report.failed:
        raise typer.Exit(1)
