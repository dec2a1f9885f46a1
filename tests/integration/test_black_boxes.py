"""Black boxes: what is kept of a container at its end, by every operation that meets one."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from operations import evidence
from operations.black_boxes import KEPT_PER_GAME, forget_oldest
from operations.models import BlackBox, Operation
from operations.reconciler import reconcile_all
from operations.redaction import REDACTED
from operations.states import BoxCause, Outcome
from runtimes.containers.base import ContainersUnavailableError
from runtimes.containers.fake import FakeImage
from runtimes.models import HealthSnapshot, Runtime
from tests.integration.rigs import IMAGE, OTHER_IMAGE, Rig

SAYS = [("stdout", "turn 1"), ("stderr", "password=hunter2"), ("stdout", "turn 2")]
ASKED = ("details", "logs")


@pytest.fixture(autouse=True)
def _talking(rig: Rig) -> None:
    rig.engine.images |= {IMAGE: FakeImage(says=SAYS), OTHER_IMAGE: FakeImage(says=SAYS)}


def the_box() -> BlackBox:
    return BlackBox.objects.get()


def texts(box: BlackBox) -> list[str]:
    return [line["line"] for line in box.log]


def repair(rig: Rig) -> Operation:
    """Let the reconciler find what differs and a worker mend it; returns the one operation that was."""
    before = Operation.objects.count()
    reconcile_all()
    (operation,) = Operation.objects.order_by("id")[before:]
    return rig.do(operation)


def docker_calls(rig: Rig) -> int:
    return sum(rig.engine.calls.values())


def steps(operation: Operation) -> list[str]:
    return [step["name"] for step in operation.steps]


def test_a_crash_at_start_keeps_its_last_lines_before_the_container_goes(rig: Rig) -> None:
    rig.engine.images[IMAGE] = FakeImage(says=SAYS, exits_with=3)

    operation = rig.start()

    box = the_box()
    assert (operation.outcome, operation.error_code) == (Outcome.FAILURE, "container_start_failed")
    assert rig.container() is None
    assert (box.cause, box.exit_code, box.oom_killed, box.operation) == (BoxCause.CRASH_AT_START, 3, False, operation)
    assert texts(box) == ["turn 1", f"password={REDACTED}", "turn 2"]
    assert (box.image_ref, box.game_id, box.note) == (IMAGE, "g1", "")
    assert box.limits["cap_drop"] == ["ALL"]
    assert box.inspect["State"]["ExitCode"] == 3
    assert steps(operation)[-2:] == ["black_box", "remove"]


def test_a_start_that_the_engine_refuses_keeps_what_the_engine_said(rig: Rig) -> None:
    rig.engine.images[IMAGE] = FakeImage(refuses_start=True)

    rig.start()

    assert (the_box().cause, the_box().exit_code, the_box().log) == (BoxCause.CRASH_AT_START, 0, [])


@pytest.mark.parametrize(("oom", "cause"), [(False, BoxCause.EXITED), (True, BoxCause.OOM)])
def test_an_exit_that_reconcile_finds_is_kept(rig: Rig, *, oom: bool, cause: BoxCause) -> None:
    container_id = rig.start().container_id
    rig.engine.exit(container_id, exit_code=137, oom_killed=oom)

    operation = repair(rig)

    box = the_box()
    assert (operation.op_kind, box.operation, box.container_id) == ("reconcile_exit", operation, container_id)
    assert (box.cause, box.exit_code, box.oom_killed) == (cause, 137, oom)
    assert box.occurred_at == Runtime.objects.get().stopped_at
    assert len(box.log) == 3
    assert {one["event_type"] for one in box.probes["events"]} == {"container_started"}
    assert box.probes["snapshot"]["event_type"] == "container_started"


def test_a_container_that_vanished_leaves_what_was_on_record(rig: Rig) -> None:
    container_id = rig.start().container_id
    HealthSnapshot.objects.update(probe_failures=3, probe_last_error="answered 503")
    rig.engine.vanish(container_id)

    operation = repair(rig)

    box = the_box()
    assert (operation.op_kind, box.cause, box.container_id) == ("reconcile_dispose", BoxCause.DISAPPEARED, container_id)
    assert (box.image_ref, box.log, box.inspect, box.exit_code) == (IMAGE, [], {}, None)
    assert box.image_id == Runtime.objects.get().image_id
    assert box.probes["snapshot"]["probe_last_error"] == "answered 503"
    assert "gone" in box.note


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "patch"])
def test_an_operation_that_finds_the_container_ended_keeps_its_end(rig: Rig, verb: str) -> None:
    container_id = rig.start().container_id
    rig.engine.exit(container_id, exit_code=3)

    deed(rig, verb)()

    assert (the_box().cause, the_box().container_id, len(the_box().log)) == (BoxCause.EXITED, container_id, 3)


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "patch"])
def test_an_operation_that_finds_the_container_gone_keeps_what_is_known(rig: Rig, verb: str) -> None:
    container_id = rig.start().container_id
    rig.engine.vanish(container_id)

    deed(rig, verb)()

    assert (the_box().cause, the_box().container_id) == (BoxCause.DISAPPEARED, container_id)


@pytest.mark.parametrize("verb", ["cleanup", "start", "restart", "patch"])
def test_what_goes_with_a_stopped_container_is_kept(rig: Rig, verb: str) -> None:
    container_id = rig.start().container_id
    rig.stop()

    deed(rig, verb)()

    assert (the_box().cause, the_box().container_id, len(the_box().log)) == (BoxCause.STOPPED, container_id, 3)
    assert the_box().exit_code == 143


@pytest.mark.parametrize("verb", ["restart", "patch"])
def test_a_game_that_is_unwell_leaves_a_box_when_it_is_replaced(rig: Rig, verb: str) -> None:
    container_id = rig.start().container_id
    HealthSnapshot.objects.update(probe_failures=3)

    deed(rig, verb)()

    assert (the_box().cause, the_box().container_id, the_box().exit_code) == (BoxCause.REPLACED, container_id, 143)


@pytest.mark.parametrize("verb", ["restart", "patch", "stop"])
def test_a_healthy_game_costs_no_look_more_than_it_must(rig: Rig, verb: str) -> None:
    rig.start()

    deed(rig, verb)()

    assert not BlackBox.objects.exists()
    assert [rig.engine.calls[name] for name in ASKED] == [0, 0]


def test_one_end_is_one_box_and_asks_docker_once(rig: Rig) -> None:
    container_id = rig.start().container_id
    rig.engine.exit(container_id, exit_code=3)
    repair(rig)
    first = the_box()

    rig.cleanup()

    assert BlackBox.objects.get() == first
    assert (rig.engine.calls["logs"], first.cause) == (1, BoxCause.EXITED)


def test_each_end_of_one_container_has_its_box(rig: Rig) -> None:
    container_id = rig.start().container_id
    rig.engine.exit(container_id, exit_code=3)
    repair(rig)
    rig.engine.start(rig.engine.containers[container_id])
    repair(rig)
    rig.engine.exit(container_id, exit_code=4)

    repair(rig)

    assert list(BlackBox.objects.values_list("container_id", "exit_code")) == [(container_id, 4), (container_id, 3)]


def test_a_box_outlives_the_container_and_a_new_start(rig: Rig) -> None:
    container_id = rig.start().container_id
    rig.engine.exit(container_id, exit_code=3)
    repair(rig)
    rig.cleanup()
    rig.start()

    assert (the_box().container_id, len(the_box().log)) == (container_id, 3)


@pytest.mark.parametrize("asked", ASKED)
def test_docker_trouble_in_taking_a_box_changes_nothing_of_the_outcome(rig: Rig, asked: str) -> None:
    container_id = rig.start().container_id
    rig.engine.exit(container_id, exit_code=3)
    rig.engine.fail_before(asked, ContainersUnavailableError("no answer in time"))

    operation = repair(rig)

    assert (operation.outcome, Runtime.objects.get().status) == (Outcome.SUCCESS, "stopped")
    assert (the_box().exit_code, the_box().log, the_box().note) == (3, [], "no answer in time")


def test_a_box_with_gaps_is_filled_by_the_next_look_at_the_same_end(rig: Rig) -> None:
    rig.engine.exit(rig.start().container_id, exit_code=3)
    rig.engine.fail_before("details", ContainersUnavailableError("no answer in time"))
    operation = repair(rig)

    rig.cleanup()

    assert (len(the_box().log), the_box().note) == (3, "")
    assert (the_box().cause, the_box().operation) == (BoxCause.EXITED, operation)


def test_a_crash_that_cannot_be_looked_at_is_looked_at_by_the_next_attempt(rig: Rig) -> None:
    rig.engine.images[IMAGE] = FakeImage(says=SAYS, exits_with=3)
    for asked in ("details", "remove"):
        rig.engine.fail_before(asked, ContainersUnavailableError("no answer in time"))
    operation = rig.start()
    assert (operation.state, BlackBox.objects.count()) == ("accepted", 0)
    Operation.objects.update(not_before=None)

    rig.do(operation)

    assert [(box.cause, len(box.log)) for box in BlackBox.objects.all()] == [(BoxCause.CRASH_AT_START, 3)] * 2


def test_a_log_that_nobody_keeps_is_said_to_be_so(rig: Rig) -> None:
    container_id = rig.start().container_id
    rig.engine.mute.add(container_id)
    rig.engine.exit(container_id, exit_code=3)

    repair(rig)

    assert (the_box().log, the_box().exit_code) == ([], 3)
    assert "log driver" in the_box().note
    assert the_box().inspect


def test_a_defect_in_taking_a_box_does_not_fail_the_operation(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: Any) -> Any:
        message = "a defect"
        raise TypeError(message)

    monkeypatch.setattr(evidence, "probes_of", broken)
    rig.engine.exit(rig.start().container_id, exit_code=3)

    assert repair(rig).outcome == Outcome.SUCCESS


def test_what_a_game_writes_is_kept_bounded_and_storable(rig: Rig) -> None:
    container_id = rig.start().container_id
    for number in range(300):
        rig.engine.say(container_id, f"{number} \x1b[31m\ufffd " + "x" * 1000)
    rig.engine.exit(container_id, exit_code=3)

    repair(rig)

    assert 50 < len(the_box().log) <= 66
    assert texts(the_box())[-1].startswith("299 ")
    assert sum(map(len, texts(the_box()))) <= 64 * 1024


def test_only_the_newest_boxes_of_each_game_stay(rig: Rig) -> None:
    rig.engine.images[IMAGE] = FakeImage(exits_with=3)
    rig.start("g2")
    for _ in range(KEPT_PER_GAME + 2):
        rig.start("g1")
    oldest = list(BlackBox.objects.filter(game_id="g1").order_by("id").values_list("pk", flat=True)[:2])

    assert forget_oldest() == 2

    assert forget_oldest() == 0
    assert not BlackBox.objects.filter(pk__in=oldest).exists()
    assert (BlackBox.objects.filter(game_id="g1").count(), BlackBox.objects.filter(game_id="g2").count()) == (20, 1)


def test_a_plain_start_does_not_even_ask_the_database_for_boxes(rig: Rig) -> None:
    with CaptureQueriesContext(connection) as queries:
        rig.start()

    assert not [one for one in queries if "blackbox" in one["sql"]]
    assert docker_calls(rig) == sum(rig.engine.calls[name] for name in set(rig.engine.calls) - set(ASKED))


def deed(rig: Rig, verb: str) -> Callable[[], Operation]:
    return {
        "start": rig.start,
        "stop": rig.stop,
        "restart": rig.restart,
        "patch": lambda: rig.patch(OTHER_IMAGE),
        "cleanup": rig.cleanup,
    }[verb]
