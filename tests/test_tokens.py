"""Tokens of chat models, and the messages that nodes return, as readers of `stream_mode="messages"` get them."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from support.faces import ASYNC, Face
from support.speaking import IN_TIME, Speaking, follow, says

from clew.checkpoint.memory import InMemorySaver
from clew.func import entrypoint, task
from clew.graph import START, MessagesState, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.types import Command, RetryPolicy, Send, StreamWriter, interrupt

HELLO: dict[str, Any] = {"messages": [HumanMessage("hi", id="h")]}
THREAD: dict[str, Any] = {"configurable": {"thread_id": "1"}}


def asks(model: Speaking) -> Callable[[Any], Any]:
    """A node that returns what a model says; async where the face is."""

    def node(state: MessagesState) -> Any:
        return {"messages": [model.invoke(state["messages"])]}

    return node


def awaits(model: Speaking) -> Callable[[Any], Any]:
    async def node(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return node


def fit(face: Face, model: Speaking) -> Callable[[Any], Any]:
    return awaits(model) if face is ASYNC else asks(model)


def one(node: Any, name: str = "node", **options: Any) -> CompiledStateGraph[Any, Any, Any, Any]:
    return StateGraph(MessagesState).add_node(name, node).add_edge(START, name).compile(**options)


def words(chunks: list[Any]) -> list[tuple[str, str]]:
    """Of each chunk the node and the text."""
    return [(metadata["langgraph_node"], message.text) for message, metadata in chunks]


# -- tokens ---------------------------------------------------------------------------------------------------------


def test_a_model_that_is_invoked_speaks_word_by_word(face: Face) -> None:
    chunks = face.stream(one(fit(face, says("a", "b", "c"))), HELLO, stream_mode="messages")
    assert words(chunks)[:3] == [("node", "a"), ("node", "b"), ("node", "c")]
    assert all(isinstance(message, AIMessageChunk) for message, _ in chunks)
    assert len({message.id for message, _ in chunks}) == 1  # and no whole message after them


def test_what_is_said_of_a_token(face: Face) -> None:
    model = says("a", tags=["loud"], metadata={"mine": 2})
    config = {**THREAD, "tags": ["call"], "metadata": {"user": "u", "deep": ["x"]}}
    graph = (
        StateGraph(MessagesState).add_node("node", fit(face, model), metadata={"nodes": 1}).add_edge(START, "node").compile()
    )
    (_, found), *_ = face.stream(graph, HELLO, config, stream_mode="messages")
    place = found["langgraph_checkpoint_ns"]
    assert place.startswith("node:")
    assert found["checkpoint_ns"] == place
    assert (
        found.items()
        >= {
            "langgraph_step": 1,
            "langgraph_node": "node",
            "langgraph_triggers": ("branch:to:node",),
            "langgraph_path": ("__pregel_pull", "node"),
            "thread_id": "1",
            "user": "u",
            "deep": ["x"],
            "nodes": 1,
            "mine": 2,
            "ls_model_type": "chat",
            "ls_provider": "speaking",
        }.items()
    )
    assert sorted(found["tags"]) == ["call", "loud"]


def test_a_model_may_be_called_with_the_config_or_without(face: Face) -> None:
    def passes(state: MessagesState, config: RunnableConfig) -> Any:
        return {"messages": [says("a").invoke(state["messages"], config)]}

    def own(state: MessagesState) -> Any:
        return {"messages": [says("b").invoke(state["messages"], {"metadata": {"mine": 1}, "tags": ["own"]})]}

    graph = StateGraph(MessagesState).add_sequence([passes, own]).add_edge(START, "passes").compile()
    chunks = face.stream(graph, HELLO, stream_mode="messages")
    assert [(node, text) for node, text in words(chunks) if text] == [("passes", "a"), ("own", "b")]
    assert chunks[-1][1]["mine"] == 1
    assert chunks[-1][1]["tags"] == ["own"]


def test_a_model_whose_stream_the_node_reads_is_heard_once(face: Face) -> None:
    def node(state: MessagesState) -> Any:
        whole: Any = None
        for chunk in says("a", "b").stream(state["messages"]):
            whole = chunk if whole is None else whole + chunk
        return {"messages": [whole]}

    chunks = face.stream(one(node), HELLO, stream_mode="messages")
    assert [text for _, text in words(chunks) if text] == ["a", "b"]


def test_models_in_a_chain_a_tool_and_a_task_are_heard(face: Face) -> None:
    @tool
    def look_up(what: str) -> str:
        """Looks something up."""
        return says("tool").invoke(what).text

    @task
    def work(what: str) -> str:
        return says("task").invoke(what).text

    def same(given: str) -> str:
        return given

    chain = RunnableLambda[str, str](same) | says("chain")

    @entrypoint()
    def flow(what: str) -> str:
        return f"{work(what).result()} {look_up.invoke(what)} {chain.invoke(what).text}"

    chunks = face.stream(flow, "x", stream_mode="messages")
    assert [pair for pair in words(chunks) if pair[1]] == [("work", "task"), ("flow", "tool"), ("flow", "chain")]
    assert all("tags" not in metadata for _, metadata in chunks)  # those that number the parts of a chain are left out


def test_several_nodes_speak_at_once(face: Face) -> None:
    """Each of two waits in the middle for the other's first word."""
    first, second = threading.Event(), threading.Event()
    builder = StateGraph(MessagesState).add_node("one", fit(face, says("a", "b", heard=second)))
    builder.add_node("two", fit(face, says("c", "d", heard=first))).add_edge(START, "one").add_edge(START, "two")
    found: list[Any] = []

    def seen(chunk: Any) -> None:
        found.append(chunk)
        {"one": first, "two": second}[chunk[1]["langgraph_node"]].set()

    follow(face, builder.compile(), HELLO, seen, stream_mode="messages")
    by_node = [[text for node, text in words(found) if node == name and text] for name in ("one", "two")]
    assert by_node == [["a", "b"], ["c", "d"]]


