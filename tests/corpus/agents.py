# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeArguments=false, reportTypedDictNotRequiredAccess=false, reportIndexIssue=false, reportReturnType=false
# Written as users write, for two packages of which one may not have all of it yet: strict types are for what ships.
"""Agents by hand: models are plain functions that say what they were told to, tools are plain functions."""

import operator
from typing import Annotated, Any, Literal, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig

from clew.checkpoint.memory import InMemorySaver
from clew.graph import END, START, MessagesState, StateGraph
from clew.types import Command, Send
from corpus.harness import Face, example, raised

THREAD = {"configurable": {"thread_id": "1"}}


def calls(name: str, call_id: str, /, **args: Any) -> dict[str, Any]:
    return {"name": name, "args": args, "id": call_id, "type": "tool_call"}


def add(a: int, b: int) -> str:
    return str(a + b)


def divide(a: int, b: int) -> str:
    return str(a // b)


TOOLS = {"add": add, "divide": divide}


def run_tools(state: MessagesState) -> dict[str, Any]:
    """What the last message asks for, each answer bound to its call; what fails is told to the model."""
    answers: list[AnyMessage] = []
    for call in state["messages"][-1].tool_calls:
        try:
            content, status = TOOLS[call["name"]](**call["args"]), "success"
        except Exception as error:
            content, status = f"{type(error).__name__}: {error}", "error"
        answers.append(
            ToolMessage(content, tool_call_id=call["id"], name=call["name"], status=status, id=f"answer {call['id']}")
        )
    return {"messages": answers}


def needs_tools(state: MessagesState) -> str:
    return "tools" if state["messages"][-1].tool_calls else END


def with_tools(model: Any) -> StateGraph:
    builder = StateGraph(MessagesState).add_node("model", model).add_node("tools", run_tools)
    builder.add_edge(START, "model").add_conditional_edges("model", needs_tools, ["tools", END])
    return builder.add_edge("tools", "model")


@example("§5.5 tool calling by hand: two calls at once, then an answer")
def tool_calling(face: Face) -> Any:
    def model(state: MessagesState) -> dict[str, Any]:
        answers = [message.content for message in state["messages"] if message.type == "tool"]
        if not answers:
            wanted = [calls("add", "c1", a=2, b=3), calls("add", "c2", a=10, b=20)]
            return {"messages": AIMessage("", tool_calls=wanted, id="asks")}
        return {"messages": AIMessage(f"{' and '.join(answers)}", id="says")}

    graph = with_tools(model).compile()
    given = {"messages": [("system", "count"), {"role": "user", "content": "2+3, 10+20?"}]}
    return {"result": face.invoke(graph, given), "updates": face.stream(graph, given)}


@example("§5.5 tools that fail, told to the model, which tries again")
def tool_errors(face: Face) -> Any:
    def model(state: MessagesState) -> dict[str, Any]:
        match [message for message in state["messages"] if message.type == "tool"]:
            case []:
                return {"messages": AIMessage("", tool_calls=[calls("divide", "c1", a=8, b=0)], id="m1")}
            case [first] if "ZeroDivision" in first.content:
                return {"messages": AIMessage("", tool_calls=[calls("divide", "c2", a=8, b=2), calls("nope", "c3")], id="m2")}
            case [*_, unknown]:
                return {"messages": AIMessage(f"gave up on {unknown.name}: {unknown.content}", id="m3")}

    return face.invoke(with_tools(model).compile(), {"messages": [HumanMessage("8/0", id="q")]})


@example("§5.5 runtime values to tools: the state and the config, which the model never sees")
def runtime_values_for_tools(face: Face) -> Any:
    class Shop(MessagesState):
        cart: list[str]

    def check_out(state: Shop, config: RunnableConfig) -> dict[str, Any]:
        user = config["configurable"]["user"]
        call = state["messages"][-1].tool_calls[0]
        answer = ToolMessage(f"{user} bought {', '.join(state['cart'])}", tool_call_id=call["id"], id="t")
        return {"messages": [answer], "cart": []}

    def model(state: Shop) -> dict[str, Any]:
        return {"messages": [AIMessage("", tool_calls=[calls("check_out", "c1")], id="a")]}

    graph = StateGraph(Shop).add_sequence([model, check_out]).add_edge(START, "model").compile()
    given = {"messages": [HumanMessage("buy it", id="h")], "cart": ["tea", "cup"]}
    return face.invoke(graph, given, {"configurable": {"user": "Ada"}})


@example("§5.5 tools that update the state: they return a Command, the node returns the list of them")
def tools_that_update_state(face: Face) -> Any:
    class Profile(MessagesState):
        name: str
        facts: Annotated[list[str], operator.add]

    def remember(call: Any) -> Command:
        known = ToolMessage(f"noted {call['args']['fact']}", tool_call_id=call["id"], id=f"t {call['id']}")
        return Command(update={"facts": [call["args"]["fact"]], "messages": [known]})

    def rename(call: Any) -> Command:
        done = ToolMessage("renamed", tool_call_id=call["id"], id=f"t {call['id']}")
        return Command(update={"name": call["args"]["name"], "messages": [done]}, goto="greet")

    def model(state: Profile) -> dict[str, Any]:
        wanted = [calls("remember", "c1", fact="likes tea"), calls("rename", "c2", name="Ada")]
        return {"messages": AIMessage("", tool_calls=wanted, id="m")}

    def tools(state: Profile) -> list[Command]:
        known = {"remember": remember, "rename": rename}
        return [known[call["name"]](call) for call in state["messages"][-1].tool_calls]

    def greet(state: Profile) -> dict[str, Any]:
        return {"messages": AIMessage(f"{state['name']} {state['facts'][-1]}", id="g")}

    graph = StateGraph(Profile).add_sequence([model, tools]).add_node(greet).add_edge(START, "model").compile()
    given = {"messages": [HumanMessage("I am Ada", id="h")], "name": "?"}
    return {"result": face.invoke(graph, given), "updates": face.stream(graph, given)}


def speaker(name: str, then: Any) -> Any:
    """An agent as a graph of its own: it says its name, and hands over to `then` where that is given."""

    def speak(state: MessagesState) -> Any:
        said = {
            "messages": [AIMessage(f"{name} heard {len(state['messages'])}", name=name, id=f"{name} {len(state['messages'])}")]
        }
        return Command(goto=then, graph=Command.PARENT, update=said) if then else said

    return StateGraph(MessagesState).add_node(speak).add_edge(START, "speak").compile()


@example("§5.5 multi-agent: hand-off by Command(graph=Command.PARENT)")
def handoff(face: Face) -> Any:
    builder = StateGraph(MessagesState).add_node("travel", speaker("travel", "hotel")).add_node("hotel", speaker("hotel", None))
    graph = builder.add_edge(START, "travel").compile()
    given = {"messages": [HumanMessage("Rome", id="h")]}
    return {"result": face.invoke(graph, given), "updates": face.stream(graph, given)}


@example("§5.5 multi-agent: a hand-off tool that takes its messages along")
def handoff_by_a_tool(face: Face) -> Any:
    def model(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("", tool_calls=[calls("to_bob", "c1")], id="alice")]}

    def to_bob(state: MessagesState) -> Command:
        told = ToolMessage("over to bob", tool_call_id="c1", id="told")
        return Command(
            goto=Send("bob", {"messages": [*state["messages"], told]}), graph=Command.PARENT, update={"active": "bob"}
        )

    class Team(MessagesState):
        active: str

    alice = StateGraph(MessagesState).add_sequence([model, to_bob]).add_edge(START, "model").compile()
    builder = StateGraph(Team).add_node("alice", alice).add_node("bob", speaker("bob", None))
    return face.invoke(builder.add_edge(START, "alice").compile(), {"messages": [HumanMessage("hi", id="h")]})


