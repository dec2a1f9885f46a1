"""What the tests of the REST verbs share: a worker at hand, and a caller."""

from collections.abc import Sequence
from typing import Any

from django.test import Client

from operations import replays, runner
from operations.states import OpKind

IMAGE = "galaxy-engine:1.0.0"
NEXT_PATCH = "galaxy-engine:1.0.1"
NEXT_MINOR = "galaxy-engine:1.1.0"
ENVELOPE_TYPE = "application/json; charset=utf-8"
RUNTIMES = "/api/v1/internal/runtimes"
WORKER_AT_HAND = f"{__name__}.WorkerAtHand"


class WorkerAtHand:
    """Hints that are followed at once, by this thread."""

    def send(self, operations: Sequence[tuple[int, OpKind]]) -> None:
        for operation_id, _kind in operations:
            runner.run(operation_id)

    def answer(self, game_ids: Sequence[str]) -> None:
        replays.answer(game_ids)


def call(client: Client, verb: str, game_id: str = "g-1", *, body: Any = None, **headers: str) -> Any:
    """POST a verb; header names with underscores for dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(f"{RUNTIMES}/{game_id}/{verb}", body or {}, "application/json", headers=named)


def start(client: Client, game_id: str = "g-1", *, image_ref: str = IMAGE, **headers: str) -> Any:
    """Ask for a start."""
    return call(client, "start", game_id, body={"image_ref": image_ref}, **headers)


def stop(client: Client, game_id: str = "g-1", *, reason: str = "cancelled", **headers: str) -> Any:
    """Ask for a stop."""
    return call(client, "stop", game_id, body={"reason": reason}, **headers)
