"""The indexes of a saver's collections."""

from typing import Any, Final

from clew.clients.mongodb import Connected

INDEXES: Final = {"clew_threads": ("no", "gone", "erased"), "clew_commits": ("q", "o", "i", "p", "g", "s", "ev.u")}
LOGS: Final[dict[str, Any]] = {"ev.h": {"$exists": True}}


def made(connected: Connected) -> None:
    """Makes them where they are missing."""
    for name, fields in INDEXES.items():
        for one in fields:
            connected.collection(name).create_index([(one, 1)], sparse=True, unique=one == "no")
    connected.collection("clew_commits").create_index([("m", 1), ("_id", 1)])
    connected.collection("clew_commits").create_index([("ev.h", 1), ("_id", 1)], partialFilterExpression=LOGS)
