"""Run operations: claim, act, complete, then the next operation of the same game. One call serves one notification."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

import structlog
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, connection
from django.utils.module_loading import import_string

from operations.actions.rollback import clean_up_after_give_up, rollback
from operations.dispatch import notifier
from operations.execution import completion, image_pulls
from operations.execution.attempt import Attempt, FailedWithStateError, Result
from operations.execution.image_pulls import WaitingForPullError
from operations.execution.observation import holders, host_name_taken, is_host_name_violation
from operations.kinds import CREATES_CONTAINER, KINDS
from operations.queue import claims
from operations.queue.claims import Claim, LeaseLostError
from operations.queue.lease_renewer import lease_renewer
from operations.states import REST_SOURCES
from runtimes.container_spec import current_policy
from runtimes.containers import connect
from runtimes.containers.base import (
    ContainerStartFailedError,
    ContainersUnavailableError,
    DockerRefusedError,
    ImagePullFailedError,
)
from runtimes.exceptions import RuntimeManagerError, StaleRuntimeError
from runtimes.models import Runtime
from runtimes.process import backoff, shutting_down

log = structlog.get_logger(__name__)

HANDLERS: Mapping[str, Callable[[Attempt], Result]] = {
    name: import_string(kind.handler) for name, kind in KINDS.items()
}

# After this many attempts without a result, an operation fails instead of being tried once more.
MAX_ATTEMPTS = 3
_FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
# Why a worker requeued an operation after a database outage.
DATABASE_WENT_AWAY = "PostgreSQL was down during the attempt"


def run(operation_id: int) -> None:
    """Run this operation if it is the next one of its game, then the following ones, up to the end of a time slice.

    The rest is notified again, behind the notifications of other games. Safe to call any number of times, in any
    process, for any id. Raises only if the database is down. Then the claim is requeued when the database is back; or
    the lease expires, and the sweep finds the operation again.
    """
    claim = claims.claim(operation_id, claimed_by=claims.worker_name())
    slice_ends, done = time.monotonic() + claims.TIME_SLICE_SECONDS, 0
    while claim is not None:
        with _log_context(claim):
            _execute(claim)
        done += 1
        is_slice_over = done >= claims.TIME_SLICE_OPERATIONS or time.monotonic() >= slice_ends
        # Queried after the commit: an operation accepted before it was not notified by intake, but is found here.
        if shutting_down.is_set() or is_slice_over:
            notifier().send(claims.notify_next([claim.operation.game_id]))
            return
        claim = claims.claim_next(claim.operation.game_id, claimed_by=claims.worker_name())


def backoff_seconds(retries: int) -> float:
    """The delay before the next attempt: doubled with each retry up to LONGEST_BACKOFF_SECONDS, with jitter."""
    return backoff(retries, first=_FIRST_BACKOFF_SECONDS, longest=LONGEST_BACKOFF_SECONDS)


def _execute(claim: Claim) -> None:
    operation = claim.operation
    log.info("operation_claimed", attempt=operation.attempt, op_source=operation.op_source)
    try:
        with lease_renewer.renewing(claim):
            record = Runtime.objects.filter(game_id=operation.game_id).first() if claim.has_record else None
            attempt = Attempt(claim, runtime=record, containers=connect(), policy=current_policy())
            try:
                _fail_if_crash_looping(attempt)
                result = HANDLERS[operation.op_kind](attempt)
                _complete(attempt, result)
            except (LeaseLostError, StaleRuntimeError, DatabaseError, InterfaceError):
                raise
            except RuntimeManagerError as error:
                _retry_or_fail(attempt, error)
            except Exception:  # a bug of RTM: the operation must fail visibly instead of being retried forever
                log.exception("operation_ended_unexpectedly")
                message = "unexpected error inside Runtime Manager; its log names this operation"
                _fail(attempt, RuntimeManagerError(message))
            else:
                docker_availability.mark_available(attempt)
                note = {"note": result.note} if result.note else {}
                log.info("operation_finished", outcome="success", no_op=result.is_no_op, **note)
    except (LeaseLostError, StaleRuntimeError) as lost:
        # A newer claim owns the game: this worker must write and publish nothing.
        log.warning("operation_abandoned", reason=lost.message)
    except (DatabaseError, InterfaceError):
        if not connection.is_usable():
            lease_renewer.run_when_db_is_back(partial(_requeue_after_db_outage, claim))
        raise


def _fail_if_crash_looping(attempt: Attempt) -> None:
    """Raise FailedWithStateError if too many attempts ended without a result: the work may kill its workers."""
    crashed = attempt.operation.attempt - attempt.operation.retries - 1
    if crashed < MAX_ATTEMPTS:
        return
    # The cleanup may kill the worker, too: it gets as many attempts as the operation had.
    resulting_state = clean_up_after_give_up(attempt) if crashed < 2 * MAX_ATTEMPTS else Result()
    message = (
        f"given up: {crashed} attempts ended without a result: the worker died, lost its lease, or could not write; "
        "its log and the steps show where"
    )
    raise FailedWithStateError(RuntimeManagerError(message), resulting_state)


def _complete(attempt: Attempt, result: Result) -> None:
    with_notes = replace(result, note="; ".join(filter(None, [result.note, *attempt.notes])))
    try:
        completion.succeed(attempt.claim, with_notes, runtime=attempt.runtime, steps=attempt.timeline.steps)
    except (DataError, IntegrityError) as error:
        if is_host_name_violation(error):
            # Two first starts at the same time, of ids that differ only in case: the other one was recorded first.
            game_id = attempt.game_id
            other = holders([game_id]).get(game_id.lower(), game_id.lower())
            raise FailedWithStateError(host_name_taken(game_id, other), rollback(attempt)) from error
        # PostgreSQL rejects the values: another attempt would fail the same, and leave a running game without a record.
        log.exception("record_not_stored")
        resulting_state, op_kind = rollback(attempt), attempt.operation.op_kind
        reason = "its record could not be stored; the log of Runtime Manager shows why"
        failure = RuntimeManagerError(f"the {op_kind} was done, but {reason}; the next reconcile checks the game")
        if op_kind in CREATES_CONTAINER:
            failure = ContainerStartFailedError(f"the container came up, but {reason}; it was removed again")
        raise FailedWithStateError(failure, resulting_state) from error


def _retry_or_fail(attempt: Attempt, error: RuntimeManagerError) -> None:
    """End the attempt: the operation waits for a server or for the pull of its image, or it fails with this error."""
    match error:
        case ContainersUnavailableError():
            _retry_or_fail_without_docker(attempt, error)
        case WaitingForPullError() if claims.is_past_deadline(attempt.claim):
            _fail(attempt, ImagePullFailedError(f"the job's deadline is over: {error.message}"))
        case WaitingForPullError():
            image_pulls.wait_for_pull(attempt, error)
        case DockerRefusedError() if attempt.operation.op_kind in CREATES_CONTAINER:
            # Docker refused a call that has no error code of its own.
            _fail(attempt, ContainerStartFailedError(error.message, error.refusal))
        case _:
            _fail(attempt, error)


def _fail(attempt: Attempt, error: RuntimeManagerError) -> None:
    store = partial(completion.fail, attempt.claim, runtime=attempt.runtime, steps=attempt.timeline.steps)
    try:
        store(error, notes=attempt.notes)
    except (DataError, IntegrityError):
        # The resulting state cannot be stored: store the failure without it. Reconcile finds the difference.
        log.exception("record_not_stored")
        bare = RuntimeManagerError(error.message)
        bare.code = error.code
        store(bare)
    if not error.transient:
        docker_availability.mark_available(attempt)
    log.warning("operation_finished", outcome="failure", error_code=error.code, reason=error.message)


def _retry_or_fail_without_docker(attempt: Attempt, error: ContainersUnavailableError) -> None:
    """Docker is down: a REST call fails at once so that its caller can decide; a stream job is retried later."""
    operation = attempt.operation
    docker_availability.mark_unavailable(error.message)
    is_untouched = operation.retries == 0 and operation.attempt == 1 and not attempt.has_written
    if (operation.op_source in REST_SOURCES and is_untouched) or claims.is_past_deadline(attempt.claim):
        _fail(attempt, error)
        return
    delay = backoff_seconds(operation.retries)
    claims.retry_later(attempt.claim, delay_seconds=delay, reason=error.message, steps=attempt.timeline.steps)
    log.info("operation_deferred", reason=error.message, delay_seconds=round(delay, 1))


def _requeue_after_db_outage(claim: Claim) -> None:
    """The worker has survived a database outage: its attempt is retried like one during a Docker outage."""
    # Past the deadline the attempt counts like one of a dead worker, so that retries end.
    if claims.is_past_deadline(claim):
        return
    delay = backoff_seconds(claim.operation.retries)
    with _log_context(claim):
        try:
            claims.retry_later(claim, delay_seconds=delay, reason=DATABASE_WENT_AWAY)
        except LeaseLostError as lost:
            log.info("operation_abandoned", reason=lost.message)
        else:
            log.info("operation_deferred", reason=DATABASE_WENT_AWAY, delay_seconds=round(delay, 1))


def _log_context(claim: Claim) -> AbstractContextManager[None]:
    operation = claim.operation
    return structlog.contextvars.bound_contextvars(
        operation_id=operation.pk,
        game_id=operation.game_id,
        op_kind=operation.op_kind,
        fence=claim.fence,
        worker=operation.claimed_by,
    )


class DockerAvailability:
    """Logs once when Docker becomes unavailable for this process, and once when it is available again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_down = False

    def mark_unavailable(self, reason: str) -> None:
        """Docker did not answer."""
        with self._lock:
            if not self._is_down:
                log.warning("docker_not_reached", reason=reason)
            self._is_down = True

    def mark_available(self, attempt: Attempt) -> None:
        """An attempt has ended. It proves nothing if it called Docker in no step."""
        if attempt.timeline.steps == attempt.operation.steps:
            return
        with self._lock:
            if self._is_down:
                log.info("docker_reached_again")
            self._is_down = False


docker_availability = DockerAvailability()
