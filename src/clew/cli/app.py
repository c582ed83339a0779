"""The commands. Each opens a database, asks the library, and hands what it gets to `show`."""

import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

import clew
from clew.checkpoint.base import Saver
from clew.cli import show
from clew.cli.loading import NotLoaded, load_graph
from clew.cli.migrate import migrate
from clew.cli.models import SCRIPTED, Model, find_model
from clew.cli.opening import checked, open_saver, shown
from clew.errors import CheckpointGone, ClewError, DamagedData
from clew.graph import START, MessagesState, StateGraph
from clew.graph.checking import check_thread
from clew.graph.compiled import CompiledStateGraph
from clew.ids import id_bytes
from clew.runtime.drive import drive, iterate
from clew.runtime.inspect import get_branches
from clew.runtime.settings import Settings
from clew.runtime.threads import Threads
from clew.types import Outcome, Saved

app = typer.Typer(
    help="Clew keeps the thread of a conversation. Try `clew demo`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def database(named: Any) -> str:
    """A database as users name one; see `opening`."""
    try:
        return checked(str(named))
    except ClewError as error:
        raise typer.BadParameter(str(error)) from None


Database = Annotated[
    str,
    typer.Option(
        "--db", envvar="CLEW_DB", parser=database, metavar="URL", help="The database: a SQLite file, or the URL of a server's."
    ),
]
Thread = Annotated[str, typer.Argument(help="The thread's id, as `clew threads` lists it.")]


def fail(message: str) -> NoReturn:
    show.failure(message)
    raise typer.Exit(1)


def no_thread(thread: str, db: str) -> NoReturn:
    fail(f"There is no thread {thread!r} in {shown(db)!r}: `clew threads --db {shown(db)}` lists those there are.")


@contextmanager
def existing(db: str, *, make: bool = False, plain: bool = False) -> Generator[Saver]:
    """The saver of a database that is there; what is wrong with it is said in a line."""
    try:
        with open_saver(db, make=make, plain=plain) as saver:
            yield saver
    except ClewError as error:
        fail(str(error))


def conversation(model: Model, saver: Saver) -> CompiledStateGraph:
    """The graph of the guide: one node that calls a model with the messages so far."""

    def call_model(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("call_model", call_model)
    builder.add_edge(START, "call_model")
    return builder.compile(checkpointer=saver)


@app.command()
def chat(
    model: Annotated[str, typer.Option(help="`scripted`, or a model such as anthropic:claude-sonnet-5-5.")] = SCRIPTED,
    thread: Annotated[str, typer.Option(help="The conversation to go on with.")] = "1",
    db: Database = "clew.db",
    say: Annotated[list[str] | None, typer.Option("--say", help="Say this and leave; may be given again.")] = None,
) -> None:
    """Talk to a model that remembers, until you type `exit`."""
    with existing(db, make=True) as saver:
        graph = conversation(find_model(model), saver)
        config = {"configurable": {"thread_id": thread}}
        if say is None:
            show.welcome(thread, len(graph.get_state(config).values.get("messages", ())), model)
        for text in say if say is not None else show.typed():
            _turn(graph, text, config, interactive=say is None)


def _turn(graph: CompiledStateGraph, text: str, config: dict[str, Any], *, interactive: bool) -> None:
    """One message and its answer. What a model raises ends a conversation only where nobody is there to go on with it."""
    try:
        for chunk in graph.stream({"messages": [("user", text)]}, config, stream_mode="values"):
            message = chunk["messages"][-1]
            if not interactive or message.type != "human":
                message.pretty_print()
    except ClewError:
        raise
    except Exception as error:
        show.failure(f"The model failed: {type(error).__name__}: {error}")
        if not interactive:
            raise typer.Exit(1) from error


async def whole(saver: Saver, thread: str, limit: int | None = None) -> AsyncIterator[tuple[Saved, dict[str, Outcome]]]:
    """The checkpoints of a thread, newest first, each with what its tasks came to."""
    async for record in saver.history(Threads(), thread, limit=limit):
        yield record.whole()


async def lined(saver: Saver, thread: str, limit: int) -> AsyncIterator[tuple[Saved, dict[str, Outcome]]]:
    """The same for a listing: one that cannot be opened is listed by what its row says, and the others are all the same."""
    async for record in saver.history(Threads(), thread, limit=limit):
        try:
            found: tuple[Saved, dict[str, Outcome]] = record.whole()
        except (CheckpointGone, DamagedData):
            checkpoint = record.saved.checkpoint
            frontier = tuple(replace(task, arg=()) for task in checkpoint.frontier)
            found = replace(record.saved, checkpoint=replace(checkpoint, values={}, frontier=frontier, source="damaged")), {}
        yield found


@app.command()
def threads(db: Database = "clew.db") -> None:
    """List the threads of a database, the one moved last first."""
    with existing(db) as saver:
        show.threads(saver.threads(), shown(db))


@app.command()
def history(
    thread: Thread,
    db: Database = "clew.db",
    limit: Annotated[int, typer.Option(help="How many checkpoints at most, newest first.")] = 20,
) -> None:
    """List the checkpoints of a thread, newest first."""
    with existing(db) as saver:
        found = list(iterate(lined(saver, thread, limit)))
        if not found:
            no_thread(thread, db)
        show.history(thread, found)


@app.command("branches")
def list_branches(thread: Thread, db: Database = "clew.db") -> None:
    """List the branches of a thread, the one that moved last first."""
    with existing(db) as saver:
        found = drive(get_branches(saver, Threads(), Settings(thread)))
        if not found:
            no_thread(thread, db)
        show.branches(thread, found)


@app.command("show")
def show_checkpoint(
    thread: Thread,
    checkpoint: Annotated[str | None, typer.Argument(help="A checkpoint's number or id; default the newest.")] = None,
    db: Database = "clew.db",
) -> None:
    """Show the state of a thread at one checkpoint."""
    wanted = id_bytes(checkpoint) if checkpoint else None
    with existing(db) as saver:
        for saved, results in iterate(whole(saver, thread, None if checkpoint else 1)):
            if checkpoint in (None, str(saved.seq)) or saved.id == wanted:
                show.checkpoint(thread, saved, results)
                return
        if checkpoint:
            fail(f"Thread {thread!r} has no checkpoint {checkpoint!r}: `clew history {thread} --db {db}` lists them.")
        no_thread(thread, db)


@app.command()
def check(
    target: Annotated[str, typer.Argument(help="The graph as you would deploy it, such as app.py:graph.")],
    db: Database = "clew.db",
    as_json: Annotated[bool, typer.Option("--json", help="For machines: everything that was found, as JSON.")] = False,
) -> None:
    """Find out which threads new code would break, before it is deployed. Exits with 1 where it would break one."""
    try:
        graph = load_graph(target)
    except NotLoaded as error:
        show.failure(str(error))
        raise typer.Exit(2) from None
    with existing(db) as saver:
        rows = saver.threads()
        found = [(row.thread, check_thread(graph, saver, row.thread)) for row in show.progress(rows, "Checking threads")]
    show.checked(found, target, as_json=as_json)
    if any(finding.kind == "breaks" for _, findings in found for finding in findings):
        raise typer.Exit(1)


app.command()(migrate)


@app.command()
def demo() -> None:
    """Three conversations in three processes over one file: the second remembers the first, the third does not."""
    with tempfile.TemporaryDirectory(prefix="clew-demo-") as folder:
        db = Path(folder) / "demo.db"
        for number, (thread, text) in enumerate((("1", "hi! I'm bob"), ("1", "what's my name?"), ("2", "what's my name?")), 1):
            show.heading(f"Process {number}, thread {thread}")
            command = [sys.executable, "-m", "clew.cli", "chat", "--db", str(db), "--thread", thread, "--say", text]
            if subprocess.run(command, env={**os.environ, "PYTHONUNBUFFERED": "1"}).returncode:
                fail(f"Process {number} failed: see above.")
        show.heading("What was kept of thread 1")
        with existing(str(db)) as saver:
            show.history("1", list(iterate(whole(saver, "1"))))
            rows = saver.threads()
        show.cost(rows, db)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(clew.__version__)
