"""`create_react_agent`: what the model is given, where the turns lead, what hooks may do. Whatever it needs to survive a crash
is in test_agent_crashes.py."""

from typing import Annotated, Any, Literal, TypedDict, cast

import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from pydantic import BaseModel
from support.agents import Thinker
from support.faces import ASYNC, SYNC, Face
from support.tools import asks, call, texts

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import InMemorySaver
from clew.errors import GraphError, WrongFace
from clew.graph.message import REMOVE_ALL_MESSAGES
from clew.prebuilt import InjectedState, ToolNode, create_react_agent
from clew.prebuilt.chat_agent_executor import AgentState, AgentStateWithStructuredResponse
from clew.store.base import BaseStore
from clew.store.memory import InMemoryStore

VERSIONS = pytest.mark.parametrize("version", ["v1", "v2"])
Version = Literal["v1", "v2"]


@tool
def buy(what: str) -> str:
    """Buys."""
    return f"bought {what}"


@tool(return_direct=True)
def show(what: str) -> str:
    """Shows."""
    return f"this is {what}"


def run(face: Face, agent: Any, text: str = "buy tea, buy cup", config: Any = None, **options: Any) -> dict[str, Any]:
    return face.invoke(agent, {"messages": [("user", text)]}, config, **options)


def heard(model: Thinker) -> list[list[str]]:
    """What the model was given, each time."""
    return [[f"{message.type}: {message.text}" for message in messages] for messages in model.seen]


# -- the loop -------------------------------------------------------------------------------------------------------


@VERSIONS
def test_it_calls_tools_until_the_model_asks_for_none(face: Face, version: Version) -> None:
    model = Thinker()
    agent = create_react_agent(model, [buy], prompt="be kind", version=version, name="clerk")
    messages = run(face, agent)["messages"]
    assert [m.type for m in messages] == ["human", "ai", "tool", "tool", "ai"]
    assert [m.name for m in messages] == [None, "clerk", "buy", "buy", "clerk"]
    assert texts(messages)[2:] == ["bought tea", "bought cup", "bought tea and bought cup"]
    assert heard(model)[0] == ["system: be kind", "human: buy tea, buy cup"]
    assert model.bound == [["buy"], ["buy"]]
    assert agent.name == "clerk"


def test_each_call_is_a_task_of_its_own_in_v2(face: Face) -> None:
    agent = create_react_agent(Thinker(), [buy], version="v2")
    given = {"messages": [HumanMessage("buy tea, buy cup", id="h")]}
    tasks = [chunk for chunk in face.stream(agent, given, stream_mode="tasks") if "input" in chunk]
    assert [task["name"] for task in tasks] == ["agent", "tools", "tools", "agent"]
    payload = tasks[1]["input"]
    assert payload["__type"] == "tool_call_with_context"
    assert payload["tool_call"]["args"] == {"what": "tea"}
    assert sorted(payload["state"]) == ["messages", "remaining_steps"]
    assert [m.type for m in payload["state"]["messages"]] == ["human", "ai"]
    updates = [list(chunk) for chunk in face.stream(agent, given, stream_mode="updates")]
    assert updates == [["agent"], ["tools"], ["tools"], ["agent"]]


def test_one_task_calls_them_all_in_v1(face: Face) -> None:
    agent = create_react_agent(Thinker(), [buy], version="v1")
    updates = face.stream(agent, {"messages": ["buy tea, buy cup"]}, stream_mode="updates")
    assert [list(chunk) for chunk in updates] == [["agent"], ["tools"], ["agent"]]
    assert texts(updates[1]["tools"]["messages"]) == ["bought tea", "bought cup"]


def test_without_tools_it_just_answers(face: Face) -> None:
    agent = create_react_agent(Thinker(), [])
    assert texts(run(face, agent, "hi")["messages"]) == ["hi", "hello"]
    assert [one for one in agent.get_graph().nodes if not one.startswith("__")] == ["agent"]


def test_a_tool_that_is_not_there_is_told_to_the_model(face: Face) -> None:
    messages = run(face, create_react_agent(Thinker(), [buy]), "sell tea")["messages"]
    assert messages[2].status == "error"
    assert "The tools are: buy." in messages[2].text


