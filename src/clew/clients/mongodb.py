"""From what users hand over to the one client that is used, and what its errors mean."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from clew.errors import DatabaseError, MissingDependency

try:
    from bson.codec_options import CodecOptions
    from pymongo import AsyncMongoClient, MongoClient, ReadPreference, WriteConcern
    from pymongo import UpdateOne as UpdateOne
    from pymongo.errors import AutoReconnect, DocumentTooLarge, OperationFailure, PyMongoError
    from pymongo.errors import BulkWriteError as BulkWriteError
    from pymongo.errors import DuplicateKeyError as DuplicateKeyError
    from pymongo.read_concern import ReadConcern
except ImportError as error:
    raise MissingDependency("MongoDB needs pymongo: `pip install 'clew[mongodb]'`.") from error

LOST: Final = (AutoReconnect,)
"""What pymongo raises where a connection is lost, no server answers, or another one has become the primary."""
SOON: Final = 5000  # milliseconds that one try waits for a server; `patience` is for how long it is tried


class User(NamedTuple):
    """Who uses a client, for messages: its class, what one calls such an object, what is said where something is too large."""

    type: str
    noun: str
    large: str

    @property
    def how(self) -> str:
        return f"{self.type}('mongodb://localhost:27017') or {self.type}(pymongo.MongoClient(…))"


class Connected:
    """A database, connected to on first use; anew in a forked child, which must not use its parent's sockets.

    Args:
        client: what users hand over. name: of the database. ready: makes what must be there before anything is asked, such as
            indexes; any number of processes may at once.

    Raises:
        TypeError: `client` is nothing of that kind.
    """

    def __init__(self, client: Any, name: str, user: User, ready: Callable[[Connected], None]) -> None:
        self._given: MongoClient[Any] | None = None
        self._how: dict[str, Any] = {}
        if isinstance(client, str):
            self._how = {"host": client}
        elif isinstance(client, MongoClient):
            self._given, self._how = client, _told(client)
        elif isinstance(client, AsyncMongoClient):
            self._how = _told(client)
        else:
            raise TypeError(f"The client is {client!r}: expected {user.how}.")
        self._user = user
        self._make_ready = ready
        self._name = name
        self._lock = threading.Lock()
        self._database: Any = None
        self._pid = os.getpid()
        self._closed = self._ready = False

    def collection(self, name: str) -> Any:
        return self._opened()[name]

    def now(self) -> float:
        """Seconds since 1970 by the server's clock."""
        return self._opened().command("hello")["localTime"].timestamp()

    def ready(self) -> None:
        """Makes what must be there, where it is missing."""
        with self.asked():
            pass

    def occupies(self, *names: str) -> int:
        with self.asked():
            made = self._opened().list_collection_names()
            found = [self._opened().command("collStats", name) for name in names if name in made]
        return sum(int(one.get("storageSize") or one.get("size") or 0) + int(one.get("totalIndexSize") or 0) for one in found)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._database is not None and self._given is None and self._pid == os.getpid():
                self._database.client.close()
            self._database = None

    @contextmanager
    def asked(self) -> Generator[None]:
        """Has that made before; what the server refuses comes out as what to do about it."""
        try:
            if not self._ready:
                self._make_ready(self)
                self._ready = True
            yield
        except LOST:
            raise
        except OperationFailure as error:
            raise DatabaseError(_refused(error, self._name)) from error
        except DocumentTooLarge as error:
            raise DatabaseError(f"{self._user.large} too large for MongoDB ({error}).") from error
        except PyMongoError as error:
            raise DatabaseError(f"MongoDB cannot be used ({error}): expected {self._user.how}.") from error

    def _opened(self) -> Any:
        with self._lock:
            if self._pid != os.getpid():
                self._database, self._given, self._pid = None, None, os.getpid()
            if self._database is None:
                if self._closed:
                    raise DatabaseError(f"The {self._user.noun} of database {self._name!r} is closed: make a new one.")
                how: dict[str, Any] = {"serverSelectionTimeoutMS": SOON, **self._how}
                made: Any = self._given or MongoClient(**how)
                self._database = made.get_database(
                    self._name,
                    codec_options=CodecOptions(tz_aware=True),
                    read_preference=ReadPreference.PRIMARY,
                    read_concern=ReadConcern("majority"),
                    write_concern=WriteConcern("majority", j=True),
                )
            return self._database


def _told(client: Any) -> dict[str, Any]:
    """How a client connects: what it was made with, but for what it makes of documents."""
    given: dict[str, Any] = dict(client._init_kwargs)  # with passwords and TLS, which are nowhere else to be had
    return {name: one for name, one in given.items() if name not in ("document_class", "tz_aware", "type_registry", "connect")}


def _refused(error: OperationFailure, name: str) -> str:
    if error.code in (13, 18, 8000):
        return (
            f"MongoDB lets nobody in ({error}): check user, password and `authSource` of the URL, and the rights on {name!r}."
        )
    return f"MongoDB refuses ({error}): a user that reads and writes {name!r}, and makes indexes there, is wanted."
