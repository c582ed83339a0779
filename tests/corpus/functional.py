# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeArguments=false, reportTypedDictNotRequiredAccess=false, reportIndexIssue=false, reportReturnType=false, reportOperatorIssue=false
# Written as users write, for two packages of which one may not have all of it yet: strict types are for what ships.
"""Workflows written as functions: entrypoints and tasks, what they keep, what they ask and what is seen of them."""

import asyncio
from typing import Any, TypedDict

from clew.cache.memory import InMemoryCache
from clew.checkpoint.memory import InMemorySaver
from clew.func import entrypoint, task
from clew.graph import START, StateGraph
from clew.types import CachePolicy, Command, RetryPolicy, StreamWriter, interrupt
from corpus.harness import ASYNC, Differs, Face, example, raised

ONE, TWO = {"configurable": {"thread_id": "1"}}, {"configurable": {"thread_id": "2"}}
ROW = (
    "functional tasks are told apart by position; unread failing futures are ignored; parallel task interrupts hide each other"
)


class Total(TypedDict):
    n: int


@task
def write(topic: str) -> str:
    return f"an essay about {topic}"


@task
def length(text: str) -> int:
    return len(text)


@example("§5.3 an essay is written, reviewed, and the tasks before the question run once")
def review(face: Face) -> Any:
    ran = []

    @task
    def draft(topic: str) -> str:
        ran.append(topic)
        return f"an essay about {topic}"

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(topic: str) -> dict:
        essay = draft(topic).result()
        return {"essay": essay, "review": interrupt({"essay": essay, "action": "approve or reject"})}

    paused = face.invoke(workflow, "cats", ONE)
    state = face.get_state(workflow, ONE)
    done = face.invoke(workflow, Command(resume="fine"), ONE)
    return {"paused": paused, "next": state.next, "asked": state.interrupts, "done": done, "ran": ran}


@example("§5.3 two questions in a row, one of them in a task")
def questions_in_a_row(face: Face) -> Any:
    ran = []

    @task
    def ask(text: str) -> str:
        ran.append(text)
        return f"{text} {interrupt(text)}"

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(given: str) -> str:
        return f"{ask('first?').result()}, {interrupt('second?')}"

    results = [face.invoke(workflow, given, ONE) for given in ("go", Command(resume="yes"), Command(resume="no"))]
    return {"results": results, "ran": ran}


@example("§5.1 previous, and final: what is returned is not what is kept")
def memory(face: Face) -> Any:
    @entrypoint(checkpointer=InMemorySaver())
    def total(number: int, *, previous: int | None = None) -> entrypoint.final[str, int]:
        whole = (previous or 0) + number
        return entrypoint.final(value=f"{previous} and {number}", save=whole)

    @entrypoint(checkpointer=InMemorySaver())
    def last(given: str, *, previous: str | None = None) -> str:
        return f"{given} after {previous}"

    return {
        "final": [face.invoke(total, number, ONE) for number in (1, 2, 3)],
        "another thread": face.invoke(total, 1, TWO),
        "what is returned": [face.invoke(last, word, ONE) for word in ("a", "b")],
        "state": face.get_state(total, ONE).values,
        "history": [[s.next or s.values, s.metadata["step"], s.metadata["source"]] for s in face.history(total, ONE)],
        "tasks": [[t.name, t.path, t.result] for s in face.history(total, ONE) for t in s.tasks],
    }


@example(
    "§4.2 a second run that waits: what the first came to is not its state",
    differs=Differs(
        "`invoke` returns the last streamed chunk, which can be `None` or stale",
        lambda there: {
            **there,
            "paused": {"__interrupt__": there["paused"]["__interrupt__"]},
            "state": None,
        },
    ),
)
def second_run_paused(face: Face) -> Any:
    @entrypoint(checkpointer=InMemorySaver())
    def workflow(given: str, *, previous: Any = None) -> dict:
        return {"answer": interrupt("?") if given == "ask" else given, "before": previous}

    first = face.invoke(workflow, "tell", ONE)
    paused = face.invoke(workflow, "ask", ONE)
    state = face.get_state(workflow, ONE).values
    return {"first": first, "paused": paused, "state": state, "done": face.invoke(workflow, Command(resume="yes"), ONE)}


@example("§4.2 a run that failed leaves `previous` as it was; going on runs only what failed")
def failed_and_gone_on(face: Face) -> Any:
    ran = []

    @task
    def steady(x: int) -> int:
        ran.append("steady")
        return x

    @task
    def shaky(x: int) -> int:
        ran.append("shaky")
        if ran.count("shaky") == 2:
            raise ConnectionError("down")
        return x

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(given: int, *, previous: Any = None) -> Any:
        return [previous, steady(given).result() + shaky(given).result()]

    first = face.invoke(workflow, 1, ONE)
    failed = raised(lambda: face.invoke(workflow, 2, ONE))
    return {"first": first, "failed": failed, "gone on": face.invoke(workflow, None, ONE), "ran": ran}


