"""The stored stream entries that are not valid jobs. Each stays after its redrive."""

import json
from collections.abc import Sequence

from django.db.models import QuerySet

from operations.messages import FieldValue
from operations.models import DeadLetter


def keep(dead_letters: Sequence[DeadLetter]) -> None:
    """Insert dead letters in the transaction of the caller. Idempotent: a stored entry is not inserted again."""
    DeadLetter.objects.bulk_create(dead_letters, ignore_conflicts=True)


def waiting() -> QuerySet[DeadLetter]:
    """The dead letters that are not redriven, oldest first."""
    return DeadLetter.objects.filter(redriven_at__isnull=True).order_by("id")


def read_fields(dead_letter: DeadLetter) -> dict[str, FieldValue]:
    """Return the fields of the entry as its producer sent them; a list holds the values of a repeated field."""
    fields: dict[str, FieldValue] = json.loads(dead_letter.fields)
    return fields
