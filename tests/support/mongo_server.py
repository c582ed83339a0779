"""A server that speaks MongoDB's protocol, for the tests: SecantusDB in a process of its own, or one that is named by a URL.

SecantusDB is not MongoDB's own server. `CLEW_TEST_MONGODB_URL=mongodb://… pytest -k mongodb` runs the same tests against a real
one, in databases of their own, which are dropped.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from bson import encode
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import ConnectionFailure, OperationFailure

from clew.checkpoint.mongodb import MongoDBSaver
from support.servers import TRIES, free_port

URL = "CLEW_TEST_MONGODB_URL"
PROGRAM = Path(sys.executable).parent / "secantusd-py"  # it comes with the `dev` extra


CELL = 2  # bytes before a key, which say how long it is


class MongoServer:
    """Standing alone, as no replica set: what works here works on all deployments. Started again, it has what it had."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.given = os.environ.get(URL)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.given or f"mongodb://127.0.0.1:{self.port}/?directConnection=true"

    def client(self) -> MongoClient[dict[str, Any]]:
        """A client that fails soon where the server is away; to be closed."""
        return MongoClient(self.url, serverSelectionTimeoutMS=10_000 if self.given else 100)

    def start(self) -> None:
        """Returns when the server answers."""
        if self.given:
            return
        options = ["--standalone", "--port", str(self.port), "--storage-path", str(self.folder / "data"), "--cache-size", "64M"]
        log = self.folder / "secantus.log"
        with log.open("ab") as out:
            self.process = subprocess.Popen([PROGRAM, *options], cwd=self.folder, stdout=out, stderr=out)
        with self.client() as client:
            for _ in range(TRIES):
                assert self.process.poll() is None, log.read_text()
                try:
                    client.admin.command("ping")
                except (ConnectionFailure, OperationFailure):
                    time.sleep(0.01)
                else:
                    return
        raise AssertionError(f"secantusd-py does not answer: {log.read_text()}")

    def kill(self) -> None:
        """As a power cut would: it gets no chance to write anything. What `start` finds is what was on disk."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Bson(NamedTuple):
    """Of a collection: how many documents, their bytes as BSON, and those of the keys of its indexes, `whole`, and `keys` as
    WiredTiger writes them, which leaves out what a key shares with the one before it. No block is compressed yet."""

    documents: int
    bson: int
    keys: int
    whole: int


def bson_of(collection: Collection[dict[str, Any]]) -> Bson:
    found = list(collection.find({}))
    keys = whole = 0
    for index in collection.list_indexes():
        first, *more = index["key"]
        entries = sorted(entry for one in found if first in one for entry in _entries(one, first, more))
        for before, entry in pairwise([b"", *entries]):
            whole += len(entry)
            keys += len(entry) - _shared(before, entry) + CELL
    return Bson(len(found), sum(len(encode(one)) for one in found), keys, whole)


def _shared(one: bytes, other: bytes) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _entries(document: dict[str, Any], first: str, more: list[str]) -> list[bytes]:
    """The keys of a document in an index of binary fields: each with its type, length and subtype, then where it is."""
    value: bytes | list[bytes] = document[first]
    rest = b"".join(bytes([0x1E, len(document[name]), 0]) + document[name] for name in more)
    return [bytes([0x1E, len(key), 0]) + key + rest + bytes(4) for key in (value if isinstance(value, list) else [value])]


@pytest.fixture(scope="session")
def mongodb_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[MongoServer]:
    """One for the whole session; each worker has its own."""
    server = MongoServer(tmp_path_factory.mktemp("mongodb"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def mongodb_url(mongodb_server: MongoServer) -> Generator[str]:
    """Of a server on which the database of the documentation is empty; it is dropped afterwards."""
    yield mongodb_server.url
    with mongodb_server.client() as client:
        client.drop_database("clew_example")


@pytest.fixture
def mongodb_name(mongodb_server: MongoServer) -> Generator[str]:
    """The name of a database that is empty, and is dropped afterwards."""
    name = f"clew_test_{os.getpid()}_{os.urandom(4).hex()}"
    yield name
    with mongodb_server.client() as client:
        client.drop_database(name)


@pytest.fixture
def mongodb_saver(mongodb_server: MongoServer, mongodb_name: str) -> Generator[Callable[[], MongoDBSaver]]:
    """Opens savers of one database, as other processes would; they are closed afterwards."""
    made: list[MongoDBSaver] = []

    def saver() -> MongoDBSaver:
        made.append(MongoDBSaver(mongodb_server.url, mongodb_name))
        return made[-1]

    yield saver
    for one in made:
        one.close()
