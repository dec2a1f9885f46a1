"""Limits that an image asks for: bounded by the host and the settings, noted in the operation, named in failures."""

import pytest

from operations.explain.collect import explain_game
from operations.states import Outcome
from runtimes.container_spec import LABEL_CPU_QUOTA, LABEL_MEMORY, LABEL_PIDS_LIMIT, Limits
from runtimes.containers.base import ContainerStartFailedError, ContainersUnavailableError, DockerRefusedError
from runtimes.containers.fake.adapter import FakeImage
from runtimes.containers.refusals import Refusal
from runtimes.containers.types import HostCapacity
from runtimes.models import Runtime
from tests.conftest import RtmSettings
from tests.integration.harness import IMAGE, Rig, record, results

GREEDY = {LABEL_CPU_QUOTA: "8", LABEL_MEMORY: "1000g", LABEL_PIDS_LIMIT: "1"}


def _limits(rig: Rig) -> Limits:
    [spec] = rig.engine.specs.values()
    return spec.limits


def test_labels_beyond_the_host_are_reduced_and_the_operation_says_so(rig: Rig) -> None:
    rig.engine.capacity = HostCapacity(cpus=2, memory_bytes=4 * 1024**3)
    rig.engine.images[IMAGE] = FakeImage(labels=GREEDY)

    done = rig.start()

    assert _limits(rig) == Limits(2.0, 4 * 1024**3, 2)
    assert done.outcome == Outcome.SUCCESS
    assert "com.galaxy.cpu_quota='8' is reduced to the ceiling 2" in done.error_message
    assert "com.galaxy.memory='1000g' is reduced to the ceiling 4096 MiB" in done.error_message
    assert "com.galaxy.pids_limit='1' is raised to 2" in done.error_message
    assert results()[0]["error_message"] == ""
    explanation = explain_game("g1")
    assert (explanation.cause, "reduced to the ceiling 2" in explanation.detail) == ("healthy", True)


def test_a_start_that_fails_says_which_labels_were_not_followed(rig: Rig) -> None:
    rig.engine.images[IMAGE] = FakeImage(labels={LABEL_PIDS_LIMIT: "1"}, exit_code=2)

    done = rig.start()

    assert done.error_code == "container_start_failed"
    assert "the engine exited right after its start" in done.error_message
    assert "com.galaxy.pids_limit='1' is raised to 2" in done.error_message
    assert results()[0]["error_message"] == done.error_message


def test_a_configured_maximum_counts_at_a_restart_too(rig: Rig, rtm_settings: RtmSettings) -> None:
    rig.engine.images[IMAGE] = FakeImage(labels=GREEDY)
    rig.start()
    rtm_settings(max_cpu_quota=1.5, max_memory="1g")

    done = rig.restart()

    spec = rig.engine.specs[record().current_container_id or ""]
    assert spec.limits == Limits(1.5, 1024**3, 2)
    assert "reduced to the ceiling 1.5 (RTMANAGER_MAX_CPU_QUOTA)" in done.error_message


@pytest.mark.parametrize("labels", [{}, {LABEL_CPU_QUOTA: "0.5", LABEL_MEMORY: "64m", LABEL_PIDS_LIMIT: "64"}])
def test_an_image_within_the_defaults_costs_no_look_at_the_host(rig: Rig, labels: dict[str, str]) -> None:
    rig.engine.images[IMAGE] = FakeImage(labels=labels)

    done = rig.start()

    assert (done.error_message, rig.engine.calls["host_capacity"]) == ("", 0)


def test_without_the_host_capacity_the_configured_maxima_apply(rig: Rig, rtm_settings: RtmSettings) -> None:
    rtm_settings(max_cpu_quota=3.0, max_memory="2g")
    rig.engine.images[IMAGE] = FakeImage(labels=GREEDY)
    rig.engine.fail_before("host_capacity", DockerRefusedError("denied", Refusal.ACCESS_DENIED))

    done = rig.start()

    assert done.outcome == Outcome.SUCCESS
    assert _limits(rig) == Limits(3.0, 2 * 1024**3, 2)


def test_an_outage_during_the_host_check_leaves_a_restarted_game_alone(rig: Rig) -> None:
    rig.start()
    before = record().current_container_id
    rig.engine.images[IMAGE] = FakeImage(labels=GREEDY)
    rig.engine.fail_before("host_capacity", ContainersUnavailableError("no answer"))

    rig.restart()

    assert Runtime.objects.get().current_container_id == before
    assert [one.id for one in rig.engine.containers.values() if one.is_alive] == [before]


@pytest.mark.parametrize(
    ("labels", "origin"),
    [
        ({}, "CPU limit 1 from RTMANAGER_DEFAULT_CPU_QUOTA"),
        ({LABEL_CPU_QUOTA: "0.5"}, "CPU limit 0.5 from image label com.galaxy.cpu_quota='0.5'"),
    ],
)
def test_a_limit_that_docker_refuses_is_named_with_its_origin(rig: Rig, labels: dict[str, str], origin: str) -> None:
    rig.engine.images[IMAGE] = FakeImage(labels=labels)
    rig.engine.fail_before("create", ContainerStartFailedError("Range of CPUs is from 0.01", Refusal.CPU_LIMIT))

    failed = rig.start()

    assert failed.error_message == f"Range of CPUs is from 0.01; the container would have had the {origin}"