@example("§2.3 the chunks of an entrypoint and its tasks, in every mode")
def chunks(face: Face) -> Any:
    @entrypoint(checkpointer=InMemorySaver())
    def workflow(topic: str, *, writer: StreamWriter) -> int:
        writer("begun")
        return length(write(topic).result()).result()

    modes = ("updates", "values", "custom", "tasks")
    found = {mode: face.stream(workflow, "cats", ONE, stream_mode=mode) for mode in modes}
    debugged = face.stream(workflow, "cats", TWO, stream_mode="debug")

    @entrypoint(checkpointer=InMemorySaver())
    def asking(topic: str) -> str:
        return interrupt(topic)

    return {
        **found,
        "by default": face.stream(workflow, "cats", ONE),
        "asking": face.stream(asking, "cats?", ONE, stream_mode=["updates", "values", "tasks"]),
        "asked again": face.stream(asking, None, ONE, stream_mode="values"),
        "answered": face.stream(asking, Command(resume="yes"), ONE, stream_mode=["updates", "values", "tasks"]),
        "debug": [[chunk["type"], chunk["step"], chunk["payload"].get("name")] for chunk in debugged],
    }


@example("§2.3 tasks called by a node of a graph")
def in_a_node(face: Face) -> Any:
    def node(state: Total) -> dict[str, int]:
        return {"n": length(write("cats").result()).result() + interrupt("how many more?")}

    graph = StateGraph(Total).add_node(node).add_edge(START, "node").compile(checkpointer=InMemorySaver())
    paused = face.stream(graph, {"n": 0}, ONE)
    return {"paused": paused, "resumed": face.invoke(graph, Command(resume=5), ONE)}


@example("§4.2 tasks side by side, tasks of tasks, names and arguments")
def called(face: Face) -> Any:
    @task(name="adder")
    def add(*numbers: int, times: int = 1) -> int:
        return sum(numbers) * times

    @task
    def nested(x: int) -> int:
        return add(x, x).result() + add(x, times=10).result()

    @entrypoint()
    def workflow(numbers: list[int]) -> list[int]:
        return [future.result() for future in [nested(number) for number in numbers]]

    return {"result": face.invoke(workflow, [1, 2, 3]), "updates": face.stream(workflow, [1])}


@example("§4.2 async tasks, awaited one by one and gathered", faces=(ASYNC,))
def awaited(face: Face) -> Any:
    @task
    async def upper(word: str) -> str:
        return word.upper()

    @entrypoint()
    async def workflow(words: list[str]) -> list[str]:
        first = await upper(words[0])
        return [first, *await asyncio.gather(*[upper(word) for word in words[1:]])]

    return face.invoke(workflow, ["a", "b", "c"])


@example("§4.2 a failure is caught where it is read; retries; a cache")
def policies(face: Face) -> Any:
    ran = []

    @task(retry_policy=RetryPolicy(initial_interval=0, jitter=False, retry_on=ConnectionError))
    def flaky(x: int) -> int:
        ran.append("flaky")
        if ran.count("flaky") < 3:
            raise ConnectionError("down")
        return x

    @task
    def broken(x: int) -> int:
        raise KeyError(x)

    @task(cache_policy=CachePolicy(key_func=lambda x: str(x % 2)))
    def slow(x: int) -> int:
        ran.append("slow")
        return x

    @entrypoint(cache=InMemoryCache())
    def workflow(given: int) -> Any:
        try:
            broken(given).result()
        except KeyError:
            return [flaky(given).result(), slow(1).result(), slow(3).result()]
        return "not reached"

    first = face.invoke(workflow, 7)
    return {"first": first, "ran": ran, "cached": face.stream(workflow, 7)[-3:]}


@example("§4.2 outside of a run, without an input, and as generators")
def refused(face: Face) -> Any:
    def generates(given: int) -> Any:
        yield given

    def takes_nothing() -> int:
        return 1

    return [
        raised(lambda: write("cats")),
        isinstance(raised(lambda: entrypoint()(takes_nothing)), ValueError),
        raised(lambda: entrypoint()(generates)),
    ]


@example("§4.2 an entrypoint calls a graph, and a graph an entrypoint")
def mixed(face: Face) -> Any:
    graph = StateGraph(Total).add_node("more", lambda state: {"n": state["n"] + 1}).add_edge(START, "more").compile()

    @entrypoint()
    def workflow(given: int) -> int:
        return graph.invoke({"n": given})["n"]

    def node(state: Total) -> dict[str, int]:
        return {"n": workflow.invoke(state["n"]) * 10}

    outer = StateGraph(Total).add_node(node).add_edge(START, "node").compile()
    return [face.invoke(workflow, 1), face.invoke(outer, {"n": 1})]


@example(
    "§4.2 a failure that nobody reads",
    differs=Differs(ROW, lambda there: {"raised": "ConnectionError"}),
)
def unread(face: Face) -> Any:
    @task
    def broken(x: int) -> int:
        raise ConnectionError("down")

    @entrypoint()
    def workflow(given: int) -> str:
        broken(given)
        return "unread"

    return raised(lambda: face.invoke(workflow, 1))


@example(
    "§3.6 questions of tasks side by side",
    differs=Differs(ROW, lambda there: {"asked": ["one?", "two?"]}),
)
def questions_side_by_side(face: Face) -> Any:
    @task
    def ask(text: str) -> str:
        return interrupt(text)

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(given: int) -> list[str]:
        return [future.result() for future in [ask("one?"), ask("two?")]]

    return {"asked": sorted(found.value for found in face.invoke(workflow, 1, ONE)["__interrupt__"])}
