"""The list of stream entries that no job could be read from; each stays, also after an operator has dealt with it."""

import json
from collections.abc import Mapping, Sequence

from django.db.models import QuerySet
from django.db.models.functions import Now

from operations.models import DeadLetter, Operation


def keep(letters: Sequence[DeadLetter]) -> None:
    """Add letters to the list in the caller's transaction. Idempotent: an entry already listed adds nothing."""
    DeadLetter.objects.bulk_create(letters, ignore_conflicts=True)


def waiting() -> QuerySet[DeadLetter]:
    """The letters nobody has redriven, oldest first."""
    return DeadLetter.objects.filter(redriven_at__isnull=True).order_by("id")


def read_fields(letter: DeadLetter) -> dict[str, str]:
    """The fields of the entry as its producer sent them."""
    fields: dict[str, str] = json.loads(letter.fields)
    return fields


def mark_redriven(letter: DeadLetter, operation: Operation, *, by: str, note: str) -> None:
    """Note in the caller's transaction what became of a letter, and through whom."""
    DeadLetter.objects.filter(pk=letter.pk).update(
        redriven_at=Now(), redriven_by=by, redriven_as=operation, note=note
    )  # fmt: skip


def accepted_since(letter: DeadLetter, game_id: str) -> int:
    """How many operations of the game were accepted after the letter came: a redriven job is done after all of them."""
    return Operation.objects.filter(game_id=game_id, accepted_at__gt=letter.received_at).count()


def describe_mending(mended: Mapping[str, str], *, note: str = "") -> str:
    """What was changed and why, for the record."""
    changes = [f"{name}={value!r}" for name, value in mended.items()]
    return "; ".join([*([f"set {', '.join(changes)}"] if changes else []), *([note] if note else [])])
