"""``manage.py doctor``: runs the checks from this host, also while the web process is down."""

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from rtmanager.cli.commands.service import report
from rtmanager.doctor.run_checks import is_healthy, run_checks


class Command(BaseCommand):
    """Changes nothing. Run it with the environment and the user of the workers."""

    help = "Check every dependency and setting, with advice for each problem. Exits with 1 if a check failed."
    # It must run with wrong settings and without a database, to report them.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="write JSON")
        parser.add_argument("--problems", action="store_true", help="only warnings and failures")

    def handle(self, *_args: Any, **options: Any) -> None:
        checks = run_checks()
        results = [asdict(check) for check in checks if not options["problems"] or check.status != "ok"]
        self.stdout.write(
            json.dumps({"checks": results}, indent=2)
            if options["json"]
            else report(results, is_coloured=self.stdout.isatty())
        )
        if not is_healthy(checks):
            raise SystemExit(1)