@example("§5.5 multi-agent: a network, in which everyone may go to everyone")
def network(face: Face) -> Any:
    class Team(TypedDict):
        task: str
        trail: Annotated[list[str], operator.add]

    script = {"cook": ["waiter"], "waiter": ["cook", "__end__"], "buyer": ["cook"]}

    def member(name: str) -> Any:
        def act(state: Team) -> Command:
            turn = state["trail"].count(name)
            return Command(goto=script[name][min(turn, len(script[name]) - 1)], update={"trail": [name]})

        return act

    builder = StateGraph(Team)
    for name in script:
        builder.add_node(name, member(name), destinations=("cook", "waiter", "buyer", END))
    graph = builder.add_edge(START, "buyer").compile()
    return [face.invoke(graph, {"task": "dinner"}), len(face.stream(graph, {"task": "lunch"}))]


@example("§5.5 multi-agent: a supervisor that gives each worker its part by Send")
def supervisor_with_sends(face: Face) -> Any:
    class Job(TypedDict):
        parts: list[str]
        done: Annotated[list[str], operator.add]
        report: str

    class Part(TypedDict):
        part: str

    def supervisor(state: Job) -> Command[Literal["dig", "paint", "report"]]:
        left = [part for part in state["parts"] if not any(part in one for one in state["done"])]
        kinds = {"d": "dig", "p": "paint"}
        return Command(goto=[Send(kinds[part[0]], {"part": part}) for part in left[:2]] if left else "report")

    def dig(state: Part) -> Command[Literal["supervisor"]]:
        return Command(update={"done": [f"dug {state['part']}"]}, goto="supervisor")

    def paint(state: Part) -> dict[str, Any]:
        return {"done": [f"painted {state['part']}"]}

    def report(state: Job) -> dict[str, Any]:
        return {"report": f"{len(state['done'])} done"}

    builder = StateGraph(Job).add_node(supervisor).add_node(dig).add_node(paint).add_node(report)
    graph = builder.add_edge(START, "supervisor").add_edge("paint", "supervisor").compile()
    return face.invoke(graph, {"parts": ["p1", "d1", "p2"]})


