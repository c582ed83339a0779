# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeArguments=false, reportTypedDictNotRequiredAccess=false, reportIndexIssue=false, reportReturnType=false
# Written as users write, for two packages of which one may not have all of it yet: strict types are for what ships.
"""What a thread remembers, and reading and replaying it."""

import itertools
import operator
import random
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, trim_messages

from clew.checkpoint.memory import InMemorySaver, MemorySaver
from clew.graph import END, START, MessagesState, StateGraph, add_messages
from clew.graph.message import REMOVE_ALL_MESSAGES
from clew.types import Command, Send
from corpus.harness import Differs, Face, example, raised, shown

ONE, TWO = {"configurable": {"thread_id": "1"}}, {"configurable": {"thread_id": "2"}}


class Log(TypedDict):
    log: Annotated[list[str], operator.add]
    last: str


def model(state: MessagesState) -> dict[str, Any]:
    """Knows a name only where the conversation has it."""
    said = [message.content for message in state["messages"] if message.type == "human"]
    name = next((one.removeprefix("I am ") for one in said if one.startswith("I am ")), "stranger")
    return {"messages": AIMessage(f"hello {name}")}


def chat() -> StateGraph:
    return StateGraph(MessagesState).add_node(model).add_edge(START, "model")


def human(text: str) -> dict[str, Any]:
    return {"messages": [HumanMessage(text, id=text)]}


@example("§5.1 a conversation on a thread, another thread, and none kept")
def threads(face: Face) -> Any:
    kept, unkept = chat().compile(checkpointer=MemorySaver()), chat().compile()
    first = [face.stream(kept, human(text), ONE, stream_mode="values") for text in ("I am Ada", "who am I?")]
    return {
        "one thread": first,
        "another": face.invoke(kept, human("who am I?"), TWO),
        "none kept": [face.invoke(unkept, human(text)) for text in ("I am Ada", "who am I?")],
        "still": [message.content for message in face.get_state(kept, ONE).values["messages"]],
    }


@example("§6.3.1 reduced keys grow over runs, plain keys are replaced; 1 and '1' are one thread")
def two_runs(face: Face) -> Any:
    def node(state: Log) -> dict[str, Any]:
        return {"log": [f"after {state.get('last')}"]}

    graph = StateGraph(Log).add_node(node).add_edge(START, "node").compile(checkpointer=InMemorySaver())
    runs = [
        face.invoke(graph, given, {"configurable": {"thread_id": 1}})
        for given in ({"log": ["a"], "last": "x"}, {"log": ["b"]}, {"last": "y"})
    ]
    return {"runs": runs, "as text": face.get_state(graph, ONE).values}


@example("§1.5 messages as users write them, with ids of their own making")
def messages_in_all_forms(face: Face) -> Any:
    graph = chat().compile()
    given = ["I am Ada", ("ai", "tuple"), {"role": "user", "content": "dict"}, HumanMessage("object")]
    merged = add_messages(
        [HumanMessage("one", id="1"), AIMessage("two", id="2")], [AIMessage("two, better", id="2"), ("human", "new")]
    )
    return {
        "a list": face.invoke(graph, {"messages": given}),
        "one string": face.invoke(graph, {"messages": "I am Bo"}),
        "called": merged,
        "unknown to remove": raised(lambda: add_messages([], [RemoveMessage(id="nope")])),
    }


@example(
    "§1.5 random merges: known and new ids, ids twice, removals of each kind",
    differs=Differs(
        "a `RemoveMessage` after one that removes all is left standing in the conversation",
        lambda there: [found if isinstance(found, dict) else [one for one in found if one[0] != "remove"] for found in there],
    ),
)
def random_merges(face: Face) -> Any:
    def drawn(draw: random.Random) -> Any:
        id_, kind = draw.choice("abcdef"), draw.choice([HumanMessage, AIMessage, RemoveMessage])
        if kind is RemoveMessage:
            return RemoveMessage(id=REMOVE_ALL_MESSAGES if draw.random() < 0.2 else id_)
        return kind(f"{draw.randrange(100)}", id=id_)

    def merged(seed: int) -> Any:
        draw = random.Random(seed)
        left, right = ([drawn(draw) for _ in range(draw.randrange(5))] for _ in "lr")
        merged = add_messages([one for one in left if one.type != "remove"], right)
        return [[one.type, one.id, one.content] for one in merged]

    return [raised(lambda seed=seed: merged(seed)) for seed in range(120)]


