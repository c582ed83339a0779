"""The engine alone, without a saver: compiling, one node, wide state, fan-out by `Send` and into subgraphs, an agent's loop."""

import operator
from collections.abc import Callable
from typing import Annotated, Any, Final, NamedTuple, TypedDict, get_args

from measure import Comparison, Goal, Record, Sides
from report import Progress, show_table
from workloads import Cost, Face, Stopwatch, Work, cost_of, load, must_be

from parts.chains import chain

FLOORED: Final = Goal("≤", 3)
WIDTH: Final = 600
WIDE_STEPS: Final = 50
INNER_STEPS: Final = 10
SUBGRAPHS: Final = 100


class Gathered(TypedDict, total=False):
    width: int
    found: Annotated[list[int], operator.add]


class Inner(TypedDict, total=False):
    n: int
    found: Annotated[list[int], operator.add]


class Found(TypedDict):
    found: Annotated[list[int], operator.add]


# -- compiling ----------------------------------------------------------------------------------------------------------


def compiling(package: str, length: int, seconds: float) -> Cost:
    """What a node costs in `compile()`; the builder is made outside of the clock."""
    builder = chain(package, "sync", length)
    builder.compile()
    watch = Stopwatch()
    for _ in watch.laps(seconds):
        builder.compile()
    return watch.of_one(length)


# -- one node, wide state -----------------------------------------------------------------------------------------------


def one_node(package: str, face: Face, seconds: float) -> Cost:
    work = Work(chain(package, face, 1), lambda: {"n": 0}, lambda found: must_be(found, {"n": 1}), 1)
    return cost_of(package, work, face, seconds)


def wide(package: str, face: Face, seconds: float) -> Cost:
    """A state of `WIDTH` keys; each node reads two of them and writes three."""
    graph = load(package, "graph")
    keys = [f"k{number}" for number in range(WIDTH)]
    builder = graph.StateGraph(TypedDict("Wide", dict.fromkeys(keys, int)))  # pyright: ignore
    names = [f"n{number}" for number in range(WIDE_STEPS)]

    def node(number: int) -> Callable[[Any], Any]:
        a, b, c, d = (keys[(7 * number + away) % WIDTH] for away in range(4))

        def reads_and_writes(state: Any) -> Any:
            total = state[a] + state[d]
            return {b: total, c: total + 1, d: 1}

        return reads_and_writes

    for number, name in enumerate(names):
        builder.add_node(name, _on(face, node(number)))
    for before, after in zip([graph.START, *names], [*names, graph.END], strict=True):
        builder.add_edge(before, after)
    work = Work(builder, lambda: dict.fromkeys(keys, 1), lambda found: must_be(len(found), WIDTH), WIDE_STEPS)
    return cost_of(package, work, face, seconds)


# -- fan-out ------------------------------------------------------------------------------------------------------------


def fan(package: str, face: Face, width: int, seconds: float) -> Cost:
    """One router sends so many tasks, whose results are gathered in a list."""

    def worker(state: Any) -> Any:
        return {"found": [state["n"]]}

    return cost_of(package, _fan(package, _on(face, worker), width, width, int), face, seconds)


def subgraphs(package: str, face: Face, seconds: float) -> Cost:
    """One router sends `SUBGRAPHS` tasks, each a graph of `INNER_STEPS` nodes; the cost of a node of these."""
    graph = load(package, "graph")

    def one(state: Any) -> Any:
        return {"n": state["n"] + 1}

    def last(state: Any) -> Any:
        return {"found": [state["n"]]}

    inner = graph.StateGraph(Inner, output_schema=Found)
    names = [f"n{number}" for number in range(INNER_STEPS)]
    for name in names:
        inner.add_node(name, _on(face, last if name == names[-1] else one))
    for before, after in zip([graph.START, *names], [*names, graph.END], strict=True):
        inner.add_edge(before, after)

    def ended(n: int) -> int:
        return n + INNER_STEPS - 1

    return cost_of(package, _fan(package, inner.compile(), SUBGRAPHS, SUBGRAPHS * INNER_STEPS, ended), face, seconds)


def _fan(package: str, worker: Any, width: int, parts: int, ended: Callable[[int], int]) -> Work:
    graph, send = load(package, "graph"), load(package, "types").Send

    def route(state: Any) -> Any:
        return [send("worker", {"n": number}) for number in range(state["width"])]

    builder = graph.StateGraph(Gathered)
    builder.add_node("worker", worker)
    builder.add_conditional_edges(graph.START, route, ["worker"])
    builder.add_edge("worker", graph.END)
    expected = [ended(number) for number in range(width)]
    return Work(builder, lambda: {"width": width, "found": []}, lambda found: must_be(found["found"], expected), parts)


# -- an agent's loop, by hand -------------------------------------------------------------------------------------------


