"""What is known of an installation when it is examined. A server that did not answer is None, never empty."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from operations.vitals import Verdicts
from rtmanager.config import Config
from runtimes.containers.engine import Engine
from tasks.streams.base import StreamServer


@dataclass(frozen=True, slots=True)
class Database:
    """PostgreSQL. ``version`` as the server counts: 160004 is 16.4. What is counted is only known once all
    migrations are applied; ``failed_pulls`` are those of the last hour.
    """

    version: int
    encoding: str
    is_replica: bool
    unapplied_migrations: Sequence[str] = ()
    connections: int = 0
    most_connections: int = 100
    tokens: int = 0
    failed_pulls: int = 0
    waiting_letters: int = 0
    has_superuser: bool = False


@dataclass(frozen=True, slots=True)
class StateRoot:
    """Where the games' state lies, as this process sees it. Sizes in bytes."""

    exists: bool
    is_directory: bool = False
    is_writable: bool = False
    mode: int = 0
    free: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Containers:
    """What Docker holds of ours: how many, and which of them no operation on record has made."""

    owned: int
    unknown: Sequence[str]
    network_exists: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything. ``silences`` tells of each server that did not answer why; ``clock_skew`` is how far another clock
    is ahead of this process's.
    """

    config: Config
    state_root: StateRoot
    database: Database | None = None
    redis: StreamServer | None = None
    engine: Engine | None = None
    containers: Containers | None = None
    workers: Sequence[str] | None = None
    vitals: Verdicts = field(default_factory=dict)
    silences: Mapping[str, str] = field(default_factory=dict)
    clock_skew: Mapping[str, timedelta] = field(default_factory=dict)
