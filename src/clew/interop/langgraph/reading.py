"""What a checkpoint of LangGraph means, in Clew's nouns. Pure: a `Stored` goes in, a `Read` comes out.

LangGraph keeps no frontier: a node runs next where the channel that triggers it has a newer version than the node has seen.
What a task came to stands beside the checkpoint as writes to channels: some are values, some lead on, some say how it ended.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, cast

from clew.checkpoint.codec import Opaque, decode
from clew.constants import PREVIOUS, START
from clew.errors import UnreadableThread
from clew.interop.langgraph.identities import JOIN, PULL, leads
from clew.interop.langgraph.outcomes import ASKED, CONTROL, NOTHING, OUTPUT, Edges, Outcomes, take_outcomes
from clew.interop.langgraph.tables import SENDS, Entry, Stored
from clew.schema import ROOT, fields_of
from clew.types import (
    Checkpoint,
    Join,
    Task,
    Write,
)

BRANCH: Final = "branch:to:"
GREGORIAN: Final = 0x01B2_1DD2_1381_4000  # 1970, in the 100 nanoseconds since 1582 that ids of LangGraph count
METADATA: Final = frozenset(
    {"source", "step", "parents", "writes", "thread_id", "checkpoint_id", "checkpoint_ns", "counters_since_delta_snapshot"}
)


Seen: TypeAlias = Mapping[str, Mapping[str, Any]]


@dataclass(slots=True, kw_only=True)
class Read(Outcomes):
    """A checkpoint of LangGraph as Clew has it, with what its tasks came to.

    Attributes:
        checkpoint: without `acted` and `children`, which the checkpoints before it tell.
        acted: the nodes that have acted last, as far as this checkpoint alone says so.
        parents: of a graph inside a task, by their namespaces the checkpoints around it. made: when, in nanoseconds since 1970.
    """

    entry: Entry
    checkpoint: Checkpoint
    acted: tuple[str, ...]
    metadata: dict[str, Any]
    parents: Mapping[str, str]
    made: int


def read(stored: Stored, edges: Edges, entry: str | None = None, hints: Sequence[str] = ()) -> Read:
    """A checkpoint with what its tasks came to.

    Args:
        edges: where those of a node lead, None where that is not known: versions before 0.3 left it to the graph.
        entry: the name of the function, where the graph is known to be a workflow of one.
        hints: what tasks may be told by, where no paths are kept; see `identities.by_id`.

    Raises:
        UnreadableThread: it rests on what only the graph's code knows.
    """
    about = stored.metadata
    if about.get("counters_since_delta_snapshot"):
        channels = sorted(about["counters_since_delta_snapshot"])
        raise _unreadable(stored, f"keeps {channels} in a DeltaChannel, whose value is worked out by the graph's code")
    frontier, waiting = _frontier(stored, edges)
    joins = _joins(stored, frontier, waiting)
    entry = entry or _told(stored)
    if entry is not None and START in stored.values:
        tasks: tuple[Task, ...] = (Task(entry, stored.values[START], sent=True),)
    elif START in stored.values:
        tasks = (Task(START, _input(stored)),)
    else:
        sends = [Task(send.node, send.arg, True, send.timeout) for send in stored.values.get(SENDS) or ()]
        tasks = (*sends, *[Task(name) for name in sorted(frontier)])
    checkpoint = Checkpoint(
        _values(stored), tasks, joins, frozenset(waiting), (), about.get("step", -1), about.get("source", "loop")
    )
    kept = {key: value for key, value in about.items() if key not in METADATA and not key.startswith("langgraph_")}
    kept["langgraph_checkpoint_id"] = stored.entry.id
    found = Read(
        entry=stored.entry,
        checkpoint=checkpoint,
        acted=_acted(stored),
        metadata=kept,
        parents=about.get("parents") or {},
        made=_made_at(stored.entry.id, stored.made),
    )
    take_outcomes(found, stored, tasks, edges, hints)
    if found.strangers and tasks and tasks[0].node == START:  # whatever has run here is not what an input is given to
        raise _unreadable(
            stored, "is of a workflow (`@entrypoint`) whose name is not kept: name the graph, `--graph app.py:graph`"
        )
    return found


def _unreadable(stored: Stored, why: str) -> UnreadableThread:
    return UnreadableThread(f"checkpoint {stored.entry.id} {why}.")


# -- the checkpoint itself ------------------------------------------------------------------------------------------


def _values(stored: Stored) -> dict[str, Any]:
    internal = ("branch:", JOIN, "start:", "__")
    nodes = stored.seen if stored.format < 3 else ()
    values = {
        key: value
        for key, value in stored.values.items()
        if key == ROOT or not (key.startswith(internal) or (key in nodes and value == key))
    }
    if PREVIOUS in stored.values:
        values[PREVIOUS] = stored.values[PREVIOUS]
        if START not in stored.values:
            values[ROOT] = stored.values.get(OUTPUT)
    return values


def _input(stored: Stored) -> tuple[Write, ...]:
    """What a new input writes: as START's own task told it, or else as it was given."""
    told = [write for write in stored.writes if write.path == f"~__pregel_pull, {START}" and not leads(write.channel)]
    if told:
        return tuple(Write(write.channel, write.value) for write in told if write.channel not in CONTROL | {NOTHING})
    given = stored.values[START]
    if isinstance(given, Opaque):  # an instance of the state's class, which is not known here: its fields are
        given = decode(given.data)[3]
    fields = cast("Mapping[str, Any] | None", given if isinstance(given, Mapping) else fields_of(given))
    return (Write(ROOT, given),) if fields is None else tuple(Write(key, value) for key, value in fields.items())


