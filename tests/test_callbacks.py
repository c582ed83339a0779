"""LangChain's callbacks over runs: what handlers see, nested as it is; graphs in chains; `astream_events`."""

import asyncio
import uuid
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler, CallbackManager
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers.context import collect_runs
from support.faces import ASYNC, Face
from support.speaking import says

from clew.checkpoint.memory import InMemorySaver
from clew.func import entrypoint, task
from clew.graph import START, MessagesState, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.types import Command, interrupt

HELLO: Any = {"messages": [HumanMessage("hi", id="h")]}
Graph = CompiledStateGraph[Any, Any, Any, Any]


class Tree(BaseCallbackHandler):
    """What begins in what, and how each ended.

    Attributes:
        lines: `outermost > … > name: how it ended`, in the order of the ends. said: by name, tags and metadata at the start.
    """

    run_inline = True

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.said: dict[str, tuple[list[str], dict[str, Any]]] = {}
        self.given: dict[str, Any] = {}
        self.returned: dict[str, Any] = {}
        self.ids: list[uuid.UUID] = []
        self._paths: dict[uuid.UUID, str] = {}

    def began(self, name: str, given: Any, run_id: uuid.UUID, parent: uuid.UUID | None, more: dict[str, Any]) -> None:
        self._paths[run_id] = f"{self._paths[parent]} > {name}" if parent else name
        self.said[name] = ([*(more.get("tags") or [])], {**(more.get("metadata") or {})})
        self.given[name] = given
        self.ids.append(run_id)

    def ended(self, run_id: uuid.UUID, how: str, returned: Any = None) -> None:
        self.lines.append(f"{self._paths[run_id]}: {how}")
        self.returned[self._paths[run_id].rpartition(" ")[2]] = returned

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: Any, parent_run_id: Any = None, **more: Any) -> None:
        self.began(more["name"], inputs, run_id, parent_run_id, more)

    def on_chain_end(self, outputs: Any, *, run_id: Any, **more: Any) -> None:
        self.ended(run_id, "end", outputs)

    def on_chain_error(self, error: BaseException, *, run_id: Any, **more: Any) -> None:
        self.ended(run_id, type(error).__name__)

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, run_id: Any, parent_run_id: Any = None, **more: Any
    ) -> None:
        self.began("model", messages, run_id, parent_run_id, more)

    def on_llm_end(self, response: Any, *, run_id: Any, **more: Any) -> None:
        self.ended(run_id, "end", response)


