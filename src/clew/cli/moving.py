"""Commands that take threads from one place to another: a file, another name, another database."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from clew.checkpoint.base import Saver
from clew.checkpoint.moving import arrive, digest_of, frames_of
from clew.cli import show
from clew.cli.app import Database, Thread, app, database, existing, fail
from clew.cli.opening import shown
from clew.errors import ThreadConflict

TRIES: Final = 3


@app.command("export")
def export_thread(
    thread: Thread,
    db: Database = "clew.db",
    to: Annotated[Path | None, typer.Option("--to", help="The file; by default what the output is sent to.")] = None,
) -> None:
    """Write a thread with its whole history to a file: clew export THREAD > file."""
    if to is None and sys.stdout.isatty():
        fail(f"A thread is no text for a terminal: send it to a file, as in `clew export {thread} > thread.clew`.")
    with existing(db) as saver:
        saver.export_thread(thread, sys.stdout.buffer if to is None else to)
        sys.stdout.flush()


@app.command("import")
def import_thread(
    db: Database = "clew.db",
    name: Annotated[str | None, typer.Option("--as", help="The name that it is to have; by default the one it had.")] = None,
    source: Annotated[Path | None, typer.Option("--from", help="The file; by default what the input is read from.")] = None,
) -> None:
    """Read a thread from a file that `clew export` wrote: clew import < file. It arrives whole or not at all."""
    if source is None and sys.stdin.isatty():
        fail("There is no file to read: give it one, as in `clew import < thread.clew`.")
    if source is not None and not source.exists():
        fail(f"There is no file {str(source)!r} here.")
    with existing(db, make=True) as saver:
        made = saver.import_thread(sys.stdin.buffer if source is None else source, name)
    show.said(f"Thread {made!r} is in {shown(db)}.")


@app.command()
def copy(
    source: Annotated[str, typer.Option("--from", parser=database, metavar="URL", help="The database to copy from.")],
    target: Annotated[str, typer.Option("--to", parser=database, metavar="URL", help="The one to copy to.")],
    thread: Annotated[list[str] | None, typer.Option(help="Only this thread; may be given again.")] = None,
    from_plain: Annotated[
        bool, typer.Option("--from-plain", help="The first is not encrypted, though CLEW_KEY is set.")
    ] = False,
    to_plain: Annotated[bool, typer.Option("--to-plain", help="The second is not to be encrypted, likewise.")] = False,
) -> None:
    """Copy threads from one database to another, of whatever kind. What is there already is passed over, so it can be called
    again. Exits with 1 where a thread could not be copied."""
    with existing(source, plain=from_plain) as old, existing(target, make=True, plain=to_plain) as new:
        names = thread or [row.thread for row in old.threads()]
        there = {row.thread for row in new.threads()}
        found = [(name, _copied(old, new, name, there=name in there)) for name in show.progress(names, "Copying threads")]
    show.copied(found, shown(target))
    if any(verdict not in ("copied", "there already") for _, verdict in found):
        raise typer.Exit(1)


def _copied(old: Saver, new: Saver, name: str, *, there: bool) -> str:
    """Copies a thread, and says how that went."""
    for _ in range(TRIES):
        try:
            if there:
                same = digest_of(frames_of(old.storage, name)) == digest_of(frames_of(new.storage, name))
                return "there already" if same else "another thread of this name is there: delete it, or export and import it"
            arrive(new.storage, frames_of(old.storage, name), None, new.lease)
        except ThreadConflict:
            continue
        return "copied"
    return "being run: copy it again"
