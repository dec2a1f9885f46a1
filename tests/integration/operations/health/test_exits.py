"""Exits of containers that Docker restarts automatically: each is reported once, except those an operation causes."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from django.db.models.functions import Now

from operations.models import Operation
from operations.states import OperationKind, OperationState, Topic
from runtimes.models import Runtime
from tests.integration.harness import Rig, health_events, published, record
from tests.integration.tasks.loops.test_watcher import Watch


@pytest.fixture
def watch(rig: Rig) -> Iterator[Watch]:
    del rig
    watch = Watch()
    watch.step()
    yield watch
    watch.watcher.close()


def details() -> list[str]:
    return [one["details"] for one in published(Topic.HEALTH_EVENTS) if one["event_type"] == "container_exited"]


def test_an_end_that_docker_makes_good_is_reported(rig: Rig, watch: Watch) -> None:
    started = rig.start()
    rig.engine.end_and_restart(started.container_id, exit_code=3)

    watch.until_reported("container_exited")

    assert details() == ['{"exit_code":3,"oom":false}']
    assert (record().status, record().current_container_id) == ("running", started.container_id)


def test_each_end_is_reported_once(rig: Rig, watch: Watch) -> None:
    started = rig.start()
    rig.engine.end_and_restart(started.container_id, exit_code=3)
    watch.until_reported("container_exited")
    rig.engine.end_and_restart(started.container_id, exit_code=4)

    watch.until_reported("container_exited", "container_exited")
    watch.step()

    assert details() == ['{"exit_code":3,"oom":false}', '{"exit_code":4,"oom":false}']


def test_a_new_watcher_that_reads_the_same_events_reports_nothing_again(rig: Rig, watch: Watch) -> None:
    rig.engine.end_and_restart(rig.start().container_id, exit_code=3)
    watch.until_reported("container_exited")
    watch.watcher.close()

    second = Watch()
    for _ in range(3):
        second.step()
    second.watcher.close()

    assert len(details()) == 1


def test_an_exit_with_code_zero_is_not_reported(rig: Rig, watch: Watch) -> None:
    rig.engine.end_and_restart(rig.start().container_id, exit_code=0)

    for _ in range(3):
        watch.step()

    assert health_events() == ["container_started"]


def test_an_exit_for_lack_of_memory_is_reported_as_oom(rig: Rig, watch: Watch) -> None:
    rig.engine.end_and_restart(rig.start().container_id, exit_code=137, oom_killed=True)

    watch.until_reported("container_oom", "container_exited")

    assert details() == ['{"exit_code":137,"oom":true}']


def test_an_exit_during_an_operation_is_reported_if_the_operation_did_not_touch_the_container(
    rig: Rig, watch: Watch
) -> None:
    started = rig.start()
    busy = rig.ask_stop()
    rig.engine.end_and_restart(started.container_id, exit_code=3)
    watch.step()
    assert health_events() == ["container_started"]

    Operation.objects.filter(pk=busy.pk).update(
        state=OperationState.FINISHED, outcome="failure", error_code="internal_error", finished_at=Now()
    )
    watch.until_reported("container_exited")


@pytest.mark.parametrize("kind", [OperationKind.STOP, OperationKind.RESTART])
def test_an_exit_that_an_operation_causes_is_not_reported(rig: Rig, watch: Watch, kind: OperationKind) -> None:
    rig.start()
    rig.do(rig.ask(kind, reason="cancelled"))

    for _ in range(3):
        watch.step()

    assert details() == []


def test_an_exit_that_an_operation_has_reported_is_not_reported_again(rig: Rig, watch: Watch) -> None:
    """The reconciler records the exit; then an operator starts the container again."""
    started = rig.start()
    rig.engine.exit(started.container_id, exit_code=3)
    ended = rig.engine.containers[started.container_id]
    watch.until_reported("container_exited")

    rig.engine.start(rig.engine.containers[started.container_id])
    rig.engine.containers[started.container_id] = replace(
        rig.engine.containers[started.container_id], finished_at=ended.finished_at
    )
    for _ in range(3):
        watch.step()

    assert Runtime.objects.get(pk="g1").current_container_id == started.container_id
    assert len(details()) == 1
