"""What starts and stops do, from acceptance to result and in their order: real database, Docker in memory."""

import pytest

from operations import runner
from operations.models import Operation, OutboxEvent
from operations.states import OperationSource, OperationState, Outcome, Topic
from runtimes.container_spec import (
    LABEL_FENCE,
    LABEL_GAME_ID,
    LABEL_OPERATION_ID,
    LABEL_OWNER,
    LABEL_STACK,
    build_spec,
    current_policy,
)
from runtimes.containers.base import ContainerState
from runtimes.containers.fake.adapter import FakeImage
from runtimes.models import HealthSnapshot, Runtime
from runtimes.states import RuntimeStatus
from tests.conftest import RtmSettings
from tests.integration.harness import IMAGE, NETWORK, OTHER_IMAGE, Rig, health_events, published, record, results


class TestStart:
    def test_it_makes_a_container_a_record_a_result_and_an_event(self, rig: Rig) -> None:
        operation = rig.start()

        container = rig.container()
        assert container is not None
        assert container.state == ContainerState.RUNNING
        assert (operation.state, operation.outcome, operation.error_code) == (
            OperationState.FINISHED,
            Outcome.SUCCESS,
            "",
        )
        assert (record().status, record().current_container_id) == (RuntimeStatus.RUNNING, container.id)
        assert record().engine_endpoint == "http://galaxy-game-g1:8080"
        assert results() == [
            {
                "game_id": "g1",
                "outcome": "success",
                "container_id": container.id,
                "engine_endpoint": "http://galaxy-game-g1:8080",
                "error_code": "",
                "error_message": "",
            }
        ]
        assert health_events() == ["container_started"]
        assert HealthSnapshot.objects.get().container_id == container.id
        assert (rig.state_root / "g1").is_dir()

    def test_the_container_names_its_owner_its_operation_and_its_fence(self, rig: Rig) -> None:
        operation = rig.start()

        container = rig.container()
        assert container is not None
        labels = container.labels
        assert labels[LABEL_OWNER] == "rtmanager"
        assert labels[LABEL_STACK] == "default"
        assert labels[LABEL_GAME_ID] == "g1"
        assert labels[LABEL_OPERATION_ID] == str(operation.pk)
        assert labels[LABEL_FENCE] == str(operation.fence)

    def test_the_timeline_names_each_step_with_its_duration(self, rig: Rig) -> None:
        operation = rig.start()

        names = [step["name"] for step in operation.steps]
        assert names == ["validate", "prepare_state", "inspect_image", "create", "start", "settle"]
        assert all(step["duration_ms"] >= 0 and step["error"] == "" for step in operation.steps)

    def test_the_same_start_again_is_a_replay(self, rig: Rig) -> None:
        rig.start()

        again = rig.start()

        assert (again.outcome, again.error_code) == (Outcome.SUCCESS, "replay_no_op")
        first, second = results()
        assert second == {**first, "error_code": "replay_no_op"}
        assert len(rig.engine.containers) == 1
        assert health_events() == ["container_started"]

    def test_another_image_on_a_running_game_is_a_conflict(self, rig: Rig) -> None:
        rig.start()

        other = rig.start(image_ref=OTHER_IMAGE)

        assert (other.outcome, other.error_code) == (Outcome.FAILURE, "conflict")
        assert record().current_image_ref == IMAGE

    def test_a_stopped_game_gets_a_new_container_and_keeps_its_birthday(self, rig: Rig) -> None:
        first = rig.start()
        rig.stop()
        born = record().created_at

        second = rig.start(image_ref=OTHER_IMAGE)

        assert second.container_id != first.container_id
        assert len(rig.engine.containers) == 1
        assert (record().status, record().stopped_at, record().created_at) == (RuntimeStatus.RUNNING, None, born)

    def test_a_running_record_whose_container_is_gone_is_started_again_and_the_loss_is_reported(self, rig: Rig) -> None:
        lost = rig.start()
        rig.engine.remove_externally(lost.container_id)

        again = rig.start()

        assert again.error_code == ""
        assert again.container_id != lost.container_id
        assert health_events() == ["container_started", "container_disappeared", "container_started"]

    def test_an_image_that_is_not_there_is_pulled(self, rig: Rig) -> None:
        rig.engine.registry["galaxy-engine:2.0.0"] = FakeImage()

        operation = rig.start(image_ref="galaxy-engine:2.0.0")

        assert operation.outcome == Outcome.SUCCESS
        assert "pull" in [step["name"] for step in operation.steps]

    @pytest.mark.parametrize(
        ("policy", "pulls"), [("if_missing", 0), ("always", 1), ("never", 0)], ids=["if_missing", "always", "never"]
    )
    def test_the_pull_policy_decides_for_an_image_that_is_there(
        self, rig: Rig, rtm_settings: RtmSettings, policy: str, pulls: int
    ) -> None:
        rtm_settings(image_pull_policy=policy)
        rig.engine.registry[IMAGE] = rig.engine.images[IMAGE]

        rig.start()

        assert rig.engine.calls["pull"] == pulls

    def test_a_policy_of_never_fails_for_an_image_that_is_not_there(self, rig: Rig, rtm_settings: RtmSettings) -> None:
        rtm_settings(image_pull_policy="never")

        operation = rig.start(image_ref="galaxy-engine:9.9.9")

        assert operation.error_code == "image_pull_failed"
        assert "RTMANAGER_IMAGE_PULL_POLICY" in operation.error_message


