"""Containers of games that stopped long ago: their cleanup is asked for, by the same door as everybody's."""

from datetime import timedelta

import structlog
from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from operations.intake import OperationRequest, accept_unless_busy
from operations.states import OpKind, OpSource
from runtimes.exceptions import ConflictError
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus

log = structlog.get_logger(__name__)

_ASKED_AT_ONCE = 200


def clean_up_expired() -> int:
    """Ask for the cleanup of what has been stopped for ``CONTAINER_RETENTION_DAYS``; returns how many games.

    Idempotent: the state of a game, not the day, names the request. Bounded per call; the next one goes on.
    """
    return sum(_ask_for(game_id, fence) for game_id, fence in _expired())


def _expired() -> list[tuple[str, int]]:
    oldest = Now() - timedelta(days=settings.RTMANAGER.container_retention_days)
    # A game made with no_start has never been stopped: its last operation counts.
    since = Q(stopped_at__lt=oldest) | Q(stopped_at=None, last_op_at__lt=oldest)
    rows = Runtime.objects.filter(since, status=RuntimeStatus.STOPPED).order_by("last_op_at")
    return list(rows.values_list("game_id", "fence")[:_ASKED_AT_ONCE])


def _ask_for(game_id: str, fence: int) -> bool:
    request = OperationRequest(
        game_id=game_id,
        op_kind=OpKind.CLEANUP_CONTAINER,
        op_source=OpSource.AUTO_TTL,
        job_key=f"ttl:{game_id}:{fence}",
        source_ref=f"stopped for more than {settings.RTMANAGER.container_retention_days} days",
    )
    try:
        operation = accept_unless_busy(request)
    except ConflictError:
        return False
    if operation.is_open:
        log.info("cleanup_asked_for", game_id=game_id, operation_id=operation.pk)
    return operation.is_open