def test_tasks_of_one_node_are_told_apart(face: Face) -> None:
    builder = StateGraph(MessagesState).add_node("node", asks(says("a")))
    builder.add_conditional_edges(START, lambda _: [Send("node", HELLO), Send("node", HELLO)], ["node"])
    chunks = face.stream(builder.compile(), HELLO, stream_mode="messages")
    assert {metadata["langgraph_path"] for _, metadata in chunks} == {("__pregel_push", 0), ("__pregel_push", 1)}
    assert len({metadata["langgraph_checkpoint_ns"] for _, metadata in chunks}) == 2


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_shapes(face: Face, listed: bool, version: str) -> None:
    mode = ["messages", "updates"] if listed else "messages"
    chunk, *_ = face.stream(one(fit(face, says("a"))), HELLO, stream_mode=mode, version=version)
    message, metadata = chunk["data"] if version == "v2" else chunk[1] if listed else chunk
    assert (message.text, metadata["langgraph_node"]) == ("a", "node")
    assert version == "v1" or chunk.keys() == {"type", "ns", "data"}
    assert not (version == "v1" and listed) or chunk[0] == "messages"


# -- the first is there before the last is made ---------------------------------------------------------------------


def nested(node: Any, depth: int) -> CompiledStateGraph[Any, Any, Any, Any]:
    graph = one(node)
    for level in range(depth):
        graph = one(graph, f"level{level}")
    return graph


@pytest.mark.parametrize("saver", [None, InMemorySaver()], ids=["kept nowhere", "kept"])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_the_first_token_is_read_before_the_model_has_finished(face: Face, depth: int, saver: Any) -> None:
    heard = threading.Event()
    found: list[Any] = []

    def seen(chunk: Any) -> None:
        found.append(chunk)
        heard.set()

    graph = one(nested(fit(face, says("a", "b", heard=heard)), depth), "outermost", checkpointer=saver)
    follow(face, graph, HELLO, seen, config={"configurable": {"thread_id": f"{depth}{face}"}}, stream_mode="messages",
           subgraphs=True)  # fmt: skip
    levels = ["outermost", *[f"level{level}" for level in reversed(range(depth))]]
    assert [segment.partition(":")[0] for segment in found[0][0]] == levels
    assert [text for _, text in words([chunk for _, chunk in found]) if text] == ["a", "b"]


