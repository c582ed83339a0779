# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeArguments=false, reportTypedDictNotRequiredAccess=false, reportIndexIssue=false, reportReturnType=false
# Written as users write, for two packages of which one may not have all of it yet: strict types are for what ships.
"""The state and its schemas."""

import operator
from dataclasses import dataclass, field
from typing import Annotated, Any, NotRequired, TypedDict

import typing_extensions
from pydantic import BaseModel, ValidationError

from clew.errors import InvalidUpdateError
from clew.graph import END, START, StateGraph
from clew.types import Command, Overwrite
from corpus.harness import Differs, Face, example, raised


@example("§1.1 plain keys are replaced, reducers fold, keys never written are absent")
def plain_and_reduced_keys(face: Face) -> Any:
    class Order(TypedDict):
        customer: str
        lines: Annotated[list[str], operator.add]
        total: Annotated[int, operator.add]
        note: str

    def take(state: Order) -> dict[str, Any]:
        return {"lines": ["tea"], "total": 3, "customer": state["customer"].title()}

    def pour(state: Order) -> dict[str, Any]:
        return {"lines": [f"milk after {state['lines'][-1]}"], "total": 1}

    graph = StateGraph(Order).add_sequence([take, pour]).add_edge(START, "take").compile()
    return {
        "full": face.invoke(graph, {"customer": "ada", "lines": ["bread"]}),
        "nothing given": face.invoke(graph, {"customer": "bo"}),
        "each step": face.stream(graph, {"customer": "cy"}, stream_mode="values"),
    }


@example("§1.1 a TypedDict of typing_extensions, with a NotRequired key")
def typed_dict_of_typing_extensions(face: Face) -> Any:
    class Older(typing_extensions.TypedDict):
        n: Annotated[int, operator.add]
        word: typing_extensions.NotRequired[str]

    graph = StateGraph(Older).add_node("n", lambda state: {"n": 1, "word": "w"}).add_edge(START, "n").compile()
    return face.invoke(graph, {"n": 2})


@example("§5.5 pydantic state")
def pydantic_state(face: Face) -> Any:
    class Booking(BaseModel):
        guests: int
        name: str = "nobody"
        log: Annotated[list[str], operator.add] = []

    def greet(state: Booking) -> dict[str, Any]:
        return {"log": [f"{state.name}: {state.guests + 1} {type(state).__name__}"]}

    def spoil(state: Booking) -> dict[str, Any]:
        return {"guests": "many"}

    def after(state: Booking) -> dict[str, Any]:
        return {"log": ["never reached"]}

    good = StateGraph(Booking).add_node(greet).add_edge(START, "greet").add_edge("greet", END).compile()
    bad = StateGraph(Booking).add_sequence([spoil, after]).add_edge(START, "spoil").compile()
    return {
        "coerced where it is read": face.invoke(good, {"guests": "4"}),
        "an instance goes in": face.invoke(good, Booking(guests=2, name="Ida")),
        "bad input": isinstance(raised(lambda: face.invoke(good, {"guests": "four"})), ValidationError),
        "a bad value fails at the next node": raised(lambda: face.invoke(bad, {"guests": 1})),
    }


@example("§1.2 a node that returns the pydantic state whole: reduced keys are folded in again")
def pydantic_state_returned(face: Face) -> Any:
    class Booking(BaseModel):
        guests: int = 1
        note: str | None = None
        log: Annotated[list[str], operator.add] = []

    def whole(state: Booking) -> Booking:
        state.guests += 1
        return state

    def part(state: Booking) -> Booking:
        return Booking(note=None, log=["part"])

    graph = StateGraph(Booking).add_sequence([whole, part]).add_edge(START, "whole").compile()
    return [face.invoke(graph, {"guests": 4, "note": "quiet", "log": ["in"]}), face.invoke(graph, Booking(log=["in"]))]


@example("§5.5 dataclass state")
def dataclass_state(face: Face) -> Any:
    @dataclass
    class Trip:
        city: str
        days: int = 2
        seen: Annotated[list[str], operator.add] = field(default_factory=list)

    def walk(state: Trip) -> dict[str, Any]:
        return {"seen": [f"{state.city} for {state.days}"]}

    def stay(state: Trip) -> Trip:
        return Trip(city=state.city.upper(), days=state.days + 1, seen=["stayed"])

    graph = StateGraph(Trip).add_sequence([walk, stay]).add_edge(START, "walk").compile()
    return {"a dict": face.invoke(graph, {"city": "Ulm"}), "an instance": face.invoke(graph, Trip("Bonn", 5))}


