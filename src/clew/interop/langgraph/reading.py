"""What a checkpoint of LangGraph means, in Clew's nouns. Pure: a `Stored` goes in, a `Read` comes out.

LangGraph keeps no frontier: a node runs next where the channel that triggers it has a newer version than the node has seen.
What a task came to stands beside the checkpoint as writes to channels: some are values, some lead on, some say how it ended.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, cast

from clew.checkpoint.codec import Opaque, decode, encode
from clew.constants import PREVIOUS, START
from clew.engine.apply import task_key
from clew.engine.plan import Plan
from clew.errors import UnreadableThread
from clew.interop.langgraph.tables import SENDS, Entry, Stored, Written
from clew.schema import ROOT, fields_of
from clew.types import (
    UNKNOWN,
    Answer,
    Checkpoint,
    Failed,
    Interrupt,
    Join,
    Nothing,
    Paused,
    Question,
    Result,
    Send,
    Task,
    Write,
)

BRANCH: Final = "branch:to:"
JOIN: Final = "join:"
NOBODY: Final = "00000000-0000-0000-0000-000000000000"  # whose writes are those of callers
ERROR, ASKED, ANSWERED, NOTHING, RETURNED, OUTPUT = (
    "__error__", "__interrupt__", "__resume__", "__no_writes__", "__return__", "__end__",
)  # fmt: skip
CONTROL: Final = frozenset({ERROR, ASKED, ANSWERED, "__error_source_node__", "__scheduled__"})
METADATA: Final = frozenset(
    {"source", "step", "parents", "writes", "thread_id", "checkpoint_id", "checkpoint_ns", "counters_since_delta_snapshot"}
)
PULL: Final = re.compile(r"~__pregel_pull, (.+)")
PUSH: Final = re.compile(r"~__pregel_push, (\d{10})(?:, \d{10})?")
CALL: Final = re.compile(r"((?:~__pregel_push, )+)(~__pregel_pull, .+?|\d{10}(?:, \d{10})?)((?:, \d{10}, \d{10})+)")


@dataclass(slots=True)
class Called:
    """What became of a function that a task called (`@task`): `numbers` is the way there, of each call which it was."""

    numbers: tuple[int, ...]
    writes: list[Written]


@dataclass(slots=True)
class Ran:
    """One task of a checkpoint: its id there, what it wrote, and what it called."""

    id: str = ""
    writes: list[Written] = field(default_factory=list[Written])
    called: dict[str, Called] = field(default_factory=dict[str, Called])


@dataclass(slots=True)
class Read:
    """A checkpoint of LangGraph as Clew has it.

    Attributes:
        checkpoint: without `acted` and `children`, which the checkpoints before it tell.
        acted: the nodes that have acted last, as far as this checkpoint alone says so.
        ran: its tasks by their keys, as far as anything is kept of them.
        results, asked, failed: what they came to. answers: those given to them. notes: results of what they called.
        given: the answer that a caller has given without saying to which question, where no task here has taken it yet.
    """

    entry: Entry
    checkpoint: Checkpoint
    acted: tuple[str, ...]
    metadata: dict[str, Any]
    parents: Mapping[str, str]
    ran: dict[str, Ran] = field(default_factory=dict[str, Ran])
    results: dict[str, Result] = field(default_factory=dict[str, Result])
    asked: dict[str, Paused] = field(default_factory=dict[str, Paused])
    answers: dict[str, tuple[Answer, ...]] = field(default_factory=dict[str, "tuple[Answer, ...]"])
    failed: dict[str, Failed] = field(default_factory=dict[str, Failed])
    notes: dict[str, bytes] = field(default_factory=dict[str, bytes])
    given: Any = Nothing.GIVEN


def read(stored: Stored, plan: Plan | None = None) -> Read:
    """A checkpoint with what its tasks came to.

    Args:
        plan: of the graph, where it is at hand: versions before 0.3 left it to the graph where edges lead.

    Raises:
        UnreadableThread: it rests on what only the graph's code knows.
    """
    about = stored.metadata
    if about.get("counters_since_delta_snapshot"):
        channels = sorted(about["counters_since_delta_snapshot"])
        raise _unreadable(stored, f"keeps {channels} in a DeltaChannel, whose value is worked out by the graph's code")
    frontier, waiting = _frontier(stored, plan)
    joins = _joins(stored, frontier, waiting)
    entry = plan.entry if plan else _entry(stored)
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
    found = Read(stored.entry, checkpoint, _acted(stored), kept, about.get("parents") or {})
    _outcomes(stored, found)
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
    told = [write for write in stored.writes if write.path == f"~__pregel_pull, {START}" and not _leads(write.channel)]
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


def _frontier(stored: Stored, plan: Plan | None) -> tuple[set[str], set[str]]:
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
        frontier |= _by_edges(stored, plan)
    return frontier, waiting


def _by_edges(stored: Stored, plan: Plan | None) -> set[str]:
    """Versions before 0.3 had a channel of each node's own name, which the nodes after it watched."""
    found: set[str] = set()
    for node in [channel for channel, value in stored.values.items() if channel in stored.seen and value == channel]:
        if plan is None:
            watched = [name for name, seen in stored.seen.items() if node in seen]
            if not watched:
                raise _unreadable(
                    stored,
                    f"is of a version before 0.3, which leaves it to the graph where the edges of {node!r} lead: give it with "
                    "`--graph app.py:graph`",
                )
        else:
            watched = list(plan.stations[node].edges) if node in plan.stations else []
        found |= {name for name in watched if _newer(stored, node, name)}
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


