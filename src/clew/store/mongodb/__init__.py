"""Items kept in MongoDB, or what speaks its protocol. One object serves both faces. How is told in `storage`."""

from __future__ import annotations

from functools import partial
from typing import Any, Final, Self

from clew.clients.mongodb import Connected, User
from clew.store.items import IndexConfig, TTLConfig
from clew.store.keeping import Store
from clew.store.mongodb.storage import MongoStorage, made

USER: Final = User("MongoDBStore", "store", "Put it in several items: one of them is")


class MongoDBStore(Store):
    """Keeps items in MongoDB 4.4 or newer, alone, as a replica set, or sharded; each batch is in the journal of a majority
    before it is heard of. The batches of one store are written one after the other.

    A call whose connection is lost is made again, a batch as well: it is never done twice. Search by meaning goes through every
    vector below its prefix. What has expired is not found; its document is removed a day later, its value when it is swept. An
    item has 16 MB at most.

    Args:
        client: a URL, or a `MongoClient` of pymongo, which is used and left open; an `AsyncMongoClient` tells how to connect.
        db_name: the database. collection_name: what the names of its two collections begin with. Made where there are none.
        patience: seconds for which a call is made again while the server cannot be reached. index, ttl: see `Store`.

    Raises:
        TypeError: `client` is none of these. DatabaseError: on use, where the server refuses or cannot be reached.
    """

    def __init__(
        self,
        client: Any,
        db_name: str = "checkpointing_db",
        collection_name: str = "clew_store",
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        patience: float = 30.0,
    ) -> None:
        connected = Connected(client, db_name, USER, partial(made, name=collection_name))
        super().__init__(MongoStorage(connected, collection_name, patience), index=index, ttl=ttl)

    @classmethod
    def from_conn_string(
        cls, conn_string: str, db_name: str = "checkpointing_db", collection_name: str = "clew_store", **options: Any
    ) -> Self:
        """A store of this URL, to be used as `with MongoDBStore.from_conn_string("mongodb://localhost") as store:` (or
        `async with`). Options: see the class."""
        return cls(conn_string, db_name, collection_name, **options)


AsyncMongoDBStore = MongoDBStore
