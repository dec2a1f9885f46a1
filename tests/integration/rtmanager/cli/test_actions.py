"""The action commands of ``rtm`` over HTTP, on the fake Docker, with a worker that runs operations at once."""

import json

import pytest
from pytest_django.live_server_helper import LiveServer

from operations.models import IdempotencyKey, Operation
from runtimes.containers.fake.adapter import FakeDocker
from runtimes.models import Runtime
from tests.conftest import RtmSettings
from tests.integration.cli_harness import Terminal
from tests.integration.rest_harness import IMAGE, NEXT_MINOR, NEXT_PATCH

pytestmark = pytest.mark.usefixtures("trusted_network", "engine")


@pytest.fixture
def rtm(live_server: LiveServer) -> Terminal:
    return Terminal(live_server.url)


def test_a_game_is_started_shown_patched_stopped_and_cleaned_up(rtm: Terminal) -> None:
    results = [
        rtm("start", "g-1", IMAGE),
        rtm("show", "g-1"),
        rtm("patch", "g-1", NEXT_PATCH),
        rtm("restart", "g-1"),
        rtm("stop", "g-1", "--reason", "finished"),
        rtm("cleanup", "g-1"),
    ]

    assert [result.exit_code for result in results] == [0] * 6
    assert results[0].stdout.startswith(f"g-1 is running on {IMAGE}; container ")
    assert "running" in results[1].stdout
    assert NEXT_PATCH in results[2].stdout
    assert results[4].stdout.startswith("g-1 is stopped")
    assert results[5].stdout.startswith("g-1 is removed")
    kinds = list(Operation.objects.order_by("id").values_list("op_kind", "op_source", "outcome"))
    assert kinds == [
        (kind, "admin_rest", "success") for kind in ("start", "patch", "restart", "stop", "cleanup_container")
    ]


def test_a_start_of_a_running_game_reports_that_no_change_was_needed(rtm: Terminal) -> None:
    rtm("start", "g-1", IMAGE)

    second = rtm("start", "g-1", IMAGE)

    assert second.exit_code == 0
    assert second.stdout.strip().endswith("No change was needed.")


def test_a_game_can_be_prepared_without_being_started(rtm: Terminal) -> None:
    done = rtm("start", "g-1", IMAGE, "--no-start")

    assert done.exit_code == 0
    assert Runtime.objects.get().status == "stopped"
    assert Runtime.objects.get().started_at is None


def test_json_prints_the_finished_operation(rtm: Terminal) -> None:
    operation = rtm.json("start", "g-1", IMAGE)

    assert (operation["state"], operation["outcome"], operation["game_id"]) == ("finished", "success", "g-1")
    assert operation["steps"]


@pytest.mark.parametrize(
    ("command", "exit_code", "code"),
    [
        (("stop", "g-9"), 3, "not_found"),
        (("restart", "g-9"), 3, "not_found"),
        (("cleanup", "g-1"), 4, "conflict"),
        (("start", "g-1", NEXT_PATCH), 4, "conflict"),
        (("patch", "g-1", NEXT_MINOR), 1, "semver_patch_only"),
        (("start", "g-2", "galaxy-engine:9.9.9"), 1, "image_pull_failed"),
        (("start", "g-2", "no such image!"), 1, "start_config_invalid"),
    ],
)
def test_a_failed_action_has_its_exit_code_and_shows_the_next_step(
    rtm: Terminal, command: tuple[str, ...], exit_code: int, code: str
) -> None:
    rtm("start", "g-1", IMAGE)

    as_text, as_json = rtm(*command), rtm(*command, "--json")

    assert as_text.exit_code == as_json.exit_code == exit_code
    assert as_text.stdout == as_json.stdout == ""
    assert as_text.stderr.startswith("rtm: ")
    assert 2 <= len(as_text.stderr.splitlines()) <= 3
    assert json.loads(as_json.stderr)["error"]["code"] == code


def test_without_docker_an_action_reports_that_docker_is_unreachable(rtm: Terminal, engine: FakeDocker) -> None:
    engine.disconnect()

    done = rtm("start", "g-1", IMAGE)

    assert done.exit_code == 5
    assert "rtm doctor" in done.stderr


@pytest.mark.usefixtures("no_worker")
def test_async_returns_the_accepted_operation(rtm: Terminal) -> None:
    operation = rtm.json("start", "g-1", IMAGE, "--async")

    assert operation["state"] == "accepted"
    assert Operation.objects.get().pk == int(operation["id"])


@pytest.mark.usefixtures("no_worker")
def test_an_operation_that_outlasts_the_timeout_is_reported_as_still_running(rtm: Terminal) -> None:
    done = rtm("start", "g-1", IMAGE, "--timeout", "2s")

    operation = Operation.objects.get()
    assert done.exit_code == 7
    assert f"rtm operation {operation.pk}" in done.stderr
    assert operation.is_open


@pytest.mark.usefixtures("no_worker")
def test_a_busy_game_is_a_conflict(rtm: Terminal) -> None:
    rtm("start", "g-1", IMAGE, "--async")

    done = rtm("stop", "g-1")

    assert done.exit_code == 4
    assert "busy" in done.stderr


def test_each_invocation_has_its_own_idempotency_key(rtm: Terminal) -> None:
    rtm("start", "g-1", IMAGE)
    rtm("restart", "g-1")
    rtm("restart", "g-1")

    assert Operation.objects.filter(op_kind="restart").count() == 2
    assert IdempotencyKey.objects.count() == 3


def test_two_invocations_with_the_same_key_run_one_operation(rtm: Terminal) -> None:
    rtm("start", "g-1", IMAGE)

    first, second = (rtm.json("restart", "g-1", "--key", "deploy-7") for _ in range(2))

    assert first == second
    assert Operation.objects.filter(op_kind="restart").count() == 1


def test_an_action_without_a_token_is_rejected_and_names_the_variable(rtm: Terminal, rtm_settings: RtmSettings) -> None:
    rtm_settings(api_auth="token")

    done = rtm("start", "g-1", IMAGE)

    assert done.exit_code == 6
    assert "RTM_TOKEN" in done.stderr
    assert not Operation.objects.exists()