def agent(package: str, face: Face, turns: int, seconds: float) -> Cost:
    """A scripted model that calls a tool so many times and then ends; the cost of a step, of which a turn has two."""
    from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

    graph = load(package, "graph")

    def model(state: Any) -> Any:
        turn = len(state["messages"]) // 2
        if turn == turns:
            return {"messages": [AIMessage("done")]}
        call = {"name": "look", "args": {"turn": turn}, "id": f"call-{turn}"}
        return {"messages": [AIMessage("", tool_calls=[call])]}

    def tools(state: Any) -> Any:
        calls = state["messages"][-1].tool_calls
        return {"messages": [ToolMessage(f"found {call['args']['turn']}", tool_call_id=call["id"]) for call in calls]}

    def route(state: Any) -> str:
        return "tools" if state["messages"][-1].tool_calls else graph.END

    builder = graph.StateGraph(graph.MessagesState)
    builder.add_node("model", _on(face, model))
    builder.add_node("tools", _on(face, tools))
    builder.add_edge(graph.START, "model")
    builder.add_conditional_edges("model", route, ["tools", graph.END])
    builder.add_edge("tools", "model")

    def check(found: Any) -> None:
        must_be([len(found["messages"]), found["messages"][-1].content], [2 * turns + 2, "done"])

    work = Work(builder, lambda: {"messages": [HumanMessage("go")]}, check, 2 * turns + 1)
    return cost_of(package, work, face, seconds)


def _on(face: Face, node: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The node for that face."""
    if face == "sync":
        return node

    async def awaited(state: Any) -> Any:
        return node(state)

    return awaited


# -- the cases ----------------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    name: str
    work: Callable[..., Cost]
    arguments: tuple[Any, ...]
    goal: Goal | None
    limit: Goal | None = FLOORED


def _faces(name: str, work: Callable[..., Cost], goals: dict[Face, Goal | None], *arguments: Any) -> list[Case]:
    return [Case(f"{name}, {face}", work, (face, *arguments), goals[face]) for face in get_args(Face)]


def _both(bound: float) -> dict[Face, Goal | None]:
    return {"sync": Goal("≥", bound), "async": Goal("≥", bound)}


NONE: Final[dict[Face, Goal | None]] = {"sync": None, "async": None}


def compiles(sides: Sides, progress: Progress, *, quick: bool) -> list[Record]:
    found = [Case(f"{n:,} nodes", compiling, (n,), Goal("≥", 8) if n == 1_000 else None, None) for n in (10, 100, 1_000)]
    return _suite("compile", "compile() of a chain (a node)", found, sides, progress, quick=quick)


def one_nodes(sides: Sides, progress: Progress, *, quick: bool) -> list[Record]:
    found = _faces("one node", one_node, _both(15))
    return _suite("one", "One node, one call: what an invoke costs (a call)", found, sides, progress, quick=quick)


def wides(sides: Sides, progress: Progress, *, quick: bool) -> list[Record]:
    title = f"Wide state: {WIDTH} keys, {WIDE_STEPS} nodes that read two and write three (a step)"
    return _suite("wide", title, _faces(f"{WIDTH} keys", wide, _both(5)), sides, progress, quick=quick)


def fans(sides: Sides, progress: Progress, *, quick: bool) -> list[Record]:
    found: list[Case] = []
    for width, bound in ((10, None), (100, 8), (1_000, 12)):
        goals: dict[Face, Goal | None] = {"sync": None, "async": Goal("≥", bound) if bound else None}
        found += _faces(f"{width:,} Sends", fan, goals, width)
    records = _suite("fan", "Fan-out by Send, gathered in a list (a task)", found, sides, progress, quick=quick)
    title = f"Fan-out into {SUBGRAPHS} subgraphs of {INNER_STEPS} nodes each (a node)"
    found = _faces(f"{SUBGRAPHS} subgraphs", subgraphs, _both(15))
    return records + _suite("fan", title, found, sides, progress, quick=quick)


def agents(sides: Sides, progress: Progress, *, quick: bool) -> list[Record]:
    found = [*_faces("10 turns", agent, NONE, 10), *_faces("100 turns", agent, _both(10), 100)]
    title = "An agent's loop by hand: a scripted model calls a tool a turn (a step)"
    return _suite("agent", title, found, sides, progress, quick=quick)


def _suite(part: str, title: str, cases: list[Case], sides: Sides, progress: Progress, *, quick: bool) -> list[Record]:
    repeats, seconds = (3, 0.05) if quick else (7, 0.15)
    lines: list[Comparison] = []
    for case in cases:
        progress(f"{part}: {case.name}")
        sampled = sides.in_turn(repeats, case.work, *case.arguments, seconds, floor=case.limit is not None)
        lines.append(Comparison(part, case.name, *sampled, goal=case.goal, limit=case.limit))
    show_table(title, Comparison.heads("", "µs", *sides.packages), [line.row() for line in lines])
    return [line.record() for line in lines]
