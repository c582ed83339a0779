"""Paths into a value: what is embedded of an item. Pure.

`a.b` a key in a key, `a[0]`, `a[-1]` an element, `a[*]` each of them, `a.*` each of a dict's values or a list's elements,
`{a,b.c}` several paths, `$` the whole value. What is not there gives nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast


def tokenize_path(path: str) -> list[str]:
    """The steps of a path: keys, `[…]`, `{…}`. Raises ValueError where a bracket stays open."""
    tokens: list[str] = []
    name, at = "", 0
    while at < len(path):
        letter = path[at]
        if letter in "[{":
            if name:
                tokens.append(name)
                name = ""
            end = _closing(path, at)
            tokens.append(path[at : end + 1])
            at = end
        elif letter == ".":
            if name:
                tokens.append(name)
            name = ""
        else:
            name += letter
        at += 1
    if name:
        tokens.append(name)
    return tokens


def _closing(path: str, start: int) -> int:
    opened, closed, depth = path[start], "]" if path[start] == "[" else "}", 0
    for at in range(start, len(path)):
        depth += (path[at] == opened) - (path[at] == closed)
        if depth == 0:
            return at
    raise ValueError(f"The path {path!r} has a {opened!r} that is not closed.")


def get_text_at_path(value: Any, path: str | list[str]) -> list[str]:
    """The texts that a path leads to: text as it is, numbers and booleans as Python writes them, dicts and lists as JSON. None,
    and what is not there, gives nothing."""
    if path in ("", "$"):
        return [_json(value)]
    tokens = tokenize_path(path) if isinstance(path, str) else path
    if tokens[:1] == ["$"]:
        tokens = tokens[1:]
    return [text for found in _found(value, tokens) if (text := _text(found)) is not None]


def _found(value: Any, tokens: list[str]) -> Iterator[Any]:
    if not tokens:
        yield value
        return
    token, rest = tokens[0], tokens[1:]
    if token[0] == "{":
        for path in _parts(token[1:-1]):
            yield from _found(value, [*tokenize_path(path), *rest])
    elif token in ("*", "[*]"):
        for inner in _inside(value, of_dict=token == "*"):
            yield from _found(inner, rest)
    elif token[0] == "[":
        if isinstance(value, list | tuple) and (at := _number(token[1:-1])) is not None:
            elements = cast("list[Any]", value)
            if -len(elements) <= at < len(elements):
                yield from _found(elements[at], rest)
    elif isinstance(value, dict) and token in value:
        yield from _found(cast("dict[str, Any]", value)[token], rest)


def _inside(value: Any, *, of_dict: bool) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        yield from cast("list[Any]", value)
    elif isinstance(value, dict) and of_dict:
        yield from cast("dict[str, Any]", value).values()


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _parts(text: str) -> Iterator[str]:
    """Paths parted by commas that stand in no bracket of their own."""
    part, depth = "", 0
    for letter in text:
        depth += (letter in "{[") - (letter in "}]")
        if letter == "," and depth == 0:
            yield part.strip()
            part = ""
        else:
            part += letter
    if part.strip():
        yield part.strip()


def _text(found: Any) -> str | None:
    if found is None:
        return None
    if isinstance(found, str):
        return found
    return str(found) if isinstance(found, bool | int | float) else _json(found)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
