"""Names with a meaning of their own. Nothing here but constants; imports nothing of ours."""

from typing import Final

START: Final = "__start__"
"""The virtual node before the first: edges from it say where a run enters."""

END: Final = "__end__"
"""The virtual node after the last: a route to it leads nowhere."""

TAG_NOSTREAM: Final = "nostream"
"""A model tagged so does not stream its tokens."""

TAG_HIDDEN: Final = "langsmith:hidden"
"""A node tagged so is left out of streams and traces."""

PREVIOUS: Final = "__previous__"
"""The key under which an `@entrypoint` keeps what its next run is given as `previous`."""

FIRST: Final = -1
LAST: Final = 1
"""What an event that is kept says of the task that told it: that it has begun, that it has ended."""

RESERVED_NAMES: Final = frozenset(
    {START, END, "__input__", "__interrupt__", "__resume__", "__error__", "__root__", PREVIOUS, "configurable"}
)
"""Names that neither a node nor a key of the state may have."""
