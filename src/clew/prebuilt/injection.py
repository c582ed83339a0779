"""What a run hands to tools without a model's knowledge: the state, the store, the call's id, the runtime.

A parameter that is injected is not in the schema that models see, and what a model says for it all the same is thrown away:
nobody but the graph can say who the user is. Nothing here calls a tool.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, cast

from typing_extensions import TypeVar  # with defaults, which Python has from 3.13 on; langchain-core brings it

from clew.errors import GraphError
from clew.interop.tools import (
    BaseTool,
    DirectlyInjected,
    InjectedToolArg,
    InjectedToolCallId,
    aliases_in,
    injected_in,
    optional_in,
)

if TYPE_CHECKING:
    from clew.runtime.once import OnUnknown
    from clew.runtime.runtime import ExecutionInfo, Runtime
    from clew.store.base import BaseStore

ContextT = TypeVar("ContextT", default=Any)
StateT = TypeVar("StateT", default=Any)


NOTHING: Any = object()


class InjectedState(InjectedToolArg):
    """Marks a tool's parameter that is given the graph's state: `state: Annotated[dict, InjectedState]`.

    Args:
        field: one key of the state instead of all of it. Where the state does not have it, the parameter keeps its default;
            without one, `KeyError`.
    """

    def __init__(self, field: str | None = None) -> None:
        self.field = field


class InjectedStore(InjectedToolArg):
    """Marks a tool's parameter that is given the graph's store: `store: Annotated[BaseStore, InjectedStore()]`.

    A graph without one raises `GraphError` when the tool is called, unless the parameter has a default.
    """


class ToolRuntime(DirectlyInjected, Generic[ContextT, StateT]):
    """What a tool finds of the run that it is called in: take it as a parameter `runtime: ToolRuntime`, of any name.

    Attributes:
        state: what the node was given. context: what was passed as `context=`. config: that of the call. store: the graph's,
            or None. stream_writer: hands chunks to readers of `stream_mode="custom"`. tool_call_id: that of the call; a key
            that an outside service may be told, to know the call again. tools: all that the node has.
        execution_info: where it runs; None outside of a run, where `context` and `store` are None as well.
    """

    # no dataclass: a schema would take one apart at every call
    def __init__(
        self,
        state: StateT,
        context: ContextT,
        config: Any,
        stream_writer: Callable[[Any], None],
        tool_call_id: str | None,
        store: "BaseStore | None",
        tools: list[BaseTool] | None = None,
        execution_info: "ExecutionInfo | None" = None,
        server_info: Any = None,
        runtime: "Runtime[Any] | None" = None,
    ) -> None:
        self.state = state
        self.context = context
        self.config = config
        self.stream_writer = stream_writer
        self.tool_call_id = tool_call_id
        self.store = store
        self.tools = tools or []
        self.execution_info = execution_info
        self.server_info = server_info
        self._runtime = runtime

    def once(self, key: str, call: Callable[..., Any], /, *args: Any, on_unknown: "OnUnknown" = "ask", **kwargs: Any) -> Any:
        """A side effect within the tool that never happens twice without a word: see `Runtime.once`.

        Raises:
            RuntimeError: the tool was called outside of a run.
        """
        if self._runtime is None:
            raise RuntimeError("runtime.once() was called outside of a run: the tool must be called by a graph's node.")
        return self._runtime.once(key, call, *args, on_unknown=on_unknown, **kwargs)


@dataclass(frozen=True, slots=True)
class Injected:
    """The parameters of one tool that are injected.

    Attributes:
        marks: what each is marked with. names: every name by which the tool would take one of them. aliases: those of each.
        optional: the ones that have defaults.
    """

    marks: Mapping[str, Any]
    names: frozenset[str]
    aliases: Mapping[str, list[str]]
    optional: frozenset[str]

    def without(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """What a model said, but for what it has no say in."""
        return {name: value for name, value in args.items() if name not in self.names}

    def laid_over(self, args: Mapping[str, Any], tool: str, runtime: ToolRuntime) -> dict[str, Any]:
        """The arguments with what is injected, whatever they said of it.

        Raises:
            KeyError: the state lacks a key. GraphError: the graph has no store.
        """
        found = dict(args)
        for name, mark in self.marks.items():
            given = self._given(name, mark, tool, runtime)
            if given is NOTHING:
                continue
            for known_as in (name, *self.aliases[name]):
                found[known_as] = given
        return found

    def _given(self, name: str, mark: Any, tool: str, runtime: ToolRuntime) -> Any:
        """NOTHING for what is injected by others, or has a default that stays."""
        if _is(mark, InjectedState):
            return self._field(name, getattr(mark, "field", None), tool, runtime.state)
        if _is(mark, InjectedStore):
            if runtime.store is None and name not in self.optional:
                raise GraphError(
                    f"Tool {tool!r} takes the store as {name!r}, and there is none: compile the graph with `store=…`."
                )
            return runtime.store
        if _is(mark, InjectedToolCallId):
            return runtime.tool_call_id
        return runtime if _is(mark, ToolRuntime) else NOTHING

    def _field(self, name: str, field: str | None, tool: str, state: Any) -> Any:
        if field is None:
            return state
        found: Any = key_of(state, field, NOTHING)
        if found is NOTHING and name not in self.optional:
            raise KeyError(f"Tool {tool!r} takes {field!r} of the state as {name!r}, and the state does not have it.")
        return found


def read_injected(tool: BaseTool) -> Injected:
    """What of a tool's parameters is injected."""
    marks = injected_in(tool)
    aliases = aliases_in(tool, marks)
    names = frozenset(marks).union(*aliases.values())
    return Injected(marks, names, aliases, frozenset(optional_in(tool) & marks.keys()))


def key_of(state: Any, key: str, default: Any = None) -> Any:
    """One key of a state, a dict or an object."""
    if isinstance(state, Mapping):
        return cast("Mapping[str, Any]", state).get(key, default)
    return getattr(state, key, default)


def _is(mark: Any, kind: type) -> bool:
    """Whether a mark is of a kind: an instance of it, or a class, as both are written."""
    return isinstance(mark, kind) or (isinstance(mark, type) and issubclass(mark, kind))
