"""Every operation that finds an exited container stores an exit report of it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from operations.exit_reports import contents
from operations.exit_reports.capture import KEPT_PER_GAME, prune
from operations.exit_reports.redaction import REDACTED
from operations.models import ExitReport, Operation
from operations.reconcile.survey import reconcile_all
from operations.states import ExitCause, Outcome
from runtimes.containers.base import ContainersUnavailableError
from runtimes.containers.fake.adapter import FakeImage
from runtimes.models import HealthSnapshot, Runtime
from tests.integration.harness import IMAGE, OTHER_IMAGE, Rig

LOG = [("stdout", "turn 1"), ("stderr", "password=hunter2"), ("stdout", "turn 2")]
CAPTURE_CALLS = ("inspect", "logs")


@pytest.fixture(autouse=True)
def _images_with_logs(rig: Rig) -> None:
    rig.engine.images |= {IMAGE: FakeImage(log_lines=LOG), OTHER_IMAGE: FakeImage(log_lines=LOG)}


def the_report() -> ExitReport:
    return ExitReport.objects.get()


def texts(report: ExitReport) -> list[str]:
    return [line["line"] for line in report.log]


def repair(rig: Rig) -> Operation:
    """Run the reconciler and the one repair that it requests; return the operation."""
    before = Operation.objects.count()
    reconcile_all()
    (operation,) = Operation.objects.order_by("id")[before:]
    return rig.do(operation)


def docker_calls(rig: Rig) -> int:
    return sum(rig.engine.calls.values())


def steps(operation: Operation) -> list[str]:
    return [step["name"] for step in operation.steps]


def test_a_crash_at_start_stores_the_last_log_lines_before_the_container_is_removed(rig: Rig) -> None:
    rig.engine.images[IMAGE] = FakeImage(log_lines=LOG, exit_code=3)

    operation = rig.start()

    report = the_report()
    assert (operation.outcome, operation.error_code) == (Outcome.FAILURE, "container_start_failed")
    assert rig.container() is None
    assert (report.cause, report.exit_code, report.oom_killed, report.operation) == (
        ExitCause.CRASH_AT_START,
        3,
        False,
        operation,
    )
    assert texts(report) == ["turn 1", f"password={REDACTED}", "turn 2"]
    assert (report.image_ref, report.game_id, report.note) == (IMAGE, "g1", "")
    assert report.limits["cap_drop"] == ["ALL"]
    assert report.inspect["State"]["ExitCode"] == 3
    assert steps(operation)[-2:] == ["exit_report", "remove"]


def test_a_start_that_docker_refuses_stores_a_report(rig: Rig) -> None:
    rig.engine.images[IMAGE] = FakeImage(refuses_start=True)

    rig.start()

    assert (the_report().cause, the_report().exit_code, the_report().log) == (ExitCause.CRASH_AT_START, 0, [])


@pytest.mark.parametrize(("oom", "cause"), [(False, ExitCause.EXITED), (True, ExitCause.OOM)])
def test_an_exit_that_the_reconciler_finds_is_stored(rig: Rig, *, oom: bool, cause: ExitCause) -> None:
    container_id = rig.start().container_id
    rig.engine.exit(container_id, exit_code=137, oom_killed=oom)

    operation = repair(rig)

    report = the_report()
    assert (operation.op_kind, report.operation, report.container_id) == ("reconcile_exit", operation, container_id)
    assert (report.cause, report.exit_code, report.oom_killed) == (cause, 137, oom)
    assert report.occurred_at == Runtime.objects.get().stopped_at
    assert len(report.log) == 3
    assert {event["event_type"] for event in report.probes["events"]} == {"container_started"}
    assert report.probes["snapshot"]["event_type"] == "container_started"


def test_the_report_of_a_missing_container_has_what_was_recorded(rig: Rig) -> None:
    container_id = rig.start().container_id
    HealthSnapshot.objects.update(probe_failures=3, probe_last_error="answered 503")
    rig.engine.remove_externally(container_id)

    operation = repair(rig)

    report = the_report()
    assert (operation.op_kind, report.cause, report.container_id) == (
        "reconcile_dispose",
        ExitCause.DISAPPEARED,
        container_id,
    )
    assert (report.image_ref, report.log, report.inspect, report.exit_code) == (IMAGE, [], {}, None)
    assert report.image_id == Runtime.objects.get().image_id
    assert report.probes["snapshot"]["probe_last_error"] == "answered 503"
    assert "gone" in report.note


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "patch"])
def test_an_operation_that_finds_an_exited_container_stores_its_exit(rig: Rig, verb: str) -> None:
    container_id = rig.start().container_id
    rig.engine.exit(container_id, exit_code=3)

    action(rig, verb)()

    assert (the_report().cause, the_report().container_id, len(the_report().log)) == (ExitCause.EXITED, container_id, 3)


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "patch"])
def test_an_operation_that_finds_no_container_stores_what_is_known(rig: Rig, verb: str) -> None:
    container_id = rig.start().container_id
    rig.engine.remove_externally(container_id)

    action(rig, verb)()

    assert (the_report().cause, the_report().container_id) == (ExitCause.DISAPPEARED, container_id)


@pytest.mark.parametrize("verb", ["cleanup", "start", "restart", "patch"])
def test_the_removal_of_a_stopped_container_stores_a_report(rig: Rig, verb: str) -> None:
    container_id = rig.start().container_id
    rig.stop()

    action(rig, verb)()

    assert (the_report().cause, the_report().container_id, len(the_report().log)) == (
        ExitCause.STOPPED,
        container_id,
        3,
    )
    assert the_report().exit_code == 143


@pytest.mark.parametrize("verb", ["restart", "patch"])
def test_the_replacement_of_an_unhealthy_game_stores_a_report(rig: Rig, verb: str) -> None:
    container_id = rig.start().container_id
    HealthSnapshot.objects.update(probe_failures=3)

    action(rig, verb)()

    assert (the_report().cause, the_report().container_id, the_report().exit_code) == (
        ExitCause.REPLACED,
        container_id,
        143,
    )


@pytest.mark.parametrize("verb", ["restart", "patch", "stop"])
def test_a_healthy_game_costs_no_further_docker_call(rig: Rig, verb: str) -> None:
    rig.start()

    action(rig, verb)()

    assert not ExitReport.objects.exists()
    assert [rig.engine.calls[name] for name in CAPTURE_CALLS] == [0, 0]


def test_one_exit_gives_one_report_and_reads_the_log_once(rig: Rig) -> None:
    container_id = rig.start().container_id
    rig.engine.exit(container_id, exit_code=3)
    repair(rig)
    first = the_report()

    rig.cleanup()

    assert ExitReport.objects.get() == first
    assert (rig.engine.calls["logs"], first.cause) == (1, ExitCause.EXITED)


def test_each_exit_of_one_container_has_its_report(rig: Rig) -> None:
    container_id = rig.start().container_id
    rig.engine.exit(container_id, exit_code=3)
    repair(rig)
    rig.engine.start(rig.engine.containers[container_id])
    repair(rig)
    rig.engine.exit(container_id, exit_code=4)

    repair(rig)

    assert list(ExitReport.objects.values_list("container_id", "exit_code")) == [(container_id, 4), (container_id, 3)]


def test_a_report_stays_after_the_removal_of_the_container_and_a_new_start(rig: Rig) -> None:
    container_id = rig.start().container_id
    rig.engine.exit(container_id, exit_code=3)
    repair(rig)
    rig.cleanup()
    rig.start()

    assert (the_report().container_id, len(the_report().log)) == (container_id, 3)


@pytest.mark.parametrize("call", CAPTURE_CALLS)
def test_a_docker_error_during_the_capture_does_not_change_the_outcome(rig: Rig, call: str) -> None:
    container_id = rig.start().container_id
    rig.engine.exit(container_id, exit_code=3)
    rig.engine.fail_before(call, ContainersUnavailableError("no answer in time"))

    operation = repair(rig)

    assert (operation.outcome, Runtime.objects.get().status) == (Outcome.SUCCESS, "stopped")
    assert (the_report().exit_code, the_report().log, the_report().note) == (3, [], "no answer in time")


def test_an_incomplete_report_is_completed_by_the_next_capture_of_the_same_exit(rig: Rig) -> None:
    rig.engine.exit(rig.start().container_id, exit_code=3)
    rig.engine.fail_before("inspect", ContainersUnavailableError("no answer in time"))
    operation = repair(rig)

    rig.cleanup()

    assert (len(the_report().log), the_report().note) == (3, "")
    assert (the_report().cause, the_report().operation) == (ExitCause.EXITED, operation)


def test_a_crash_that_cannot_be_captured_is_captured_by_the_next_attempt(rig: Rig) -> None:
    rig.engine.images[IMAGE] = FakeImage(log_lines=LOG, exit_code=3)
    for call in ("inspect", "remove"):
        rig.engine.fail_before(call, ContainersUnavailableError("no answer in time"))
    operation = rig.start()
    assert (operation.state, ExitReport.objects.count()) == ("accepted", 0)
    Operation.objects.update(not_before=None)

    rig.do(operation)

    assert [(report.cause, len(report.log)) for report in ExitReport.objects.all()] == [
        (ExitCause.CRASH_AT_START, 3)
    ] * 2


def test_the_note_says_that_the_log_driver_keeps_no_log(rig: Rig) -> None:
    container_id = rig.start().container_id
    rig.engine.without_logs.add(container_id)
    rig.engine.exit(container_id, exit_code=3)

    repair(rig)

    assert (the_report().log, the_report().exit_code) == ([], 3)
    assert "log driver" in the_report().note
    assert the_report().inspect


def test_a_defect_in_the_capture_does_not_fail_the_operation(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: Any) -> Any:
        message = "a defect"
        raise TypeError(message)

    monkeypatch.setattr(contents, "health_history", broken)
    rig.engine.exit(rig.start().container_id, exit_code=3)

    assert repair(rig).outcome == Outcome.SUCCESS


def test_the_stored_log_is_limited_in_size_and_can_be_stored(rig: Rig) -> None:
    container_id = rig.start().container_id
    for number in range(300):
        rig.engine.write_log(container_id, f"{number} \x1b[31m\ufffd " + "x" * 1000)
    rig.engine.exit(container_id, exit_code=3)

    repair(rig)

    assert 50 < len(the_report().log) <= 66
    assert texts(the_report())[-1].startswith("299 ")
    assert sum(map(len, texts(the_report()))) <= 64 * 1024


def test_only_the_newest_reports_of_each_game_stay(rig: Rig) -> None:
    rig.engine.images[IMAGE] = FakeImage(exit_code=3)
    rig.start("g2")
    for _ in range(KEPT_PER_GAME + 2):
        rig.start("g1")
    oldest = list(ExitReport.objects.filter(game_id="g1").order_by("id").values_list("pk", flat=True)[:2])

    assert prune() == 2

    assert prune() == 0
    assert not ExitReport.objects.filter(pk__in=oldest).exists()
    assert (ExitReport.objects.filter(game_id="g1").count(), ExitReport.objects.filter(game_id="g2").count()) == (20, 1)


def test_a_plain_start_does_not_query_the_exit_reports(rig: Rig) -> None:
    with CaptureQueriesContext(connection) as queries:
        rig.start()

    assert not [query for query in queries if "exitreport" in query["sql"]]
    assert docker_calls(rig) == sum(rig.engine.calls[name] for name in set(rig.engine.calls) - set(CAPTURE_CALLS))


def action(rig: Rig, verb: str) -> Callable[[], Operation]:
    return {
        "start": rig.start,
        "stop": rig.stop,
        "restart": rig.restart,
        "patch": lambda: rig.patch(OTHER_IMAGE),
        "cleanup": rig.cleanup,
    }[verb]
