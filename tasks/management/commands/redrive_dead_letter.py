"""``manage.py redrive_dead_letter ID``: accepts a dead letter as a job, after corrections."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from operations.dead_letters.redrive import get_dead_letter, preview, read_corrections, redrive
from runtimes.exceptions import RuntimeManagerError


class Command(BaseCommand):
    """Redrive one dead letter. Idempotent: a second call prints the operation of the first one."""

    help = "Parse a dead letter as a job again, with corrected fields if necessary, and accept it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=int, help="as manage.py dead_letters lists it")
        parser.add_argument(
            "--set", nargs="+", action="extend", default=[], metavar="FIELD=VALUE", help="replace fields of the entry"
        )
        parser.add_argument("--by", default="console", metavar="NAME", help="who redrives it, for the audit")
        parser.add_argument("--note", default="", metavar="TEXT", help="why, for the audit")
        parser.add_argument("--dry-run", action="store_true", help="only check and print, change nothing")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Check the job, warn about newer operations, and accept it."""
        try:
            corrected = read_corrections(options["set"])
            if options["dry_run"]:
                self._preview(options["id"], corrected)
            else:
                self._redrive(options["id"], corrected, by=options["by"], note=options["note"])
        except RuntimeManagerError as error:
            message = f"Not redriven: {error.message}."
            raise CommandError(message) from None

    def _preview(self, dead_letter_id: int, corrected: dict[str, str]) -> None:
        for sentence in preview(get_dead_letter(dead_letter_id), corrected):
            self.stdout.write(sentence)

    def _redrive(self, dead_letter_id: int, corrected: dict[str, str], *, by: str, note: str) -> None:
        done = redrive(dead_letter_id, corrected=corrected, by=by, note=note)
        became = f"operation {done.operation.pk} ({done.operation.op_kind} of game {done.operation.game_id})"
        if done.is_no_op:
            self.stdout.write(f"Dead letter {dead_letter_id} was redriven before: it is {became}; nothing done.")
        else:
            self.stdout.write(f"Dead letter {dead_letter_id} is {became}; its result goes to the result stream.")
