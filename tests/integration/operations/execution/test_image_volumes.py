"""Images that declare volumes: their data stay in the state directory, or the image is refused. Docker is in memory."""

from functools import partial
from pathlib import Path

import pytest

from operations.states import Outcome
from runtimes.containers.fake.adapter import FakeImage
from runtimes.states import RuntimeStatus
from tests.conftest import RtmSettings
from tests.integration.harness import IMAGE, OTHER_IMAGE, Rig, record

MOUNT = "/var/lib/galaxy-game"
WITH_DATA = FakeImage(volumes=["/data"])


def mounts(rig: Rig) -> dict[str, str]:
    """Directory below the state root to the place in the container, of the game's container."""
    container = rig.container()
    assert container is not None
    spec = rig.engine.specs[container.id]
    return {one.subdirectory: one.target for one in spec.volumes}


def world(rig: Rig) -> tuple[object, ...]:
    return dict(rig.engine.containers), record()


def planted(rig: Rig) -> Path:
    """Where the engine puts a link in the place of the directory of its volume."""
    return rig.state_root / "g1" / ".volumes" / "data"


def plant(rig: Rig) -> None:
    """The engine replaces that directory, as one could that is not covered."""
    place = planted(rig)
    place.parent.mkdir(exist_ok=True)
    if place.is_dir():
        place.rmdir()
    place.symlink_to("/")


def test_a_volume_is_a_directory_of_the_state_and_is_kept_across_restart_and_patch(rig: Rig) -> None:
    rig.engine.images[IMAGE] = WITH_DATA
    rig.engine.images[OTHER_IMAGE] = FakeImage(volumes=["/data", "/more", f"{MOUNT}/saves"])
    rig.start()
    saved = rig.state_root / "g1" / ".volumes" / "data" / "turn-1"
    saved.write_text("saved")
    first = mounts(rig)

    assert rig.restart().outcome == Outcome.SUCCESS
    assert mounts(rig) == first == {".volumes": f"{MOUNT}/.volumes", ".volumes/data": "/data"}
    assert rig.patch(OTHER_IMAGE).outcome == Outcome.SUCCESS
    assert mounts(rig) == {**first, ".volumes/more": "/more", "saves": f"{MOUNT}/saves"}
    assert saved.read_text() == "saved"


def test_an_image_without_volumes_has_the_state_alone(rig: Rig) -> None:
    rig.start()

    assert mounts(rig) == {}
    assert list((rig.state_root / "g1").iterdir()) == []


@pytest.mark.parametrize("path", ["data", "/", "/proc/x", f"{MOUNT}/.volumes/data"])
def test_a_volume_that_cannot_be_mounted_refuses_the_start_and_leaves_nothing(rig: Rig, path: str) -> None:
    rig.engine.images[IMAGE] = FakeImage(volumes=[path])

    operation = rig.start()

    assert operation.error_code == "start_config_invalid"
    assert repr(path) in operation.error_message
    assert rig.engine.containers == {}


class TestRefused:
    @pytest.fixture(autouse=True)
    def _refuse(self, rtm_settings: RtmSettings, rig: Rig) -> None:
        del rig
        rtm_settings(image_volumes="refuse")

    def test_a_start_names_the_volumes_and_the_setting(self, rig: Rig) -> None:
        rig.engine.images[IMAGE] = FakeImage(volumes=["/more", "/data"])

        operation = rig.start()

        assert operation.error_code == "start_config_invalid"
        assert "/data, /more" in operation.error_message
        assert "RTMANAGER_IMAGE_VOLUMES" in operation.error_message

    def test_the_state_mount_itself_may_be_declared(self, rig: Rig) -> None:
        rig.engine.images[IMAGE] = FakeImage(volumes=[MOUNT, f"{MOUNT}/"])

        assert rig.start().outcome == Outcome.SUCCESS

    def test_a_patch_is_refused_before_the_game_is_disturbed(self, rig: Rig) -> None:
        rig.start()
        rig.engine.images[OTHER_IMAGE] = WITH_DATA
        before = world(rig)

        assert rig.patch(OTHER_IMAGE).error_code == "start_config_invalid"
        assert world(rig) == before

    def test_a_game_of_before_is_patched_away_from_its_volumes_and_reverted_to_them(
        self, rig: Rig, rtm_settings: RtmSettings
    ) -> None:
        rtm_settings(image_volumes="state")
        rig.engine.images[IMAGE] = WITH_DATA
        rig.start()
        rtm_settings(image_volumes="refuse")
        rig.engine.images[OTHER_IMAGE] = FakeImage(exit_code=3)

        assert "was put back" in rig.patch(OTHER_IMAGE).error_message
        assert ".volumes/data" in mounts(rig)
        rig.engine.images[OTHER_IMAGE] = FakeImage()
        assert rig.patch(OTHER_IMAGE).outcome == Outcome.SUCCESS


class TestPlantedLinks:
    def test_a_restart_is_refused_and_the_game_is_not_disturbed(self, rig: Rig) -> None:
        rig.engine.images[IMAGE] = WITH_DATA
        rig.start()
        plant(rig)
        before = world(rig)

        operation = rig.restart()

        assert operation.error_code == "start_config_invalid"
        assert str(planted(rig)) in operation.error_message
        assert world(rig) == before

    def test_a_patch_to_an_image_whose_volume_is_a_link_by_then_is_refused(self, rig: Rig) -> None:
        rig.start()
        rig.engine.images[OTHER_IMAGE] = WITH_DATA
        plant(rig)
        before = world(rig)

        assert rig.patch(OTHER_IMAGE).error_code == "start_config_invalid"
        assert world(rig) == before

    def test_a_link_planted_while_the_old_container_is_stopped_is_seen_before_the_next_is_made(self, rig: Rig) -> None:
        rig.engine.images[IMAGE] = WITH_DATA
        rig.start()
        rig.engine.on_call("stop", partial(plant, rig))

        operation = rig.restart()

        assert operation.error_code == "start_config_invalid"
        assert "symbolic link" in operation.error_message
        assert rig.engine.containers == {}
        assert record().status == RuntimeStatus.REMOVED

    def test_a_patch_that_meets_one_puts_an_old_image_without_volumes_back(self, rig: Rig) -> None:
        rig.start()
        rig.engine.images[OTHER_IMAGE] = WITH_DATA
        rig.engine.on_call("stop", partial(plant, rig))

        operation = rig.patch(OTHER_IMAGE)

        assert "symbolic link" in operation.error_message
        assert (record().status, record().current_image_ref) == (RuntimeStatus.RUNNING, IMAGE)
