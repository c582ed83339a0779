"""Editing threads from outside, for `update_state`: the writes are read, the routers asked, and one checkpoint is committed."""

from collections.abc import Sequence
from typing import Any, Final

from clew.checkpoint.base import Saver
from clew.checkpoint.journal import Journal
from clew.constants import END, START
from clew.engine import edit
from clew.engine.apply import recorded
from clew.engine.migrate import current
from clew.engine.snapshot import Place
from clew.engine.start import begin, fork
from clew.engine.stored import stored_result
from clew.engine.writes import prepared, read_input, read_return
from clew.errors import CheckpointNotFound, InvalidUpdateError, ThreadConflict
from clew.runtime.attempt import Program, led
from clew.runtime.context import TaskContext
from clew.runtime.door import busy, mended, only_mended
from clew.runtime.entrance import committed, warn_of_dropped
from clew.runtime.host import Host
from clew.runtime.scope import Scope
from clew.runtime.settings import Settings
from clew.types import Checkpoint, Result, Saved, StateUpdate, Task

INPUT: Final = "__input__"
COPY: Final = "__copy__"


async def update_state(
    program: Program, saver: Saver, host: Host, settings: Settings, supersteps: Sequence[Sequence[StateUpdate]]
) -> dict[str, Any]:
    """Commits one checkpoint for each of the supersteps, each a list of updates; returns the config of the last."""
    _check(supersteps)
    journal = saver.journal(host, settings.thread or "", settings.ns)
    while True:
        try:
            saved = await _edited(program, host, settings, journal, supersteps)
            break
        except ThreadConflict:
            if not await only_mended(journal):
                raise
        finally:
            await journal.flush()
            journal.hold.let_go()
    saver.release(journal)
    return Place(settings.thread or "", settings.ns).config(saved.id)


async def _edited(
    program: Program, host: Host, settings: Settings, journal: Journal, supersteps: Sequence[Sequence[StateUpdate]]
) -> Saved:
    saved = await journal.open(settings.checkpoint)
    if journal.hold.mended:
        saved = await mended(journal, host, settings.checkpoint)
    if journal.hold.busy:
        raise busy(journal.thread)
    if settings.ns and saved is None:
        raise CheckpointNotFound(
            f"Thread {settings.thread!r} has nothing in the namespace {settings.ns!r} that could be edited: pass the config of "
            "a task's state, as in `graph.get_state(config, subgraphs=True).tasks[0].state.config`."
        )
    stopped = saved is not None and saved.stopped
    journal.leasing = len(supersteps) > 1 or stopped  # nobody is to come between
    for updates in supersteps:
        saved = await _superstep(program, host, settings, journal, saved, updates)
    if stopped:  # whoever stopped there has edited it: the run that goes on need not stop for that again
        journal.stop()
        await journal.keep(last=True)
    assert saved is not None
    return saved


def _check(supersteps: Sequence[Sequence[StateUpdate]]) -> None:
    if not supersteps:
        raise ValueError("No supersteps provided: expected a list of lists of `StateUpdate(values, as_node)`.")
    for updates in supersteps:
        if not updates:
            raise ValueError("No updates provided: each superstep needs one `StateUpdate(values, as_node)` at least.")
        if len(updates) > 1 and any(update.as_node is None for update in updates):
            raise InvalidUpdateError("Several updates in one superstep: say of each whose it is, with `as_node`.")


async def _superstep(
    program: Program,
    host: Host,
    settings: Settings,
    journal: Journal,
    saved: Saved | None,
    updates: Sequence[StateUpdate],
) -> Saved:
    plan = program.plan
    saved = current(plan, saved) if saved else None
    parent = saved.checkpoint if saved else None
    first = updates[0]
    if first.as_node == END:
        after = _cleared(program, saved, first)
    elif first.as_node == COPY:
        after = fork(plan, parent or Checkpoint(plan.initial()), settings.thread)
    elif first.as_node == INPUT:
        given = read_input(plan, first.values)
        after = begin(plan, parent, prepared(plan, given.writes))
    else:
        warn_of_dropped("update", settings, saved)
        edits = [await _edit(program, host, settings, parent, update) for update in updates]
        after = edit.update(plan, parent, edits)
        if plan.check is not None:
            plan.check(after.values, {write.key for _, result in edits for write in result.writes})
        for name, result in edits:  # under a key that no task has: it stands beside them, for none of them ran
            journal.take(f"!|{name}", Task("" if name == START else name), stored_result(plan, result))
    return await committed(program, settings, journal, after)


def _cleared(program: Program, saved: Saved | None, update: StateUpdate) -> Checkpoint:
    if update.values is not None:
        raise InvalidUpdateError(f"Cannot apply updates when clearing state: as_node=END takes None, got {update.values!r}.")
    if saved is None:
        raise InvalidUpdateError("The thread has nothing that could be cleared: it has no checkpoint.")
    return edit.clear(program.plan, saved.checkpoint, recorded(saved.checkpoint, saved.records))


async def _edit(
    program: Program, host: Host, settings: Settings, parent: Checkpoint | None, update: StateUpdate
) -> tuple[str, Result]:
    """What the node would have produced, had it returned `update.values`: its writes, and where it leads."""
    plan = program.plan
    name = edit.stand_in(plan, parent) if update.as_node is None else plan.current(update.as_node)
    if name not in program.nodes:
        raise InvalidUpdateError(f"Node {update.as_node!r} does not exist. {plan.known()}")
    node = program.nodes[name]
    returned = read_input(plan, update.values or {}) if name == START else read_return(plan, name, update.values)
    writes = prepared(plan, returned.writes)
    values = plan.completed(parent.values if parent else plan.initial())
    scope = Scope(host, settings)
    scope.begin(parent or Checkpoint({}))
    context = TaskContext(scope, name, name, settings.recursion_limit, node.metadata)
    context.triggers = node.triggers
    return name, Result(writes, returned.targets + await led(plan, node, host, Task(name), values, context, writes))