def _newer(stored: Stored, channel: str, node: str) -> bool:
    """Whether a channel has changed since the node has last reacted to it."""
    version, seen = stored.versions.get(channel), stored.seen.get(node, {}).get(channel)
    return version is not None and (seen is None or version > seen)


def _frontier(stored: Stored, edges: Edges) -> tuple[set[str], set[str]]:
    """The nodes that run next but for Sends, and the deferred ones that have been reached."""
    frontier: set[str] = set()
    waiting: set[str] = set()
    for channel, value in stored.values.items():
        if channel.startswith(BRANCH):
            node = channel.removeprefix(BRANCH)
        elif stored.format < 3 and channel.startswith(("branch:", "start:")):
            node = channel.rpartition(":")[2]
        else:
            continue
        deferred, released = _deferred(value)
        if deferred:
            waiting.add(node)
        if released and _newer(stored, channel, node):
            frontier.add(node)
    if stored.format < 3:
        frontier |= _by_edges(stored, edges)
    return frontier, waiting


def _by_edges(stored: Stored, edges: Edges) -> set[str]:
    """Versions before 0.3 had a channel of each node's own name, for which those after it watched."""
    found: set[str] = set()
    for node in [channel for channel, value in stored.values.items() if channel in stored.seen and value == channel]:
        watching = edges(node)
        if watching is None:
            raise _unreadable(
                stored,
                f"is of a version before 0.3, which left it to the graph where the edges of {node!r} lead: name the graph, "
                "`--graph app.py:graph`",
            )
        found |= {name for name in watching if _newer(stored, node, name)}
    return found


def _deferred(value: Any) -> tuple[bool, bool]:
    """Whether a trigger is that of a deferred node, and whether the node may run: its value is then a pair."""
    pair = cast("list[Any]", value) if isinstance(value, list | tuple) else []
    return (True, pair[1]) if len(pair) == 2 and isinstance(pair[1], bool) else (False, True)


def _joins(stored: Stored, frontier: set[str], waiting: set[str]) -> dict[Join, frozenset[str]]:
    """The joins with who has arrived; the targets of complete ones are added to what runs next, or waits."""
    joins: dict[Join, frozenset[str]] = {}
    for channel, value in stored.values.items():
        if not channel.startswith(JOIN):
            continue
        deferred, released = _deferred(value)
        arrived = frozenset[str](value[0] if deferred else value or ())
        sources, _, target = channel.removeprefix(JOIN).rpartition(":")
        names = tuple(sorted(set(sources.split("+"))))
        if not arrived <= set(names):
            raise _unreadable(
                stored, f"has the join {channel!r}, where {sorted(arrived)} arrived: it has a node with a + in its name"
            )
        if not arrived:
            continue
        joins[names, target] = arrived
        if len(arrived) < len(names):
            continue
        if deferred:
            waiting.add(target)
        if released and _newer(stored, channel, target):
            frontier.add(target)
    return joins


def workflow_of(seen: Seen) -> str | None:
    """The name of the function, where a thread is of a workflow (`@entrypoint`) that has run: it is given the input itself."""
    reacted = [name for name, channels in seen.items() if START in channels and not name.startswith("__")]
    return reacted[0] if reacted and START not in seen else None


def _told(stored: Stored) -> str | None:
    """The name of the function, as the path of its task tells it before it has ever ended."""
    told = [match[1] for write in stored.writes if (match := PULL.fullmatch(write.path)) and match[1] != START]
    return told[0] if told and START in stored.values and START not in stored.seen else None


def _acted(stored: Stored) -> tuple[str, ...]:
    """The nodes that have reacted to the newest version of all that any has."""
    last = {name: max(seen.values()) for name, seen in stored.seen.items() if seen and name not in ("__input__", ASKED)}
    newest = max(last.values(), default=None)
    return tuple(sorted(name for name, version in last.items() if version == newest))


def _made_at(id_: str, text: str) -> int:
    """When a checkpoint was made, in nanoseconds since 1970: as its id says, or what is written beside it."""
    digits = id_.replace("-", "")
    if re.fullmatch(r"[0-9a-f]{12}6[0-9a-f]{19}", digits):
        return (int(digits[:12] + digits[13:16], 16) - GREGORIAN) * 100
    try:
        made = datetime.fromisoformat(text)
    except ValueError:
        made = datetime.now(UTC)
    return int(made.timestamp() * 1_000_000) * 1000