@VERSIONS
@pytest.mark.parametrize("text", ["show tea", "show tea, buy cup", "buy cup, show tea"])
def test_a_tool_that_answers_directly_ends_it(face: Face, version: Version, text: str) -> None:
    messages = run(face, create_react_agent(Thinker(), [show, buy], version=version), text)["messages"]
    assert {m.type for m in messages[2:]} == {"tool"}
    assert "this is tea" in texts(messages)
    assert run(face, create_react_agent(Thinker(), [show, buy], version=version), "buy cup")["messages"][-1].type == "ai"


SORRY = "Sorry, need more steps to process this request."


@VERSIONS
@pytest.mark.parametrize(("limit", "last"), [(1, SORRY), (2, SORRY), (3, "bought tea"), (4, "bought tea")])
def test_out_of_steps_it_says_so(face: Face, version: Version, limit: int, last: str) -> None:
    agent = create_react_agent(Thinker(), [buy], version=version)
    assert run(face, agent, "buy tea", {"recursion_limit": limit})["messages"][-1].text == last


@pytest.mark.parametrize(("limit", "last"), [(1, SORRY), (2, "this is tea")])
def test_a_direct_answer_needs_a_step_less(face: Face, limit: int, last: str) -> None:
    agent = create_react_agent(Thinker(), [show])
    assert run(face, agent, "show tea", {"recursion_limit": limit})["messages"][-1].text == last


def test_hooks_and_the_shaped_answer_need_steps_as_well(face: Face) -> None:
    def hook(state: AgentState) -> None:
        """Does nothing."""

    agent = create_react_agent(Thinker(), [buy], pre_model_hook=hook, post_model_hook=hook, response_format={"title": "x"})
    for limit in range(1, 12):  # never GraphRecursionError, where a turn is possible at all
        found = run(face, agent, "buy tea", {"recursion_limit": limit + 3})["messages"][-1].text
        assert found == (SORRY if limit + 3 < 8 else "bought tea"), limit


# -- what the model is given ----------------------------------------------------------------------------------------


def as_text(state: AgentState) -> list[Any]:
    return [SystemMessage(f"{len(state['messages'])} so far"), *state["messages"]]


def with_config(state: AgentState, config: Any) -> list[Any]:
    return [SystemMessage(f"for {config['configurable']['user']}"), *state["messages"]]


def with_store(state: AgentState, *, store: BaseStore) -> list[Any]:
    return [SystemMessage(f"from {store.search(('users',))[0].key}"), *state["messages"]]


PROMPTS: list[tuple[Any, str]] = [
    ("plain", "system: plain"),
    (SystemMessage("message"), "system: message"),
    (as_text, "system: 1 so far"),
    (with_config, "system: for Ada"),
    (with_store, "system: from Ada"),
    (RunnableLambda(as_text), "system: 1 so far"),
    (ChatPromptTemplate.from_messages([("system", "template"), ("placeholder", "{messages}")]), "system: template"),
]


@pytest.mark.parametrize(("prompt", "first"), PROMPTS)
def test_prompts(face: Face, prompt: Any, first: str) -> None:
    model = Thinker()
    store = InMemoryStore()
    store.put(("users",), "Ada", {})
    agent = create_react_agent(model, [], prompt=prompt, store=store)
    run(face, agent, "hi", {"configurable": {"user": "Ada"}})
    assert heard(model) == [[first, "human: hi"]]


def test_an_async_prompt(face: Face) -> None:
    async def prompt(state: AgentState) -> list[Any]:
        return [SystemMessage("awaited"), *state["messages"]]

    model = Thinker()
    agent = create_react_agent(model, [], prompt=prompt)
    if face is SYNC:
        with pytest.raises(WrongFace, match="prompt is an async function"):
            run(face, agent, "hi")
    else:
        run(face, agent, "hi")
        assert heard(model) == [["system: awaited", "human: hi"]]


