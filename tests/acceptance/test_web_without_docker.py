"""The web process has no way to Docker: it asks a worker, and says so if none answers."""

from typing import Any

import pytest

from tests.acceptance.conftest import MakeService
from tests.servers.service import Service

RUNTIMES = "/api/v1/internal/runtimes"


@pytest.fixture
def service(make_service: MakeService) -> Service:
    """A service whose web process has the address of no Docker."""
    made = make_service()
    web = made.processes["web"]
    web.environment = {**web.environment, "RTMANAGER_DOCKER_HOST": "unix:///nonexistent/docker.sock"}
    made.start()
    return made


def explanation(service: Service, game_id: str) -> dict[str, Any]:
    response = service.client.get(f"{RUNTIMES}/{game_id}/explain")
    assert response.status_code == 200, response.text
    explained: dict[str, Any] = response.json()
    return explained


def test_the_web_process_shows_what_a_worker_observes(service: Service, game_id: str, running: dict[str, Any]) -> None:
    stats = service.client.get(f"{RUNTIMES}/{game_id}/stats").json()
    log = service.client.get(f"{RUNTIMES}/{game_id}/logs").json()

    assert explanation(service, game_id)["cause"] == "healthy"
    assert (stats["container_id"], stats["pids"] > 0) == (running["current_container_id"], True)
    assert (log["container_id"], isinstance(log["items"], list)) == (running["current_container_id"], True)
    assert set(service.client.get("/readyz").json()["checks"].values()) == {"ok"}


def test_a_followed_log_ends_with_the_container(service: Service, game_id: str, running: dict[str, Any]) -> None:
    with service.client.stream("GET", f"{RUNTIMES}/{game_id}/logs", params={"follow": "true"}) as response:
        assert service.post(game_id, "stop", reason="cancelled").status_code == 200
        received = list(response.iter_lines())

    assert response.status_code == 200
    assert running["status"] == "running"
    assert all(line == "" or line.startswith("{") for line in received)


def test_without_a_worker_docker_is_not_observed_and_the_service_stays_ready(
    service: Service, game_id: str, running: dict[str, Any]
) -> None:
    service.processes["worker"].freeze()
    try:
        explained = explanation(service, game_id)
        readiness = service.client.get("/readyz")
        log = service.client.get(f"{RUNTIMES}/{game_id}/logs")
    finally:
        service.processes["worker"].thaw()

    assert explained["cause"] in {"docker_not_observed", "worker_down"}
    assert "no worker answer" in explained["observed"]["reason"]
    assert running["status"] == "running"
    assert readiness.status_code == 200
    assert readiness.json()["checks"]["docker"].startswith("not observed: no worker answered")
    assert (log.status_code, log.json()["error"]["code"]) == (503, "docker_unavailable")
    assert "no worker answered" in log.json()["error"]["message"]


def test_without_a_network_the_worker_reports_it(service: Service) -> None:
    networks, name = service.playground.client.networks, service.playground.network
    networks.get(name).remove()
    try:
        missing = service.wait_until_ready(503)
    finally:
        networks.create(name)

    assert list(missing) == ["network"]
    assert "does not exist" in missing["network"]
