# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeArguments=false, reportTypedDictNotRequiredAccess=false, reportIndexIssue=false, reportReturnType=false
"""Tools and the prebuilt agent, with a chat model that does as it is told. What errors say differs, and is not recorded."""

from typing import Annotated, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import InjectedToolCallId, tool
from pydantic import BaseModel, Field

from clew.checkpoint.memory import InMemorySaver
from clew.graph import START, MessagesState, StateGraph
from clew.prebuilt import InjectedState, ToolNode, ToolRuntime, create_react_agent, tools_condition
from clew.prebuilt.chat_agent_executor import AgentState
from clew.prebuilt.tool_node import ToolCallRequest
from clew.types import Command, Send, interrupt
from corpus.harness import Differs, Face, example, in_order, raised

THREAD = {"configurable": {"thread_id": "1"}}


class Told(BaseChatModel):
    """Says what it was told to, one answer after the other by how many results it sees; and what it was given, in `heard`."""

    answers: list[Any]
    heard: list[Any] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "told"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=[{"type": "function", "function": {"name": getattr(one, "name", "?")}} for one in tools])

    def with_structured_output(self, schema: Any, **kwargs: Any) -> Any:
        return RunnableLambda(lambda messages: schema(said=f"{len(messages)} messages"))

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        self.heard.append([f"{message.type}: {message.content}" for message in messages])
        number = sum(message.type == "tool" for message in messages)
        answer = self.answers[min(number, len(self.answers) - 1)]
        said = answer.model_copy(update={"id": f"answer {len(messages)}"})
        return ChatResult(generations=[ChatGeneration(message=said)])


def call(name: str, id: str, /, **args: Any) -> dict[str, Any]:
    return {"name": name, "args": args, "id": id, "type": "tool_call"}


def asks(*calls: Any) -> AIMessage:
    return AIMessage("", tool_calls=list(calls), id="asks")


def told(*calls: Any) -> Told:
    return Told(answers=[asks(*calls), AIMessage("done")])


def result(id: str, text: str) -> ToolMessage:
    return ToolMessage(text, tool_call_id=id, id=f"result {id}", name="named")


@tool
def add(a: int, b: int, id: Annotated[str, InjectedToolCallId]) -> ToolMessage:
    """Adds."""
    return result(id, str(a + b))


@tool
def broken(x: int) -> str:
    """Fails."""
    raise LookupError(x)


@tool(return_direct=True)
def show(x: int, id: Annotated[str, InjectedToolCallId]) -> ToolMessage:
    """Shows."""
    return result(id, f"this is {x}")


GIVEN = {"messages": [HumanMessage("go", id="h")]}
BOTH = [call("add", "1", a=1, b=2), call("add", "2", a=3, b=4)]


class Shop(MessagesState):
    cart: list[str]


def tools_graph(node: Any, **compiled: Any) -> Any:
    return StateGraph(Shop).add_node("tools", node).add_edge(START, "tools").compile(**compiled)


@example("§5.6 basic agent: two calls at once, in both versions")
def agent(face: Face) -> Any:
    found: dict[str, Any] = {}
    for version in ("v1", "v2"):
        made = create_react_agent(told(*BOTH), [add], version=version, name="clerk")
        found[version] = [face.invoke(made, GIVEN), in_order(face.stream(made, GIVEN))]
    return found


@example("§4.7 what each tool task of version v2 is sent")
def payload(face: Face) -> Any:
    made = create_react_agent(told(*BOTH), [add])
    sent = [
        chunk["input"]
        for chunk in face.stream(made, GIVEN, stream_mode="tasks")
        if chunk["name"] == "tools" and "input" in chunk
    ]
    return [[one["__type"], one["tool_call"], sorted(one["state"]), one["state"]["messages"]] for one in sent]


@example("§5.6 system prompt: a text, a message, a function, a Runnable")
def prompts(face: Face) -> Any:
    def function(state: Any, config: RunnableConfig) -> Any:
        return [SystemMessage(f"for {config['configurable']['user']}"), *state["messages"]]

    found = []
    for prompt in (
        "text",
        SystemMessage("message"),
        function,
        RunnableLambda(lambda state: [SystemMessage("R"), *state["messages"]]),
    ):
        model = told()
        face.invoke(create_react_agent(model, [], prompt=prompt), GIVEN, {"configurable": {"user": "Ada"}})
        found.append(model.heard)
    return found


