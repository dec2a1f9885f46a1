"""``manage.py reconcile``: compares the records with Docker now, and requests repairs or only lists them."""

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from operations.reconcile.plan import Finding
from operations.reconcile.survey import reconcile_all, survey
from runtimes.containers.base import OBSERVATION_ERRORS
from runtimes.formatting import short_id


class Command(BaseCommand):
    """Print the findings; without ``--dry-run`` also request the operations that repair them."""

    help = "Compare the records with Docker and request the repairs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only print the repairs")
        parser.add_argument("--json", action="store_true", help="print the findings as JSON, one per line")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Exit with code 1 and the reason if Docker cannot be observed."""
        try:
            findings, busy = survey()
        except OBSERVATION_ERRORS as error:
            message = f"{error.message}; without an observation of Docker there is no plan"
            raise CommandError(message) from None
        self._print(findings, as_json=options["json"])
        if busy and not options["json"]:
            self.stdout.write(
                f"skipped, because an operation is open or Docker is removing a container: {', '.join(sorted(busy))}"
            )
        if not options["dry_run"]:
            self.stdout.write(f"{reconcile_all()} repairs requested")

    def _print(self, findings: Sequence[Finding], *, as_json: bool) -> None:
        for finding in findings:
            action = finding.op_kind or "needs an operator"
            container = short_id(finding.container_id) or "-"
            line = f"{finding.game_id}: {action}: {finding.reason} (container {container})"
            self.stdout.write(json.dumps(asdict(finding)) if as_json else line)
        if not findings and not as_json:
            self.stdout.write("records and Docker agree")
