"""Pulling images without a crowd: one image is pulled once for all who want it, and pulls never take every slot.

Who pulls what is a row that is good as long as the lease of its operation: no lock outlives a dead worker, none
needs a connection of its own, and a proxy that pools transactions does no harm. An operation that must wait gives
its slot back; the end of a pull makes those who wait for it due and hints them.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from operations import claims
from operations.attempts import Attempt
from operations.claims import Claim
from operations.dispatch import hints
from operations.exceptions import PullAwaitedError
from operations.models import ImagePull, Operation
from operations.states import OpKind, Outcome
from runtimes.containers.base import ContainersUnavailableError, ImagePullFailedError
from runtimes.exceptions import RuntimeManagerError

log = structlog.get_logger(__name__)

# Who waits is woken by the end of a pull. This is for the case that nobody is left to do it.
_LONGEST_WAIT_SECONDS = 15.0

_IS_UNDER_WAY = """(last.ended_at IS NULL AND EXISTS (
    SELECT 1 FROM operations_operation AS puller
     WHERE puller.id = last.operation_id
       AND puller.fence = last.fence
       AND puller.state = 'running'
       AND puller.lease_until > now()))"""
_BEGIN = f"""
    INSERT INTO operations_imagepull AS last (image_ref, operation_id, fence, began_at, outcome, error_message)
    VALUES (%(image_ref)s, %(operation_id)s, %(fence)s, now(), '', '')
    ON CONFLICT (image_ref) DO UPDATE
       SET operation_id = excluded.operation_id, fence = excluded.fence, began_at = now(),
           ended_at = NULL, outcome = '', error_message = ''
     WHERE NOT {_IS_UNDER_WAY}
 RETURNING 1
"""  # noqa: S608 - fragments of this module; every value is a parameter
_PULLER = f"""
    SELECT operation_id FROM operations_imagepull AS last WHERE image_ref = %(image_ref)s AND {_IS_UNDER_WAY}
"""  # noqa: S608 - fragments of this module; every value is a parameter
# Locks the row: the pull cannot end between this look and the commit of who looks.
_LOOK = f"""
    SELECT {_IS_UNDER_WAY} FROM operations_imagepull AS last WHERE image_ref = %(image_ref)s FOR UPDATE
"""  # noqa: S608 - fragments of this module; every value is a parameter
# Everybody who waits for this image; and for the place that is free now, the oldest who waits for one. A row that is
# locked is being claimed, swept or put on record as waiting: whoever does that sees to it, and nobody deadlocks.
_WAKE = f"""
    WITH woken AS (
        SELECT id FROM operations_operation
         WHERE state = 'accepted'
           AND (awaits_image = %(image_ref)s
                OR id = (SELECT min(other.id) FROM operations_operation AS other
                          WHERE other.state = 'accepted' AND other.awaits_image NOT IN ('', %(image_ref)s)
                            AND NOT EXISTS (SELECT 1 FROM operations_imagepull AS last
                                             WHERE last.image_ref = other.awaits_image AND {_IS_UNDER_WAY})))
           AND awaits_image <> ''
           FOR UPDATE SKIP LOCKED)
    UPDATE operations_operation AS waiting
       SET not_before = NULL, awaits_image = '', hinted_at = now()
      FROM woken
     WHERE waiting.id = woken.id
 RETURNING waiting.id, waiting.op_kind
"""  # noqa: S608 - fragments of this module; every value is a parameter


class Places:
    """How many pulls this process may do at once: half of its slots, at least one. The rest is for quick work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = 0

    @property
    def are_free(self) -> bool:
        """Whether one more pull may begin."""
        return self._taken < _places()

    @contextmanager
    def taken(self, image_ref: str) -> Iterator[None]:
        """Hold a place while the block runs. Raises PullAwaitedError when there is none."""
        with self._lock:
            if not self.are_free:
                message = f"image {image_ref} waits for its turn: {self._taken} others are being pulled by this worker"
                raise PullAwaitedError(message, image_ref=image_ref)
            self._taken += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken -= 1


places = Places()