@example("§5.2 deleting messages: by id, and all of them")
def deleting_messages(face: Face) -> Any:
    def prune(state: MessagesState) -> dict[str, Any]:
        last = state["messages"][-2].content
        if last == "forget all":
            return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), AIMessage("forgotten", id="f")]}
        return {"messages": [RemoveMessage(id=message.id) for message in state["messages"][:-4]]}

    builder = chat().add_node(prune).add_edge("model", "prune")
    graph = builder.compile(checkpointer=InMemorySaver())
    turns = [face.invoke(graph, human(text), ONE) for text in ("I am Ada", "b", "c", "forget all", "d")]
    return [[message.content for message in turn["messages"]] for turn in turns]


@example("§5.2 a window of the conversation for the model, all of it kept")
def trimmed_messages(face: Face) -> Any:
    def short_of_memory(state: MessagesState) -> dict[str, Any]:
        seen = trim_messages(state["messages"], max_tokens=3, token_counter=len, strategy="last", start_on="human")
        return {"messages": AIMessage(f"saw {[one.content for one in seen]}", id=f"ai {len(state['messages'])}")}

    graph = StateGraph(MessagesState).add_node(short_of_memory).add_edge(START, "short_of_memory")
    graph = graph.compile(checkpointer=InMemorySaver())
    return [face.invoke(graph, human(text), ONE)["messages"][-1].content for text in ("a", "b", "c")]


@example("§5.2 summary memory")
def summary_memory(face: Face) -> Any:
    class Talk(MessagesState):
        summary: str

    def answer(state: Talk) -> dict[str, Any]:
        known = f" (knowing {state['summary']})" if state.get("summary") else ""
        return {"messages": [AIMessage(f"re {state['messages'][-1].content}{known}", id=f"re {state['messages'][-1].content}")]}

    def long_enough(state: Talk) -> str:
        return "summarize" if len(state["messages"]) > 4 else END

    def summarize(state: Talk) -> dict[str, Any]:
        words = "+".join(message.content for message in state["messages"] if message.type == "human")
        gone = [RemoveMessage(id=message.id) for message in state["messages"][:-2]]
        return {"summary": f"{state.get('summary', '')}[{words}]", "messages": gone}

    builder = StateGraph(Talk).add_node("conversation", answer).add_node(summarize).add_edge(START, "conversation")
    builder.add_conditional_edges("conversation", long_enough, ["summarize", END])
    graph = builder.compile(checkpointer=InMemorySaver())
    return {
        "updates": [face.stream(graph, human(text), ONE) for text in ("a", "b", "c", "d", "e")],
        "state": face.get_state(graph, ONE).values,
    }


def three() -> tuple[Any, list[str]]:
    ran: list[str] = []

    def says(word: str) -> Any:
        def node(state: Log) -> dict[str, Any]:
            ran.append(word)
            return {"log": [word], "last": f"{word} after {state.get('last')}"}

        return node

    builder = StateGraph(Log).add_sequence([(word, says(word)) for word in ("a", "b", "c")]).add_edge(START, "a")
    return builder.compile(checkpointer=InMemorySaver()), ran


