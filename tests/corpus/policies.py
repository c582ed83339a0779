# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeArguments=false, reportTypedDictNotRequiredAccess=false, reportIndexIssue=false, reportReturnType=false
# Written as users write, for two packages of which one may not have all of it yet: strict types are for what ships.
"""What is done with nodes that fail, take long, or need not run again."""

import asyncio
import operator
from typing import Annotated, Any, TypedDict

from clew.cache.memory import InMemoryCache
from clew.errors import NodeError, NodeTimeoutError
from clew.graph import START, StateGraph
from clew.types import CachePolicy, Command, RetryPolicy, Send, TimeoutPolicy
from corpus.harness import ASYNC, SYNC, Differs, Face, example, in_order, raised


class Log(TypedDict):
    log: Annotated[list[str], operator.add]


AT_ONCE = {"initial_interval": 0.0, "max_interval": 0.0, "jitter": False}


def failing(*errors: Exception) -> tuple[Any, list[str]]:
    """A node that raises these, one a time, and then does its work; and the list of its attempts."""
    attempts: list[str] = []

    def node(state: Log) -> dict[str, Any]:
        attempts.append(f"sees {state['log']}")
        if len(attempts) <= len(errors):
            raise errors[len(attempts) - 1]
        return {"log": [f"attempt {len(attempts)}"]}

    return node, attempts


class Busy(Exception):
    pass


@example("§5.5 retries: until it works, until max_attempts, of a class, by a predicate, the first policy that matches")
def retries(face: Face) -> Any:
    def runs(errors: list[Exception], policy: Any) -> Any:
        node, attempts = failing(*errors)
        graph = StateGraph(Log).add_node("node", node, retry_policy=policy).add_edge(START, "node").compile()
        return [raised(lambda: face.invoke(graph, {"log": ["in"]})), len(attempts)]

    return {
        "works at last": runs([Busy(), Busy()], RetryPolicy(max_attempts=3, **AT_ONCE)),
        "gives up": runs([Busy()] * 5, RetryPolicy(max_attempts=2, **AT_ONCE)),
        "another class": runs([KeyError("k")], RetryPolicy(retry_on=Busy, **AT_ONCE)),
        "one of several classes": runs([KeyError("k")], RetryPolicy(retry_on=(Busy, KeyError), **AT_ONCE)),
        "a predicate": runs([Busy("later"), Busy("never")], RetryPolicy(retry_on=lambda e: str(e) == "later", **AT_ONCE)),
        "two policies": runs(
            [Busy(), KeyError("k"), KeyError("k")],
            [RetryPolicy(retry_on=Busy, **AT_ONCE), RetryPolicy(retry_on=KeyError, max_attempts=5, **AT_ONCE)],
        ),
        "none": runs([Busy()], None),
    }


@example("§1.6 what is retried by default")
def retried_by_default(face: Face) -> Any:
    def attempts_on(error: Exception) -> int:
        node, attempts = failing(error)
        graph = StateGraph(Log).add_node("node", node, retry_policy=RetryPolicy(**AT_ONCE)).add_edge(START, "node").compile()
        raised(lambda: face.invoke(graph, {"log": []}))
        return len(attempts)

    errors = [
        Busy(),
        ConnectionError(),
        ValueError(),
        TypeError(),
        OSError(),
        TimeoutError(),
        KeyError(),
        RuntimeError(),
        ZeroDivisionError(),
    ]
    return {type(error).__name__: attempts_on(error) for error in errors}


@example("§1.6 a node's attempt does not leak into the next: its writes are those of the last")
def writes_of_failed_attempts(face: Face) -> Any:
    node, attempts = failing(Busy())
    builder = (
        StateGraph(Log)
        .add_node("node", node, retry_policy=RetryPolicy(**AT_ONCE))
        .add_node("other", lambda state: {"log": ["o"]})
    )
    graph = builder.add_edge(START, "node").add_edge(START, "other").compile()
    return {"updates": in_order(face.stream(graph, {"log": ["in"]})), "attempts": attempts}


@example("§5.5 caching: a hit runs nothing, until it is cleared")
def caching(face: Face) -> Any:
    ran: list[str] = []

    class Sum(TypedDict):
        n: int
        result: int

    def slow(state: Sum) -> dict[str, Any]:
        ran.append(f"{state['n']}")
        return {"result": state["n"] * 2}

    builder = StateGraph(Sum).add_node("slow", slow, cache_policy=CachePolicy(ttl=600)).add_edge(START, "slow")
    graph, uncached = builder.compile(cache=InMemoryCache()), builder.compile()
    first = face.stream(graph, {"n": 2}, stream_mode="updates")
    again = face.stream(graph, {"n": 2}, stream_mode="updates")
    other = face.invoke(graph, {"n": 3})
    graph.clear_cache()
    return {
        "first": first,
        "again": again,
        "other": other,
        "cleared": face.invoke(graph, {"n": 2}),
        "without a cache": [face.invoke(uncached, {"n": 2}), face.invoke(uncached, {"n": 2})],
        "nothing to clear": raised(uncached.clear_cache),
        "ran": ran,
    }


