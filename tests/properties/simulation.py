"""One game in memory: the real actions and repairs on the engine in memory, with the database's part as a model.

The model is what claims, finishing and ``Runtime.transitioned_to`` promise: one claim at a time under a growing fence,
the first open operation first, a record changed only from what it was and under an older fence. test_model.py holds it
against the real thing.
"""

import copy
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from typing import Any, Self

from django.utils import timezone

from operations.execution.attempt import Attempt, FailedWithStateError, Result
from operations.execution.container_creators import Creator, creator_of, has_created
from operations.models import Operation
from operations.queue.claims import Claim, LeaseLostError
from operations.reconcile.plan import Finding, Recorded, plan
from operations.runner import HANDLERS
from operations.states import OperationKind, OperationState, Outcome
from runtimes.container_spec import ContainerPolicy, Limits
from runtimes.containers.base import Container, ContainersUnavailableError
from runtimes.containers.fake.adapter import FakeAdapter, FakeDocker, FakeImage
from runtimes.exceptions import ErrorCode, RuntimeManagerError, StaleRuntimeError
from runtimes.models import Runtime
from runtimes.states import INITIAL_STATUSES, RuntimeStatus, can_transition

GAME = "g1"
STACK = "mine"
OLD, NEW, DYING = "engine:1.0.0", "engine:1.0.1", "engine:1.0.2"

# Removed when the process ends.
_STATE_ROOT = tempfile.TemporaryDirectory(prefix="properties-")
POLICY = ContainerPolicy(
    stack=STACK,
    network="net",
    state_root=_STATE_ROOT.name,
    state_mount_path="/var/lib/galaxy-game",
    state_env_name="GAME_STATE_PATH",
    default_limits=Limits(cpu_quota=1.0, memory_bytes=2**29, pids_limit=512),
    read_only=True,
    user="",
    stop_grace_seconds=1,
)
IMAGES = {OLD: FakeImage(), NEW: FakeImage(), DYING: FakeImage(exit_code=3)}


class WorkerKilledError(BaseException):
    """The worker's process ends here: nothing of ours may catch it."""


