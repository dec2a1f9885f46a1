"""The first page: how the games are, what is being done, what failed. A fixed number of queries, each on an index."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q
from django.db.models.functions import TruncMinute
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from operations.models import DeadLetter, Operation
from operations.pulses import PulseName
from operations.states import OPEN_STATES, OpState, Outcome
from rtmanager.api.observation import Observation, observe
from rtmanager.console.plots import Plot, stacked
from runtimes.health import UNHEALTHY
from runtimes.models import HealthSnapshot, Runtime
from runtimes.states import RuntimeStatus

_MINUTES = 60
_ROWS = 8
# The newest so many operations are looked through for those just ended; a longer look would cost more than it tells.
_RECENT = 200


@dataclass(frozen=True, slots=True)
class Figures:
    """All that the first page shows of the database."""

    games: Mapping[str, int]
    unwell: int
    in_flight: Sequence[Operation]
    in_flight_count: int
    waiting_letters: int
    just_finished: Sequence[Operation]
    failures: Sequence[tuple[str, int]]
    throughput: Plot
    as_of: datetime


def fill(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the figures to the context of the admin's index (django-unfold's DASHBOARD_CALLBACK)."""
    if request.user.has_perm("operations.view_operation"):
        context["figures"] = figures(timezone.now())
    return context


def figures_view(request: HttpRequest) -> HttpResponse:
    """The part of the first page that is renewed every few seconds."""
    return render(request, "console/parts/figures.html", {"figures": figures(timezone.now())})


def servers_view(request: HttpRequest) -> HttpResponse:
    """The servers and the loops, asked for apart: one that is away takes its time to say nothing."""
    seen = observe()
    servers = {name: reason or "ok" for name, reason in seen.reasons.items()}
    parts = [("Servers", servers), ("Is the work done?", seen.verdicts)]
    return render(request, "console/parts/servers.html", {"parts": parts, "lags": _lags(seen)})


def _lags(seen: Observation) -> list[tuple[str, str]]:
    """How far behind everything is; what could not be asked has no line."""
    lags = []
    if seen.figures is not None:
        canary = seen.figures.age_of(PulseName.CANARY)
        oldest = seen.figures.oldest_open
        lags = [
            ("events not yet published", str(seen.figures.unpublished)),
            ("the oldest of them", f"{seen.figures.oldest_unpublished_seconds:.0f} s"),
            ("the oldest open operation", f"{oldest.age_seconds:.0f} s, {oldest}" if oldest else "none"),
            ("the last canary", "never" if canary is None else f"{canary:.0f} s ago"),
        ]
    for name, backlog in sorted((seen.backlogs or {}).items()):
        lags.append((f"jobs on {name}", f"{backlog.lag} unread, {backlog.pending} not acknowledged"))
    return lags


def figures(now: datetime) -> Figures:
    """What the database says now."""
    open_operations = Operation.objects.filter(state__in=OPEN_STATES).order_by("id")
    recent = list(Operation.objects.order_by("-id")[:_RECENT])
    finished = [one for one in recent if one.state == OpState.FINISHED]
    return Figures(
        games=_games(),
        unwell=_unwell(),
        in_flight=list(open_operations[:_ROWS]),
        in_flight_count=open_operations.count(),
        waiting_letters=DeadLetter.objects.filter(redriven_at__isnull=True).count(),
        just_finished=sorted(finished, key=_finished_at, reverse=True)[:_ROWS],
        failures=_failures(since=now - timedelta(days=1)),
        throughput=_throughput(now),
        as_of=now,
    )


def _games() -> dict[str, int]:
    counts = dict(Runtime.objects.order_by().values_list("status").annotate(Count("pk")))
    return {status.value: counts.get(status.value, 0) for status in RuntimeStatus}


def _unwell() -> int:
    """Games that are recorded as running and whose container or engine is reported as not well."""
    return HealthSnapshot.objects.filter(
        Q(probe_failures__gt=0) | Q(docker_health=UNHEALTHY), runtime__status=RuntimeStatus.RUNNING
    ).count()


def _finished_at(operation: Operation) -> datetime:
    return operation.finished_at or operation.accepted_at


def _failures(*, since: datetime) -> list[tuple[str, int]]:
    # Two small looks at two indexes: where the time begins in the log, and the failures from there on.
    first = (
        Operation.objects.filter(accepted_at__gte=since).order_by("accepted_at").values_list("pk", flat=True).first()
    )
    if first is None:
        return []
    failed = Operation.objects.filter(outcome=Outcome.FAILURE, pk__gte=first).order_by()
    return sorted(failed.values_list("error_code").annotate(Count("pk")), key=lambda pair: -pair[1])


def _throughput(now: datetime) -> Plot:
    first = (now - timedelta(minutes=_MINUTES - 1)).replace(second=0, microsecond=0)
    rows = (
        Operation.objects.filter(accepted_at__gte=first)
        .order_by()
        .annotate(minute=TruncMinute("accepted_at"))
        .values_list("minute", "outcome")
        .annotate(Count("pk"))
    )
    counts: Counter[tuple[datetime, str]] = Counter()
    for minute, outcome, count in rows:
        counts[minute, outcome or "open"] += count
    columns = [
        (f"{minute:%H:%M}", [(kind, counts[minute, kind]) for kind in ("success", "failure", "open")])
        for minute in (first + timedelta(minutes=number) for number in range(_MINUTES))
    ]
    total, failed = counts.total(), sum(count for (_at, kind), count in counts.items() if kind == "failure")
    return stacked(columns, summary=f"{total} operations in the last hour, {failed} of them failed")
