# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeArguments=false, reportTypedDictNotRequiredAccess=false, reportIndexIssue=false, reportReturnType=false
# Written as users write, for two packages of which one may not have all of it yet: strict types are for what ships.
"""Ways to run a graph: configuration at run time, async nodes, batches, kinds of nodes."""

import asyncio
import functools
import operator
import uuid
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableConfig, RunnableLambda

from clew.checkpoint.memory import InMemorySaver
from clew.config import get_config, get_stream_writer
from clew.errors import EmptyInputError
from clew.graph import START, StateGraph
from clew.runtime import Runtime, get_runtime
from clew.types import StreamWriter
from corpus.harness import ASYNC, Face, example, raised


class Log(TypedDict):
    log: Annotated[list[str], operator.add]


@example('§5.5 runtime configuration by config["configurable"]')
def configurable(face: Face) -> Any:
    def greet(state: Log, config: RunnableConfig) -> dict[str, Any]:
        chosen = config["configurable"]
        return {"log": [f"{chosen.get('greeting', 'Hello')} {chosen.get('user', 'you')}"]}

    def plain(state: Log) -> dict[str, Any]:
        return {"log": [get_config()["configurable"].get("user", "you")]}

    graph = StateGraph(Log).add_sequence([greet, plain]).add_edge(START, "greet").compile()
    return [
        face.invoke(graph, {}),
        face.invoke(graph, {}, {"configurable": {"user": "Ada", "greeting": "Moin"}}),
        face.invoke(graph.with_config({"configurable": {"user": "Bo"}}), {}),
        face.invoke(graph.with_config(configurable={"user": "Bo", "greeting": "Hej"}), {}, {"configurable": {"user": "Cy"}}),
    ]


@example("§5.5 runtime configuration by Runtime[Context]")
def runtime_context(face: Face) -> Any:
    @dataclass
    class Context:
        user: str
        polite: bool = True

    def greet(state: Log, runtime: Runtime[Context]) -> dict[str, Any]:
        return {"log": [f"{'Dear ' if runtime.context.polite else ''}{runtime.context.user}"]}

    def deeper(state: Log) -> dict[str, Any]:
        return {"log": [f"{get_runtime(Context).context.user} again"]}

    child = StateGraph(Log, context_schema=Context).add_node(deeper).add_edge(START, "deeper").compile()
    builder = StateGraph(Log, context_schema=Context).add_node(greet).add_node("child", lambda state: child.invoke({"log": []}))
    graph = builder.add_edge(START, "greet").add_edge("greet", "child").compile()
    return {
        "an instance": face.invoke(graph, {}, context=Context("Ada")),
        "a dict": face.invoke(graph, {}, context={"user": "Bo", "polite": False}),
        "a wrong key": raised(lambda: face.invoke(graph, {}, context={"usr": "Bo"})),
    }


@example("§1.6 context as a TypedDict, and none at all")
def runtime_without_a_class(face: Face) -> Any:
    class Context(TypedDict):
        user: str

    def look(state: Log, runtime: Runtime[Context]) -> dict[str, Any]:
        return {"log": [f"{runtime.context} {runtime.store} {runtime.previous}"]}

    graph = StateGraph(Log, context_schema=Context).add_node(look).add_edge(START, "look").compile()
    return [face.invoke(graph, {}, context={"user": "Ada"}), face.invoke(graph, {})]


@example("§5.5 custom run id, tags, metadata and name")
def run_id_tags_metadata(face: Face) -> Any:
    seen: list[Any] = []

    def look(state: Log, config: RunnableConfig) -> dict[str, Any]:
        kept = {
            key: value for key, value in config["metadata"].items() if key in ("customer", "langgraph_node", "langgraph_step")
        }
        seen.append({"tags": [tag for tag in config["tags"] if "step" not in tag], "metadata": kept})
        return {"log": [get_config()["metadata"]["customer"]]}

    builder = StateGraph(Log).add_node(look).add_edge(START, "look")
    graph = builder.compile(checkpointer=InMemorySaver()).with_config(tags=["house"], metadata={"customer": "none", "house": 1})
    run = uuid.UUID(int=7)
    config = {
        "configurable": {"thread_id": "1", "tenant": "t9"},
        "run_id": run,
        "run_name": "demo",
        "tags": ["mine"],
        "metadata": {"customer": "ada", "not kept": ["a list"]},
    }
    result = face.invoke(graph, {}, config)
    metadata = face.get_state(graph, {"configurable": {"thread_id": "1"}}).metadata
    kept = {key: metadata.get(key) for key in ("source", "step", "customer", "house", "tenant", "not kept", "run_id")}
    return {"result": result, "in the node": seen, "with the checkpoint": kept}


@example("§5.5 async nodes", faces=(ASYNC,))
def async_nodes(face: Face) -> Any:
    meet = asyncio.Barrier(3)

    def waits(name: str) -> Any:
        async def node(state: Log) -> dict[str, Any]:
            await meet.wait()
            return {"log": [name]}

        return node

    async def route(state: Log) -> str:
        return "last"

    async def last(state: Log, config: RunnableConfig) -> dict[str, Any]:
        return {"log": [f"last of {len(state['log'])}, {sorted(config['configurable'])[-1:]}"]}

    builder = StateGraph(Log).add_node(last)
    for name in ("c", "a", "b"):
        builder.add_node(name, waits(name)).add_edge(START, name).add_conditional_edges(name, route, ["last"])
    return face.invoke(builder.compile(), {"log": ["in"]}, {"configurable": {"user": "ada"}})


