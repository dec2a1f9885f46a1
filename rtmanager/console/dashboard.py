"""The dashboard: the state of the games, operations in progress, failures. A fixed number of indexed queries."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count
from django.db.models.functions import TruncMinute
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from operations.models import DeadLetter, Heartbeat, Operation
from operations.monitoring.bounded_call import Deadline, SingleFlight, wait
from operations.monitoring.heartbeats import HeartbeatName
from operations.states import OPEN_STATES, OperationState, Outcome
from rtmanager.monitoring.snapshot import TIMEOUT_SECONDS, ServiceSnapshot, check_docker, take_snapshot
from runtimes.models import HealthSnapshot, Runtime
from runtimes.states import EndedBy, RuntimeStatus

_MINUTES = 60
_ROWS = 8
# The recently finished operations are taken from this many newest ones: finished_at has no index.
_RECENT = 200
_DOCKER_SECONDS = TIMEOUT_SECONDS
_PLOT_WIDTH, _PLOT_HEIGHT, _TIME_LABELS = 600.0, 120.0, 4
_docker = SingleFlight("docker", check_docker)


def dashboard_context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the figures to the context of the admin's index (django-unfold's DASHBOARD_CALLBACK)."""
    context["title"] = "Overview"
    if request.user.has_perm("operations.view_operation"):
        context["figures"] = figures(timezone.now())
    return context


def figures_view(request: HttpRequest) -> HttpResponse:
    """The part of the dashboard that comes from the database; the page refreshes it every three seconds."""
    return render(request, "console/parts/figures.html", {"figures": figures(timezone.now())})


def servers_view(request: HttpRequest) -> HttpResponse:
    """Servers, components and backlogs. Separate from the figures, because a missing server delays it."""
    snapshot = take_snapshot()
    servers = {name: reason or "ok" for name, reason in snapshot.reasons.items()}
    parts = [("Servers", servers), ("Components", {name: str(status) for name, status in snapshot.components.items()})]
    return render(request, "console/parts/servers.html", {"parts": parts, "backlogs": _backlogs(snapshot)})


def _backlogs(snapshot: ServiceSnapshot) -> list[tuple[str, str]]:
    """What is waiting, and for how long. A server that does not answer has no line."""
    lines = []
    if snapshot.stats is not None:
        canary = snapshot.stats.age_of(HeartbeatName.CANARY)
        oldest = snapshot.stats.oldest_open
        lines = [
            ("events not yet published", str(snapshot.stats.unpublished)),
            ("oldest unpublished event", f"{snapshot.stats.oldest_unpublished_seconds:.0f} s"),
            ("oldest open operation", f"{oldest.age_seconds:.0f} s, {oldest}" if oldest else "none"),
            ("last canary", "never" if canary is None else f"{canary:.0f} s ago"),
        ]
    for name, backlog in sorted((snapshot.backlogs or {}).items()):
        lines.append((f"jobs on {name}", f"{backlog.lag} unread, {backlog.pending} not acknowledged"))
    return lines


def figures(now: datetime) -> dict[str, Any]:
    """Read the figures from the database, and ask Docker whether it answers."""
    counts = dict(Runtime.objects.order_by().values_list("status").annotate(Count("pk")))
    open_operations = Operation.objects.filter(state__in=OPEN_STATES).order_by("id")
    recent = list(Operation.objects.order_by("-id")[:_RECENT])
    finished = [operation for operation in recent if operation.state == OperationState.FINISHED]
    watcher = Heartbeat.objects.filter(name=HeartbeatName.WATCHER).values_list("seen_at", flat=True)
    docker_reason = wait(_docker.start(), Deadline(_DOCKER_SECONDS)).failure
    return {
        "games": {status.value: counts.get(status.value, 0) for status in RuntimeStatus},
        "unhealthy": HealthSnapshot.objects.unhealthy().filter(runtime__status=RuntimeStatus.RUNNING).count(),
        "in_progress": list(open_operations[:_ROWS]),
        "open_count": open_operations.count(),
        "dead_letters": DeadLetter.objects.filter(redriven_at__isnull=True).count(),
        "recently_finished": sorted(finished, key=_finished_at, reverse=True)[:_ROWS],
        "failures": _failures(since=now - timedelta(days=1)),
        "throughput": _throughput(now),
        "as_of": now,
        "ended_with_docker": Runtime.objects.filter(ended_by=EndedBy.DOCKER_RESTARTED).count(),
        "docker_reason": docker_reason,
        # When the watcher was last connected to Docker.
        "docker_seen_at": watcher.first() if docker_reason else None,
    }


def _finished_at(operation: Operation) -> datetime:
    return operation.finished_at or operation.accepted_at


def _failures(*, since: datetime) -> list[tuple[str, int]]:
    # Two small queries on two indexes: the first id of the period, then the failures from that id on.
    first = Operation.objects.filter(accepted_at__gte=since).order_by("accepted_at").only("pk").first()
    if first is None:
        return []
    failed = Operation.objects.filter(outcome=Outcome.FAILURE, pk__gte=first.pk).order_by()
    return sorted(failed.values_list("error_code").annotate(Count("pk")), key=lambda pair: -pair[1])


def _throughput(now: datetime) -> dict[str, Any]:
    """The chart of the last hour: one column per minute."""
    first = (now - timedelta(minutes=_MINUTES - 1)).replace(second=0, microsecond=0)
    rows = (
        Operation.objects.filter(accepted_at__gte=first)
        .order_by()
        .annotate(minute=TruncMinute("accepted_at"))
        .values_list("minute", "outcome")
        .annotate(Count("pk"))
    )
    counts = {(minute, outcome or "open"): count for minute, outcome, count in rows}
    columns = [
        (f"{minute:%H:%M}", {kind: counts.get((minute, kind), 0) for kind in ("success", "failure", "open")})
        for minute in (first + timedelta(minutes=number) for number in range(_MINUTES))
    ]
    totals = Counter[str]()
    for _label, parts in columns:
        totals.update(parts)
    noun = "operation" if totals.total() == 1 else "operations"
    return _stacked(columns, summary=f"{totals.total()} {noun} in the last hour, {totals['failure']} of them failed")


def _stacked(columns: list[tuple[str, dict[str, int]]], *, summary: str) -> dict[str, Any]:
    """A chart of columns from left to right, each a label and its parts (kind, count) from bottom to top.

    It is SVG, drawn on the server: it needs no script and works in every theme and for screen readers.
    """
    highest = max(sum(parts.values()) for _label, parts in columns)
    # An even scale, so that the middle of the value axis is a whole number too.
    scale = max(2, highest + highest % 2)
    step = _PLOT_WIDTH / len(columns)
    bars = []
    for index, (label, parts) in enumerate(columns):
        top = _PLOT_HEIGHT
        for kind, count in parts.items():
            height = _PLOT_HEIGHT * count / scale
            top -= height
            if count:
                tooltip = f"{label}: {count} {kind}"
                bar = {"x": index * step, "y": top, "width": step * 0.8, "height": height}
                bars.append({**bar, "kind": kind, "label": tooltip})
    labels = [label for label, _parts in columns]
    times = [*labels[:: len(labels) // _TIME_LABELS][:_TIME_LABELS], *labels[-1:]]
    return {
        "bars": bars,
        "values": (scale, scale // 2, 0),
        "times": times,
        "summary": summary,
        "width": _PLOT_WIDTH,
        "height": _PLOT_HEIGHT,
    }
