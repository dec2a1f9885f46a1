"""Pull each image once for all operations that need it, and never with all slots of a worker.

The puller of an image is a row that is valid as long as the lease of its operation. So no lock outlives a dead worker,
no pull needs a database connection of its own, and a pooler in transaction mode works. An operation that must wait
frees its worker slot. The end of a pull makes the waiting operations ready and notifies the workers.
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

from operations.dispatch import notifier
from operations.execution.attempt import Attempt
from operations.models import ImagePull, Operation
from operations.queue import claims
from operations.queue.claims import Claim
from operations.states import OperationKind, OperationState, Outcome
from runtimes.containers.base import OBSERVATION_ERRORS, ImagePullFailedError
from runtimes.exceptions import RuntimeManagerError

log = structlog.get_logger(__name__)

# The end of a pull wakes the waiting operations. This limit covers a worker that died before it could do so.
_LONGEST_WAIT_SECONDS = 15.0

# Condition on a pull ``last``: it is running, and the worker that pulls holds its lease.
_IS_UNDER_WAY = """(last.ended_at IS NULL AND EXISTS (
    SELECT 1 FROM operations_operation AS puller
     WHERE puller.id = last.operation_id
       AND puller.fence = last.fence
       AND puller.state = 'running'
       AND puller.lease_until > now()))"""
# Purpose: make this operation the puller of the image, unless another pull of it is running.
# Locks: the row of the image.
_BEGIN_PULL = f"""
    INSERT INTO operations_imagepull AS last (image_ref, operation_id, fence, started_at, outcome, error_message)
    VALUES (%(image_ref)s, %(operation_id)s, %(fence)s, now(), '', '')
    ON CONFLICT (image_ref) DO UPDATE
       SET operation_id = excluded.operation_id, fence = excluded.fence, started_at = now(),
           ended_at = NULL, outcome = '', error_message = ''
     WHERE NOT {_IS_UNDER_WAY}
 RETURNING 1
"""  # noqa: S608 - fragments of this module; every value is a parameter
# Purpose: the operation that pulls the image now. Locks: none.
_FIND_PULLER = f"""
    SELECT operation_id FROM operations_imagepull AS last WHERE image_ref = %(image_ref)s AND {_IS_UNDER_WAY}
"""  # noqa: S608 - fragments of this module; every value is a parameter
# Purpose: whether a pull of the image is running. Locks: the row of the image, so that the pull cannot end before the
# caller commits.
_LOCK_PULL = f"""
    SELECT {_IS_UNDER_WAY} FROM operations_imagepull AS last WHERE image_ref = %(image_ref)s FOR UPDATE
"""  # noqa: S608 - fragments of this module; every value is a parameter
# Purpose: make all operations ready that wait for this image, and the oldest one that waits for a pull slot.
# Locks: their rows, with SKIP LOCKED. Another process is handling a locked row; skipping it avoids deadlocks.
_WAKE_WAITING = f"""
    WITH woken AS (
        SELECT id FROM operations_operation
         WHERE state = 'accepted'
           AND (waiting_for_image = %(image_ref)s
                OR id = (SELECT min(other.id) FROM operations_operation AS other
                          WHERE other.state = 'accepted' AND other.waiting_for_image NOT IN ('', %(image_ref)s)
                            AND NOT EXISTS (SELECT 1 FROM operations_imagepull AS last
                                             WHERE last.image_ref = other.waiting_for_image AND {_IS_UNDER_WAY})))
           AND waiting_for_image <> ''
           FOR UPDATE SKIP LOCKED)
    UPDATE operations_operation AS waiting
       SET not_before = NULL, waiting_for_image = '', notified_at = now()
      FROM woken
     WHERE waiting.id = woken.id
 RETURNING waiting.id, waiting.op_kind
