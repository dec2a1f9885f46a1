"""A job's way through all processes, as those see it who collect traces."""

import hashlib

from tests.acceptance.conftest import MakeService
from tests.servers.service import START_JOBS
from tests.servers.trace_collector import collecting
from tests.servers.waiting import wait_for

CALLERS_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLERS_SPAN = "00f067aa0ba902b7"


def test_a_job_and_a_call_are_reported_from_their_coming_to_their_result(
    make_service: MakeService, engine_image: str
) -> None:
    with collecting() as collector:
        service = make_service(TRACES_ENDPOINT=collector.url.removesuffix("/v1/traces"))
        game_id = service.playground.game_id("traced")
        service.start()

        entry_id = service.start_job(game_id, engine_image)
        service.result(game_id)
        stopped = service.client.post(
            f"/api/v1/internal/runtimes/{game_id}/stop",
            json={"reason": "finished"},
            headers={"traceparent": f"00-{CALLERS_TRACE}-{CALLERS_SPAN}-01"},
        )

        assert stopped.status_code == 200
        wait_for(lambda: len({span.trace_id for span in collector.spans}) == 2, what="two traces")
        service.stop()
    by_trace = {
        trace: {span.name: span for span in collector.spans if span.trace_id.hex() == trace}
        for trace in (hashlib.sha256(f"{START_JOBS}:{entry_id}".encode()).hexdigest()[:32], CALLERS_TRACE)
    }
    job, call = by_trace.values()
    assert {"operation start", "accept", "wait", "work", "create", "publish"} <= set(job)
    assert {"operation stop", "wait", "work"} <= set(call)
    assert call["operation stop"].parent_span_id.hex() == CALLERS_SPAN
    assert job["accept"].start_time_unix_nano <= job["publish"].end_time_unix_nano
