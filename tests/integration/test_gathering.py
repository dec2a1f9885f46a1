"""Looking at a game: real rows, an engine in memory, servers that do not answer."""

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

from operations import gathering, looks, reconciler, runner
from operations.events import HealthEvent, HealthEventType
from operations.gathering import explain_game
from operations.health import report
from operations.models import BlackBox, DeadLetter, Operation, Pulse
from operations.states import OpKind, OpSource
from runtimes.containers.base import Container, ContainerState
from runtimes.containers.fake import FakeImage
from runtimes.models import Runtime
from runtimes.specs import container_name
from tests.conftest import RtmSettings
from tests.integration.rigs import IMAGE, OTHER_IMAGE, Rig, expire_lease

EXPLAIN = "/api/v1/internal/runtimes/{}/explain"
MOST_QUERIES = 14


def cause(game_id: str = "g1") -> str:
    return explain_game(game_id).cause


def reconcile() -> None:
    before = set(Operation.objects.values_list("pk", flat=True))
    reconciler.reconcile_all()
    for operation in Operation.objects.exclude(pk__in=before):
        runner.run(operation.pk)


def running_container(rig: Rig) -> Container:
    found = rig.container()
    assert found is not None
    return found


class TestGames:
    def test_a_started_game_is_healthy_and_all_sides_agree(self, rig: Rig) -> None:
        rig.start()

        told = explain_game("g1")

        assert (told.cause, told.differences, told.blocked_by) == ("healthy", (), ())
        assert told.desired is not None
        assert (told.desired.status, told.observed.state) == ("running", "running")
        assert told.limits["memory_bytes"] == 512 * 1024**2
        assert told.last_operations[0]["steps"]

    def test_a_game_nobody_heard_of_is_explained(self, rig: Rig) -> None:
        del rig

        told = explain_game("g1")

        assert told.cause == "never_started"
        assert (told.recorded, told.desired, told.last_operations) == (None, None, ())

    def test_a_job_that_could_not_be_read_is_told_of_a_game_nobody_heard_of(self, rig: Rig) -> None:
        del rig
        DeadLetter.objects.create(
            stream="runtime:start_jobs", entry_id="1-0", reason="no image", fields="{}", game_id="g1"
        )

        told = explain_game("g1")

        assert told.cause == "never_started"
        assert "no image" in told.headline
        assert told.dead_letters[0]["stream"] == "runtime:start_jobs"

    def test_a_stop_is_told_with_the_day_of_the_cleanup(self, rig: Rig) -> None:
        rig.start()
        rig.stop()

        told = explain_game("g1")

        stopped_at = Runtime.objects.get(pk="g1").stopped_at
        assert stopped_at is not None
        assert (told.cause, told.next_automatic.at) == ("stopped_as_asked", stopped_at + timedelta(days=30))

    def test_a_removed_and_a_prepared_game_are_as_asked(self, rig: Rig) -> None:
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
        rig.engine.vanish(running_container(rig).id)

        before = cause()
        reconcile()

        assert (before, cause()) == ("container_disappeared", "container_disappeared")

    def test_what_is_proposed_after_an_end_works(self, rig: Rig) -> None:
        rig.start()
        rig.engine.vanish(running_container(rig).id)
        reconcile()
        step = explain_game("g1").next_step

        rig.do(rig.ask(OpKind(step.verb or ""), **step.arguments))

        assert cause() == "healthy"

    def test_an_image_that_does_not_exist_is_named(self, rig: Rig) -> None:
        rig.start(image_ref="galaxy-engine:9.9.9")

        told = explain_game("g1")

        assert told.cause == "image_missing"
        assert "galaxy-engine:9.9.9" in told.headline

    def test_a_crash_at_the_start_is_named(self, rig: Rig) -> None:
        rig.engine.images[IMAGE] = FakeImage(exits_with=3)
        rig.start()

        told = explain_game("g1")

        box = BlackBox.objects.get()
        assert (told.cause, told.black_box) == ("crash_at_start", str(box.pk))
        assert f"black box {box.pk}" in told.next_step.text

    def test_a_missing_network_is_named_until_it_is_there(self, rig: Rig) -> None:
        rig.engine.networks.clear()
        rig.start()

        missing = cause()
        rig.engine.networks.add("galaxy-net")
        mended = explain_game("g1")

        assert missing == "network_missing"
        assert (mended.cause, mended.next_step.verb) == ("start_failed", "start")

    def test_a_state_directory_that_cannot_be_made_is_named(self, rig: Rig) -> None:
        rig.state_root.write_text("in the way")
        rig.start()

        assert cause() == "state_directory_unusable"

    def test_a_strangers_container_is_named_with_its_id(self, rig: Rig) -> None:
        rig.engine.containers["f" * 64] = Container("f" * 64, container_name("g1"), ContainerState.RUNNING)
        rig.start()

        told = explain_game("g1")

        assert (told.cause, told.observed.foreign_container_id) == ("foreign_container", "f" * 64)
        assert told.observed.container_id is None

    def test_a_refused_patch_leaves_the_game_fine(self, rig: Rig) -> None:
        rig.start()
        rig.patch("galaxy-engine:2.0.0")

        assert cause() == "image_refused"

    def test_a_patch_that_was_taken_back_is_told(self, rig: Rig) -> None:
        rig.start()
        rig.engine.images[OTHER_IMAGE] = FakeImage(exits_with=3)
        rig.patch(OTHER_IMAGE)

        assert cause() == "patch_reverted"

    def test_failing_probes_are_told(self, rig: Rig) -> None:
        rig.start()
        container_id = running_container(rig).id
        at = Operation.objects.get().finished_at
        assert at is not None
        report("g1", HealthEvent(HealthEventType.PROBE_FAILED, container_id, at, {"consecutive_failures": 3}, "1"))
        Runtime.objects.get(pk="g1").health.__class__.objects.update(probe_failures=3, probed_at=Now())

        assert cause() == "probe_failing"


