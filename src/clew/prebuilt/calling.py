"""One call of a tool, from what a model asked to what it is told: what is injected, what fails, what a crash left behind.

Written for both faces, each calling the tool as that face can. Which calls run beside which is decided elsewhere.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict, Unpack, cast

from clew.errors import GraphBubbleUp, GraphError, OutcomeUnknown, WrongFace
from clew.interop.tools import BaseTool, ToolMessage, refused_arguments, speaks
from clew.prebuilt.injection import Injected, ToolRuntime, read_injected
from clew.prebuilt.settling import UNKNOWN_TEXT, marked
from clew.prebuilt.tool_errors import Handling, ToolInvocationError
from clew.runtime.once import DONE, FAILED, Claim
from clew.runtime.tasks import in_thread
from clew.types import RUNNING, Command

if TYPE_CHECKING:
    from clew.runtime.context import TaskContext

OnUnknown: TypeAlias = Literal["tell", "ask", "retry", "fail"]
"""What is done about a call that was begun by a process that died before its result was kept: the model is told that nobody
knows; a human is asked; it is called again, as it may run twice; `OutcomeUnknown` is raised."""

POLICIES: Final = ("tell", "ask", "retry", "fail")


class _Overrides(TypedDict, total=False):
    tool_call: Any
    tool: BaseTool | None
    state: Any
    runtime: ToolRuntime


@dataclass(frozen=True, slots=True)
class ToolCallRequest:
    """A call as `wrap_tool_call` is told of it.

    Attributes:
        tool_call: `{"name", "args", "id", "type"}`, a copy, without what a model has no say in.
        tool: what will be called; None where the node has no tool of that name.
        state: what the node was given. runtime: what the tool may find of the run.
    """

    tool_call: Any
    tool: BaseTool | None
    state: Any
    runtime: ToolRuntime

    def override(self, **overrides: Unpack[_Overrides]) -> "ToolCallRequest":
        """A request with some of it replaced; this one stays as it is."""
        return replace(self, **overrides)


Told: TypeAlias = Any
"""What comes of a call: a `ToolMessage`, a `Command`, or a list of those."""
Wrapper: TypeAlias = Callable[[ToolCallRequest, Callable[[ToolCallRequest], Told]], Told]
AwaitedWrapper: TypeAlias = Callable[[ToolCallRequest, Callable[[ToolCallRequest], Awaitable[Told]]], Awaitable[Told]]


@dataclass(frozen=True, slots=True)
class Toolbox:
    """What all calls of a node have in common."""

    tools: Mapping[str, BaseTool]
    injected: Mapping[str, Injected]
    handling: Handling
    policies: Mapping[str, OnUnknown]
    usual: OnUnknown
    wrap: Wrapper | None
    awrap: AwaitedWrapper | None

    def injected_in(self, tool: BaseTool) -> Injected:
        """A wrapper may bring a tool that the node does not have."""
        known = self.tools.get(tool.name)
        return self.injected[tool.name] if known is tool else read_injected(tool)

    def policy(self, tool: BaseTool) -> OnUnknown:
        return self.policies.get(tool.name, self.usual)


def read_policies(given: OnUnknown | Mapping[str, OnUnknown], tools: Mapping[str, BaseTool]) -> tuple[Mapping[str, Any], Any]:
    """`on_unknown` as what each tool says, and what those do that say nothing. Raises GraphError."""
    policies: Mapping[str, Any] = {} if isinstance(given, str) else given
    usual: Any = given if isinstance(given, str) else "tell"
    for policy in (usual, *policies.values()):
        if policy not in POLICIES:
            raise GraphError(f"There is no on_unknown={policy!r}: expected one of {list(POLICIES)}.")
    if strange := sorted(policies.keys() - tools.keys()):
        raise GraphError(f"on_unknown names {strange}, and the tools are {sorted(tools)}.")
    return policies, usual


class Calling:
    """One call.

    Attributes:
        keeps: its result is kept at once; where its task does nothing else, it is kept with the task.
    """

    __slots__ = ("_box", "_claim", "_request", "_tags", "_task", "call", "keeps")

    def __init__(self, box: Toolbox, call: Mapping[str, Any], tags: Sequence[str], *, keeps: bool) -> None:
        self._box = box
        self._tags = tags
        self._claim: Claim | None = None
        self.call: dict[str, Any] = {"type": "tool_call", **call}
        self.keeps = keeps
        self._task: TaskContext | None = None

    @property
    def tool(self) -> BaseTool | None:
        return self._box.tools.get(self.call["name"])

    def serves(self, *, awaited: bool) -> bool:
        """Whether it is to be called by `awaited` on the async face; on the sync face, whether it can be called at all."""
        box, tool = self._box, self.tool
        own = tool is None or speaks(tool, awaited=awaited)
        if awaited:
            return box.awrap is not None or (box.wrap is None and own)
        return (box.wrap is not None or box.awrap is None) and own

    def plain(self, given: Any, config: Any) -> Told:
        """Calls the tool as plain code does. `given` is what the node was given."""
        request, wrap = self._begun(given, config), self._box.wrap
        try:
            return wrap(request, self._call) if wrap else self._call(request)
        except Exception as error:
            return self._failed(request.tool, error)

    async def awaited(self, given: Any, config: Any) -> Told:
        """Calls the tool as async code does."""
        request, awrap = self._begun(given, config), self._box.awrap
        try:
            return await (awrap(request, self._acall) if awrap else self._acall(request))
        except Exception as error:
            return self._failed(request.tool, error)

    def _begun(self, given: Any, config: Any) -> ToolCallRequest:
        """The request, made where the call runs: what it finds of the run is its own."""
        self._task = task = cast("TaskContext | None", RUNNING.get())
        tool, box = self.tool, self._box
        args = dict(self.call["args"] or {})
        call: dict[str, Any] = {**self.call, "args": box.injected_in(tool).without(args) if tool else args}
        runtime = _runtime(task, given, _config(task, config, self._tags), call["id"], list(box.tools.values()))
        self._request = ToolCallRequest(call, tool, given, runtime)
        return self._request

    # -- calling it -------------------------------------------------------------------------------------------------

    def _call(self, request: ToolCallRequest) -> Told:
        tool = request.tool
        if tool is None:
            return self._no_such_tool(request)
        if not speaks(tool, awaited=False):
            raise WrongFace(async_only(tool.name))
        known = self._on_record(tool)
        if known is not None:
            return known
        asked, claim = self._asked(request, tool), self._claim
        if claim:
            claim.note(*claim.begun)
        try:
            told = self._told(tool, tool.invoke(asked, request.runtime.config))
        except (Exception, GraphBubbleUp) as error:  # it says itself that it was not done
            if claim:
                claim.note(FAILED, *claim.begun[1:])
            return self._failed(tool, error)
        if claim and self.keeps:
            claim.note(DONE, told)
        return told

    async def _acall(self, request: ToolCallRequest) -> Told:
        tool = request.tool
        if tool is None or not speaks(tool, awaited=True):
            return await in_thread(self._call, request)
        known = self._on_record(tool)
        if known is not None:
            return known
        asked, claim = self._asked(request, tool), self._claim
        if claim:
            await in_thread(claim.note, *claim.begun)
        try:
            told = self._told(tool, await tool.ainvoke(asked, request.runtime.config))
        except (Exception, GraphBubbleUp) as error:
            if claim:
                await in_thread(claim.note, FAILED, *claim.begun[1:])
            return self._failed(tool, error)
        if claim and self.keeps:
            await in_thread(claim.note, DONE, told)
        return told

    def _asked(self, request: ToolCallRequest, tool: BaseTool) -> Any:
        """What the tool is called with: injected values count, whatever a model or a wrapper said."""
        call, injected = request.tool_call, self._box.injected_in(tool)
        args = call["args"] if tool is self.tool else injected.without(call["args"])
        laid_over = injected.laid_over(args, tool.name, _with_state(request.runtime, request.state))
        return {**call, "args": laid_over, "id": call["id"] or "", "type": "tool_call"}

    def _on_record(self, tool: BaseTool) -> Told:
        """What is known of this call from a process that had begun it; None where it is to be called."""
        policy, task = self._box.policy(tool), self._task
        if policy == "retry" or task is None or self._claim is not None:  # a wrapper calls it again: that is its decision
            return None
        try:
            self._claim = claim = Claim(
                task, f"tool {self.call['id'] or self.call['name']}", "ask" if policy == "ask" else "fail"
            )
        except OutcomeUnknown:
            if policy != "tell":
                raise
            return marked(self.call, "unknown", UNKNOWN_TEXT)
        return self._told(tool, claim.value) if claim.done else None

    # -- what came of it --------------------------------------------------------------------------------------------

    def _told(self, tool: BaseTool, result: Any) -> Told:
        """What a tool returned, as a message where it is none. (Somebody who is asked answers with any value.)"""
        if isinstance(result, ToolMessage | Command):
            return cast("Told", result)
        if (
            isinstance(result, list)
            and result
            and all(isinstance(one, ToolMessage | Command) for one in cast("list[Any]", result))
        ):
            return cast("Told", result)
        content = result if isinstance(result, str) else repr(cast("Any", result))
        return ToolMessage(content, name=tool.name, tool_call_id=self.call["id"] or "")

    def _failed(self, tool: BaseTool | None, error: BaseException) -> Told:
        """What the model is told of an error. Raises it where it is told nothing."""
        if not isinstance(error, Exception) or isinstance(error, WrongFace | OutcomeUnknown):
            raise error
        error = self._invocation_error(tool, error) if tool else error
        return self._message(self._box.handling.tell(error))

    def _invocation_error(self, tool: BaseTool, error: Exception) -> Exception:
        """An error of the tool's schema as the model's mistake, where it is one: not of what was injected."""
        injected = self._box.injected_in(tool)
        wrong = [
            (place, why)
            for place, why in refused_arguments(tool, error) or ()
            if place[:1] not in [(n,) for n in injected.names]
        ]
        if not wrong:
            return error
        made = ToolInvocationError(tool.name, error, self._request.tool_call["args"], wrong)
        made.__cause__ = error
        return made

    def _no_such_tool(self, request: ToolCallRequest) -> Any:
        names = ", ".join(self._box.tools)
        return self._message(f"There is no tool {request.tool_call['name']!r}. The tools are: {names}.")

    def _message(self, content: Any) -> Any:
        return ToolMessage(content, name=self.call["name"], tool_call_id=self.call["id"] or "", status="error")


def _with_state(runtime: ToolRuntime, state: Any) -> ToolRuntime:
    """A wrapper may have given the request another state."""
    if runtime.state is state:
        return runtime
    runtime = copy(runtime)
    runtime.state = state
    return runtime


def _config(task: "TaskContext | None", config: Any, tags: Sequence[str]) -> dict[str, Any]:
    """The config of a call: that of the node, with the place of the call in it, which may be a task of its own."""
    found: dict[str, Any] = {**(config or (task.config if task else {}))}
    if tags:
        found["tags"] = [*(found.get("tags") or ()), *tags]
    if task and "checkpoint_ns" in found.get("configurable", {}):
        found["configurable"] = {**found["configurable"], "checkpoint_ns": task.ns}
    return found


def _runtime(task: "TaskContext | None", state: Any, config: Any, id: str | None, tools: list[BaseTool]) -> ToolRuntime:
    if task is None:
        return ToolRuntime(state, None, config, lambda chunk: None, id, None, tools)
    found = task.runtime
    return ToolRuntime(
        state, found.context, config, found.stream_writer, id, found.store, tools, found.execution_info, None, found
    )


def async_only(name: str) -> str:
    return f"Tool {name!r} is async: call the graph with `await graph.ainvoke(…)`, or give the tool a plain function as well."
