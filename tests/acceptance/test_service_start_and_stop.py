"""The service as a whole comes and goes; its jobs and its games do not notice."""

from tests.acceptance.conftest import MakeService
from tests.servers.service import Service
from tests.servers.waiting import wait_for


def test_jobs_written_before_the_first_start_are_taken_oldest_first(
    make_service: MakeService, engine_image: str
) -> None:
    service = make_service()
    games = [service.playground.game_id(f"early-{number}") for number in range(3)]
    written = []
    for game_id in games:
        written += [service.start_job(game_id, engine_image), service.stop_job(game_id)]

    service.start()

    for game_id in games:
        assert [one.error_code for one in service.results(game_id, 2)] == ["", ""]
        assert service.record(game_id)["status"] == "stopped"
    taken = service.rows("SELECT source_ref FROM operations_operation ORDER BY id")
    assert [source_ref for (source_ref,) in taken] == written


def test_a_game_runs_on_while_the_service_is_away_and_jobs_wait_for_it(
    make_service: MakeService, engine_image: str
) -> None:
    service = make_service()
    game_id = service.playground.game_id("steady")
    service.start()
    service.start_job(game_id, engine_image)
    service.result(game_id)
    running_since = service.playground.inspect(game_id)["State"]["StartedAt"]

    exit_codes = service.stop()
    service.start_job(game_id, engine_image)
    service.stop_job(game_id)
    untouched = service.playground.inspect(game_id)["State"]
    service.start()

    assert set(exit_codes.values()) == {0}
    assert (untouched["Status"], untouched["StartedAt"]) == ("running", running_since)
    assert [one.error_code for one in service.results(game_id, 3)] == ["", "replay_no_op", ""]


def test_a_worker_asked_to_stop_ends_what_it_does_and_leaves_the_rest(
    make_service: MakeService, stubborn_image: str
) -> None:
    service = make_service()
    game_id = service.playground.game_id("busy")
    service.start()
    service.start_job(game_id, stubborn_image)
    service.stop_job(game_id)
    wait_for(lambda: _is_stopping(service, game_id), what="the stop to be under way")

    exit_codes = service.stop()
    service.start_job(game_id, stubborn_image)
    service.start()

    assert set(exit_codes.values()) == {0}
    assert [one.error_code for one in service.results(game_id, 3)] == ["", "", ""]
    attempts = service.rows("SELECT attempt FROM operations_operation ORDER BY id")
    assert attempts == [(1,), (1,), (1,)]


def _is_stopping(service: Service, game_id: str) -> bool:
    query = "SELECT 1 FROM operations_operation WHERE game_id = %s AND op_kind = 'stop' AND state = 'running'"
    return bool(service.rows(query, game_id))


def test_without_the_game_network_nothing_is_started_and_readiness_says_why(
    make_service: MakeService, engine_image: str
) -> None:
    service = make_service(DOCKER_NETWORK="no-such-network-of-games")
    game_id = service.playground.game_id("nowhere")
    missing = service.start(ready=503)

    service.start_job(game_id, engine_image)

    result = service.result(game_id)
    assert (result.outcome, result.error_code) == ("failure", "start_config_invalid")
    assert "no-such-network-of-games" in result.error_message
    assert "no-such-network-of-games" in missing["network"]
    assert service.playground.containers() == []
    assert not service.has_record(game_id)


def test_an_unusable_state_root_fails_the_start_before_any_docker_work(
    make_service: MakeService, engine_image: str
) -> None:
    service = make_service(GAME_STATE_ROOT="/proc/no-such-place")
    game_id = service.playground.game_id("homeless")
    service.start()

    service.start_job(game_id, engine_image)

    result = service.result(game_id)
    assert (result.outcome, result.error_code) == ("failure", "start_config_invalid")
    assert service.playground.containers() == []
    assert not service.has_record(game_id)
