"""Threads of LangGraph into a saver of Clew, one after the other, each whole or not at all; what `clew migrate` does."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol

from clew.checkpoint.base import Saver
from clew.checkpoint.codec import register_schema
from clew.errors import ClewError, DatabaseError
from clew.graph.compiled import CompiledStateGraph
from clew.interop.langgraph.moving import Moved, is_there, move
from clew.interop.langgraph.tables import opened
from clew.runtime.drive import drive


@dataclass(slots=True)
class Report:
    """What has come of a migration.

    Attributes:
        moved: threads that were brought over. there: those that the saver had already. failed: why others could not be.
        before, after: bytes that the two databases take where they are kept; of the source with all that was not asked for.
    """

    moved: dict[str, Moved] = field(default_factory=dict[str, Moved])
    there: list[str] = field(default_factory=list[str])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    before: int = 0
    after: int = 0

    @property
    def left_out(self) -> Counter[str]:
        """What was left out of those that were brought over, by reason how many."""
        return _summed(moved.left_out for moved in self.moved.values())

    @property
    def unknown(self) -> Counter[str]:
        """Types that are not registered here, with how many values; they are read where a state names them."""
        return _summed(moved.unknown for moved in self.moved.values())


class Watcher(Protocol):
    """Who is told how far a migration is."""

    def begin(self, thread: str, number: int, threads: int) -> None: ...
    def tell(self, done: int, checkpoints: int) -> None: ...


def _summed(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for count in counts:
        found.update(count)
    return found


def migrate(
    source: str,
    saver: Saver,
    threads: Sequence[str] | None = None,
    *,
    graph: CompiledStateGraph | None = None,
    overwrite: bool = False,
    watcher: Watcher | None = None,
) -> Report:
    """Brings threads over from a database that LangGraph has written, with history, pending writes and questions.

    The source is only read. What stands in the way of one thread is no hindrance to the others; it is in the report.

    Args:
        source: `postgresql://…`, `sqlite:///…` or the path of a SQLite file. threads: which; default all.
        graph: the threads' graph: the types of its state are known then; threads of versions before 0.3 cannot do without.
        overwrite: bring threads anew that the saver has already; by default they are left alone.

    Raises:
        DatabaseError: there is no such database, or it has no such threads. MissingDependency: psycopg is not installed.
    """
    for schema in graph.builder.schemas if graph else ():
        register_schema(schema)
    with closing(opened(source)) as tables:
        report, names = Report(before=tables.occupies()), tables.threads()
        if missing := sorted(set(threads or ()) - set(names)):
            raise DatabaseError(f"The source has no threads {missing}; it has {len(names)}, such as {names[:5]}.")
        wanted = names if threads is None else list(threads)
        for number, name in enumerate(wanted, 1):
            if watcher is not None:
                watcher.begin(name, number, len(wanted))
            if is_there(saver, name) and not overwrite:
                report.there.append(name)
                continue
            try:
                report.moved[name] = drive(move(tables, saver, name, graph, watcher.tell if watcher else None))
            except Exception as error:  # a thread that cannot be read must not keep the others where they are
                kind = "" if isinstance(error, ClewError) else f"{type(error).__name__}: "
                report.failed[name] = f"{kind}{error}"
    report.after = saver.storage.occupies()
    return report
