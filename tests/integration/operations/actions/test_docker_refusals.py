"""Docker answers and refuses: the operation fails at once, in Docker's words, and nothing waits for a deadline."""

import pytest
from django.test import Client

from operations.explain.collect import explain_game
from operations.models import Operation
from operations.reconcile.survey import reconcile_all
from operations.states import OperationState, Outcome, Topic
from runtimes.containers.base import DockerRefusedError
from runtimes.containers.refusals import Refusal
from runtimes.states import RuntimeStatus
from tests.integration.harness import IMAGE, OTHER_IMAGE, Rig, published, record, results
from tests.integration.rest_harness import start

WORDS = "authorization denied by plugin opa"
# The last one has 256 characters with the implied docker.io/library/.
REFUSED_BY_THE_GRAMMAR = [
    "MyOrg/engine:1.0.0", "[::1]:5000/x:1", "[2001:db8::1]/a:1", "LOCALHOST/a:1", "A/b", "a" * 238, "b/" + "a" * 250,
]  # fmt: skip


def _refusal() -> DockerRefusedError:
    return DockerRefusedError(WORDS, Refusal.ACCESS_DENIED)


@pytest.mark.parametrize("image_ref", REFUSED_BY_THE_GRAMMAR)
def test_a_job_with_a_reference_that_docker_refuses_fails_at_once(rig: Rig, image_ref: str) -> None:
    failed = rig.start(image_ref=image_ref)

    assert (failed.state, failed.error_code) == (OperationState.FINISHED, "start_config_invalid")
    assert (failed.attempt, failed.retries) == (1, 0)
    assert [one["error_code"] for one in results()] == ["start_config_invalid"]
    assert len(published(Topic.NOTIFICATION_INTENTS)) == 1
    assert rig.engine.calls["create"] == 0


@pytest.mark.usefixtures("trusted_network", "engine")
@pytest.mark.parametrize("image_ref", REFUSED_BY_THE_GRAMMAR)
def test_a_call_with_a_reference_that_docker_refuses_is_answered_with_400(client: Client, image_ref: str) -> None:
    answer = start(client, image_ref=image_ref)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "start_config_invalid")
    assert Operation.objects.get().retries == 0
    assert len(published(Topic.NOTIFICATION_INTENTS)) == 1


@pytest.mark.parametrize("call", ["network_exists", "find_image", "create", "start", "wait_until_exited"])
def test_a_start_that_docker_refuses_at_any_call_fails_once_and_leaves_nothing(rig: Rig, call: str) -> None:
    rig.engine.fail_before(call, _refusal())

    failed, unharmed = rig.start("g1"), rig.start("g2")

    assert (failed.error_code, failed.attempt, failed.retries) == ("container_start_failed", 1, 0)
    assert WORDS in failed.error_message
    assert unharmed.outcome == Outcome.SUCCESS
    assert [one.game_id for one in rig.engine.containers.values()] == ["g2"]
    assert [one["error_code"] for one in results()] == ["container_start_failed", ""]
    assert len(published(Topic.NOTIFICATION_INTENTS)) == 1


def test_a_pull_that_docker_refuses_blocks_no_other_operation(rig: Rig) -> None:
    rig.engine.registry["galaxy-engine:2.0.0"] = rig.engine.images[IMAGE]
    rig.engine.fail_before("pull", _refusal())

    failed, again = (rig.start(image_ref="galaxy-engine:2.0.0") for _ in range(2))

    assert failed.error_code == "container_start_failed"
    assert again.outcome == Outcome.SUCCESS


def test_a_stop_that_docker_refuses_fails_in_its_words_and_the_record_stays(rig: Rig) -> None:
    rig.start()
    rig.engine.fail_before("stop", _refusal())

    failed = rig.stop()

    assert (failed.error_code, failed.error_message, failed.retries) == ("internal_error", WORDS, 0)
    assert record().status == RuntimeStatus.RUNNING


@pytest.mark.parametrize("verb", ["restart", "patch"])
def test_a_replacement_whose_old_container_docker_keeps_records_that_it_was_stopped(rig: Rig, verb: str) -> None:
    rig.start()
    old = record().current_container_id
    rig.engine.fail_before("remove", _refusal())
    rig.engine.fail_before("remove", _refusal())

    failed = rig.restart() if verb == "restart" else rig.patch(OTHER_IMAGE)

    assert failed.error_code == "container_start_failed"
    assert WORDS in failed.error_message
    assert (record().status, record().current_container_id) == (RuntimeStatus.STOPPED, old)
    assert reconcile_all() == 0


def test_a_new_container_that_docker_does_not_remove_hides_no_reason(rig: Rig) -> None:
    rig.engine.fail_before("start", _refusal())
    rig.engine.fail_before("remove", DockerRefusedError("unable to remove filesystem", Refusal.NOT_REMOVABLE))

    failed = rig.start()

    assert (failed.error_code, failed.error_message) == ("container_start_failed", WORDS)


def test_who_only_looks_concludes_nothing_from_a_refusal(rig: Rig) -> None:
    rig.start()
    rig.engine.fail_before("list_owned", _refusal())

    assert reconcile_all() == 0
    assert record().status == RuntimeStatus.RUNNING


def test_explain_never_says_of_a_docker_that_refuses_that_it_is_down(rig: Rig) -> None:
    rig.start()
    rig.engine.fail_before("find", _refusal())

    explanation = explain_game("g1")

    assert (explanation.cause, explanation.observed.known) == ("docker_refuses", False)
    assert WORDS in explanation.detail
    assert "does not answer" not in explanation.headline + explanation.detail + explanation.verbs["start"]
