"""Frequent actions, timed on a given database: reading, intake, claiming."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus

import django

django.setup()

from django.test import Client  # noqa: E402 - Django is set up only now

from bench.inside.asked import answer  # noqa: E402
from operations.intake import OperationRequest, accept  # noqa: E402
from operations.models import Operation  # noqa: E402
from operations.queue import claims  # noqa: E402
from operations.states import OperationKind, OperationSource  # noqa: E402

_API = "/api/v1/internal/runtimes"
# As many as the bridge reads at once.
_BATCH = 50


class Workload:
    """Each command repeats an action and returns the milliseconds; what it wrote is deleted again."""

    def __init__(self) -> None:
        self._client = Client(headers={"X-Galaxy-Caller": "gm"})
        self._took: list[float] = []
        self._keys = 0

    def read_record(self, game_id: str, times: int) -> list[float]:
        """Read one record over the API, without a network."""
        return self._read(f"{_API}/{game_id}", times)

    def read_log(self, game_id: str, times: int) -> list[float]:
        """Read one page of the log of one game."""
        return self._read(f"{_API}/{game_id}/operations", times)

    def intake(self, times: int) -> list[float]:
        """Accept a batch of jobs, each for another game."""
        for _ in range(times):
            with self._timed():
                taken_in = accept(self._requests(_BATCH))
            _forget(taken_in)
        return self._times()

    def claim(self, times: int) -> list[float]:
        """Claim an operation that is the first of its game."""
        for _ in range(times):
            (operation,) = accept(self._requests(1))
            with self._timed():
                claimed = claims.claim(operation.pk, claimed_by="bench")
            assert claimed is not None, "it is the first of its game"  # noqa: S101
            _forget([operation])
        return self._times()

    def _read(self, address: str, times: int) -> list[float]:
        for _ in range(times):
            with self._timed():
                answered = self._client.get(address)
            assert answered.status_code == HTTPStatus.OK, answered.content  # noqa: S101
        return self._times()

    def _requests(self, count: int) -> Sequence[OperationRequest]:
        self._keys += count
        return [
            OperationRequest(
                game_id=f"game-{number % 1000}",
                op_kind=OperationKind.START,
                op_source=OperationSource.LOBBY_STREAM,
                job_key=f"bench:{number}",
                arguments={"image_ref": "galaxy-engine:1.0.0"},
            )
            for number in range(self._keys - count, self._keys)
        ]

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._took.append((time.perf_counter() - began) * 1000)

    def _times(self) -> list[float]:
        took, self._took = self._took, []
        return took


def _forget(operations: Sequence[Operation]) -> None:
    Operation.objects.filter(pk__in=[one.pk for one in operations]).delete()


if __name__ == "__main__":
    actions = Workload()
    answer({"get": actions.read_record, "list": actions.read_log, "intake": actions.intake, "claim": actions.claim})
