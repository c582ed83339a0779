"""From what users hand over, a URL or a client of redis-py of either kind, to the one client that is used, and its scripts.

It is a pool of connections of its own, which answers in bytes and makes no call again by itself: what is made again, and
what has come of it meanwhile, is its user's to know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from hashlib import sha1
from typing import Any, Final, NamedTuple, TypeVar

from clew.errors import DatabaseError, MissingDependency

try:
    import redis
    import redis.asyncio
    from redis.backoff import NoBackoff
    from redis.connection import parse_url  # pyright: ignore[reportUnknownVariableType]
    from redis.exceptions import (
        AuthorizationError,
        ClusterDownError,
        NoPermissionError,
        OutOfMemoryError,
        ReadOnlyError,
        TryAgainError,
    )
    from redis.exceptions import NoScriptError as NoScriptError
    from redis.exceptions import RedisError as RedisError
    from redis.retry import Retry
except ImportError as error:
    raise MissingDependency("Redis needs redis-py: `pip install 'clew[redis]'`.") from error

T = TypeVar("T")
PREFIX: Final = re.compile(r"[\w.:-]+", re.ASCII)
CONNECTIONS: Final = 50
ENDLESS: Final = 1 << 20
SECONDS: Final = 30.0
"""How long a socket is waited for where nobody says; the server may be writing 50 MB to its disk."""

TOLD: Final = frozenset(
    {
        "host", "port", "path", "db", "username", "password", "credential_provider", "client_name", "health_check_interval",
        "protocol", "socket_timeout", "socket_connect_timeout", "socket_keepalive",
    }
)  # fmt: skip
"""Of how a client connects, what is taken over; whatever begins with `ssl_` besides."""

KINDS: Final[dict[Any, Any]] = {
    redis.asyncio.Connection: redis.Connection,
    redis.asyncio.SSLConnection: redis.SSLConnection,
    redis.asyncio.UnixDomainSocketConnection: redis.UnixDomainSocketConnection,
}
PLAIN: Final[tuple[Any, ...]] = (
    redis.ConnectionPool,
    redis.BlockingConnectionPool,
    redis.asyncio.ConnectionPool,
    redis.asyncio.BlockingConnectionPool,
)

LOST: Final = (redis.ConnectionError, redis.TimeoutError, ClusterDownError, TryAgainError)
"""What redis-py raises where a connection is lost, the server still loads its data, or a cluster is being mended."""
DENIED: Final = (redis.AuthenticationError, AuthorizationError)


class User(NamedTuple):
    """Who uses a client, for messages.

    Attributes:
        type: its class. noun: what one calls such an object. what: it keeps. full: how it takes less room.
    """

    type: str
    noun: str
    what: str
    full: str


class Server:
    """A server, and the scripts that it runs: any may be called at once by many threads.

    Raises:
        TypeError, ValueError: see `client_of`. ValueError: a prefix of other characters.
    """

    def __init__(self, given: Any, user: User, prefix: str, scripts: Mapping[str, str]) -> None:
        if not PREFIX.fullmatch(prefix):
            raise ValueError(f"prefix is {prefix!r}: expected letters, digits, '_', '.', ':' or '-', such as 'clew'.")
        self.redis, self._owned = client_of(given, user)
        self.user = user
        self._scripts = {verb: (script, _digest(script)) for verb, script in scripts.items()}
        self._closed = False

    def run(self, verb: str, keys: list[str], *args: Any) -> Any:
        """What a script returns."""
        script, digest = self._scripts[verb]
        try:
            return self.done(self.redis.evalsha, digest, len(keys), *keys, *args)
        except NoScriptError:  # the first call since the server was started
            return self.done(self.redis.eval, script, len(keys), *keys, *args)

    def done(self, call: Callable[..., T], *args: Any) -> T:
        """What a call of the client returns; what the server refuses comes out as what to do about it."""
        if self._closed:
            raise DatabaseError(f"The {self.user.type} is closed: make a new one.")
        try:
            return call(*args)
        except DENIED as error:  # to redis-py these are lost connections as well
            raise explained(error, self.user) from error
        except (*LOST, NoScriptError):
            raise
        except RedisError as error:
            raise explained(error, self.user) from error

    def close(self) -> None:
        self._closed = True
        if self._owned:
            self.redis.close()


def _digest(script: str) -> str:
    return sha1(script.encode(), usedforsecurity=False).hexdigest()


def client_of(given: Any, user: User) -> tuple[Any, bool]:
    """The client to be used, and whether it is ours to close.

    Raises:
        TypeError: neither a URL nor a client. ValueError: a URL of something else; a client that is used as it is and decodes.
    """
    if isinstance(given, str):
        return _made(redis.Connection, parse_url(given)), True  # pyright: ignore[reportUnknownArgumentType]
    pool: Any = getattr(given, "connection_pool", None)
    if type(pool) in PLAIN:
        kwargs = {key: value for key, value in pool.connection_kwargs.items() if key in TOLD or key.startswith("ssl_")}
        kind = KINDS.get(pool.connection_class, pool.connection_class)
        return _made(kind, {"max_connections": pool.max_connections, **kwargs}), True
    if not isinstance(given, (redis.Redis, redis.RedisCluster)):
        how = f"{user.type}('redis://localhost:6379') or {user.type}(redis.Redis(…))"
        raise TypeError(f"{user.type} takes a URL or a client of redis-py, got {given!r}: write {how}.")
    if given.get_encoder().decode_responses:  # pyright: ignore
        raise ValueError(f"{given!r} decodes what it reads, and {user.what} are bytes: make it without decode_responses.")
    return given, False


def _made(kind: Any, kwargs: dict[str, Any]) -> Any:
    defaults = {
        "connection_class": kind,
        "socket_timeout": SECONDS,
        "socket_connect_timeout": SECONDS,
        "socket_keepalive": True,
    }
    kwargs = {**defaults, **kwargs, "retry": Retry(NoBackoff(), 0)}
    if issubclass(kwargs["connection_class"], redis.UnixDomainSocketConnection):
        kwargs.pop("socket_keepalive")
    if kwargs.get("max_connections", ENDLESS) >= ENDLESS:  # redis-py's own default; whoever comes after these waits
        kwargs["max_connections"] = CONNECTIONS
    return redis.Redis(connection_pool=redis.BlockingConnectionPool(**kwargs))


def explained(error: RedisError, user: User) -> DatabaseError:
    """What to do about an answer of the server that no second try would change."""
    if isinstance(error, DENIED):
        do = "Name user and password in the URL: redis://user:password@host:6379."
    elif isinstance(error, NoPermissionError):
        do = (
            f"The {user.noun}'s user needs the commands of @hash, @sortedset, @keyspace, @scripting and TIME on its keys: "
            "`ACL SETUSER name on >password ~clew:* +@hash +@sortedset +@keyspace +@scripting +time +@connection`."
        )
    elif isinstance(error, OutOfMemoryError):
        do = f"The server is full: raise `maxmemory`, {user.full}."
    elif isinstance(error, ReadOnlyError):
        do = "This is a replica: name the primary, or hand over a client of redis-py's Sentinel, which finds it."
    elif str(error).startswith("WRONGTYPE"):
        do = f"Something else has a key that the {user.noun} wants: give it a `prefix` of its own."
    else:
        do = "Clew asks for hashes, sorted sets and Lua scripts of Redis 6 or newer, or Valkey."
    return DatabaseError(f"Redis refuses what the {user.noun} asks of it ({error}). {do}")
