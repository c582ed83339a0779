"""Runs as OpenTelemetry spans, as an exporter gets them."""

import asyncio
from collections.abc import Generator
from typing import Any

import pytest
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.messages import HumanMessage
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.faces import ASYNC, Face
from support.speaking import says

from clew.checkpoint.memory import InMemorySaver
from clew.func import entrypoint, task
from clew.graph import START, MessagesState, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.interop.otel import instrument
from clew.types import interrupt

HELLO: dict[str, Any] = {"messages": [HumanMessage("hi", id="h")]}
THREAD: dict[str, Any] = {"configurable": {"thread_id": "1"}}
Graph = CompiledStateGraph[Any, Any, Any, Any]


class Exported:
    """Spans that have ended, as a tree."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self._exporter.get_finished_spans()}

    def tree(self) -> list[str]:
        """`kind name` of each, after as many dashes as there are spans around it, in the order of their beginnings."""
        spans = sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
        parents = {span.context.span_id: span.parent and span.parent.span_id for span in spans if span.context}

        def depth(span: ReadableSpan) -> int:
            found, parent = 0, span.parent and span.parent.span_id
            while parent is not None:
                found, parent = found + 1, parents[parent]
            return found

        return [f"{'-' * depth(span)}{(span.attributes or {}).get('clew.kind', 'own')} {span.name}" for span in spans]


@pytest.fixture
def exported() -> Generator[Exported]:
    found = Exported()
    undo = instrument(found.provider)
    yield found
    undo()


def one(action: Any, at: str = "node", **options: Any) -> Graph:
    return StateGraph(MessagesState).add_node(at, action).add_edge(START, at).compile(**options)


def silent(state: MessagesState) -> None: ...


def speaks(face: Face, exported: Exported) -> Any:
    tracer = exported.provider.get_tracer("user")

    def plain(state: MessagesState) -> Any:
        with tracer.start_as_current_span("work"):
            return {"messages": [says("a", "b").invoke(state["messages"])]}

    async def awaited(state: MessagesState) -> Any:
        with tracer.start_as_current_span("work"):
            return {"messages": [await says("a", "b").ainvoke(state["messages"])]}

    return awaited if face is ASYNC else plain


def test_each_thing_is_a_span_within_the_one_it_is_done_in(face: Face, exported: Exported) -> None:
    inner = one(speaks(face, exported), name="inner")
    face.invoke(one(inner, "sub", name="outer", checkpointer=InMemorySaver()), HELLO, THREAD)
    assert exported.tree() == [
        "run outer",
        "-commit commit",
        "-superstep superstep 1",
        "--task sub",
        "---run inner",
        "----commit commit",
        "----superstep superstep 1",
        "-----task node",
        "------own work",
        "------model Speaking",
        "-----commit commit",
        "--commit commit",
    ]
    said = exported.spans()["node"].attributes or {}
    assert (said["clew.thread_id"], said["clew.step"], said["clew.node"]) == ("1", 1, "node")
    assert str(said["clew.checkpoint_ns"]).startswith("sub:")


def test_tasks_that_a_workflow_calls(face: Face, exported: Exported) -> None:
    @task
    def work(what: str) -> str:
        return says(what).invoke(what).text

    @entrypoint()
    def flow(what: str) -> str:
        return work(what).result()

    face.invoke(flow, "x")
    assert exported.tree() == ["run flow", "-superstep superstep 0", "--task flow", "---task work", "----model Speaking"]


def test_a_model_that_does_not_chat(face: Face, exported: Exported) -> None:
    def node(state: MessagesState) -> None:
        FakeListLLM(responses=["x"]).invoke("hi")

    face.invoke(one(node, name="g"), HELLO)
    assert exported.tree() == ["run g", "-superstep superstep 1", "--task node", "---model FakeListLLM"]


def test_errors_are_recorded_and_pauses_are_none(face: Face, exported: Exported) -> None:
    def fails(state: MessagesState) -> None:
        raise ValueError("no")

    def asks(state: MessagesState) -> None:
        interrupt("?")

    with pytest.raises(ValueError, match="no"):
        face.invoke(one(fails, "fails", name="failed"), HELLO)
    face.invoke(one(asks, "asks", name="paused", checkpointer=InMemorySaver()), HELLO, THREAD)
    spans = exported.spans()
    status = {name: spans[name].status.status_code.name for name in ("failed", "fails", "paused", "asks")}
    assert status == {"failed": "ERROR", "fails": "ERROR", "paused": "UNSET", "asks": "UNSET"}
    assert spans["fails"].events[0].name == "exception"
    assert (spans["asks"].attributes or {})["clew.ended_by"] == "GraphInterrupt"


def test_runs_are_within_the_span_of_their_caller(face: Face, exported: Exported) -> None:
    graph = one(silent, name="g")
    with exported.provider.get_tracer("user").start_as_current_span("request"):
        face.invoke(graph, HELLO)
    assert exported.tree()[:2] == ["own request", "-run g"]


def test_two_runs_at_once_do_not_mix(exported: Exported) -> None:
    async def node(state: MessagesState) -> None:
        await asyncio.sleep(0)

    async def both() -> None:
        graphs = [one(node, f"node{number}", name=f"g{number}") for number in range(2)]
        await asyncio.gather(*[graph.ainvoke(HELLO) for graph in graphs])

    asyncio.run(both())
    spans = exported.spans()
    for number in range(2):
        run, node_ = spans[f"g{number}"].context, spans[f"node{number}"].context
        assert run
        assert node_
        assert run.trace_id == node_.trace_id
    assert len({span.context.trace_id for span in spans.values() if span.context}) == 2


def test_nothing_is_traced_before_and_after(face: Face) -> None:
    found = Exported()
    undo = instrument(found.provider)
    undo()
    undo()
    face.invoke(one(silent), HELLO)
    assert found.tree() == []
