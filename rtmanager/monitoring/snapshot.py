"""A snapshot of the service: whether it can use its dependencies, and the status of its components."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from django.conf import settings
from django.db import DatabaseError, InterfaceError, ProgrammingError, connection

from operations.completion_notifier import completion_notifier
from operations.messages import job_parsers
from operations.monitoring import component_status, counters
from operations.monitoring.bounded_call import Deadline, Outcome, SingleFlight, docker_seconds, wait, wait_for_docker
from operations.monitoring.component_status import Backlogs, ComponentStatuses, ServiceStats
from operations.monitoring.counters import CounterTotals
from rtmanager.db_backend.base import DatabaseWrapper
from runtimes.containers import connect
from runtimes.containers.base import NotObservedError
from runtimes.exceptions import ErrorCode, ServiceUnavailableError, StartConfigInvalidError
from runtimes.models import Runtime
from tasks.broker import messages_by_queue
from tasks.streams.redis.jobs import RedisJobStreams

TIMEOUT_SECONDS = 3.0
_DOCKER_CHECKS = frozenset({"docker", "network"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSnapshot:
    """Readiness and component status. A value is None if its server did not respond in time.

    ``reasons``: per dependency, why it is not known to work. ``failed``: the dependencies that were observed to fail.
    ``counters`` and ``queues`` (waiting Celery messages) are read for metrics only.
    """

    reasons: Mapping[str, str]
    failed: frozenset[str]
    components: ComponentStatuses
    stats: ServiceStats | None
    backlogs: Backlogs | None
    counters: CounterTotals | None = None
    queues: Mapping[str, int] | None = None


def take_snapshot(*, for_metrics: bool = False) -> ServiceSnapshot:
    """Query all servers at once; takes at most ``TIMEOUT_SECONDS``, whatever hangs. Never raises."""
    deadline = Deadline(TIMEOUT_SECONDS)
    pending_totals, pending_queues = (_counters.start(), _queues.start()) if for_metrics else (None, None)
    pending_stats, pending_backlogs = _stats.start(), _backlogs.start()
    outcomes = run_checks(_CHECKS, deadline)
    stats = wait(pending_stats, deadline).value
    backlogs = wait(pending_backlogs, deadline).value
    components = component_status.evaluate(
        stats, backlogs, limits=component_status.current_limits(), uptime_seconds=time.monotonic() - _STARTED_AT
    )
    return ServiceSnapshot(
        reasons={name: outcome.failure for name, outcome in outcomes.items()},
        failed=frozenset(name for name, outcome in outcomes.items() if is_failed(outcome)),
        components=components,
        stats=stats,
        backlogs=backlogs,
        counters=wait(pending_totals, deadline).value if pending_totals else None,
        queues=wait(pending_queues, deadline).value if pending_queues else None,
    )


def _check_database() -> None:
    try:
        Runtime.objects.exists()
    except ProgrammingError:
        message = "the tables are missing; create them with: manage.py migrate"
        raise ServiceUnavailableError(message) from None
    except (DatabaseError, InterfaceError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        message = f"PostgreSQL does not answer ({reason}); see RTMANAGER_DATABASE_URL"
        raise ServiceUnavailableError(message) from None
    if reason := cast("DatabaseWrapper", connection).why_read_only():
        message = f"{reason}; point RTMANAGER_DATABASE_URL to the primary"
        raise ServiceUnavailableError(message)


def check_docker() -> None:
    """Raise ContainersUnavailableError unless Docker answers, and NotObservedError if no worker can ask it."""
    docker = connect()
    with docker.time_limit(docker_seconds(TIMEOUT_SECONDS)):
        docker.ping()


def _check_network() -> None:
    network = settings.RTMANAGER.docker_network
    docker = connect()
    with docker.time_limit(docker_seconds(TIMEOUT_SECONDS)):
        exists = docker.network_exists(network)
    if not exists:
        message = f'Docker network "{network}" does not exist; create it with: docker network create {network}'
        raise StartConfigInvalidError(message)


def run_checks(checks: Sequence[SingleFlight[None]], deadline: Deadline) -> dict[str, Outcome[None]]:
    """Run all checks at once; return the outcome of each."""
    calls = [check.start() for check in checks]
    return {
        call.name: wait_for_docker(call, deadline) if call.name in _DOCKER_CHECKS else wait(call, deadline)
        for call in calls
    }


def is_failed(outcome: Outcome[None]) -> bool:
    """Whether the dependency was checked and failed. Docker that no worker observes may be fine."""
    return bool(outcome.failure) and not isinstance(outcome.error, NotObservedError)


def error_code_for(failed: Collection[str]) -> ErrorCode:
    """Return the error code of the contract: one code if only Docker fails, another one otherwise."""
    is_docker = _DOCKER_CHECKS.issuperset(failed)
    return ErrorCode.DOCKER_UNAVAILABLE if is_docker else ErrorCode.SERVICE_UNAVAILABLE


@lru_cache(maxsize=1)
def _streams(url: str, names: tuple[str, ...]) -> RedisJobStreams:
    return RedisJobStreams(url, names=names)


_STARTED_AT = time.monotonic()
_CHECKS = [
    SingleFlight("database", _check_database),
    SingleFlight("redis", lambda: completion_notifier().ping()),
    SingleFlight("docker", check_docker),
    SingleFlight("network", _check_network),
]
_stats = SingleFlight("stats", component_status.measure)
_backlogs = SingleFlight("backlogs", lambda: _streams(settings.RTMANAGER.streams_url, tuple(job_parsers())).backlogs())
_counters = SingleFlight("counters", counters.read)
_queues = SingleFlight("queues", messages_by_queue)
