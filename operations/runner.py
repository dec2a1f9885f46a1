"""Runs operations: claim, act, finish, then the next of the same game. One call serves one hint."""

import os
import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import structlog
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, connection

from operations import claims, finishing, outages, pulls, repairs
from operations.actions import ACTIONS, abandon, take_back
from operations.attempts import Attempt, FailedWithAftermathError, Result
from operations.claims import Claim
from operations.dispatch import hints
from operations.exceptions import DATABASE_WENT_AWAY, LeaseLostError, PullAwaitedError
from operations.leases import keeper
from operations.states import REST_SOURCES, OpKind
from runtimes.containers import connect
from runtimes.containers.base import ContainerStartFailedError, ContainersUnavailableError, ImagePullFailedError
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

# An operation of which so many attempts have ended without a word is failed instead of tried once more.
MAX_ATTEMPTS = 3
# How long a game may keep a slot while others wait for one; an operation once begun is always ended.
TURN_OPERATIONS = 10
TURN_SECONDS = 5.0
_draining = threading.Event()
_FIRST_BACKOFF_SECONDS = 0.5
_LONGEST_BACKOFF_SECONDS = 30.0


def run(operation_id: int) -> None:
    """Run this operation if it is its turn, then what else waits for the same game, up to the end of a turn.

    What is left then is hinted, behind everybody else's hints. Safe to call any number of times, anywhere, for any
    id. Raises only when the database is away; then the claim is given back as soon as it answers, or the lease
    expires, and the sweep finds the operation again.
    """
    claim = claims.claim(operation_id, claimed_by=worker_name())
    turn_ends, done = time.monotonic() + TURN_SECONDS, 0
    while claim is not None:
        _run_claimed(claim)
        done += 1
        # Looked for after the commit of the end: what was accepted until then was not hinted (intake) but is seen.
        if _draining.is_set() or done >= TURN_OPERATIONS or time.monotonic() >= turn_ends:
            hints().send(claims.pass_on([claim.operation.game_id]))
            return
        claim = claims.claim_next(claim.operation.game_id, claimed_by=worker_name())


def drain() -> None:
    """Take up nothing more in this process; what runs goes on. The rest is hinted, for other workers."""
    _draining.set()


def is_draining() -> bool:
    """Whether nothing more is to be taken up in this process."""
    return _draining.is_set()


