"""A config as callers write it, read once at the face into what a run needs. No open dict goes further than this."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final, cast

from clew.errors import CheckpointNotFound, MissingThreadId
from clew.ids import id_bytes
from clew.nouns import noun
from clew.types import Config

RECURSION_LIMIT: Final = 10_007
KEYS: Final = frozenset(Config.__annotations__)
RESERVED: Final = frozenset({"thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map"})


@noun
class Settings:
    """What a caller's config says.

    Attributes:
        thread: the thread's name, None where the config has none. checkpoint: the id to begin from, None for the newest.
        metadata: the scalars of `metadata` and of the caller's own `configurable` keys, kept with each checkpoint.
        configurable: as given. given: the whole config, as given.
    """

    thread: str | None = None
    checkpoint: bytes | None = None
    ns: str = ""
    recursion_limit: int = RECURSION_LIMIT
    max_concurrency: int | None = None
    metadata: Mapping[str, Any] | None = None
    configurable: Mapping[str, Any] = field(default_factory=dict[str, Any])
    given: Mapping[str, Any] = field(default_factory=dict[str, Any])


def read_settings(config: Any, *, kept: bool) -> Settings:
    """Reads a config; `kept` says that the graph has a saver, which needs a thread.

    Raises:
        MissingThreadId: it has no thread, and needs one.
        CheckpointNotFound: `checkpoint_id` is not an id.
        ValueError, TypeError: a value that cannot be meant.
    """
    if config is None:
        config = {}
    if type(config) is not dict and not isinstance(config, Mapping):
        raise TypeError(f'Expected a config dict such as {{"configurable": {{"thread_id": "1"}}}}, got {config!r}.')
    given = cast("Mapping[str, Any]", config)
    configurable: Mapping[str, Any] = given.get("configurable") or {}
    thread = configurable.get("thread_id")
    if kept and (thread is None or thread == ""):
        raise MissingThreadId(
            f"The graph has a checkpointer, and the config names no thread: found {dict(given)!r}, expected something like "
            '{"configurable": {"thread_id": "1"}}.'
        )
    checkpoint = configurable.get("checkpoint_id")
    checkpoint_id = id_bytes(checkpoint) if checkpoint else None
    if checkpoint and checkpoint_id is None:
        raise CheckpointNotFound(
            f"{checkpoint!r} is not a checkpoint id: expected one like '0198c0de-…' from `get_state(config).config`."
        )
    limit = given.get("recursion_limit", RECURSION_LIMIT)
    if not isinstance(limit, int) or limit < 1:
        raise ValueError(f"recursion_limit is {limit!r}: expected a whole number of supersteps, 1 at least.")
    many = given.get("max_concurrency")
    if many is not None and (not isinstance(many, int) or many < 0):
        raise ValueError(f"max_concurrency is {many!r}: expected how many tasks may run at once, or None for all.")
    return Settings(
        None if thread is None else str(thread),
        checkpoint_id,
        configurable.get("checkpoint_ns") or "",
        limit,
        many,
        _scalars(given.get("metadata"), configurable) if given.get("metadata") or len(configurable) > 1 else None,
        configurable,
        given,
    )


def merged(base: Mapping[str, Any] | None, over: Any) -> Any:
    """A config laid over another: `configurable` and `metadata` by key, `tags` by name, the rest replaced.

    A key that no config has goes to the `configurable` ones.
    """
    if not base or not isinstance(over, Mapping | None):
        return over if over or not base else base
    found = dict(base)
    for key, value in cast("Mapping[str, Any]", over or {}).items():
        if key in ("configurable", "metadata"):
            found[key] = {**(found.get(key) or {}), **(value or {})}
        elif key == "tags":
            before: list[str] = found.get(key) or []
            found[key] = list(dict.fromkeys([*before, *(value or [])]))
        elif key in KEYS:
            found[key] = value
        else:
            found["configurable"] = {**(found.get("configurable") or {}), key: value}
    return found


def _scalars(metadata: Mapping[str, Any] | None, configurable: Mapping[str, Any]) -> dict[str, Any]:
    own = {key: value for key, value in configurable.items() if key not in RESERVED and not key.startswith("__")}
    return {key: value for key, value in {**own, **(metadata or {})}.items() if type(value) in (str, int, bool, float)}
