"""What tasks keep beside their outcomes while their superstep is open: results of `@task`s, claims and results of `once`.

A note is kept at once, whole, from whatever thread it is made in, and found again by its key when its task runs again. Where
nothing is kept the notes live as long as the superstep, so that a second try of a node finds them as well.
"""

from collections.abc import Callable, Mapping
from typing import Any

NOTHING: Any = object()


class Notes:
    """The notes of one superstep.

    Attributes:
        kept: whether they outlive the process.
    """

    __slots__ = ("_found", "_keep", "_made")

    def __init__(self, keep: Callable[[str, bytes], None] | None = None, found: Mapping[str, bytes] | None = None) -> None:
        self._keep = keep
        self._found = found or {}
        self._made: dict[str, Any] = {}

    @property
    def kept(self) -> bool:
        return self._keep is not None

    def get(self, key: str) -> Any:
        """The note of this key, NOTHING where there is none. Where notes outlive the process it is as it was when it was
        kept, whatever was done to its value since."""
        found = self._made.get(key, self._found.get(key, NOTHING))
        if found is NOTHING or not self.kept:
            return found
        from clew.checkpoint.codec import decode  # late: a graph that keeps nothing need not import what keeps

        return decode(found)

    def numbered(self, prefix: str) -> dict[int, Any]:
        """The notes whose key is `prefix` and a number, by that."""
        keys = [key for key in (*self._found, *self._made) if key.startswith(prefix)]
        return {int(key[len(prefix) :]): self.get(key) for key in keys if key[len(prefix) :].isdigit()}

    def keep(self, key: str, value: Any) -> None:
        """Keeps a note in place of the one that may be there; it is kept when this returns. It may block: on the async face it
        is to be called by `host.blocking`.

        Raises:
            UnstorableValue: nothing of it is kept. ThreadConflict: another run owns the thread by now.
        """
        if self._keep is not None:
            from clew.checkpoint.codec import encode

            value = encode(value)
            self._keep(key, value)
        self._made[key] = value
