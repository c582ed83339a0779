"""Fuzzes what reads rows: `python tests/fuzz_decoder.py [SECONDS [SEED]]`. Exits with 1, the seed and the bytes where something
else came out than a value, an opaque one, or an error that says what is damaged; or where it took long. `make soak` runs it.
"""

import contextlib
import random
import resource
import signal
import sys
import time
from typing import Any, cast

import ormsgpack
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from clew.checkpoint import registry
from clew.checkpoint.codec import Split, decode, encode
from clew.checkpoint.manifest import read_answers, read_body
from clew.checkpoint.memory import InMemorySaver
from clew.checkpoint.reader import Reader
from clew.checkpoint.storage import Waiting, at_once
from clew.errors import CheckpointGone, DamagedData, MissingKey
from clew.graph import START, StateGraph
from clew.runtime.drive import drive, iterate
from clew.runtime.threads import Threads
from clew.types import Command, Send

LONGEST = 20  # seconds that one case may take
MEMORY = 6 << 30  # bytes of address space


class TooLong(BaseException):
    """A case that would not end."""


def seeds() -> list[bytes]:
    """Items and rows as they are written."""
    import datetime as dt
    import decimal
    import fractions
    import ipaddress
    import pathlib
    import re
    import uuid

    values: list[Any] = [
        (1, {2}, frozenset({"a"})), 1 << 80, 2j, b"x" * 30, "\ud800", {1: 2, (3,): 4}, bytearray(b"y"), range(3), slice(1),
        decimal.Decimal("1.5"), fractions.Fraction(1, 3), dt.datetime(2020, 1, 2, tzinfo=dt.UTC), dt.timedelta(1),
        uuid.UUID(int=3), pathlib.Path("/a"), re.compile("a+", re.IGNORECASE), ipaddress.ip_network("10.0.0.0/8"),
        Send("n", {"a": (1,)}),
        Command(goto=("a",)), HumanMessage("hi", id="1"), ToolMessage("r", tool_call_id="c", artifact=(1,)),
        AIMessage("", tool_calls=[{"name": "f", "args": {"x": 1}, "id": "c"}]), Split(1, [0, None], (0, 0, 2)), ValueError("x"),
    ]  # fmt: skip
    return [encode(value) for value in (*values, values)]


def thread(chance: random.Random) -> InMemorySaver:
    saver = InMemorySaver()
    builder = StateGraph(dict[str, Any])
    builder.add_node(
        "a", lambda state: Command(update={**state, "n": ["x" * 100] * 5}, goto=[Send("b", {"m": (1, "y" * 100)})])
    )
    builder.add_node("b", lambda state: state)
    builder.add_edge(START, "a")
    graph = builder.compile(checkpointer=saver)
    for n in range(3):
        graph.invoke({"deep": [{"k": [str(i + n) * 200 for i in range(5)]}], "s": {1, 2}}, {"configurable": {"thread_id": "t"}})
    return saver


def mutated(chance: random.Random, data: bytes, others: list[bytes]) -> bytes:
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(found) + 1)
        match chance.randrange(7):
            case 0 if found:
                found[at % len(found)] ^= 1 << chance.randrange(8)
            case 1:
                del found[at:]
            case 2:
                other = chance.choice(others)
                found[at:at] = other[chance.randrange(len(other) + 1) :]
            case 3 if found:
                found[at % len(found)] = chance.choice((0x91, 0x81, 0xC4, 0xC7, 0xCF, 0xDC, 0xDD, 0xDF, 0xFF, 0x00))
            case 4:
                found[at:at] = ormsgpack.packb(ormsgpack.Ext(chance.randrange(34), bytes(found[:200])))
            case 5:
                found = bytearray(ormsgpack.packb(ormsgpack.Ext(chance.randrange(34), bytes(found))))
            case _:
                found = bytearray(ormsgpack.packb(made_up(chance, 4)))
    return bytes(found)


def made_up(chance: random.Random, depth: int) -> Any:
    """Something that msgpack has a word for."""
    if not depth or chance.random() < 0.3:
        return chance.choice(
            (None, True, 0, 1, -1, 1 << 40, (1 << 63) - 1, 1.5, "", "os.system", "deep", b"", b"\xc0", encode((1,)))
        )
    if chance.random() < 0.3:
        code = chance.choice((*registry.MAKERS, 99))
        return ormsgpack.Ext(code, ormsgpack.packb(made_up(chance, depth - 1)))
    inner = [made_up(chance, depth - 1) for _ in range(chance.randrange(6))]
    return inner if chance.random() < 0.7 else {str(n): part for n, part in enumerate(inner)}


def read_damaged(chance: random.Random, saver: InMemorySaver, others: list[bytes]) -> bytes:
    """Damages one item or row of a thread and reads all of it."""
    kept = cast("Any", saver.storage)._threads["t"]
    table = chance.choice(("items", "rows"))
    store: dict[Any, Any] = getattr(kept, table)
    key = chance.choice(list(store))
    old = store[key]
    data = old if table == "items" else old[1].body
    pool: list[bytes] = [*others, *kept.items.values(), *[row.body for _, row in kept.rows.values()]]
    bad: bytes = chance.choice(pool) if chance.random() < 0.2 else mutated(chance, data, pool)
    store[key] = bad if table == "items" else (old[0], old[1]._replace(body=bad))
    try:
        for record in iterate(saver.history(Threads(), "t")):
            tried(record.whole)
    finally:
        store[key] = old
    return bad


def tried(job: Any) -> None:
    with contextlib.suppress(DamagedData, CheckpointGone, MissingKey):
        job()


def case(chance: random.Random, items: list[bytes], saver: InMemorySaver, seen: list[bytes]) -> None:
    if chance.random() < 0.2:
        seen[:] = [read_damaged(chance, saver, items)]
        return
    seen[:] = (data,) = [mutated(chance, chance.choice(items), items)]
    tried(lambda: decode(data))
    tried(lambda: read_body(data))
    tried(lambda: read_body(data).on(None))
    tried(lambda: read_body(data).on(read_body(chance.choice(items)).on(None)))
    tried(lambda: read_answers(data))
    entry: Any = made_up(chance, 3)
    if isinstance(entry, list):
        entry = cast("list[Any]", entry)
        seen.append(repr(entry).encode())
        tried(lambda: drive(Reader(Waiting(saver.storage, at_once), "t").value(entry)))


def run(seconds: float, seed: int, most: int | None = None) -> int:
    """How many cases went well. What did not is raised, with seed, number and bytes noted."""
    items, saver = seeds(), thread(random.Random(seed))
    until, said, number = time.monotonic() + seconds, time.monotonic(), 0
    while time.monotonic() < until and number != most:
        seen: list[bytes] = []
        try:
            case(random.Random(f"{seed}:{number}"), items, saver, seen)
        except BaseException as error:
            error.add_note(f"seed {seed}, case {number}: {seen!r}")
            raise
        number += 1
        if most is None:
            signal.alarm(LONGEST)
            if time.monotonic() > said + 5:
                said = time.monotonic()
                print(f"{number:,} cases, {until - said:.0f} s left", flush=True)
    signal.alarm(0)
    return number


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)

    def late(*_: Any) -> None:
        raise TooLong(f"a case took longer than {LONGEST} s")

    signal.signal(signal.SIGALRM, late)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        print(f"{run(seconds, seed):,} cases in {seconds:g} s, nothing found (seed {seed})")
    except BaseException as error:
        print(f"{type(error).__name__}: {error}\n{getattr(error, '__notes__', [''])[-1]}")
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
