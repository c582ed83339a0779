"""What coroutines of a user await that is no run: blocking work, in a thread beside their loop; and what is done already."""

from collections.abc import Callable, Generator
from typing import Any, Self, TypeVar

T = TypeVar("T")


async def aside(fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Calls what blocks in a worker thread."""
    import asyncio  # late: it is most of what importing Clew would cost

    return await asyncio.to_thread(fn, *args, **kwargs)


class Done:
    """What may be awaited, and is done already: for whoever is used to an object whose methods are async."""

    def __await__(self) -> Generator[Any, None, Self]:
        return self
        yield  # a generator, that never waits
