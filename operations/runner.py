"""Runs operations: claim, act, finish, then the next of the same game. One call serves one hint."""

import os
import random
import socket
import threading
from collections.abc import Callable

import structlog
from django.conf import settings
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError
from django.utils import timezone

from operations import claims, finishing, repairs
from operations.actions import ACTIONS, abandon
from operations.attempts import Attempt, Result
from operations.claims import Claim
from operations.exceptions import LeaseLostError
from operations.leases import keeper
from operations.states import REST_SOURCES, OpKind
from runtimes.containers import connect
from runtimes.containers.base import ContainerStartFailedError, ContainersUnavailableError
from runtimes.exceptions import RuntimeManagerError, StaleRuntimeError
from runtimes.models import Runtime
from runtimes.policy import current_policy

log = structlog.get_logger(__name__)

DEEDS: dict[OpKind, Callable[[Attempt], Result]] = {
    **ACTIONS,
    OpKind.RECONCILE_ADOPT: repairs.adopt,
    OpKind.RECONCILE_DISPOSE: repairs.dispose,
    OpKind.RECONCILE_EXIT: repairs.observe_exit,
}

# An operation that has killed its worker this often is failed instead of tried once more.
MAX_ATTEMPTS = 3
_draining = threading.Event()
_FIRST_BACKOFF_SECONDS = 0.5
_LONGEST_BACKOFF_SECONDS = 30.0


def run(operation_id: int) -> None:
    """Run this operation if it is its turn, then whatever else waits for the same game.

    Safe to call any number of times, anywhere, for any id. Raises only when the database is away; then the lease
    expires and the sweep finds the operation again.
    """
    claim = claims.claim(operation_id, claimed_by=worker_name())
    while claim is not None:
        _run_claimed(claim)
        if _draining.is_set():
            return
        claim = claims.claim_next(claim.operation.game_id, claimed_by=worker_name())


def drain() -> None:
    """Take up nothing more in this process; what runs goes on. The sweep gives the rest to other workers."""
    _draining.set()


def worker_name() -> str:
    """Who claims, as operators find it: host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _run_claimed(claim: Claim) -> None:
    operation = claim.operation
    with structlog.contextvars.bound_contextvars(
        operation_id=operation.pk, game_id=operation.game_id, op_kind=operation.op_kind, fence=claim.fence
    ):
        log.info("operation_claimed", attempt=operation.attempt, op_source=operation.op_source)
        try:
            with keeper.keep(claim):
                _attempt(claim)
        except (LeaseLostError, StaleRuntimeError) as lost:
            # Somebody newer owns the game: whatever we would write or say now would be wrong.
            log.warning("operation_abandoned", reason=lost.message)


def _attempt(claim: Claim) -> None:
    attempt = Attempt(
        claim,
        runtime=Runtime.objects.filter(game_id=claim.operation.game_id).first(),
        containers=connect(),
        policy=current_policy(),
    )
    try:
        _refuse_poison(attempt)
        result = DEEDS[OpKind(claim.operation.op_kind)](attempt)
        _store(attempt, result)
    except ContainersUnavailableError as error:
        _wait_or_give_up(attempt, error)
    except (LeaseLostError, StaleRuntimeError, DatabaseError, InterfaceError):
        raise
    except RuntimeManagerError as error:
        _fail(attempt, error)
    except Exception:  # a defect of ours: it must end in one honest result, not in a silent loop
        log.exception("operation_ended_unexpectedly")
        _fail(attempt, RuntimeManagerError("unexpected error inside Runtime Manager; its log names this operation"))
    else:
        log.info("operation_finished", outcome="success", replay=result.is_replay)


def _store(attempt: Attempt, result: Result) -> None:
    try:
        finishing.succeed(attempt.claim, result, runtime=attempt.runtime, steps=attempt.timeline.steps)
    except (DataError, IntegrityError) as error:
        if attempt.operation.op_kind != OpKind.START:
            raise
        # Refused for what it says: another attempt would end the same, with a game that nobody knows of running.
        log.exception("record_not_stored")
        abandon(attempt)
        message = "the container came up, but its record could not be stored; the log of Runtime Manager tells why"
        raise ContainerStartFailedError(message) from error


def _refuse_poison(attempt: Attempt) -> None:
    deaths = attempt.operation.attempt - attempt.operation.deferrals - 1
    if deaths < MAX_ATTEMPTS:
        return
    # Cleaning up may be the very thing that kills the worker: it is given as many tries as the work had.
    if deaths < 2 * MAX_ATTEMPTS:
        abandon(attempt)
    message = f"given up: the worker died {deaths} times while doing this; its log and the steps show where"
    raise RuntimeManagerError(message)


def _fail(attempt: Attempt, error: RuntimeManagerError) -> None:
    finishing.fail(attempt.claim, error, runtime=attempt.runtime, steps=attempt.timeline.steps)
    log.warning("operation_finished", outcome="failure", error_code=error.code, reason=error.message)


def _wait_or_give_up(attempt: Attempt, error: ContainersUnavailableError) -> None:
    operation = attempt.operation
    untouched = operation.deferrals == 0 and operation.attempt == 1 and not attempt.has_mutated
    overdue = timezone.now() > operation.accepted_at + settings.RTMANAGER.job_deadline
    # A REST caller is there to hear it and to decide; a job on a stream waits until Docker is back.
    if overdue or (operation.op_source in REST_SOURCES and untouched):
        _fail(attempt, error)
        return
    delay = backoff_seconds(operation.deferrals)
    claims.defer(attempt.claim, delay_seconds=delay, reason=error.message, steps=attempt.timeline.steps)
    log.warning("operation_deferred", reason=error.message, delay_seconds=round(delay, 1))


def backoff_seconds(deferrals: int) -> float:
    """How long to leave an operation alone after its n-th deferral: doubling, bounded, with jitter of a quarter."""
    delay = min(_FIRST_BACKOFF_SECONDS * 2 ** min(deferrals, 16), _LONGEST_BACKOFF_SECONDS)
    return float(delay * random.uniform(0.75, 1.0))  # noqa: S311 - spreads load, guards nothing
