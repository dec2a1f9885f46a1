"""Collects streams, tables and containers at the end, without code of the service."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg2
import redis

from deploy.local.docker.daemon import connect_docker
from deploy.local.stack import Stack
from rtmanager.config import Config
from runtimes.container_spec import LABEL_GAME_ID, LABEL_IMAGE_REF
from tests.chaos.storm.lobby import TAG, connect
from tests.chaos.storm.observer import owned

_GROUP = "rtmanager"
_OPERATIONS = """
    SELECT id, game_id, op_kind, op_source, source_ref, job_key, coalesce(arguments->>'image_ref', ''), state,
           coalesce(outcome, ''), error_code, attempt - retries - 1, lease_until IS NOT NULL
      FROM operations_operation ORDER BY id"""
_PUBLISHED = """
    SELECT substr(dedupe_key, 8), stream_entry_id FROM operations_outboxevent
     WHERE topic = 'job_results' AND published_at IS NOT NULL"""
_UNPUBLISHED = "SELECT count(*) FROM operations_outboxevent WHERE published_at IS NULL"
_RECORDS = "SELECT game_id, status, current_container_id, current_image_ref FROM runtimes_runtime"
_CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""


class Entry(NamedTuple):
    """An entry of any stream. Sorts like the stream."""

    ms: int
    number: int
    stream: str
    fields: Mapping[str, str]

    @property
    def entry_id(self) -> str:
        return f"{self.ms}-{self.number}"

    @property
    def job_key(self) -> str:
        return f"{self.stream}:{self.entry_id}"

    @property
    def tag(self) -> int:
        """The number that Game Lobby wrote into it."""
        return int(self.fields[TAG])


class Operation(NamedTuple):
    """An operation. ``deaths``: how often its worker died, as counted by the service."""

    id: int
    game_id: str
    kind: str
    source: str
    source_ref: str
    job_key: str
    image: str
    state: str
    outcome: str
    code: str
    deaths: int
    has_lease: bool


class Record(NamedTuple):
    """The record of a game."""

    game_id: str
    status: str
    container_id: str | None
    image: str | None


class Container(NamedTuple):
    """A container with the labels of this installation."""

    id: str
    game_id: str
    image: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All records at one time."""

    jobs: Sequence[Entry]
    results: Sequence[Entry]
    dead_letters: Sequence[Entry]
    pending: int
    lag: int
    operations: Sequence[Operation]
    published: Mapping[str, str]
    unpublished: int
    records: Sequence[Record]
    connections: int
    containers: Sequence[Container]

    @property
    def open_operations(self) -> list[Operation]:
        return [one for one in self.operations if one.state != "finished"]


def collect(stack: Stack) -> Evidence:
    """Collect all records. Raises the errors of psycopg2, redis and docker if a server is unavailable."""
    return Evidence(**_streams(stack.config), **_tables(stack.config), containers=_containers(stack))


def _streams(config: Config) -> dict[str, Any]:
    names = (config.start_jobs_stream, config.stop_jobs_stream)
    with connect(config) as streams:
        return {
            "jobs": sorted(entry for name in names for entry in _entries(streams, name)),
            "results": _entries(streams, config.job_results_stream),
            "dead_letters": _entries(streams, config.dead_letters_stream),
            "pending": sum(_pending(streams, name) for name in names),
            "lag": sum(_lag(streams, name) for name in names),
        }


def _entries(streams: "redis.Redis", name: str) -> list[Entry]:
    found: Any = streams.xrange(name)
    ids = [(*map(int, entry_id.split("-")), fields) for entry_id, fields in found]
    return [Entry(ms, number, name, fields) for ms, number, fields in ids]


def _pending(streams: "redis.Redis", name: str) -> int:
    summary: Any = streams.xpending(name, _GROUP)
    return int(summary["pending"])


def _lag(streams: "redis.Redis", name: str) -> int:
    groups: Any = streams.xinfo_groups(name)
    (group,) = [one for one in groups if one["name"] == _GROUP]
    beyond: Any = streams.xrange(name, min=f"({group['last-delivered-id']}")
    return len(beyond)


def _tables(config: Config) -> dict[str, Any]:
    with closing(psycopg2.connect(config.database_url, connect_timeout=3)) as connection, connection.cursor() as cursor:

        def rows(query: str) -> list[tuple[Any, ...]]:
            cursor.execute(query)
            return cursor.fetchall()

        return {
            "operations": [Operation(*row) for row in rows(_OPERATIONS)],
            "published": dict(rows(_PUBLISHED)),
            "unpublished": rows(_UNPUBLISHED)[0][0],
            "records": [Record(*row) for row in rows(_RECORDS)],
            "connections": rows(_CONNECTIONS)[0][0],
        }


def _containers(stack: Stack) -> list[Container]:
    with connect_docker(stack.docker_host, timeout_seconds=10) as client:
        found = client.api.containers(all=True, filters=owned(stack))
    return [
        Container(one["Id"], one["Labels"][LABEL_GAME_ID], one["Labels"][LABEL_IMAGE_REF], one["State"])
        for one in found
    ]