@example("§5.6 memory: a thread of the agent")
def agent_memory(face: Face) -> Any:
    model = Told(answers=[AIMessage("hello")])
    made = create_react_agent(model, [], checkpointer=InMemorySaver())
    for text in ("one", "two"):
        face.invoke(made, {"messages": [HumanMessage(text, id=text)]}, THREAD)
    return model.heard


@example("§5.6 human in the loop: stopped before the tools")
def stopped_before_tools(face: Face) -> Any:
    made = create_react_agent(told(*BOTH), [add], interrupt_before=["tools"], checkpointer=InMemorySaver())
    stopped = face.invoke(made, GIVEN, THREAD)
    waits = face.get_state(made, THREAD).next
    return [stopped, list(waits), face.invoke(made, None, THREAD)]


@example("§5.6 structured output: a schema, and one with a prompt")
def structured(face: Face) -> Any:
    class Answer(BaseModel):
        said: str

    found = []
    for shape in (Answer, ("sum up", Answer)):
        made = create_react_agent(told(*BOTH), [add], response_format=shape)
        found.append([face.invoke(made, GIVEN)["structured_response"].said, sorted(map(tuple, edges(made)))])
    return found


def edges(graph: Any) -> list[Any]:
    return [[edge.source, edge.target, edge.conditional] for edge in graph.get_graph().edges]


@example("§5.6 hooks: what they are given, where they stand, what they may do")
def hooks(face: Face) -> Any:
    seen: list[Any] = []

    def before(state: Any) -> Any:
        seen.append(["before", len(state["messages"])])
        return {"llm_input_messages": [SystemMessage("short"), *state["messages"]]}

    def after(state: Any) -> Any:
        seen.append(["after", len(state["messages"])])
        return {}

    model = told(*BOTH)
    made = create_react_agent(model, [add], pre_model_hook=before, post_model_hook=after, prompt="P")
    return [face.invoke(made, GIVEN), seen, model.heard, sorted(edges(made))]


@example("§5.6 message history management: a hook that changes the state")
def hook_changes_state(face: Face) -> Any:
    def begin_anew(state: Any) -> Any:
        return {"messages": [RemoveMessage(id="__remove_all__"), HumanMessage("in short", id="s")]}

    return face.invoke(create_react_agent(told(), [], pre_model_hook=begin_anew), GIVEN)


@example("§5.6 a hook after the model that answers some calls itself")
def hook_answers(face: Face) -> Any:
    def refuse_first(state: Any) -> Any:
        calls = getattr(state["messages"][-1], "tool_calls", [])
        return {"messages": [result(one["id"], "no") for one in calls if one["id"] == "1"]}

    return face.invoke(create_react_agent(told(*BOTH), [add], post_model_hook=refuse_first), GIVEN)


@example("§4.7 a model of each turn, chosen by the context")
def chosen_model(face: Face) -> Any:
    model = told(*BOTH)

    def choose(state: Any, runtime: Any) -> Any:
        assert runtime.context == {"size": "large"}
        return model.bind_tools([add])

    return [face.invoke(create_react_agent(choose, [add]), GIVEN, context={"size": "large"}), len(model.heard)]


@example("§4.7 tools bound already: the same, and others")
def bound_already(face: Face) -> Any:
    model = told(*BOTH)
    same = face.invoke(create_react_agent(model.bind_tools([add]), [add]), GIVEN)
    others = [
        raised(lambda tools=tools: create_react_agent(model.bind_tools([add]), tools)) for tools in ([], [show], [add, show])
    ]
    return [same, [isinstance(one, ValueError) for one in others]]


