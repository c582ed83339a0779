"""The classic interface of a saver: the class that people subclass for a database of their own, and the shapes it speaks in.

A saver of Clew's own is a `clew.checkpoint.base.Saver`, over a storage; one that derives from `BaseCheckpointSaver` keeps whole
checkpoints instead, and runs under the engine through `clew.checkpoint.foreign`.
"""

import copy
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, Generic, Literal, NamedTuple, Self, TypeAlias, TypedDict, TypeVar, cast

from clew.checkpoint.serde.base import SerializerProtocol, typed
from clew.checkpoint.serde.jsonplus import JsonPlusSerializer
from clew.ids import id_text, new_checkpoint_id

V = TypeVar("V", int, float, str)

ERROR, SCHEDULED, INTERRUPT, RESUME = "__error__", "__scheduled__", "__interrupt__", "__resume__"
WRITES_IDX_MAP: Final[dict[str, int]] = {ERROR: -1, SCHEDULED: -2, INTERRUPT: -3, RESUME: -4}
"""Channels whose write has one place in its task, whatever stands beside it; any other has its index in the list."""

EXCLUDED_METADATA_KEYS: Final = frozenset({
    "thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map", "langgraph_step", "langgraph_node", "langgraph_triggers",
    "langgraph_path", "langgraph_checkpoint_ns",
})  # fmt: skip
"""Keys of a config that say where a run is, not what it is about."""

FORMAT: Final = 4

PendingWrite: TypeAlias = tuple[str, str, Any]
"""The id of a task, a channel, and what the task wrote there."""
ChannelVersions: TypeAlias = dict[str, str | int | float]
Strategy: TypeAlias = Literal["keep_latest", "delete"]


class Checkpoint(TypedDict):
    """A thread between two supersteps.

    Attributes:
        v: which format this is. id: greater than the one before; the newest checkpoint of a thread has the greatest.
        ts: when it was made, in ISO 8601.
        channel_values: the state. channel_versions: of each channel when it was written last; only compared.
        versions_seen: by node the versions that it has run on. updated_channels: those that the last superstep wrote.
    """

    v: int
    id: str
    ts: str
    channel_values: dict[str, Any]
    channel_versions: ChannelVersions
    versions_seen: dict[str, ChannelVersions]
    updated_channels: list[str] | None


class CheckpointMetadata(TypedDict, total=False):
    """What is known of a checkpoint besides. Scalars of the config's `metadata` stand beside these.

    Attributes:
        source: `input`, `loop`, `update` or `fork`. step: -1 for a thread's first input, then one more each time.
        parents: by namespace the checkpoints of the graphs around this one. run_id: of the run.
    """

    source: str
    step: int
    parents: dict[str, str]
    run_id: str


class CheckpointTuple(NamedTuple):
    """A checkpoint with all that belongs to it.

    `config` names it by `thread_id`, `checkpoint_ns` and `checkpoint_id`, and `parent_config` the one it grew from.
    """

    config: Any
    checkpoint: Checkpoint
    metadata: CheckpointMetadata
    parent_config: Any = None
    pending_writes: list[PendingWrite] | None = None


def get_checkpoint_id(config: Any) -> str | None:
    """The checkpoint that a config names; None for the newest."""
    return config["configurable"].get("checkpoint_id")


def get_checkpoint_metadata(config: Any, metadata: CheckpointMetadata) -> CheckpointMetadata:
    """The metadata with the scalars of the config's `metadata` and `configurable`, which stand behind; no NUL characters."""
    found: dict[str, Any] = {key: _clean(value) for key, value in metadata.items()}
    for given in (config.get("metadata"), config.get("configurable")):
        for key, value in cast("dict[str, Any]", given or {}).items():
            known = key in found or key in EXCLUDED_METADATA_KEYS or key.startswith("__")
            if not known and isinstance(value, str | int | float):
                found[key] = _clean(value)
    return cast("CheckpointMetadata", found)


def _clean(value: Any) -> Any:
    return value.replace("\0", "") if isinstance(value, str) else value


get_serializable_checkpoint_metadata = get_checkpoint_metadata


def writes_sort_key(task_path: str, task_id: str = "", idx: int = 0) -> tuple[str, str, int]:
    """What the writes of one superstep are ordered by."""
    return task_path, task_id, idx


