"""What code inside a node finds without having been handed it: the config, the store, the stream writer."""

from typing import TYPE_CHECKING, Any

from clew.types import RUNNING, Running, StreamWriter

if TYPE_CHECKING:
    from clew.store.base import BaseStore


def get_config() -> dict[str, Any]:
    """The config of the task now running. Raises RuntimeError outside of one."""
    return running("get_config").config


def get_store() -> "BaseStore | None":
    """The store of the graph now running, None where it has none. Raises RuntimeError outside of a task."""
    return running("get_store").runtime.store


def get_stream_writer() -> StreamWriter:
    """What hands chunks to readers of `stream_mode="custom"`. Raises RuntimeError outside of a task."""
    return running("get_stream_writer").write


def running(asked: str) -> Running:
    task = RUNNING.get()
    if task is None:
        raise RuntimeError(
            f"{asked}() was called outside of a node: call it in a function that a graph runs, in its own thread or task, or "
            "in one that was started with a copy of its context."
        )
    return task
