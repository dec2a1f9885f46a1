"""Asked twice, done once: a caller's ``Idempotency-Key`` leads back to the operation it was first used for."""

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from operations.intake import OperationRequest, accept_unless_busy
from operations.models import IdempotencyKey, Operation
from operations.states import OpState
from runtimes.exceptions import ConflictError, ErrorCode

KEPT_FOR = timedelta(hours=24)
# Namespace of the advisory locks that let one request per key through at a time.
_KEY_LOCKS = 0x52544B
_FORGOTTEN_AT_ONCE = 100
_TRANSIENT = (ErrorCode.SERVICE_UNAVAILABLE, ErrorCode.DOCKER_UNAVAILABLE)


def accept_once(request: OperationRequest, *, caller: str, key: str) -> tuple[IdempotencyKey, bool]:
    """Record the request under the key, or find what the key was used for in the last 24 hours.

    Returns the key and whether it was known. Idempotent. Raises ConflictError when the key belongs to another
    request or the game is busy; a refusal leaves no trace, so the key can be used again, as it can after an
    operation that failed because Docker could not be reached.
    """
    fingerprint = fingerprint_of(request)
    with transaction.atomic():
        _lock(caller, key)
        _free(caller, key)
        _forget_some_expired()
        known = IdempotencyKey.objects.filter(caller=caller, key=key).select_related("operation").first()
        if known is not None:
            _check_same_request(known, fingerprint)
            return known, True
        operation = accept_unless_busy(request)
        made = IdempotencyKey.objects.create(caller=caller, key=key, fingerprint=fingerprint, operation=operation)
        return made, False


def remember_record(known: IdempotencyKey, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Keep what is about to be told of a success; returns what was told first. Idempotent."""
    IdempotencyKey.objects.filter(pk=known.pk, record__isnull=True).update(record=dict(record))
    told = IdempotencyKey.objects.filter(pk=known.pk).values_list("record", flat=True).first()
    return told or record


def fingerprint_of(request: OperationRequest) -> str:
    """What makes two requests the same: verb, game and the meaning of the body; spacing and key order do not."""
    described = json.dumps([request.op_kind.value, request.game_id, request.arguments], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()


def _free(caller: str, key: str) -> None:
    """Give the key back when its day is over, or when its answer was "not now": then asking again is the point."""
    was_refused = Q(operation__error_code__in=_TRANSIENT, operation__state=OpState.FINISHED)
    is_over = Q(created_at__lte=Now() - KEPT_FOR)
    IdempotencyKey.objects.filter(is_over | was_refused, caller=caller, key=key).delete()


def _check_same_request(known: IdempotencyKey, fingerprint: str) -> None:
    if known.fingerprint != fingerprint:
        operation: Operation = known.operation
        message = (
            f"this Idempotency-Key was used for another request (operation {operation.pk}, {operation.op_kind} of "
            f"game {operation.game_id}) within the last 24 hours; take a new key for a new request"
        )
        raise ConflictError(message)


def _lock(caller: str, key: str) -> None:
    # Taken before the game's own lock, always: whoever waits here then finds the key on record instead of
    # finding the game busy with its own first request.
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_KEY_LOCKS, f"{caller} {key}"])


def _forget_some_expired() -> None:
    """Each new request clears up behind old ones, so the table stays as small as a day's requests."""
    expired = IdempotencyKey.objects.filter(created_at__lte=Now() - KEPT_FOR).order_by("created_at")
    locked = expired.select_for_update(skip_locked=True)[:_FORGOTTEN_AT_ONCE]
    IdempotencyKey.objects.filter(pk__in=list(locked.values_list("pk", flat=True))).delete()
