"""A worker that was frozen past its lease must neither touch Docker nor write nor speak."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from django.conf import settings

from operations import runner
from operations.actions.start import start
from operations.execution import completion
from operations.execution.attempt import Attempt, Result
from operations.models import Operation, OutboxEvent
from operations.queue import claims
from operations.queue.claims import Claim, LeaseLostError
from runtimes.container_spec import current_policy
from runtimes.containers.fake.adapter import FakeAdapter
from runtimes.exceptions import RuntimeManagerError
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus
from tests.integration.harness import Rig, expire_lease


def overtaken(rig: Rig) -> Claim:
    """A claim whose operation another worker has taken over and finished."""
    operation = rig.ask_start()
    zombie = claims.claim(operation.pk, claimed_by="zombie")
    assert zombie is not None
    expire_lease(operation)
    runner.run(operation.pk)
    return zombie


def everything() -> tuple[object, ...]:
    return (list(Operation.objects.values()), list(Runtime.objects.values()), list(OutboxEvent.objects.values()))


def test_it_cannot_begin_another_change_in_docker(rig: Rig) -> None:
    zombie = overtaken(rig)
    attempt = Attempt(zombie, runtime=None, containers=FakeAdapter(), policy=current_policy())
    touched = False

    with pytest.raises(LeaseLostError), attempt.write_step("remove"):
        touched = True

    assert not touched


def test_its_success_is_not_written(rig: Rig) -> None:
    zombie = overtaken(rig)
    before = everything()

    with pytest.raises(LeaseLostError):
        completion.succeed(zombie, Result(container_id="zombie"), runtime=None, steps=[])

    assert everything() == before


def test_its_failure_is_not_written(rig: Rig) -> None:
    zombie = overtaken(rig)
    before = everything()

    with pytest.raises(LeaseLostError):
        completion.fail(zombie, RuntimeManagerError("too late"), runtime=None, steps=[])

    assert everything() == before


def test_the_runner_leaves_silently_when_it_is_overtaken_in_the_middle(rig: Rig) -> None:
    operation = rig.ask_start()

    class Overtaken(FakeAdapter):
        """A worker that freezes right before its create, long enough for another one to do the whole job."""

        def network_exists(self, name: str, *, fresh_seconds: float = 0.0) -> bool:
            expire_lease(operation)
            another = claims.claim(operation.pk, claimed_by="another")
            assert another is not None
            return super().network_exists(name, fresh_seconds=fresh_seconds)

    claim = claims.claim(operation.pk, claimed_by="slow")
    assert claim is not None
    # Its own clock has seen the lease pass, too.
    frozen = replace(claim, claimed_at=claim.claimed_at - settings.RTMANAGER.game_lease_ttl_seconds)
    attempt = Attempt(frozen, runtime=None, containers=Overtaken(), policy=current_policy())

    with pytest.raises(LeaseLostError):
        start(attempt)

    assert rig.engine.containers == {}
    assert OutboxEvent.objects.count() == 0


def test_a_start_that_docker_hears_of_too_late_does_not_undo_a_stop(rig: Rig) -> None:
    operation = rig.ask_start()

    def be_overtaken() -> None:
        # Frozen after the lease was checked and before Docker hears of the start.
        expire_lease(operation)
        runner.run(operation.pk)
        rig.stop()

    rig.engine.on_call("create", be_overtaken)
    zombie = claims.claim(operation.pk, claimed_by="zombie")
    assert zombie is not None
    attempt = LateAttempt(zombie, runtime=None, containers=FakeAdapter(), policy=current_policy())

    with pytest.raises(RuntimeManagerError):
        start(attempt)

    assert Runtime.objects.get().status == RuntimeStatus.STOPPED
    assert not any(one.is_alive for one in rig.engine.containers.values())


class LateAttempt(Attempt):
    """It checked the lease for its start just before another worker took over."""

    @contextmanager
    def write_step(self, name: str) -> Iterator[None]:
        if name in {"start", "remove"}:
            yield
            return
        with super().write_step(name):
            yield


@pytest.mark.parametrize(("age_in_leases", "looked_at"), [(0.0, ["start"]), (0.5, ["create", "start"])])
def test_only_under_a_fresh_claim_a_container_is_made_without_a_lease_check(
    rig: Rig, age_in_leases: float, looked_at: list[str]
) -> None:
    operation = rig.ask_start()
    looks: list[str] = []

    class Looking(Attempt):
        @contextmanager
        def write_step(self, name: str) -> Iterator[None]:
            looks.append(name)
            with super().write_step(name):
                yield

    claim = claims.claim(operation.pk, claimed_by="quick")
    assert claim is not None
    age_seconds = age_in_leases * settings.RTMANAGER.game_lease_ttl_seconds
    claim = replace(claim, claimed_at=claim.claimed_at - age_seconds)

    start(Looking(claim, runtime=None, containers=FakeAdapter(), policy=current_policy()))

    assert looks == looked_at
