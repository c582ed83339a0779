"""The three parts of the bench: which cases there are, what each must reach, and the tables they make."""

import subprocess
import sys
from collections.abc import Sequence
from itertools import product
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any, Final, get_args

import workloads
from measure import Comparison, Goal, Record, Sides, growth, heads
from report import Progress, number, show_table
from workloads import Conversation, Cost, Face, Node, Size, Store

IMPORT: Final = """
import sys
before = set(sys.modules)
from {package}.graph import StateGraph, MessagesState, START
print(*(set(sys.modules) - before))
"""
HEAVY: Final = ("langchain", "langsmith", "pydantic")
"""What an import of the graph should not bring along, by the start of the name."""

STEP_GOALS: Final[dict[Store, Goal]] = {"none": Goal("≥", 8), "memory": Goal("≥", 8), "sqlite": Goal("≥", 2)}

MARKS: Final = (10, 100, 400, 1_000)
COLD: Final = (100, 1_000)
SIZES: Final = {500: Goal("≤", 1.5), 5_000: Goal("≤", 1.2)}
"""Bytes of a message, and what the file may be in times of the unique bytes."""
LIMITS: Final = {("langgraph", 500): 400, ("langgraph", 5_000): 100}
"""LangGraph keeps the whole conversation at each checkpoint: 1,000 turns of 500 bytes would be 2 GB, 400 of 5 KB more."""
GROWTH: Final = Goal("≤", 1.5)
TOKEN: Final = Goal("≥", 5)


# -- import -------------------------------------------------------------------------------------------------------------


def imports(sides: Sides, progress: Progress, *, quick: bool) -> list[Record]:
    repeats = 3 if quick else 9
    commands = ["pass", *(IMPORT.format(package=package) for package in sides.packages)]
    loaded = [_child(command)[1].split() for command in commands]  # compiles what is not compiled yet
    rounds: list[list[Cost]] = []
    for done in range(repeats):
        progress(f"import, round {done + 1} of {repeats}")
        rounds.append([_child(command)[0] for command in commands])
    bare, ours, theirs = (list(costs) for costs in zip(*rounds, strict=True))
    start = workloads.middle(bare)
    net_ours, net_theirs = ([Cost(cpu - start.cpu, wall - start.wall) for cpu, wall in costs] for costs in (ours, theirs))
    lines = [
        Comparison("import", "the import alone", net_ours, net_theirs, goal=Goal("≥", 8)),
        Comparison("import", "the whole process", ours, theirs),
    ]
    modules: list[Record] = []
    for package, names in zip(sides.packages, loaded[1:], strict=True):
        heavy = sorted({name.partition(".")[0] for name in names if name.startswith(HEAVY)})
        modules.append({"workload": "import", "case": "modules", "package": package, "count": len(names), "heavy": heavy})
    sought = ", ".join(f"{name}*" for name in HEAVY)
    notes = [f"{each['package']}: {each['count']} modules; {sought}: {', '.join(each['heavy']) or 'none'}" for each in modules]
    notes.append(f"A Python that imports nothing takes {number(start.cpu * 1e3)} ms of CPU; it is taken off in the first line.")
    title = f"Import: from X.graph import StateGraph, MessagesState, START (fresh processes, median of {repeats})"
    show_table(title, heads("", "ms", *sides.packages), [line.row() for line in lines], notes)
    return [*(line.record() for line in lines), *modules]


def _child(program: str) -> tuple[Cost, str]:
    """What a fresh Python costs that runs the program, and what it prints."""
    before, watch = getrusage(RUSAGE_CHILDREN), workloads.Stopwatch()
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    wall, after = watch.read().wall, getrusage(RUSAGE_CHILDREN)
    return Cost(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall), done.stdout


# -- a step that does nothing -------------------------------------------------------------------------------------------


def steps(sides: Sides, progress: Progress, *, quick: bool) -> list[Record]:
    repeats, seconds = (3, 0.05) if quick else (7, 0.15)
    lines: list[Comparison] = []
    for store, face, node in product(get_args(Store), get_args(Face), get_args(Node)):
        progress(f"step: saver {store}, {face}, node {node}")
        ours, theirs = sides.in_turn(repeats, workloads.steps, face, store, node, seconds)
        saver, does = {"none": "no saver"}.get(store, store), {"none": "returns None"}.get(node, "writes an int")
        lines.append(Comparison("step", f"{saver}, {face}, {does}", ours, theirs, "µs", STEP_GOALS[store]))
    records = [line.record() for line in lines]
    notes: list[str] = []
    for face in get_args(Face):
        found = [sides.run(side, workloads.kept, face) for side in (0, 1)]
        if found[0] == found[1]:
            notes.append(f"sqlite, {face}, read back from both: {_listed(found[0])}")
        else:
            notes += [
                f"sqlite, {face}: NOT THE SAME, {name}: {_listed(each)}"
                for name, each in zip(sides.packages, found, strict=True)
            ]
        records.append({"workload": "step", "case": f"sqlite, {face}, kept", "ours": found[0], "theirs": found[1]})
    title = f"A no-op step: {workloads.STEPS} nodes in a row, one int, a fresh thread a run (a step, median of {repeats})"
    show_table(title, heads("", "µs", *sides.packages), [line.row() for line in lines], notes)
    return records


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


# -- a conversation that grows ------------------------------------------------------------------------------------------


