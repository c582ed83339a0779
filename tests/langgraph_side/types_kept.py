"""Values of every type that LangGraph can keep. On LangGraph's side `clew` is read as `langgraph`."""

import datetime as dt
import enum
import ipaddress
import pathlib
import re
import uuid
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from pydantic import BaseModel
from typing_extensions import TypedDict

from clew.graph import START, StateGraph
from clew.types import Command, Overwrite, Send


class Colour(enum.Enum):
    RED = "r"
    BLUE = 2


@dataclass
class Point:
    x: int
    when: dt.datetime
    inner: "Point | None" = None
    tags: set[str] = field(default_factory=set[str])


class Pair(NamedTuple):
    left: Any
    right: Any


class Child(BaseModel):
    name: str
    colour: Colour = Colour.RED


class Model(BaseModel):
    children: list[Child]
    at: dt.date
    model: Child | None = None


class Kept(TypedDict):
    kept: dict[str, Any]
    known: Colour | Point | Pair | Model


WHEN = dt.datetime(2025, 3, 4, 5, 6, 7, 89, tzinfo=dt.timezone(dt.timedelta(hours=2)))
CALL: Any = {"name": "f", "args": {"x": [1]}, "id": "c1", "type": "tool_call"}


def everything() -> dict[str, Any]:
    return {
        "plain": [None, True, 1, -(2**63), 2**64 - 1, 1.5, "é\n", b"\x00\xff", {"a": {"b": [1]}}, []],
        "keys": {1: "one", None: "none"},
        "bytearray": bytearray(b"ab"),
        "sets": [{1, 2}, frozenset({"a"}), deque([1, 2])],
        "times": [WHEN, dt.datetime(2025, 1, 1), dt.date(2025, 1, 2), dt.time(1, 2, 3, 4), dt.timedelta(1, 2, 3)],
        "zones": [dt.UTC, dt.timezone(dt.timedelta(hours=-3)), ZoneInfo("UTC")],
        "texts": [uuid.UUID(int=7), Decimal("1.10"), pathlib.Path("/a/b"), re.compile("a+", re.I)],
        "addresses": [ipaddress.ip_address("10.0.0.1"), ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_address("::1")],
        "users": [Colour.BLUE, Point(1, WHEN, Point(2, WHEN), {"t"}), Pair(1, Colour.RED)],
        "models": [Model(children=[Child(name="c", colour=Colour.BLUE)], at=dt.date(2025, 1, 1), model=Child(name="d"))],
        "arrays": [np.arange(6, dtype="<i4").reshape(2, 3), np.asfortranarray(np.ones((2, 2)))],
        "messages": [
            HumanMessage("h", id="1", name="bob"),
            AIMessage("", id="2", tool_calls=[CALL], usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
            AIMessage([{"type": "text", "text": "block"}], response_metadata={"model": "m"}),
            SystemMessage("s"),
            ToolMessage("t", tool_call_id="c1", artifact={"deep": [1]}, status="error"),
            FunctionMessage(content="f", name="f"),
            ChatMessage(content="c", role="critic"),
            RemoveMessage(id="9"),
        ],
        "documents": [Document(page_content="text", metadata={"page": 1})],
        "nouns": [Send("kept", {"a": 1}), Command(update={"a": 1}, goto="kept"), Overwrite([1])],
    }


def keeping() -> Any:
    builder = StateGraph(Kept)
    builder.add_node("kept", lambda state: {"kept": everything()})
    builder.add_edge(START, "kept")
    return builder
