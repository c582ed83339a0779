"""The guide "How to add thread-level persistence to your graph", word for word but for the package name."""

import asyncio
import functools
import operator
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from support.faces import Face
from support.pages import BLOCK, ROOT, blocks, run

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import MemorySaver
from clew.checkpoint.sqlite import SqliteSaver
from clew.graph import START, MessagesState, StateGraph
from clew.graph.compiled import CompiledStateGraph

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

PAGE = ROOT / "docs" / "how-to" / "thread-persistence.md"

# The code of the original, block by block; the package `langgraph` has become `clew` and nothing else has changed.
FOR_READING = [
    """\
from clew.checkpoint.memory import MemorySaver

checkpointer = MemorySaver()
graph.compile(checkpointer=checkpointer)
""",
    """\
%%capture --no-stderr
%pip install --quiet -U clew langchain_anthropic
""",
]
GUIDE = [
    """\
import getpass
import os


def _set_env(var: str):
    if not os.environ.get(var):
        os.environ[var] = getpass.getpass(f"{var}: ")


_set_env("ANTHROPIC_API_KEY")
""",
    """\
from langchain_anthropic import ChatAnthropic

model = ChatAnthropic(model="claude-3-5-sonnet-20240620")
""",
    """\
from typing import Annotated
from typing_extensions import TypedDict

from clew.graph import StateGraph, MessagesState, START


def call_model(state: MessagesState):
    response = model.invoke(state["messages"])
    return {"messages": response}


builder = StateGraph(MessagesState)
builder.add_node("call_model", call_model)
builder.add_edge(START, "call_model")
graph = builder.compile()
""",
    """\
input_message = {"role": "user", "content": "hi! I'm bob"}
for chunk in graph.stream({"messages": [input_message]}, stream_mode="values"):
    chunk["messages"][-1].pretty_print()

input_message = {"role": "user", "content": "what's my name?"}
for chunk in graph.stream({"messages": [input_message]}, stream_mode="values"):
    chunk["messages"][-1].pretty_print()
""",
    """\
from clew.checkpoint.memory import MemorySaver

memory = MemorySaver()
graph = builder.compile(checkpointer=memory)
# If you're using LangGraph Cloud or LangGraph Studio, you don't need to pass the checkpointer when compiling the graph, since it's done automatically.
""",  # noqa: E501  (word for word)
    """\
config = {"configurable": {"thread_id": "1"}}
input_message = {"role": "user", "content": "hi! I'm bob"}
for chunk in graph.stream({"messages": [input_message]}, config, stream_mode="values"):
    chunk["messages"][-1].pretty_print()
""",
    """\
input_message = {"role": "user", "content": "what's my name?"}
for chunk in graph.stream({"messages": [input_message]}, config, stream_mode="values"):
    chunk["messages"][-1].pretty_print()
""",
    """\
input_message = {"role": "user", "content": "what's my name?"}
for chunk in graph.stream(
    {"messages": [input_message]},
    {"configurable": {"thread_id": "2"}},
    stream_mode="values",
):
    chunk["messages"][-1].pretty_print()
""",
]


def test_the_page_has_the_code_of_the_guide_word_for_word() -> None:
    shown = [found[2] for found in BLOCK.finditer(PAGE.read_text())]
    assert shown[: len(FOR_READING) + len(GUIDE)] == FOR_READING + GUIDE
    assert [text for _, text in blocks(PAGE)][: len(GUIDE)] == GUIDE