def pull(attempt: Attempt, image_ref: str, *, is_here: bool) -> None:
    """Have the image pulled, by this operation or by another one that does so at the same time.

    ``is_here``: whether some image of this name is on the host. Raises ImagePullFailedError, whoever met it;
    PullAwaitedError when the operation must come back later; ContainersUnavailableError when Docker did not say.
    """
    if _was_pulled_for_us(attempt.operation, image_ref, is_here=is_here):
        return
    # Asked before there is a place, too: who waits for this image need not wait for one.
    _refuse_while_under_way(image_ref)
    with places.taken(image_ref):
        _begin(attempt.claim, image_ref)
        failure = _try(attempt, image_ref)
    # After the place is free, or whoever is woken would find it taken.
    hints().send(_end(attempt.claim, image_ref, failure))
    if failure is not None:
        raise failure


def wait(attempt: Attempt, awaited: PullAwaitedError) -> None:
    """Give the operation back until a pull has ended.

    Raises LeaseLostError, with nothing written, when somebody else owns it by now.
    """
    with transaction.atomic():
        is_under_way = _look(awaited.image_ref)
        claims.set_aside(
            attempt.claim,
            image_ref=awaited.image_ref,
            wait_seconds=_LONGEST_WAIT_SECONDS,
            reason=awaited.message,
            changes=_as_if_not_tried(attempt),
        )
    log.info("pull_awaited", image_ref=awaited.image_ref, reason=awaited.message)
    if not is_under_way and places.are_free:
        # What we wait for ended before we were on record as waiting: nobody else will wake us.
        claims.make_due(attempt.operation.pk)


def _as_if_not_tried(attempt: Attempt) -> dict[str, Any]:
    """Waiting is no attempt, and leaves no steps behind; unless this one has changed something before it."""
    if attempt.has_mutated:
        return {"deferrals": F("deferrals") + 1, "steps": attempt.timeline.steps}
    return {"attempt": F("attempt") - 1, "steps": attempt.operation.steps}


def _was_pulled_for_us(operation: Operation, image_ref: str, *, is_here: bool) -> bool:
    """Whether a pull has ended since we first looked that began after we were asked: it is as good as our own.

    Raises ImagePullFailedError when it was in vain: asked at the same time, the registry would have told us the same.
    """
    last = ImagePull.objects.filter(
        image_ref=image_ref, began_at__gte=operation.accepted_at, ended_at__gte=operation.started_at
    ).first()
    if last is not None and last.outcome == Outcome.FAILURE:
        raise ImagePullFailedError(last.error_message)
    return is_here and last is not None and last.outcome == Outcome.SUCCESS


def _begin(held: Claim, image_ref: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_BEGIN, {"image_ref": image_ref, "operation_id": held.operation_id, "fence": held.fence})
        has_begun = cursor.fetchone() is not None
    if not has_begun:
        _refuse_while_under_way(image_ref)
        # It ended in between. The end is not ours to judge: the next look does.
        message = f"image {image_ref} has just been pulled"
        raise PullAwaitedError(message, image_ref=image_ref)


def _refuse_while_under_way(image_ref: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_PULLER, {"image_ref": image_ref})
        row = cursor.fetchone()
    if row:
        message = f"image {image_ref} is being pulled by operation {row[0]}"
        raise PullAwaitedError(message, image_ref=image_ref)


def _try(attempt: Attempt, image_ref: str) -> RuntimeManagerError | None:
    try:
        with attempt.mutation("pull"):
            attempt.containers.pull(image_ref)
    except (ImagePullFailedError, ContainersUnavailableError) as failure:
        return failure
    return None


def _end(held: Claim, image_ref: str, failure: RuntimeManagerError | None) -> list[tuple[int, OpKind]]:
    """Put the end of our pull on record and make those due who waited for it; the caller sends the hints."""
    with transaction.atomic():
        ours = ImagePull.objects.filter(image_ref=image_ref, operation=held.operation_id, fence=held.fence)
        if not ours.filter(ended_at=None).update(ended_at=Now(), **_told(failure)):
            return []
        with connection.cursor() as cursor:
            cursor.execute(_WAKE, {"image_ref": image_ref})
            return [(operation_id, OpKind(op_kind)) for operation_id, op_kind in sorted(cursor.fetchall())]


def _told(failure: RuntimeManagerError | None) -> dict[str, str]:
    if failure is None:
        return {"outcome": Outcome.SUCCESS}
    if failure.transient:
        return {"outcome": ""}
    return {"outcome": Outcome.FAILURE, "error_message": failure.message.replace("\x00", "")}


def _look(image_ref: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_LOOK, {"image_ref": image_ref})
        row = cursor.fetchone()
    return bool(row and row[0])


def _places() -> int:
    return max(1, int(settings.RTMANAGER.worker_concurrency) // 2)
