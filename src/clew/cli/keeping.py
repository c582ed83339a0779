"""Commands about what is kept and for how long: what threads cost, pruning them, giving back what that has freed."""

from typing import Annotated

import typer

from clew.checkpoint.base import Saver
from clew.checkpoint.pruning import Pruned
from clew.cli import show
from clew.cli.app import Database, app, existing, fail, no_thread
from clew.cli.opening import encryption, shown
from clew.errors import MissingKey, TamperedRow


@app.command()
def stats(
    thread: Annotated[str | None, typer.Argument(help="A thread, to see it by channel; by default all.")] = None,
    db: Database = "clew.db",
) -> None:
    """Show what threads cost: bytes by thread, or of one thread by channel."""
    with existing(db) as saver:
        if thread is not None:
            found = saver.stats(thread).threads[0]
            if not found.checkpoints.number:
                no_thread(thread, db)
            show.channels(found)
            return
        show.stats(saver.stats(), shown(db))


@app.command()
def prune(
    threads: Annotated[list[str] | None, typer.Argument(help="Threads; by default all of them.")] = None,
    db: Database = "clew.db",
    keep_last: Annotated[int | None, typer.Option(help="How many of each thread's newest checkpoints stay.")] = None,
    older_than: Annotated[str | None, typer.Option(help="Only what is older goes, such as 30d or 12h.")] = None,
) -> None:
    """Delete old checkpoints. Heads, named ones, ends of branches that wait, and what those need are kept in any case."""
    if keep_last is None and older_than is None:
        fail("Nothing says what goes: pass --keep-last 20, or --older-than 30d, or both.")
    with existing(db) as saver:
        names = threads or [row.thread for row in saver.threads()]
        done = Pruned()
        for name in show.progress(names, "Pruning threads"):
            try:
                done += saver.prune([name], keep_last=keep_last, older_than=older_than)
            except ValueError as error:
                fail(str(error))
    show.pruned(done)


@app.command()
def reseal(
    threads: Annotated[list[str] | None, typer.Argument(help="Threads; by default all of them.")] = None,
    db: Database = "clew.db",
    plain: Annotated[bool, typer.Option("--plain", help="Seal what was kept without encryption so far, too.")] = False,
) -> None:
    """Encrypt anew what another key than the first one in CLEW_KEY has sealed. Exits with 1 where threads were left."""
    if encryption() is None:
        fail("There is no key to seal with: set CLEW_KEY to the new one and the old ones, with commas between.")
    with existing(db) as saver:
        names = threads or [row.thread for row in saver.threads()]
        left = [(name, why) for name in show.progress(names, "Sealing threads") if (why := _left(saver, name, plain=plain))]
    show.resealed(len(names), left)
    if left:
        raise typer.Exit(1)


def _left(saver: Saver, name: str, *, plain: bool) -> str:
    """Seals a thread anew, and says why it was left; empty where it was not."""
    try:
        return "being run: seal it again" if saver.reseal(name, plain=plain) else ""
    except (TamperedRow, MissingKey) as error:
        return str(error)


@app.command()
def reclaim(db: Database = "clew.db") -> None:
    """Give back to the system what deleted threads and checkpoints have left free. It may take long, and holds up others."""
    with existing(db) as saver:
        before = saver.storage.occupies()
        with show.busy("Reclaiming"):
            saver.reclaim()
        show.reclaimed(before, saver.storage.occupies())
