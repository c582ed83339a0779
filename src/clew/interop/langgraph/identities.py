"""Which task of a checkpoint is whose that LangGraph keeps something of: by its path, and where no paths are kept by its id.

LangGraph's SQLite saver kept no paths until lately. An id is a digest of the checkpoint, of what the task is, and of why it
runs: the channels that have triggered it, its number among the Sends, or which call of which task it is.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha1
from itertools import combinations
from typing import Final, TypeAlias

from clew.constants import START
from clew.engine.apply import task_key
from clew.errors import MissingDependency
from clew.interop.langgraph.tables import SENDS, Stored
from clew.types import Task

Whose: TypeAlias = dict[str, tuple[str, tuple[int, ...]]]
"""By ids of tasks: the key of a task, and of one that it has called (`@task`) the way there, of each call which it was."""

JOIN: Final = "join:"
NOBODY: Final = "00000000-0000-0000-0000-000000000000"  # whose writes are those of callers
PULL: Final = re.compile(r"~__pregel_pull, (.+)")
PUSH: Final = re.compile(r"~__pregel_push, (\d{10})(?:, \d{10})?")
CALL: Final = re.compile(r"(?:~__pregel_push, )+(~__pregel_pull, .+?|\d{10}(?:, \d{10})?)((?:, \d{10}, \d{10})+)")
MOST: Final = 5  # how many channels are thought to have triggered a task
DEEPEST: Final = 3  # how far calls within calls are looked for


def leads(channel: str) -> bool:
    """Whether what is written to a channel says what runs next."""
    return channel == SENDS or channel.startswith(("branch:", JOIN, "start:"))


def by_path(stored: Stored, frontier: Sequence[Task]) -> Whose:
    keys: dict[str | int, str] = {i if task.sent else task.node: task_key(frontier, i) for i, task in enumerate(frontier)}
    if frontier and START in stored.values:
        keys[frontier[0].node] = task_key(frontier, 0)  # a workflow's function, which is given its input
    found: Whose = {}
    for write in stored.writes:
        base, numbers = place(write.path)
        if base in keys:
            found[write.task] = keys[base], numbers
    return found


def place(path: str) -> tuple[str | int | None, tuple[int, ...]]:
    """What a path says: a node, or the number of a Send; and of a call within it the numbers of the calls there."""
    numbers: tuple[int, ...] = ()
    if match := CALL.fullmatch(path):
        numbers = tuple(int(number) for number in match[2].removeprefix(", ").split(", ")[::2])
        path = match[1] if match[1].startswith("~") else f"~__pregel_push, {match[1]}"
    if match := PULL.fullmatch(path):
        return match[1], numbers
    if match := PUSH.fullmatch(path):
        return int(match[1]), numbers
    return None, ()


def by_id(stored: Stored, frontier: Sequence[Task], hints: Sequence[str]) -> Whose:
    """`hints` are names that called functions may have, and channels that may trigger nodes, as far as the graph tells them."""
    wanted = {write.task for write in stored.writes} - {NOBODY}
    if not wanted:
        return {}
    identity, found, ns = _identity(stored), Whose(), stored.entry.ns
    callers: list[tuple[str, str, tuple[int, ...], str]] = []  # the key, the path, the way there, the namespace of the calls
    for index, task in enumerate(frontier):
        key, sent = task_key(frontier, index), task.sent and START not in stored.values
        path = f"~__pregel_push, {index:010d}, {0:010d}" if sent else f"~__pregel_pull, {task.node}"
        for reasons in [("__pregel_push", str(index))] if sent else _reasons(stored, task.node, hints):
            id_ = identity(ns, task.node, reasons)
            found[id_] = key, ()
            callers.append((key, path, (), _inside(ns, task.node, id_)))
    called = sorted({name for name in (*hints, *stored.seen) if not name.startswith("__") and not leads(name)})
    for _ in range(DEEPEST if wanted - found.keys() else 0):
        calls = [(caller, name, number) for caller in callers for name in called for number in range(len(wanted))]
        callers = []
        for (key, path, way, within), name, number in calls:
            id_ = identity(within, name, ("__pregel_push", path, str(number)))
            if id_ in wanted:
                found[id_] = key, (*way, number)
                inner = f"~__pregel_push, {path}, {number:010d}, {1:010d}"
                callers.append((key, inner, (*way, number), _inside(within, name, id_)))
    return found


def _inside(ns: str, name: str, id_: str) -> str:
    return f"{ns}|{name}:{id_}" if ns else f"{name}:{id_}"


def leads_to(channel: str, node: str) -> bool:
    return leads(channel) and channel.rpartition(":")[2] == node


def _reasons(stored: Stored, node: str, hints: Sequence[str]) -> Iterable[tuple[str, ...]]:
    """What may have triggered a node: each set of a few of the channels that it may watch. Of joins where nobody has arrived
    only the writes and the graph know."""
    known = (*stored.versions, *[write.channel for write in stored.writes], *hints)
    named = [channel for channel in known if leads_to(channel, node)]
    names = [channel for channel, value in stored.values.items() if channel == value]  # watched for before 0.3
    channels = sorted({*named, *names, f"branch:to:{node}", START})
    return (("__pregel_pull", *some) for size in range(1, MOST + 1) for some in combinations(channels, size))


def _identity(stored: Stored) -> Callable[[str, str, Sequence[str]], str]:
    """What makes the id of a task, of the namespace it is in, of its name, and of why it runs."""
    about, digest = stored.entry, _sha1 if stored.format == 1 else _xxh3()
    before, step = bytes.fromhex(about.id.replace("-", "")), str(stored.metadata["step"] + 1)

    def identity(ns: str, name: str, reasons: Sequence[str]) -> str:
        way = f"{ns}|{name}" if ns else name
        digits = digest(before + "".join((way, step, name, *reasons)).encode())
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))

    return identity


def _sha1(data: bytes) -> str:
    return sha1(data, usedforsecurity=False).hexdigest()


def _xxh3() -> Callable[[bytes], str]:
    try:
        from xxhash import xxh3_128_hexdigest
    except ImportError as error:
        raise MissingDependency(
            "This thread tells tasks by nothing but their ids, which xxhash has to make: `pip install 'clew[langgraph]'`."
        ) from error
    return xxh3_128_hexdigest
