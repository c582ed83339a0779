"""The indexes of a saver's collections."""

from typing import Final

from clew.clients.mongodb import Connected

INDEXES: Final = {
    "clew_commits": ([("hn", 1), ("_id", -1)], [("rows.k", 1)], [("kept.k", 1)], [("items.k", 1)], [("parts", 1)]),
    "clew_parts": ([("items.k", 1)], [("t", 1)]),
}


def made(connected: Connected) -> None:
    """Makes them where they are missing."""
    for name, indexes in INDEXES.items():
        for keys in indexes:
            connected.collection(name).create_index(keys, **({"sparse": True} if keys[0][0] in ("hn", "parts") else {}))
