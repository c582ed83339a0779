"""A record as plain JSON, the same for both packages: what differs in every run has become a placeholder.

Ids, in whatever string they stand, are numbered in their order of appearance (dicts by key); times become `<time>`. An error is
its type's name: the first of its bases that a user of LangGraph knows. Types that JSON has not are written `{"type": …}`.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Final

from langchain_core.messages import BaseMessage

ID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|\b[0-9a-f]{32}\b")
TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:\+00:00|Z)?")
ERRORS: Final = {"GraphRecursionError", "InvalidUpdateError", "EmptyInputError", "NodeTimeoutError", "NodeCancelledError"}
"""Errors of the package by the name both give them; of others of its own a user sees the base class."""
PACKAGES: Final = ("clew", "langgraph")
MESSAGE: Final = ("name", "tool_calls", "tool_call_id", "id")


def plain(record: Any) -> Any:
    return Plain().of(record)


class Plain:
    """One record's walk."""

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}

    def of(self, value: Any) -> Any:
        match value:
            case None | bool() | int() | float():
                return value
            case str():
                return self.text(value)
            case Mapping():
                return self.fields({str(key): item for key, item in value.items()})  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType, reportUnknownMemberType]
            case list():
                return [self.of(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
            case tuple() if not hasattr(value, "_asdict"):  # pyright: ignore[reportUnknownArgumentType]
                return {"tuple": [self.of(item) for item in value]}  # pyright: ignore[reportUnknownVariableType]
            case set() | frozenset():
                return {"set": sorted((self.of(item) for item in value), key=repr)}  # pyright: ignore[reportUnknownVariableType]
            case BaseException():
                return {"raised": error_name(value)}
            case BaseMessage():
                known = {name: found for name in MESSAGE if (found := getattr(value, name, None))}
                return {value.type: self.of(value.content), **self.fields(known)}  # pyright: ignore[reportUnknownMemberType]
            case type():
                return value.__name__
            case _:
                return {type(value).__name__: self.fields(fields_of(value))}

    def fields(self, found: Mapping[str, Any]) -> dict[str, Any]:
        return {self.text(key): self.of(found[key]) for key in sorted(found)}

    def text(self, value: str) -> str:
        return ID.sub(self.placeholder, TIME.sub("<time>", value))

    def placeholder(self, found: re.Match[str]) -> str:
        return self.ids.setdefault(found[0], f"<id {len(self.ids) + 1}>")


def fields_of(value: Any) -> Mapping[str, Any]:
    if hasattr(value, "_asdict"):
        return value._asdict()
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(value, "model_dump"):
        return value.model_dump()
    raise TypeError(f"{value!r} is a {type(value).__name__}: an example returns what can be written as JSON.")


def error_name(error: BaseException) -> str:
    for kind in type(error).__mro__:
        if kind.__name__ in ERRORS or kind.__module__.partition(".")[0] not in PACKAGES:
            return kind.__name__
    raise AssertionError("every error is an Exception")
