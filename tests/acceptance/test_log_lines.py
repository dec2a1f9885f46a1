"""Every process writes one kind of line: what collects logs never meets anything else."""

import json
from collections.abc import Iterator
from typing import Any

from tests.acceptance.conftest import MakeService
from tests.servers.service import Service

Line = dict[str, Any]


def lines_of(service: Service) -> Iterator[tuple[str, str]]:
    for name, process in service.processes.items():
        for text in process.log.splitlines():
            yield name, text


def test_every_line_of_every_process_is_a_json_object_with_its_ids(
    make_service: MakeService, engine_image: str
) -> None:
    service = make_service()
    game_id = service.playground.game_id("logged")
    service.start()
    service.start_job(game_id, engine_image)
    service.result(game_id)
    answer = service.client.get("/api/v1/internal/runtimes/unknown-game", headers={"X-Request-ID": "asked-1"})
    assert service.post(game_id, "stop", reason="finished").status_code == 200

    service.stop()

    lines: list[tuple[str, Line]] = []
    for name, text in lines_of(service):
        assert text.startswith("{"), f"{name} wrote: {text}"
        lines.append((name, json.loads(text)))
    assert {name for name, _line in lines} == set(service.processes)
    assert [line for _name, line in lines if not {"event", "level", "logger", "at"} <= set(line)] == []
    (request,) = [line for _name, line in lines if line.get("request_id") == "asked-1"]
    assert (request["event"], request["status"], answer.status_code) == ("request_finished", 404, 404)
    about_game = [line for name, line in lines if name == "worker" and line.get("game_id") == game_id]
    assert {line["op_kind"] for line in about_game} == {"start", "stop"}
    assert all({"operation_id", "fence", "worker"} <= set(line) for line in about_game)
    assert {line["loop"] for name, line in lines if name == "bridge" and "loop" in line} == {"bridge", "sweeper"}
