"""What is said of each vital sign, from figures alone."""

from dataclasses import replace

import pytest

from operations.pulses import LOOPS, PulseName
from operations.vitals import Backlog, Beat, Figures, Laggard, Limits, judge

LIMITS = Limits(relist=600)
LONG_UP = 3600.0
PULSES = (*LOOPS, PulseName.CANARY, PulseName.RELIST)
WELL = Figures(pulses={name: Beat(1.0) for name in PULSES})
NOTHING_WAITS = {"runtime:start_jobs": Backlog(0, 0, 0.0)}
# How old each may become, and one more.
TOO_OLD = {name: LIMITS.of_pulse(name) + 1 for name in PULSES}


def verdicts(figures: Figures | None = WELL, *, uptime: float = LONG_UP) -> dict[str, str]:
    return judge(figures, NOTHING_WAITS, limits=LIMITS, uptime_seconds=uptime)


def wrong(told: dict[str, str]) -> dict[str, str]:
    return {name: said for name, said in told.items() if said != "ok"}


def silent(name: PulseName) -> Figures:
    return replace(WELL, pulses={**WELL.pulses, name: Beat(TOO_OLD[name])})


def laggard(age_seconds: float) -> Laggard:
    return Laggard(id=7, game_id="g-42", op_kind="start", age_seconds=age_seconds)


def test_a_service_that_does_its_work_is_well_in_every_respect() -> None:
    assert wrong(verdicts()) == {}


@pytest.mark.parametrize("name", PULSES)
def test_who_is_silent_for_too_long_is_named_and_nobody_else(name: PulseName) -> None:
    told = wrong(verdicts(silent(name)))

    assert list(told) == [name]
    assert told[name].startswith("not for ")


@pytest.mark.parametrize("name", PULSES)
def test_who_was_heard_of_just_in_time_is_well(name: PulseName) -> None:
    on_the_edge = replace(WELL, pulses={**WELL.pulses, name: Beat(LIMITS.of_pulse(name))})

    assert wrong(verdicts(on_the_edge)) == {}


def test_a_pulse_that_never_was_is_a_fault_once_it_should_have_been() -> None:
    told = verdicts(Figures())

    assert {name for name, said in told.items() if said.startswith("never: ")} == set(PULSES)


@pytest.mark.parametrize("figures", [Figures(), silent(PulseName.CANARY)], ids=["never", "before it was stopped"])
def test_right_after_the_start_of_everything_a_silence_is_no_fault_yet(figures: Figures) -> None:
    assert verdicts(figures, uptime=LIMITS.canary)["canary"] == "starting"
    assert verdicts(figures, uptime=LIMITS.canary + 1)["canary"] != "starting"


def test_the_oldest_open_operation_is_named_with_its_game() -> None:
    told = wrong(verdicts(replace(WELL, oldest_open=laggard(1200))))

    assert told == {
        "operations": "operation 7 (start of game g-42) has been open for 20 min: its steps tell where it is"
    }


def test_an_operation_without_a_worker_is_named() -> None:
    told = wrong(verdicts(replace(WELL, overdue=laggard(61))))

    assert told == {
        "leases": "operation 7 (start of game g-42) has had no worker for 61 s: do worker and bridge_jobs run?"
    }


def test_operations_and_leases_that_are_late_within_reason_are_well() -> None:
    figures = replace(WELL, oldest_open=laggard(900), overdue=laggard(60))

    assert wrong(verdicts(figures)) == {}


def test_events_that_wait_too_long_are_counted_and_those_of_this_moment_are_not_told() -> None:
    late = replace(WELL, unpublished=3, oldest_unpublished_seconds=31.0)

    assert verdicts(late)["outbox"].startswith("3 events wait to be published, the oldest for 31 s")
    assert verdicts(replace(late, unpublished=5000, oldest_unpublished_seconds=29.0))["outbox"] == "ok"


def test_jobs_that_nobody_takes_over_are_told_by_stream() -> None:
    backlogs = {"starts": Backlog(2, 1, 45.0), "stops": Backlog(9, 0, 1.0)}

    told = judge(WELL, backlogs, limits=LIMITS, uptime_seconds=LONG_UP)

    assert wrong(told) == {
        "streams": "jobs wait to be taken over (starts: 3 jobs, the oldest for 45 s): does bridge_jobs run?"
    }


def test_without_redis_its_figures_are_unknown_and_the_others_are_judged() -> None:
    told = judge(WELL, None, limits=LIMITS, uptime_seconds=LONG_UP)

    assert wrong(told) == {"streams": "unknown: Redis does not say"}


def test_without_the_database_everything_it_holds_is_unknown() -> None:
    told = verdicts(None)

    assert told["streams"] == "ok"
    assert {said for name, said in told.items() if name != "streams"} == {"unknown: PostgreSQL does not say"}
    assert told.keys() == verdicts().keys()