@example("§3.7 the state of a thread and its history")
def state_and_history(face: Face) -> Any:
    graph, _ = three()
    face.invoke(graph, {"last": "in"}, ONE)
    face.invoke(graph, {"last": "again"}, ONE)
    history = face.history(graph, ONE)
    return {
        "unknown": shown(face.get_state(graph, TWO)),
        "now": shown(face.get_state(graph, ONE)),
        "history": [shown(one) for one in history],
        "parents": [one.parent_config == before.config for one, before in itertools.pairwise(history)],
        "inputs": [one.metadata["step"] for one in face.history(graph, ONE, filter={"source": "input"})],
        "two": [one.metadata["step"] for one in face.history(graph, ONE, limit=2)],
        "before": [one.metadata["step"] for one in face.history(graph, ONE, before=history[5].config)],
        "by id": [shown(one) for one in face.history(graph, history[2].config)],
        "no saver": raised(lambda: face.get_state(chat().compile(), ONE)),
    }


@example("§3.1 a snapshot as it is, but for the path of a task, which names channels of the inside")
def whole_snapshot(face: Face) -> Any:
    graph, _ = three()
    face.invoke(graph, {"last": "in"}, ONE | {"metadata": {"user": "ada"}})
    history = face.history(graph, ONE)
    task = history[1].tasks[0]._asdict()
    return [history[0]._asdict(), {name: value for name, value in task.items() if name != "path"}]


@example("§3.7 replay from a checkpoint: what follows it runs again, on a branch")
def replay(face: Face) -> Any:
    graph, ran = three()
    face.invoke(graph, {"last": "in"}, ONE)
    before_b = next(one for one in face.history(graph, ONE) if one.next == ("b",))
    ran.clear()
    result = face.invoke(graph, None, before_b.config)
    return {
        "result": result,
        "ran": list(ran),
        "now": shown(face.get_state(graph, ONE)),
        "old": shown(face.get_state(graph, before_b.config)),
        "ends of branches": len([one for one in face.history(graph, ONE) if not one.next]),
        "another input": face.invoke(graph, {"log": ["new"]}, before_b.config),
    }


@example("§3.7 the sources of the checkpoints after a replay")
def sources_after_replay(face: Face) -> Any:
    graph, _ = three()
    face.invoke(graph, {"last": "in"}, ONE)
    before_b = next(one for one in face.history(graph, ONE) if one.next == ("b",))
    face.invoke(graph, None, before_b.config)
    return [[one.metadata["source"], one.metadata["step"], one.next] for one in face.history(graph, ONE)]


@example("§6.3.7 one of three parallel nodes fails: going on runs only that one")
def parallel_failure(face: Face) -> Any:
    ran: list[str] = []

    def says(word: str) -> Any:
        def node(state: Log) -> dict[str, Any]:
            ran.append(word)
            if word == "c" and ran.count("c") == 1:
                raise ConnectionError("down")
            return {"log": [word]}

        return node

    builder = StateGraph(Log)
    for word in ("a", "b", "c"):
        builder.add_node(word, says(word)).add_edge(START, word)
    graph = builder.compile(checkpointer=InMemorySaver())
    config = ONE | {"max_concurrency": 1}
    error = raised(lambda: face.invoke(graph, {"log": ["in"]}, config))
    live = shown(face.get_state(graph, ONE))
    return {"error": error, "live": live, "gone on": face.invoke(graph, None, config), "ran": sorted(ran)}


@example("§6.3.8 one of several Sends fails")
def failure_among_sends(face: Face) -> Any:
    ran: list[int] = []

    def work(state: Any) -> dict[str, Any]:
        n = state["n"]
        ran.append(n)
        if n == 3 and ran.count(3) == 1:
            raise ConnectionError("down")
        return {"log": [f"{n}"]}

    builder = StateGraph(Log).add_node("work", work)
    builder.add_conditional_edges(START, lambda state: [Send("work", {"n": n}) for n in range(5)], ["work"])
    graph = builder.compile(checkpointer=InMemorySaver())
    config = ONE | {"max_concurrency": 1}
    error = raised(lambda: face.invoke(graph, {"log": []}, config))
    gone_on = face.invoke(graph, None, config)
    return {"error": error, "gone on": gone_on, "ran again": sorted(n for n in set(ran) if n <= 3 and ran.count(n) > 1)}