@example("§2.1 an async node on the sync face")
def async_node_called_plainly(face: Face) -> Any:
    async def node(state: Log) -> dict[str, Any]:
        return {"log": ["ran"]}

    graph = StateGraph(Log).add_node(node).add_edge(START, "node").compile()
    return {"by this face": raised(lambda: face.invoke(graph, {})), "by invoke": raised(lambda: graph.invoke({}))}


@example("§2.1 batch")
def batch(face: Face) -> Any:
    def half(state: Log) -> dict[str, Any]:
        return {"log": [str(10 / len(state["log"][0]))]}

    graph = StateGraph(Log).add_node(half).add_edge(START, "half").compile(checkpointer=InMemorySaver())
    inputs = [{"log": ["a"]}, {"log": [""]}, {"log": ["ab"]}]
    threads = [{"configurable": {"thread_id": str(n)}} for n in range(3)]
    return {
        "with errors": face.batch(graph, inputs, threads, return_exceptions=True),
        "raising": raised(lambda: face.batch(graph, inputs[:2], [{"configurable": {"thread_id": f"r{n}"}} for n in range(2)])),
        "one config": face.batch(graph, inputs[:1], {"configurable": {"thread_id": "one"}, "max_concurrency": 1}),
        "kept": [face.get_state(graph, thread).values for thread in threads],
    }


@example("§2.1 max_concurrency bounds one superstep", faces=(ASYNC,))
def max_concurrency(face: Face) -> Any:
    running, most = 0, 0

    async def work(state: Log) -> dict[str, Any]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running -= 1
        return {"log": [str(len(state["log"]))]}

    builder = StateGraph(Log)
    for n in range(6):
        builder.add_node(f"n{n}", work).add_edge(START, f"n{n}")
    return [face.invoke(builder.compile(), {"log": ["in"]}, {"max_concurrency": 2}), most]


@example("§1.1 what can be a node")
def kinds_of_nodes(face: Face) -> Any:
    class Stamp:
        def __call__(self, state: Log) -> dict[str, Any]:
            return {"log": ["stamp"]}

        def method(self, state: Log) -> dict[str, Any]:
            return {"log": ["method"]}

    def named(word: str, state: Log) -> dict[str, Any]:
        return {"log": [word]}

    def once(state: Log) -> Any:
        yield {"log": ["once"]}

    builder = StateGraph(Log).add_sequence(
        [
            ("stamp", Stamp()),
            Stamp().method,
            ("partial", functools.partial(named, "partial")),
            ("runnable", RunnableLambda(lambda state: {"log": [f"runnable {len(state['log'])}"]})),
            ("child", StateGraph(Log).add_node("in", lambda state: {"log": ["child"]}).add_edge(START, "in").compile()),
        ]
    )
    graph = builder.add_edge(START, "stamp").compile()
    generator = StateGraph(Log).add_node(once).add_edge(START, "once").compile()
    return {"updates": face.stream(graph, {"log": []}), "yield": face.invoke(generator, {})}


@example("§1.1 what a node may ask for by name")
def what_nodes_are_handed(face: Face) -> Any:
    class Empty(TypedDict):
        log: Annotated[list[str], operator.add]

    def all_of_them(state: Empty, config: RunnableConfig, *, writer: StreamWriter, runtime: Runtime) -> dict[str, Any]:
        writer("from the parameter")
        get_stream_writer()("from the function")
        runtime.stream_writer("from the runtime")
        return {"log": [f"{config['configurable']['thread_id']} {runtime.context}"]}

    builder = StateGraph(Empty).add_node("node", all_of_them).add_edge(START, "node")
    graph = builder.compile(checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}}
    return {
        "result": face.invoke(graph, {}, thread),
        "written": face.stream(graph, {}, thread, stream_mode="custom"),
        "outside a run": raised(get_config),
    }


@example("§1.6 where a node stands: execution_info")
def execution_info(face: Face) -> Any:
    seen: list[Any] = []

    def look(state: Log, runtime: Runtime) -> None:
        info = runtime.execution_info
        seen.append([info.thread_id, info.run_id, info.node_attempt, info.checkpoint_ns, info.task_id, info.checkpoint_id])

    graph = StateGraph(Log).add_node(look).add_edge(START, "look").compile(checkpointer=InMemorySaver())
    face.invoke(graph, {"log": ["in"]}, {"configurable": {"thread_id": "3"}, "run_id": uuid.UUID(int=9)})
    return seen


@example("§2.1 inputs: none, empty, of the wrong kind")
def inputs(face: Face) -> Any:
    graph = StateGraph(Log).add_node("n", lambda state: {"log": ["ran"]}).add_edge(START, "n").compile()
    nothing = raised(lambda: face.invoke(graph, None))
    return {
        "none": nothing,
        "by its class": isinstance(nothing, EmptyInputError),
        "empty": face.invoke(graph, {}),
        "a string": raised(lambda: face.invoke(graph, "hello")),
        "unknown keys": face.invoke(graph, {"log": ["in"], "lgo": ["typo"]}),
    }


@example("§2.7 a failing node: its error comes out as it is, and every chunk before it")
def failing_node(face: Face) -> Any:
    class OutOfTea(Exception):
        pass

    def pour(state: Log) -> None:
        raise OutOfTea(f"after {state['log']}")

    builder = StateGraph(Log).add_sequence([("boil", lambda state: {"log": ["boil"]}), pour]).add_edge(START, "boil")
    error = raised(lambda: face.invoke(builder.compile(), {"log": []}))
    return {"chunks": face.follow(builder.compile(), {"log": []}), "error": [error, str(error)]}
