"""``manage.py redrive_dead_letter ID``: makes the job a dead letter should have been."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from runtimes.exceptions import RuntimeManagerError
from tasks.redrive import find_letter, foretell, read_mending, redrive


class Command(BaseCommand):
    """Redrive one letter. Idempotent: redriven again, it tells the operation the letter became the first time."""

    help = "Read a dead letter as a job again, with fields mended if need be, and accept it."

    def add_arguments(self, parser: CommandParser) -> None:
        """The words of the command line."""
        parser.add_argument("id", type=int, help="as manage.py dead_letters lists it")
        parser.add_argument(
            "--set", nargs="+", action="extend", default=[], metavar="FIELD=VALUE", help="replace fields of the entry"
        )
        parser.add_argument("--by", default="console", metavar="NAME", help="who does it, for the record")
        parser.add_argument("--note", default="", metavar="TEXT", help="why, for the record")
        parser.add_argument("--dry-run", action="store_true", help="check and tell, change nothing")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Check, warn of what has overtaken the job, accept it."""
        try:
            mended = read_mending(options["set"])
            if options["dry_run"]:
                self._preview(options["id"], mended)
            else:
                self._redrive(options["id"], mended, by=options["by"], note=options["note"])
        except RuntimeManagerError as error:
            message = f"Not redriven: {error.message}."
            raise CommandError(message) from None

    def _preview(self, letter_id: int, mended: dict[str, str]) -> None:
        for sentence in foretell(find_letter(letter_id), mended):
            self.stdout.write(sentence)

    def _redrive(self, letter_id: int, mended: dict[str, str], *, by: str, note: str) -> None:
        done = redrive(letter_id, mended=mended, by=by, note=note)
        became = f"operation {done.operation.pk} ({done.operation.op_kind} of game {done.operation.game_id})"
        if done.is_replay:
            self.stdout.write(f"Dead letter {letter_id} was redriven before: it is {became}; nothing done.")
        else:
            self.stdout.write(f"Dead letter {letter_id} is {became}; its result goes to the result stream.")