def test_the_first_token_of_a_model_in_a_plain_node_is_read_early_on_the_async_face() -> None:
    heard = threading.Event()
    found: list[Any] = []

    def seen(chunk: Any) -> None:
        found.append(chunk)
        heard.set()

    follow(ASYNC, one(asks(says("a", "b", heard=heard))), HELLO, seen, stream_mode="messages")
    assert [text for _, text in words(found) if text] == ["a", "b"]


def test_of_graphs_inside_only_what_their_node_returns_is_told_unless_asked_for(face: Face) -> None:
    chunks = face.stream(nested(fit(face, says("a", "b")), 3), HELLO, stream_mode="messages")
    assert [(node, text, type(m)) for (node, text), (m, _) in zip(words(chunks), chunks, strict=True)] == [
        ("level2", "a b", AIMessage)
    ]


@pytest.mark.parametrize("passed", [False, True], ids=["called", "called with the config"])
@pytest.mark.parametrize("subgraphs", [False, True])
def test_a_graph_that_a_node_calls(face: Face, passed: bool, subgraphs: bool) -> None:
    inner = one(asks(says("a", "b")), "inner")

    def outer(state: MessagesState, config: RunnableConfig) -> Any:
        return {"messages": inner.invoke(state, config if passed else None)["messages"]}

    chunks = face.stream(one(outer, "outer"), HELLO, stream_mode="messages", subgraphs=subgraphs)
    if subgraphs:
        assert [pair for pair in words([chunk for _, chunk in chunks]) if pair[1]] == [("inner", "a"), ("inner", "b")]
    else:
        assert words(chunks) == [("outer", "a b")]


def test_a_node_that_reads_the_tokens_of_a_graph_keeps_them_for_itself(face: Face) -> None:
    inner = one(asks(says("a", "b")), "inner")
    read: list[Any] = []

    def outer(state: MessagesState, writer: StreamWriter) -> None:
        read.extend(inner.stream(state, stream_mode="messages"))  # pyright: ignore

    assert face.stream(one(outer, "outer"), HELLO, stream_mode="messages") == []
    assert [text for _, text in words(read) if text] == ["a", "b"]


# -- whole messages -------------------------------------------------------------------------------------------------


def test_messages_that_nodes_return_are_told_once(face: Face) -> None:
    class State(MessagesState):
        note: Any

    def plain(state: State) -> Any:
        return {"messages": [AIMessage("a", id="a"), AIMessage("b", id="b")], "note": AIMessage("n", id="n")}

    def command(state: State) -> Any:
        return Command(update={"messages": AIMessage("c", id="c")}, goto="again")

    def again(state: State) -> Any:
        given, known = state["messages"][0], AIMessage("b", id="b")
        return {"messages": [given, known, AIMessage("unnamed")], "note": {"deep": AIMessage("not looked for", id="d")}}

    builder = StateGraph(State).add_sequence([plain, command]).add_node(again).add_edge(START, "plain")
    chunks = face.stream(builder.compile(), HELLO, stream_mode="messages")
    told = [("plain", "a"), ("plain", "b"), ("plain", "n"), ("command", "c"), ("again", "unnamed")]
    assert words(chunks) == told
    assert all(message.id for message, _ in chunks)


def test_messages_that_workflows_and_their_tasks_return(face: Face) -> None:
    @task
    def work() -> Any:
        return AIMessage("t", id="t")

    @entrypoint()
    def flow(given: Any) -> Any:
        return {"found": [work().result(), AIMessage("f", id="f")]}

    assert words(face.stream(flow, "x", stream_mode="messages")) == [("work", "t"), ("flow", "f")]


def test_a_model_that_does_not_stream_is_heard_at_its_end(face: Face) -> None:
    chunks = face.stream(one(fit(face, says("a", "b", disable_streaming=True))), HELLO, stream_mode="messages")
    assert words(chunks) == [("node", "a b")]
    assert chunks[0][1]["ls_provider"] == "speaking"


