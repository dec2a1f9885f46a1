"""``rtm restart --ended-by`` over HTTP, on the fake Docker, with a worker that runs operations at once."""

import json

import pytest
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from operations.health import docker_starts
from operations.intake import OperationRequest, accept
from operations.models import Operation
from operations.monitoring import heartbeats
from operations.monitoring.heartbeats import HeartbeatName
from operations.reconcile import survey
from operations.states import OperationKind, OperationSource
from runtimes.containers import connect
from runtimes.containers.fake.adapter import FakeDocker, FakeImage
from runtimes.models import Runtime
from tests.integration.cli_harness import Terminal
from tests.integration.rest_harness import IMAGE, NEXT_MINOR

pytestmark = pytest.mark.usefixtures("trusted_network", "engine")
GAMES = [f"g-{number}" for number in range(7)]
ALL = ("restart", "--ended-by", "docker_restarted", "--yes")


@pytest.fixture
def rtm(live_server: LiveServer) -> Terminal:
    return Terminal(live_server.url)


@pytest.fixture
def ended(rtm: Terminal, engine: FakeDocker, trusted_network: None) -> list[str]:
    """Seven games that exited with Docker, and one that was stopped on purpose before."""
    del trusted_network  # callers need no token; operations run at once
    docker_starts.record_current(connect())
    heartbeats.record_heartbeat(HeartbeatName.WATCHER)
    for game_id in (*GAMES, "stopped"):
        assert rtm("start", game_id, IMAGE).exit_code == 0
    assert rtm("stop", "stopped").exit_code == 0
    engine.restart()
    survey.reconcile_all()
    return GAMES


def statuses() -> dict[str, str]:
    return dict(Runtime.objects.values_list("game_id", "status"))


def restarts() -> int:
    return Operation.objects.filter(op_kind=OperationKind.RESTART).count()


@pytest.mark.usefixtures("ended")
class TestPlan:
    def test_it_shows_the_games_and_makes_no_change(self, rtm: Terminal) -> None:
        done = rtm("restart", "--ended-by", "docker_restarted", "--plan")

        assert done.exit_code == 0
        assert [game_id in done.stdout for game_id in (*GAMES, "stopped")] == [True] * 7 + [False]
        assert done.stdout.splitlines()[-1] == "7 games are down with the cause docker_restarted."
        assert IMAGE in done.stdout
        assert restarts() == 0

    def test_as_json_it_is_the_records(self, rtm: Terminal) -> None:
        plan = rtm.json("restart", "--ended-by", "docker_restarted", "--plan")

        assert [record["game_id"] for record in plan["items"]] == GAMES

    def test_docker_restart_is_an_alias_of_docker_restarted(self, rtm: Terminal) -> None:
        plan = rtm.json("restart", "--ended-by", "docker_restart", "--plan")

        assert [record["game_id"] for record in plan["items"]] == GAMES

    def test_the_list_has_the_same_filter(self, rtm: Terminal) -> None:
        assert [record["game_id"] for record in rtm.json("list", "--ended-by", "docker_restarted")["items"]] == GAMES

    def test_while_docker_is_away_a_plan_with_games_says_so(self, rtm: Terminal, engine: FakeDocker) -> None:
        engine.disconnect()

        done = rtm("restart", "--ended-by", "docker_restarted", "--plan")

        assert done.exit_code == 0
        assert done.stdout.splitlines()[-1] == "7 games are down with the cause docker_restarted."
        assert "Docker does not respond" in done.stderr

    def test_while_docker_is_away_an_empty_plan_fails(self, rtm: Terminal, engine: FakeDocker) -> None:
        engine.disconnect()

        done = rtm("restart", "--ended-by", "out_of_memory", "--plan")

        assert (done.exit_code, done.stdout) == (5, "")
        assert "Docker does not respond" in done.stderr
        assert "rtm doctor" in done.stderr

    def test_one_game_is_counted_in_the_singular(self, rtm: Terminal) -> None:
        Runtime.objects.exclude(pk="g-2").update(ended_by="")

        done = rtm("restart", "--ended-by", "docker_restarted", "--plan")

        assert done.stdout.splitlines()[-1] == "1 game is down with the cause docker_restarted."


