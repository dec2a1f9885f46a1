"""Asks every running engine now and then whether it is well; only what changes is written and told."""

import time
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any
from urllib.parse import urlsplit

import structlog
from django.conf import settings

from operations.events import HealthEvent, HealthEventType, epoch_ms
from operations.health import Report, report_all, watched_games
from runtimes.containers import connect
from runtimes.containers.base import Container
from runtimes.health import ProbeAnswer, ProbeRecord, Transition, after_probe
from runtimes.specs import ENGINE_PORT
from tasks.leadership import Leadership
from tasks.probes import HttpProbes, Target
from tasks.tallying import count_probes

log = structlog.get_logger(__name__)

PROBE_PATH = "/healthz"
_STANDBY_SECONDS = 1.0
_COLLECT_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_SHORTEST_INTERVAL_SECONDS = 0.1


class Prober:
    """Rounds of probes, spread over the interval. One process does it at a time.

    Each round begins with one query and one list call. What was reported is read from the snapshots then, so a new
    leader goes on where the last one ended; the failures not yet reported are counted in memory, per container.
    """

    name = "prober"

    def __init__(self, *, leadership: Leadership, probes: HttpProbes) -> None:
        self._leadership = leadership
        self._probes = probes
        self._failures: dict[str, int] = {}
        self._round: deque[tuple[float, Target]] = deque()
        self._next_round = 0.0
        self._answered_well: list[bool] = []

    def step(self) -> float:
        """See Loop."""
        if self._leadership.is_fresh():
            self.reset()
            self._failures.clear()
        if not self._leadership.hold():
            return _STANDBY_SECONDS
        if not self._round and time.monotonic() >= self._next_round:
            self._begin_round()
        self._launch_due()
        if self._probes.free == self._probes.limit:
            return self._seconds_left()
        self._judge(self._probes.collect(_COLLECT_SECONDS))
        return 0.0

    def reset(self) -> None:
        """See Loop."""
        self._round.clear()
        self._next_round = 0.0

    def close(self) -> None:
        """See Loop."""
        self._probes.close()
        self._leadership.resign()

    def _begin_round(self) -> None:
        """Raises ContainersUnavailableError when Docker cannot tell who is there: then nobody is asked."""
        began = time.monotonic()
        count_probes(self._answered_well)
        self._answered_well.clear()
        interval = max(settings.RTMANAGER.probe_interval.total_seconds(), _SHORTEST_INTERVAL_SECONDS)
        targets = _targets(_alive())
        present = {one.container_id for one in targets}
        self._failures = {one: count for one, count in self._failures.items() if one in present}
        due = [(began + _phase(one.container_id) * interval, one) for one in targets]
        self._round = deque(sorted(due, key=itemgetter(0)))
        self._next_round = began + interval

    def _launch_due(self) -> None:
        now = time.monotonic()
        due: list[Target] = []
        while self._round and self._round[0][0] <= now and len(due) < self._probes.free:
            due.append(self._round.popleft()[1])
        if due:
            self._probes.launch(due, timeout_seconds=settings.RTMANAGER.probe_timeout.total_seconds())

    def _seconds_left(self) -> float:
        """Until there is something to do again, when nobody is being asked."""
        due = self._round[0][0] if self._round else self._next_round
        return min(_LONGEST_PAUSE_SECONDS, max(0.0, due - time.monotonic()))

    def _judge(self, answers: Sequence[tuple[Target, ProbeAnswer]]) -> None:
        self._answered_well += [answer.is_success for _target, answer in answers]
        reports = [report for target, answer in answers if (report := self._verdict(target, answer)) is not None]
        if any(_is_failure(one) for one in reports):
            # A container that has ended, or a Docker that is away, is not the failure of an engine.
            alive = _alive()
            reports = [one for one in reports if not _is_failure(one) or one.container_id in alive]
        for one, has_counted in zip(reports, report_all(reports), strict=True):
            if has_counted and one.event is not None:
                told = log.warning if _is_failure(one) else log.info
                told(str(one.event.event_type), game_id=one.game_id, container_id=one.container_id, **one.event.details)

    def _verdict(self, target: Target, answer: ProbeAnswer) -> Report | None:
        reported = target.reported_failures
        before = ProbeRecord(self._failures.get(target.container_id, reported), is_reported=reported > 0)
        after, transition = after_probe(before, answer, threshold=settings.RTMANAGER.probe_failures_threshold)
        self._failures.pop(target.container_id, None)
        if after.failures:
            self._failures[target.container_id] = after.failures
        if transition == Transition.FAILED:
            return _failed(target, answer, failures=after.failures)
        if transition == Transition.RECOVERED:
            return _recovered(target, answer, failures=before.failures)
        return None


def _alive() -> dict[str, Container]:
    return {one.id: one for one in connect().list_owned(settings.RTMANAGER.stack) if one.is_alive}


def _targets(alive: Mapping[str, Container]) -> list[Target]:
    """Who is to be asked: running games that no operation has in hand, whose container has an address."""
    columns = (
        "game_id", "current_container_id", "engine_endpoint", "docker_network", "health__container_id",
        "health__probe_failures",
    )  # fmt: skip
    targets = []
    for game_id, container_id, endpoint, network, seen_id, failures in watched_games().values_list(*columns):
        address = alive[container_id].addresses.get(network) if container_id in alive else None
        if address is not None:
            reported = failures if seen_id == container_id else 0
            targets.append(_target(game_id, container_id, endpoint, address=address, reported=reported))
    return targets


def _target(game_id: str, container_id: str, endpoint: str, *, address: str, reported: int) -> Target:
    """By address, because names of the game network mean nothing outside of it; the engine is told its own name."""
    parts = urlsplit(endpoint)
    host = f"[{address}]" if ":" in address else address
    return Target(
        game_id=game_id,
        container_id=container_id,
        url=f"http://{host}:{parts.port or ENGINE_PORT}{PROBE_PATH}",
        host=parts.netloc,
        reported_failures=reported,
    )


def _phase(container_id: str) -> float:
    """Where in each round a container's turn is, 0 to 1: the same in all of them, and spread evenly."""
    return zlib.crc32(container_id.encode()) / 2**32


def _is_failure(one: Report) -> bool:
    return one.event is not None and one.event.event_type == HealthEventType.PROBE_FAILED


def _failed(target: Target, answer: ProbeAnswer, *, failures: int) -> Report:
    details = {"consecutive_failures": failures, "last_status": answer.status, "last_error": answer.error}
    return _report(target, answer, HealthEventType.PROBE_FAILED, details=details, failures=failures)


def _recovered(target: Target, answer: ProbeAnswer, *, failures: int) -> Report:
    return _report(
        target, answer, HealthEventType.PROBE_RECOVERED, details={"prior_failure_count": failures}, failures=0
    )


def _report(
    target: Target, answer: ProbeAnswer, kind: HealthEventType, *, details: Mapping[str, Any], failures: int
) -> Report:
    return Report(
        game_id=target.game_id,
        container_id=target.container_id,
        observed={
            "probe_failures": failures,
            "probe_last_status": answer.status,
            "probe_last_error": answer.error,
            "probed_at": answer.at,
        },
        expected={"probe_failures": target.reported_failures},
        event=HealthEvent(kind, target.container_id, answer.at, details, str(epoch_ms(answer.at))),
    )