def worker_name() -> str:
    """Who claims, as operators find it: host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _run_claimed(claim: Claim) -> None:
    operation = claim.operation
    with _named(claim):
        log.info("operation_claimed", attempt=operation.attempt, op_source=operation.op_source)
        try:
            with keeper.keep(claim):
                _attempt(claim)
        except (LeaseLostError, StaleRuntimeError) as lost:
            # Somebody newer owns the game: whatever we would write or say now would be wrong.
            log.warning("operation_abandoned", reason=lost.message)
        except (DatabaseError, InterfaceError):
            if not connection.is_usable():
                keeper.owe(partial(_give_back, claim))
            raise


def _named(claim: Claim) -> AbstractContextManager[None]:
    operation = claim.operation
    return structlog.contextvars.bound_contextvars(
        operation_id=operation.pk,
        game_id=operation.game_id,
        op_kind=operation.op_kind,
        fence=claim.fence,
        worker=operation.claimed_by,
    )


def _give_back(claim: Claim) -> None:
    """The worker has outlived the absence of the database: its attempt is put off like one without Docker."""
    # Too old, it counts like any other that ended in silence: nothing is tried for ever.
    if claims.is_overdue(claim):
        return
    delay = backoff_seconds(claim.operation.deferrals)
    with _named(claim):
        try:
            claims.defer(claim, delay_seconds=delay, reason=DATABASE_WENT_AWAY)
        except LeaseLostError as lost:
            log.info("operation_abandoned", reason=lost.message)
        else:
            log.info("operation_deferred", reason=DATABASE_WENT_AWAY, delay_seconds=round(delay, 1))


def _attempt(claim: Claim) -> None:
    attempt = Attempt(
        claim,
        runtime=_recorded(claim),
        containers=connect(),
        policy=current_policy(),
    )
    try:
        _refuse_poison(attempt)
        result = DEEDS[OpKind(claim.operation.op_kind)](attempt)
        _store(attempt, result)
    except ContainersUnavailableError as error:
        _wait_or_give_up(attempt, error)
    except PullAwaitedError as awaited:
        _come_back_later(attempt, awaited)
    except (LeaseLostError, StaleRuntimeError, DatabaseError, InterfaceError):
        raise
    except RuntimeManagerError as error:
        _fail(attempt, error)
    except Exception:  # a defect of ours: it must end in one honest result, not in a silent loop
        log.exception("operation_ended_unexpectedly")
        _fail(attempt, RuntimeManagerError("unexpected error inside Runtime Manager; its log names this operation"))
    else:
        outages.docker_answered(attempt)
        log.info("operation_finished", outcome="success", replay=result.is_replay)


def _store(attempt: Attempt, result: Result) -> None:
    try:
        finishing.succeed(attempt.claim, result, runtime=attempt.runtime, steps=attempt.timeline.steps)
    except (DataError, IntegrityError) as error:
        # Refused for what it says: another attempt would end the same, with a game that nobody knows of running.
        log.exception("record_not_stored")
        aftermath = take_back(attempt)
        raise FailedWithAftermathError(_not_stored(attempt), aftermath) from error


def _not_stored(attempt: Attempt) -> RuntimeManagerError:
    reason = "its record could not be stored; the log of Runtime Manager tells why"
    if attempt.operation.op_kind in {OpKind.START, OpKind.RESTART, OpKind.PATCH}:
        return ContainerStartFailedError(f"the container came up, but {reason}; it was removed again")
    return RuntimeManagerError(
        f"the {attempt.operation.op_kind} was done, but {reason}; the next reconcile looks again"
    )


def _recorded(claim: Claim) -> Runtime | None:
    return Runtime.objects.filter(game_id=claim.operation.game_id).first() if claim.has_record else None


def _refuse_poison(attempt: Attempt) -> None:
    silent = attempt.operation.attempt - attempt.operation.deferrals - 1
    if silent < MAX_ATTEMPTS:
        return
    # Cleaning up may be the very thing that kills the worker: it is given as many tries as the work had.
    aftermath = abandon(attempt) if silent < 2 * MAX_ATTEMPTS else Result()
    message = (
        f"given up: {silent} attempts ended without a result: the worker died, lost its lease, or could not write; "
        "its log and the steps show where"
    )
    raise FailedWithAftermathError(RuntimeManagerError(message), aftermath)


def _fail(attempt: Attempt, error: RuntimeManagerError) -> None:
    try:
        finishing.fail(attempt.claim, error, runtime=attempt.runtime, steps=attempt.timeline.steps)
    except (DataError, IntegrityError):
        # It is the aftermath that cannot be stored: the failure is told without it, and reconcile finds the rest.
        log.exception("record_not_stored")
        bare = RuntimeManagerError(error.message)
        bare.code = error.code
        finishing.fail(attempt.claim, bare, runtime=attempt.runtime, steps=attempt.timeline.steps)
    if not error.transient:
        outages.docker_answered(attempt)
    log.warning("operation_finished", outcome="failure", error_code=error.code, reason=error.message)


def _wait_or_give_up(attempt: Attempt, error: ContainersUnavailableError) -> None:
    operation = attempt.operation
    outages.docker_away(error.message)
    untouched = operation.deferrals == 0 and operation.attempt == 1 and not attempt.has_mutated
    # A REST caller is there to hear it and to decide; a job on a stream waits until Docker is back.
    if (operation.op_source in REST_SOURCES and untouched) or claims.is_overdue(attempt.claim):
        _fail(attempt, error)
        return
    delay = backoff_seconds(operation.deferrals)
    claims.defer(attempt.claim, delay_seconds=delay, reason=error.message, steps=attempt.timeline.steps)
    log.info("operation_deferred", reason=error.message, delay_seconds=round(delay, 1))


def _come_back_later(attempt: Attempt, awaited: PullAwaitedError) -> None:
    if claims.is_overdue(attempt.claim):
        _fail(attempt, ImagePullFailedError(f"the job's deadline is over: {awaited.message}"))
    else:
        pulls.wait(attempt, awaited)


def backoff_seconds(deferrals: int) -> float:
    """How long to leave an operation alone after its n-th deferral: doubling, bounded, with jitter of a quarter."""
    delay = min(_FIRST_BACKOFF_SECONDS * 2 ** min(deferrals, 16), _LONGEST_BACKOFF_SECONDS)
    return float(delay * random.uniform(0.75, 1.0))  # noqa: S311 - spreads load, guards nothing
