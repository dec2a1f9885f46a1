"""``manage.py database_restored``: declare that the database is a restored backup, before the service starts."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from operations.installation import database_restore
from operations.models import Operation
from operations.monitoring import heartbeats
from operations.states import OPEN_STATES
from runtimes.containers import connect
from runtimes.containers.base import Container, ContainersUnavailableError
from runtimes.formatting import to_rfc3339


class Command(BaseCommand):
    """Advance ids and fences beyond those on the containers. The next reconcile corrects the records without events."""

    help = (
        "Declare that the database was restored from a backup. Stop all processes of RTM first. "
        "Each run leaves another gap in the numbers and changes nothing else, so it is safe to repeat."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--force", action="store_true", help="run even if loops or workers are running")

    def handle(self, *_args: Any, **options: Any) -> None:
        running = heartbeats.running_processes()
        if running and not options["force"]:
            message = (
                f"RTM is running: {', '.join(running)} reported within the last minute. Stop all loops and workers, "
                "wait one minute, then run this command again; or add --force to skip this check."
            )
            raise CommandError(message)
        restore = database_restore.declare(self._containers())
        assert restore is not None, "without a proof a restore is always declared"  # noqa: S101
        self.stdout.write(
            f"the database counts as restored at {to_rfc3339(restore.at, timespec='seconds')}; the next operation has "
            f"the id {restore.next_operation_id}, the next fence is {restore.next_fence}"
        )
        if restore.taken_as_published:
            self.stdout.write(
                f"{restore.taken_as_published} messages, older than 7 days in the backup, count as published"
            )
        for operation in Operation.objects.filter(state__in=OPEN_STATES).order_by("id"):
            self.stdout.write(
                f"open in the backup, will be done now: operation {operation.pk}, {operation.op_kind} of game "
                f"{operation.game_id}, accepted at {to_rfc3339(operation.accepted_at, timespec='seconds')}"
            )

    def _containers(self) -> list[Container]:
        try:
            return connect().list_owned(settings.RTMANAGER.stack)
        except ContainersUnavailableError as error:
            self.stderr.write(f"{error.message}; numbers advance by the gap alone")
            return []
