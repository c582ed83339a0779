"""Plain functions on the async face: which are called on the loop, because their code calls nothing that could wait."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, NotRequired, TypedDict

import pytest

from clew.errors import NodeCancelledError
from clew.graph import END, START, StateGraph
from clew.graph.instant import is_instant
from clew.types import Send


class Numbers(TypedDict):
    n: int
    many: NotRequired[list[Any]]


def leads(state: Any) -> str:
    return "more" if state["many"][-1].asks else END


def sends(state: Any) -> list[Send]:
    return [Send("more", {"n": number, "name": one.name}) for number, one in enumerate(state["many"])]


def decides(state: Any) -> str:
    last = state["many"][-1]
    if isinstance(last, str) and len(last) > 3 and last.strip().startswith("x"):
        return f"{last!r}"
    if state.get("n", END) == 3:
        return END
    raise ValueError(f"{last!r}")


def adds(state: Any) -> Any:
    for one in state["many"]:
        one["n"] += 1
    return {**state, "many": [*state["many"]], "n": -(state["n"] ** 2)}


class Routers:
    def even(self, state: Any) -> bool:
        return state["n"] % 2 == 0

    def asks(self, state: Any) -> bool:
        return self.even(state)


def made() -> Callable[[Any], Any]:
    send = Send
    return lambda state: [send("more", {"n": number}) for number in range(state["n"])]


INSTANT: list[Any] = [leads, sends, decides, adds, Routers().even, made()]


@pytest.mark.parametrize("function", INSTANT)
def test_what_calls_nothing_is_instant(function: Any) -> None:
    assert is_instant(function)


def calls_another(state: Any) -> Any:
    return leads(state)


def calls_what_it_is_given(state: Any) -> Any:
    return state["many"][0]()


def calls_what_it_has_put_aside(state: Any) -> Any:
    ask = state.ask
    return ask()


def calls_a_method(state: Any) -> Any:
    return state["queue"].get()


def calls_for_each(state: Any) -> Any:
    return [one.ask() for one in state["many"]]


def calls_by_way_of_another(state: Any) -> Any:
    return sorted(state["many"], key=leads)


def enters(state: Any) -> Any:
    with state["lock"]:
        return END


def imports(state: Any) -> Any:
    import json

    return json


def spreads(state: Any) -> Any:
    return len(*state["many"])


def unset() -> Callable[[Any], Any]:
    def function(state: Any) -> Any:
        return later(state)

    if threading.active_count() < 0:
        later = leads
    return function  # pyright: ignore[reportPossiblyUnbound]  (that is what it is about)


@pytest.mark.parametrize(
    "function",
    [calls_another, calls_what_it_is_given, calls_what_it_has_put_aside, calls_a_method, calls_for_each,
     calls_by_way_of_another, enters, imports, spreads, unset(), Routers().asks, len, Routers],
)  # fmt: skip
def test_of_whatever_calls_something_nobody_knows(function: Any) -> None:
    assert not is_instant(function)


class Place:
    """Tells by an attribute where it was read, which is all that code can do that calls nothing."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    @property
    def here(self) -> int:
        self.threads.append(threading.get_ident())
        return len(self.threads)


def test_an_instant_router_is_called_on_the_loop_and_another_in_a_thread() -> None:
    quick, slow = Place(), Place()

    def looks(state: Numbers) -> str:
        return "b" if quick.here else END

    def asks(state: Numbers) -> str:
        return "b" if slow.here > threading.active_count() else END

    builder = StateGraph(Numbers).add_node("a", adds_one).add_node("b", adds_one).add_edge(START, "a")
    builder.add_conditional_edges("a", looks, ["b", END]).add_conditional_edges("b", asks, [END])
    assert asyncio.run(builder.compile().ainvoke({"n": 0})) == {"n": 2}
    assert quick.threads == [threading.get_ident()]
    assert slow.threads != [threading.get_ident()]


async def adds_one(state: Numbers) -> Numbers:
    return {"n": state["n"] + 1}


def test_one_that_took_long_is_called_in_a_thread_the_next_time() -> None:
    class Long(Place):
        @property
        def here(self) -> int:
            found = sum(range(100_000))
            return super().here and found

    place = Long()

    def looks(state: Numbers) -> Numbers:
        return {"n": place.here}

    graph = StateGraph(Numbers).add_node("a", looks).add_edge(START, "a").compile()
    for _ in range(2):
        asyncio.run(graph.ainvoke({"n": 0}))
    first, second = place.threads
    assert first == threading.get_ident() != second


def test_what_an_instant_node_raises_comes_out_as_it_is() -> None:
    def fails(state: Numbers) -> Numbers:
        return state["many"]  # pyright: ignore

    graph = StateGraph(Numbers).add_node("a", fails).add_edge(START, "a").compile()
    with pytest.raises(KeyError, match="many"):
        asyncio.run(graph.ainvoke({"n": 0}))


def test_a_cancellation_that_an_instant_node_raises_is_its_own_mistake() -> None:
    def fails(state: Numbers) -> Numbers:
        raise asyncio.CancelledError

    graph = StateGraph(Numbers).add_node("a", fails).add_edge(START, "a").compile()
    with pytest.raises(NodeCancelledError, match="'a'"):
        asyncio.run(graph.ainvoke({"n": 0}))
