"""How things look in a terminal. Only this file knows of `rich`; it asks nothing of a database."""

import sys
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self, TypeVar, cast

from rich.console import Console
from rich.markup import escape
from rich.pretty import Pretty
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, track
from rich.table import Table

from clew.checkpoint.pruning import Pruned
from clew.checkpoint.stats import Stats, ThreadStats
from clew.checkpoint.storage import ThreadRow
from clew.constants import START
from clew.graph.checking import Finding
from clew.ids import created_ms, id_bytes, id_text, stamp_of
from clew.interop.langgraph.migration import Report
from clew.types import Branch, Outcome, Paused, Result, Saved

T = TypeVar("T")
OUT: Final = Console()
ERRORS: Final = Console(stderr=True)


def failure(message: str) -> None:
    ERRORS.print(f"[red]✗[/] {escape(message)}", highlight=False, soft_wrap=True)


def heading(text: str) -> None:
    OUT.print()
    OUT.rule(f"[bold]{escape(text)}[/]", align="left")
    sys.stdout.flush()


def welcome(thread: str, messages: int, model: str) -> None:
    before = f"{messages} messages so far" if messages else "a new conversation"
    OUT.print(f"[bold]Thread {escape(thread)}[/] with {escape(model)}: {before}. Type `exit` to leave.")


def typed() -> Iterator[str]:
    """What is typed, line by line, until `exit` or the end of input."""
    while True:
        try:
            text = OUT.input("[bold cyan]you ›[/] ").strip()
        except (EOFError, KeyboardInterrupt):
            OUT.print()
            return
        if text in ("exit", "quit"):
            return
        if text:
            yield text


def threads(rows: Sequence[ThreadRow], db: str) -> None:
    if not rows:
        OUT.print(f"{escape(db)} holds no threads yet.")
        return
    table = Table("thread", "checkpoints", "size", "last moved", title=f"Threads in {escape(db)}", title_justify="left")
    for column in table.columns[1:3]:
        column.justify = "right"
    for row in rows:
        table.add_row(escape(row.thread), str(row.checkpoints), size(row.size), moment(row.newest))
    OUT.print(table)


def progress(rows: Sequence[T], what: str) -> Iterator[T]:
    """The rows one after the other, with a bar for whoever waits; it goes when it is done."""
    return iter(track(rows, what, console=ERRORS, transient=True, disable=len(rows) < 50))


def stats(found: Stats, db: str) -> None:
    table = Table("thread", "checkpoints", "items", "bytes", "mostly", title=f"What {escape(db)} holds", title_justify="left")
    for column in table.columns[1:4]:
        column.justify = "right"
    for one in found.threads:
        items = sum(amount.number for amount in one.channels.values())
        most = next(iter(one.channels), "")
        table.add_row(escape(one.thread), f"{one.checkpoints.number:,}", f"{items:,}", f"{one.bytes:,}", escape(most))
    OUT.print(table)
    together = sum(one.bytes for one in found.threads)
    said(f"{len(found.threads)} threads hold {size(together)}; the database takes {size(found.occupies)} where it is.")


