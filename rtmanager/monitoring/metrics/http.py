"""The number and duration of HTTP requests, counted in memory.

Each web process is a Prometheus target of its own, and starts at zero.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from django.http import HttpRequest
from django.urls import URLPattern, URLResolver, get_resolver
from prometheus_client import Counter, Histogram, disable_created_metrics

_METHODS = ("get", "post", "put", "patch", "delete", "head", "options")
_STATUSES = ("2xx", "3xx", "4xx", "5xx")
# Console pages and static files count as one route each; otherwise a client could create any number of routes.
_GROUPED_PATHS = ("admin/", "static/")
_OTHER = "(other)"
_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

# The creation time would double the number of samples, and no dashboard uses it.
disable_created_metrics()  # type: ignore[no-untyped-call]
REQUESTS = Counter(
    "rtmanager_http_requests_total", "Completed HTTP requests.", ["method", "route", "status"], registry=None
)  # fmt: skip
SECONDS = Histogram(
    "rtmanager_http_request_seconds", "Duration of HTTP requests.", ["method", "route"], buckets=_BOUNDS, registry=None
)
LABELS = {
    "rtmanager_http_requests_total": ("method", "route", "status"),
    "rtmanager_http_request_seconds": ("method", "route"),
}


def record(request: HttpRequest, *, status: int, seconds: float) -> None:
    """Count one request under its route. A path holds a game id, so it cannot be a label."""
    method = request.method if (request.method or "").lower() in _METHODS else _OTHER
    route = _route_of(request)
    REQUESTS.labels(method, route, f"{status // 100}xx").inc()
    SECONDS.labels(method, route).observe(seconds)


@cache
def initialise() -> None:
    """Create a sample for each route of the API, so that counters start at zero. Idempotent."""
    for route, methods in _routes(get_resolver(), ""):
        for method in methods:
            SECONDS.labels(method, route)
            for status in _STATUSES:
                REQUESTS.labels(method, route, status)


def _route_of(request: HttpRequest) -> str:
    match = request.resolver_match
    route = match.route if match else request.path.lstrip("/")
    group = next((prefix for prefix in _GROUPED_PATHS if route.startswith(prefix)), None)
    return group or (route if match else _OTHER)


def _routes(resolver: URLResolver, prefix: str) -> Iterator[tuple[str, list[str]]]:
    for entry in resolver.url_patterns:
        route = f"{prefix}{entry.pattern}"
        if route.startswith(_GROUPED_PATHS):
            continue
        if isinstance(entry, URLResolver):
            yield from _routes(entry, route)
        elif isinstance(entry, URLPattern):
            yield route, _methods_of(entry.callback)


def _methods_of(callback: Any) -> list[str]:
    view = getattr(callback, "cls", None) or getattr(callback, "view_class", None)
    return [method.upper() for method in ("get", "post", "put", "patch", "delete") if hasattr(view, method)]
