"""``manage.py dead_letters``: the stream entries that no job could be read from."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.core.serializers.json import DjangoJSONEncoder

from operations import dead_letters
from operations.models import DeadLetter


class Command(BaseCommand):
    """List what waits for an operator, oldest first. Changes nothing."""

    help = "List the dead letters that nobody has redriven, oldest first."

    def add_arguments(self, parser: CommandParser) -> None:
        """The words of the command line."""
        parser.add_argument("--all", action="store_true", help="those already redriven too")
        parser.add_argument("--json", action="store_true", help="one JSON array with every field")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print the list."""
        letters = DeadLetter.objects.order_by("id") if options["all"] else dead_letters.waiting()
        if options["json"]:
            rows = [_as_json(letter) for letter in letters]
            self.stdout.write(json.dumps(rows, cls=DjangoJSONEncoder, indent=2))
            return
        for letter in letters:
            self.stdout.write(_as_line(letter))
        if not letters:
            self.stdout.write("No dead letters." if options["all"] else "No dead letters wait.")


def _as_line(letter: DeadLetter) -> str:
    told = f"{letter.pk}  {letter.received_at:%Y-%m-%d %H:%M:%S}Z  {letter.stream}  {letter.entry_id}  "
    fate = f"  [redriven as operation {letter.redriven_as_id} by {letter.redriven_by}]" if letter.redriven_at else ""
    return f"{told}{letter.game_id or '-'}  {letter.reason}  {letter.fields}{fate}"


def _as_json(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.pk,
        "stream": letter.stream,
        "entry_id": letter.entry_id,
        "game_id": letter.game_id or None,
        "reason": letter.reason,
        "fields": dead_letters.read_fields(letter),
        "received_at": letter.received_at,
        "redriven_at": letter.redriven_at,
        "redriven_by": letter.redriven_by or None,
        "redriven_as": letter.redriven_as_id,
        "note": letter.note,
    }
