"""Tokens of LangChain's chat models, on their way to the readers of `stream_mode="messages"`.

A handler that can tap what is streamed makes a model stream that is merely invoked (LangChain's own rule).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from uuid import UUID

from clew.interop.callbacks import OfTask

NOSTREAM: Final = "nostream"
"""The tag of models whose tokens nobody is to see."""
OF_SEQUENCES: Final = "seq:step"
T = TypeVar("T")


class Call:
    """One call of a model: what is said of its tokens, and the id that they had so far."""

    __slots__ = ("id", "metadata")

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self.metadata = metadata
        self.id: str | None = None


class Tokens(OfTask):
    """Hands on the tokens of models that are called inside one task.

    Args:
        tell: takes a pair: a message or a chunk of one, and its metadata. told: ids of the messages that readers know of; it
            grows. metadata: of the task.
    """

    ignore_llm = False  # pyright: ignore  (asked for each token: no call)

    def __init__(
        self, tell: Callable[[tuple[Any, Mapping[str, Any]]], None], told: set[str], metadata: Mapping[str, Any]
    ) -> None:
        self._tell = tell
        self._told = told
        self._metadata = metadata
        self._calls: dict[UUID, Call] = {}
        self.on_llm_new_token = _hearing(self._calls, tell, told)

    def on_chat_model_start(
        self,
        serialized: Any,
        messages: Any,
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if tags and NOSTREAM in tags:
            return
        shown = [tag for tag in tags or () if not tag.startswith(OF_SEQUENCES)]
        self._calls[run_id] = Call({**self._metadata, **(metadata or {}), **({"tags": shown} if shown else {})})

    def on_llm_end(self, response: Any, *, run_id: UUID, **_: Any) -> None:
        """Where it has not streamed, its message is the only token it has."""
        call = self._calls.pop(run_id, None)
        message = getattr(response.generations[0][0], "message", None) if response.generations[0] else None
        if call is None or message is None:
            return
        if call.id is None and message.id not in self._told:
            self._tell((message, call.metadata))
        self._told.add(message.id)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self._calls.pop(run_id, None)

    def tap_output_iter(self, run_id: UUID, output: T) -> T:
        return output

    def tap_output_aiter(self, run_id: UUID, output: T) -> T:
        return output


def _hearing(
    calls: Mapping[UUID, Call], tell: Callable[[tuple[Any, Mapping[str, Any]]], None], told: set[str]
) -> Callable[..., None]:
    """What takes the tokens of these calls. A function with what it needs at hand: it is called for each of them."""
    last: tuple[UUID | None, Call | None] = (None, None)

    def on_llm_new_token(
        token: Any, *, chunk: Any = None, run_id: UUID, parent_run_id: Any = None, tags: Any = None, **_: Any
    ) -> None:
        nonlocal last
        known, call = last
        if known is not run_id:  # mostly it is, and a UUID is dear to look up
            call = calls.get(run_id)
            last = run_id, call
        if call is None or chunk is None:
            return
        message = chunk.message
        if message.id != call.id:
            call.id = message.id
            told.add(message.id)
        tell((message, call.metadata))

    return on_llm_new_token
