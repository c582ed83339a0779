"""One superstep: a checkpoint and what its tasks produced go in, the next checkpoint comes out.

The rules of the stored frontier (DESIGN §5), pure. Only what ran and what was written is looked at, never the whole graph.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from clew.channels import CONTAINERS, MISSING, LastValue, own
from clew.constants import START
from clew.engine.plan import Plan, Station
from clew.errors import InvalidUpdateError
from clew.schema import State
from clew.types import Checkpoint, Join, Outcome, Overwrite, Result, Send, Task, Values

Ran: TypeAlias = Sequence[tuple[Task, Result]]
MANY: Final = 16
"""From how many keys on it pays to know what they hold."""


def task_key(frontier: Sequence[Task], index: int) -> str:
    """What names a task while its superstep is open: the node, or for a Send its number and node.

    Sends stand first in a frontier, so the index is the number.
    """
    task = frontier[index]
    return f"{index}:{task.node}" if task.sent else task.node


def taken_over(checkpoint: Checkpoint, checkpoint_id: bytes) -> Checkpoint:
    """The checkpoint with tasks that a later one can take over: each knows where it first stood."""
    frontier = checkpoint.frontier
    tasks = [replace(t, origin=t.origin or (checkpoint_id, task_key(frontier, i))) for i, t in enumerate(frontier)]
    return replace(checkpoint, frontier=tuple(tasks))


def in_order(frontier: Sequence[Task], results: Sequence[Result | None]) -> list[tuple[Task, Result]]:
    """The tasks that have a result, in the order their writes are applied: nodes by name, then Sends by number."""
    if len(results) == 1:
        return [] if results[0] is None else [(frontier[0], results[0])]
    pairs = [(frontier[index], result) for index, result in enumerate(results) if result is not None]
    if len(pairs) <= 1 or not pairs[0][0].sent:
        return pairs
    sends = sum(task.sent for task, _ in pairs)
    return pairs[sends:] + pairs[:sends]


def fold(plan: Plan, values: Values, ordered: Iterable[tuple[Task, Result]]) -> dict[str, Any]:
    """The values after one superstep's writes.

    Raises:
        InvalidUpdateError: two writers on a plain key. Whatever a reducer raises comes out with a note that names the key.
    """
    written: dict[str, list[Any]] = {}
    for _, result in ordered:
        for key, value in result.writes:
            if key in written:
                written[key].append(value)
            else:
                written[key] = [value]
    after, channels = State(values) if len(values) + len(written) >= MANY else dict(values), plan.channels
    for key, writes in written.items():
        channel, value = channels.get(key), writes[0]
        try:
            if type(channel) is LastValue and len(writes) == 1 and type(value) is not Overwrite:  # as it would, only sooner
                after[key] = value.copy() if type(value) in CONTAINERS else value
            elif channel is None:  # older code has written it: how its containers are folded is not known here
                if type(after.get(key)) not in CONTAINERS:
                    after[key] = own(writes[-1])
            elif type(value) is Overwrite or (len(writes) > 1 and Overwrite in map(type, writes)):
                after[key] = _overwritten(key, writes)
            else:
                after[key] = channel.fold(key, after.get(key, MISSING), writes)
        except Exception as error:
            if hasattr(error, "add_note"):
                error.add_note(f"While folding {len(writes)} write(s) into the key {key!r}")
            raise
    return _known(plan, after, values, written) if type(after) is State else after


def _known(plan: Plan, after: State, before: Values, written: Iterable[str]) -> State:
    """With what was known of the values before, and of those written since."""
    if type(before) is State and len(before) == len(after):
        after.held, after.order = before.held, before.order
    else:
        order = tuple(after)
        after.held, after.order, written = frozenset(), plan.state.keys if order == plan.state.keys else order, order
    changed = [key for key in written if (type(after[key]) in CONTAINERS) is not (key in after.held)]
    if changed:
        after.held ^= frozenset(changed)
    return after


def _overwritten(key: str, writes: list[Any]) -> Any:
    given = [write.value for write in writes if type(write) is Overwrite]
    if len(given) > 1:
        raise InvalidUpdateError(
            f"{len(given)} tasks overwrote the key {key!r} in one superstep: let one of them write an Overwrite."
        )
    return own(given[0])


def recorded(checkpoint: Checkpoint, records: Mapping[str, Outcome]) -> list[Result | None]:
    """Per task of the frontier its result, where one is on record."""
    frontier = checkpoint.frontier
    if not records:
        return [None] * len(frontier)
    found = [records.get(task_key(frontier, index)) for index in range(len(frontier))]
    return [outcome if isinstance(outcome, Result) else None for outcome in found]


def full(joins: Mapping[Join, frozenset[str]]) -> list[Join]:
    return [join for join, arrived in joins.items() if len(arrived) == len(join[0])]


def spend(joins: Mapping[Join, frozenset[str]], spent: set[str]) -> dict[Join, frozenset[str]]:
    """The joins without those that were full and whose target has run or was dropped; half arrived ones stay."""
    return {join: arrived for join, arrived in joins.items() if join[1] not in spent or len(arrived) < len(join[0])}


def apply(
    plan: Plan, checkpoint: Checkpoint, results: Sequence[Result | None], after: dict[str, Any] | None = None
) -> Checkpoint:
    """The checkpoint after the whole frontier of `checkpoint` has run; `results` stand in the frontier's order.

    `after` is what `fold` makes of them, where that is known already.
    """
    applied = stepped(plan, checkpoint, in_order(checkpoint.frontier, results), after=after)
    return faded(plan, applied, results) if plan.fleeting else applied


def faded(plan: Plan, after: Checkpoint, results: Sequence[Result | None]) -> Checkpoint:
    """Without the fleeting values that nobody has written in this superstep."""
    values = dict(after.values)
    for key in plan.fleeting:
        if not any(write.key == key for result in results if result for write in result.writes):
            values.pop(key, None)
    return replace(after, values=values)


def amend(plan: Plan, checkpoint: Checkpoint, results: Sequence[Result | None], added: Result) -> Checkpoint:
    """The checkpoint with `added` beside all that is pending: what `Command(update=, goto=)` as input does.

    Tasks that have a result have run; the others stay in the frontier. (LangGraph adds it to the checkpoint that is there and
    shows neither; this one is a checkpoint of its own.)
    """
    left = [task for task, result in zip(checkpoint.frontier, results, strict=True) if result is None]
    after = stepped(plan, checkpoint, [*in_order(checkpoint.frontier, results), (Task(START), added)], left)
    return replace(after, source="update", acted=checkpoint.acted)


def stepped(
    plan: Plan, before: Checkpoint, ordered: Ran, left: Sequence[Task] = (), after: dict[str, Any] | None = None
) -> Checkpoint:
    """The next frontier is the Sends in order, then by name the nodes reached and those whose join is complete; where that is
    empty, the deferred nodes that wait. `left` has not run and stays."""
    values = fold(plan, before.values, ordered) if after is None else after
    stations, joins, waiting, step = plan.stations, before.joins, before.waiting, before.step + 1
    if len(ordered) == 1 and not (left or joins or waiting or ordered[0][1].children):  # mostly so
        station = stations[ordered[0][0].node]
        targets = ordered[0][1].targets
        if (frontier := station.then if targets == station.edges else _named_alone(plan, station, targets)) is not None:
            return Checkpoint(values, frontier, joins, waiting, (station.task.node,), step, "loop", before.children)
    spent = {stations[task.node].name for task, _ in ordered if not task.sent}
    joins, waiting = spend(joins, spent), waiting - spent
    for task, _ in ordered:
        for join in stations[task.node].joins:
            joins[join] = joins.get(join, frozenset()) | {stations[task.node].name}
    led = [target for _, result in ordered for target in result.targets]
    named = {target for target in led if isinstance(target, str)}.union([target for _, target in full(joins)])
    waiting |= named & plan.deferred
    reached = {name: stations[name].task for name in named - plan.deferred}
    reached |= {task.node: task for task in left if not task.sent}
    sends = [task for task in left if task.sent]
    sends += [Task(target.node, target.arg, True, target.timeout) for target in led if not isinstance(target, str)]
    if waiting and not reached and not sends:
        reached = {name: stations[name].task for name in waiting}
    frontier = (*sends, *[reached[name] for name in sorted(reached)])
    acted = tuple(sorted({stations[task.node].name for task, _ in ordered}))
    return Checkpoint(values, frontier, joins, waiting, acted, step, "loop", _with_children(before.children, ordered))


def _named_alone(plan: Plan, station: Station, targets: Sequence[str | Send]) -> tuple[Task, ...] | None:
    """The frontier after the only one that ran, where one name says that; None where more has to be looked at."""
    if len(targets) != 1 or not isinstance(targets[0], str) or station.joins or targets[0] in plan.deferred:
        return None
    return (plan.stations[targets[0]].task,)


def _with_children(before: Mapping[str, bytes], ordered: Ran) -> Mapping[str, bytes]:
    found = [result.children for _, result in ordered if result.children]
    return dict(before, **{ns: id_ for children in found for ns, id_ in children.items()}) if found else before
