"""``manage.py prepare_database``: wait for the server, migrate, create the first superuser."""

import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, connection

_WAIT_SECONDS = 60.0
_PAUSE_SECONDS = 1.0


class Command(BaseCommand):
    """Idempotent, also if several containers start at once: ``migrate`` lets one of them work, the others wait.

    Raises CommandError if PostgreSQL does not respond, and like ``ensure_admin``.
    """

    help = "Wait for PostgreSQL up to a minute, run the migrations, and create the superuser of the settings."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--if-configured", action="store_true", help="do nothing unless RTMANAGER_PREPARE_DATABASE is true"
        )

    def handle(self, *_args: Any, if_configured: bool = False, **_options: Any) -> None:
        if if_configured and not settings.RTMANAGER.prepare_database:
            return
        wait_for_database()
        call_command("migrate", interactive=False, verbosity=1, stdout=self.stdout)
        call_command("ensure_admin", stdout=self.stdout, stderr=self.stderr)


def wait_for_database(
    *, clock: Callable[[], float] = time.monotonic, pause: Callable[[float], None] = time.sleep
) -> None:
    """Return when a connection succeeds. Raises CommandError with the last error after a minute."""
    deadline = clock() + _WAIT_SECONDS
    while True:
        try:
            connection.ensure_connection()
        except OperationalError as error:
            if clock() > deadline:
                reason = str(error).strip().splitlines()[0]
                message = f"PostgreSQL did not respond for {_WAIT_SECONDS:g} s: {reason}; check RTMANAGER_DATABASE_URL"
                raise CommandError(message) from error
            pause(_PAUSE_SECONDS)
        else:
            return
