"""Everything that can be seen of the service at one moment: what it depends on, and whether it does its work."""

import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError

from operations import tallies, vitals
from operations.tallies import Tallies
from operations.vitals import Backlogs, Figures, Verdicts
from rtmanager.api.readiness import TIMEOUT_SECONDS, SharedLook, readiness
from tasks.bridge import job_parsers
from tasks.queues import messages_by_queue
from tasks.streams.base import StreamsUnavailableError
from tasks.streams.redis import RedisJobStreams

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen. Figures and backlogs are None when their server did not say, in time or at all."""

    reasons: Mapping[str, str]
    figures: Figures | None
    backlogs: Backlogs | None
    verdicts: Verdicts


def observe() -> Observation:
    """Look at everything at once; takes ``TIMEOUT_SECONDS`` at most, whatever hangs. Never raises."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    figures_to_come, backlogs_to_come = _figures.begin(), _backlogs.begin()
    reasons = readiness.reasons()
    figures = _await(figures_to_come, deadline)
    backlogs = _await(backlogs_to_come, deadline)
    verdicts = vitals.judge(figures, backlogs, limits=vitals.current_limits(), uptime_seconds=time.monotonic() - _BEGAN)
    return Observation(reasons, figures, backlogs, verdicts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape(Observation):
    """The same with what only metrics tell: everything counted so far, and what waits in Celery's queues."""

    tallies: Tallies | None
    queues: Mapping[str, int] | None


def scrape() -> Scrape:
    """Look at everything at once, as ``observe`` does and within the same time. Never raises."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    tallies_to_come, queues_to_come = _tallies.begin(), _queues.begin()
    seen = observe()
    return Scrape(
        reasons=seen.reasons,
        figures=seen.figures,
        backlogs=seen.backlogs,
        verdicts=seen.verdicts,
        tallies=_await(tallies_to_come, deadline),
        queues=_await(queues_to_come, deadline),
    )


def _await(answer: "Future[T]", deadline: float) -> T | None:
    try:
        return answer.result(timeout=max(0.0, deadline - time.monotonic()))
    except (TimeoutError, StreamsUnavailableError, DatabaseError, InterfaceError):
        # The check of the same server says why.
        return None
    except Exception:
        # A defect in looking must not make the service look unready.
        log.exception("vitals_not_measured")
        return None


def _ask_streams() -> Backlogs:
    return _streams(settings.RTMANAGER.streams_url, tuple(job_parsers())).backlogs()


@lru_cache(maxsize=1)
def _streams(url: str, names: tuple[str, ...]) -> RedisJobStreams:
    return RedisJobStreams(url, names=names)


_BEGAN = time.monotonic()
_figures = SharedLook("figures", vitals.measure)
_backlogs = SharedLook("backlogs", _ask_streams)
_tallies = SharedLook("tallies", tallies.read)
_queues = SharedLook("queues", messages_by_queue)
