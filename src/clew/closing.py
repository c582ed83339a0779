"""What is closed at the end of a `with` or an `async with`: savers, stores and caches."""

from types import TracebackType
from typing import Self


class Closing:
    """Is closed when the block that it was opened for is left, whatever happened there."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