def test_a_model_of_each_turn(face: Face) -> None:
    small, large = Thinker(), Thinker()

    def choose(state: AgentState, runtime: Any) -> Any:
        return (large if runtime.context == "rich" else small).bind_tools([buy])

    agent = create_react_agent(choose, [buy], context_schema=cast("Any", str))
    assert run(face, agent, "buy tea", context="rich")["messages"][-1].text == "bought tea"
    assert (len(large.seen), len(small.seen)) == (2, 0)


def test_a_model_that_is_chosen_async() -> None:
    async def choose(state: AgentState, runtime: Any) -> Any:
        return Thinker().bind_tools([buy])

    agent = create_react_agent(choose, [buy], response_format={"title": "x"})
    assert run(ASYNC, agent, "buy tea")["structured_response"] == {"said": "bought tea"}
    with pytest.raises(WrongFace, match="chosen by an async function"):
        run(SYNC, agent, "buy tea")


def test_a_model_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "not-a-real-key")
    create_react_agent("anthropic:claude-3-5-haiku-latest", [buy])
    with pytest.raises(ValueError, match="nobody"):
        create_react_agent("nobody:knows", [buy])


def test_tools_that_are_bound_already(face: Face) -> None:
    model = Thinker()
    sequence = RunnableLambda(lambda given: given) | model.bind_tools([buy]).with_config(tags=["mine"])  # pyright: ignore[reportUnknownLambdaType, reportUnknownVariableType]
    for bound in (model.bind_tools([buy]), sequence):
        assert run(face, create_react_agent(bound, [buy]), "buy tea")["messages"][-1].text == "bought tea"
    assert model.bound == [["buy"]] * 4


@pytest.mark.parametrize("tools", [[], [show], [buy, show]])
def test_other_tools_than_are_bound(tools: list[Any]) -> None:
    with pytest.raises(GraphError, match="bound to it"):
        create_react_agent(Thinker().bind_tools([buy]), tools)


def test_what_else_is_bound_stays(face: Face) -> None:
    model = Thinker()
    agent = create_react_agent(model.bind(stop=["x"]).with_config(tags=["mine"]), [buy])
    assert run(face, agent, "buy tea")["messages"][-1].text == "bought tea"
    assert model.bound == [["buy"]] * 2


def test_tools_of_the_provider_are_bound_and_not_called(face: Face) -> None:
    model = Thinker()
    run(face, create_react_agent(model, [buy, {"type": "web_search", "name": "web_search"}]), "buy tea")
    assert model.bound[0] == ["buy", "web_search"]


def test_a_tool_node_of_ones_own(face: Face) -> None:
    @tool
    def fail(what: str) -> str:
        """Fails."""
        raise LookupError(what)

    node = ToolNode([fail], handle_tool_errors="no luck")
    assert run(face, create_react_agent(Thinker(), node), "fail tea")["messages"][-1].text == "no luck"


# -- the state ------------------------------------------------------------------------------------------------------


def test_a_state_of_ones_own(face: Face) -> None:
    class State(AgentState):
        user: str

    @tool
    def greet(what: str, user: Annotated[str, InjectedState("user")], state: Annotated[State, InjectedState]) -> str:
        """Greets."""
        return f"{what}, {user}" if state["user"] == user else "who?"

    agent = create_react_agent(Thinker(), [greet], state_schema=State)
    found = face.invoke(agent, {"messages": ["greet hello"], "user": "Ada"})
    assert found["messages"][-1].text == "hello, Ada"
    assert found["user"] == "Ada"


def test_a_state_must_have_its_keys() -> None:
    class Bare(TypedDict):
        messages: list[Any]

    with pytest.raises(GraphError, match=r"Bare lacks \['remaining_steps'\]"):
        create_react_agent(Thinker(), [], state_schema=Bare)
    with pytest.raises(GraphError, match=r"lacks \['structured_response'\]"):
        create_react_agent(Thinker(), [], state_schema=AgentState, response_format={"title": "x"})
    create_react_agent(Thinker(), [], state_schema=AgentStateWithStructuredResponse, response_format={"title": "x"})


class Answer(BaseModel):
    said: str


