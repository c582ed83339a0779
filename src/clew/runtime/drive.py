"""The whole bridge to the sync face: a coroutine that never suspends is run to its end by one `send` (ADR 0001)."""

import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs `coroutine` to its end. Raises RuntimeError if it waits for something, which nothing on the sync face may.

    A running event loop (Jupyter's) does not get to see it: it would adopt every async generator that is begun inside, and
    close it with itself.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    finally:
        sys.set_asyncgen_hooks(*hooks)
        coroutine.close()
    raise RuntimeError(f"{coroutine!r} suspended: something async was reached from the sync face. This is a bug in Clew.")


def iterate(events: AsyncIterator[T]) -> Iterator[T]:
    """Yields what `events` yields; closing it closes `events`."""
    steps: Any = events
    try:
        while True:
            try:
                event = drive(steps.__anext__())
            except StopAsyncIteration:
                return
            yield event
    finally:
        drive(steps.aclose())
