# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeArguments=false, reportTypedDictNotRequiredAccess=false, reportIndexIssue=false, reportReturnType=false, reportOptionalMemberAccess=false
# Written as users write, for two packages of which one may not have all of it yet: strict types are for what ships.
"""Memory across threads."""

from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig

from clew.checkpoint.memory import InMemorySaver
from clew.config import get_store
from clew.func import entrypoint, task
from clew.graph import START, MessagesState, StateGraph
from clew.runtime import Runtime
from clew.store.base import BaseStore, GetOp, InvalidNamespaceError, ListNamespacesOp, MatchCondition, PutOp, SearchOp
from clew.store.memory import InMemoryStore
from corpus.harness import Differs, Face, example, raised

UNEQUAL = "store backends disagree on order"


def embed(texts: list[str]) -> list[list[float]]:
    return [[float(text.count(letter)) for letter in "abc"] for text in texts]


def who(user: str, thread: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread, "user_id": user}}


@example("§5.1 cross-thread persistence: a user's threads share, users do not")
def users(face: Face) -> Any:
    def call_model(state: MessagesState, config: RunnableConfig, *, store: BaseStore) -> dict[str, Any]:
        namespace = ("memories", config["configurable"]["user_id"])
        known = [item.value["data"] for item in store.search(namespace, query=state["messages"][-1].content)]
        if "remember" in state["messages"][-1].content.lower():
            store.put(namespace, "name", {"data": "User name is Bob"})
        return {"messages": [("ai", f"I know {known}")]}

    store = InMemoryStore(index={"embed": embed, "dims": 3})
    graph = StateGraph(MessagesState).add_node(call_model).add_edge(START, "call_model")
    kept = graph.compile(checkpointer=InMemorySaver(), store=store)
    said = [
        face.invoke(kept, {"messages": [("user", text)]}, who(user, thread))["messages"][-1].content
        for text, user, thread in (("Hi! Remember: I am Bob", "1", "1"), ("my name?", "1", "2"), ("my name?", "2", "3"))
    ]
    return [said, [item.value for item in store.search(("memories", "1"))], kept.store is store]


@example("§5.1 cross-thread persistence of a workflow: tasks are handed the store")
def workflow(face: Face) -> Any:
    @task
    def call_model(text: str, memories: BaseStore, user: str) -> str:
        known = [item.value["data"] for item in memories.search(("memories", user))]
        memories.put(("memories", user), text, {"data": text})
        return f"{text}: I know {known}"

    @entrypoint(checkpointer=InMemorySaver(), store=InMemoryStore())
    def chat(text: str, *, previous: list[str] | None, config: RunnableConfig, store: BaseStore) -> Any:
        said = call_model(text, store, config["configurable"]["user_id"]).result()
        return entrypoint.final(value=[*(previous or []), said], save=[said])

    return [
        face.invoke(chat, text, who(user, thread)) for text, user, thread in (("a", "1", "1"), ("b", "1", "2"), ("c", "2", "3"))
    ]


@example("§4.3 a node has the store as parameter, in its runtime, and by get_store")
def ways(face: Face) -> Any:
    class State(TypedDict, total=False):
        same: list[bool]

    def node(state: State, runtime: Runtime, *, store: BaseStore) -> State:
        return {"same": [store is runtime.store, store is get_store()]}

    def without(state: State, runtime: Runtime) -> State:
        return {"same": [runtime.store is None]}

    inner = StateGraph(State).add_node(node).add_edge(START, "node").compile()
    outer = StateGraph(State).add_node("inner", inner).add_edge(START, "inner").compile(store=InMemoryStore())
    bare = StateGraph(State).add_node(without).add_edge(START, "without").compile()
    return [face.invoke(outer, {}), face.invoke(bare, {})]


def filled() -> Any:
    store = InMemoryStore()
    store.put(("docs", "a"), "one", {"kind": "note", "n": 1, "by": {"name": "Ann"}})
    store.put(("docs", "b"), "two", {"kind": "note", "n": 2})
    store.put(("docs", "b", "deep"), "three", {"kind": "page", "n": 3})
    store.put(("docsier",), "four", {"kind": "note", "n": 4})
    return store


@example("§4.3 put, get, delete, copies of keys", faces=("sync",))
def items(face: Face) -> Any:
    store = filled()
    item = store.get(("docs", "a"), "one")
    store.put(("docs", "a"), "one", {"n": 9})
    store.delete(("docs", "b"), "two")
    store.delete(("docs", "b"), "never was")
    return [
        [item.namespace, item.key, item.value, item.created_at <= item.updated_at],
        store.get(("docs", "a"), "one").value,
        store.get(("docs", "b"), "two"),
        store.get(("never",), "was"),
    ]