def _entry(stored: Stored) -> str | None:
    """The name of the function, where this is a workflow of one (`@entrypoint`)."""
    if START in stored.seen:
        return None
    reacted = [name for name, seen in stored.seen.items() if START in seen and not name.startswith("__")]
    told = [match[1] for write in stored.writes if (match := PULL.fullmatch(write.path)) and match[1] != START]
    if not reacted and START not in stored.values:
        return None
    return next(iter([*reacted, *told]), None)


def _acted(stored: Stored) -> tuple[str, ...]:
    """The nodes that have reacted to the newest version of all that any has."""
    last = {name: max(seen.values()) for name, seen in stored.seen.items() if seen and name not in ("__input__", ASKED)}
    newest = max(last.values(), default=None)
    return tuple(sorted(name for name, version in last.items() if version == newest))


# -- what its tasks came to -----------------------------------------------------------------------------------------


def _outcomes(stored: Stored, found: Read) -> None:
    _attribute(stored, found)
    frontier = found.checkpoint.frontier
    for index, task in enumerate(frontier):
        key = task_key(frontier, index)
        if (ran := found.ran.get(key)) is None:
            continue
        written = [write for write in ran.writes if write.channel not in CONTROL]
        error = next((write.value for write in ran.writes if write.channel == ERROR), None)
        # output and an error: it failed where it was to lead on, or it was run again since and led somewhere
        if written and (error is None or any(_leads(write.channel) for write in written)):
            found.results[key] = _result(task, written)
        elif error is not None:
            found.failed[key] = failed(error)
        found.notes |= _notes(key, ran)
    _questions(stored, found)


def _attribute(stored: Stored, found: Read) -> None:
    """Which task is whose: by its path; where none is kept it can only be the only one."""
    frontier = found.checkpoint.frontier
    keys = {("pull", task.node): task_key(frontier, i) for i, task in enumerate(frontier) if not task.sent}
    keys |= {("push", i): task_key(frontier, i) for i, task in enumerate(frontier) if task.sent}
    if frontier and frontier[0].sent and START in stored.values:
        keys["pull", frontier[0].node] = task_key(frontier, 0)
    pathless = not any(write.path for write in stored.writes)
    for write in stored.writes:
        if write.task == NOBODY:
            continue
        base, numbers = _place(write.path)
        key = keys.get(base) if base else next(iter(keys.values())) if pathless and len(keys) == 1 else None
        if key is None:
            continue
        ran = found.ran.setdefault(key, Ran())
        if numbers:
            ran.called.setdefault(write.task, Called(numbers, [])).writes.append(write)
        else:
            ran.id = write.task
            ran.writes.append(write)


