"""How many requests this process has answered, and how fast. Counted in its memory: each web process is a target of
its own, and begins at zero with its start.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from django.http import HttpRequest
from django.urls import URLPattern, URLResolver, get_resolver
from prometheus_client import Counter, Histogram, disable_created_metrics

_METHODS = ("get", "post", "put", "patch", "delete", "head", "options")
_STATUSES = ("2xx", "3xx", "4xx", "5xx")
# Pages of people and files of theirs: each is one route, or a caller could make up as many as he likes.
_WHOLE = ("admin/", "static/")
_OTHER = "(other)"
_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

# When a sample began would be a second sample for each, which nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]
REQUESTS = Counter(
    "rtmanager_http_requests_total", "Requests answered.", ["method", "route", "status"], registry=None
)  # fmt: skip
SECONDS = Histogram(
    "rtmanager_http_request_seconds", "How long it took.", ["method", "route"], buckets=_BOUNDS, registry=None
)
LABELS = {
    "rtmanager_http_requests_total": ("method", "route", "status"),
    "rtmanager_http_request_seconds": ("method", "route"),
}


def note(request: HttpRequest, *, status: int, seconds: float) -> None:
    """Count one answered request under its route, never under its path: paths hold game ids."""
    method = request.method if (request.method or "").lower() in _METHODS else _OTHER
    route = _route_of(request)
    REQUESTS.labels(method, route, f"{status // 100}xx").inc()
    SECONDS.labels(method, route).observe(seconds)


@cache
def begin_at_zero() -> None:
    """Have a sample for every route of the API before anybody calls it. Idempotent."""
    for route, methods in _routes(get_resolver(), ""):
        for method in methods:
            SECONDS.labels(method, route)
            for status in _STATUSES:
                REQUESTS.labels(method, route, status)


def _route_of(request: HttpRequest) -> str:
    match = request.resolver_match
    route = match.route if match else request.path.lstrip("/")
    whole = next((prefix for prefix in _WHOLE if route.startswith(prefix)), None)
    return whole or (route if match else _OTHER)


def _routes(resolver: URLResolver, prefix: str) -> Iterator[tuple[str, list[str]]]:
    for entry in resolver.url_patterns:
        route = f"{prefix}{entry.pattern}"
        if route.startswith(_WHOLE):
            continue
        if isinstance(entry, URLResolver):
            yield from _routes(entry, route)
        elif isinstance(entry, URLPattern):
            yield route, _methods_of(entry.callback)


def _methods_of(callback: Any) -> list[str]:
    view = getattr(callback, "cls", None) or getattr(callback, "view_class", None)
    return [method.upper() for method in ("get", "post", "put", "patch", "delete") if hasattr(view, method)]
