"""The prober: asks each running engine for its health, and records and reports only changes."""

import time
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any
from urllib.parse import urlsplit

import structlog
from django.conf import settings

from operations.health.reports import Report, report_all, watched_games
from operations.messages import HealthEvent, HealthEventType, epoch_ms
from runtimes.container_spec import ENGINE_PORT
from runtimes.containers import connect
from runtimes.containers.base import Container
from runtimes.health import PROBE_PATH, ProbeRecord, ProbeResult, Transition, probe_transition
from tasks.loops.base import Loop
from tasks.loops.http_probes import HttpProbes, Target
from tasks.loops.leader_election import LeaderElection
from tasks.worker.task_counters import count_probes

log = structlog.get_logger(__name__)

_COLLECT_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_SHORTEST_INTERVAL_SECONDS = 0.1


class Prober(Loop):
    """Probes in rounds, spread over PROBE_INTERVAL. One process does this at a time.

    Each round starts with one query and one list call to Docker. A new leader reads reported failures from the
    snapshots, and so continues where the last one ended. Failures not yet reported are counted in memory.
    """

    name = "prober"

    def __init__(self, *, probes: HttpProbes, leadership: LeaderElection | None = None) -> None:
        super().__init__(leadership)
        self._probes = probes
        self._failures: dict[str, int] = {}
        self._round: deque[tuple[float, Target]] = deque()
        self._next_round = 0.0
        self._successes: list[bool] = []

    def lead(self) -> float:
        if not self._round and time.monotonic() >= self._next_round:
            self._start_round()
        self._submit_due()
        if self._probes.capacity == self._probes.limit:
            return self._seconds_left()
        self._evaluate(self._probes.collect(_COLLECT_SECONDS))
        return 0.0

    def forget(self) -> None:
        self.reset()
        self._failures.clear()

    def reset(self) -> None:
        self._round.clear()
        self._next_round = 0.0

    def close(self) -> None:
        self._probes.close()
        super().close()

    def _start_round(self) -> None:
        """Plan the next round. Raises ContainersUnavailableError if Docker cannot list the containers."""
        started = time.monotonic()
        count_probes(self._successes)
        self._successes.clear()
        interval = max(settings.RTMANAGER.probe_interval.total_seconds(), _SHORTEST_INTERVAL_SECONDS)
        targets = _targets(_live_containers())
        present = {target.container_id for target in targets}
        self._failures = {key: count for key, count in self._failures.items() if key in present}
        # Evenly spread, and at the same position in all rounds.
        offsets = [zlib.crc32(target.container_id.encode()) / 2**32 for target in targets]
        due = [(started + offset * interval, target) for offset, target in zip(offsets, targets, strict=True)]
        self._round = deque(sorted(due, key=itemgetter(0)))
        self._next_round = started + interval

    def _submit_due(self) -> None:
        now = time.monotonic()
        due: list[Target] = []
        while self._round and self._round[0][0] <= now and len(due) < self._probes.capacity:
            due.append(self._round.popleft()[1])
        if due:
            self._probes.submit(due, timeout_seconds=settings.RTMANAGER.probe_timeout.total_seconds())

    def _seconds_left(self) -> float:
        """Return the pause until the next probe or round, when no probe runs."""
        due = self._round[0][0] if self._round else self._next_round
        return min(_LONGEST_PAUSE_SECONDS, max(0.0, due - time.monotonic()))

    def _evaluate(self, results: Sequence[tuple[Target, ProbeResult]]) -> None:
        self._successes += [result.is_success for _target, result in results]
        reports = [report for target, result in results if (report := self._report_for(target, result)) is not None]
        if any(_is_failure(report) for report in reports):
            # If the container has exited, or Docker is unavailable, the engine itself has not failed.
            alive = _live_containers()
            reports = [report for report in reports if not _is_failure(report) or report.container_id in alive]
        for report, was_recorded in zip(reports, report_all(reports), strict=True):
            if was_recorded and report.event is not None:
                write = log.warning if _is_failure(report) else log.info
                event = report.event
                write(str(event.event_type), game_id=report.game_id, container_id=report.container_id, **event.details)

    def _report_for(self, target: Target, result: ProbeResult) -> Report | None:
        reported = target.reported_failures
        before = ProbeRecord(self._failures.get(target.container_id, reported), is_reported=reported > 0)
        after, transition = probe_transition(before, result, threshold=settings.RTMANAGER.probe_failures_threshold)
        self._failures.pop(target.container_id, None)
        if after.failures:
            self._failures[target.container_id] = after.failures
        if transition == Transition.FAILED:
            kind = HealthEventType.PROBE_FAILED
            details: dict[str, Any] = {
                "consecutive_failures": after.failures, "last_status": result.status, "last_error": result.error,
            }  # fmt: skip
        elif transition == Transition.RECOVERED:
            kind, details = HealthEventType.PROBE_RECOVERED, {"prior_failure_count": before.failures}
        else:
            return None
        return Report(
            game_id=target.game_id,
            container_id=target.container_id,
            observed={
                "probe_failures": after.failures,
                "probe_last_status": result.status,
                "probe_last_error": result.error,
                "probed_at": result.at,
            },
            expected={"probe_failures": target.reported_failures},
            event=HealthEvent(kind, target.container_id, result.at, details, str(epoch_ms(result.at))),
        )


def _live_containers() -> dict[str, Container]:
    containers = connect().list_owned(settings.RTMANAGER.stack)
    return {container.id: container for container in containers if container.is_alive}


def _targets(alive: Mapping[str, Container]) -> list[Target]:
    """Return the engines to probe: running games without an open operation, whose container has an address."""
    columns = (
        "game_id", "current_container_id", "engine_endpoint", "docker_network", "health__container_id",
        "health__probe_failures",
    )  # fmt: skip
    targets = []
    for game_id, container_id, endpoint, network, snapshot_id, failures in watched_games().values_list(*columns):
        address = alive[container_id].addresses.get(network) if container_id in alive else None
        if address is None:
            continue
        # Names of the game network resolve only inside it: use the IP address, and send the engine its host name.
        parts = urlsplit(endpoint)
        host = f"[{address}]" if ":" in address else address
        url = f"http://{host}:{parts.port or ENGINE_PORT}{PROBE_PATH}"
        reported = failures if snapshot_id == container_id else 0
        targets.append(Target(game_id, container_id, url, host=parts.netloc, reported_failures=reported))
    return targets


def _is_failure(report: Report) -> bool:
    return report.event is not None and report.event.event_type == HealthEventType.PROBE_FAILED