def copy_checkpoint(checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint whose containers are its own; the values in them are the same."""
    made = dict(checkpoint)
    for key in ("channel_values", "channel_versions"):
        made[key] = dict(checkpoint[key])
    made["versions_seen"] = {node: dict(seen) for node, seen in checkpoint["versions_seen"].items()}
    return cast("Checkpoint", made)


def empty_checkpoint() -> Checkpoint:
    """A checkpoint that holds nothing, with an id and a time."""
    return checkpoint_of(id_text(new_checkpoint_id()), None, {}, {})


def checkpoint_of(id_: str, ts: str | None, values: Mapping[str, Any], versions: Mapping[str, Any]) -> Checkpoint:
    """A checkpoint as a dict; without a `ts`, of now."""
    from datetime import UTC, datetime  # late: whoever only keeps needs no calendar

    return {
        "v": FORMAT,
        "id": id_,
        "ts": ts or datetime.now(UTC).isoformat(),
        "channel_values": dict(values),
        "channel_versions": dict(versions),
        "versions_seen": {},
        "updated_channels": None,
    }


class BaseCheckpointSaver(Generic[V]):
    """A saver for a database of your own: implement `get_tuple`, `list`, `put` and `put_writes`, or their `a…` twins, or both.

    Pass it to `compile(checkpointer=…)`. Sync methods serve both faces, async ones `ainvoke` and its kind only. Checkpoints are
    whole, and nothing keeps two runs apart that are at work on one thread; a storage of your own under `Saver` has neither
    limit.

    Attributes:
        serde: what turns values into bytes; by default Clew's codec.
    """

    serde: SerializerProtocol = JsonPlusSerializer()
    config_specs: ClassVar[Sequence[Any]] = ()

    def __init__(self, *, serde: Any = None) -> None:
        if serde is not None:
            self.serde = typed(serde)

    def get(self, config: Any) -> Checkpoint | None:
        """The checkpoint of `get_tuple`."""
        found = self.get_tuple(config)
        return found.checkpoint if found else None

    def get_tuple(self, config: Any) -> CheckpointTuple | None:
        """The checkpoint that the config names by `checkpoint_id`, else the newest of `thread_id` in `checkpoint_ns` (default
        `""`), with all pending writes; None where there is none."""
        raise self._missing("get_tuple")

    def list(
        self, config: Any, *, filter: dict[str, Any] | None = None, before: Any = None, limit: int | None = None
    ) -> Iterator[CheckpointTuple]:
        """Checkpoints, newest first: of all threads where the config is None, of all namespaces where it names none.

        Args:
            filter: only those whose metadata has all of these. before: a config; only those older than the one it names.
            limit: how many at most.
        """
        raise self._missing("list")

    def put(self, config: Any, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions) -> Any:
        """Keeps a checkpoint, in place of the one with the same id. Returns its config.

        Args:
            config: names thread and namespace, and by `checkpoint_id` the one it grew from.
            new_versions: the channels that have changed since that.
        """
        raise self._missing("put")

    def put_writes(self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        """Keeps what a task of the checkpoint that the config names has written. Each write has its place in the task
        (`WRITES_IDX_MAP`, else its index). Where all channels are of `WRITES_IDX_MAP` they replace what stands there, otherwise
        what stands there stays."""
        raise self._missing("put_writes")

    def delete_thread(self, thread_id: str) -> None:
        """Deletes all of a thread."""
        raise self._missing("delete_thread")

    def delete_for_runs(self, run_ids: Sequence[str]) -> Any:
        """Deletes the checkpoints that these runs made, by their metadata's `run_id`."""
        raise self._missing("delete_for_runs")

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> Any:
        """Copies a thread with its history."""
        raise self._missing("copy_thread")

    def prune(self, thread_ids: Sequence[str], *, strategy: Strategy = "keep_latest") -> Any:
        """Deletes all checkpoints of these threads but the newest of each namespace; with `"delete"` those as well."""
        raise self._missing("prune")

    async def aget(self, config: Any) -> Checkpoint | None:
        """`get`, awaited."""
        found = await self.aget_tuple(config)
        return found.checkpoint if found else None

    async def aget_tuple(self, config: Any) -> CheckpointTuple | None:
        """`get_tuple`, awaited."""
        raise self._missing("aget_tuple")

    async def alist(
        self, config: Any, *, filter: dict[str, Any] | None = None, before: Any = None, limit: int | None = None
    ) -> AsyncIterator[CheckpointTuple]:
        """`list`, as an async iterator."""
        raise self._missing("alist")
        yield  # so that this is one

    async def aput(
        self, config: Any, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> Any:
        """`put`, awaited."""
        raise self._missing("aput")

    async def aput_writes(self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        """`put_writes`, awaited."""
        raise self._missing("aput_writes")

    async def adelete_thread(self, thread_id: str) -> None:
        """`delete_thread`, awaited."""
        raise self._missing("adelete_thread")

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> Any:
        """`delete_for_runs`, awaited."""
        raise self._missing("adelete_for_runs")

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> Any:
        """`copy_thread`, awaited."""
        raise self._missing("acopy_thread")

    async def aprune(self, thread_ids: Sequence[str], *, strategy: Strategy = "keep_latest") -> Any:
        """`prune`, awaited."""
        raise self._missing("aprune")

    def get_next_version(self, current: V | None, channel: None) -> V:
        """The version that comes after `current`; None is before the first. Of strings a saver has to say itself."""
        if isinstance(current, str):
            raise self._missing("get_next_version")
        return cast("V", 1 if current is None else current + 1)

    def with_allowlist(self, extra: Any) -> Self:
        """The same saver: what may be read is said by `clew.register` and the graph's schemas, for all of them."""
        return copy.copy(self)

    def _missing(self, verb: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} has no {verb!r}.")