@example("§5.5 input and output schemas")
def input_and_output_schemas(face: Face) -> Any:
    class Question(TypedDict):
        question: str

    class Answer(TypedDict):
        answer: str

    class Whole(Question, Answer):
        notes: str

    def think(state: Question) -> dict[str, Any]:
        return {"notes": f"{sorted(state)}: {state['question'].lower()}"}

    def say(state: Whole) -> dict[str, Any]:
        return {"answer": f"42, because {state['notes']}"}

    builder = StateGraph(Whole, input_schema=Question, output_schema=Answer)
    graph = builder.add_node(think).add_node(say).add_edge(START, "think").add_edge("think", "say").compile()
    given = {"question": "WHY", "notes": "not taken", "answer": "not taken"}
    return {
        "result": face.invoke(graph, given),
        "values": face.stream(graph, given, stream_mode="values"),
        "updates": face.stream(graph, given),
    }


@example("§5.5 private state between two nodes")
def private_state(face: Face) -> Any:
    class Public(TypedDict):
        text: str

    class Draft(TypedDict):
        draft: str

    def write(state: Public) -> Draft:
        return {"draft": f"draft of {state['text']}"}

    def publish(state: Draft) -> Public:
        return {"text": f"{state['draft']}, seen {sorted(state)}"}

    def read(state: Public) -> Public:
        return {"text": f"{state['text']}; {sorted(state)}"}

    graph = StateGraph(Public).add_sequence([write, publish, read]).add_edge(START, "write").compile()
    return {
        "result": face.invoke(graph, {"text": "news"}),
        "updates": face.stream(graph, {"text": "news"}),
        "values": face.stream(graph, {"text": "news"}, stream_mode="values"),
    }


@example("§1.1 a node's input_schema given to add_node")
def input_schema_of_a_node(face: Face) -> Any:
    class Whole(TypedDict):
        a: int
        b: int
        seen: Annotated[list[str], operator.add]

    class OnlyA(TypedDict):
        a: int

    def look(state: Any) -> dict[str, Any]:
        return {"seen": [",".join(sorted(state))]}

    builder = StateGraph(Whole).add_node("part", look, input_schema=OnlyA).add_node("all", look)
    graph = builder.add_edge(START, "part").add_edge("part", "all").compile()
    return face.invoke(graph, {"a": 1, "b": 2})


@example("§1.1 the whole state is one value")
def state_is_an_int(face: Face) -> Any:
    def double(state: int) -> int:
        return state * 2

    builder = StateGraph(int).add_node("double", double).add_node("again", double)
    graph = builder.add_edge(START, "double").add_edge("double", "again").compile()
    return {
        "result": face.invoke(graph, 5),
        "values": face.stream(graph, 5, stream_mode="values"),
        "updates": face.stream(graph, 5),
    }


@example("§1.1 the whole state is one list with a reducer")
def state_is_a_list(face: Face) -> Any:
    def left(state: list[str]) -> list[str]:
        return [f"left saw {len(state)}"]

    def right(state: list[str]) -> list[str]:
        return [f"right saw {len(state)}"]

    builder = StateGraph(Annotated[list[str], operator.add])
    graph = builder.add_node(right).add_node(left).add_edge(START, "right").add_edge(START, "left").compile()
    return {"result": face.invoke(graph, ["in"]), "values": face.stream(graph, ["in"], stream_mode="values")}


@example("§1.1 custom reducer, NotRequired, parallel writers in the order of their names")
def custom_reducer(face: Face) -> Any:
    def newest_first(old: list[str], new: list[str]) -> list[str]:
        return [*new, *(one for one in old if one not in new)]

    class Reading(TypedDict):
        titles: Annotated[list[str], newest_first]
        hint: NotRequired[str]

    def b(state: Reading) -> dict[str, Any]:
        return {"titles": ["Emma", state.get("hint", "no hint")]}

    def a(state: Reading) -> dict[str, Any]:
        return {"titles": ["Ulysses", "Emma"]}

    graph = StateGraph(Reading).add_node(b).add_node(a).add_edge(START, "b").add_edge(START, "a").compile()
    return [face.invoke(graph, {"titles": ["Faust"]}), face.invoke(graph, {"hint": "h"})]


@example("§2.9 two writers of a plain key in one superstep")
def two_writers_of_a_plain_key(face: Face) -> Any:
    class Room(TypedDict):
        light: str

    graph = (
        StateGraph(Room)
        .add_node("on", lambda state: {"light": "on"})
        .add_node("off", lambda state: {"light": "off"})
        .add_edge(START, "on")
        .add_edge(START, "off")
        .compile()
    )
    error = raised(lambda: face.invoke(graph, {"light": "?"}))
    return {"error": error, "caught by its class": isinstance(error, InvalidUpdateError)}


