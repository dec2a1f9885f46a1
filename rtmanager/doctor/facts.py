"""The facts about an installation. A server that did not answer is None, never empty."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from operations.monitoring.component_status import ComponentStatuses
from operations.monitoring.heartbeats import Process
from rtmanager import __version__
from rtmanager.config import Config
from runtimes.containers.types import DockerInfo
from tasks.loops.leader_election import Holder
from tasks.streams.base import StreamServer


@dataclass(frozen=True, slots=True)
class Database:
    """PostgreSQL. ``version`` is the server's number: 160004 is 16.4.

    ``shares_sessions``: a connection pooler gives statements of one client to several sessions, as in transaction mode.
    ``newer_migrations`` are applied, but this version does not know them. ``identity`` names this database as the owner
    of the job streams. The fields from ``tokens`` on are known only if all migrations are applied. ``failed_pulls``
    counts the last hour. ``leaders`` are the sessions that hold the leaderships of this installation.
    ``state_root_refusal`` says why no game can start on the state root that this process sees, compared with the
    recorded id.
    """

    version: int
    encoding: str
    is_replica: bool
    is_read_only: bool = False
    shares_sessions: bool = False
    unapplied_migrations: Sequence[str] = ()
    newer_migrations: Sequence[str] = ()
    identity: str = ""
    connections: int = 0
    most_connections: int = 100
    tokens: int = 0
    failed_pulls: int = 0
    waiting_dead_letters: int = 0
    has_superuser: bool = False
    state_root_refusal: str = ""
    leaders: Mapping[str, Holder] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StateRoot:
    """The state root as this process sees it. Sizes in bytes."""

    exists: bool
    is_directory: bool = False
    is_writable: bool = False
    mode: int = 0
    free: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Containers:
    """Our containers in Docker: how many, and which of them no recorded operation created."""

    owned: int
    unknown: Sequence[str]
    network_exists: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """All facts. ``unreachable`` says for each server without an answer why; ``refused`` holds the Docker queries that
    Docker refused. ``processes`` are the running ones that report heartbeats. ``clock_skew`` is how far another clock
    is ahead of the clock of this process.
    """

    config: Config
    state_root: StateRoot
    version: str = __version__
    database: Database | None = None
    redis: StreamServer | None = None
    engine: DockerInfo | None = None
    containers: Containers | None = None
    processes: Sequence[Process] | None = None
    components: ComponentStatuses = field(default_factory=dict)
    unreachable: Mapping[str, str] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    clock_skew: Mapping[str, timedelta] = field(default_factory=dict)