def channels(found: ThreadStats) -> None:
    table = Table("channel", "items", "bytes", title=f"What thread {escape(found.thread)} holds", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, amount in found.channels.items():
        table.add_row(escape(name), f"{amount.number:,}", f"{amount.bytes:,}")
    table.add_section()
    table.add_row("checkpoints", f"{found.checkpoints.number:,}", f"{found.checkpoints.bytes:,}")
    table.add_row("outcomes", f"{found.outcomes.number:,}", f"{found.outcomes.bytes:,}")
    OUT.print(table)


def pruned(done: Pruned) -> None:
    said(
        f"{done.checkpoints:,} checkpoints of {done.threads:,} threads deleted, with {done.items:,} items: {size(done.bytes)}."
    )
    if done.busy:
        said(f"{done.busy} threads were being run; prune again for them.")
    if done.bytes:
        said("`clew reclaim` gives that back to the system.")


def resealed(number: int, left: Sequence[tuple[str, str]]) -> None:
    _not_done(left)
    said(f"{number - len(left):,} of {number:,} threads are sealed with the current key.")


def reclaimed(before: int, after: int) -> None:
    said(f"The database took {size(before)} and takes {size(after)} now.")


@contextmanager
def busy(what: str) -> Generator[None]:
    """Something that turns while a step takes that has no parts to count."""
    with ERRORS.status(what):
        yield


def said(text: str) -> None:
    OUT.print(escape(text), highlight=False, soft_wrap=True)


def copied(found: Sequence[tuple[str, str]], target: str) -> None:
    """How copying threads went: those that did not are named."""
    counts = Counter(verdict for _, verdict in found)
    _not_done([(name, verdict) for name, verdict in found if verdict not in ("copied", "there already")])
    done, there = counts["copied"], counts["there already"]
    said(f"{done} thread{'' if done == 1 else 's'} copied to {target}" + (f", {there} there already." if there else "."))


def _not_done(found: Sequence[tuple[str, str]]) -> None:
    """Threads with which something could not be done, and why."""
    for name, why in found:
        OUT.print(f"[red]✗[/] [bold]{escape(name)}[/] {escape(why)}", highlight=False, soft_wrap=True)


class Bar:
    """How far a migration is, for whoever waits: the threads, and the checkpoints of the one that is moving."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=ERRORS, transient=True)
        self._threads, self._one = self._progress.add_task("Threads", total=None), self._progress.add_task("", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, thread: str, number: int, threads: int) -> None:
        self._progress.update(self._threads, completed=number - 1, total=threads)
        self._progress.reset(self._one, description=f"Thread {escape(thread)}", total=None)

    def tell(self, done: int, checkpoints: int) -> None:
        self._progress.update(self._one, completed=done, total=checkpoints)


def migrated(report: Report) -> None:
    """What a migration has brought over, and what not."""
    moved = report.moved.values()
    table = Table("", "LangGraph", "Clew", title="Migrated", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("threads", str(len(moved)), str(len(moved)))
    table.add_row("checkpoints", f"{sum(m.found for m in moved):,}", f"{sum(m.checkpoints for m in moved):,}")
    table.add_row("what they hold", size(sum(m.before for m in moved)), size(sum(m.after for m in moved)))
    table.add_row("the databases", size(report.before), size(report.after))
    OUT.print(table)
    if report.there:
        OUT.print(f"{_count(report.there)} there already; `--overwrite` brings them anew.")
    for why, count in report.left_out.items():
        OUT.print(f"[yellow]![/] Left out: {count} {escape(why)}.", highlight=False, soft_wrap=True)
    for kind, count in report.unknown.items():
        told = f"{count} values are of the type {kind!r}, which is not known here: they are read where a graph names it."
        OUT.print(f"[yellow]![/] {escape(told)}", highlight=False, soft_wrap=True)
    for thread, why in report.failed.items():
        OUT.print(f"[red]✗[/] [bold]{escape(thread)}[/] {escape(why)}", highlight=False, soft_wrap=True)


def _count(threads: Sequence[str]) -> str:
    return f"{len(threads)} thread{'s were' if len(threads) > 1 else ' was'}"


def checked(found: Sequence[tuple[str, Sequence[Finding]]], target: str, *, as_json: bool) -> None:
    if as_json:
        OUT.print_json(data={thread: [finding._asdict() for finding in findings] for thread, findings in found if findings})
        return
    broken = [(thread, one) for thread, findings in found for one in findings if one.kind == "breaks"]
    notes = Counter(one.what for _, findings in found for one in findings if one.kind == "note")
    for thread, one in broken:
        OUT.print(f"[red]✗[/] [bold]{escape(thread)}[/] {escape(one.what)}", highlight=False, soft_wrap=True)
        OUT.print(f"  → {escape(one.remedy)}", highlight=False, soft_wrap=True)
    for what, count in notes.most_common():
        OUT.print(f"[dim]·[/] {count} thread{'s' if count > 1 else ''}: {escape(what)}", highlight=False, soft_wrap=True)
    bad = len({thread for thread, _ in broken})
    verdict = f"[red]✗[/] {bad} would break" if bad else "[green]✓[/] none would break"
    OUT.print(f"{len(found)} threads checked against {escape(target)}: {verdict}", highlight=False, soft_wrap=True)


def history(thread: str, found: Iterable[tuple[Saved, Mapping[str, Outcome]]]) -> None:
    table = Table("#", "step", "source", "then runs", "which wrote", "made", title_justify="left")
    table.title = f"Thread {escape(thread)}, newest first; `clew show {escape(thread)} #` shows one of them"
    for column in table.columns[:2]:
        column.justify = "right"
    table.columns[4].overflow = "fold"
    table.columns[5].no_wrap = True
    for saved, results in found:
        checkpoint = saved.checkpoint
        table.add_row(
            str(saved.seq),
            str(checkpoint.step),
            checkpoint.source,
            escape(", ".join(task.node.strip("_") for task in checkpoint.frontier)) or "[dim]nothing[/]",
            escape(wrote(saved, results)),
            moment(saved.id).rpartition(" ")[2],
        )
    OUT.print(table)


def branches(thread: str, found: Iterable[Branch]) -> None:
    table = Table("branch", "head #", "left at #", "checkpoints", "last moved", title_justify="left")
    table.title = f"Branches of thread {escape(thread)}; `clew show {escape(thread)} #` shows a checkpoint"
    for column in table.columns[1:4]:
        column.justify = "right"
    for branch in found:
        head = identity(branch.head)
        left = "" if branch.fork_point is None else str(stamp_of(identity(branch.fork_point)))
        name = f"{escape(branch.name)} [dim](goes on)[/]" if branch.current else escape(branch.name)
        table.add_row(name, str(stamp_of(head)), left, str(branch.steps), moment(head))
    OUT.print(table)


def identity(config: Mapping[str, Any]) -> bytes:
    """The id of the checkpoint that a config names."""
    return id_bytes(config["configurable"]["checkpoint_id"]) or b""


def wrote(saved: Saved, results: Mapping[str, Outcome]) -> str:
    """What a checkpoint's tasks came to write, in a few words."""
    parts: list[str] = []
    for task in saved.checkpoint.frontier:
        if task.node == START:
            parts += [f"{key}: {brief(value)}" for key, value in task.arg]
    for outcome in results.values():
        if isinstance(outcome, Result):
            parts += [f"{key}: {brief(value)}" for key, value in outcome.writes]
        elif isinstance(outcome, Paused):
            parts += [f"? {brief(question.value)}" for question in outcome.questions]
        else:
            parts.append(f"✗ {outcome}")
    return "\n".join(parts)


def checkpoint(thread: str, saved: Saved, results: Mapping[str, Outcome]) -> None:
    """One checkpoint whole: where it stands, and every value."""
    heading(f"Thread {thread}, step {saved.checkpoint.step} ({saved.checkpoint.source})")
    OUT.print(f"checkpoint {id_text(saved.id)} (#{saved.seq}), made {moment(saved.id)}")
    if saved.parent:
        OUT.print(f"grew from  {id_text(saved.parent)}")
    runs = ", ".join(task.node for task in saved.checkpoint.frontier)
    OUT.print(f"then runs  {escape(runs) or 'nothing'}", f"— {escape(wrote(saved, results))}" if results else "")
    for key, value in saved.checkpoint.values.items():
        OUT.print(f"\n[bold]{escape(key)}[/]")
        if isinstance(value, list) and value and all(hasattr(message, "pretty_repr") for message in value):  # pyright: ignore
            for message in value:  # pyright: ignore
                OUT.print(escape(message.pretty_repr()), highlight=False)  # pyright: ignore
        else:
            OUT.print(Pretty(value, max_string=2000))


def cost(rows: Sequence[ThreadRow], db: Path) -> None:
    content = sum(row.size for row in rows)
    checkpoints = sum(row.checkpoints for row in rows)
    OUT.print(
        f"All {checkpoints} checkpoints of {len(rows)} threads are kept in [bold]{size(content)}[/], "
        f"in a file of {size(db.stat().st_size)} (SQLite sets out with one page of 4 kB for each table)."
    )


def brief(value: Any) -> str:
    items = cast("list[Any]", value) if isinstance(value, list) else [value]
    shown = [f"{item.type}: {item.content}" if hasattr(item, "pretty_repr") else repr(item) for item in items]
    text = "; ".join(" ".join(one.split()) for one in shown)
    return text if len(text) <= 60 else text[:59] + "…"


def moment(checkpoint_id: bytes) -> str:
    return datetime.fromtimestamp(created_ms(checkpoint_id) / 1000, UTC).astimezone().strftime("%d %b %H:%M:%S")


def size(count: int) -> str:
    if count < 10_000:
        return f"{count:,} bytes"
    return f"{count / 1000:,.0f} kB" if count < 10_000_000 else f"{count / 1_000_000:,.1f} MB"
