"""Names as PostgreSQL keeps them: bytes, for text there cannot hold every one."""

import re
from typing import Final
from uuid import UUID

TASK: Final = re.compile(rb":([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})")
"""In the namespace of a graph inside a task, the task's id."""
PACKED: Final = re.compile(rb"\xff(.{16})", re.DOTALL)
"""The same, after a byte that no text has."""


def name_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def text_of(name: bytes) -> str:
    return name.decode("utf-8", "surrogatepass")


def packed(ns: str) -> bytes:
    """A namespace, in fewer bytes."""
    return TASK.sub(lambda task: b"\xff" + bytes.fromhex(task[1].replace(b"-", b"").decode()), name_of(ns)) if ns else b""


def unpacked(ns: bytes) -> str:
    return text_of(PACKED.sub(lambda task: b":" + str(UUID(bytes=task[1])).encode(), ns))
