"""One game in memory: the real actions and repairs on the engine in memory, with the database's part as a model.

The model is what claims, finishing and ``Runtime.moved_to`` promise: one claim at a time under a growing fence, the
first open operation first, a record changed only from what it was and under an older fence. test_model.py holds it
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

from operations.attempts import Attempt, FailedWithAftermathError, Result
from operations.claims import Claim
from operations.exceptions import LeaseLostError
from operations.models import Operation
from operations.reconciler import Finding, Recorded, plan
from operations.runner import DEEDS
from operations.states import OpKind, OpState, Outcome
from runtimes.containers.base import Container, ContainersUnavailableError
from runtimes.containers.fake import FakeContainers, FakeEngine, FakeImage
from runtimes.exceptions import ErrorCode, RuntimeManagerError, StaleRuntimeError
from runtimes.models import Runtime
from runtimes.specs import ContainerPolicy, Limits
from runtimes.states import INITIAL_STATUSES, RuntimeStatus, may_move

GAME = "g1"
STACK = "mine"
OLD, NEW, DYING = "engine:1.0.0", "engine:1.0.1", "engine:1.0.2"

POLICY = ContainerPolicy(
    stack=STACK,
    network="net",
    state_root=tempfile.mkdtemp(prefix="properties-"),
    state_mount_path="/var/lib/galaxy-game",
    state_env_name="GAME_STATE_PATH",
    default_limits=Limits(cpu_quota=1.0, memory_bytes=2**29, pids_limit=512),
    read_only=True,
    user="",
    stop_grace_seconds=1,
)
IMAGES = {OLD: FakeImage(), NEW: FakeImage(), DYING: FakeImage(exits_with=3)}


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


class BreakableEngine(FakeEngine):
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
        super().__init__(claim, runtime=runtime, containers=FakeContainers(bench.engine), policy=POLICY)
        self._bench = bench

    @contextmanager
    def mutation(self, name: str) -> Iterator[None]:
        with self.timeline.step(name):
            self._bench.row(self.claim).steps = list(self.timeline.steps)
            self.has_mutated = True
            yield

    def maker_of(self, container: Container) -> OpKind | None:
        if container.operation_id in self._bench.replaced_elsewhere:
            return OpKind.RESTART
        mine = [one.op_kind for one in self._bench.operations if str(one.pk) == container.operation_id]
        return OpKind(mine[0]) if mine else None


class Bench:
    """One game, its record, its operations in order, and a worker that is moved by hand."""

    def __init__(self) -> None:
        self.engine = BreakableEngine()
        self.record: Runtime | None = None
        self.operations: list[Operation] = []
        self.finished_elsewhere: frozenset[tuple[str, str]] = frozenset()
        self.replaced_elsewhere: frozenset[str] = frozenset()
        self._fences = count(100)
        self._expired: set[int] = set()

    def ask(self, op_kind: OpKind, arguments: Mapping[str, Any]) -> Operation:
        """Put an operation on record."""
        operation = Operation(
            pk=len(self.operations) + 1000,
            game_id=GAME,
            op_kind=op_kind,
            arguments=dict(arguments),
            image_ref=arguments.get("image_ref", ""),
            steps=[],
        )
        self.operations.append(operation)
        return operation

    def expire(self, operation: Operation) -> None:
        """Let time pass until the claimer is presumed dead."""
        self._expired.add(operation.pk)

    def _holds(self, claim: Claim) -> bool:
        return any(
            one.state == OpState.RUNNING and one.fence == claim.fence
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
        """A worker follows a hint, as the runner does; it may be killed or overtaken on the way."""
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
            result = DEEDS[OpKind(claim.operation.op_kind)](attempt)
            error_code = ErrorCode.REPLAY_NO_OP if result.is_replay else ""
            self._close(claim, attempt.runtime, result, Outcome.SUCCESS, error_code=error_code)
        except ContainersUnavailableError:
            row = self.row(claim)
            row.state, row.steps = OpState.ACCEPTED, list(attempt.timeline.steps)
        except (LeaseLostError, StaleRuntimeError):
            raise
        except RuntimeManagerError as error:
            aftermath = error.aftermath if isinstance(error, FailedWithAftermathError) else Result()
            self._close(claim, attempt.runtime, aftermath, Outcome.FAILURE, error_code=error.code)

    def drain(self) -> None:
        """Work until nothing is open."""
        self.engine.break_at(0, lambda: None)
        for operation in list(self.operations):
            if operation.state == OpState.RUNNING:
                self.expire(operation)
        for operation in list(self.operations):
            self.work(operation)

    def findings(self) -> list[Finding]:
        """What the reconciler concludes from the record and the engine as they are."""
        record, busy = self.record, any(one.is_open for one in self.operations)
        known = {}
        if record is not None:
            status = RuntimeStatus(record.status)
            known[GAME] = Recorded(GAME, status, record.current_container_id, record.fence)
        return plan(
            known,
            FakeContainers(self.engine).list_owned(STACK),
            busy={GAME} if busy else set(),
            finished_operations=self._finished(),
        )

    def mend(self, finding: Finding) -> Operation:
        """Ask for the repair of a finding, as the reconciler does."""
        assert finding.op_kind is not None
        arguments = {
            "container_id": finding.container_id,
            "record_fence": finding.record_fence,
            "is_leftover": finding.is_leftover,
        }
        return self.ask(finding.op_kind, arguments)

    def reconcile(self) -> list[Finding]:
        """Look once, and have every finding mended that is not left to people; returns the findings."""
        findings = self.findings()
        for finding in findings:
            if finding.op_kind is not None:
                self.work(self.mend(finding))
        return findings

    def owned(self) -> list[Container]:
        """The containers of this installation."""
        return [one for one in self.engine.containers.values() if one.is_owned_by(STACK)]

    def foreign(self) -> list[Container]:
        """The containers of everybody else."""
        return [one for one in self.engine.containers.values() if not one.is_owned_by(STACK)]

    def made_and_alive(self) -> list[Container]:
        """The containers that an operation of ours has made and that live."""
        return [one for one in self.owned() if one.is_alive and one.operation_id]

    def _finished(self) -> set[tuple[str, str]]:
        done = {(GAME, str(one.pk)) for one in self.operations if one.state == OpState.FINISHED}
        return done | self.finished_elsewhere

    def _claim(self, operation: Operation) -> Claim | None:
        head = next((one for one in self.operations if one.is_open), None)
        if operation is not head or (operation.state == OpState.RUNNING and operation.pk not in self._expired):
            return None
        self._expired.discard(operation.pk)
        operation.state, operation.fence = OpState.RUNNING, next(self._fences)
        operation.attempt += 1
        return Claim(copy.copy(operation))

    def _close(
        self, claim: Claim, runtime: Runtime | None, result: Result, outcome: Outcome, *, error_code: str = ""
    ) -> None:
        row = self.row(claim)
        if result.status is not None:
            self.record = self._written(claim, runtime, result)
        row.state, row.outcome, row.error_code = OpState.FINISHED, outcome, error_code
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
        if current is None or not fits or not may_move(RuntimeStatus(current.status), status):
            message = "somebody newer has written the record"
            raise StaleRuntimeError(message)
        written = copy.copy(current)
        for name, value in {"status": status, "fence": claim.fence, "last_op_at": now, **result.changes}.items():
            setattr(written, name, value)
        return written
