"""``manage.py database_restored``: declare that the database is a restored backup, before the service starts."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from operations.installation import database_restore
from operations.installation.identity import database_identity
from operations.messages import job_parsers
from operations.models import Operation
from operations.monitoring import heartbeats
from runtimes.containers import connect
from runtimes.containers.base import Container, ContainersUnavailableError
from runtimes.formatting import to_rfc3339
from tasks.loops.relay import event_streams
from tasks.restored_jobs import Recovery, recover
from tasks.streams.base import StreamsUnavailableError
from tasks.streams.redis.events import RedisEventStreams
from tasks.streams.redis.jobs import RedisJobStreams


class Command(BaseCommand):
    """Advance ids and fences, compare the jobs with Redis, and take the job streams over.

    The next reconcile corrects the records without events.
    """

    help = (
        "Declare that the database was restored from a backup, on this host or on another one. Stop all processes of "
        "RTM first. Redis must respond. Safe to repeat: each run leaves another gap in the numbers."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--force", action="store_true", help="run even if loops or workers are running")

    def handle(self, *_args: Any, **options: Any) -> None:
        running = heartbeats.running_processes()
        if running and not options["force"]:
            message = (
                f"RTM is running: {', '.join(map(str, running))} reported within the last minute. Stop all processes, "
                "wait one minute, then run this command again; or add --force to skip this check."
            )
            raise CommandError(message)
        with transaction.atomic():
            restore = database_restore.declare(self._containers())
            recovery = self._recover()
        assert restore is not None, "without a proof a restore is always declared"  # noqa: S101
        self.stdout.write(
            f"the database counts as restored at {to_rfc3339(restore.at, timespec='seconds')}; the next operation has "
            f"the id {restore.next_operation_id}, the next fence is {restore.next_fence}"
        )
        if restore.taken_as_published:
            self.stdout.write(
                f"{restore.taken_as_published} messages, older than 7 days in the backup, count as published"
            )
        self._print(recovery)

    def _recover(self) -> Recovery:
        url, parsers = settings.RTMANAGER.streams_url, job_parsers()
        jobs = RedisJobStreams(url, names=list(parsers), identify=database_identity)
        try:
            return recover(jobs, RedisEventStreams(url), parsers=parsers, event_streams=event_streams())
        except StreamsUnavailableError as error:
            advice = "Check that Redis runs, and the password in its URL, then run this command again"
            message = f"{error.message}. {advice}. Nothing was changed."
            raise CommandError(message) from None

    def _print(self, recovery: Recovery) -> None:
        for operations, what in (
            (recovery.finished, "open in the backup, done before the restore"),
            (recovery.failed, "open in the backup, not done again; repeat it if it is still needed"),
            (recovery.to_do, "open in the backup, will be done now"),
        ):
            for operation in operations:
                self.stdout.write(f"{what}: {_describe(operation)}")
        for number, what in (
            (recovery.recorded, "jobs were done after the backup; they are on record again"),
            (recovery.delivered_again, "jobs were taken after the backup and have no result; they will be done now"),
            (recovery.published_again, "messages are not on the streams of this Redis; they will be published again"),
        ):
            if number:
                self.stdout.write(f"{number} {what}")

    def _containers(self) -> list[Container]:
        try:
            return connect().list_owned(settings.RTMANAGER.stack)
        except ContainersUnavailableError as error:
            self.stderr.write(f"{error.message}; numbers advance by the gap alone")
            return []


def _describe(operation: Operation) -> str:
    accepted = to_rfc3339(operation.accepted_at, timespec="seconds")
    return f"operation {operation.pk}, {operation.op_kind} of game {operation.game_id}, accepted at {accepted}"
