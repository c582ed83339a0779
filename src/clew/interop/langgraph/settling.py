"""Which messages a superstep has written. LangGraph keeps them as nodes have returned them, and in the state with the ids that
they got there; Clew keeps a message once, so what was written is what the state has since."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from clew.engine.apply import in_order, task_key
from clew.interop.langgraph.reading import Read
from clew.types import Result, Task, Write


def keys_of(found: Read) -> list[str]:
    """The keys of its tasks, in the order of its frontier."""
    frontier = found.checkpoint.frontier
    return [task_key(frontier, index) for index in range(len(frontier))]


def settled(before: Read, after: Read) -> dict[str, tuple[Task, Result]]:
    """The results of a superstep. Messages are those that the state has since, with the ids that they got there, so that they
    are kept once."""
    frontier = before.checkpoint.frontier
    keys = keys_of(before)
    results = [before.results.get(key) for key in keys]
    writes = {id(task): list(result.writes) for task, result in in_order(frontier, results)}
    for name, value in after.checkpoint.values.items():
        old = before.checkpoint.values.get(name, [])
        if type(value) is not list or type(old) is not list:
            continue
        grown = _grown(cast("list[Any]", old), cast("list[Any]", value))
        given = [(w, i, write.value) for w in writes.values() for i, write in enumerate(w) if write.key == name]
        if grown is None or sum(len(_several(given_)) for _, _, given_ in given) != len(grown):
            continue
        if not all(map(_same, [one for _, _, given_ in given for one in _several(given_)], grown)):
            continue
        for w, i, given_ in given:
            count = len(_several(given_))
            w[i] = Write(name, grown[:count])
            grown = grown[count:]
    return {
        key: (task, replace(result, writes=tuple(writes[id(task)])))
        for key, task, result in zip(keys, frontier, results, strict=True)
        if result is not None
    }


def _grown(old: list[Any], new: list[Any]) -> list[Any] | None:
    """What has been appended; None where something else was done."""
    same = len(new) > len(old) and all(before is after for before, after in zip(old, new, strict=False))
    return new[len(old) :] if same else None


def _several(given: Any) -> list[Any]:
    return cast("list[Any]", given) if isinstance(given, list) else [given]


def _same(given: Any, kept: Any) -> bool:
    """Whether `kept` is the message that was made of what a node wrote: an object without an id, a dict, a pair, a text."""
    if not type(kept).__module__.startswith("langchain_core.messages"):
        return False
    content = kept.content
    if type(given) is dict:
        return cast("dict[str, Any]", given).get("content") == content
    if isinstance(given, list | tuple):
        return cast("Sequence[Any]", given)[-1] == content
    return given == content if isinstance(given, str) else type(given) is type(kept) and given.content == content