@example("§1.2 what nodes may return")
def what_nodes_return(face: Face) -> Any:
    class Log(TypedDict):
        log: Annotated[list[str], operator.add]
        n: int

    def runs(returned: Any) -> Any:
        builder = StateGraph(Log).add_node("node", lambda state: returned).add_node("after", lambda state: {"log": ["after"]})
        graph = builder.add_edge(START, "node").add_edge("node", "after").compile()
        return raised(lambda: face.invoke(graph, {"log": ["in"], "n": 0}))

    return {
        "nothing": runs(None),
        "an empty dict": runs({}),
        "a dict": runs({"n": 1}),
        "a command": runs(Command(update={"n": 2, "log": ["c"]})),
        "commands and dicts": runs([Command(update={"log": ["one"]}), {"log": ["two"], "n": 3}]),
        "pairs in a command": runs(Command(update=[("log", ["p"]), ("log", ["q"])])),
        "a string": runs("no"),
        "a list": runs([]),
        "a number": runs(7),
    }


@example("§1.6 Overwrite sets a key past its reducer")
def overwrite(face: Face) -> Any:
    class Log(TypedDict):
        log: Annotated[list[str], operator.add]

    def a(state: Log) -> dict[str, Any]:
        return {"log": ["lost beside an Overwrite"]}

    def b(state: Log) -> dict[str, Any]:
        return {"log": Overwrite(["fresh"])}

    def c(state: Log) -> dict[str, Any]:
        return {"log": Overwrite([])}

    alone = StateGraph(Log).add_node(b).add_edge(START, "b").compile()
    beside = StateGraph(Log).add_node(a).add_node(b).add_edge(START, "a").add_edge(START, "b").compile()
    twice = StateGraph(Log).add_node(b).add_node(c).add_edge(START, "b").add_edge(START, "c").compile()
    return {
        "alone": face.invoke(alone, {"log": ["old"]}),
        "beside another": face.invoke(beside, {"log": ["old"]}),
        "twice": raised(lambda: face.invoke(twice, {"log": ["old"]})),
    }


@example(
    "§1.6 Overwrite on a plain key",
    differs=Differs("reducer must be the last metadata item; lambdas compare equal", lambda there: {"plain": "set"}),
)
def overwrite_of_a_plain_key(face: Face) -> Any:
    class Plain(TypedDict):
        plain: str

    graph = StateGraph(Plain).add_node("set", lambda state: {"plain": Overwrite("set")}).add_edge(START, "set").compile()
    return face.invoke(graph, {"plain": "old"})


@example(
    "§1.1 a reducer that is not the last of the metadata, and defaults of reduced keys",
    differs=Differs(
        "reducer must be the last metadata item; lambdas compare equal",
        lambda there: {"log": ["in", "out"], "seed": [7, 8]},
    ),
)
def reducer_anywhere_and_defaults(face: Face) -> Any:
    @dataclass
    class Notes:
        log: Annotated[list[str], operator.add, "what happened"]
        seed: Annotated[list[int], operator.add] = field(default_factory=lambda: [7])

    graph = StateGraph(Notes).add_node("n", lambda state: {"log": ["out"], "seed": [8]}).add_edge(START, "n").compile()
    return face.invoke(graph, {"log": ["in"]})


@example(
    "§1.2 a node that changes in place the list it was given",
    differs=Differs("in-place mutation of state leaks", lambda there: {**there, "items": ["in"], "count": 1}),
)
def changed_in_place(face: Face) -> Any:
    class Basket(TypedDict):
        items: list[str]
        count: int

    def grab(state: Basket) -> None:
        state["items"].append("leaked")

    def count(state: Basket) -> dict[str, Any]:
        return {"count": len(state["items"])}

    graph = StateGraph(Basket).add_sequence([grab, count]).add_edge(START, "grab").compile()
    return face.invoke(graph, {"items": ["in"]})


@example("§1.1 drawings that are refused")
def refused_drawings(face: Face) -> Any:
    class Plain(TypedDict):
        n: int

    def made() -> Any:
        return StateGraph(Plain).add_node("a", lambda state: {"n": 1})

    return {
        "no entry": raised(lambda: made().compile()),
        "a node twice": raised(lambda: made().add_node("a", lambda state: {})),
        "a reserved name": raised(lambda: made().add_node(START, lambda state: {})),
        "a colon": raised(lambda: made().add_node("a:b", lambda state: {})),
        "END as a start": raised(lambda: made().add_edge(END, "a")),
        "START as an end": raised(lambda: made().add_edge("a", START)),
        "an unknown target": raised(lambda: made().add_edge(START, "a").add_edge("a", "b").compile()),
        "a sequence of none": raised(lambda: made().add_sequence([])),
        "a reducer of one": raised(lambda: StateGraph(TypedDict("T", {"k": Annotated[list, lambda one: one]}))),
    }