class TestStartThatFails:
    def test_an_unknown_image_leaves_no_record_and_notifies_once(self, rig: Rig) -> None:
        operation = rig.start(image_ref="galaxy-engine:9.9.9")

        assert operation.error_code == "image_pull_failed"
        assert not Runtime.objects.exists()
        assert rig.engine.containers == {}
        assert [one["error_code"] for one in results()] == ["image_pull_failed"]
        assert [one["notification_type"] for one in published(Topic.NOTIFICATION_INTENTS)] == [
            "runtime.image_pull_failed"
        ]

    def test_an_engine_that_dies_at_once_leaves_nothing(self, rig: Rig) -> None:
        rig.engine.images[IMAGE] = FakeImage(exit_code=3)

        operation = rig.start()

        assert operation.error_code == "container_start_failed"
        assert "exit code 3" in operation.error_message
        assert rig.engine.containers == {}
        assert not Runtime.objects.exists()
        assert health_events() == []

    def test_an_engine_that_cannot_be_run_leaves_nothing(self, rig: Rig) -> None:
        rig.engine.images[IMAGE] = FakeImage(refuses_start=True)

        assert rig.start().error_code == "container_start_failed"
        assert rig.engine.containers == {}

    def test_a_failed_start_of_a_stopped_game_leaves_its_record_as_it_was(self, rig: Rig) -> None:
        rig.start()
        rig.stop()
        before = Runtime.objects.values().get()

        rig.start(image_ref="galaxy-engine:9.9.9")

        assert Runtime.objects.values().get() == before

    def test_a_missing_network_is_named_with_the_command_that_makes_it(self, rig: Rig) -> None:
        rig.engine.networks.clear()

        operation = rig.start()

        assert operation.error_code == "start_config_invalid"
        assert f"docker network create {NETWORK}" in operation.error_message
        assert rig.engine.calls["create"] == 0

    def test_a_bad_image_reference_never_reaches_docker(self, rig: Rig) -> None:
        operation = rig.start(image_ref="Not An Image")

        assert operation.error_code == "start_config_invalid"
        assert rig.engine.calls["pull"] == rig.engine.calls["create"] == 0

    def test_a_state_directory_that_is_a_file_is_refused(self, rig: Rig) -> None:
        rig.state_root.mkdir()
        (rig.state_root / "g1").write_text("in the way")

        assert rig.start().error_code == "start_config_invalid"
        assert rig.engine.containers == {}

    def test_an_image_of_another_registry_is_refused_before_any_pull(self, rig: Rig, rtm_settings: RtmSettings) -> None:
        rtm_settings(allowed_registries=("registry.example/*",), image_pull_policy="always")

        operation = rig.start()

        assert operation.error_code == "start_config_invalid"
        assert "RTMANAGER_ALLOWED_REGISTRIES" in operation.error_message
        assert rig.engine.calls["pull"] == rig.engine.calls["create"] == 0

    def test_a_foreign_container_with_the_name_is_never_touched(self, rig: Rig) -> None:
        spec = build_spec(
            current_policy(),
            game_id="g1",
            image_ref=IMAGE,
            limits=current_policy().default_limits,
            operation_id="",
            fence=0,
            started_at_ms=0,
        )
        foreign = rig.engine.add(spec, image=FakeImage())
        rig.engine.containers[foreign].labels[LABEL_STACK] = "another-stack"  # type: ignore[index]

        operation = rig.start()

        assert operation.error_code == "container_start_failed"
        assert "does not own" in operation.error_message
        assert list(rig.engine.containers) == [foreign]

    def test_rest_callers_get_no_result_on_the_stream_but_the_intent_is_written(self, rig: Rig) -> None:
        rig.start(image_ref="galaxy-engine:9.9.9", source=OperationSource.ADMIN_REST)

        assert results() == []
        assert len(published(Topic.NOTIFICATION_INTENTS)) == 1


