"""Jobs on the streams, as Lobby sends them, through the whole service and back."""

from pathlib import Path

from tests.servers.service import HEALTH_EVENTS, Service


def test_a_started_game_runs_and_all_sources_agree(service: Service, game_id: str, engine_image: str) -> None:
    entry_id = service.start_job(game_id, engine_image)

    result = service.result(game_id)
    (container,) = service.playground.containers(game_id)
    record = service.record(game_id)
    (operation,) = service.operations(game_id)
    assert (result.outcome, result.error_code, result.error_message) == ("success", "", "")
    assert result.container_id == container.id == record["current_container_id"] == operation["container_id"]
    assert result.engine_endpoint == record["engine_endpoint"] == f"http://galaxy-game-{game_id}:8080"
    assert (container.status, record["status"]) == ("running", "running")
    assert record["current_image_ref"] == operation["image_ref"] == engine_image
    assert (operation["op_kind"], operation["op_source"]) == ("start", "lobby_stream")
    assert (operation["state"], operation["outcome"]) == ("finished", "success")
    assert entry_id in operation["source_ref"]
    assert service.playground.ask_engine(game_id, "/healthz") == "ok\n"


def test_a_start_is_on_the_health_stream(service: Service, game_id: str, engine_image: str) -> None:
    service.start_job(game_id, engine_image)

    container_id = service.result(game_id).container_id
    (event,) = service.entries(HEALTH_EVENTS, game_id=game_id)
    assert (event["event_type"], event["container_id"]) == ("container_started", container_id)
    assert engine_image in event["details"]


def test_a_stopped_game_keeps_its_container_and_its_state(service: Service, game_id: str, engine_image: str) -> None:
    service.start_job(game_id, engine_image)
    started = service.result(game_id)
    saved = service.playground.state_root / game_id / "turn-1"
    saved.write_text("the state of a game", encoding="utf-8")

    service.stop_job(game_id, "cancelled")

    _started, stopped = service.results(game_id, 2)
    record = service.record(game_id)
    (container,) = service.playground.containers(game_id)
    assert (stopped.outcome, stopped.error_code) == ("success", "")
    assert (record["status"], record["current_container_id"]) == ("stopped", started.container_id)
    assert record["stopped_at"] is not None
    assert (container.id, container.status) == (started.container_id, "exited")
    assert saved.read_text(encoding="utf-8") == "the state of a game"
    assert [(one["op_kind"], one["op_source"], one["outcome"]) for one in service.operations(game_id)] == [
        ("stop", "lobby_stream", "success"),
        ("start", "lobby_stream", "success"),
    ]


def test_a_second_start_of_the_same_image_is_a_replay(service: Service, game_id: str, engine_image: str) -> None:
    service.start_job(game_id, engine_image)
    service.start_job(game_id, engine_image)

    first, second = service.results(game_id, 2)
    assert (first.error_code, second.error_code) == ("", "replay_no_op")
    assert first.outcome == second.outcome == "success"
    assert (second.container_id, second.engine_endpoint) == (first.container_id, first.engine_endpoint)
    assert len(service.playground.containers(game_id)) == 1


def test_a_second_stop_is_a_replay_and_moves_nothing(service: Service, game_id: str, engine_image: str) -> None:
    service.start_job(game_id, engine_image)
    service.stop_job(game_id)
    service.results(game_id, 2)
    stopped_at = service.record(game_id)["stopped_at"]

    service.stop_job(game_id, "finished")

    _start, first, second = service.results(game_id, 3)
    assert (first.error_code, second.error_code) == ("", "replay_no_op")
    assert second.outcome == "success"
    assert service.record(game_id)["stopped_at"] == stopped_at


def test_a_stopped_game_started_again_gets_a_new_container_on_the_old_state(
    service: Service, game_id: str, engine_image: str, engine_image_next: str
) -> None:
    service.start_job(game_id, engine_image)
    service.stop_job(game_id)
    service.results(game_id, 2)
    created_at = service.record(game_id)["created_at"]
    saved = service.playground.state_root / game_id / "turn-1"
    saved.touch()

    service.start_job(game_id, engine_image_next)

    first, _stop, again = service.results(game_id, 3)
    record = service.record(game_id)
    (container,) = service.playground.containers(game_id)
    assert (again.outcome, again.error_code) == ("success", "")
    assert again.container_id == container.id != first.container_id
    assert (record["status"], record["stopped_at"], record["created_at"]) == ("running", None, created_at)
    assert saved.exists()