@example("§4.3 prefixes, filters and parts of a search", faces=("sync",))
def searches(face: Face) -> Any:
    store = filled()

    def keys(*prefix: str, **given: Any) -> list[str]:
        return sorted(item.key for item in store.search(prefix, **given))

    return [
        keys("docs"),
        keys("docs", "b"),
        keys(),
        keys("docs", filter={"kind": "note"}),
        keys("docs", filter={"kind": "note", "n": {"$gt": 1}}),
        keys("docs", filter={"n": {"$gte": 2, "$lt": 3}}),
        keys("docs", filter={"n": {"$ne": 1}}),
        keys("docs", filter={"n": {"$eq": 3}}),
        keys("docs", filter={"by": {"name": "Ann"}}),
        len(store.search((), limit=2)),
        len(store.search((), offset=3)),
        type(raised(lambda: store.search((), filter={"n": {"$near": 1}}))).__name__,
        store.search(("docs", "a"))[0].score,
    ]


@example("§4.3 namespaces", faces=("sync",))
def namespaces(face: Face) -> Any:
    store = filled()
    return [
        store.list_namespaces(),
        store.list_namespaces(prefix=("docs",)),
        store.list_namespaces(suffix=("deep",)),
        store.list_namespaces(prefix=("docs", "*", "deep")),
        store.list_namespaces(max_depth=2),
        store.list_namespaces(limit=1, offset=1),
        [
            type(raised(lambda ns=ns: store.put(ns, "k", {}))) is InvalidNamespaceError
            for ns in ((), ("a.b",), ("",), ("langgraph",))
        ],
    ]


@example("§4.3 a batch reads what was there before it; the last put of a key counts", faces=("sync",))
def batches(face: Face) -> Any:
    store = filled()
    ops = [
        PutOp(("docs", "a"), "one", {"n": 5}),
        GetOp(("docs", "a"), "one"),
        PutOp(("docs", "a"), "one", {"n": 6}),
        SearchOp(("docs", "a")),
        ListNamespacesOp(match_conditions=(MatchCondition("prefix", ("docs", "b")),)),
        PutOp(("docs", "b"), "two", None),
    ]
    _, one, _, found, listed, _ = store.batch(ops)
    return [
        one.value,
        [item.value for item in found],
        listed,
        store.get(("docs", "a"), "one").value,
        store.get(("docs", "b"), "two"),
    ]


@example("§4.3, §5.2 semantic search: the nearest first, the best of several vectors", faces=("sync",))
def meaning(face: Face) -> Any:
    store = InMemoryStore(index={"embed": embed, "dims": 3, "fields": ["text", "parts[*].text"]})
    store.put(("m",), "a", {"text": "aaa"})
    store.put(("m",), "ab", {"text": "ab"})
    store.put(("m",), "parts", {"text": "bb", "parts": [{"text": "cc"}, {"text": "abc"}]})
    store.put(("m",), "other", {"text": "aaa", "more": "c"}, index=["more"])

    def found(query: str, **given: Any) -> list[Any]:
        return [[item.key, round(item.score, 4)] for item in store.search(("m",), query=query, **given)]

    return [found("aa"), sorted(found("c")), found("b", limit=2), found("aa", filter={"text": "ab"})]


@example(
    "§4.3 what is found without a query, in its order", faces=("sync",), differs=Differs(UNEQUAL, lambda there: there[::-1])
)
def order(face: Face) -> Any:
    return [item.key for item in filled().search(("docs",))]


@example(
    "§4.3 putting anew, changing what was got, and what is not embedded",
    faces=("sync",),
    differs=Differs(UNEQUAL, lambda there: [True, {"n": 1}, ["a"]]),
)
def removed_differences(face: Face) -> Any:
    store = InMemoryStore(index={"embed": embed, "dims": 3})
    store.put(("m",), "a", {"n": 1, "text": "a"})
    created = store.get(("m",), "a").created_at
    store.put(("m",), "a", {"n": 1})
    item = store.get(("m",), "a")
    kept = item.created_at == created
    item.value["n"] = 2
    value = store.get(("m",), "a").value
    store.put(("m",), "a", {"text": "a"})
    store.put(("m",), "never", {"text": "a"}, index=False)
    return [kept, value, [found.key for found in store.search(("m",), query="a")]]
