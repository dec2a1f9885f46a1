"""Explain a game from real rows and a Docker in memory, also if servers do not answer."""

import json
import threading
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext

from operations import runner
from operations.explain import collect
from operations.explain.collect import explain_game
from operations.health.reports import report
from operations.messages import HealthEvent, HealthEventType
from operations.models import DeadLetter, ExitReport, Heartbeat, Operation
from operations.monitoring import bounded_call
from operations.reconcile import survey
from operations.states import OperationKind, OperationSource
from runtimes.container_spec import container_name
from runtimes.containers.base import Container, ContainerState
from runtimes.containers.fake.adapter import FakeImage
from runtimes.models import Runtime
from tests.conftest import RtmSettings
from tests.integration.harness import IMAGE, OTHER_IMAGE, Rig, expire_lease

EXPLAIN = "/api/v1/internal/runtimes/{}/explain"
MOST_QUERIES = 16


def cause(game_id: str = "g1") -> str:
    return explain_game(game_id).cause


def reconcile() -> None:
    before = set(Operation.objects.values_list("pk", flat=True))
    survey.reconcile_all()
    for operation in Operation.objects.exclude(pk__in=before):
        runner.run(operation.pk)


def running_container(rig: Rig) -> Container:
    found = rig.container()
    assert found is not None
    return found


class TestGames:
    def test_a_started_game_is_healthy_and_all_sides_agree(self, rig: Rig) -> None:
        rig.start()

        explanation = explain_game("g1")

        assert (explanation.cause, explanation.differences, explanation.blocked_by) == ("healthy", (), ())
        assert explanation.desired is not None
        assert (explanation.desired.status, explanation.observed.state) == ("running", "running")
        assert explanation.limits["memory_bytes"] == 512 * 1024**2
        assert explanation.last_operations[0]["steps"]

    def test_a_game_without_a_record_is_explained(self, rig: Rig) -> None:
        del rig

        explanation = explain_game("g1")

        assert explanation.cause == "never_started"
        assert (explanation.recorded, explanation.desired, explanation.last_operations) == (None, None, ())

    def test_an_invalid_job_of_a_game_without_a_record_is_reported(self, rig: Rig) -> None:
        del rig
        DeadLetter.objects.create(
            stream="runtime:start_jobs", entry_id="1-0", reason="no image", fields="{}", game_id="g1"
        )

        explanation = explain_game("g1")

        assert explanation.cause == "never_started"
        assert "no image" in explanation.headline
        assert explanation.dead_letters[0]["stream"] == "runtime:start_jobs"

    def test_a_stopped_game_names_the_day_of_its_cleanup(self, rig: Rig) -> None:
        rig.start()
        rig.stop()

        explanation = explain_game("g1")

        stopped_at = Runtime.objects.get(pk="g1").stopped_at
        assert stopped_at is not None
        assert (explanation.cause, explanation.next_automatic.at) == (
            "stopped_on_request",
            stopped_at + timedelta(days=30),
        )

    def test_a_removed_and_a_prepared_game_are_as_requested(self, rig: Rig) -> None:
        rig.start()
        rig.stop()
        rig.cleanup()
        rig.start("g2", no_start=True)

        assert (cause(), cause("g2")) == ("removed", "prepared")

    @pytest.mark.parametrize(
        ("exit_code", "oom", "expected"),
        [(137, True, "out_of_memory"), (137, False, "killed_outside"), (3, False, "exited_by_itself")],
    )
    def test_an_end_is_explained_alike_before_and_after_it_is_on_record(
        self, rig: Rig, *, exit_code: int, oom: bool, expected: str
    ) -> None:
        rig.start()
        rig.engine.exit(running_container(rig).id, exit_code=exit_code, oom_killed=oom)

        before = explain_game("g1")
        reconcile()
        after = explain_game("g1")

        assert (before.cause, after.cause) == (expected, expected)
        assert (before.next_step.verb, after.next_step.verb) == ("restart", "restart")
        assert after.health_history

    def test_a_disappearance_is_explained_alike_before_and_after_it_is_on_record(self, rig: Rig) -> None:
        rig.start()
        rig.engine.remove_externally(running_container(rig).id)

        before = cause()
        reconcile()

        assert (before, cause()) == ("container_disappeared", "container_disappeared")

    def test_what_is_proposed_after_an_end_works(self, rig: Rig) -> None:
        rig.start()
        rig.engine.remove_externally(running_container(rig).id)
        reconcile()
        step = explain_game("g1").next_step

        rig.do(rig.ask(OperationKind(step.verb or ""), **step.arguments))

        assert cause() == "healthy"

    def test_an_image_that_does_not_exist_is_named(self, rig: Rig) -> None:
        rig.start(image_ref="galaxy-engine:9.9.9")

        explanation = explain_game("g1")

        assert explanation.cause == "image_missing"
        assert "galaxy-engine:9.9.9" in explanation.headline

    def test_a_crash_at_the_start_is_named(self, rig: Rig) -> None:
        rig.engine.images[IMAGE] = FakeImage(exit_code=3)
        rig.start()

        explanation = explain_game("g1")

        box = ExitReport.objects.get()
        assert (explanation.cause, explanation.exit_report) == ("crash_at_start", str(box.pk))
        assert f"exit report {box.pk}" in explanation.next_step.text

    def test_a_missing_network_is_named_until_it_is_there(self, rig: Rig) -> None:
        rig.engine.networks.clear()
        rig.start()

        missing = cause()
        rig.engine.networks.add("galaxy-net")
        corrected = explain_game("g1")

        assert missing == "network_missing"
        assert (corrected.cause, corrected.next_step.verb) == ("start_failed", "start")

    def test_a_state_directory_that_cannot_be_made_is_named(self, rig: Rig) -> None:
        rig.state_root.write_text("in the way")
        rig.start()

        assert cause() == "state_directory_unusable"

    def test_a_foreign_container_is_named_with_its_id(self, rig: Rig) -> None:
        rig.engine.containers["f" * 64] = Container("f" * 64, container_name("g1"), ContainerState.RUNNING)
        rig.start()

        explanation = explain_game("g1")

        assert (explanation.cause, explanation.observed.foreign_container_id) == ("foreign_container", "f" * 64)
        assert explanation.observed.container_id is None

    def test_a_refused_patch_leaves_the_game_fine(self, rig: Rig) -> None:
        rig.start()
        rig.patch("galaxy-engine:2.0.0")

        explanation = explain_game("g1")

        assert (explanation.cause, [one.kind for one in explanation.notes]) == ("healthy", ["image_refused"])

    def test_a_refused_cleanup_of_a_game_that_runs_is_a_note(self, rig: Rig) -> None:
        rig.start()
        refused = rig.cleanup()

        explanation = explain_game("g1")

        (note,) = explanation.notes
        assert (explanation.cause, note.kind, note.operation_id) == ("healthy", "operation_refused", refused.pk)

    def test_another_game_whose_id_differs_in_case_is_named_only_while_it_has_a_container(self, rig: Rig) -> None:
        rig.start("G1")
        with_container = explain_game("g1").verbs["start"]
        rig.stop("G1")
        rig.cleanup("G1")

        assert "game G1 has a container" in with_container
        assert explain_game("g1").verbs["start"] == ""

    def test_a_reverted_patch_is_reported(self, rig: Rig) -> None:
        rig.start()
        rig.engine.images[OTHER_IMAGE] = FakeImage(exit_code=3)
        rig.patch(OTHER_IMAGE)

        assert cause() == "patch_reverted"

    def test_failing_probes_are_reported(self, rig: Rig) -> None:
        rig.start()
        container_id = running_container(rig).id
        at = Operation.objects.get().finished_at
        assert at is not None
        report("g1", HealthEvent(HealthEventType.PROBE_FAILED, container_id, at, {"consecutive_failures": 3}, "1"))
        Runtime.objects.get(pk="g1").health.__class__.objects.update(probe_failures=3, probed_at=Now())

        assert cause() == "probe_failing"


