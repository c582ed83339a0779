"""What a tool may return as it is, as far as langchain-core's tools can tell. It is not imported here."""

from typing import Any


class _Plain:
    """Python lets the bases of a class be changed where they are not `object` itself."""


class ToolOutput(_Plain):
    """Is a `Command`. Once langchain-core is in use this derives from its class of what its tools must not turn into text."""


def derive_from(kind: Any) -> None:
    """Makes it a kind of another class, which has no code and no fields; objects that exist already are included."""
    if ToolOutput.__bases__ != (kind,):  # to set them again would cost every compile a tenth of a millisecond
        ToolOutput.__bases__ = (kind,)