@example("§1.6 caching by a key of one's own, of Commands and Sends")
def cache_key(face: Face) -> Any:
    ran: list[Any] = []

    def lower(state: Log) -> Any:
        ran.append(state["log"][0])
        return Command(update={"log": ["seen"]}, goto=[Send("echo", {"log": ["sent"]})])

    def first_letter(state: Any) -> str:
        return state["log"][0][0].lower()

    builder = StateGraph(Log).add_node("lower", lower, cache_policy=CachePolicy(key_func=first_letter))
    builder.add_node("echo", lambda state: {"log": [f"echo {state['log'][0]}"]}).add_edge(START, "lower")
    graph = builder.compile(cache=InMemoryCache())
    return {"results": [face.invoke(graph, {"log": [word]}) for word in ("Ada", "alan", "bo")], "ran": ran}


@example("§5.5 timeouts of async nodes, and that they are retried", faces=(ASYNC,))
def timeouts(face: Face) -> Any:
    attempts: list[str] = []

    async def hangs(state: Log) -> dict[str, Any]:
        attempts.append("attempt")
        if len(attempts) != 3:
            await asyncio.Event().wait()
        return {"log": ["done"]}

    def made(**options: Any) -> Any:
        return StateGraph(Log).add_node("hangs", hangs, **options).add_edge(START, "hangs").compile()

    error = raised(lambda: face.invoke(made(timeout=0.05), {}))
    retried = face.invoke(made(timeout=TimeoutPolicy(run_timeout=0.05), retry_policy=RetryPolicy(**AT_ONCE)), {})
    idle = raised(lambda: face.invoke(made(timeout=TimeoutPolicy(idle_timeout=0.05)), {}))
    return {
        "too long": [error, isinstance(error, NodeTimeoutError), error.node],
        "retried": retried,
        "idle": idle,
        "attempts": len(attempts),
        "not positive": raised(lambda: made(timeout=0)),
    }


@example(
    "§1.6 a sync node with a timeout",
    faces=(SYNC,),
    differs=Differs("async-only or sync-only savers; nodes with timeouts only when async", lambda there: {"log": ["quick"]}),
)
def timeout_of_a_sync_node(face: Face) -> Any:
    builder = StateGraph(Log).add_node("quick", lambda state: {"log": ["quick"]}, timeout=30).add_edge(START, "quick")
    return raised(lambda: face.invoke(builder.compile(), {}))


@example("§1.6 error handlers: in place of the node, after its retries, with its input; its edges are not followed")
def error_handlers(face: Face) -> Any:
    node, attempts = failing(Busy("1"), Busy("2"), Busy("3"))

    def rescue(state: Log, error: NodeError) -> Command:
        return Command(update={"log": [f"{error.node}: {error.error} of {state['log']}"]}, goto="after")

    def note(state: Log, error: NodeError) -> dict[str, Any]:
        return {"log": ["noted"]}

    def made(handler: Any) -> Any:
        builder = StateGraph(Log).add_node(
            "node", node, error_handler=handler, retry_policy=RetryPolicy(max_attempts=2, **AT_ONCE)
        )
        builder.add_node("edge", lambda state: {"log": ["edge"]}).add_node("after", lambda state: {"log": ["after"]})
        return builder.add_edge(START, "node").add_edge("node", "edge").compile()

    with_command = face.invoke(made(rescue), {"log": ["in"]})
    attempts.clear()
    with_update = face.invoke(made(note), {"log": ["in"]})
    attempts[:] = [""] * 3
    return {"command": with_command, "update": with_update, "no failure": face.invoke(made(note), {"log": ["in"]})}


@example("§1.1 defaults of all nodes, and a node's own")
def node_defaults(face: Face) -> Any:
    first, first_attempts = failing(Busy(), Busy())
    second, second_attempts = failing(Busy())
    builder = StateGraph(Log).set_node_defaults(retry_policy=RetryPolicy(max_attempts=3, **AT_ONCE))
    builder.add_node("first", first).add_node("second", second, retry_policy=RetryPolicy(max_attempts=1, **AT_ONCE))
    graph = builder.add_edge(START, "first").add_edge("first", "second").compile()
    error = raised(lambda: face.invoke(graph, {"log": []}))
    return {"error": error, "first": len(first_attempts), "second": len(second_attempts)}
