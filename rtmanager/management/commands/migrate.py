"""Django's ``migrate``, one at a time, and never below processes that would fail with the new tables."""

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import connection
from django.db.migrations import Migration
from django.db.migrations.exceptions import AmbiguityError
from django.db.migrations.executor import MigrationExecutor

from operations.installation.schema import as_numbers
from operations.monitoring.heartbeats import Process, running_processes
from operations.queue.database import key_of
from runtimes.models import Installation

_NAMESPACE = 0x52544E
# Purpose: only one process changes the tables of this installation. The wait has no limit: a migration may take long.
# Lock: (namespace, key), exclusive, until the session ends.
_LOCK = f"SELECT pg_advisory_lock(%s, {key_of('%s::text')})"
_WAIT_WITHOUT_LIMIT = "SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false)"
# Purpose: the loops and workers of version 0.1.0 that have reported within the last minute. Locks: none.
_RUNNING_0_1_0 = """
    SELECT name, who FROM operations_pulse
     WHERE (name IN ('bridge', 'sweeper', 'relay', 'watcher', 'prober', 'clock') OR name LIKE 'worker:%')
       AND beat_at > now() - interval '60 seconds' ORDER BY name
"""
_TABLE_EXISTS = "SELECT to_regclass(%s) IS NOT NULL"
_ONLY_SHOW = ("plan", "check_unapplied")


class Command(migrate.Command):
    """Waits for a ``migrate`` of the same installation that runs elsewhere, then applies what is still missing.

    Raises CommandError, with nothing changed, while processes run that are older than a migration allows
    (``oldest_version`` of the migration), or while any process runs and migrations are undone.
    """

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate under an advisory lock. A session of its own holds it, because migrations may close theirs."""
        session = connection.copy()
        try:
            with session.cursor() as cursor:
                cursor.execute(_WAIT_WITHOUT_LIMIT)
                cursor.execute(_LOCK, [_NAMESPACE, "migrate"])
            if not any(options[option] for option in _ONLY_SHOW):
                _refuse_running_processes(_planned(options["app_label"], options["migration_name"]))
            super().handle(*args, **options)
            if not any(options[option] for option in _ONLY_SHOW):
                _record_oldest_version()
        finally:
            session.close()


def _planned(app_label: str | None, migration_name: str | None) -> list[tuple[Migration, bool]]:
    """The migrations that Django will run, each with whether it is undone. Empty for a target that Django refuses."""
    executor = MigrationExecutor(connection)
    leaves = executor.loader.graph.leaf_nodes()
    targets: list[tuple[str, str | None]] = [leaf for leaf in leaves if app_label in (None, leaf[0])]
    if app_label and migration_name == "zero":
        targets = [(app_label, None)]
    elif app_label and migration_name:
        try:
            targets = [(app_label, executor.loader.get_migration_by_prefix(app_label, migration_name).name)]
        except (AmbiguityError, KeyError):
            return []
    return executor.migration_plan(targets)


def _refuse_running_processes(plan: list[tuple[Migration, bool]]) -> None:
    is_undone = any(backwards for _migration, backwards in plan)
    oldest = _newest_of([_oldest_version_of(migration) for migration, _backwards in plan])
    if not is_undone and not oldest:
        return
    too_old = [one for one in _running() if is_undone or as_numbers(one.version) < as_numbers(oldest)]
    if too_old:
        what = "migrations are undone" if is_undone else f"these migrations need version {oldest} or newer"
        processes = ", ".join(f"{one} of version {one.version or '0.1.0'}" for one in too_old)
        message = (
            f"{what}, but RTM is running: {processes}. Stop these processes, wait one minute if one was killed, then "
            "migrate again. Nothing was changed; games continue"
        )
        raise CommandError(message)


def _running() -> list[Process]:
    with connection.cursor() as cursor:
        if _exists(cursor, "operations_heartbeat"):
            return running_processes()
        if not _exists(cursor, "operations_pulse"):
            return []
        cursor.execute(_RUNNING_0_1_0)
        return [Process(name, process, version="", stack="") for name, process in cursor.fetchall()]


def _exists(cursor: Any, table: str) -> bool:
    cursor.execute(_TABLE_EXISTS, [table])
    return bool(cursor.fetchone()[0])


def _record_oldest_version() -> None:
    """Store the oldest version that works with the tables, for processes of older versions that start later."""
    loader = MigrationExecutor(connection).loader
    if ("runtimes", "0008_installation_oldest_version") in loader.applied_migrations:
        applied = [loader.disk_migrations[key] for key in loader.applied_migrations if key in loader.disk_migrations]
        oldest = _newest_of([_oldest_version_of(migration) for migration in applied])
        Installation.objects.exclude(oldest_version=oldest).update(oldest_version=oldest)


def _oldest_version_of(migration: Migration) -> str:
    return getattr(migration, "oldest_version", "")


def _newest_of(versions: list[str]) -> str:
    return max(versions, key=as_numbers, default="")
