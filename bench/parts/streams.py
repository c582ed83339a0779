"""What is read from a stream: tokens of a model, and the steps of a graph whose state is large."""

from itertools import product
from typing import Any, Final, TypedDict, get_args

from measure import Amount, Comparison, Goal, Record, Sides
from report import Progress, show_table
from workloads import Cost, Face, Stopwatch, fresh, must_be

from parts.chains import chain

TOKEN: Final = Goal("≥", 5)
FIRST: Final = Goal("≤", 0.5)
STEPS: Final = 50
ITEMS: Final = 10_000


class Laden(TypedDict):
    n: int
    items: list[Any]


def tokens_read(sides: Sides, progress: Progress, *, quick: bool) -> list[Record]:
    import tokens  # late: it needs langchain-core, which the parts before do without

    repeats = 3 if quick else 5
    lines: list[Comparison] = []
    firsts: list[Amount] = []
    for face, waits in product(get_args(Face), (False, True)):
        progress(f"tokens: {face}, {waits}")
        ours, theirs = sides.in_turn(repeats, tokens.tokens, face, waits)
        case = f"{face}, {'a model that waits' if waits else 'all at once'}"
        over = [[share.over_model for share in shares] for shares in (ours, theirs)]
        lines.append(Comparison("tokens", f"{case}: beyond the model alone", *over))
        over = [[share.over_handler for share in shares] for shares in (ours, theirs)]
        lines.append(Comparison("tokens", f"{case}: beyond LangChain's hand-over", *over, goal=TOKEN))
        first = [sorted(share.first for share in shares)[len(shares) // 2] * 1e3 for shares in (ours, theirs)]
        firsts.append(
            Amount("tokens", f"{case}: the first token", *first, unit="ms", goal=FIRST if waits else None, alone=True)
        )
    title = f'{tokens.TOKENS:,} tokens by stream_mode="messages" (a token, median of {repeats})'
    show_table(title, Comparison.heads("", "µs", *sides.packages), [line.row() for line in lines])
    show_table("The first token", Amount.heads("", *sides.packages), [line.row() for line in firsts])
    return [line.record() for line in (*lines, *firsts)]


# -- the steps of a graph with a large state ----------------------------------------------------------------------------


def chunks(package: str, mode: str, seconds: float) -> Cost:
    """A chunk of a run whose state holds a list of `ITEMS` items that its steps leave alone."""
    builder = chain(package, "sync", STEPS, state=Laden)
    graph, given = builder.compile(), {"n": 0, "items": list(range(ITEMS))}
    found = list(graph.stream(given, fresh(), stream_mode=mode))
    must_be(len(found), STEPS + 1 if mode == "values" else STEPS)
    watch = Stopwatch()
    for _ in watch.laps(seconds):
        for _chunk in graph.stream(given, fresh(), stream_mode=mode):
            pass
    return watch.of_one(len(found))


def states_read(sides: Sides, progress: Progress, *, quick: bool) -> list[Record]:
    lines: list[Comparison] = []
    for mode in ("values", "updates"):
        progress(f"stream: {mode}")
        sampled = sides.in_turn(3 if quick else 7, chunks, mode, 0.05 if quick else 0.15, floor=True)
        lines.append(Comparison("stream", f'stream_mode="{mode}"', *sampled, limit=Goal("≤", 3)))
    title = f"Streams of a large state: {ITEMS:,} items, {STEPS} steps (a chunk)"
    show_table(title, Comparison.heads("", "µs", *sides.packages), [line.row() for line in lines])
    return [line.record() for line in lines]