def chats(sides: Sides, progress: Progress, *, quick: bool) -> list[Record]:
    repeats = 1 if quick else 3
    records: list[Record] = []
    for size, goal in SIZES.items():
        talks: tuple[list[Conversation], list[Conversation]] = ([], [])
        for done in range(repeats):
            for side, package in enumerate(sides.packages):
                progress(f"chat of {size} B: {package}, conversation {done + 1} of {repeats}")
                limit = min(LIMITS.get((package, size), MARKS[-1]), 100 if quick and package == "langgraph" else MARKS[-1])
                marks, cold = ([mark for mark in given if mark <= limit] for given in (MARKS, COLD))
                talks[side].append(sides.run(side, workloads.chat, size, marks, cold))
        records += _turns(sides, size, repeats, *talks)
        records += _growth(sides, size, *talks)
        records += _sizes(sides, size, goal, talks[0][0], talks[1][0])
    return records


def _turns(sides: Sides, size: int, repeats: int, ours: Sequence[Conversation], theirs: Sequence[Conversation]) -> list[Record]:
    lines: list[Comparison] = []
    for kind, words in (("warm", "saver kept open"), ("cold", "saver opened for it")):
        for mark in _costs(ours[0], kind):
            mine, other = (
                [_costs(talk, kind)[mark] for talk in talks if mark in _costs(talk, kind)] for talks in (ours, theirs)
            )
            lines.append(Comparison(f"chat {size} B", f"turn {mark:,}, {words}", mine, other))
    notes = [
        f"{package} stops at turn {limit} at most: 1,000 turns would write gigabytes."
        for package in dict.fromkeys(sides.packages)
        if (limit := LIMITS.get((package, size)))
    ]
    title = f"Chat: two messages of {size:,} B a turn, SQLite (a turn; median of those around it, of {_times(repeats)})"
    show_table(title, heads("", "ms", *sides.packages), [line.row() for line in lines], notes)
    return [line.record() for line in lines]


def _costs(talk: Conversation, kind: str) -> dict[int, Cost]:
    return talk.warm if kind == "warm" else talk.cold


def _times(repeats: int) -> str:
    return "one conversation" if repeats == 1 else f"{repeats} conversations"


def _growth(sides: Sides, size: int, *talks: Sequence[Conversation]) -> list[Record]:
    rows: list[list[str]] = []
    records: list[Record] = []
    for package, talk in zip(sides.packages, talks, strict=True):
        last = max(talk[0].warm)
        if last <= 100:
            continue
        found = growth([each.warm[100] for each in talk], [each.warm[last] for each in talk])
        verdict = GROWTH.verdict(found.cpu) if last == MARKS[-1] else ""
        rows.append([package, f"{last:,} : 100", f"{number(found.cpu)} x", f"{number(found.wall)} x", verdict])
        case = {"workload": f"chat {size} B", "case": f"turn {last} : turn 100", "package": package}
        records.append(case | {"ratio": found._asdict(), "goal": verdict or None})
    if rows:
        show_table(
            f"Chat: what a late turn costs against turn 100, {size:,} B", ["", "turns", "CPU", "wall", "must (CPU)"], rows
        )
    return records


def _sizes(sides: Sides, size: int, goal: Goal, ours: Conversation, theirs: Conversation) -> list[Record]:
    rows: list[list[str]] = []
    records: list[Record] = []
    for mark, mine in ours.sizes.items():
        other, verdict = theirs.sizes.get(mark), goal.verdict(mine.file / mine.unique) if mark >= 400 else ""
        ratio = f"{number(other.file / mine.file)} x" if other else "-"
        rows.append([f"{mark:,} turns", *_amounts(mine), *_amounts(other), ratio, verdict])
        case = {"workload": f"chat {size} B", "case": f"bytes after turn {mark}", "goal": verdict or None}
        records.append(case | {"ours": mine._asdict(), "theirs": other._asdict() if other else None})
    columns = [column for package in sides.packages for column in (f"{package}: kB", ": text", ": unique")]
    notes = ["text: the messages' characters. unique: each message once, as [type, id, content] in msgpack."]
    show_table(
        f"Chat: the file on disk, all checkpoints kept, {size:,} B", ["", *columns, "ratio", "must (: unique)"], rows, notes
    )
    return records


def _amounts(size: Size | None) -> list[str]:
    if size is None:
        return ["-"] * 3
    return [number(size.file / 1e3), f"{number(size.file / size.text)} x", f"{number(size.file / size.unique)} x"]


# -- tokens of a model --------------------------------------------------------------------------------------------------


def tokens_read(sides: Sides, progress: Progress, *, quick: bool) -> list[Record]:
    import tokens  # late: it needs langchain-core, which the parts before do without

    repeats = 3 if quick else 7
    lines: list[Comparison] = []
    notes: list[str] = []
    for face, waits in product(get_args(Face), (False, True)):
        progress(f"tokens: {face}, {waits}")
        ours, theirs = sides.in_turn(repeats, tokens.tokens, face, waits)
        case = f"{face}, {'a model that waits' if waits else 'all at once'}"
        over = [[share.over_model for share in shares] for shares in (ours, theirs)]
        lines.append(Comparison("tokens", f"{case}: beyond the model alone", *over, "µs", TOKEN))
        over = [[share.over_handler for share in shares] for shares in (ours, theirs)]
        lines.append(Comparison("tokens", f"{case}: beyond LangChain's hand-over", *over, "µs"))
        firsts = [sorted(share.first for share in shares)[len(shares) // 2] * 1e3 for shares in (ours, theirs)]
        notes.append(f"{case}: the first token after {number(firsts[0])} ms, {number(firsts[1])} ms")
    title = f'{tokens.TOKENS:,} tokens by stream_mode="messages" (a token, median of {repeats})'
    show_table(title, heads("", "µs", *sides.packages), [line.row() for line in lines], notes)
    return [line.record() for line in lines]
