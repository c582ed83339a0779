"""Tokens of chat models, and what LangChain's handlers see of a run."""

import asyncio
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig

from clew.config import get_stream_writer
from clew.func import entrypoint, task
from clew.graph import END, START, MessagesState, StateGraph
from corpus.harness import ASYNC, Face, example

HELLO: dict[str, Any] = {"messages": [HumanMessage("hi", id="h")]}
KEYS = (
    "langgraph_node",
    "langgraph_step",
    "langgraph_triggers",
    "langgraph_path",
    "ls_provider",
    "ls_model_type",
    "tags",
    "user",
)


def model(text: str, **options: Any) -> GenericFakeChatModel:
    """A model that says this once, word by word where somebody listens."""
    return GenericFakeChatModel(messages=iter([AIMessage(text)]), **options)


def told(chunks: list[Any], *keys: str) -> list[Any]:
    return [[type(message).__name__, message.content, {key: metadata.get(key) for key in keys}] for message, metadata in chunks]


def one(node: Any, name: str) -> Any:
    return StateGraph(MessagesState).add_node(name, node).add_edge(START, name).compile()


@example("§5.4 LLM tokens: a model that is invoked, its metadata and tags")
def tokens(face: Face) -> Any:
    def call_model(state: MessagesState) -> Any:
        return {"messages": [model("one two", tags=["poem"]).invoke(state["messages"])]}

    config = {"tags": ["call"], "metadata": {"user": "ada"}}
    return told(face.stream(one(call_model, "call_model"), HELLO, config, stream_mode="messages"), *KEYS)


@example("§5.4 tokens with the config passed on, and a stream that the node reads itself")
def passed_on(face: Face) -> Any:
    def invokes(state: MessagesState, config: RunnableConfig) -> Any:
        return {"messages": [model("one two").invoke(state["messages"], config)]}

    def streams(state: MessagesState) -> Any:
        whole: Any = None
        for chunk in model("three four").stream(state["messages"]):
            whole = chunk if whole is None else whole + chunk
        return {"messages": [whole]}

    graph = StateGraph(MessagesState).add_sequence([invokes, streams]).add_edge(START, "invokes").compile()
    return told(face.stream(graph, HELLO, stream_mode="messages"), "langgraph_node")


@example("§5.4 tokens from specific nodes, by langgraph_node and by tags")
def from_nodes(face: Face) -> Any:
    def joke(state: MessagesState) -> Any:
        return {"messages": [model("ha ha", tags=["joke"]).invoke(state["messages"])]}

    def poem(state: MessagesState) -> Any:
        return {"messages": [model("oh oh", tags=["poem"]).invoke(state["messages"])]}

    builder = StateGraph(MessagesState).add_node(joke).add_node(poem).add_edge(START, "joke").add_edge(START, "poem")
    chunks = face.stream(builder.compile(), HELLO, stream_mode="messages")
    by_node = [message.content for message, metadata in chunks if metadata["langgraph_node"] == "poem"]
    by_tag = [message.content for message, metadata in chunks if metadata["tags"] == ["joke"]]
    return {"of poem": by_node, "tagged joke": by_tag}


@example("§5.4 tokens from subgraphs")
def from_subgraphs(face: Face) -> Any:
    def speaks(state: MessagesState) -> Any:
        return {"messages": [model("one two").invoke(state["messages"])]}

    outer = one(one(one(speaks, "speaks"), "inner"), "outer")
    inside = face.stream(outer, HELLO, stream_mode="messages", subgraphs=True)
    places = [[segment.partition(":")[0] for segment in ns] for ns, _ in inside]
    return {
        "all": [
            [place, *each] for place, each in zip(places, told([chunk for _, chunk in inside], "langgraph_node"), strict=True)
        ],
        "the outermost": told(face.stream(outer, HELLO, stream_mode="messages"), "langgraph_node"),
    }


@example("§5.4 disabling streaming: nostream, disable_streaming")
def disabled(face: Face) -> Any:
    def silent(state: MessagesState) -> None:
        model("not heard", tags=["nostream"]).invoke(state["messages"])

    def returned(state: MessagesState) -> Any:
        return {"messages": [model("heard whole", tags=["nostream"]).invoke(state["messages"])]}

    def whole(state: MessagesState) -> Any:
        return {"messages": [model("whole as well", disable_streaming=True).invoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_sequence([silent, returned, whole]).add_edge(START, "silent").compile()
    return told(face.stream(graph, HELLO, stream_mode="messages"), "langgraph_node")


@example("§5.4 functional tokens, and data from within tasks")
def functional(face: Face) -> Any:
    @task
    def draft(subject: str) -> str:
        get_stream_writer()(f"drafting {subject}")
        return str(model("a draft").invoke(subject).content)

    @entrypoint()
    def write(subject: str) -> str:
        text = draft(subject).result()
        return str(model(f"better: {text}").invoke(text).content)

    chunks = face.stream(write, "tea", stream_mode=["messages", "custom"])
    return [
        [mode, told([chunk], "langgraph_node", "langgraph_step") if mode == "messages" else chunk] for mode, chunk in chunks
    ]


class Seen(BaseCallbackHandler):
    """What begins and ends, each with the names around it."""

    run_inline = True

    def __init__(self) -> None:
        self.lines: list[Any] = []
        self._paths: dict[Any, list[str]] = {}

    def _began(self, name: str, run_id: Any, parent: Any, tags: Any) -> None:
        self._paths[run_id] = [*self._paths.get(parent, []), name]
        self.lines.append(["start", *self._paths[run_id], sorted(tags or [])])

    def _ended(self, how: str, run_id: Any) -> None:
        self.lines.append([how, *self._paths[run_id]])

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: Any, parent_run_id: Any = None, **more: Any) -> None:
        self._began(more["name"], run_id, parent_run_id, more["tags"])

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, run_id: Any, parent_run_id: Any = None, **more: Any
    ) -> None:
        self._began("model", run_id, parent_run_id, more["tags"])

    def on_chain_end(self, outputs: Any, *, run_id: Any, **_: Any) -> None:
        self._ended("end", run_id)

    def on_chain_error(self, error: BaseException, *, run_id: Any, **_: Any) -> None:
        self._ended(type(error).__name__, run_id)

    def on_llm_end(self, response: Any, *, run_id: Any, **_: Any) -> None:
        self._ended("end", run_id)


@example("§5.4 callbacks: runs, nodes, routers and models, nested")
def callbacks(face: Face) -> Any:
    def speaks(state: MessagesState) -> Any:
        return {"messages": [model("one").invoke(state["messages"])]}

    def choose(state: MessagesState) -> str:
        return END

    inner = StateGraph(MessagesState).add_node(speaks).add_edge(START, "speaks")
    graph = one(inner.add_conditional_edges("speaks", choose, [END]).compile(name="inner"), "outer")
    seen = Seen()
    face.invoke(graph, HELLO, {"callbacks": [seen], "run_name": "mine", "tags": ["t"]})
    return seen.lines


@example("§5.4 astream_events: graphs, nodes, models", faces=(ASYNC,))
def events(face: Face) -> Any:
    async def speaks(state: MessagesState) -> Any:
        return {"messages": [await model("one two").ainvoke(state["messages"])]}

    async def read() -> list[Any]:
        found = one(speaks, "speaks").astream_events(HELLO, version="v2")
        return [[event["event"], event["name"], len(event["parent_ids"]), sorted(event["data"])] async for event in found]

    return asyncio.run(read())
