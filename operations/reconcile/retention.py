"""Cleanup of the containers of games that stopped long ago."""

from datetime import timedelta

import structlog
from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from operations.intake import OperationRequest, accept_unless_busy
from operations.states import OperationKind, OperationSource
from runtimes.exceptions import ConflictError
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus

log = structlog.get_logger(__name__)

_MAX_CLEANUPS = 200


def clean_up_expired() -> int:
    """Request a cleanup for each game that stopped ``CONTAINER_RETENTION_DAYS`` ago; return how many.

    Idempotent: the job key contains the state of the game, not the day. One call requests at most 200 cleanups; the
    next call continues.
    """
    oldest = Now() - timedelta(days=settings.RTMANAGER.container_retention_days)
    # A game created with no_start has never been stopped: its last operation counts.
    expired = Q(stopped_at__lt=oldest) | Q(stopped_at=None, last_op_at__lt=oldest)
    rows = Runtime.objects.filter(expired, status=RuntimeStatus.STOPPED).order_by("last_op_at")
    return sum(_request_cleanup(*row) for row in rows.values_list("game_id", "fence")[:_MAX_CLEANUPS])


def _request_cleanup(game_id: str, fence: int) -> bool:
    request = OperationRequest(
        game_id=game_id,
        op_kind=OperationKind.CLEANUP_CONTAINER,
        op_source=OperationSource.AUTO_TTL,
        job_key=f"ttl:{game_id}:{fence}",
        source_ref=f"stopped for more than {settings.RTMANAGER.container_retention_days} days",
    )
    try:
        operation = accept_unless_busy(request)
    except ConflictError:
        return False
    if operation.is_open:
        log.info("cleanup_requested", game_id=game_id, operation_id=operation.pk)
    return operation.is_open
