"""A node that calls the tools that a model asked for. How one call is made stands in `calling`; here, which ones, and what
becomes of their results."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from clew.constants import END
from clew.errors import GraphError, InvalidUpdateError, WrongFace
from clew.graph.message import REMOVE_ALL_MESSAGES
from clew.interop.langchain import as_messages
from clew.interop.tools import Runnable, ToolMessage, as_tool
from clew.prebuilt.beside import Job, abeside, adone, beside, done
from clew.prebuilt.calling import AwaitedWrapper, Calling, OnUnknown, Toolbox, Wrapper, async_only, read_policies
from clew.prebuilt.calling import ToolCallRequest as ToolCallRequest
from clew.prebuilt.injection import InjectedState as InjectedState
from clew.prebuilt.injection import InjectedStore as InjectedStore
from clew.prebuilt.injection import ToolRuntime as ToolRuntime
from clew.prebuilt.injection import key_of, read_injected
from clew.prebuilt.payload import WITH_CONTEXT, state_in
from clew.prebuilt.tool_errors import HandleErrors, only_wrong_arguments, read_handling
from clew.prebuilt.tool_errors import ToolInvocationError as ToolInvocationError
from clew.schema import fields_of
from clew.types import RUNNING, Command

if TYPE_CHECKING:
    from clew.runtime.context import TaskContext


class Asked(NamedTuple):
    """What a node was given: the calls, the state that tools may be told, whether it was a bare list of messages, and whether
    the one call is all that its task does."""

    calls: Sequence[Mapping[str, Any]]
    state: Any
    listed: bool = False
    alone: bool = False


class ToolNode(Runnable[Any, Any]):
    """Calls the tools that the last AI message asks for, side by side. Its results stand in the order of the calls.

    As a node of a graph, called by a node of yours, or by itself. It is given the state, a list of messages, or a list of calls
    (`{"name", "args", "id", "type": "tool_call"}`); and returns `{"messages": [ToolMessage, …]}`, a bare list where it was
    given one, or a list with `Command`s where tools returned such.

    A tool returns anything (which becomes a `ToolMessage`), a `ToolMessage`, a `Command` whose `update` has a `ToolMessage` for
    its call, or a list of those. A call of a tool that is not there is told to the model.

    Where a thread is kept each call is noted before it begins, and its result after. What is done when the process died in
    between is `on_unknown`'s to say; no call is made twice unless that says so. (A tool that raises has said itself that it is
    not done, and is called again when its node is.)

    Args:
        tools: tools of langchain-core; functions are made such.
        name: of the node. tags: added to the config of each call.
        handle_tool_errors: which errors are told to the model as a `ToolMessage` with `status="error"`. Default: arguments that
            do not fit the tool's schema; whatever a tool raises itself is raised. True: all; False: none; a text: all, with
            this text; an exception class or several: those; a function of the error that returns the text: those that its
            parameter is annotated with.
        messages_key: the key of the state with the messages.
        wrap_tool_call: `wrap(request, execute)` in place of each call, which returns what `execute(request)` does, or something
            of its own. awrap_tool_call: the same for the async face; without it `wrap_tool_call` serves that as well.
        on_unknown: `"tell"` (default) tells the model that the outcome is unknown; `"ask"` asks a human, who answers with
            `{"result": …}` or `{"retry": True}`; `"retry"` calls it again, for tools that may run twice: nothing is noted of
            them; `"fail"` raises `OutcomeUnknown`. A dict says so by the names of tools, and leaves the others the default.

    Raises:
        GraphError: two tools of one name, or an argument that cannot be meant.
    """

    def __init__(
        self,
        tools: Sequence[Any],
        *,
        name: str = "tools",
        tags: list[str] | None = None,
        handle_tool_errors: HandleErrors = only_wrong_arguments,
        messages_key: str = "messages",
        wrap_tool_call: Wrapper | None = None,
        awrap_tool_call: AwaitedWrapper | None = None,
        on_unknown: OnUnknown | Mapping[str, OnUnknown] = "tell",
    ) -> None:
        self.name = name
        self.tags = tags
        self.messages_key = messages_key
        self.tools_by_name: dict[str, Any] = {}
        for tool in map(as_tool, tools):
            if self.tools_by_name.setdefault(tool.name, tool) is not tool:
                raise GraphError(f"Two tools are called {tool.name!r}: give one of them another name.")
        policies, usual = read_policies(on_unknown, self.tools_by_name)
        injected = {tool.name: read_injected(tool) for tool in self.tools_by_name.values()}
        handling = read_handling(handle_tool_errors)
        self._box = Toolbox(self.tools_by_name, injected, handling, policies, usual, wrap_tool_call, awrap_tool_call)

    @property
    def may_run_twice(self) -> frozenset[str]:
        """The tools that `on_unknown` lets run twice: nothing is noted of their calls."""
        return frozenset(name for name, tool in self.tools_by_name.items() if self._box.policy(tool) == "retry")

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        """Calls the tools.

        Raises:
            ValueError: there is no AI message. InvalidUpdateError: a tool returned no result for its call.
            WrongFace: a tool or a wrapper is async only. Whatever a tool raises that `handle_tool_errors` does not take.
        """
        asked, task = self._asked(input), _task()
        callings = self._callings(asked, task)
        for calling in callings:
            if not calling.serves(awaited=False):
                raise WrongFace(async_only(calling.call["name"]))
        jobs = [Job(calling.call, partial(calling.plain, asked.state, config)) for calling in callings]
        told = [done(jobs[0])] if len(jobs) == 1 else beside(task, jobs, _limit(config))
        return self._answer(asked, callings, told)

    async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        """`invoke`, awaited: async tools on the loop, plain ones in threads."""
        asked, task = self._asked(input), _task()
        callings = self._callings(asked, task)
        jobs = [
            Job(calling.call, None, partial(calling.awaited, asked.state, config))
            if calling.serves(awaited=True)
            else Job(calling.call, partial(calling.plain, asked.state, config))
            for calling in callings
        ]
        told = [await adone(jobs[0])] if len(jobs) == 1 else await abeside(task, jobs, _limit(config))
        return self._answer(asked, callings, told)

    # -- what it is given -------------------------------------------------------------------------------------------

    def _asked(self, given: Any) -> Asked:
        if isinstance(given, Mapping) and cast("Any", given).get("__type") == WITH_CONTEXT:
            sent = cast("Mapping[str, Any]", given)
            return Asked([sent["tool_call"]], state_in(sent, _task()), alone=True)
        if isinstance(given, list) and given and _is_call(given[-1]):
            task = _task()
            return Asked(cast("list[Any]", given), task.scope.state if task else None)
        if isinstance(given, list):
            messages = as_messages(given)
            return Asked(_last_calls(messages), {self.messages_key: messages}, listed=True)
        return Asked(_last_calls(as_messages(_key(given, self.messages_key) or [])), given)

    def _callings(self, asked: Asked, task: "TaskContext | None") -> list[Calling]:
        # several are kept as tasks of their own; the only one by itself, unless its task does nothing else
        keeps = task is not None and len(asked.calls) == 1 and not asked.alone
        return [Calling(self._box, call, self.tags or (), keeps=keeps) for call in asked.calls]

    # -- what it answers with ---------------------------------------------------------------------------------------

    def _answer(self, asked: Asked, callings: list[Calling], told: list[Any]) -> Any:
        for calling, result in zip(callings, told, strict=True):
            self._check(asked, calling, result)
        flat: list[Any] = [one for result in told for one in _parts(result)]
        if not any(isinstance(one, Command) for one in flat):
            return flat if asked.listed else {self.messages_key: flat}
        up = [one for one in flat if _goes_up(one)]
        rest = [one for one in flat if not _goes_up(one)]
        found: list[Any] = [
            one if isinstance(one, Command) else [one] if asked.listed else {self.messages_key: [one]} for one in rest
        ]
        return [*found, _together(up)] if up else found

    def _check(self, asked: Asked, calling: Calling, told: Any) -> None:
        """Raises InvalidUpdateError where a call would be left without its one result."""
        name, id = calling.call["name"], calling.call["id"] or ""
        answers, may_lack = 0, False
        for part in _parts(told):
            if isinstance(part, ToolMessage):
                found: list[Any] = [part]
            else:
                found = self._messages_in(asked, name, part)
                may_lack = may_lack or part.graph == Command.PARENT or part.update is None
            may_lack = may_lack or any(message.id == REMOVE_ALL_MESSAGES for message in found)
            for message in found:
                if isinstance(message, ToolMessage) and message.tool_call_id == id:
                    answers += 1
                    message.name = name if part is not message else message.name or name
        if answers > 1 or (answers == 0 and not may_lack):
            raise InvalidUpdateError(
                f"Tool {name!r} returned {told!r}, which has {answers} results for its call {id!r}: expected one, such as "
                f"`Command(update={{{self.messages_key!r}: [ToolMessage('…', tool_call_id={id!r})]}})`. Take the id as a "
                "parameter `Annotated[str, InjectedToolCallId]`."
            )

    def _messages_in(self, asked: Asked, tool: str, command: Command[Any]) -> list[Any]:
        update = command.update
        if isinstance(update, list | tuple):
            parts = cast("Sequence[Any]", update)
            if asked.listed:
                return as_messages(list(parts))
            if not all(isinstance(part, list | tuple) and len(cast("Sequence[Any]", part)) == 2 for part in parts):
                raise InvalidUpdateError(
                    f"Tool {tool!r} returned a Command with the list {update!r}: expected a dict, as the node was given a "
                    "state; a list of messages is for a node that was given one."
                )
        return as_messages(_key(update, self.messages_key) or [])


def tools_condition(state: Any, messages_key: str = "messages") -> Literal["tools", "__end__"]:
    """Where to go after a model's turn: `"tools"` where its last message calls some, `END` where not.

    Args:
        state: a state with messages under `messages_key`, or a list of messages.

    Raises:
        ValueError: there are no messages.
    """
    messages = cast("Any", state) if isinstance(state, list) else _key(state, messages_key)
    if not messages:
        raise ValueError(f"tools_condition found no messages in {state!r}: expected some under {messages_key!r}.")
    return "tools" if getattr(as_messages(messages[-1])[0], "tool_calls", None) else END


def _parts(told: Any) -> list[Any]:
    return cast("list[Any]", told) if isinstance(told, list) else [told]


def _goes_up(told: Any) -> bool:
    return isinstance(told, Command) and told.graph == Command.PARENT


def _task() -> "TaskContext | None":
    return cast("TaskContext | None", RUNNING.get())


def _limit(config: Any) -> int | None:
    return config.get("max_concurrency") if config else None


def _is_call(given: Any) -> bool:
    return isinstance(given, Mapping) and cast("Mapping[str, Any]", given).get("type") == "tool_call"


def _last_calls(messages: list[Any]) -> list[Any]:
    """The calls of the last AI message."""
    for message in reversed(messages):
        if message.type == "ai":
            return message.tool_calls
    raise ValueError(f"There is no AI message among the {len(messages)} given, so no calls of tools: expected one at the end.")


def _key(given: Any, key: str) -> Any:
    """One key of a state or of an update, in whatever form it comes; None where it is not there."""
    if isinstance(given, list | tuple):  # pairs
        return [one for name, value in cast("list[Any]", given) if name == key for one in as_messages(value)]
    return key_of(given, key)


def _together(commands: list[Command[Any]]) -> Command[Any]:
    """Several Commands for the graph around as one, for only one can go up: all that they write, and all they lead to."""
    if len(commands) == 1:
        return commands[0]
    targets: list[Any] = []
    for one in commands:
        targets += one.goto if isinstance(one.goto, list | tuple) else [one.goto]
    pairs = [pair for one in commands for pair in _pairs(one.update)]
    return Command(graph=Command.PARENT, goto=targets, update=pairs or None)


def _pairs(update: Any) -> list[tuple[str, Any]]:
    if update is None:
        return []
    if isinstance(update, list | tuple):
        return list(cast("list[Any]", update))
    fields: Mapping[str, Any] = cast("Any", update) if isinstance(update, Mapping) else fields_of(update) or {}
    return list(fields.items())
