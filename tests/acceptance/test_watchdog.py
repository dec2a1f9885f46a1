"""Stalled processes detect the stall, exit, and are restarted."""

import json
import subprocess
import sys

from prometheus_client.parser import text_string_to_metric_families

from deploy.local.workspace import CLONE
from tests.acceptance.conftest import MakeService
from tests.servers.service import Service
from tests.servers.waiting import wait_for

STUCK = 70


def components(service: Service) -> dict[str, str]:
    event: dict[str, str] = service.client.get("/readyz").json()["components"]
    return event


def stall(service: Service, queue: str) -> None:
    """Let the worker cease to read a queue; it stays connected and goes on with all else."""
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "rtmanager", "control", "cancel_consumer", queue],
        cwd=CLONE, env=service.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert f"no longer consuming from {queue}" in done.stdout, done.stdout + done.stderr


def test_a_running_service_finds_itself_well_in_every_respect(make_service: MakeService) -> None:
    service = make_service(STUCK_AFTER="4s")
    service.start()
    at_first = components(service)

    wait_for(
        lambda: set(components(service).values()) == {"ok"}, what="every component status to be ok", timeout_seconds=60
    )

    families = text_string_to_metric_families(service.client.get("/metrics").text)
    samples = {sample.name: sample.value for family in families for sample in family.samples}
    assert set(at_first.values()) <= {"ok", "starting"}
    assert 0 < samples["rtmanager_canary_round_trip_seconds"] < 15
    # Despite the short limits, no component was reported as stalled.
    assert [name for name, process in service.processes.items() if not process.is_running] == []


def test_a_worker_that_is_connected_but_stalled_ends_itself_and_the_work_goes_on(
    make_service: MakeService, engine_image: str
) -> None:
    service = make_service(STUCK_AFTER="4s")
    game_id = service.playground.game_id("unheard")
    worker = service.processes["worker"]
    # Only this test controls a worker from outside.
    worker.command = [*worker.command, "--", "worker.enable_remote_control=true"]
    service.start()
    stall(service, "lifecycle")

    service.start_job(game_id, engine_image)

    wait_for(lambda: worker.exit_code is not None, what="the worker to exit")
    (event,) = [json.loads(line) for line in worker.log.splitlines() if '"worker_stuck"' in line]
    assert worker.exit_code == STUCK
    assert (list(event["queues"]), event["busy"], event["level"]) == (["lifecycle"], 0, "critical")
    service.restart("worker")
    assert service.result(game_id).outcome == "success"
    service.stop_job(game_id)
    assert [one.outcome for one in service.results(game_id, 2)] == ["success", "success"]


def leads(service: Service, name: str) -> bool:
    """Whether some process holds this leadership."""
    query = (
        "SELECT 1 FROM pg_locks JOIN pg_stat_activity AS session USING (pid)"
        " WHERE locktype = 'advisory' AND granted AND datname = current_database() AND application_name LIKE %s"
    )
    return bool(service.rows(query, f"rtmanager-{name}@%"))


def test_processes_that_were_frozen_for_longer_than_that_are_not_taken_for_stuck(
    make_service: MakeService, engine_image: str
) -> None:
    service = make_service(STUCK_AFTER="4s")
    game_id = service.playground.game_id("thawed")
    service.start()
    wait_for(lambda: leads(service, "bridge"), what="the bridge to lead")
    frozen = [service.processes[name] for name in ("bridge", "worker")]
    for process in frozen:
        process.freeze()
    # The server takes a leader for lost after 15 s.
    wait_for(lambda: not leads(service, "bridge"), what="the frozen bridge to be cut off")
    service.start_job(game_id, engine_image)

    for process in frozen:
        process.thaw()

    assert service.result(game_id).outcome == "success"
    service.stop_job(game_id)
    assert [one.outcome for one in service.results(game_id, 2)] == ["success", "success"]
    assert [process.name for process in frozen if not process.is_running] == []


def test_a_loop_that_hangs_ends_its_process_and_reports_where_it_was() -> None:
    # The address leads nowhere: a loop that hangs needs no server to be found out.
    environment = {"RTMANAGER_STUCK_AFTER": "400ms", "RTMANAGER_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}

    done = subprocess.run(
        [sys.executable, "-m", "tests.servers.hanging_loop"],
        cwd=CLONE, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    (event,) = [json.loads(line) for line in done.stderr.splitlines() if '"loop_stuck"' in line]
    assert done.returncode == STUCK
    assert (event["loop"], event["level"]) == ("hanging", "critical")
    assert "in wait_for_ever" in event["stack"]