"""  # noqa: S608 - fragments of this module; every value is a parameter


class WaitingForPullError(RuntimeManagerError):
    """Another operation pulls the image, or no pull slot is free: the operation waits for the end of a pull."""

    transient = True

    def __init__(self, message: str, *, image_ref: str) -> None:
        super().__init__(message)
        self.image_ref = image_ref


class PullSlots:
    """Limits the pulls of this process to half of its worker slots, at least one. The others stay free."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = 0

    @property
    def has_free_slot(self) -> bool:
        """Whether one more pull may begin."""
        return self._taken < max(1, int(settings.RTMANAGER.worker_concurrency) // 2)

    @contextmanager
    def acquire(self, image_ref: str) -> Iterator[None]:
        """Hold a slot while the block runs. Raises WaitingForPullError if none is free."""
        with self._lock:
            if not self.has_free_slot:
                message = f"image {image_ref} waits for a pull slot: this worker pulls {self._taken} other images"
                raise WaitingForPullError(message, image_ref=image_ref)
            self._taken += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken -= 1


pull_slots = PullSlots()


def pull(attempt: Attempt, image_ref: str, *, is_here: bool) -> None:
    """Pull the image, or use a pull of the same image by another operation.

    ``is_here``: whether an image of this name is on the host. Raises ImagePullFailedError, also if the pull of another
    operation failed; WaitingForPullError if the operation must wait; ContainersUnavailableError if Docker is down.
    """
    if _is_already_pulled(attempt.operation, image_ref, is_here=is_here):
        return
    # Before a slot is taken: an operation that waits for this image needs no slot.
    _reject_while_under_way(image_ref)
    with pull_slots.acquire(image_ref):
        _begin_pull(attempt.claim, image_ref)
        failure: RuntimeManagerError | None = None
        try:
            with attempt.write_step("pull"):
                attempt.containers.pull(image_ref)
        except (ImagePullFailedError, *OBSERVATION_ERRORS) as error:
            failure = error
    # After the slot is free, so that the woken operation finds a free slot.
    notifier().send(_end_pull(attempt.claim, image_ref, failure))
    if failure is not None:
        raise failure


def wait_for_pull(attempt: Attempt, waiting: WaitingForPullError) -> None:
    """Requeue the operation until a pull has ended.

    Raises LeaseLostError, with nothing written, if another worker owns the operation now.
    """
    with transaction.atomic():
        row = _fetch(_LOCK_PULL, waiting.image_ref)
        claims.requeue(
            attempt.claim,
            delay_seconds=_LONGEST_WAIT_SECONDS,
            waiting_for_image=waiting.image_ref,
            error_message=waiting.message,
            **_unconsumed_attempt(attempt),
        )
    log.info("waiting_for_image_pull", image_ref=waiting.image_ref, reason=waiting.message)
    is_under_way = row is not None and row[0]
    if not is_under_way and pull_slots.has_free_slot:
        # The pull ended before our wait was recorded, so its end did not wake this operation.
        still_waiting = Operation.objects.filter(pk=attempt.operation.pk, state=OperationState.ACCEPTED)
        still_waiting.exclude(waiting_for_image="").update(not_before=None, waiting_for_image="")


def _unconsumed_attempt(attempt: Attempt) -> dict[str, Any]:
    """Waiting does not count as an attempt and leaves no steps, unless this attempt has changed something before."""
    if attempt.has_written:
        return {"retries": F("retries") + 1, "steps": attempt.timeline.steps}
    return {"attempt": F("attempt") - 1, "steps": attempt.operation.steps}


def _is_already_pulled(operation: Operation, image_ref: str, *, is_here: bool) -> bool:
    """Whether a pull began after this operation was accepted and ended after its first claim: it counts as its own.

    Raises ImagePullFailedError if that pull failed: the registry would have answered this operation the same.
    """
    last = ImagePull.objects.filter(
        image_ref=image_ref, started_at__gte=operation.accepted_at, ended_at__gte=operation.started_at
    ).first()
    if last is not None and last.outcome == Outcome.FAILURE:
        raise ImagePullFailedError(last.error_message)
    return is_here and last is not None and last.outcome == Outcome.SUCCESS


def _begin_pull(claim: Claim, image_ref: str) -> None:
    if _fetch(_BEGIN_PULL, image_ref, operation_id=claim.operation_id, fence=claim.fence) is None:
        _reject_while_under_way(image_ref)
        # That pull ended between the two statements. The next attempt reads its outcome.
        message = f"image {image_ref} has just been pulled"
        raise WaitingForPullError(message, image_ref=image_ref)


def _reject_while_under_way(image_ref: str) -> None:
    if row := _fetch(_FIND_PULLER, image_ref):
        message = f"image {image_ref} is being pulled by operation {row[0]}"
        raise WaitingForPullError(message, image_ref=image_ref)


def _end_pull(claim: Claim, image_ref: str, failure: RuntimeManagerError | None) -> list[tuple[int, OperationKind]]:
    """Record the end of this pull and make the waiting operations ready; the caller notifies the workers."""
    outcome, message = Outcome.SUCCESS.value, ""
    if failure is not None:
        # Docker gave no answer: the outcome is unknown.
        outcome = "" if failure.transient else Outcome.FAILURE.value
        message = "" if failure.transient else failure.message.replace("\x00", "")
    with transaction.atomic():
        ours = ImagePull.objects.filter(image_ref=image_ref, operation=claim.operation_id, fence=claim.fence)
        if not ours.filter(ended_at=None).update(ended_at=Now(), outcome=outcome, error_message=message):
            return []
        with connection.cursor() as cursor:
            cursor.execute(_WAKE_WAITING, {"image_ref": image_ref})
            return [(operation_id, OperationKind(op_kind)) for operation_id, op_kind in sorted(cursor.fetchall())]


def _fetch(statement: str, image_ref: str, **params: Any) -> tuple[Any, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"image_ref": image_ref, **params})
        row: tuple[Any, ...] | None = cursor.fetchone()
    return row
