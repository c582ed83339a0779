"""What is read from a stream: tokens of a model, and the steps of a graph whose state is large."""

from itertools import product
from typing import Final, get_args

from measure import Amount, Comparison, Goal, Record, Sides
from report import Progress, show_table
from workloads import Face

TOKEN: Final = Goal("≥", 5)
FIRST: Final = Goal("≤", 0.5)


def tokens_read(sides: Sides, progress: Progress, *, quick: bool) -> list[Record]:
    import tokens  # late: it needs langchain-core, which the parts before do without

    repeats = 3 if quick else 7
    lines: list[Comparison] = []
    firsts: list[Amount] = []
    for face, waits in product(get_args(Face), (False, True)):
        progress(f"tokens: {face}, {waits}")
        ours, theirs = sides.in_turn(repeats, tokens.tokens, face, waits)
        case = f"{face}, {'a model that waits' if waits else 'all at once'}"
        over = [[share.over_model for share in shares] for shares in (ours, theirs)]
        lines.append(Comparison("tokens", f"{case}: beyond the model alone", *over, goal=TOKEN if face == "async" else None))
        over = [[share.over_handler for share in shares] for shares in (ours, theirs)]
        lines.append(Comparison("tokens", f"{case}: beyond LangChain's hand-over", *over))
        first = [sorted(share.first for share in shares)[len(shares) // 2] * 1e3 for shares in (ours, theirs)]
        firsts.append(Amount("tokens", f"{case}: the first token", *first, unit="ms", goal=FIRST, alone=True))
    title = f'{tokens.TOKENS:,} tokens by stream_mode="messages" (a token, median of {repeats})'
    show_table(title, Comparison.heads("", "µs", *sides.packages), [line.row() for line in lines])
    show_table("The first token", Amount.heads("", *sides.packages), [line.row() for line in firsts])
    return [line.record() for line in (*lines, *firsts)]