def test_what_is_tagged_nostream_is_not_heard(face: Face) -> None:
    silent = says("a", "b", tags=["nostream"])

    def thinks(state: MessagesState) -> None:
        silent.invoke(state["messages"])

    assert face.stream(one(thinks), HELLO, stream_mode="messages") == []
    assert words(face.stream(one(fit(face, silent)), HELLO, stream_mode="messages")) == [("node", "ab")]


def test_a_task_that_is_answered_from_the_record_tells_nothing_again(face: Face) -> None:
    def speaks(state: MessagesState) -> Any:
        return {"messages": [says("a").invoke(state["messages"])]}

    def waits(state: MessagesState) -> Any:
        interrupt("go on?")

    builder = StateGraph(MessagesState).add_node(speaks).add_node(waits).add_edge(START, "speaks").add_edge(START, "waits")
    graph = builder.compile(checkpointer=InMemorySaver())
    assert [text for _, text in words(face.stream(graph, HELLO, THREAD, stream_mode="messages")) if text] == ["a"]
    assert face.stream(graph, Command(resume=1), THREAD, stream_mode="messages") == []


def test_messages_of_an_error_handler(face: Face) -> None:
    def fails(state: MessagesState) -> None:
        raise ValueError("no")

    def mends(state: MessagesState, error: Any) -> Any:
        return {"messages": [AIMessage("mended", id="m"), says("a").invoke("x")]}

    builder = StateGraph(MessagesState).add_node("fails", fails, error_handler=mends).add_edge(START, "fails")
    told = words(face.stream(builder.compile(), HELLO, stream_mode="messages"))
    assert [pair for pair in told if pair[1]] == [("fails", "a"), ("fails", "mended")]


# -- failing --------------------------------------------------------------------------------------------------------


def test_a_model_that_fails_in_the_middle_fails_its_node_after_its_tokens(face: Face) -> None:
    found: list[Any] = []
    graph = one(fit(face, says("a", "b", fails=ConnectionError("gone"))))
    with pytest.raises(ConnectionError, match="gone"):
        follow(face, graph, HELLO, found.append, stream_mode="messages")
    assert words(found) == [("node", "a"), ("node", "b")]


def test_a_try_that_is_over_is_not_heard_any_more(face: Face) -> None:
    """The first try leaves a model speaking behind, which goes on only once the second is done."""
    late, ended = threading.Event(), threading.Event()
    tries: list[threading.Thread] = []

    def node(state: MessagesState, config: RunnableConfig) -> Any:
        if tries:
            return {"messages": [says("second").invoke("x", config)]}

        def behind() -> None:
            says("first", "late", heard=late).invoke("x", config)
            ended.set()

        tries.append(threading.Thread(target=behind))
        raise ConnectionError

    def last(state: MessagesState) -> None:
        tries[0].start()
        late.set()
        assert ended.wait(IN_TIME)
        tries[0].join()

    again = RetryPolicy(initial_interval=0, jitter=False)
    builder = StateGraph(MessagesState).add_node(node, retry_policy=again).add_node(last).add_edge(START, "node")
    chunks = face.stream(builder.add_edge("node", "last").compile(), HELLO, stream_mode="messages")
    assert [text for _, text in words(chunks) if text] == ["second"]


# -- kept -----------------------------------------------------------------------------------------------------------


def test_tokens_of_graphs_inside_are_kept_in_a_run_that_can_be_resumed(face: Face) -> None:
    graph = one(nested(fit(face, says("a", "b")), 1), "outermost", checkpointer=InMemorySaver())
    parts = face.stream(graph, HELLO, THREAD, stream_mode="messages", subgraphs=True, resumable=True)
    tokens = [(part.ns[-1].partition(":")[0], part.data[0].text) for part in parts if part.mode == "messages"]
    assert [token for token in tokens if token[1]] == [("level0", "a"), ("level0", "b")]
    assert [part.seq for part in parts] == list(range(1, len(parts) + 1))