class TestWork:
    def test_a_job_that_nobody_takes_up_names_the_missing_worker(self, rig: Rig) -> None:
        rig.start()
        asked = rig.ask_stop()
        Operation.objects.exclude(pk=asked.pk).update(finished_at=Now() - timedelta(seconds=60))
        Operation.objects.filter(pk=asked.pk).update(accepted_at=Now() - timedelta(seconds=10))

        told = explain_game("g1")

        assert told.cause == "worker_down"
        assert [one.what for one in told.blocked_by] == ["worker"]
        assert told.open_operations[0]["id"] == str(asked.pk)
        assert set(told.verbs.values()) == {f"the game is busy with stop (operation {asked.pk})"}

    def test_a_worker_that_died_is_told_with_the_end_of_its_lease(self, rig: Rig) -> None:
        asked = rig.ask_start()
        rig.engine.on_call("create", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            runner.run(asked.pk)
        expire_lease(asked)

        assert cause() == "recovering"

    def test_an_operation_put_off_is_told_with_its_time(self, rig: Rig) -> None:
        rig.engine.go_away()
        asked = rig.start()
        away = explain_game("g1")
        rig.engine.come_back()

        back = explain_game("g1")

        assert (away.cause, back.cause) == ("docker_unreachable", "backing_off")
        assert away.next_automatic.at == back.next_automatic.at == asked.not_before

    def test_the_last_sign_of_life_of_the_workers_counts(self, rig: Rig) -> None:
        rig.start()
        Pulse.objects.create(name="canary", who="x", beat_at=Now() - timedelta(minutes=5))

        assert cause() == "worker_down"

    def test_the_next_reconcile_is_computed_from_the_last_one(self, rig: Rig) -> None:
        rig.start()
        rig.engine.vanish(running_container(rig).id)
        pulse = Pulse.objects.create(name="relist", who="x", beat_at=Now())
        pulse.refresh_from_db()

        assert explain_game("g1").next_automatic.at == pulse.beat_at + timedelta(minutes=5)


class TestServersThatAreAway:
    def test_docker_away_is_unknown_and_not_gone(self, rig: Rig) -> None:
        rig.start()
        rig.engine.go_away()

        told = explain_game("g1")

        assert (told.cause, told.observed.known, told.observed.state) == ("docker_unreachable", False, None)
        assert told.recorded is not None

    def test_a_docker_that_hangs_holds_nobody_up(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        rig.start()
        monkeypatch.setattr(gathering, "LOOK_SECONDS", 0.1)
        release = threading.Event()
        rig.engine.on_call("find", lambda: hold(release))

        told = explain_game("g1")
        release.set()

        assert (told.cause, told.observed.reason) == ("docker_unreachable", "no answer within 0.1 s")

    def test_looks_that_hang_are_not_piled_up(self) -> None:
        release = threading.Event()
        hanging = [looks.begin(lambda: release.wait(30), name="Docker") for _ in range(16)]

        refused = looks.begin(lambda: None, name="Docker")
        release.set()

        assert "Docker hangs" in looks.reason_of(refused, timeout_seconds=1)
        assert all(one.result(timeout=5) for one in hanging)

    def test_redis_away_is_told_with_what_the_game_is_doing(self, rig: Rig, rtm_settings: RtmSettings) -> None:
        rig.start()
        rtm_settings(redis_url="redis://127.0.0.1:1/0")

        told = explain_game("g1")

        assert told.cause == "redis_down"
        assert "Apart from that: Game g1 is up" in told.detail

    def test_postgresql_away_is_told_with_what_docker_shows(self, rig: Rig) -> None:
        rig.start()
        connection.close()
        there = connection.settings_dict["PORT"]
        connection.settings_dict["PORT"] = "1"
        try:
            told = explain_game("g1")
        finally:
            connection.settings_dict["PORT"] = there

        assert told.cause == "database_unreachable"
        assert (told.observed.state, told.recorded) == ("running", None)


class TestCost:
    def test_the_number_of_queries_does_not_grow_with_what_has_happened(self, rig: Rig) -> None:
        rig.start()
        with CaptureQueriesContext(connection) as few:
            explain_game("g1")
        for number in range(120):
            rig.ask(OpKind.STOP, source=OpSource.LOBBY_STREAM, reason=f"r{number}")
        with CaptureQueriesContext(connection) as many:
            told = explain_game("g1")

        assert len(few) == len(many) <= MOST_QUERIES
        assert (told.open_count, len(told.open_operations)) == (120, 20)


class TestFaces:
    @pytest.fixture(autouse=True)
    def _trusted(self, rtm_settings: RtmSettings) -> None:
        rtm_settings(api_auth="network")

    def test_rest_answers_the_explanation(self, rig: Rig, client: Client) -> None:
        rig.start()

        answer = client.get(EXPLAIN.format("g1"))

        assert answer.status_code == 200
        assert (answer.json()["cause"], answer.json()["severity"]) == ("healthy", "ok")
        assert answer["Cache-Control"] == "no-store"

    def test_rest_refuses_what_is_no_game(self, rig: Rig, client: Client) -> None:
        del rig

        assert client.get(EXPLAIN.format("-no")).json()["error"]["code"] == "invalid_request"

    def test_the_command_prints_the_same_as_text_and_as_json(self, rig: Rig, client: Client) -> None:
        rig.start()

        text, as_json = command("g1"), json.loads(command("g1", "--json"))

        assert text.startswith("OK  healthy  (game g1)\nGame g1 is up since ")
        assert without_times(as_json) == without_times(client.get(EXPLAIN.format("g1")).json())

    def test_the_command_refuses_what_is_no_game(self, rig: Rig) -> None:
        del rig

        with pytest.raises(CommandError, match="1 to 51 letters"):
            command("no game")


def hold(release: threading.Event) -> None:
    release.wait(30)


def command(*words: str) -> str:
    out = StringIO()
    call_command("explain", *words, stdout=out)
    return out.getvalue()


def without_times(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name not in {"as_of", "headline"}}
