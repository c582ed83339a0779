"""The agent: a model and its tools in turn, until the model asks for none. Drawn like any graph; what its nodes do stands in
`turns`, how tools are called in `tool_node`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NotRequired, cast, get_type_hints

from typing_extensions import TypedDict  # before Python 3.12 a tool's schema takes no other as the type of `InjectedState`

from clew.channels import EphemeralValue
from clew.checkpoint.codec import register_schema
from clew.constants import END, START
from clew.errors import GraphError
from clew.graph.compiled import CompiledStateGraph
from clew.graph.message import add_messages
from clew.graph.state import StateGraph
from clew.interop.models import BaseMessage, bound_to, model_named
from clew.interop.tools import Runnable
from clew.managed import RemainingSteps
from clew.prebuilt.calling import OnUnknown
from clew.prebuilt.injection import key_of
from clew.prebuilt.payload import payload
from clew.prebuilt.tool_node import ToolNode
from clew.prebuilt.turns import Before, Chooser, Structured, Turn
from clew.types import Send

if TYPE_CHECKING:
    from clew.checkpoint.base import BaseCheckpointSaver
    from clew.store.base import BaseStore


class AgentState(TypedDict):
    """The state of an agent; add keys of your own in a subclass."""

    messages: Annotated[Sequence[BaseMessage], add_messages]
    remaining_steps: NotRequired[RemainingSteps]


class AgentStateWithStructuredResponse(AgentState):
    """The state of an agent with a `response_format`."""

    structured_response: Any


class Asked(TypedDict, total=False):
    """What a `pre_model_hook` may write beside the state: for one turn, and part of no result."""

    llm_input_messages: Annotated[list[Any], EphemeralValue]


AGENT, TOOLS, BEFORE, AFTER, STRUCTURED = "agent", "tools", "pre_model_hook", "post_model_hook", "generate_structured_response"
VERSIONS: Final = ("v1", "v2")


def create_react_agent(
    model: Any,
    tools: Sequence[Any] | ToolNode,
    *,
    prompt: Any = None,
    response_format: Any = None,
    pre_model_hook: Any = None,
    post_model_hook: Any = None,
    state_schema: type[Any] | None = None,
    context_schema: type[Any] | None = None,
    checkpointer: "BaseCheckpointSaver[Any] | bool | None" = None,
    store: "BaseStore | None" = None,
    interrupt_before: str | Sequence[str] | None = None,
    interrupt_after: str | Sequence[str] | None = None,
    debug: bool = False,
    version: Literal["v1", "v2"] = "v2",
    name: str | None = None,
    on_unknown: OnUnknown | Mapping[str, OnUnknown] = "tell",
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """An agent as a graph: `agent` asks the model, `tools` calls what it asks for, and so on until it asks for nothing.

    Whatever happened to the thread before, the model is given a history that its provider takes: a call that was cut short by a
    crash, a cancellation or a new message has its result where that is known, and otherwise one that says that it was cancelled
    or that nobody knows (`clew.prebuilt.settled`). It is kept in the state.

    Args:
        model: a chat model; `"provider:model"` (with `langchain`); a model with these tools bound already; or a function
            `(state, runtime)`, plain or async, that returns a model with its tools bound.
        tools: tools or functions; a dict is a tool of the provider's, which it calls itself; or a `ToolNode`.
        prompt: a text or a `SystemMessage` before all messages; or a function of the state (which may ask for `config`,
            `store` or `runtime` by name) or a Runnable, that returns what the model is given.
        response_format: a schema (pydantic, TypedDict, JSON Schema) of the answer, or `(prompt, schema)`: a model call at the
            end fills `structured_response` with it.
        pre_model_hook: a node before each turn of the model, such as one that trims or sums up. It returns `messages`, to
            change the state, or `llm_input_messages`, what the model is given in this turn only.
        post_model_hook: a node after each turn, such as one that asks a human. Calls that it answers are not made.
        state_schema: default `AgentState`; must have `messages` and `remaining_steps`, and `structured_response` with a
            `response_format`. context_schema: as for `StateGraph`.
        checkpointer, store, interrupt_before, interrupt_after, debug: as for `StateGraph.compile`.
        version: `"v2"` makes each call a task of its own, kept and interrupted by itself; `"v1"` one task of all of them.
        name: what the graph is called, and the name of its messages.
        on_unknown: what is done about a call that a process has begun and not ended; see `ToolNode`. Part of a `ToolNode`
            where one is given.

    When too few supersteps are left for another round of tools, the answer says so in place of `GraphRecursionError`.

    Raises:
        GraphError: an argument that cannot be meant; other tools are bound to the model than given.
        MissingDependency: a model is named by a string, and `langchain` is not installed.
    """
    if version not in VERSIONS:
        raise GraphError(f"There is no version {version!r} of the agent: expected one of {list(VERSIONS)}.")
    node, all_tools = _tools(tools, on_unknown)
    builder: Any = StateGraph(_state_schema(state_schema, response_format), context_schema=context_schema)
    builder.add_schema(Asked)
    last = END if response_format is None else STRUCTURED
    routes = Routes(node, version, pre_model_hook is not None, post_model_hook is not None, last)
    chooser = Chooser(_model(model, all_tools))
    builder.add_node(AGENT, Turn(chooser, prompt, name, routes.needed))
    if node:
        builder.add_node(TOOLS, node)
    if pre_model_hook is not None:
        graph = isinstance(pre_model_hook, CompiledStateGraph)
        builder.add_node(BEFORE, pre_model_hook if graph else Before(pre_model_hook))
    if post_model_hook is not None:
        builder.add_node(AFTER, post_model_hook)
    if response_format is not None:
        answers = Structured(chooser, response_format)
        register_schema(answers.schema)
        builder.add_node(STRUCTURED, answers)
    routes.draw(builder)
    return builder.compile(
        checkpointer,
        store=store,
        interrupt_before=interrupt_before,
        interrupt_after=interrupt_after,
        debug=debug,
        name=name,
    )


class Routes:
    """Where each node of the agent leads.

    Args:
        before, after: whether there are hooks. last: the node that ends it, or END.
    """

    def __init__(self, node: ToolNode | None, version: str, before: bool, after: bool, last: str) -> None:
        self._node = node
        self._version = version
        self._before, self._after = before, after
        self._last = last
        tools = node.tools_by_name.values() if node else ()
        self._direct = {tool.name for tool in tools if tool.return_direct}
        self._noted = {tool.name for tool in tools} - (node.may_run_twice if node else set())

    @property
    def entry(self) -> str:
        return BEFORE if self._before else AGENT

    def draw(self, builder: StateGraph[Any, Any, Any, Any]) -> None:
        builder.add_edge(START, self.entry)
        if self._before:
            builder.add_edge(BEFORE, AGENT)
        speaker = AFTER if self._after else AGENT
        if self._after:
            builder.add_edge(AGENT, AFTER)
        if self._node is None:
            builder.add_edge(speaker, self._last)
        else:
            targets = [TOOLS, self._last]
            builder.add_conditional_edges(speaker, self.after_turn, [self.entry, *targets] if self._after else targets)
            if self._direct:
                builder.add_conditional_edges(TOOLS, self.after_tools, [self.entry, END])
            else:
                builder.add_edge(TOOLS, self.entry)
        if self._last != END:
            builder.add_edge(self._last, END)

    def needed(self, calls: Sequence[Any]) -> int:
        """How many supersteps a turn needs, itself included, that asks for these calls and is to be answered."""
        direct = bool(calls) and all(call["name"] in self._direct for call in calls)
        return 1 + self._after + 1 + (0 if direct else self._before + 1 + self._after + (self._last != END))

    def after_turn(self, state: Any) -> Any:
        """To the tools whose calls have no result yet; where a hook has answered them all, on with the next turn."""
        messages: list[Any] = key_of(state, "messages")
        asked = [call for call in _calls_of_last(messages) if not _answered(messages, call)]
        if not asked:
            return self.entry if messages[-1].type == "tool" else self._last
        if self._version == "v1":
            return Send(TOOLS, asked) if self._after else TOOLS
        return [Send(TOOLS, payload(call, state, noted=call["name"] in self._noted)) for call in asked]

    def after_tools(self, state: Any) -> str:
        """To the end where one of the calls was of a tool that answers directly."""
        calls = _calls_of_last(key_of(state, "messages"))
        return END if any(call["name"] in self._direct for call in calls) else self.entry


def _calls_of_last(messages: list[Any]) -> list[Any]:
    return next((message.tool_calls for message in reversed(messages) if message.type == "ai"), cast("list[Any]", []))


def _answered(messages: list[Any], call: Any) -> bool:
    for message in reversed(messages):
        if message.type == "ai":
            return False
        if message.type == "tool" and message.tool_call_id == call["id"]:
            return True
    return False


# -- what it is made of ---------------------------------------------------------------------------------------------


def _tools(given: Sequence[Any] | ToolNode, on_unknown: Any) -> tuple[ToolNode | None, list[Any]]:
    """The node that calls tools, None where there are none for it to call, and all that the model is told of."""
    if isinstance(given, ToolNode):
        if on_unknown != "tell":
            raise GraphError("on_unknown is for tools: hand it to your own node instead, `ToolNode(…, on_unknown=…)`.")
        return given, list(given.tools_by_name.values())
    node = ToolNode([tool for tool in given if not isinstance(tool, dict)], on_unknown=on_unknown)
    theirs: list[Any] = [tool for tool in given if isinstance(tool, dict)]
    return node if node.tools_by_name else None, [*node.tools_by_name.values(), *theirs]


def _model(given: Any, tools: list[Any]) -> Any:
    """A model with the tools bound; a function that chooses one has bound them itself."""
    if isinstance(given, str):
        given = model_named(given)
    if not isinstance(given, Runnable):
        if not callable(given):
            raise GraphError(f"The model is {given!r}: expected a chat model, its name, or a function that returns one.")
        return given
    return bound_to(given, tools)


def _state_schema(given: Any, response_format: Any) -> Any:
    if given is None:
        return AgentState if response_format is None else AgentStateWithStructuredResponse
    wanted = {"messages", "remaining_steps", *(() if response_format is None else ("structured_response",))}
    if missing := sorted(wanted - get_type_hints(given).keys()):
        raise GraphError(f"The state_schema {given.__name__} lacks {missing}: derive it from `AgentState`, or add these keys.")
    return given
