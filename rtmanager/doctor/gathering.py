"""Asking everything there is to ask, all at once, nobody for long."""

import os
import shutil
import stat
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Q
from django.utils import timezone

from operations import dead_letters
from operations.models import Operation
from rtmanager.api.observation import observe
from rtmanager.api.readiness import SharedLook
from rtmanager.doctor.facts import Containers, Database, Facts, StateRoot
from runtimes.containers import connect, disconnect
from runtimes.containers.base import Container
from runtimes.exceptions import ErrorCode, RuntimeManagerError
from runtimes.models import ApiToken
from tasks.bridge import job_parsers
from tasks.streams.redis import describe_server
from tasks.workers import answering_workers

log = structlog.get_logger(__name__)

TIMEOUT_SECONDS = 6.0
_WORKERS_SECONDS = 1.0
_RECENT = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one look brought, and how far the clock it read is ahead of ours."""

    found: Any
    skew: timedelta | None = None


@dataclass(slots=True)
class _Answers:
    """What the looks brought by the deadline; the reasons of those that brought nothing."""

    deadline: float
    silences: dict[str, str] = field(default_factory=dict)
    skews: dict[str, timedelta] = field(default_factory=dict)

    def take(self, name: str, answer: "Future[_Seen]") -> Any:
        """The answer, or None with its reason noted."""
        try:
            seen = answer.result(timeout=max(0.0, self.deadline - time.monotonic()))
        except TimeoutError:
            self.silences[name] = f"no answer within {TIMEOUT_SECONDS:g} s"
        except RuntimeManagerError as error:
            self.silences[name] = error.message
        except (DatabaseError, InterfaceError) as error:
            self.silences[name] = next(iter(str(error).strip().splitlines()), type(error).__name__)
        except Exception:
            # A defect in one look must not keep the others from being told.
            log.exception("examination_failed_unexpectedly", look=name)
            self.silences[name] = "looking failed; the log tells why"
        else:
            if seen.skew is not None:
                self.skews[name] = seen.skew
            return seen.found
        return None


def gather() -> Facts:
    """Ask everybody; takes ``TIMEOUT_SECONDS`` at most for all that may hang. Never raises."""
    to_come = {name: look.begin() for name, look in _LOOKS.items()}
    answers = _Answers(time.monotonic() + TIMEOUT_SECONDS)
    verdicts = observe().verdicts
    found: Mapping[str, Any] = {name: answers.take(name, answer) for name, answer in to_come.items()}
    return Facts(
        config=settings.RTMANAGER,
        state_root=look_at_state_root(settings.RTMANAGER.game_state_root),
        database=found["postgresql"],
        redis=found["redis"],
        engine=found["docker"],
        containers=found["containers"],
        workers=found["workers"],
        vitals=verdicts,
        silences=answers.silences,
        clock_skew=answers.skews,
    )


def look_at_state_root(place: str) -> StateRoot:
    """The state root as this process sees it; changes nothing."""
    path = Path(place)
    try:
        mode = path.stat().st_mode
    except OSError:
        return StateRoot(exists=False)
    if not stat.S_ISDIR(mode):
        return StateRoot(exists=True)
    usage = shutil.disk_usage(path)
    return StateRoot(
        exists=True,
        is_directory=True,
        is_writable=os.access(path, os.W_OK | os.X_OK, effective_ids=True),
        mode=stat.S_IMODE(mode),
        free=usage.free,
        total=usage.total,
    )


def _ask_database() -> _Seen:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),"
            " pg_is_in_recovery(), (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),"
            " current_setting('max_connections')::int"
        )
        version, encoding, is_replica, connections, most = cursor.fetchone()
    unapplied = _unapplied_migrations()
    # Without its tables a database has nothing else to tell.
    counts = {} if unapplied else _count()
    found = Database(
        version=version,
        encoding=encoding,
        is_replica=is_replica,
        unapplied_migrations=unapplied,
        connections=connections,
        most_connections=most,
        **counts,
    )
    return _Seen(found, _skew(_database_clock))


def _unapplied_migrations() -> list[str]:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _backwards in plan]


def _count() -> dict[str, Any]:
    now = timezone.now()
    valid = ApiToken.objects.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now), revoked_at__isnull=True)
    recent = Operation.objects.filter(accepted_at__gt=now - _RECENT)
    return {
        "tokens": valid.count(),
        "failed_pulls": recent.filter(error_code=ErrorCode.IMAGE_PULL_FAILED).count(),
        "waiting_letters": dead_letters.waiting().count(),
        "has_superuser": get_user_model().objects.filter(is_superuser=True, is_active=True).exists(),
    }


def _database_clock() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (now,) = cursor.fetchone()
    return now  # type: ignore[no-any-return]  # PostgreSQL's type is Python's


def _ask_redis() -> _Seen:
    server = describe_server(settings.RTMANAGER.streams_url, names=tuple(job_parsers()))
    return _Seen(server, server.now - datetime.now(UTC))


def _ask_engine() -> _Seen:
    try:
        engine = connect().describe_engine()
    finally:
        disconnect()
    return _Seen(engine, engine.now - datetime.now(UTC) if engine.now else None)


def _ask_containers() -> _Seen:
    config = settings.RTMANAGER
    try:
        owned = connect().list_owned(config.stack)
        network_exists = connect().network_exists(config.docker_network)
    finally:
        disconnect()
    return _Seen(Containers(len(owned), _unknown(owned), network_exists=network_exists))


def _unknown(owned: list[Container]) -> list[str]:
    """The names of containers that say which operation made them, though none on record did."""
    made_by = {one.name: (int(one.operation_id), one.game_id) for one in owned if one.operation_id.isdecimal()}
    rows = Operation.objects.filter(pk__in=[operation_id for operation_id, _game in made_by.values()])
    on_record = set(rows.values_list("pk", "game_id"))
    return sorted(name for name, maker in made_by.items() if maker not in on_record)


def _ask_workers() -> _Seen:
    return _Seen(answering_workers(timeout_seconds=_WORKERS_SECONDS))


def _skew(read: Callable[[], datetime]) -> timedelta:
    before = datetime.now(UTC)
    told = read()
    # Halfway between asking and hearing is when the clock was read.
    return told - (before + (datetime.now(UTC) - before) / 2)


_LOOKS: Mapping[str, "SharedLook[_Seen]"] = {
    "postgresql": SharedLook("doctor-postgresql", _ask_database),
    "redis": SharedLook("doctor-redis", _ask_redis),
    "docker": SharedLook("doctor-docker", _ask_engine),
    "containers": SharedLook("doctor-containers", _ask_containers),
    "workers": SharedLook("doctor-workers", _ask_workers),
}