class AwaitedTree(AsyncCallbackHandler):
    """The same for a handler whose methods are async: each is held for a moment, on the loop that it was made for."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.loops: set[Any] = set()

    async def _passed(self) -> None:
        self.loops.add(asyncio.get_running_loop())
        await asyncio.sleep(0)

    async def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
        await self._passed()
        self.tree.on_chain_start(*args, **kwargs)

    async def on_chain_end(self, *args: Any, **kwargs: Any) -> None:
        await self._passed()
        self.tree.on_chain_end(*args, **kwargs)

    async def on_chat_model_start(self, *args: Any, **kwargs: Any) -> Any:
        await self._passed()
        self.tree.on_chat_model_start(*args, **kwargs)

    async def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
        await self._passed()
        self.tree.on_llm_end(*args, **kwargs)


def node(state: MessagesState) -> Any:
    return {"messages": [says("a", "b").invoke(state["messages"])]}


async def awaited_node(state: MessagesState) -> Any:
    return {"messages": [await says("a", "b").ainvoke(state["messages"])]}


def fit(face: Face) -> Any:
    return awaited_node if face is ASYNC else node


def one(action: Any, at: str = "node", **options: Any) -> Graph:
    return StateGraph(MessagesState).add_node(at, action).add_edge(START, at).compile(**options)


def seen(face: Face, graph: Graph, given: Any = HELLO, **config: Any) -> Tree:
    tree = Tree()
    face.invoke(graph, given, {"callbacks": [tree], **config})
    return tree


def test_runs_nodes_routers_and_models_are_nested_as_they_are(face: Face) -> None:
    def route(state: MessagesState) -> str:
        return "last"

    builder = StateGraph(MessagesState).add_node("node", fit(face)).add_node("last", lambda state: None)
    graph = builder.add_edge(START, "node").add_conditional_edges("node", route, ["last"]).compile(name="talk")
    tree = seen(face, graph)
    assert tree.lines == [
        "talk > node > model: end",
        "talk > node > route: end",
        "talk > node: end",
        "talk > last: end",
        "talk: end",
    ]
    assert tree.given["talk"] == tree.given["node"] == HELLO
    assert tree.returned["route"] == "last"
    assert [message.content for message in tree.returned["talk"]["messages"]] == ["hi", "a b"]
    assert [message.content for message in tree.returned["node"]["messages"]] == ["a b"]


def test_what_the_config_says_is_said_of_the_run(face: Face) -> None:
    run = uuid.UUID(int=7)
    tree = seen(
        face, one(fit(face)), run_name="mine", run_id=run, tags=["t"], metadata={"u": 1}, configurable={"thread_id": "9"}
    )
    assert tree.ids[0] == run
    assert len(set(tree.ids)) == 3  # nobody else has that id
    assert tree.said["mine"] == (["t"], {"u": 1, "thread_id": "9"})
    tags, metadata = tree.said["node"]
    assert sorted(tags) == ["graph:step:1", "t"]
    assert metadata.items() >= {"u": 1, "thread_id": "9", "langgraph_node": "node", "langgraph_step": 1}.items()
    tags, metadata = tree.said["model"]
    assert sorted(tags) == ["seq:step:1", "t"]
    assert metadata.items() >= {"u": 1, "langgraph_node": "node", "ls_model_type": "chat"}.items()


def test_a_run_id_that_is_no_uuid_stays_ours(face: Face) -> None:
    """LangChain knows no other ids; threads and `runtime.execution_info` do."""
    tree = seen(face, one(fit(face), name="g"), run_id="run-7")
    assert all(isinstance(run, uuid.UUID) for run in tree.ids)
    assert seen(face, one(fit(face), name="g"), run_id=str(tree.ids[0])).ids[0] == tree.ids[0]


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("called", [False, True], ids=["as a node", "called"])
def test_graphs_inside_are_within_their_node(face: Face, depth: int, called: bool) -> None:
    graph = one(fit(face), name="inner0")
    for level in range(1, depth + 1):
        graph = one(_calling(graph, face) if called else graph, f"node{level}", name=f"inner{level}")
    inside = " > ".join(f"inner{level} > node{level}" for level in range(depth, 0, -1)) + " > inner0"
    tree = seen(face, graph)
    assert tree.lines[:3] == [f"{inside} > node > model: end", f"{inside} > node: end", f"{inside}: end"]
    assert len(tree.lines) == 3 + 2 * depth


def _calling(graph: Graph, face: Face) -> Any:
    def plain(state: MessagesState) -> Any:
        return graph.invoke(state)

    async def awaited(state: MessagesState) -> Any:
        return await graph.ainvoke(state)

    return awaited if face is ASYNC else plain


def test_workflows_and_their_tasks(face: Face) -> None:
    @task
    def inner(what: str) -> str:
        return says(what).invoke(what).text

    @task
    def outer(what: str) -> str:
        return inner(what).result()

    @entrypoint()
    def flow(what: str) -> str:
        return outer(what).result()

    tree = seen(face, flow, "x", run_name="run")
    assert tree.lines == [
        "run > flow > outer > inner > model: end",
        "run > flow > outer > inner: end",
        "run > flow > outer: end",
        "run > flow: end",
        "run: end",
    ]


def test_failures_and_pauses(face: Face) -> None:
    def fails(state: MessagesState) -> None:
        raise ValueError("no")

    def asks(state: MessagesState) -> None:
        interrupt("?")

    tree = Tree()
    with pytest.raises(ValueError, match="no"):
        face.invoke(one(fails, name="g"), HELLO, {"callbacks": [tree]})
    assert tree.lines == ["g > node: ValueError", "g: ValueError"]
    graph, thread = one(asks, name="g", checkpointer=InMemorySaver()), {"thread_id": "1"}
    assert seen(face, graph, configurable=thread).lines == ["g > node: GraphInterrupt", "g: end"]
    assert seen(face, graph, Command(resume=1), configurable=thread).lines == ["g > node: end", "g: end"]


def test_a_run_that_is_left_ends(face: Face) -> None:
    tree = Tree()
    graph = StateGraph(MessagesState).add_sequence([("one", node), ("two", node)]).add_edge(START, "one").compile(name="g")
    config: Any = {"callbacks": [tree]}
    if face is not ASYNC:
        stream: Any = graph.stream(HELLO, config)
        next(stream)
        stream.close()
    else:

        async def leaves() -> None:
            stream: Any = graph.astream(HELLO, config)
            await anext(stream)
            await stream.aclose()

        asyncio.run(leaves())
    assert tree.lines == ["g > one > model: end", "g > one: end", "g: GeneratorExit"]


def test_a_manager_is_as_good_as_a_list(face: Face) -> None:
    tree = Tree()
    face.invoke(one(fit(face), name="g"), HELLO, {"callbacks": CallbackManager([tree], [tree])})
    assert tree.lines == ["g > node > model: end", "g > node: end", "g: end"]


def test_handlers_bound_to_a_graph_are_heard(face: Face) -> None:
    tree = Tree()
    face.invoke(one(fit(face), name="g").with_config(callbacks=[tree]), HELLO)
    assert tree.lines[-1] == "g: end"


@pytest.mark.parametrize("action", [node, awaited_node])
def test_async_handlers_are_awaited_on_their_loop(action: Any) -> None:
    handler = AwaitedTree()

    async def main() -> None:
        await one(action, name="g").ainvoke(HELLO, {"callbacks": [handler]})
        assert asyncio.get_running_loop() in handler.loops

    asyncio.run(main())
    assert handler.tree.lines == ["g > node > model: end", "g > node: end", "g: end"]
    assert action is node or len(handler.loops) == 1  # plain nodes run in threads, where LangChain makes loops for them


def test_tokens_and_handlers_at_once(face: Face) -> None:
    tree = Tree()
    chunks = face.stream(one(fit(face), name="g"), HELLO, {"callbacks": [tree]}, stream_mode="messages")
    assert [message.text for message, _ in chunks if message.text] == ["a", "b"]
    assert tree.lines == ["g > node > model: end", "g > node: end", "g: end"]


# -- in chains ------------------------------------------------------------------------------------------------------


def test_a_graph_is_a_link_of_a_chain(face: Face) -> None:
    graph = one(fit(face), name="g")
    chain: Any = RunnableLambda(lambda text: {"messages": [text]}) | graph.as_runnable()
    tree = Tree()
    config: Any = {"callbacks": [tree], "run_name": "chain"}
    found = asyncio.run(chain.ainvoke("hi", config)) if face is ASYNC else chain.invoke("hi", config)
    assert [message.content for message in found["messages"]] == ["hi", "a b"]
    assert tree.lines[1:] == ["chain > g > node > model: end", "chain > g > node: end", "chain > g: end", "chain: end"]


def test_a_graph_that_a_chain_calls_is_within_it(face: Face) -> None:
    graph = one(node, name="g")
    tree = Tree()

    def calls(text: str) -> Any:
        return graph.invoke({"messages": [text]})

    chain = RunnableLambda[str, Any](calls).with_config(run_name="chain")
    chain.invoke("hi", {"callbacks": [tree]})
    assert tree.lines == ["chain > g > node > model: end", "chain > g > node: end", "chain > g: end", "chain: end"]


# -- astream_events -------------------------------------------------------------------------------------------------


def events(graph: Graph, given: Any = HELLO, config: Any = None, **options: Any) -> list[Any]:
    async def read() -> list[Any]:
        return [event async for event in graph.astream_events(given, config, version="v2", **options)]

    return asyncio.run(read())


@pytest.mark.parametrize("action", [node, awaited_node])
def test_the_events_of_a_run(action: Any) -> None:
    found = events(one(action, name="g"), config={"tags": ["t"]})
    assert [(event["event"], event["name"], len(event["parent_ids"])) for event in found] == [
        ("on_chain_start", "g", 0),
        ("on_chain_start", "node", 1),
        ("on_chat_model_start", "Speaking", 2),
        ("on_chat_model_stream", "Speaking", 2),
        ("on_chat_model_stream", "Speaking", 2),
        *[("on_chat_model_stream", "Speaking", 2)] * (len(found) - 10),  # LangChain's own last chunk, where it makes one
        ("on_chat_model_end", "Speaking", 2),
        ("on_chain_stream", "node", 1),
        ("on_chain_end", "node", 1),
        ("on_chain_stream", "g", 0),
        ("on_chain_end", "g", 0),
    ]
    assert [event["data"]["chunk"].text for event in found if event["event"] == "on_chat_model_stream"][:2] == ["a", "b"]
    assert found[0]["data"]["input"] == HELLO
    assert found[-2]["data"]["chunk"].keys() == {"node"}
    assert all("t" in event["tags"] for event in found)
    assert found[3]["metadata"]["langgraph_node"] == "node"


def test_events_of_graphs_inside_and_of_what_nodes_write() -> None:
    def writes(state: MessagesState, writer: Any) -> None:
        writer("w")

    inner = one(writes, "inside", name="inner")
    found = events(one(inner, "outside", name="outer"), stream_mode=["custom", "updates"], subgraphs=True)
    assert [(event["event"], event["name"]) for event in found if event["event"] != "on_chain_stream"] == [
        ("on_chain_start", "outer"),
        ("on_chain_start", "outside"),
        ("on_chain_start", "inner"),
        ("on_chain_start", "inside"),
        ("on_chain_end", "inside"),
        ("on_chain_end", "inner"),
        ("on_chain_end", "outside"),
        ("on_chain_end", "outer"),
    ]
    streamed = [event["data"]["chunk"] for event in found if (event["event"], event["name"]) == ("on_chain_stream", "outer")]
    assert next((mode, chunk) for _, mode, chunk in streamed) == ("custom", "w")


def test_events_can_be_chosen() -> None:
    found = events(one(node, name="g"), include_types=["chat_model"])
    assert {event["event"].rpartition("_")[0] for event in found} == {"on_chat_model"}
    found = events(one(node, name="g"), include_names=["node"])
    assert [event["event"] for event in found] == ["on_chain_start", "on_chain_stream", "on_chain_end"]


def test_an_error_ends_the_events() -> None:
    def fails(state: MessagesState) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        events(one(fails))


def test_what_collects_the_runs_of_a_context_sees_graphs(face: Face) -> None:
    """As on LangGraph: LangChain does not hand such a collector on to what is within, so models come by themselves."""
    with collect_runs() as collected:
        face.invoke(one(fit(face), name="g"), HELLO)
    assert [run.name for run in collected.traced_runs] == ["Speaking", "g"]


def test_models_of_an_error_handler_are_within_the_run(face: Face) -> None:
    def fails(state: MessagesState) -> None:
        raise ValueError("no")

    def mends(state: MessagesState, error: Any) -> Any:
        return {"messages": [says("a").invoke("x")]}

    builder = StateGraph(MessagesState).add_node("fails", fails, error_handler=mends).add_edge(START, "fails")
    tree = seen(face, builder.compile(name="g"))
    assert tree.lines == ["g > fails: ValueError", "g > model: end", "g: end"]


def test_a_handler_that_refuses_stops_the_run(face: Face) -> None:
    class Refuses(BaseCallbackHandler):
        raise_error = True
        run_inline = True

        def on_chain_start(self, serialized: Any, inputs: Any, **more: Any) -> None:
            if more["name"] == at:
                raise PermissionError(at)

    for at in ("g", "node"):
        with pytest.raises(PermissionError, match=at):
            face.invoke(one(fit(face), name="g"), HELLO, {"callbacks": [Refuses()]})