class TestNoStart:
    def test_it_makes_everything_but_runs_nothing(self, rig: Rig) -> None:
        rig.start(no_start=True)

        container = rig.container()
        assert container is not None
        assert container.state == ContainerState.CREATED
        assert (record().status, record().started_at) == (RuntimeStatus.STOPPED, None)
        assert (rig.state_root / "g1").is_dir()
        assert health_events() == []

    def test_a_second_one_is_a_conflict(self, rig: Rig) -> None:
        rig.start(no_start=True)

        assert rig.start(no_start=True).error_code == "conflict"
        assert Runtime.objects.count() == 1

    def test_a_later_start_runs_the_game(self, rig: Rig) -> None:
        rig.start(no_start=True)

        assert rig.start().outcome == Outcome.SUCCESS
        assert record().status == RuntimeStatus.RUNNING
        assert len(rig.engine.containers) == 1


class TestStop:
    def test_it_stops_the_container_and_keeps_it(self, rig: Rig) -> None:
        started = rig.start()

        operation = rig.stop()

        assert operation.outcome == Outcome.SUCCESS
        assert (record().status, record().current_container_id) == (RuntimeStatus.STOPPED, started.container_id)
        assert record().stopped_at is not None
        assert rig.engine.containers[started.container_id].state == ContainerState.EXITED

    def test_the_second_one_is_a_replay_that_moves_nothing(self, rig: Rig) -> None:
        rig.start()
        rig.stop()
        before = record().stopped_at

        again = rig.stop()

        assert again.error_code == "replay_no_op"
        assert record().stopped_at == before

    def test_an_unknown_game_is_not_found(self, rig: Rig) -> None:
        assert rig.stop("unknown-game").error_code == "not_found"
        assert [one["error_code"] for one in results()] == ["not_found"]

    def test_a_container_already_gone_is_removed_and_reported(self, rig: Rig) -> None:
        rig.engine.remove_externally(rig.start().container_id)

        operation = rig.stop()

        assert operation.outcome == Outcome.SUCCESS
        assert (record().status, record().current_container_id) == (RuntimeStatus.REMOVED, None)
        assert health_events() == ["container_started", "container_disappeared"]


class TestOrder:
    def test_one_call_does_all_that_waits_for_the_game_in_order(self, rig: Rig) -> None:
        asked = [rig.ask_start(), rig.ask_stop(), rig.ask_start(), rig.ask_stop()]

        runner.run(asked[0].pk)

        assert [Operation.objects.get(pk=one.pk).outcome for one in asked] == ["success"] * 4
        keys = OutboxEvent.objects.filter(topic=Topic.JOB_RESULTS).order_by("id").values_list("dedupe_key", flat=True)
        assert list(keys) == [f"result:{one.job_key}" for one in asked]

    def test_a_notification_of_a_later_operation_does_nothing_before_its_turn(self, rig: Rig) -> None:
        rig.ask_start()
        second = rig.ask_stop()

        assert rig.do(second).state == OperationState.ACCEPTED

    def test_a_notification_of_a_finished_operation_does_nothing(self, rig: Rig) -> None:
        operation = rig.start()

        assert rig.do(operation).attempt == 1
        assert len(results()) == 1