@pytest.mark.slow
def test_the_guide_tells_the_story_it_tells(
    anthropic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "guide.md"
    page.write_text("".join(f"```python\n{text}```\n" for text in GUIDE))
    monkeypatch.chdir(tmp_path)
    names = run(page)
    said = [part.partition("\n\n")[2].strip() for part in capsys.readouterr().out.split("= Ai Message =")[1:]]
    assert [answer.split(",")[0].split("!")[0] for answer in said] == [
        "Hello Bob",
        "I apologize",
        "Hello Bob",
        "Your name is Bob",
        "I apologize",
    ]
    assert type(names["model"]).__name__ == "ChatAnthropic"


def client() -> "BaseChatModel":
    from langchain_anthropic import ChatAnthropic  # late: it takes seconds, and collecting tests should not

    return ChatAnthropic(model="claude-3-5-sonnet-20240620")  # pyright: ignore[reportCallIssue]  (its own stubs want more)


def conversation(saver: Saver | None, *, awaited: bool) -> CompiledStateGraph:
    model = client()

    def call_model(state: MessagesState) -> dict[str, Any]:
        return {"messages": model.invoke(state["messages"])}

    async def acall_model(state: MessagesState) -> dict[str, Any]:
        return {"messages": await model.ainvoke(state["messages"])}

    builder = StateGraph(MessagesState).add_node("call_model", acall_model if awaited else call_model)
    return builder.add_edge(START, "call_model").compile(saver)


def ask(face: Face, graph: CompiledStateGraph, text: str, thread: str) -> str:
    config = {"configurable": {"thread_id": thread}}
    chunks = face.stream(graph, {"messages": [{"role": "user", "content": text}]}, config, stream_mode="values")
    return chunks[-1]["messages"][-1].content


def test_the_conversation_on_both_faces_and_every_saver(anthropic: str, face: Face, saver: Saver) -> None:
    graph = conversation(saver, awaited=False)
    assert ask(face, graph, "hi! I'm bob", "1").startswith("Hello Bob")
    assert ask(face, graph, "what's my name?", "1").startswith("Your name is Bob")
    assert "don't have access" in ask(face, graph, "what's my name?", "2")


def test_the_conversation_with_an_async_node(anthropic: str, saver: Saver) -> None:
    async def talk() -> list[str]:  # in one loop: the client keeps its connections
        graph = conversation(saver, awaited=True)
        said: list[str] = []
        for text, thread in (("hi! I'm bob", "1"), ("what's my name?", "1"), ("what's my name?", "2")):
            config = {"configurable": {"thread_id": thread}}
            answer = await graph.ainvoke({"messages": [("user", text)]}, config)
            said.append(answer["messages"][-1].content)
        return said

    hello, bob, unknown = asyncio.run(talk())
    assert hello.startswith("Hello Bob")
    assert bob.startswith("Your name is Bob")
    assert "don't have access" in unknown


def test_a_streamed_answer_is_kept_as_one_full_message(anthropic: str, face: Face, saver: Saver) -> None:
    model = client()

    def call_model(state: MessagesState) -> dict[str, Any]:
        first, *rest = model.stream(state["messages"])
        assert len(rest) > 5
        return {"messages": functools.reduce(operator.add, rest, first)}

    builder = StateGraph(MessagesState).add_node("call_model", call_model).add_edge(START, "call_model")
    graph = builder.compile(saver)
    assert ask(face, graph, "hi! I'm bob", "1").startswith("Hello Bob")
    assert ask(face, graph, "what's my name?", "1").startswith("Your name is Bob")
    read = face.get_state(builder.compile(Saver(saver.storage)), {"configurable": {"thread_id": "1"}}).values["messages"]
    assert [type(message) for message in read] == [HumanMessage, AIMessage, HumanMessage, AIMessage]


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ([("user", "")], "messages.0: all messages must have non-empty content"),
        ([("ai", "hello"), ("user", "hi")], "first message must use the user role"),
    ],
)
def test_the_stand_in_refuses_what_the_real_one_refuses(anthropic: str, given: Any, refused: str) -> None:
    with pytest.raises(Exception, match=rf"400 .*{refused}"):
        client().invoke(given)


def test_the_stand_in_wants_a_key(anthropic: str) -> None:
    request = urllib.request.Request(f"{anthropic}/v1/messages", b"{}", method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    with refused.value as answer:
        assert answer.code == 401


def test_a_message_of_the_real_client_comes_back_as_it_was(anthropic: str, tmp_path: Path) -> None:
    config = {"configurable": {"thread_id": "1"}}
    with SqliteSaver(tmp_path / "chat.db") as saver:
        said = conversation(saver, awaited=False).invoke({"messages": ["hi! I'm bob"]}, config)["messages"]
    with SqliteSaver(tmp_path / "chat.db") as saver:
        read = conversation(saver, awaited=False).get_state(config).values["messages"]
    assert read == said
    assert [type(message) for message in read] == [type(message) for message in said]
    assert [message.model_dump() for message in read] == [message.model_dump() for message in said]


def test_the_familiar_names_are_there() -> None:
    from clew.checkpoint.memory import InMemorySaver
    from clew.checkpoint.sqlite import AsyncSqliteSaver
    from clew.checkpoint.sqlite.aio import AsyncSqliteSaver as same

    assert MemorySaver is InMemorySaver
    assert AsyncSqliteSaver is SqliteSaver is same
