"""The whole bridge to the sync face: a coroutine that never suspends is run to its end by one `send` (ADR 0001)."""

import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, Final, TypeVar

T = TypeVar("T")
NO_HOOKS: Final = (None, None)


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs `coroutine` to its end. Raises RuntimeError if it waits for something, which nothing on the sync face may.

    A running event loop (Jupyter's) does not get to see it: it would adopt every async generator that is begun inside, and
    close it with itself.
    """
    hooks = sys.get_asyncgen_hooks()
    adopting = hooks != NO_HOOKS
    if adopting:
        sys.set_asyncgen_hooks(None, None)
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    finally:
        if adopting:
            sys.set_asyncgen_hooks(*hooks)
    coroutine.close()
    raise _suspended(coroutine)


def _suspended(what: Any) -> RuntimeError:
    return RuntimeError(f"{what!r} suspended: something async was reached from the sync face. This is a bug in Clew.")


def iterate(events: AsyncIterator[T]) -> Iterator[T]:
    """Yields what `events` yields; closing it closes `events`."""
    steps: Any = events
    try:
        while True:
            hooks = sys.get_asyncgen_hooks()
            adopting = hooks != NO_HOOKS
            if adopting:
                sys.set_asyncgen_hooks(None, None)
            try:
                steps.__anext__().send(None)
            except StopIteration as done:
                event = done.value
            except StopAsyncIteration:
                return
            else:
                raise _suspended(events)
            finally:
                if adopting:
                    sys.set_asyncgen_hooks(*hooks)
            yield event
    finally:
        drive(steps.aclose())
