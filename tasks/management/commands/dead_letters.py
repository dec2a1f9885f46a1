"""``manage.py dead_letters``: lists the stream entries that hold no valid job."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.core.serializers.json import DjangoJSONEncoder

from operations.dead_letters import store
from operations.models import DeadLetter


class Command(BaseCommand):
    """List the dead letters that wait for an operator, oldest first. Changes nothing."""

    help = "List the dead letters that are not redriven yet, oldest first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--all", action="store_true", help="include redriven ones")
        parser.add_argument("--json", action="store_true", help="one JSON array with every field")

    def handle(self, *_args: Any, **options: Any) -> None:
        dead_letters = DeadLetter.objects.order_by("id") if options["all"] else store.waiting()
        if options["json"]:
            rows = [_as_json(dead_letter) for dead_letter in dead_letters]
            self.stdout.write(json.dumps(rows, cls=DjangoJSONEncoder, indent=2))
            return
        for dead_letter in dead_letters:
            self.stdout.write(_as_line(dead_letter))
        if not dead_letters:
            self.stdout.write("No dead letters." if options["all"] else "No dead letters wait.")


def _as_line(dead_letter: DeadLetter) -> str:
    columns = [
        str(dead_letter.pk),
        f"{dead_letter.received_at:%Y-%m-%d %H:%M:%S}Z",
        dead_letter.stream,
        dead_letter.entry_id,
        dead_letter.game_id or "-",
        dead_letter.reason,
        dead_letter.fields,
    ]
    if dead_letter.redriven_at:
        columns.append(f"[redriven as operation {dead_letter.redriven_as_id} by {dead_letter.redriven_by}]")
    return "  ".join(columns)


def _as_json(dead_letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": dead_letter.pk,
        "stream": dead_letter.stream,
        "entry_id": dead_letter.entry_id,
        "game_id": dead_letter.game_id or None,
        "reason": dead_letter.reason,
        "fields": store.read_fields(dead_letter),
        "received_at": dead_letter.received_at,
        "redriven_at": dead_letter.redriven_at,
        "redriven_by": dead_letter.redriven_by or None,
        "redriven_as": dead_letter.redriven_as_id,
        "note": dead_letter.note,
    }
