"""The verbs of ``rtm`` against the service over HTTP, with an engine in memory and a worker at hand."""

import json

import pytest
from pytest_django.live_server_helper import LiveServer

from operations.models import IdempotencyKey, Operation
from runtimes.containers.fake import FakeEngine
from runtimes.models import Runtime
from tests.conftest import RtmSettings
from tests.integration.cli_rigs import Terminal
from tests.integration.rest_rigs import IMAGE, NEXT_MINOR, NEXT_PATCH

pytestmark = pytest.mark.usefixtures("trusted_network", "engine")


@pytest.fixture
def rtm(live_server: LiveServer) -> Terminal:
    return Terminal(live_server.url)


def test_a_game_is_started_shown_patched_stopped_and_cleaned_up(rtm: Terminal) -> None:
    done = [
        rtm("start", "g-1", IMAGE),
        rtm("show", "g-1"),
        rtm("patch", "g-1", NEXT_PATCH),
        rtm("restart", "g-1"),
        rtm("stop", "g-1", "--reason", "finished"),
        rtm("cleanup", "g-1"),
    ]

    assert [one.exit_code for one in done] == [0] * 6
    assert done[0].stdout.startswith(f"g-1 is running on {IMAGE}; container ")
    assert "running" in done[1].stdout
    assert NEXT_PATCH in done[2].stdout
    assert done[4].stdout.startswith("g-1 is stopped")
    assert done[5].stdout.startswith("g-1 is removed")
    kinds = list(Operation.objects.order_by("id").values_list("op_kind", "op_source", "outcome"))
    assert kinds == [
        (kind, "admin_rest", "success") for kind in ("start", "patch", "restart", "stop", "cleanup_container")
    ]


def test_starting_what_runs_already_says_that_nothing_had_to_be_done(rtm: Terminal) -> None:
    rtm("start", "g-1", IMAGE)

    again = rtm("start", "g-1", IMAGE)

    assert again.exit_code == 0
    assert again.stdout.strip().endswith("Nothing had to be done.")


def test_a_game_can_be_prepared_without_being_started(rtm: Terminal) -> None:
    done = rtm("start", "g-1", IMAGE, "--no-start")

    assert done.exit_code == 0
    assert Runtime.objects.get().status == "stopped"
    assert Runtime.objects.get().started_at is None


def test_json_answers_with_the_finished_operation(rtm: Terminal) -> None:
    operation = rtm.json("start", "g-1", IMAGE)

    assert (operation["state"], operation["outcome"], operation["game_id"]) == ("finished", "success", "g-1")
    assert operation["steps"]


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
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
def test_a_verb_that_fails_ends_with_its_exit_code_and_says_what_to_do(
    rtm: Terminal, words: tuple[str, ...], exit_code: int, code: str
) -> None:
    rtm("start", "g-1", IMAGE)

    for_people, for_scripts = rtm(*words), rtm(*words, "--json")

    assert for_people.exit_code == for_scripts.exit_code == exit_code
    assert for_people.stdout == for_scripts.stdout == ""
    assert for_people.stderr.startswith("rtm: ")
    assert 2 <= len(for_people.stderr.splitlines()) <= 3
    assert json.loads(for_scripts.stderr)["error"]["code"] == code


def test_without_docker_a_verb_says_that_docker_is_unreachable(rtm: Terminal, engine: FakeEngine) -> None:
    engine.go_away()

    done = rtm("start", "g-1", IMAGE)

    assert done.exit_code == 5
    assert "rtm doctor" in done.stderr


@pytest.mark.usefixtures("no_worker")
def test_async_returns_with_the_operation_that_is_on_record(rtm: Terminal) -> None:
    operation = rtm.json("start", "g-1", IMAGE, "--async")

    assert operation["state"] == "accepted"
    assert Operation.objects.get().pk == int(operation["id"])


@pytest.mark.usefixtures("no_worker")
def test_an_operation_that_outlasts_the_timeout_is_told_as_still_running(rtm: Terminal) -> None:
    done = rtm("start", "g-1", IMAGE, "--timeout", "300ms")

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


def test_each_invocation_is_a_request_of_its_own(rtm: Terminal) -> None:
    rtm("start", "g-1", IMAGE)
    rtm("restart", "g-1")
    rtm("restart", "g-1")

    assert Operation.objects.filter(op_kind="restart").count() == 2
    assert IdempotencyKey.objects.count() == 3


def test_the_same_key_is_done_once(rtm: Terminal) -> None:
    rtm("start", "g-1", IMAGE)

    first, again = (rtm.json("restart", "g-1", "--key", "deploy-7") for _ in range(2))

    assert first == again
    assert Operation.objects.filter(op_kind="restart").count() == 1


def test_without_a_token_a_verb_is_refused_with_the_way_to_get_one(rtm: Terminal, rtm_settings: RtmSettings) -> None:
    rtm_settings(api_auth="token")

    done = rtm("start", "g-1", IMAGE)

    assert done.exit_code == 6
    assert "RTM_TOKEN" in done.stderr
    assert not Operation.objects.exists()
