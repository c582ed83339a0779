"""From what users hand over, a URL or a client of redis-py of either kind, to the one client that a saver uses.

It is a pool of connections of its own, which answers in bytes and makes no call again by itself: what is made again, and
what has come of it meanwhile, is `Reconnecting`'s to know.
"""

from __future__ import annotations

from typing import Any, Final

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
    raise MissingDependency("RedisSaver needs redis-py: `pip install 'clew[redis]'`.") from error

HOW: Final = "RedisSaver('redis://localhost:6379') or RedisSaver(redis.Redis(…))"
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


def client_of(given: Any) -> tuple[Any, bool]:
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
        raise TypeError(f"RedisSaver takes a URL or a client of redis-py, got {given!r}: write {HOW}.")
    if given.get_encoder().decode_responses:  # pyright: ignore
        raise ValueError(f"{given!r} decodes what it reads, and checkpoints are bytes: make it without decode_responses.")
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


def explained(error: RedisError) -> DatabaseError:
    """What to do about an answer of the server that no second try would change."""
    if isinstance(error, DENIED):
        do = "Name user and password in the URL: redis://user:password@host:6379."
    elif isinstance(error, NoPermissionError):
        do = (
            "The saver's user needs the commands of @hash, @sortedset, @keyspace, @scripting and TIME on its keys: "
            "`ACL SETUSER name on >password ~clew:* +@hash +@sortedset +@keyspace +@scripting +time +@connection`."
        )
    elif isinstance(error, OutOfMemoryError):
        do = "The server is full: raise `maxmemory`, let threads expire (`ttl=`), or delete some (`delete_thread`)."
    elif isinstance(error, ReadOnlyError):
        do = "This is a replica: name the primary, or hand over a client of redis-py's Sentinel, which finds it."
    elif str(error).startswith("WRONGTYPE"):
        do = "Something else has a key that the saver wants: give it a `prefix` of its own."
    else:
        do = "Clew asks for hashes, sorted sets and Lua scripts of Redis 6 or newer, or Valkey."
    return DatabaseError(f"Redis refuses what the saver asks of it ({error}). {do}")
