"""``manage.py doctor``: the examination from where the command is run, also while the web process is down."""

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from rtmanager.cli.checkup import report
from rtmanager.doctor.examination import examine, is_healthy


class Command(BaseCommand):
    """Looks and tells; changes nothing. Run it with the environment and as the user of the workers."""

    help = "Check every dependency and setting; tell how to mend what is wrong. Exits with 1 when a check failed."
    # A wrong setting or a database that is away is what it is there to tell.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """The words of the command line."""
        parser.add_argument("--json", action="store_true", help="write JSON")
        parser.add_argument("--problems", action="store_true", help="only what is not as it should be")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print the verdicts."""
        checks = examine()
        told = [asdict(check) for check in checks if not options["problems"] or check.status != "ok"]
        self.stdout.write(
            json.dumps({"checks": told}, indent=2)
            if options["json"]
            else report(told, is_coloured=self.stdout.isatty())
        )
        if not is_healthy(checks):
            raise SystemExit(1)
