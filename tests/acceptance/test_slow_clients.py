"""The web process with stalled and silent clients, and with more waiting calls than threads."""

import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.servers.service import Service

STALLED, SILENT, HEALTH_CHECKS = 200, 1500, 200
RUNTIMES = "/api/v1/internal/runtimes"


@pytest.fixture
def connections(service: Service) -> Iterator[list[socket.socket]]:
    """1,700 connections: half-sent headers, half-sent bodies, and clients that send nothing."""
    host, _separator, port = service.settings["INTERNAL_HTTP_ADDR"].rpartition(":")
    halves = (b"GET /healthz HTTP/1.1\r\nHost: a\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf")
    opened = []
    for number in range(STALLED + SILENT):
        connection = socket.create_connection((host, int(port)), timeout=30)
        opened.append(connection)
        if number < STALLED:
            connection.sendall(halves[number % 2])
    yield opened
    for connection in opened:
        connection.close()


@pytest.mark.usefixtures("connections")
def test_health_answers_within_a_second_while_1700_clients_stall(service: Service) -> None:
    seconds = []
    for _check in range(HEALTH_CHECKS):
        since = time.monotonic()
        assert httpx.get(f"{service.client.base_url}/healthz", timeout=30).status_code == 200
        seconds.append(time.monotonic() - since)

    assert sorted(seconds)[int(0.99 * HEALTH_CHECKS)] < 1.0


def test_waiting_calls_take_half_of_the_threads_and_others_are_accepted_at_once(
    service: Service, engine_image: str, game_id: str
) -> None:
    answers: list[httpx.Response] = []

    def start(number: int) -> None:
        url = f"{service.client.base_url}{RUNTIMES}/{game_id}-{number}/start"
        answers.append(httpx.post(url, json={"image_ref": engine_image}, headers={"Prefer": "wait=20"}, timeout=60))

    callers = [threading.Thread(target=start, args=(number,)) for number in range(40)]
    service.processes["worker"].freeze()
    try:
        for caller in callers:
            caller.start()
        answers_of_others = [
            httpx.get(f"{service.client.base_url}{path}", timeout=15).status_code
            for path in ("/healthz", "/metrics", RUNTIMES)
        ]
    finally:
        service.processes["worker"].thaw()
    for caller in callers:
        caller.join(60)

    assert answers_of_others == [200, 200, 200]
    assert sorted({answer.status_code for answer in answers}) == [200, 202]
    assert len(answers) == 40
