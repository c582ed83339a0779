"""What new code makes of threads that older code has kept: what would break, and what merely changes. Nothing runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from clew.checkpoint.hold import Hold
from clew.checkpoint.journal import Journal
from clew.checkpoint.usertypes import Opaque
from clew.engine import snapshot
from clew.engine.migrate import current, lost
from clew.errors import ClewError
from clew.graph.inside import graph_at, with_places
from clew.runtime.drive import drive
from clew.runtime.settings import Settings
from clew.runtime.threads import Threads
from clew.types import Saved

if TYPE_CHECKING:
    from clew.checkpoint.base import Saver
    from clew.graph.compiled import CompiledStateGraph


class Finding(NamedTuple):
    """One thing that is to be known of a thread.

    Attributes:
        kind: `breaks`: it cannot go on with this code as it is; `note`: it can, and something is different.
        what: what was found. remedy: what to do about it; empty for a note.
    """

    kind: Literal["breaks", "note"]
    what: str
    remedy: str = ""


def check_thread(graph: CompiledStateGraph, saver: Saver, thread: str, ns: str = "") -> list[Finding]:
    """What this graph would make of a thread as it stands; of the graphs within that have not ended as well."""
    journal = Journal(saver.on(Threads()), Hold(saver.storage, thread), ns)
    try:
        saved = drive(journal.open())
    except ClewError as error:
        return [Finding("breaks", f"it cannot be read: {error}", "begin from an older checkpoint, or anew")]
    if saved is None:
        return []
    inside = f" (in {ns.partition(':')[0]!r})" if ns else ""
    found = [one._replace(what=one.what + inside) for one in _findings(graph, saved)]
    settings = Settings(thread, ns=ns, configurable={"thread_id": thread, "checkpoint_ns": ns})
    shown = snapshot.live(graph.program.plan, snapshot.Place(thread, ns), saved)
    for task in with_places(graph, settings, shown).tasks:
        if task.name in shown.next and task.state is not None:
            place: str = task.state["configurable"]["checkpoint_ns"]
            child = graph_at(graph, place.removeprefix(f"{ns}|") if ns else place)
            found += check_thread(child, saver, thread, place) if child else []
    return found


def _findings(graph: CompiledStateGraph, saved: Saved) -> Iterator[Finding]:
    plan = graph.program.plan
    saved = current(plan, saved)
    values = saved.checkpoint.values
    for node, what in lost(plan, saved.checkpoint, saved.records):
        asks = " and waits for an answer there" if node in saved.records else ""
        remedy = f"give the node that replaces it the old name as well: add_node(…, aliases=[{node!r}])"
        yield Finding("breaks", f"{what}{asks}, which is not a node any more", remedy)
    unused = sorted(values.keys() - plan.channels.keys() - plan.renamed.keys())
    if unused:
        yield Finding("note", f"keeps {unused}, which the state does not have: kept, and not shown")
    added = sorted(plan.channels.keys() - plan.by_new_names(values).keys() - {"__previous__"})
    if added and not plan.root:
        yield Finding("note", f"has no {added} yet: they begin with their defaults, or unset")
    for key, value in values.items():
        if key in plan.channels and (tags := sorted(set(_opaque(value)))):
            remedy = "make the types known: name them in the state's schema, or clew.register(…)"
            yield Finding("breaks", f"{key!r} holds values of types that nobody has registered: {tags}", remedy)
    yield from _refused(graph, dict(plan.completed(values)))


def _refused(graph: CompiledStateGraph, values: dict[str, Any]) -> Iterator[Finding]:
    plan = graph.program.plan
    for key in plan.channels:
        try:
            if plan.check is not None and key in values:
                plan.check(values, [key])
        except Exception as error:
            said = str(error).partition("\n")[2].strip().partition("\n")
            why = " ".join(part.strip() for part in (said[2] or said[0] or str(error)).split("\n")[:1])
            yield Finding("breaks", f"{key!r} does not fit the state: {why}", "write what fits with update_state")


def _opaque(value: Any) -> Iterator[str]:
    """The tags of unregistered values that a value holds."""
    if isinstance(value, Opaque):
        yield value.tag
    elif isinstance(value, Mapping):
        for inner in cast("Mapping[Any, Any]", value).values():
            yield from _opaque(inner)
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in cast("Iterable[Any]", value):
            yield from _opaque(inner)
