"""Runs as OpenTelemetry spans: each run, superstep, task, router, commit and call of a chat model, within one another.

Nothing here knows of graphs; it gives spans as `clew.runtime.spans` wants them. Needs the extra `otel`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from clew.errors import MissingDependency
from clew.runtime.spans import OBSERVERS

try:
    from opentelemetry import context as contexts
    from opentelemetry import trace
    from opentelemetry.trace import Status, StatusCode, Tracer, TracerProvider
except ImportError as error:
    raise MissingDependency(
        'Spans are those of opentelemetry-api, which is not installed: type `pip install "clew[otel]"`.'
    ) from error

PLACE: Final = ("thread_id", "langgraph_step", "langgraph_node", "langgraph_checkpoint_ns")
"""What is said of a span out of its config's metadata, as `clew.…`."""


def instrument(tracer_provider: TracerProvider | None = None) -> Callable[[], None]:
    """Makes every run of this process a span from now on, until what is returned is called.

    Spans are named after what they are: a run after its graph (or `run_name`), a task after its node. What nodes are given and
    return is not recorded. User code inside a task finds the task's span as the current one.

    Args:
        tracer_provider: default: the global one.
    """
    observer = Traced(trace.get_tracer("clew", tracer_provider=tracer_provider), None)
    OBSERVERS.append(observer)

    def undo() -> None:
        if observer in OBSERVERS:
            OBSERVERS.remove(observer)

    return undo


class Traced:
    """A span, or the place where the outermost begin: within what is the current one there."""

    def __init__(self, tracer: Tracer, span: trace.Span | None) -> None:
        self._tracer = tracer
        self._span = span

    async def begin(self, kind: str, name: str, given: Any, config: Mapping[str, Any]) -> "Traced":
        return self._begun(kind, name, config)

    def _begun(self, kind: str, name: str, config: Mapping[str, Any]) -> "Traced":
        metadata: Mapping[str, Any] = config.get("metadata") or {}
        said = {f"clew.{key.removeprefix('langgraph_')}": metadata[key] for key in PLACE if key in metadata}
        within = None if self._span is None else trace.set_span_in_context(self._span)
        return Traced(self._tracer, self._tracer.start_span(name, within, attributes={"clew.kind": kind, **said}))

    def enter(self) -> None:
        if self._span is not None:
            contexts.attach(trace.set_span_in_context(self._span))  # never taken off: the context is the task's own

    def callbacks(self, given: Any) -> Any:
        from clew.interop.callbacks import ModelCalls, with_handler  # late: asked only where langchain-core is installed

        return with_handler(given, ModelCalls(lambda name, metadata: self._begun("model", name, {"metadata": metadata}).over))

    async def end(self, returned: Any) -> None:
        self.over(None)

    async def fail(self, error: BaseException) -> None:
        self.over(error)

    def over(self, error: BaseException | None) -> None:
        if self._span is None:
            return
        if isinstance(error, Exception):
            self._span.record_exception(error)
            self._span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
        elif error is not None:  # it was left or has paused, which is no mistake
            self._span.set_attribute("clew.ended_by", type(error).__name__)
        self._span.end()
