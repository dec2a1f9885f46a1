"""The connection to Redis or Valkey: its options, its errors, and what the server reports about itself."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasks.streams.base import StreamRefusedError, StreamServer, StreamsUnavailableError

GROUP = "rtmanager"
_PROBE_TTL_SECONDS = 60


def connect(url: str, **options: Any) -> redis.Redis:
    """Return a client that reports every error; ``options`` are the connection options of redis-py.

    By default redis-py repeats a command up to ten times when the reply got lost. A repeated XADD adds two entries.
    """
    return redis.Redis.from_url(
        url,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=5,
        socket_connect_timeout=2,
        health_check_interval=15,
        decode_responses=False,
        **options,
    )


@contextmanager
def translate_errors(doing: str, client: redis.Redis) -> Iterator[None]:
    """Raise the errors of redis-py as errors of the port. ``doing`` says what was tried, and on which key.

    A server that is read-only was a primary before a failover: its connections are closed, because only a new
    connection finds the new primary.
    """
    try:
        yield
    except redis.ResponseError as error:
        if drop_if_read_only(error, client):
            message = f"Redis is a replica now ({doing}): {error}"
            raise StreamsUnavailableError(message) from error
        # A key of another type, or a full server. The loops keep trying until an operator fixes it.
        message = f"Redis refuses ({doing}): {error}"
        raise StreamRefusedError(message) from error
    except redis.RedisError as error:
        message = f"Redis does not answer ({doing}): {error}"
        raise StreamsUnavailableError(message) from error


def drop_if_read_only(error: redis.RedisError, client: redis.Redis) -> bool:
    """Close the connections if the error says that the server is no primary; return whether it does."""
    # Redis 6.2 puts the error of a script into another text.
    is_read_only = any(code in str(error) for code in ("READONLY", "MASTERDOWN", "read only replica"))
    if is_read_only:
        client.connection_pool.disconnect()
    return is_read_only


def check_writable(client: redis.Redis, stack: str) -> None:
    """Write one small key that expires. Raises StreamsUnavailableError: a full server answers reads, but no writes."""
    with translate_errors("writing", client):
        client.set(f"rtm:{stack}:writable", "1", ex=_PROBE_TTL_SECONDS)


def decode(raw: bytes) -> str:
    """Return the text. Invalid bytes become visible escapes, which the job parser then rejects."""
    return raw.decode("utf-8", errors="backslashreplace")


def describe_server(url: str, *, names: Sequence[str], stack: str) -> StreamServer:
    """Return what the server reports about itself, and which of these job streams have no consumer group of ours.

    Raises StreamsUnavailableError.
    """
    with connect(url) as client, translate_errors("describing itself", client):
        info = client.info()
        seconds, microseconds = client.time()
        try:
            check_writable(client, stack)
            refusal = ""
        except StreamsUnavailableError as error:
            refusal = error.message
        return StreamServer(
            # Valkey also reports a redis_version, for clients that know only Redis.
            name="Valkey" if "valkey_version" in info else "Redis",
            version=str(info.get("valkey_version", info["redis_version"])),
            role=info["role"],
            appends_to_file=bool(info["aof_enabled"]),
            max_memory_bytes=int(info["maxmemory"]),
            eviction=info["maxmemory_policy"],
            now=datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds),
            refusal_of_writes=refusal,
            streams_without_group=[name for name in names if find_group(client, name) is None],
            owners={name: decode(owner) for name in names if (owner := client.get(owner_key(name))) is not None},
        )


def owner_key(name: str) -> str:
    """Return the key that holds the installation which reads this job stream."""
    return f"rtm:owner:{name}"


def find_group(client: redis.Redis, name: str) -> Any:
    """Return what XINFO GROUPS reports about our group; None if the stream or the group does not exist."""
    try:
        groups = client.xinfo_groups(name)
    except redis.ResponseError as error:
        if "no such key" not in str(error):
            raise
        return None
    return next((group for group in groups if decode(group["name"]) == GROUP), None)