class MachineClock:
    """In the place of the connection that is asked for the time: the bench has no database."""

    def cursor(self) -> "MachineClock":
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was opened."""

    def execute(self, _statement: str) -> None:
        """The answer is the same whatever is asked."""

    def fetchone(self) -> tuple[datetime]:
        return (timezone.now(),)


class BreakableEngine(FakeDocker):
    """Lets something happen at one chosen moment: before or right after the effect of the n-th call from now."""

    def __init__(self) -> None:
        super().__init__()
        self.networks.add(POLICY.network)
        self.images.update(IMAGES)
        self._moments_left = 0
        self._then: Callable[[], None] = lambda: None
        self.after_each_call: Callable[[], None] = lambda: None

    def break_at(self, moment: int, then: Callable[[], None]) -> None:
        """Odd moments are before a call, even ones after it; 0 is never."""
        self._moments_left, self._then = moment, then

    @contextmanager
    def call(self, method: str) -> Iterator[None]:
        self._pass_a_moment()
        with super().call(method):
            yield
        self.after_each_call()
        self._pass_a_moment()

    def _pass_a_moment(self) -> None:
        self._moments_left -= 1
        if self._moments_left == 0:
            self._then()


class BenchAttempt(Attempt):
    """An attempt whose lease is looked up on the bench."""

    def __init__(self, bench: "Bench", claim: Claim, *, runtime: Runtime | None) -> None:
        super().__init__(claim, runtime=runtime, containers=FakeAdapter(bench.engine), policy=POLICY)
        self._bench = bench

    @contextmanager
    def write_step(self, name: str) -> Iterator[None]:
        with self.timeline.step(name):
            row = self._bench.row(self.claim)
            row.steps, row.container_id = list(self.timeline.steps), self.operation.container_id
            self.has_written = True
            yield

    def restored_at(self, record: Runtime) -> datetime | None:
        del record
        return None

    def creator_of(self, container: Container) -> Creator | None:
        return self._bench.makers().get(container.id)


class Bench:
    """One game, its record, its operations in order, and a worker that is moved by hand."""

    def __init__(self) -> None:
        self.engine = BreakableEngine()
        self.record: Runtime | None = None
        self.operations: list[Operation] = []
        self.makers_elsewhere: Mapping[str, Creator] = {}
        self._fences = count(100)
        self._expired: set[int] = set()

    def ask(self, op_kind: OperationKind, arguments: Mapping[str, Any]) -> Operation:
        """Put an operation on record."""
        operation = Operation(
            pk=len(self.operations) + 1000,
            game_id=GAME,
            op_kind=op_kind,
            arguments=dict(arguments),
            image_ref=arguments.get("image_ref", ""),
            job_key=f"job:{len(self.operations) + 1000}",
            steps=[],
        )
        self.operations.append(operation)
        return operation

    def expire(self, operation: Operation) -> None:
        """Let time pass until the claimer is presumed dead."""
        self._expired.add(operation.pk)

    def _holds(self, claim: Claim) -> bool:
        return any(
            one.state == OperationState.RUNNING and one.fence == claim.fence
            for one in self.operations
            if one.pk == claim.operation_id
        )

    def row(self, claim: Claim) -> Operation:
        """The row of an operation that is still held; raises LeaseLostError when it is not."""
        if not self._holds(claim):
            message = f"operation {claim.operation_id} is no longer held under fence {claim.fence}"
            raise LeaseLostError(message)
        return next(one for one in self.operations if one.pk == claim.operation_id)

    def work(self, operation: Operation) -> None:
        """A worker follows a notification, as the runner does; it may be killed or overtaken on the way."""
        claim = self._claim(operation)
        if claim is None:
            return
        try:
            self._attempt(claim)
        except (LeaseLostError, StaleRuntimeError):
            return
        except WorkerKilledError:
            if self._holds(claim):
                self.expire(operation)

    def _attempt(self, claim: Claim) -> None:
        attempt = BenchAttempt(self, claim, runtime=copy.copy(self.record))
        try:
            result = HANDLERS[OperationKind(claim.operation.op_kind)](attempt)
            error_code = ErrorCode.REPLAY_NO_OP if result.is_no_op else ""
            self._close(claim, attempt.runtime, result, Outcome.SUCCESS, error_code=error_code)
        except ContainersUnavailableError:
            row = self.row(claim)
            row.state, row.steps = OperationState.ACCEPTED, list(attempt.timeline.steps)
        except (LeaseLostError, StaleRuntimeError):
            raise
        except RuntimeManagerError as error:
            resulting_state = error.resulting_state if isinstance(error, FailedWithStateError) else Result()
            self._close(claim, attempt.runtime, resulting_state, Outcome.FAILURE, error_code=error.code)

    def drain(self) -> None:
        """Work until nothing is open."""
        self.engine.break_at(0, lambda: None)
        for operation in list(self.operations):
            if operation.state == OperationState.RUNNING:
                self.expire(operation)
        for operation in list(self.operations):
            self.work(operation)

    def findings(self) -> list[Finding]:
        """What the reconciler concludes from the record and the engine as they are."""
        record, busy = self.record, any(one.is_open for one in self.operations)
        known = {}
        if record is not None:
            status = RuntimeStatus(record.status)
            known[GAME] = Recorded(
                GAME, status, record.current_container_id, record.fence, record.engine_endpoint
            )  # fmt: skip
        return plan(
            known,
            FakeAdapter(self.engine).list_owned(STACK),
            busy={GAME} if busy else set(),
            creators=self.makers(),
            names_of_others={one.name for one in self.engine.containers.values()},
        )

    def request_repair(self, finding: Finding) -> Operation:
        """Ask for the repair of a finding, as the reconciler does."""
        assert finding.op_kind is not None
        arguments = {
            "container_id": finding.container_id,
            "record_fence": finding.record_fence,
            "is_leftover": finding.is_leftover,
        }
        return self.ask(finding.op_kind, arguments)

    def reconcile(self) -> list[Finding]:
        """Survey once and repair every finding that needs no operator; returns the findings."""
        findings = self.findings()
        for finding in findings:
            if finding.op_kind is not None:
                self.work(self.request_repair(finding))
        return findings

    def owned(self) -> list[Container]:
        """The containers of this installation."""
        return [one for one in self.engine.containers.values() if one.is_owned_by(STACK)]

    def foreign(self) -> list[Container]:
        """The containers of everyone else."""
        return [one for one in self.engine.containers.values() if not one.is_owned_by(STACK)]

    def made_and_alive(self) -> list[Container]:
        """The containers that an operation of ours has made and that live."""
        return [one for one in self.owned() if one.is_alive and one.job_key]

    def makers(self) -> dict[str, Creator]:
        """By container id, the ended operation that each container names."""
        ended = [one for one in self.operations if one.state == OperationState.FINISHED]
        named = {
            one.id: creator_of(maker)
            for one in self.engine.containers.values()
            for maker in ended
            if has_created(maker, one)
        }
        return {**self.makers_elsewhere, **named}

    def _claim(self, operation: Operation) -> Claim | None:
        head = next((one for one in self.operations if one.is_open), None)
        if operation is not head or (operation.state == OperationState.RUNNING and operation.pk not in self._expired):
            return None
        self._expired.discard(operation.pk)
        operation.state, operation.fence = OperationState.RUNNING, next(self._fences)
        operation.attempt += 1
        return Claim(copy.copy(operation))

    def _close(
        self, claim: Claim, runtime: Runtime | None, result: Result, outcome: Outcome, *, error_code: str = ""
    ) -> None:
        row = self.row(claim)
        if result.status is not None:
            self.record = self._written(claim, runtime, result)
        row.state, row.outcome, row.error_code = OperationState.FINISHED, outcome, error_code
        if outcome == Outcome.SUCCESS:
            row.container_id = result.container_id

    def _written(self, claim: Claim, runtime: Runtime | None, result: Result) -> Runtime:
        status, now = RuntimeStatus(result.status or ""), timezone.now()
        if runtime is None:
            if self.record is not None or status not in INITIAL_STATUSES:
                message = "no such step"
                raise StaleRuntimeError(message)
            return Runtime(GAME, status, fence=claim.fence, last_op_at=now, created_at=now, **result.changes)
        current = self.record
        fits = current is not None and current.status == runtime.status and current.fence < claim.fence
        if current is None or not fits or not can_transition(RuntimeStatus(current.status), status):
            message = "a newer claim has written the record"
            raise StaleRuntimeError(message)
        written = copy.copy(current)
        for name, value in {"status": status, "fence": claim.fence, "last_op_at": now, **result.changes}.items():
            setattr(written, name, value)
        return written