def test_a_start_of_another_image_while_running_is_a_conflict(
    service: Service, game_id: str, engine_image: str, engine_image_next: str
) -> None:
    service.start_job(game_id, engine_image)
    service.start_job(game_id, engine_image_next)

    first, refused = service.results(game_id, 2)
    assert (refused.outcome, refused.error_code) == ("failure", "conflict")
    assert refused.error_message
    assert service.record(game_id)["current_container_id"] == first.container_id
    assert service.record(game_id)["current_image_ref"] == engine_image


def test_a_stop_of_an_unknown_game_fails_with_not_found(service: Service, game_id: str) -> None:
    service.stop_job(game_id)

    result = service.result(game_id)
    assert (result.outcome, result.error_code) == ("failure", "not_found")
    assert not service.has_record(game_id)


def test_an_engine_that_ignores_sigterm_is_stopped_by_force(
    service: Service, game_id: str, stubborn_image: str
) -> None:
    service.start_job(game_id, stubborn_image)
    service.stop_job(game_id)

    _start, stopped = service.results(game_id, 2)
    (container,) = service.playground.containers(game_id)
    assert (stopped.outcome, stopped.error_code) == ("success", "")
    assert container.status == "exited"
    assert container.attrs["State"]["ExitCode"] == 137


def test_a_stop_of_a_game_whose_container_is_gone_records_it_as_removed(
    service: Service, game_id: str, engine_image: str
) -> None:
    service.start_job(game_id, engine_image)
    service.result(game_id)
    (container,) = service.playground.containers(game_id)
    # With its watcher, the service would detect the missing container before or after the stop.
    service.kill("watcher")
    container.remove(force=True)

    service.stop_job(game_id)

    _start, stopped = service.results(game_id, 2)
    service.restart("watcher")
    record = service.record(game_id)
    assert (stopped.outcome, stopped.error_code) == ("success", "")
    assert (record["status"], record["current_container_id"]) == ("removed", None)
    events = [entry["event_type"] for entry in service.entries(HEALTH_EVENTS, game_id=game_id)]
    assert events == ["container_started", "container_disappeared"]


def test_the_state_directory_has_the_mode_of_the_settings(service: Service, game_id: str, engine_image: str) -> None:
    service.start_job(game_id, engine_image)

    service.result(game_id)
    folder = Path(service.record(game_id)["state_path"])
    assert folder == service.playground.state_root / game_id
    assert folder.stat().st_mode & 0o7777 == 0o750


def test_every_job_of_every_game_is_answered_in_its_game_order(service: Service, engine_image: str) -> None:
    games = [service.playground.game_id(f"many-{number}") for number in range(6)]
    second_worker = service.add_worker()
    for _round in range(3):
        for game_id in games:
            service.start_job(game_id, engine_image)
            service.start_job(game_id, engine_image)
            service.stop_job(game_id)

    found = {game_id: service.results(game_id, 9, timeout_seconds=120) for game_id in games}

    second_worker.terminate()
    assert second_worker.wait(timeout_seconds=15) == 0
    for results in found.values():
        assert [one.error_code for one in results] == ["", "replay_no_op", ""] * 3
        assert {one.outcome for one in results} == {"success"}
    done_by = service.rows("SELECT DISTINCT claimed_by FROM operations_operation WHERE game_id = ANY(%s)", games)
    assert len(done_by) == 2


def test_no_result_is_written_for_a_call_over_rest(service: Service, game_id: str, engine_image: str) -> None:
    answer = service.post(game_id, "start", image_ref=engine_image)
    service.start_job(game_id, engine_image)

    assert answer.status_code == 200
    assert [one.error_code for one in service.results(game_id)] == ["replay_no_op"]