@example("§4.7 a tool that answers directly ends the run, in both versions")
def return_direct(face: Face) -> Any:
    mixed = [call("show", "1", x=7), call("add", "2", a=1, b=1)]
    return {
        version: [
            face.invoke(create_react_agent(told(*calls), [show, add], version=version), GIVEN)
            for calls in (mixed[:1], mixed, BOTH)
        ]
        for version in ("v1", "v2")
    }


@example("§4.7 out of steps: an answer in place of an error")
def out_of_steps(face: Face) -> Any:
    made = create_react_agent(Told(answers=[asks(call("add", "1", a=1, b=2))]), [add])
    return [face.invoke(made, GIVEN, {"recursion_limit": limit})["messages"][-1].content for limit in (2, 4)]


@example("§4.7 a state of ones own, which must have its keys")
def own_state(face: Face) -> Any:
    class Mine(AgentState):
        user: str

    class Poor(MessagesState):
        user: str

    @tool
    def greet(user: Annotated[str, InjectedState("user")], id: Annotated[str, InjectedToolCallId]) -> ToolMessage:
        """Greets."""
        return result(id, f"hello {user}")

    made = create_react_agent(told(call("greet", "1")), [greet], state_schema=Mine)
    poor = raised(lambda: create_react_agent(told(), [greet], state_schema=Poor))
    return [face.invoke(made, {**GIVEN, "user": "Ada"}), isinstance(poor, ValueError)]


@example("§5.3 tools that ask side by side, answered by their ids")
def tools_that_ask(face: Face) -> Any:
    @tool
    def book(what: str, id: Annotated[str, InjectedToolCallId]) -> ToolMessage:
        """Asks."""
        return result(id, f"{what}: {interrupt(what)}")

    calls = [call("book", "1", what="hotel"), call("add", "2", a=1, b=1), call("book", "3", what="train")]
    made = create_react_agent(told(*calls), [book, add], checkpointer=InMemorySaver())
    asked = face.invoke(made, GIVEN, THREAD)["__interrupt__"]
    answers = {one.id: f"yes, {one.value}" for one in asked}
    return [sorted(one.value for one in asked), face.invoke(made, Command(resume=answers), THREAD)]


DANGLING = {"messages": [*GIVEN["messages"], asks(BOTH[0]), HumanMessage("and now?", id="n")]}


@example(
    "§4.7 a history with a call that has no result",
    differs=Differs("a call without a result ends the agent (INVALID_CHAT_HISTORY)", lambda there: "done"),
)
def dangling_call(face: Face) -> Any:
    found = raised(lambda: face.invoke(create_react_agent(told(), [add]), DANGLING))
    return found if isinstance(found, Exception) else "done"


# -- tools ----------------------------------------------------------------------------------------------------------


@example("§4.7 ToolNode: state, messages and calls as input, inside a node")
def tool_node_input(face: Face) -> Any:
    node = ToolNode([add])
    given = [{"messages": [asks(*BOTH)]}, [asks(*BOTH)], BOTH, {"messages": [AIMessage("no calls")]}]
    found: list[Any] = []

    def work(state: Shop) -> Any:
        found.extend(node.invoke(one) for one in given)
        found.extend(isinstance(raised(lambda one=one: node.invoke(one)), ValueError) for one in ({"messages": []}, {"x": 1}))
        return {}

    face.invoke(tools_graph(work), {"messages": []})
    return found


@example("§4.7 ToolNode: which errors are told, which are raised")
def tool_errors_told(face: Face) -> Any:
    def of_lookup(error: LookupError) -> str:
        return f"looked up {error}"

    def of_value(error: ValueError) -> str:
        return f"value {error}"

    def outcome(calls: list[Any], **options: Any) -> Any:
        graph = tools_graph(ToolNode([add, broken], **options))
        found = raised(lambda: face.invoke(graph, {"messages": [asks(*calls)], "cart": []}))
        return found if isinstance(found, Exception) else [[m.status, m.tool_call_id] for m in found["messages"][1:]]

    fails, wrong = [call("broken", "1", x=1)], [call("add", "1", a="one", b=1)]
    handling = (True, False, "text", LookupError, (ValueError, KeyError), of_lookup, of_value)
    return {
        "by default": [
            outcome(fails),
            outcome(wrong),
            outcome([call("nobody", "1")]),
            outcome([call("add", "0", a=1, b=1), *wrong]),
        ],
        "said": [outcome(fails, handle_tool_errors=how) for how in handling],
        "unknown tool, none told": outcome([call("nobody", "1")], handle_tool_errors=False),
    }


