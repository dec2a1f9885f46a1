"""``manage.py reconcile``: compares records with Docker now, and asks for repairs or only tells them."""

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from operations.reconciler import Finding, reconcile_all, survey
from runtimes.containers.base import ContainersUnavailableError


class Command(BaseCommand):
    """Print the findings; without ``--dry-run`` also file the operations that mend them."""

    help = "Compare the records with what Docker shows and ask for the repairs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        parser.add_argument("--dry-run", action="store_true", help="only print what would be asked for")
        parser.add_argument("--json", action="store_true", help="print the findings as JSON, one per line")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Exit code 1 with a reason when Docker cannot be asked: nothing follows from that."""
        try:
            findings, busy = survey()
        except ContainersUnavailableError as error:
            message = f"{error.message}; what cannot be seen is not taken for gone, so there is no plan"
            raise CommandError(message) from None
        self._print(findings, as_json=options["json"])
        if busy and not options["json"]:
            self.stdout.write(f"not judged, an operation is open: {', '.join(sorted(busy))}")
        if not options["dry_run"]:
            self.stdout.write(f"{reconcile_all()} repairs asked for")

    def _print(self, findings: Sequence[Finding], *, as_json: bool) -> None:
        for one in findings:
            deed = one.op_kind or "left to people"
            plain = f"{one.game_id}: {deed}: {one.reason} (container {one.container_id[:12] or '-'})"
            self.stdout.write(json.dumps(asdict(one)) if as_json else plain)
        if not findings and not as_json:
            self.stdout.write("records and Docker agree")
