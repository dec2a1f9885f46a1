"""Helpers of the REST action tests: an inline worker, and calls."""

from collections.abc import Sequence
from typing import Any

from django.test import Client

from operations import runner
from operations.execution import no_ops
from operations.states import OperationKind

IMAGE = "galaxy-engine:1.0.0"
NEXT_PATCH = "galaxy-engine:1.0.1"
NEXT_MINOR = "galaxy-engine:1.1.0"
ENVELOPE_TYPE = "application/json; charset=utf-8"
RUNTIMES = "/api/v1/internal/runtimes"
INLINE_WORKER = f"{__name__}.InlineWorker"


class InlineWorker:
    """A notifier that runs each operation at once, in this thread."""

    def send(self, operations: Sequence[tuple[int, OperationKind]]) -> None:
        for operation_id, _kind in operations:
            runner.run(operation_id)

    def complete_no_ops(self, game_ids: Sequence[str]) -> None:
        no_ops.complete_waiting(game_ids)


def call(client: Client, verb: str, game_id: str = "g-1", *, body: Any = None, **headers: str) -> Any:
    """POST an action. Header names have underscores for dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(f"{RUNTIMES}/{game_id}/{verb}", body or {}, "application/json", headers=named)


def start(client: Client, game_id: str = "g-1", *, image_ref: str = IMAGE, **headers: str) -> Any:
    """Request a start."""
    return call(client, "start", game_id, body={"image_ref": image_ref}, **headers)


def stop(client: Client, game_id: str = "g-1", *, reason: str = "cancelled", **headers: str) -> Any:
    """Request a stop."""
    return call(client, "stop", game_id, body={"reason": reason}, **headers)
