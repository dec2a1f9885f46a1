"""``Idempotency-Key``: a caller that repeats a request gets the operation of the first one."""

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from operations.intake import OperationRequest, accept_unless_busy
from operations.models import IdempotencyKey
from operations.queue.database import key_of
from operations.states import OperationState
from runtimes.exceptions import ConflictError, ErrorCode

KEPT_FOR = timedelta(hours=24)
# Namespace of the advisory locks that serialise the requests of one key.
_KEY_LOCKS = 0x52544B
_LOCK_KEY = f"SELECT pg_advisory_xact_lock(%s, {key_of('%s::text')})"
_PRUNED_AT_ONCE = 100
_IS_EXPIRED = Q(created_at__lte=Now() - KEPT_FOR)
# Its operation failed with a transient error: a retry under the same key can succeed.
_WAS_REFUSED = Q(
    operation__state=OperationState.FINISHED,
    operation__error_code__in=(ErrorCode.SERVICE_UNAVAILABLE, ErrorCode.DOCKER_UNAVAILABLE),
)


def accept_once(request: OperationRequest, *, caller: str, key: str) -> tuple[IdempotencyKey, bool]:
    """Record the request under the key, or return the operation that the key was used for in the last 24 hours.

    Returns the key and whether it was known. Idempotent. Raises ConflictError if the key belongs to another request or
    if the game is busy. A conflict records nothing, so the key can be used again; so it can after an operation that
    failed because Docker was down.
    """
    fingerprint = fingerprint_of(request)
    with transaction.atomic():
        # Always before the lock of the game: a second request that waits here then finds the key, instead of finding
        # the game busy with the first request.
        with connection.cursor() as cursor:
            cursor.execute(_LOCK_KEY, [_KEY_LOCKS, f"{caller} {key}"])
        IdempotencyKey.objects.filter(_IS_EXPIRED | _WAS_REFUSED, caller=caller, key=key).delete()
        _prune()
        known = IdempotencyKey.objects.filter(caller=caller, key=key).select_related("operation").first()
        if known is None:
            operation = accept_unless_busy(request)
            new = IdempotencyKey.objects.create(caller=caller, key=key, fingerprint=fingerprint, operation=operation)
            return new, False
        if known.fingerprint != fingerprint:
            operation = known.operation
            message = (
                f"this Idempotency-Key was used for another request (operation {operation.pk}, {operation.op_kind} of "
                f"game {operation.game_id}) within the last 24 hours; use a new key for a new request"
            )
            raise ConflictError(message)
        return known, True


def store_response(known: IdempotencyKey, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Store the response to a successful request; returns the response that was stored first. Idempotent."""
    IdempotencyKey.objects.filter(pk=known.pk, record__isnull=True).update(record=dict(record))
    stored = IdempotencyKey.objects.filter(pk=known.pk).values_list("record", flat=True).first()
    return stored or record


def fingerprint_of(request: OperationRequest) -> str:
    """A hash of kind, game and parsed body. Spacing and key order of the body do not matter."""
    described = json.dumps([request.op_kind.value, request.game_id, request.arguments], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()


def _prune() -> None:
    """Delete some expired keys with each new request, so that the table holds about one day of requests."""
    expired = IdempotencyKey.objects.filter(_IS_EXPIRED).order_by("created_at")
    locked = expired.select_for_update(skip_locked=True)[:_PRUNED_AT_ONCE]
    IdempotencyKey.objects.filter(pk__in=list(locked.values_list("pk", flat=True))).delete()
