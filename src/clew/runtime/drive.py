"""The whole bridge to the sync face: a coroutine that never suspends is run to its end by one `send` (ADR 0001)."""

import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar

T = TypeVar("T")
NO_HOOKS: Final = (None, None)


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs `coroutine` to its end. Raises RuntimeError if it waits for something, which nothing on the sync face may."""
    try:
        coroutine.send(None) if sys.get_asyncgen_hooks() == NO_HOOKS else _unseen(lambda: coroutine.send(None))
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise _suspended(coroutine)


def _unseen(step: Callable[[], Any]) -> None:
    """Takes a step in a thread with a running event loop (Jupyter's), which does not get to see it: it would adopt every async
    generator that is begun inside, and close it with itself."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        step()
    finally:
        sys.set_asyncgen_hooks(*hooks)


def _suspended(what: Any) -> RuntimeError:
    return RuntimeError(f"{what!r} suspended: something async was reached from the sync face. This is a bug in Clew.")


def iterate(events: AsyncIterator[T]) -> Iterator[T]:
    """Yields what `events` yields; closing it closes `events`."""
    steps: Any = events
    try:
        while True:
            try:  # what is to be hidden is looked for by `__anext__`
                if sys.get_asyncgen_hooks() == NO_HOOKS:
                    steps.__anext__().send(None)
                else:
                    _unseen(lambda: steps.__anext__().send(None))
            except StopIteration as done:
                event = done.value
            except StopAsyncIteration:
                return
            else:
                raise _suspended(events)
            yield event
    finally:
        drive(steps.aclose())
