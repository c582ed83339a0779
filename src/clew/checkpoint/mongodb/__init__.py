"""Threads kept in MongoDB, or what speaks its protocol; a server that stands alone will do. How is told in `storage`."""

from typing import Any, Final, Self

from clew.awaited import Done
from clew.checkpoint.base import LEASE, Saver
from clew.checkpoint.crypt import Encryption
from clew.checkpoint.mongodb.indexes import made
from clew.checkpoint.mongodb.storage import MongoStorage
from clew.checkpoint.retention import Retention
from clew.checkpoint.through import Reconnecting
from clew.clients.mongodb import LOST, Connected, User

USER: Final = User("MongoDBSaver", "saver", "Keep what is large in the state: outcomes of tasks are")


class MongoDBSaver(Saver):
    """Keeps threads in MongoDB, alone, as a replica set, or sharded; each commit is in the journal of a majority before it is
    heard of. No state is too large: what is above 8 MB is in several documents.

    Args:
        client: a URL, or a `MongoClient` of pymongo, which is used and left open; an `AsyncMongoClient` tells how to connect.
        db_name: the database; made where there is none. Its collections begin with `clew_`.
        patience: seconds for which a call is made again while the server cannot be reached. lease, encryption, retention,
            serde: see `Saver`; old threads are deleted by `retention`.

    Raises:
        TypeError: `client` is none of these. DatabaseError: on use, where the server refuses or cannot be reached.
    """

    def __init__(
        self,
        client: Any,
        db_name: str = "checkpointing_db",
        *,
        patience: float = 30.0,
        lease: float = LEASE,
        encryption: Encryption | None = None,
        retention: Retention | None = None,
        serde: object = None,
    ) -> None:
        self.rows = MongoStorage(Connected(client, db_name, USER, made))
        super().__init__(
            Reconnecting(self.rows, LOST, patience), lease=lease, encryption=encryption, retention=retention, serde=serde
        )

    @classmethod
    def from_conn_string(cls, conn_string: str, db_name: str = "checkpointing_db", **options: Any) -> Self:
        """A saver of this URL, to be used as `with MongoDBSaver.from_conn_string("mongodb://localhost") as saver:` (or
        `async with`). Options: see the class."""
        return cls(conn_string, db_name, **options)

    def setup(self) -> Done:
        """Makes the indexes where they are missing. Done by itself on first use."""
        self.rows.open()
        return Done()


AsyncMongoDBSaver = MongoDBSaver
"""The import path that async users know; it is the same class."""