@pytest.mark.parametrize("shape", [Answer, ("sum it up", Answer)])
def test_an_answer_in_a_shape(face: Face, saver: Saver, thread: dict[str, Any], shape: Any) -> None:
    model = Thinker()
    agent = create_react_agent(model, [buy], response_format=shape, prompt="be kind", checkpointer=saver)
    assert run(face, agent, "buy tea", thread)["structured_response"] == Answer(said="bought tea")
    assert heard(model)[-1][0] == ("system: sum it up" if isinstance(shape, tuple) else "human: buy tea")
    assert face.get_state(agent, thread).values["structured_response"] == Answer(said="bought tea")


# -- hooks ----------------------------------------------------------------------------------------------------------


def only_the_last(state: AgentState) -> dict[str, Any]:
    last = max(index for index, message in enumerate(state["messages"]) if message.type == "human")
    return {"llm_input_messages": list(state["messages"][last:])}


def test_what_a_hook_gives_the_model_is_for_one_turn(face: Face, thread: dict[str, Any]) -> None:
    model = Thinker()
    agent = create_react_agent(model, [buy], pre_model_hook=only_the_last, prompt="P", checkpointer=InMemorySaver())
    run(face, agent, "hi", thread)
    found = run(face, agent, "buy tea", thread)
    assert heard(model)[1] == ["system: P", "human: buy tea"]
    assert texts(found["messages"]) == ["hi", "hello", "buy tea", "", "bought tea", "bought tea"]
    assert "llm_input_messages" not in found
    assert "llm_input_messages" not in face.get_state(agent, thread).values


def test_a_hook_may_change_the_state(face: Face) -> None:
    def begin_anew(state: AgentState) -> Any:
        if len(state["messages"]) < 3:
            return None
        return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), HumanMessage("in short: hi", id="s")]}

    model = Thinker()
    agent = create_react_agent(model, [], pre_model_hook=begin_anew)
    found = face.invoke(agent, {"messages": ["a", AIMessage("b"), "c"]})
    assert texts(found["messages"]) == ["in short: hi", "hello"]
    assert heard(model) == [["human: in short: hi"]]


def test_a_hook_is_shown_a_settled_history(face: Face) -> None:
    seen: list[list[str]] = []

    def look(state: AgentState) -> None:
        seen.append([message.type for message in state["messages"]])

    agent = create_react_agent(Thinker(), [buy], pre_model_hook=look)
    found = face.invoke(agent, {"messages": ["buy tea", asks(call("buy", "1", what="tea")), "thanks"]})
    assert seen == [["human", "ai", "tool", "human"]]
    assert [m.type for m in found["messages"]] == ["human", "ai", "tool", "human", "ai"]


@VERSIONS
def test_a_hook_after_the_turn_may_answer_calls(face: Face, version: Version) -> None:
    def refuse_cups(state: AgentState) -> Any:
        calls = getattr(state["messages"][-1], "tool_calls", [])
        refused = [one for one in calls if one["args"]["what"] == "cup"]
        return {"messages": [ToolMessage("no cups", tool_call_id=one["id"]) for one in refused]}

    agent = create_react_agent(Thinker(), [buy], post_model_hook=refuse_cups, version=version)
    assert run(face, agent, "buy cup, buy tea")["messages"][-1].text == "no cups and bought tea"
    assert run(face, agent, "buy cup")["messages"][-1].text == "no cups"
    assert run(face, agent, "hi")["messages"][-1].text == "hello"


# -- what cannot be meant ----------------------------------------------------------------------------------------------


def test_arguments_that_cannot_be_meant() -> None:
    with pytest.raises(GraphError, match="no version 'v3'"):
        create_react_agent(Thinker(), [], version=cast("Any", "v3"))
    with pytest.raises(GraphError, match="The model is 7"):
        create_react_agent(7, [])
    with pytest.raises(GraphError, match="on_unknown='often'"):
        create_react_agent(Thinker(), [buy], on_unknown=cast("Any", "often"))
    with pytest.raises(GraphError, match="on_unknown is for tools"):
        create_react_agent(Thinker(), ToolNode([buy]), on_unknown="retry")
    with pytest.raises(GraphError, match=r"on_unknown names \['sell'\]"):
        create_react_agent(Thinker(), [buy], on_unknown={"sell": "retry"})
