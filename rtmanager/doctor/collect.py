"""Collects the facts about an installation: queries all servers at once, each for a limited time."""

import os
import shutil
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Q
from django.utils import timezone

from operations.dead_letters import store
from operations.installation import state_root
from operations.installation.identity import database_identity
from operations.installation.schema import shipped_migrations
from operations.messages import job_parsers
from operations.models import Operation
from operations.monitoring.bounded_call import Deadline, SingleFlight, wait
from operations.monitoring.heartbeats import LOOPS, running_processes
from rtmanager.doctor.facts import Containers, Database, Facts, StateRoot
from rtmanager.monitoring.snapshot import take_snapshot
from runtimes.containers import connect
from runtimes.containers.base import Container, DockerRefusedError
from runtimes.exceptions import ErrorCode
from runtimes.models import ApiToken
from tasks.broker import ping_broker
from tasks.loops.leader_election import holders
from tasks.streams.redis.client import describe_server

TIMEOUT_SECONDS = 6.0
_RECENT = timedelta(hours=1)


# What a query found, and how far the server's clock is ahead of ours.
Answer = tuple[Any, timedelta | None]


def gather() -> Facts:
    """Query all servers; takes at most ``TIMEOUT_SECONDS`` for those that hang. Never raises."""
    calls = [query.start() for query in _QUERIES]
    deadline = Deadline(TIMEOUT_SECONDS)
    components = take_snapshot().components
    outcomes = {call.name: wait(call, deadline) for call in calls}
    answers = {name: outcome.value for name, outcome in outcomes.items() if outcome.value is not None}
    found = {name: value for name, (value, _skew) in answers.items()}
    return Facts(
        config=settings.RTMANAGER,
        version=settings.RTM_VERSION,
        state_root=inspect_state_root(settings.RTMANAGER.game_state_root),
        database=found.get("postgresql"),
        redis=found.get("redis"),
        engine=found.get("docker"),
        containers=found.get("containers"),
        processes=found.get("processes"),
        components=components,
        unreachable={name: outcome.failure for name, outcome in outcomes.items() if outcome.failure},
        refused=frozenset(name for name, outcome in outcomes.items() if isinstance(outcome.error, DockerRefusedError)),
        clock_skew={name: skew for name, (_value, skew) in answers.items() if skew is not None},
    )


def inspect_state_root(root: str) -> StateRoot:
    """Return the state root as this process sees it; changes nothing."""
    path = Path(root)
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


def _query_database() -> Answer:
    with connection.cursor() as cursor:
        before = datetime.now(UTC)
        cursor.execute(
            "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),"
            " pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',"
            " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),"
            " current_setting('max_connections')::int, clock_timestamp()"
        )
        version, encoding, is_replica, is_read_only, connections, most, server_time = cursor.fetchone()
    # The server read its clock about halfway between the request and the response.
    skew = server_time - (before + (datetime.now(UTC) - before) / 2)
    unapplied, newer = _compare_migrations()
    # Without its tables, a database has no other facts.
    counts = {} if unapplied else _count(is_read_only=is_read_only)
    server = Database(
        version, encoding, is_replica, is_read_only, _shares_sessions(), unapplied, newer, database_identity(),
        connections, most, **counts,
    )  # fmt: skip
    return server, skew


def _shares_sessions() -> bool:
    """Return whether a setting of our session is visible in another connection, or lost in our own.

    Both happen if a pooler shares PostgreSQL sessions. The second connection holds its session in a transaction, so
    that our next statement must go to another one.
    """
    value, name = uuid4().hex, "rtmanager.session_probe"
    other = connection.copy()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config(%s, %s, false)", [name, value])
        other.ensure_connection()
        with other.wrap_database_errors, other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT current_setting(%s, true)", [name])
            if cursor.fetchone()[0] == value:
                return True
            with connection.cursor() as own:
                own.execute("SELECT current_setting(%s, true)", [name])
                return bool(own.fetchone()[0] != value)
    finally:
        other.close()


def _compare_migrations() -> tuple[list[str], list[str]]:
    """Return the migrations that are not applied, and those that are applied but unknown to this version."""
    shipped, applied = shipped_migrations(), set(MigrationRecorder(connection).applied_migrations())
    apps = {app for app, _name in shipped}
    newer = [migration for migration in applied - shipped if migration[0] in apps]
    return [".".join(one) for one in sorted(shipped - applied)], [".".join(one) for one in sorted(newer)]


def _count(*, is_read_only: bool) -> dict[str, Any]:
    now = timezone.now()
    # The first check of a state root records its id, which a read-only database refuses.
    refusal = "" if is_read_only else state_root.refusal_of_root(settings.RTMANAGER.game_state_root)
    valid = ApiToken.objects.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now), revoked_at__isnull=True)
    recent = Operation.objects.filter(accepted_at__gt=now - _RECENT)
    return {
        "tokens": valid.count(),
        "failed_pulls": recent.filter(error_code=ErrorCode.IMAGE_PULL_FAILED).count(),
        "waiting_dead_letters": store.waiting().count(),
        "has_superuser": get_user_model().objects.filter(is_superuser=True, is_active=True).exists(),
        "leaders": holders(LOOPS),
        "state_root_refusal": refusal,
    }


def _query_redis() -> Answer:
    server = describe_server(settings.RTMANAGER.streams_url, names=tuple(job_parsers()), stack=settings.RTMANAGER.stack)
    return server, server.now - datetime.now(UTC)


def _query_docker() -> Answer:
    engine = connect().docker_info()
    return engine, engine.now - datetime.now(UTC) if engine.now else None


def _query_containers() -> Answer:
    config = settings.RTMANAGER
    owned = connect().list_owned(config.stack)
    network_exists = connect().network_exists(config.docker_network)
    return Containers(len(owned), _unknown(owned), network_exists=network_exists), None


def _unknown(owned: list[Container]) -> list[str]:
    """Return the names of containers whose label names an operation that is not recorded."""
    creators = {
        container.name: (int(container.operation_id), container.game_id)
        for container in owned
        if container.operation_id.isdecimal()
    }
    rows = Operation.objects.filter(pk__in=[operation_id for operation_id, _game in creators.values()])
    recorded = set(rows.values_list("pk", "game_id"))
    return sorted(name for name, creator in creators.items() if creator not in recorded)


_QUERIES = [
    SingleFlight[Answer]("postgresql", _query_database),
    SingleFlight[Answer]("redis", _query_redis),
    SingleFlight[Answer]("docker", _query_docker),
    SingleFlight[Answer]("containers", _query_containers),
    SingleFlight[Answer]("processes", lambda: (running_processes(), None)),
    SingleFlight[Answer]("broker", lambda: (ping_broker(), None)),
]