@pytest.mark.usefixtures("ended")
class TestRun:
    def test_it_starts_only_these_games_and_prints_a_line_for_each(self, rtm: Terminal) -> None:
        done = rtm(*ALL)

        assert done.exit_code == 0, done.output
        assert statuses() == {**dict.fromkeys(GAMES, "running"), "stopped": "stopped"}
        lines = done.stdout.splitlines()
        assert [line for line in lines if line.startswith("[")][-1].startswith("[7/7] g-")
        assert lines[-1] == "7 restarted, 0 skipped, 0 failed, 0 left."

    def test_a_second_run_finds_no_game_to_restart(self, rtm: Terminal) -> None:
        rtm(*ALL)

        second = rtm(*ALL)

        assert second.exit_code == 0
        assert second.stdout.strip() == "No game is down with the cause docker_restarted."
        assert restarts() == 7

    def test_as_json_it_prints_one_document(self, rtm: Terminal) -> None:
        summary = rtm.json(*ALL)

        assert (summary["planned"], summary["restarted"], summary["failed"], summary["left"]) == (7, 7, 0, [])
        assert {item["outcome"] for item in summary["items"]} == {"restarted"}
        assert all(item["operation_id"] for item in summary["items"])

    def test_a_busy_game_is_skipped(self, rtm: Terminal, settings: Settings) -> None:
        notifier = settings.RTM_NOTIFIER
        request = OperationRequest(
            game_id="g-3",
            op_kind=OperationKind.START,
            op_source=OperationSource.ADMIN_REST,
            job_key="k",
            arguments={"image_ref": IMAGE},
        )
        # No worker is notified: the operation stays open while the command runs.
        settings.RTM_NOTIFIER = "operations.dispatch.Notifier"
        accept([request])
        settings.RTM_NOTIFIER = notifier

        summary = rtm.json(*ALL)

        assert (summary["restarted"], summary["skipped"], summary["failed"]) == (6, 1, 0)
        assert next(item for item in summary["items"] if item["game_id"] == "g-3")["error_code"] == "conflict"


@pytest.mark.usefixtures("ended")
class TestFailures:
    def test_it_stops_after_max_failures_with_one_error_code(self, rtm: Terminal, engine: FakeDocker) -> None:
        engine.images.pop(IMAGE)

        done = rtm(*ALL, "--parallel", "1", "--max-failures", "2")

        assert done.exit_code == 1
        assert "2 failed, 5 left" in done.stdout
        assert "stopped after 2 failures with image_pull_failed" in done.stderr
        assert "`rtm restart --ended-by docker_restarted` again" in done.stderr
        assert restarts() == 2

    def test_after_the_cause_is_fixed_the_same_command_restarts_the_rest(
        self, rtm: Terminal, engine: FakeDocker
    ) -> None:
        image = engine.images.pop(IMAGE)
        failed = rtm(*ALL, "--parallel", "1", "--max-failures", "1")
        engine.images[IMAGE] = image
        assert "stopped after 1 failure with image_pull_failed; 6 games left" in failed.stderr

        done = rtm(*ALL)

        assert done.exit_code == 0, done.output
        assert set(statuses().values()) == {"running", "stopped"}

    def test_one_failure_does_not_stop_the_other_restarts(self, rtm: Terminal, engine: FakeDocker) -> None:
        crashing = engine.images[NEXT_MINOR] = FakeImage(exit_code=3)
        Runtime.objects.filter(pk="g-2").update(current_image_ref=NEXT_MINOR, image_id=crashing.id)

        done = rtm(*ALL, "--json")

        summary = json.loads(done.stdout)
        assert done.exit_code == 1
        assert (summary["restarted"], summary["failed"], summary["left"]) == (6, 1, [])
        assert json.loads(done.stderr)["error"]["code"] == "restarts_failed"
        failed = next(item for item in summary["items"] if item["outcome"] == "failed")
        assert (failed["game_id"], failed["error_code"]) == ("g-2", "container_start_failed")


def test_a_timeout_reports_the_restarts_in_progress_and_the_games_left(
    rtm: Terminal, ended: list[str], settings: Settings
) -> None:
    # From now on no worker is notified.
    settings.RTM_NOTIFIER = "operations.dispatch.Notifier"

    done = rtm(*ALL, "--parallel", "2", "--timeout", "1500ms")

    assert done.exit_code == 7
    assert restarts() == 2
    assert f"0 of {len(ended)} games done, 2 in progress, 5 not started" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("restart",),
        ("restart", "g-1", "--ended-by", "docker_restarted"),
        ("restart", "g-1", "--plan"),
        ("restart", "--ended-by", "boredom"),
        ("restart", "--ended-by", "exited", "--async"),
        ("restart", "--ended-by", "exited", "--key", "k"),
        ("restart", "--ended-by", "exited", "--parallel", "0"),
    ],
)
def test_an_invalid_combination_of_options_is_a_usage_error(rtm: Terminal, command: tuple[str, ...]) -> None:
    done = rtm(*command)

    assert done.exit_code == 2
    assert restarts() == 0