def _place(path: str) -> tuple[tuple[str, Any] | None, tuple[int, ...]]:
    """What a task's path says: a node, or the number of a Send; and of a call within it the numbers of the calls there."""
    if match := PULL.fullmatch(path):
        return ("pull", match[1]), ()
    if match := PUSH.fullmatch(path):
        return ("push", int(match[1])), ()
    if match := CALL.fullmatch(path):
        numbers = [int(number) for number in match[3].removeprefix(", ").split(", ")[::2]]
        base = match[2]
        return ("pull", base.partition(", ")[2]) if base.startswith("~") else ("push", int(base[:10])), tuple(numbers)
    return None, ()


def _leads(channel: str) -> bool:
    return channel == SENDS or channel.startswith(("branch:", JOIN, "start:"))


def _result(task: Task, written: Iterable[Written]) -> Result:
    """What a finished task wrote, and where it leads: joins are told by who has acted."""
    writes: list[Write] = []
    targets: list[str | Send] = []
    for write in written:
        if write.channel == SENDS:
            targets.append(write.value)
        elif _leads(write.channel):
            if not write.channel.startswith(JOIN):
                targets.append(write.channel.rpartition(":")[2])
        elif write.channel == OUTPUT:
            writes.append(Write(ROOT, write.value))
        elif write.channel not in (NOTHING, RETURNED, task.node):
            writes.append(Write(write.channel, write.value))
    return Result(task.arg if task.node == START else tuple(writes), tuple(targets))


def failed(value: Any) -> Failed:
    """An error as LangGraph keeps it: the text that Python shows for it."""
    text = str(value)
    match = re.fullmatch(r"(\w+)\((.*)\)", text, re.DOTALL)
    if match is None:
        return Failed("Exception", text, "")
    message = match[2].removesuffix(",")
    quoted = len(message) > 1 and message[0] in "'\"" and message[-1] == message[0]
    return Failed(match[1], message[1:-1] if quoted else message, "")


def _notes(key: str, ran: Ran) -> dict[str, bytes]:
    """Results of functions that the task called. Which functions they were is not kept: they are told by their places."""
    notes: dict[str, bytes] = {}
    for called in ran.called.values():
        for write in called.writes:
            if write.channel == RETURNED:
                way = "/".join(f"@{number}" for number in called.numbers)
                notes[f"{key}|{way}"] = encode(["", UNKNOWN, UNKNOWN, called.numbers[-1], write.value])
    return notes


def _questions(stored: Stored, found: Read) -> None:
    """What tasks wait for, and what they were told. LangGraph keeps of each the question asked last, and all its answers."""
    given = next((write.value for write in stored.writes if write.task == NOBODY and write.channel == ANSWERED), Nothing.GIVEN)
    for key, ran in found.ran.items():
        questions: list[Question] = []
        answers: list[Answer] = []
        within: set[str] = set()
        for numbers, writes in (*[(called.numbers, called.writes) for called in ran.called.values()], ((), ran.writes)):
            way = "".join(f"@{number}/" for number in numbers)
            told = _told(writes)
            given = Nothing.GIVEN if told and told[-1] == given else given
            answers += [Answer(f"{way}{number}", value, UNKNOWN, UNKNOWN) for number, value in enumerate(told)]
            over = any(write.channel not in CONTROL for write in writes)
            for asked in (one for write in writes if write.channel == ASKED for one in write.value):
                if asked.id not in within:
                    number = len(told) - over if told else 0
                    questions.append(question(f"{way}{number}", asked))
                within.add(asked.id)
        if questions:
            found.asked[key] = Paused(tuple(questions))
        if answers:
            found.answers[key] = tuple(answers)
    found.given = given


def _told(writes: Iterable[Written]) -> list[Any]:
    told: list[Any] = [write.value for write in writes if write.channel == ANSWERED]
    return cast("list[Any]", told[0]) if told and isinstance(told[0], list) else told


def question(slot: str, asked: Interrupt) -> Question:
    digest = blake2b(encode(asked.value), digest_size=16).digest()
    return Question(slot, asked.value, digest, UNKNOWN, asked.response_schema)
