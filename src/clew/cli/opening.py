"""Opening a database as users name one: by the path of a SQLite file, or by a URL; with the key in `CLEW_KEY`, where there is
one. No backend is imported before it is asked for, so each may do without the packages of the others."""

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from clew.checkpoint.base import Saver
from clew.checkpoint.crypt import Encryption
from clew.checkpoint.sqlite import SqliteSaver
from clew.errors import DatabaseError

KEY: Final = "CLEW_KEY"
SERVERS: Final = {
    "postgresql": ("postgres", "PostgresSaver"),
    "postgres": ("postgres", "PostgresSaver"),
    "redis": ("redis", "RedisSaver"),
    "rediss": ("redis", "RedisSaver"),
    "mongodb": ("mongodb", "MongoDBSaver"),
    "mongodb+srv": ("mongodb", "MongoDBSaver"),
}
"""By the scheme of a URL: the backend, which is also the name of what has to be installed for it, and its saver."""


def checked(url: str) -> str:
    """The URL, where it names a database of a kind that is known. Raises DatabaseError."""
    scheme, parted, rest = url.partition("://")
    if parted and scheme not in SERVERS and not (scheme == "sqlite" and rest.startswith("/") and rest != "/"):
        raise DatabaseError(
            f"{shown(url)!r} is no database: expected the path of a SQLite file, sqlite:///path, or a URL that begins with "
            f"{', '.join(f'{known}://' for known in SERVERS)}."
        )
    return url


def file_of(url: str) -> Path | None:
    """The SQLite file that a path or a URL names; None where it names a server's database."""
    if "://" not in url:
        return Path(url)
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def shown(url: str) -> str:
    """The URL without its password, which is not for the screen."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    password = f":{parts.password}@" if parts.password else ""
    return url.replace(password, ":***@", 1) if password else url


def encryption() -> Encryption | None:
    """The keys in `CLEW_KEY`; None where it is not set. Raises DatabaseError where it holds something else."""
    try:
        return Encryption.from_env(KEY) if os.environ.get(KEY) else None
    except ValueError as error:
        raise DatabaseError(str(error)) from error


def open_saver(url: str, *, make: bool = False, plain: bool = False) -> Saver:
    """The saver of a database.

    Args:
        make: a SQLite file that is not there is made; by default it is an error, as looking into a database never makes one.
        plain: it is not encrypted, whatever `CLEW_KEY` says.

    Raises:
        DatabaseError: the URL names none, or there is none. MissingDependency: a package of its backend is not installed.
    """
    keys = None if plain else encryption()
    file = file_of(checked(url))
    if file is not None:
        if not make and not file.exists():
            raise DatabaseError(f"There is no database {str(file)!r}. Name one with --db, or make one: clew chat --db {file}")
        return SqliteSaver(file, encryption=keys)
    scheme = url.partition("://")[0]
    backend, name = SERVERS[scheme]
    made: Callable[..., Saver] = getattr(importlib.import_module(f"clew.checkpoint.{backend}"), name)
    return made(url, encryption=keys)
