"""A Docker that has no room left, or refuses for another reason: a clean failure, and the next game is not harmed."""

import pytest

from operations.states import Outcome, Topic
from runtimes.containers.base import ContainerStartFailedError, ImagePullFailedError
from runtimes.containers.fake.adapter import FakeImage
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus
from tests.integration.harness import IMAGE, Rig, published, results

NO_ROOM = "no space left on device"


@pytest.mark.parametrize("call", ["create", "start"])
def test_a_start_without_disk_space_leaves_no_container_and_reports_why(rig: Rig, call: str) -> None:
    rig.engine.fail_before(call, ContainerStartFailedError(f"container could not be made: {NO_ROOM}"))

    failed, unharmed = rig.start("g1"), rig.start("g2")

    assert (failed.error_code, failed.attempt) == ("container_start_failed", 1)
    assert NO_ROOM in failed.error_message
    assert unharmed.outcome == Outcome.SUCCESS
    assert [one.game_id for one in rig.engine.containers.values()] == ["g2"]
    assert list(Runtime.objects.values_list("pk", flat=True)) == ["g2"]
    assert [one["error_code"] for one in results()] == ["container_start_failed", ""]
    assert len(published(Topic.NOTIFICATION_INTENTS)) == 1


def test_a_pull_for_which_docker_has_no_room_leaves_nothing(rig: Rig) -> None:
    rig.engine.registry["galaxy-engine:2.0.0"] = FakeImage()
    rig.engine.fail_before("pull", ImagePullFailedError(f"write /layer.tar: {NO_ROOM}"))

    failed, again = (rig.start(image_ref="galaxy-engine:2.0.0") for _ in range(2))

    assert failed.error_code == "image_pull_failed"
    assert again.outcome == Outcome.SUCCESS


@pytest.mark.parametrize("verb", ["restart", "patch"])
def test_a_replacement_for_which_docker_has_no_room_keeps_record_and_docker_together(rig: Rig, verb: str) -> None:
    rig.start()
    rig.engine.fail_before("create", ContainerStartFailedError(NO_ROOM))

    failed = rig.restart() if verb == "restart" else rig.patch("galaxy-engine:1.0.1")

    assert failed.error_code == "container_start_failed"
    record = Runtime.objects.get()
    if verb == "patch":
        assert (record.status, record.current_image_ref) == (RuntimeStatus.RUNNING, IMAGE)
        assert list(rig.engine.containers) == [record.current_container_id]
    else:
        assert (record.status, rig.engine.containers) == (RuntimeStatus.REMOVED, {})
