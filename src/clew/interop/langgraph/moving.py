"""One thread of LangGraph's becomes one of Clew's: checkpoint by checkpoint, through the journal, so each item is kept once.

It is put together in memory and arrives whole. What cannot be brought along is counted by its reason, and never passed over.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from operator import is_
from types import CodeType
from typing import Any, Final, NamedTuple, cast

from clew.checkpoint.base import Saver
from clew.checkpoint.hold import Hold
from clew.checkpoint.journal import Journal
from clew.checkpoint.memory import InMemorySaver
from clew.checkpoint.moving import arrive, frames_of
from clew.checkpoint.storage import Storage, Waiting, at_once
from clew.constants import START
from clew.engine.apply import task_key
from clew.graph.compiled import CompiledStateGraph
from clew.graph.inside import graph_at
from clew.ids import checkpoint_id_at, stamped, task_id
from clew.interop.langgraph.payload import Decoder
from clew.interop.langgraph.reading import Read, Seen, read, workflow_of
from clew.interop.langgraph.settling import keys_of, settled
from clew.interop.langgraph.tables import Entry, Stored, Tables
from clew.types import UNKNOWN, Answer, Link, Nothing, Paused, Result, Task, Values

LEVEL: Final = re.compile(r"([^|:]+)(?::([^|]+))?((?:\|\d+)?)$")
LOST: Final = "checkpoints of graphs within tasks, of which it is not kept what began them"


STRANGERS: Final = "outcomes of tasks of which it is not kept whose they are: those tasks run again (`--graph` may tell more)"


class Moved(NamedTuple):
    """What has come of a thread.

    Attributes:
        found, checkpoints: how many checkpoints it has there, and here. before, after: bytes of all that is kept of it there,
            and here, without what the databases add.
        left_out: by reason how many. unknown: types that are not registered here, with how many values.
    """

    found: int
    checkpoints: int
    before: int
    after: int
    left_out: Mapping[str, int]
    unknown: Mapping[str, int]


@dataclass(slots=True)
class Made:
    """A checkpoint that was brought along. `read` is there for as long as its superstep is open."""

    id: bytes
    ns: str
    begun: tuple[Link, ...]
    step: int
    acted: tuple[str, ...]
    children: Mapping[str, bytes]
    read: Read | None


async def move(
    tables: Tables,
    saver: Saver,
    thread: str,
    graph: CompiledStateGraph | None = None,
    tell: Callable[[int, int], None] | None = None,
) -> Moved:
    """Brings a thread over, whole or not at all. What `saver` has of it is deleted.

    Args:
        graph: the thread's, where it is at hand. tell: is told how many checkpoints are done, and of how many.

    Raises:
        UnreadableThread: something of it cannot be read. Whatever a saver raises.
    """
    with InMemorySaver() as apart:
        building = Building(tables, apart.storage, thread, graph)
        entries = building.entries
        for number, entry in enumerate(entries, 1):
            await building.add(entry)
            if tell is not None:
                tell(number, len(entries))
        await building.leave_open()
        saver.delete_thread(thread)
        arrive(saver.storage, frames_of(apart.storage, thread), thread, saver.lease)
        weight, left_out = apart.storage.weigh(thread), +building.left_out
    return Moved(len(entries), weight.checkpoints[0], tables.weight(thread), weight.bytes, left_out, building.decoder.unknown)


def is_there(saver: Saver, thread: str) -> bool:
    """Whether a saver has a thread. One without an outermost checkpoint is what a migration has left that was killed."""
    return saver.storage.load(thread, "", None).head is not None


def in_growth(entries: Sequence[Entry]) -> list[Entry]:
    """Checkpoints in the order of their ids, but none before the one that it grew from: clocks may differ."""
    by_id = {(entry.ns, entry.id): entry for entry in entries}
    found: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        line: list[Entry] = []
        while entry is not None and (entry.ns, entry.id) not in found and entry not in line:
            line.append(entry)
            entry = by_id.get((entry.ns, entry.parent or ""))
        found |= {(one.ns, one.id): one for one in reversed(line)}
    return list(found.values())


class Scribe(Journal):
    """A journal of checkpoints from elsewhere: their values tell which keys have changed, for nobody says who has written."""

    __slots__ = ()

    def compare(self, values: Values) -> None:
        """Counts the keys that may have changed as written. What nothing but its content tells is left to the ledger."""
        before: Values = self.saved.checkpoint.values if self.saved else {}
        self._keys.update(key for key, value in values.items() if key not in before or not _is_same(before[key], value))


def _hints(graph: CompiledStateGraph) -> set[str]:
    """The names that occur in the functions of a graph's nodes, of whatever they call; and the channels of its joins, which are
    named by their sources in the order in which these were given."""

    def named(code: CodeType) -> Iterator[str]:
        yield from (*code.co_names, *code.co_freevars)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                yield from named(constant)

    codes = [getattr(spec.given, "__code__", None) for spec in graph.builder.nodes.values()]
    orders = [(node, permutations(names) if len(names) < 6 else [names]) for names, node in graph.builder.joins]
    joins = {f"join:{'+'.join(some)}:{node}" for node, order in orders for some in order}
    return joins | {name for code in codes if isinstance(code, CodeType) for name in named(code)}


def _is_same(old: Any, new: Any) -> bool:
    if type(old) is list and type(new) is list:
        before, after = cast("list[Any]", old), cast("list[Any]", new)
        return len(before) == len(after) and all(map(is_, before, after))
    return old is new


class Building:
    """A thread that is being put together.

    Attributes:
        entries: its checkpoints, each after the one it grew from. decoder: has read their values. left_out: what is, by reason.
    """

    def __init__(self, tables: Tables, storage: Storage, thread: str, graph: CompiledStateGraph | None) -> None:
        self.decoder = Decoder()
        self.left_out: Counter[str] = Counter()
        self._tables, self._storage, self._thread, self._graph = tables, storage, thread, graph
        self.entries = in_growth(tables.entries(thread))
        self._after = {(entry.ns, entry.parent): entry for entry in reversed(self.entries) if entry.parent}
        self._ahead: dict[Entry, Stored] = {}
        self._seen: dict[str, Seen] = {}
        self._hold = Hold(storage, thread)
        self._journals: dict[str, Scribe] = {}
        self._made: dict[tuple[str, str], Made] = {}
        self._heads: dict[tuple[bytes, str], dict[str, bytes]] = {}  # of graphs that remember, by the task that ran them

    async def add(self, entry: Entry) -> None:
        found = self._with_ids(self._read(entry))
        placed = self._placed(found)
        if placed is None:
            self.left_out[LOST] += 1
            return
        ns, begun = placed
        before = self._made.get((entry.ns, entry.parent or ""))
        journal = await self._at(ns, before)
        journal.begun = begun
        closes = before is not None and before.read is not None and found.checkpoint.source == "loop"
        children: dict[str, bytes] = dict(before.children) if before else {}
        if before and before.read and closes:
            await _close(journal, before.read, found)
            for key in keys_of(before.read):
                children |= self._heads.get((before.id, key), {})
        acted = _acted(found, before)
        checkpoint = replace(found.checkpoint, acted=acted, children=children)
        journal.compare(checkpoint.values)
        seq, _ = journal.new_id()
        id_ = stamped(checkpoint_id_at(found.made), seq)
        await journal.commit(checkpoint, dict.fromkeys(checkpoint.values, True), found.metadata, named=(seq, id_))
        if before and closes:
            before.read = None
        self._made[entry.ns, entry.id] = Made(id_, ns, begun, checkpoint.step, acted, children, found)
        if begun and ":" not in ns.rpartition("|")[2]:
            self._heads.setdefault((begun[-1].checkpoint, begun[-1].task), {})[ns] = id_

    def _read(self, entry: Entry, *, again: bool = False) -> Read:
        stored = self._ahead.pop(entry, None) or self._tables.stored(self._thread, entry, self.decoder)
        if again:
            self._ahead[entry] = stored
        graph = graph_at(self._graph, entry.ns) if self._graph is not None else None
        plan = graph.program.plan if graph is not None else None

        def edges(node: str) -> Sequence[str] | None:
            return plan.stations[node].edges if plan and node in plan.stations else None

        hints = [*self._newest(entry.ns), *(_hints(graph) if graph is not None else ())]
        return read(stored, edges, plan.entry if plan else workflow_of(self._newest(entry.ns)), hints)

    def _newest(self, ns: str) -> Seen:
        """What nodes and functions have run in a namespace, by its newest checkpoint."""
        if ns not in self._seen:
            last = next(entry for entry in reversed(self.entries) if entry.ns == ns)
            self._seen[ns] = self._tables.stored(self._thread, last, self.decoder).seen
        return self._seen[ns]

    def _with_ids(self, found: Read) -> Read:
        """The checkpoint of an input, whose messages are those that the state has after it."""
        frontier, after = found.checkpoint.frontier, self._after.get((found.entry.ns, found.entry.id))
        if after is None or not frontier or frontier[0].node != START:
            return found
        given = Result(frontier[0].arg)
        kept = settled(replace(found, results={START: given}), self._read(after, again=True))[START][1].writes
        return replace(found, checkpoint=replace(found.checkpoint, frontier=(Task(START, kept),)))

    async def _at(self, ns: str, before: Made | None) -> Scribe:
        """The journal of a namespace, standing where the next checkpoint grows from."""
        journal = self._journals.get(ns)
        if journal is None:
            journal = self._journals[ns] = Scribe(Waiting(self._storage, at_once), self._hold, ns)
            await journal.open()
        if before is None:
            if journal.saved is not None:
                await journal.leave()
        elif journal.saved is None or journal.saved.id != before.id:
            await journal.open(before.id)
        return journal

    # -- graphs inside tasks ----------------------------------------------------------------------------------------

    def _placed(self, found: Read) -> tuple[str, tuple[Link, ...]] | None:
        """The namespace of a checkpoint by the names that tasks have here, and what began it; None where that is not kept."""
        ns = found.entry.ns
        if not ns:
            return "", ()
        level = LEVEL.search(ns)
        assert level is not None
        node, task, repeated = level.groups()
        outside = ns[: level.start()].removesuffix("|")
        around = self._made.get((outside, found.parents.get(outside, "")))
        if around is None or around.read is None:
            return None
        key = _key_of(around.read, node, task)
        if key is None:
            return None
        segment = f"{node}:{task_id(around.id, key)}" if task else node
        call = int(repeated[1:]) + 1 if repeated else 1
        return f"{around.ns}|{segment}{repeated}".lstrip("|"), (*around.begun, Link(around.ns, around.id, key, call))

    # -- supersteps that were never closed ----------------------------------------------------------------------------

    async def leave_open(self) -> None:
        """Keeps what is known of the tasks of all supersteps that have not ended."""
        newest = {made.ns: made for made in self._made.values()}
        by_id = {made.id: made for made in self._made.values()}
        _ask_outside(by_id, [made for made in newest.values() if made.begun and made.read is not None])
        for made in [made for made in self._made.values() if made.read is not None]:
            await self._keep_open(made, newest[made.ns] is made)

    async def _keep_open(self, made: Made, newest: bool) -> None:
        found = made.read
        assert found is not None
        if newest:
            self.left_out[STRANGERS] += len(found.strangers)
        frontier = found.checkpoint.frontier
        _answer(found)
        unfinished = [key for key in found.asked if key not in found.results]
        stops = newest and bool(frontier) and frontier[0].node != START and not unfinished and not found.failed
        if not (found.results or found.asked or found.answers or found.failed or found.notes or stops):
            return
        journal = self._journals[made.ns]
        if journal.saved is None or journal.saved.id != made.id:
            await journal.open(made.id)
        tasks = {task_key(frontier, index): task for index, task in enumerate(frontier)}
        for key, result in found.results.items():
            journal.take(key, tasks[key], replace(result, children=self._heads.get((made.id, key), {})))
        for key in unfinished:
            journal.pause(key, found.asked[key])
        for key, answers in found.answers.items():
            journal.answer(key, answers)
        for key, failed in found.failed.items():
            if key not in unfinished:
                journal.fail([key], failed)
        for key, note in found.notes.items():
            journal.note(key, note)
        if stops:  # it may have stopped there at a breakpoint, which LangGraph does not keep, and which going on passes
            journal.stop()
        await journal.keep()


def _ask_outside(by_id: Mapping[bytes, Made], inside: Sequence[Made]) -> None:
    """What graphs inside tasks ask, the tasks around them ask as well: it is told by the way there, and answered outside."""
    reads = [(made, made.read) for made in inside if made.read is not None]
    asking = [(made, found, key) for made, found in reads for key in found.asked if key not in found.results]
    relays = {(link.checkpoint, link.task) for made, _, _ in asking for link in made.begun}
    for id_, task in relays:
        if (around := by_id[id_].read) is not None:
            around.asked[task] = Paused(())
    for made, found, key in asking:
        if (made.id, key) in relays:
            continue
        way = _way(by_id, made, key)
        found.asked[key] = Paused(tuple(replace(one, slot=way + one.slot) for one in found.asked[key].questions))
        answers = tuple(replace(one, slot=way + one.slot) for one in found.answers.pop(key, ()))
        for link in made.begun:
            if (around := by_id[link.checkpoint].read) is not None:
                around.asked[link.task] = Paused((*around.asked[link.task].questions, *found.asked[key].questions))
        outermost, task = by_id[made.begun[0].checkpoint].read, made.begun[0].task
        if outermost is not None and answers:
            outermost.answers[task] = (*outermost.answers.get(task, ()), *answers)
            if answers[-1].value == outermost.given:
                outermost.given = Nothing.GIVEN


def _way(by_id: Mapping[bytes, Made], made: Made, key: str) -> str:
    """How a task inside others is told, from the outermost one on."""
    if not made.begun:
        return ""
    link = made.begun[-1]
    return f"{_way(by_id, by_id[link.checkpoint], link.task)}{link.call}/{made.step}/{key}/"


def _answer(found: Read) -> None:
    """Hands on the answer that nobody has taken, where only one question is open."""
    given = {key: {answer.slot for answer in answers} for key, answers in found.answers.items()}
    waiting = [
        (key, question)
        for key, paused in found.asked.items()
        if key not in found.results
        for question in paused.questions
        if question.slot not in given.get(key, ())
    ]
    if found.given is not Nothing.GIVEN and len(waiting) == 1:
        [(key, question)] = waiting
        found.answers[key] = (*found.answers.get(key, ()), Answer(question.slot, found.given, UNKNOWN, UNKNOWN))


def _key_of(around: Read, node: str, task: str | None) -> str | None:
    """The task that a graph was run by: by its id, or as the only one of its node."""
    if task is not None:
        found = next((key for key, ran in around.ran.items() if ran.id == task), None)
        if found is not None:
            return found
    frontier = around.checkpoint.frontier
    keys = [task_key(frontier, index) for index, one in enumerate(frontier) if one.node == node]
    return keys[0] if len(keys) == 1 else None


async def _close(journal: Journal, before: Read, after: Read) -> None:
    """Takes what the tasks of a superstep came to, for the checkpoint that ended it; what they asked is kept beside it."""
    for key, paused in before.asked.items():
        journal.pause(key, paused)
    for key, answers in before.answers.items():
        journal.answer(key, answers)
    if before.asked or before.answers:
        await journal.keep()
    for key, (task, result) in settled(before, after).items():
        if task.node != START:
            journal.take(key, task, result)


def _acted(found: Read, before: Made | None) -> tuple[str, ...]:
    checkpoint = found.checkpoint
    if checkpoint.source in ("input", "fork"):
        return before.acted if before else ()
    if checkpoint.source == "loop" and before and before.read and checkpoint.step == before.step + 1:
        return tuple(sorted({task.node for task in before.read.checkpoint.frontier}))
    return found.acted