@example("§5.5 multi-agent: a supervisor over agents that are graphs, with a shared scratchpad")
def supervisor_over_graphs(face: Face) -> Any:
    class Team(MessagesState):
        next: str

    def supervisor(state: Team) -> dict[str, Any]:
        said = {message.name for message in state["messages"]}
        return {"next": next((name for name in ("research", "write") if name not in said), END)}

    builder = StateGraph(Team).add_node(supervisor).add_edge(START, "supervisor")
    for name in ("research", "write"):
        builder.add_node(name, speaker(name, None)).add_edge(name, "supervisor")
    builder.add_conditional_edges("supervisor", lambda state: state["next"], ["research", "write", END])
    return face.invoke(builder.compile(), {"messages": [SystemMessage("be brief", id="s"), HumanMessage("tea?", id="h")]})


@example("§5.5 multi-turn conversation: the agent that is active is kept in the state")
def multi_turn(face: Face) -> Any:
    class Talk(MessagesState):
        active: str

    def agent(name: str, other: str) -> Any:
        def turn(state: Talk) -> Any:
            last = state["messages"][-1].content
            if other in last:
                return Command(goto=other, update={"active": other})
            return {"messages": [AIMessage(f"{name}: {last}", id=f"{name} {len(state['messages'])}")], "active": name}

        return turn

    builder = StateGraph(Talk).add_node("sales", agent("sales", "support")).add_node("support", agent("support", "sales"))
    builder.add_conditional_edges(START, lambda state: state.get("active", "sales"), ["sales", "support"])
    graph = builder.compile(checkpointer=InMemorySaver())
    turns = ["hello", "support please", "it is broken", "back to sales"]
    results = [face.invoke(graph, {"messages": [HumanMessage(text, id=text)]}, THREAD) for text in turns]
    return [[result["active"], [message.content for message in result["messages"]]] for result in results]


@example("§5.3 review of tool calls: accepted, edited by id, rejected with feedback")
def review_of_tool_calls(face: Face) -> Any:
    def model(state: MessagesState) -> dict[str, Any]:
        last = state["messages"][-1]
        if last.type == "tool":
            return {"messages": AIMessage(f"so: {last.content}", id="end")}
        return {"messages": AIMessage("", tool_calls=[calls("add", "c1", a=1, b=1)], id="asks")}

    def review(state: MessagesState, config: RunnableConfig) -> Command[Literal["tools", "model"]]:
        call = state["messages"][-1].tool_calls[0]
        match config["configurable"]["review"]:
            case "accept":
                return Command(goto="tools")
            case "edit":
                better = call | {"args": {"a": 40, "b": 2}}
                return Command(goto="tools", update={"messages": [AIMessage("", tool_calls=[better], id="asks")]})
            case why:
                told = ToolMessage(f"rejected: {why}", tool_call_id=call["id"], name="add", id="told")
                return Command(goto="model", update={"messages": [told]})

    def route(state: MessagesState) -> str:
        return "review" if state["messages"][-1].tool_calls else END

    builder = StateGraph(MessagesState).add_node(model).add_node(review).add_node("tools", run_tools)
    builder.add_edge(START, "model").add_conditional_edges("model", route, ["review", END]).add_edge("tools", "model")
    graph, given = builder.compile(), {"messages": [HumanMessage("1+1", id="q")]}
    reviews = ("accept", "edit", "too dear")
    return {how: face.invoke(graph, given, {"configurable": {"review": how}}) for how in reviews}


@example("§1.3 a Command for a parent that is not there: as the input, and from a node")
def command_without_a_parent(face: Face) -> Any:
    upward = Command(graph=Command.PARENT, update={"messages": []})
    silent = StateGraph(MessagesState).add_node("a", lambda state: {}).add_edge(START, "a").compile()
    lost = StateGraph(MessagesState).add_node("a", lambda state: upward).add_edge(START, "a").compile()
    found = raised(lambda: face.invoke(silent, upward)), raised(lambda: face.invoke(lost, {"messages": []}))
    return [isinstance(one, Exception) for one in found]
