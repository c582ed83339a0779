"""Many conversations at once in one process, each a thread of its own: how many turns a second, by the saver."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory
from typing import Any, Final, get_args

from measure import Comparison, Goal, Record, Sides
from report import Progress, show_table
from workloads import FLOOR, Cost, Place, Stopwatch, Store, async_saver, fresh, load, must_be, place_in, texts

PART: Final = "crowd"
CROWDS: Final = {1: 40, 16: 6, 128: 1, 1_000: 1}
"""How many at once, and how many turns each has, one after the other."""
GOALS: Final[dict[Store, Goal]] = {"sqlite full": Goal("≥", 15, "wall"), "postgres": Goal("≥", 9, "wall")}
LIMITS: Final[dict[Store, Goal]] = {"sqlite full": Goal("≤", 1.5, "wall"), "postgres": Goal("≤", 1.5, "wall")}
"""How far above the floor."""
JUDGED: Final = 128
SIZE: Final = 500


def crowd(package: str, store: Store, many: int, turns: int) -> Cost:
    """What a turn costs: a message of `SIZE` bytes, answered by one node, on a new thread each time."""
    from langchain_core.messages import AIMessage, HumanMessage

    graph, (asked, said) = load(package, "graph"), texts(2, SIZE)

    async def model(state: Any) -> Any:
        return {"messages": [AIMessage(said)]}

    builder = graph.StateGraph(graph.MessagesState)
    builder.add_node("model", model)
    builder.add_edge(graph.START, "model")
    builder.add_edge("model", graph.END)
    options = {"durability": "sync"} if store != "none" else {}

    async def talks(compiled: Any, times: int) -> None:
        for _ in range(times):
            found = await compiled.ainvoke({"messages": [HumanMessage(asked)]}, fresh(), **options)
            must_be(len(found["messages"]), 2)

    async def all_at_once() -> Cost:
        with TemporaryDirectory(prefix="bench-") as folder:
            opening = grouped if package == FLOOR else async_saver
            async with opening(package, store, place_in(folder, package)) as opened:
                compiled = builder.compile(checkpointer=opened)
                await talks(compiled, 2)
                watch = Stopwatch()
                await asyncio.gather(*(talks(compiled, turns) for _ in range(many)))
                return watch.read().shared(many * turns)

    return asyncio.run(all_at_once())


@asynccontextmanager
async def grouped(_: str, store: Store, place: Place) -> AsyncGenerator[Any]:
    """The floor's log for a crowd."""
    import floor_groups
    from psycopg import AsyncConnection

    if store == "none":
        yield None
    elif store == "postgres":
        floor_groups.PostgresLog.set_up(place.url)
        async with (
            await AsyncConnection.connect(place.url, autocommit=True) as reader,
            await AsyncConnection.connect(place.url, autocommit=True) as writer,
        ):
            yield floor_groups.GroupedPostgres(reader, writer)
    else:
        log = floor_groups.GroupedSqlite(str(place.path), store.split()[1])
        yield log
        log.close()


def suite(sides: Sides, progress: Progress, *, quick: bool) -> list[Record]:
    lines: list[Comparison] = []
    for store in get_args(Store):
        for many, turns in CROWDS.items():
            if quick and many == 1_000 and store != "none":
                continue
            progress(f"crowd: {many} at once, saver {store}")
            sampled = sides.in_turn(2 if quick else 3, crowd, store, many, turns, floor=store != "memory")
            goal, limit = (GOALS.get(store), LIMITS.get(store)) if many == JUDGED else (None, None)
            case = f"{many:,} at once, {'no saver' if store == 'none' else store}"
            lines.append(Comparison(PART, case, *sampled, unit="/s", goal=goal, limit=limit))
    title = "Conversations at once: a turn of one node, each on a new thread, asyncio (a turn; turns a second)"
    show_table(title, Comparison.heads("", "/s", *sides.packages), [line.row() for line in lines])
    return [line.record() for line in lines]
