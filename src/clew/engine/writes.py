"""What a node returned, read as writes and targets. Pure; the only place that knows what a node may return."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, cast

from clew.constants import END, PREVIOUS, START
from clew.engine.plan import Plan
from clew.errors import EmptyInputError, InvalidUpdateError, ParentCommand, UnknownKeyWarning
from clew.nouns import maker
from clew.schema import ROOT, fields_of
from clew.types import Command, FinalValue, Nothing, Overwrite, Send, Write


class Returned(NamedTuple):
    """What a node returned: its writes as given, and where it said to go; edges are not looked at here.

    `by` is what stood in for the node, an error handler, and `failed` what it was told of; `cached`: nothing had to run.
    """

    writes: tuple[Write, ...]
    targets: tuple[str | Send, ...]
    by: str = ""
    failed: Exception | None = None
    cached: bool = False


class Yielded(list[Any]):
    """What a node yielded, one update after the other."""


NOTHING = Returned((), ())
_returned, write = maker(Returned), maker(Write)


def read_return(plan: Plan, node: str, returned: Any) -> Returned:
    """Reads what `node` returned: None, a dict, a schema instance, a Command, a Send, or a list with a Command among them.

    Raises:
        InvalidUpdateError: anything else, with what was found and what to return.
        UnknownNode: a Command or Send that names no node.
        ParentCommand: a Command for the graph around this one.
    """
    if plan.entry is not None:
        final = isinstance(returned, FinalValue)
        value, save = (returned.value, returned.save) if final else (returned, returned)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return Returned((Write(ROOT, value), Write(PREVIOUS, save)), ())
    if returned is None:
        return NOTHING
    if type(returned) is dict:
        pairs: Any = returned.items()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return _returned((read_update(plan, node, returned) if plan.root else _writes(plan, node, pairs), (), "", None, False))
    if isinstance(returned, Command):
        return _read_command(plan, node, cast("Command[Any]", returned))
    if isinstance(returned, Send):
        return Returned((), targets_of(plan, node, returned))
    if type(returned) is Yielded or (
        isinstance(returned, list | tuple) and any(isinstance(item, Command) for item in cast("Iterable[Any]", returned))
    ):
        parts = [read_return(plan, node, item) for item in cast("Iterable[Any]", returned)]
        return Returned(tuple(w for p in parts for w in p.writes), tuple(t for p in parts for t in p.targets))
    return Returned(read_update(plan, node, returned), ())


def read_update(plan: Plan, node: str, update: Any) -> tuple[Write, ...]:
    """Reads an update: a dict, a list of `(key, value)` pairs (in a Command), or an instance of the schema."""
    if plan.root:
        return (Write(ROOT, _plain(update)),)
    if type(update) is dict or isinstance(update, Mapping):
        pairs: Iterable[tuple[Any, Any]] = cast("Mapping[Any, Any]", update).items()
    elif (fields := fields_of(update)) is not None:
        pairs = fields.items()
    else:
        raise InvalidUpdateError(_nonsense(plan, node, update))
    return _writes(plan, node, pairs)


def _writes(plan: Plan, node: str, pairs: Iterable[tuple[Any, Any]]) -> tuple[Write, ...]:
    known = plan.given if node == START else plan.channels
    return tuple([write((k, _plain(v) if type(v) is dict else v)) for k, v in pairs if k in known or _warns(plan, node, k)])


def read_input(plan: Plan, given: Any) -> Returned:
    """Reads a run's input: an update of the keys that the input schema has, or a Command of writes and targets.

    Raises:
        InvalidUpdateError: nonsense; a Command for a graph around this one. UnknownNode: a Command that names no node.
        EmptyInputError: a Command with nothing in it.
    """
    if not isinstance(given, Command):
        return _returned((read_update(plan, START, given), (), "", None, False))
    command = cast("Command[Any]", given)
    if command.graph is not None:
        raise InvalidUpdateError(f"The input is a Command for the graph {command.graph!r}, and there is no parent graph.")
    found = _read_command(plan, START, command)
    if command.update is None and not found.targets and command.resume is Nothing.GIVEN:
        raise EmptyInputError("The input is a Command with nothing in it: give it `update=…`, `goto=…` or `resume=…`.")
    return found


def _plain(value: Any) -> Any:
    """A value as it was written; `Overwrite` where it is that in one of the forms that JSON has for it."""
    if type(value) is not dict:
        return value
    given = cast("dict[Any, Any]", value)
    if "__overwrite__" in given and len(given) == 1:
        return Overwrite(given["__overwrite__"])
    return Overwrite(given["value"]) if given.get("type") == "__overwrite__" and len(given) == 2 else given


def targets_of(plan: Plan, source: str, goto: Any) -> tuple[str | Send, ...]:
    """Reads where a Command or a router leads: a name, a Send, END, or a sequence of them. END leads nowhere.

    Raises:
        UnknownNode: there is no such node.
        InvalidUpdateError: not a target at all, or a Send to END.
    """
    found: list[str | Send] = []
    for target in cast("Iterable[Any]", goto) if isinstance(goto, list | tuple) else (goto,):
        if isinstance(target, Send):
            if target.node in (END, START):
                raise InvalidUpdateError(f"{source!r} sends to {target.node!r}, which runs nothing: send to a node.")
            name = plan.target(target.node, source)
            found.append(target if name == target.node else replace(target, node=name))
        elif isinstance(target, str) and target != START:
            if target != END:
                found.append(plan.target(target, source))
        else:
            raise InvalidUpdateError(
                f"{source!r} leads to {target!r}: expected a node name, END, a Send, or a list of those. To lead nowhere, "
                "return END or []."
            )
    return tuple(found)


def prepared(plan: Plan, writes: tuple[Write, ...]) -> tuple[Write, ...]:
    """The writes as they are kept and folded: what reducers declare as `prepare` has been done to them, once."""
    prepares = plan.prepares
    return tuple([write((one[0], _prepared(prepares[one[0]], one[1]))) if one[0] in prepares else one for one in writes])


def _prepared(prepare: Callable[[Any], Any], value: Any) -> Any:
    return Overwrite(prepare(value.value)) if type(value) is Overwrite else prepare(value)


def _read_command(plan: Plan, node: str, command: Command[Any]) -> Returned:
    if command.graph == Command.PARENT:
        raise ParentCommand(command)
    if command.graph is not None:
        raise InvalidUpdateError(
            f"{node!r} returned a Command for the graph {command.graph!r}: expected `graph=Command.PARENT`, or none."
        )
    update = command.update
    if update is None:
        writes: tuple[Write, ...] = ()
    elif isinstance(update, list | tuple) and not plan.root and all(map(_is_pair, cast("Iterable[Any]", update))):
        writes = _writes(plan, node, cast("Iterable[tuple[str, Any]]", update))
    else:
        writes = read_update(plan, node, update)
    return Returned(writes, targets_of(plan, node, command.goto) if command.goto != () else ())


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple | list) and len(cast("list[Any]", item)) == 2 and isinstance(item[0], str)


def _warns(plan: Plan, node: str, key: Any) -> bool:
    """Of a key that is left out."""
    known = plan.given if node == START else plan.channels
    warnings.warn(
        f"{'The input' if node == START else f'Node {node!r}'} wrote the key {key!r}, which the "
        f"{'input' if node == START else 'state'} does not have; it was left out. The keys are {sorted(known)}.",
        UnknownKeyWarning,
        stacklevel=2,
    )
    return False


def _nonsense(plan: Plan, node: str, update: Any) -> str:
    keys = ", ".join(repr(key) for key in list(plan.channels)[:3] if node != START or key in plan.given)
    if node == START:
        return f"Expected dict as input, got {update!r}: pass a dict of the state's keys ({keys}), or None to go on."
    return (
        f"Expected dict, got {update!r} from node {node!r}: return a dict with some of the state's keys ({keys}), "
        "an instance of the state, a Command, or None."
    )
