"""Two games whose ids differ only in case, on a real Docker: one of them at a time has a container."""

from concurrent.futures import ThreadPoolExecutor

from tests.servers.service import Service
from tests.servers.waiting import wait_for


def test_the_second_is_refused_by_rest_and_by_stream_until_the_first_is_cleaned_up(
    service: Service, game_id: str, engine_image: str
) -> None:
    first, second = game_id, game_id.upper()
    service.start_job(first, engine_image)
    assert service.result(first).outcome == "success"

    by_rest = service.post(second, "start", image_ref=engine_image)
    service.start_job(second, engine_image)
    by_stream = service.result(second)

    assert (by_rest.status_code, by_rest.json()["error"]["code"]) == (409, "conflict")
    assert f"game {first}" in by_rest.json()["error"]["message"]
    assert (by_stream.outcome, by_stream.error_code) == ("failure", "conflict")
    assert f"game {first}" in by_stream.error_message
    assert not service.has_record(second)
    assert service.playground.containers(second) == []
    assert not (service.playground.state_root / second).exists()

    service.post(first, "stop", reason="finished")
    service.client.delete(f"/api/v1/internal/runtimes/{first}/container")
    assert service.post(second, "start", image_ref=engine_image).status_code == 200


def test_of_two_first_starts_at_the_same_moment_one_game_runs_and_nothing_is_left_of_the_other(
    service: Service, game_id: str, engine_image: str
) -> None:
    games = (game_id, game_id.upper())
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda one: service.post(one, "start", image_ref=engine_image), games))

    assert sorted(one.status_code for one in answers) == [200, 409]
    (winner,) = [one for one, answer in zip(games, answers, strict=True) if answer.status_code == 200]
    (loser,) = set(games) - {winner}
    assert f"game {winner}" in answers[games.index(loser)].json()["error"]["message"]
    assert not service.has_record(loser)
    assert service.playground.containers(loser) == []
    assert service.record(winner)["status"] == "running"


def test_a_container_made_by_hand_is_not_adopted_beside_it(service: Service, game_id: str, engine_image: str) -> None:
    assert service.post(game_id, "start", image_ref=engine_image).status_code == 200
    (running,) = service.playground.containers(game_id)
    other = game_id.upper()
    labels = {**running.labels, "com.galaxy.game_id": other, "com.galaxy.operation_id": ""}
    made = service.playground.client.containers.run(
        engine_image, name=f"galaxy-game-{other}", labels=labels, network=service.playground.network, detach=True
    )

    service.run_command("reconcile")
    watcher = service.processes["watcher"]
    wait_for(lambda: "not adopted" in watcher.log, what="the watcher to report the container")

    made.reload()
    assert made.status == "running"
    assert not service.has_record(other)
    assert [one for one in service.operations(other) if one["outcome"] == "success"] == []
