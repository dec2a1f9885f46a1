"""Passes of the reconciler, and the raw list call that they need at least, in one process."""

import time
from collections import Counter
from typing import Any

import django
import docker
import requests

django.setup()

from django.conf import settings  # noqa: E402 - Django is set up only now

from bench.inside.asked import answer  # noqa: E402
from operations.reconcile.survey import reconcile_all  # noqa: E402
from runtimes.container_spec import LABEL_OWNER, LABEL_STACK, OWNER  # noqa: E402

_requests: Counter[str] = Counter()
_send = requests.Session.send


def _counting_send(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
    path = str(request.path_url).partition("?")[0]
    _requests[f"{request.method} {path.partition('/v')[2].partition('/')[2] or path}"] += 1
    return _send(session, request, **options)


class Passes:
    """Each command returns milliseconds."""

    def __init__(self) -> None:
        # Both commands go through it.
        requests.Session.send = _counting_send  # type: ignore[assignment,method-assign]
        self._raw = docker.APIClient(base_url=settings.RTMANAGER.docker_host, version="auto")
        stack = settings.RTMANAGER.stack
        self._filters = {"label": [f"{LABEL_OWNER}={OWNER}", f"{LABEL_STACK}={stack}"]}

    def reconcile(self) -> dict[str, Any]:
        """Run one pass; also return its requests to Docker and the number of its repairs."""
        _requests.clear()
        began = time.perf_counter()
        repairs = reconcile_all()
        took = time.perf_counter() - began
        return {"ms": took * 1000, "repairs": repairs, "requests": dict(_requests)}

    def list_raw(self) -> dict[str, Any]:
        """Call the SDK once with the filters of the service; also return how many it found."""
        began = time.perf_counter()
        found = self._raw.containers(all=True, filters=self._filters)
        return {"ms": (time.perf_counter() - began) * 1000, "found": len(found)}


if __name__ == "__main__":
    passes = Passes()
    answer({"reconcile": passes.reconcile, "list": passes.list_raw})
