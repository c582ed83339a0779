"""What the model behind a stand-in says: rules over what it heard, the same for every provider. Nothing of HTTP is here.

It remembers names as far as it is told them, calls the tools it is asked for, and tells what they returned:

- `add(a=1, b=2) and weather(city="SF")` in what the user says is two calls at once; `add(a=1) then mul(b=2)` one by one.
- A tool whose words all stand in what the user says is called too: `get_weather` by "What is the weather in San Francisco?",
  and one after the other by "what is the weather in Rome, then find hotels in Rome".
- A tool it must call, and a shape it must answer in, are filled from what was said last.
- Asked for a summary, it tells who the user is and what they said.
"""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

NAMED: Final = re.compile(r"\b(?:i'm|i am|my name is|user is called)\s+(\w+)", re.IGNORECASE)
CALLED: Final = re.compile(r"\b(\w+)\(([^()]*)\)")
PLACE: Final = re.compile(r"\b(?:in|for|to|of|about|from)\s+([A-Z]\w*(?:\s[A-Z]\w*)*)")
NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?")
COMMON: Final = frozenset({"get", "find", "look", "up", "the"})  # words of a tool's name that users need not say


@dataclass(frozen=True)
class Tool:
    """One that the model may call: its JSON schema names the arguments."""

    name: str
    schema: dict[str, Any]


@dataclass(frozen=True)
class Turn:
    """Who said what; an `assistant` that only called tools said nothing."""

    role: Literal["user", "assistant", "tool"]
    text: str


@dataclass(frozen=True)
class Heard:
    """A request, whatever the provider.

    Attributes:
        must: the tool that it has to call.
        shape: the JSON schema that it has to answer in.
    """

    system: str
    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()
    must: str | None = None
    shape: dict[str, Any] | None = None


@dataclass(frozen=True)
class Call:
    name: str
    args: dict[str, Any]


@dataclass(frozen=True)
class Said:
    text: str
    calls: tuple[Call, ...] = ()


def think(heard: Heard) -> Said:
    """The one answer there is to a request."""
    last = max((index for index, turn in enumerate(heard.turns) if turn.role == "user"), default=-1)
    asked = heard.turns[last].text if last >= 0 else ""
    since = heard.turns[last + 1 :]
    recent = " ".join(turn.text for turn in heard.turns[max(last, 0) :])
    if heard.must is not None:
        return Said("", (Call(heard.must, filled(_schema(heard, heard.must), recent)),))
    if heard.shape is not None:
        return Said(json.dumps(filled(heard.shape, recent)))
    if calls := tuple(_wanted(asked, heard.tools, sum(turn.role == "assistant" for turn in since))):
        return Said("", calls)
    if found := [turn.text for turn in since if turn.role == "tool"]:
        return Said(f"I looked it up: {'; '.join(found)}")
    return Said(_small_talk(heard, asked))


def _wanted(asked: str, tools: tuple[Tool, ...], before: int) -> Iterator[Call]:
    """The calls that the user asked for next, `before` turns of the model having gone by since."""
    known = {tool.name: tool.schema for tool in tools}
    groups = re.split(r"\bthen\b", asked)
    spelled = [
        [Call(name, _arguments(known[name], inner)) for name, inner in CALLED.findall(group) if name in known]
        for group in groups
    ]
    if any(spelled):
        yield from spelled[before] if before < len(spelled) else ()
    elif before < len(groups):
        said = set(re.findall(r"\w+", groups[before].lower()))
        for name, schema in known.items():
            if set(name.lower().split("_")) - COMMON <= said:
                yield Call(name, filled(schema, groups[before]))


def _arguments(schema: dict[str, Any], inner: str) -> dict[str, Any]:
    call = ast.parse(f"f({inner})", mode="eval").body
    assert isinstance(call, ast.Call)
    named = dict(zip(schema.get("properties", {}), (ast.literal_eval(value) for value in call.args), strict=False))
    return named | {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}


def _schema(heard: Heard, name: str) -> dict[str, Any]:
    return next(tool.schema for tool in heard.tools if tool.name == name)


def filled(schema: dict[str, Any], text: str) -> dict[str, Any]:
    """Arguments that keep to a schema, as far as they can be had from a text."""
    wanted = schema.get("required", schema.get("properties", {}))
    return {name: _value(schema["properties"][name], schema, text) for name in wanted}


def _value(field: dict[str, Any], whole: dict[str, Any], text: str) -> Any:
    if "$ref" in field:
        field = whole["$defs"][field["$ref"].rpartition("/")[2]]
    if "anyOf" in field:
        field = field["anyOf"][0]
    if "enum" in field:
        return next((choice for choice in field["enum"] if str(choice).lower() in text.lower()), field["enum"][0])
    number = NUMBER.search(text)
    match field.get("type"):
        case "integer":
            return int(float(number[0])) if number else 0
        case "number":
            return float(number[0]) if number else 0.0
        case "boolean":
            return True
        case "array":
            return [_value(field.get("items", {}), whole, text)]
        case "object":
            return filled({**whole, "required": [], **field}, text)
        case _:
            place = PLACE.search(text)
            return place[1] if place else text


def _small_talk(heard: Heard, asked: str) -> str:
    told = [turn.text for turn in heard.turns if turn.role == "user"]
    name = next((found[1].capitalize() for text in [heard.system, *told] if (found := NAMED.search(text))), None)
    if "summar" in f"{heard.system} {asked}".lower():
        lines = "\n".join(told[:-1] if "summar" in asked.lower() else told).splitlines()
        said = [line.removeprefix("Human: ").rpartition("has said: ")[2] for line in lines if not line.startswith("AI: ")]
        return f"The user is called {name or 'nothing that I know of'} and has said: {' / '.join(said)}"
    if "my name" in asked:
        if name is None:
            return "I apologize, but I don't have access to your personal information, including your name."
        return f"Your name is {name}, as you introduced yourself at the beginning of our conversation."
    return f"Hello{' ' + name if name else ''}! It's nice to meet you. How are you doing today?"