@example("§5.5 runtime values to tools: hidden from the model, and not to be supplied by it")
def injected(face: Face) -> Any:
    @tool
    def look(
        q: str,
        state: Annotated[dict, InjectedState],
        cart: Annotated[list, InjectedState("cart")],
        id: Annotated[str, InjectedToolCallId],
        runtime: ToolRuntime,
    ) -> ToolMessage:
        """Looks."""
        return result(id, f"{q} {sorted(state)} {cart} {runtime.tool_call_id} {runtime.context}")

    hostile = call("look", "1", q="x", state={"cart": ["gold"]}, cart=["gold"], id="2", runtime={"context": 1})
    graph = tools_graph(ToolNode([look]))
    found = face.invoke(graph, {"messages": [asks(hostile)], "cart": ["tea"]})
    return [sorted(look.tool_call_schema.model_json_schema()["properties"]), found]


@example("§5.5 update state from tools: Commands, one of which goes up")
def commands(face: Face) -> Any:
    @tool
    def take(what: str, id: Annotated[str, InjectedToolCallId]) -> Command:
        """Takes."""
        return Command(update={"cart": [what], "messages": [result(id, f"took {what}")]})

    @tool
    def forget(id: Annotated[str, InjectedToolCallId]) -> Command:
        """Answers nothing."""
        return Command(update={"cart": []})

    @tool
    def leave(to: str, id: Annotated[str, InjectedToolCallId]) -> Command:
        """Goes up."""
        return Command(graph=Command.PARENT, goto=[Send(to, {"messages": [result(id, f"over to {to}")]})])

    node = ToolNode([take, forget, leave, add])
    mixed = face.invoke(tools_graph(node), {"messages": [asks(call("take", "1", what="tea"), BOTH[1])], "cart": []})
    lost = raised(lambda: face.invoke(tools_graph(node), {"messages": [asks(call("forget", "1"))], "cart": []}))
    team = StateGraph(Shop).add_node("first", tools_graph(node)).add_edge(START, "first")
    for name in ("cook", "wash"):
        team.add_node(name, lambda state: {"messages": state["messages"]})
    both = asks(call("leave", "1", to="cook"), call("leave", "2", to="wash"))
    return [mixed, isinstance(lost, Exception), face.invoke(team.compile(), {"messages": [both], "cart": []})]


@example("§4.7 around a call: changed, answered, refused")
def wrapped(face: Face) -> Any:
    def wrap(request: ToolCallRequest, execute: Any) -> Any:
        args = request.tool_call["args"]
        if args["a"] == 3:
            return result(request.tool_call["id"], "not this one")
        return execute(request.override(tool_call={**request.tool_call, "args": {**args, "a": 100}}))

    return face.invoke(tools_graph(ToolNode([add], wrap_tool_call=wrap)), {"messages": [asks(*BOTH)], "cart": []})


@example("§4.7 tools_condition")
def condition(face: Face) -> Any:
    both = asks(*BOTH)
    given = [{"messages": [both]}, [both], {"messages": [AIMessage("")]}, {"messages": [both, HumanMessage("x")]}]
    return [*map(tools_condition, given), isinstance(raised(lambda: tools_condition({"messages": []})), ValueError)]


@example("§5.5 tool calling: ToolNode and tools_condition in a graph, by the name of the node")
def tool_loop(face: Face) -> Any:
    model = told(*BOTH).bind_tools([add])
    builder = StateGraph(MessagesState).add_node("model", lambda state: {"messages": model.invoke(state["messages"])})
    builder.add_node(ToolNode([add])).add_edge(START, "model").add_conditional_edges("model", tools_condition)
    graph = builder.add_edge("tools", "model").compile()
    return [face.invoke(graph, GIVEN), face.stream(graph, GIVEN)]