class TestWork:
    def test_an_operation_that_no_worker_takes_names_the_missing_worker(self, rig: Rig) -> None:
        rig.start()
        asked = rig.ask_stop()
        Operation.objects.exclude(pk=asked.pk).update(finished_at=Now() - timedelta(seconds=60))
        Operation.objects.filter(pk=asked.pk).update(accepted_at=Now() - timedelta(seconds=10))

        explanation = explain_game("g1")

        assert explanation.cause == "worker_down"
        assert [one.what for one in explanation.blocked_by] == ["worker"]
        assert explanation.open_operations[0]["id"] == str(asked.pk)
        assert set(explanation.verbs.values()) == {f"the game is busy with stop (operation {asked.pk})"}

    def test_a_dead_worker_is_reported_with_the_end_of_its_lease(self, rig: Rig) -> None:
        asked = rig.ask_start()
        rig.engine.on_call("create", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            runner.run(asked.pk)
        expire_lease(asked)

        assert cause() == "recovering"

    def test_a_delayed_operation_is_reported_with_its_next_attempt(self, rig: Rig) -> None:
        rig.engine.disconnect()
        asked = rig.start()
        Operation.objects.filter(pk=asked.pk).update(not_before=Now() + timedelta(minutes=1))
        away = explain_game("g1")
        rig.engine.reconnect()

        back = explain_game("g1")

        assert (away.cause, back.cause) == ("docker_unreachable", "backing_off")
        assert away.next_automatic.at == back.next_automatic.at == Operation.objects.get().not_before

    def test_a_late_canary_is_a_missing_worker(self, rig: Rig) -> None:
        rig.start()
        Heartbeat.objects.create(name="canary", process="x", seen_at=Now() - timedelta(minutes=5))

        assert cause() == "worker_down"

    def test_the_next_reconcile_is_computed_from_the_last_one(self, rig: Rig) -> None:
        rig.start()
        rig.engine.remove_externally(running_container(rig).id)
        heartbeat = Heartbeat.objects.create(name="full_reconcile", process="x", seen_at=Now())
        heartbeat.refresh_from_db()

        assert explain_game("g1").next_automatic.at == heartbeat.seen_at + timedelta(minutes=5)


class TestServersThatAreAway:
    def test_without_docker_the_game_is_unknown_and_not_missing(self, rig: Rig) -> None:
        rig.start()
        rig.engine.disconnect()

        explanation = explain_game("g1")

        assert (explanation.cause, explanation.observed.known, explanation.observed.state) == (
            "docker_unreachable",
            False,
            None,
        )
        assert explanation.recorded is not None

    def test_a_docker_that_hangs_does_not_block_the_explanation(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig.start()
        monkeypatch.setattr(collect, "QUERY_SECONDS", 0.1)
        release = threading.Event()
        rig.engine.on_call("find", lambda: hold(release))

        explanation = explain_game("g1")
        release.set()

        assert (explanation.cause, explanation.observed.known) == ("docker_not_observed", False)

    def test_hanging_queries_do_not_accumulate(self) -> None:
        release = threading.Event()
        hanging = [bounded_call.call_in_thread(lambda: release.wait(30), name="Docker") for _ in range(16)]

        refused = bounded_call.call_in_thread(lambda: None, name="Docker")
        release.set()

        assert "Docker hangs" in bounded_call.wait(refused, bounded_call.Deadline(1)).failure
        assert all(one.result(timeout=5) for one in hanging)

    def test_without_redis_the_state_of_the_game_is_still_reported(self, rig: Rig, rtm_settings: RtmSettings) -> None:
        rig.start()
        rtm_settings(redis_url="redis://127.0.0.1:1/0")

        explanation = explain_game("g1")

        assert explanation.cause == "redis_down"
        assert "Apart from that: g1 is up" in explanation.detail

    def test_without_postgresql_the_state_in_docker_is_reported(self, rig: Rig) -> None:
        rig.start()
        connection.close()
        there = connection.settings_dict["PORT"]
        connection.settings_dict["PORT"] = "1"
        try:
            explanation = explain_game("g1")
        finally:
            connection.settings_dict["PORT"] = there

        assert explanation.cause == "database_unreachable"
        assert (explanation.observed.state, explanation.recorded) == ("running", None)


class TestCost:
    def test_the_number_of_queries_does_not_grow_with_what_has_happened(self, rig: Rig) -> None:
        rig.start()
        with CaptureQueriesContext(connection) as few:
            explain_game("g1")
        for number in range(120):
            rig.ask(OperationKind.STOP, source=OperationSource.LOBBY_STREAM, reason=f"r{number}")
        with CaptureQueriesContext(connection) as many:
            explanation = explain_game("g1")

        assert len(few) == len(many) <= MOST_QUERIES
        assert (explanation.open_count, len(explanation.open_operations)) == (120, 20)


class TestInterfaces:
    @pytest.fixture(autouse=True)
    def _trusted(self, rtm_settings: RtmSettings) -> None:
        rtm_settings(api_auth="network")

    def test_rest_answers_the_explanation(self, rig: Rig, client: Client) -> None:
        rig.start()

        answer = client.get(EXPLAIN.format("g1"))

        assert answer.status_code == 200
        assert (answer.json()["cause"], answer.json()["severity"]) == ("healthy", "ok")
        assert answer["Cache-Control"] == "no-store"

    def test_rest_refuses_an_invalid_game_id(self, rig: Rig, client: Client) -> None:
        del rig

        assert client.get(EXPLAIN.format("-no")).json()["error"]["code"] == "invalid_request"

    def test_the_command_prints_the_same_as_text_and_as_json(self, rig: Rig, client: Client) -> None:
        rig.start()

        text, as_json = command("g1"), json.loads(command("g1", "--json"))

        assert text.startswith("OK  healthy  (game g1)\ng1 is up since ")
        assert without_times(as_json) == without_times(client.get(EXPLAIN.format("g1")).json())

    def test_the_command_refuses_an_invalid_game_id(self, rig: Rig) -> None:
        del rig

        with pytest.raises(CommandError, match="1 to 51 letters"):
            command("no game")


def hold(release: threading.Event) -> None:
    release.wait(30)


def command(*words: str) -> str:
    out = StringIO()
    call_command("explain", *words, stdout=out)
    return out.getvalue()


def without_times(explanation: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in explanation.items() if name not in {"as_of", "headline"}}
