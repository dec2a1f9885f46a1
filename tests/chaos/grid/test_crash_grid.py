"""Every kind of operation is broken at every step it takes, in every way, and ends as if nothing had happened."""

import os
from datetime import timedelta

import pytest
from redis import Redis

from tests.chaos.grid import table
from tests.chaos.grid.cells import WORK, Kind
from tests.chaos.grid.faults import KILLS, Fault
from tests.chaos.grid.grid import KINDS, faults_of, run_cell, steps_of, steps_on_docker
from tests.chaos.grid.processes import Host
from tests.conftest import RtmSettings

CELLS = [pytest.param(kind, fault, id=f"{kind.name} / {fault}") for kind in KINDS for fault in faults_of(kind)]
# Settle time for an engine that exits at once; a healthy engine needs none.
_LONG_ENOUGH = timedelta(seconds=10)


@pytest.mark.parametrize(("kind", "fault"), CELLS)
def test_a_fault_at_any_step_ends_in_the_expected_state(
    kind: Kind, fault: Fault, memory_host: Host, streams: Redis, subtests: pytest.Subtests
) -> None:
    steps = steps_of(kind, memory_host, streams)
    assert steps
    for step in steps:
        with subtests.test(f"{kind.name} / {step} / {fault}"):
            run_cell(kind, memory_host, streams, step=step, fault=fault)


@pytest.mark.parametrize("kind", WORK, ids=[kind.name for kind in WORK])
def test_a_killed_worker_ends_in_the_expected_state_on_a_real_docker(
    kind: Kind, real_host: Host, streams: Redis, subtests: pytest.Subtests, rtm_settings: RtmSettings
) -> None:
    fails_to_start, fails_to_patch = bool(kind.intents), bool(kind.error_code) and not kind.intents
    rtm_settings(start_settle=_LONG_ENOUGH * fails_to_start, patch_settle_seconds=_LONG_ENOUGH.seconds * fails_to_patch)
    steps = steps_on_docker(steps_of(kind, real_host, streams))
    assert steps
    for step, fault in ((step, fault) for step in steps for fault in KILLS):
        with subtests.test(f"{kind.name} / {step} / {fault} on Docker"):
            run_cell(kind, real_host, streams, step=step, fault=fault)


def test_the_page_shows_the_recorded_steps(memory_host: Host, streams: Redis) -> None:
    found = table.render({kind.name: steps_of(kind, memory_host, streams) for kind in KINDS})
    if os.environ.get("GRID") == "write":
        table.write(found)

    assert table.read_page() == found, "the steps have changed; `make grid` updates docs/reliability.md"
