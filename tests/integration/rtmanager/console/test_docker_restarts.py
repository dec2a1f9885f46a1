"""The console while Docker does not answer and after its restart, and the button that restarts the games."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from operations import runner
from operations.health import docker_starts
from operations.models import Operation
from operations.monitoring import heartbeats
from operations.monitoring.heartbeats import HeartbeatName
from operations.reconcile import survey
from operations.states import OPEN_STATES, OperationKind
from rtmanager.console import views
from runtimes.containers import connect
from runtimes.models import Runtime
from tests.integration.console_harness import signed_in
from tests.integration.harness import Rig

BY_CAUSE = "?if_ended_by=docker_restarted"


@pytest.fixture
def operator(rig: Rig) -> Client:
    del rig
    return signed_in("operator")


@pytest.fixture
def ended(rig: Rig) -> list[str]:
    """Three games that ended with Docker. A fourth game was stopped before."""
    docker_starts.record_current(connect())
    heartbeats.record_heartbeat(HeartbeatName.WATCHER)
    games = ["g1", "g2", "g3"]
    for game_id in (*games, "stopped"):
        rig.start(game_id)
    rig.stop("stopped")
    rig.engine.restart()
    survey.reconcile_all()
    work()
    return games


def work() -> None:
    """Run all open operations as a worker does."""
    for operation in Operation.objects.filter(state__in=OPEN_STATES).order_by("id"):
        runner.run(operation.pk)


def page(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def press(client: Client, *, because: str = "the host was rebooted") -> str:
    """Open the confirmation page of the button and confirm it; returns the address it redirects to."""
    plan = page(client, reverse("console:action", args=["restart"]) + BY_CAUSE)
    submission_id = re.search(r'name="submission_id" value="([0-9a-f-]{36})"', plan)
    cause = re.search(r'name="if_ended_by" value="(\w+)"', plan)
    assert submission_id
    assert cause
    form = {
        "game": re.findall(r'name="game" value="([^"]+)"', plan),
        "submission_id": submission_id[1],
        "if_ended_by": cause[1],
        "because": because,
    }
    response = client.post(reverse("console:action", args=["restart"]), form)
    assert response.status_code == 302, response.content
    return str(response["Location"])


class TestDashboard:
    def test_while_docker_does_not_answer_the_numbers_are_marked_as_last_known(
        self, rig: Rig, operator: Client
    ) -> None:
        rig.start()
        heartbeats.record_heartbeat(HeartbeatName.WATCHER)
        rig.engine.disconnect()

        shown = page(operator, reverse("console:figures"))

        assert shown.index('id="docker-away"') < shown.index('id="tile-running"')
        assert "the fake Docker is away" in shown
        assert shown.count(", last known</span>") == 3
        assert re.search(r"as last known, at <time [^>]+>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", shown)
        assert Runtime.objects.get().status == "running"

    def test_a_docker_that_answers_is_not_mentioned(self, rig: Rig, operator: Client) -> None:
        rig.start()

        shown = page(operator, reverse("console:figures"))

        assert "docker-away" not in shown
        assert "last known" not in shown
        assert "ended-with-docker" not in shown

    def test_games_that_ended_with_docker_are_counted_with_the_button(self, operator: Client, ended: list[str]) -> None:
        shown = page(operator, reverse("console:figures"))

        assert f"{len(ended)} games ended with Docker" in shown
        assert f'href="{reverse("console:action", args=["restart"])}{BY_CAUSE}"' in shown

    @pytest.mark.usefixtures("ended")
    def test_a_viewer_sees_the_games_but_no_button(self) -> None:
        viewer = signed_in("viewer")

        shown = page(viewer, reverse("console:figures"))

        assert 'id="ended-with-docker"' in shown
        assert 'id="restart-ended"' not in shown
        assert viewer.get(reverse("console:action", args=["restart"]) + BY_CAUSE).status_code == 403

    def test_the_list_of_games_filters_by_cause(self, operator: Client, ended: list[str]) -> None:
        shown = page(operator, reverse("admin:runtimes_runtime_changelist") + "?ended_by__exact=docker_restarted")

        assert [f">{game_id}</a>" in shown for game_id in (*ended, "stopped")] == [True, True, True, False]


class TestRestartButton:
    def test_the_button_restarts_these_games_and_no_other(self, operator: Client, ended: list[str]) -> None:
        leads_to = press(operator)
        work()

        restarts = Operation.objects.filter(op_kind=OperationKind.RESTART).order_by("id")
        assert [restart.game_id for restart in restarts] == ended
        assert [restart.arguments["if_ended_by"] for restart in restarts] == ["docker_restarted"] * 3
        assert set(Runtime.objects.filter(pk__in=ended).values_list("status", "ended_by")) == {("running", "")}
        assert Runtime.objects.get(pk="stopped").status == "stopped"
        assert "All operations have finished." in page(operator, leads_to)

    @pytest.mark.usefixtures("ended")
    def test_an_empty_state_directory_is_accepted_for_single_games_only(self, operator: Client) -> None:
        address = reverse("console:action", args=["restart"])

        shown = [page(operator, address + query) for query in (BY_CAUSE, "?game=g1")]

        assert ['name="accept_empty_state"' in page_text for page_text in shown] == [False, True]

    def test_the_audit_log_has_an_entry_with_the_reason_for_each_game(self, operator: Client, ended: list[str]) -> None:
        press(operator, because="power cut")

        entries = LogEntry.objects.order_by("object_id")
        assert [entry.object_id for entry in entries] == ended
        assert all(entry.change_message.endswith("power cut") for entry in entries)

    @pytest.mark.usefixtures("ended")
    def test_without_a_reason_nothing_is_done(self, operator: Client) -> None:
        plan = page(operator, reverse("console:action", args=["restart"]) + BY_CAUSE)
        submission_id = re.search(r'name="submission_id" value="([0-9a-f-]{36})"', plan)
        assert submission_id

        form = {"game": ["g1"], "submission_id": submission_id[1], "if_ended_by": "docker_restarted", "because": ""}
        response = operator.post(reverse("console:action", args=["restart"]), form)

        assert response.status_code == 400
        assert not Operation.objects.filter(op_kind=OperationKind.RESTART).exists()

    def test_a_game_started_in_the_meantime_is_not_restarted(
        self, rig: Rig, operator: Client, ended: list[str]
    ) -> None:
        press(operator)
        Operation.objects.filter(op_kind=OperationKind.RESTART, game_id=ended[0]).delete()
        up = rig.start(ended[0])
        press(operator)
        work()

        assert Runtime.objects.get(pk=ended[0]).current_container_id == up.container_id

    def test_many_games_are_restarted_in_batches(
        self, operator: Client, ended: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(views, "_MAX_GAMES", 2)
        plan = page(operator, reverse("console:action", args=["restart"]) + BY_CAUSE)
        leads_to = press(operator)
        work()

        after = page(operator, leads_to)

        assert "1 more game is down for the same cause" in plan
        assert Operation.objects.filter(op_kind=OperationKind.RESTART).count() == 2
        assert 'id="restart-more"' in after
        assert "1 game is still down for this cause." in after
        assert ">Restart this game</a>" in after
        assert BY_CAUSE in after
        press(operator)
        work()
        assert set(Runtime.objects.filter(pk__in=ended).values_list("status", flat=True)) == {"running"}

    def test_a_message_says_that_no_game_is_down_any_more(self, operator: Client) -> None:
        response = operator.get(reverse("console:action", args=["restart"]) + BY_CAUSE, follow=True)

        assert "No game is down for this cause any more." in response.content.decode()