@example("§2.1 None on a thread at its end, and a new input on one that failed")
def going_on(face: Face) -> Any:
    graph, ran = three()
    nothing = raised(lambda: face.invoke(graph, None, ONE))
    face.invoke(graph, {"last": "in"}, ONE)
    ran.clear()
    return {"on a fresh thread": nothing, "at the end": face.invoke(graph, None, ONE), "ran": list(ran)}


@example(
    "§1.3 a Command as the input of a thread: an update, a place to go on from, both",
    differs=Differs(
        "`Command(goto)` as input makes a real checkpoint (DESIGN §5)",
        lambda there: {**there, "now": {**there["now"], "source": "update", "step": there["now"]["step"] + 3}},
    ),
)
def command_as_input(face: Face) -> Any:
    graph, ran = three()
    face.invoke(graph, {"last": "in"}, ONE)
    ran.clear()
    results = {
        "both": face.invoke(graph, Command(goto="b", update={"log": ["told"]}), ONE),
        "a place": face.invoke(graph, Command(goto="c"), ONE),
        "an update": face.invoke(graph, Command(update={"last": "edited"}), ONE),
    }
    return {"results": results, "ran": ran, "now": shown(face.get_state(graph, ONE))}


@example(
    "§1.3 a Command as the input of a thread that is not there yet",
    differs=Differs(
        "`Command` on a fresh thread applies updates twice; `Command()` crashes; `Command.PARENT` at root leaks",
        lambda there: {"fresh": {"log": ["told"], "n": 1}, "empty": {"raised": "EmptyInputError"}},
    ),
)
def command_on_a_fresh_thread(face: Face) -> Any:
    class Sums(TypedDict):
        log: Annotated[list[str], operator.add]
        n: Annotated[int, operator.add]

    builder = StateGraph(Sums).add_node("start", lambda state: {"n": 10}).add_node("there", lambda state: {"n": 1})
    graph = builder.add_edge(START, "start").compile(checkpointer=InMemorySaver())
    fresh = raised(lambda: face.invoke(graph, Command(goto="there", update={"log": ["told"]}), ONE))
    return {"fresh": fresh, "empty": raised(lambda: face.invoke(graph, Command(), TWO))}


@example(
    "§3.7 a checkpoint id that is not there, and no thread",
    differs=Differs(
        "a mistyped `checkpoint_id` starts an empty state; a missing `thread_id` is a bare `KeyError`",
        lambda there: there | {"mistyped": {"raised": "Exception"}, "no thread": {"raised": "ValueError"}},
    ),
)
def mistyped_ids(face: Face) -> Any:
    graph, _ = three()
    face.invoke(graph, {"last": "in"}, ONE)
    wrong = {"configurable": {"thread_id": "1", "checkpoint_id": "1ef4f797-8335-6428-8001-8a1503f9b875"}}
    return {
        "mistyped": raised(lambda: face.invoke(graph, {"last": "x"}, wrong)),
        "no thread": raised(lambda: face.invoke(graph, {"last": "x"}, {"configurable": {"user": "ada"}})),
        "no configurable": raised(lambda: face.invoke(graph, {"last": "x"})),
    }


@example(
    "§4.5 types that come back from a thread",
    differs=Differs(
        "types change on reload (tuple → list, deque loses `maxlen`, exception → text)",
        lambda there: there | {"tuple": "tuple"},
    ),
)
def types_after_a_reload(face: Face) -> Any:
    class Bag(TypedDict):
        things: dict[str, Any]

    graph = StateGraph(Bag).add_node("n", lambda state: None).add_edge(START, "n").compile(checkpointer=InMemorySaver())
    things = {"tuple": (1, 2), "set": {1}, "bytes": b"x", "float": 1.0, "none": None, "nested": [{"k": [True]}]}
    face.invoke(graph, {"things": things}, ONE)
    back = face.get_state(graph, ONE).values["things"]
    return {name: type(value).__name__ for name, value in back.items()}
