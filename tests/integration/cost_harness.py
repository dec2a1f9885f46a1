"""Counting what really goes to Docker, PostgreSQL and Redis, stage by stage; and the service, in one thread."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import unified_diff
from itertools import count
from typing import Any, ClassVar
from urllib.parse import unquote

import pytest
import requests
from django.db import connection
from django.test.utils import CaptureQueriesContext
from redis import Redis

from operations import runner
from operations.dispatch import CeleryNotifier
from operations.execution import no_ops
from operations.models import OutboxEvent
from operations.states import OperationKind
from tasks.loops.bridge import JobBridge
from tasks.loops.relay import Relay
from tests.chaos.grid.fault_points import name_of_statement
from tests.servers.sandbox import Playground

WORKER_IN_STAGE = f"{__name__}.WorkerInStage"

# In the paths that Docker is asked for, what differs from game to game.
_PARTS = (
    (r"^/v[0-9.]+", ""),
    (r"^/containers/(?!create$|json$)[^/]+", "/containers/{id}"),
    (r"^/images/.+/json$", "/images/{ref}/json"),
)
_WRITTEN = re.compile(r'\b(INSERT INTO|UPDATE|DELETE FROM) "?(?:operations|runtimes)_(\w+)')
_READ = re.compile(r'\b(FROM) "?(?:operations|runtimes)_(\w+)')
# What the grid has no name for, or one only with the values.
_PURPOSES = ((r"WITH next AS", "sweep"),)
_PREPARED = re.compile(r"EXECUTE \w+")
_NUMBERED = re.compile(r'(SAVEPOINT) "?\w+"?$')


@dataclass(frozen=True, slots=True)
class Cost:
    """What one stage asks for. ``docker`` and ``sql`` in their order; ``redis`` with what scripts call inside."""

    docker: tuple[str, ...] = ()
    sql: tuple[str, ...] = ()
    redis: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, more: "Cost") -> "Cost":
        redis = dict(Counter(self.redis) + Counter(more.redis))
        return Cost(self.docker + more.docker, self.sql + more.sql, redis)


Costs = Mapping[str, Mapping[str, Cost]]


class Till:
    """Charges every call to the stage that is open; what comes between stages is free."""

    def __init__(self, server: Redis) -> None:
        self.costs: dict[str, Cost] = {}
        self._server = server
        self._docker: list[str] = []
        self._sql = CaptureQueriesContext(connection)
        self._sql_charged = 0
        self._redis: Counter[str] = Counter()
        self._stage = ""

    @contextmanager
    def open(self, patch: pytest.MonkeyPatch) -> Iterator["Till"]:
        """Count inside the block."""
        send = requests.adapters.HTTPAdapter.send

        def counted(adapter: Any, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
            self._docker.append(name_of_request(request))
            return send(adapter, request, *args, **kwargs)

        with patch.context() as patched, self._sql:
            patched.setattr(requests.adapters.HTTPAdapter, "send", counted)
            yield self

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Charge what the block does to this stage; one inside another pays for itself."""
        around = self._stage
        self._charge()
        self._stage = name
        try:
            yield
        finally:
            self._charge()
            self._stage = around

    def _charge(self) -> None:
        statements = self._sql.captured_queries[self._sql_charged :]
        commands, before = _commands(self._server), self._redis
        cost = Cost(
            docker=tuple(self._docker),
            sql=tuple(name_of_sql(one["sql"]) for one in statements),
            redis=dict(commands - before),
        )
        self._docker.clear()
        self._sql_charged += len(statements)
        self._redis = commands
        if self._stage and cost != Cost():
            self.costs[self._stage] = self.costs.get(self._stage, Cost()) + cost


class WorkerInStage(CeleryNotifier):
    """Notifications are sent as usual and followed at once by this thread, each in its stage of the open counter."""

    till: ClassVar[Till]

    def send(self, operations: Sequence[tuple[int, OperationKind]]) -> None:
        with self.till.stage("hint"):
            super().send(operations)
        for operation_id, _kind in operations:
            with self.till.stage("worker"):
                runner.run(operation_id)

    def complete_no_ops(self, game_ids: Sequence[str]) -> None:
        with self.till.stage("hint"):
            super().complete_no_ops(game_ids)
        with self.till.stage("worker"):
            no_ops.complete_waiting(game_ids)


@dataclass
class Service:
    """The whole service, moved by hand: one pass of the bridge, with the worker's run in it, and one of the relay."""

    bridge: JobBridge
    relay: Relay
    server: Redis
    playground: Playground
    image_ref: str
    patch: pytest.MonkeyPatch
    streams: Mapping[OperationKind, str]
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @contextmanager
    def counting(self) -> Iterator[Till]:
        """Count what is done in the block, by stages."""
        with Till(self.server).open(self.patch) as till:
            WorkerInStage.till = till
            yield till

    def new_game(self) -> str:
        return self.playground.game_id(f"costs-{next(self._numbers)}")

    def running_game(self) -> str:
        """One that was started, in passes that are not counted."""
        game_id = self.new_game()
        self.do(OperationKind.START, game_id)
        return game_id

    def do(self, op_kind: OperationKind, game_id: str, *, times: int = 1) -> dict[str, Cost]:
        """Have a job from the stream done, once or many times in one pass; returns what each stage has cost."""
        fields = {"image_ref": self.image_ref} if op_kind == OperationKind.START else {"reason": "cancelled"}
        job: Any = {"game_id": game_id, "requested_at_ms": "1700000000000", **fields}
        for _number in range(times):
            self.server.xadd(self.streams[op_kind], job)
        with self.counting() as till:
            with till.stage("bridge"):
                self.bridge.step()
            self._publish(till)
        return till.costs

    def serve(self, call: Callable[[], Any]) -> dict[str, Cost]:
        """Have a REST call answered; returns what each stage has cost."""
        with self.counting() as till:
            with till.stage("call"):
                response = call()
            assert response.status_code == requests.codes.ok, response.content
            self._publish(till)
        return till.costs

    def measure(self, action: Callable[[], object]) -> dict[str, Cost]:
        """What one pass of a loop or a periodic task costs."""
        with self.counting() as till, till.stage("pass"):
            action()
        return till.costs

    def _publish(self, till: Till) -> None:
        if OutboxEvent.objects.filter(published_at=None).exists():
            with till.stage("relay"):
                self.relay.step()


def what_changed(seen: Costs, wanted: Costs) -> str:
    """The calls that came (+) and went (-), each with its job, its stage and its neighbours."""
    changes = list(unified_diff(_lines(wanted), _lines(seen), n=1, lineterm=""))[2:]
    return "\n".join(["other calls than in the table:", *(one for one in changes if not one.startswith("@@"))])


def _lines(costs: Costs) -> list[str]:
    return [
        f"{job}, {stage}: {asked}"
        for job, stages in costs.items()
        for stage, cost in sorted(stages.items())
        for asked in (*cost.docker, *cost.sql, *(f"{number} x {name}" for name, number in sorted(cost.redis.items())))
    ]


def name_of_request(request: requests.PreparedRequest) -> str:
    """``POST /containers/{id}/start``: what is asked of Docker, whichever container it is asked of."""
    path = unquote(request.path_url.partition("?")[0])
    for pattern, replacement in _PARTS:
        path = re.sub(pattern, replacement, path)
    return f"{request.method} {path}"


def name_of_sql(text: str) -> str:
    """``UPDATE operation: sweep``: verb and table, and of the many updates of operations what each is for; of what was
    prepared, its name.
    """
    sql = " ".join(text.split())
    if found := _PREPARED.match(sql):
        return found[0]
    if found := _WRITTEN.search(sql):
        name = f"{found[1].split()[0]} {found[2]}"
        return f"{name}: {_purpose(sql)}" if name == "UPDATE operation" else name
    if found := _READ.search(sql):
        return f"SELECT {found[2]}"
    # Who holds a lock or asks for a time says so by a function.
    return _NUMBERED.sub(r"\1", sql.partition("(")[0])


def _purpose(sql: str) -> str:
    found = (purpose for pattern, purpose in _PURPOSES if re.match(pattern, sql))
    return next(found, "") or name_of_statement(sql, ())


def _commands(server: Redis) -> Counter[str]:
    """How often each command was called since the server is up, but for the question itself."""
    stats: Any = server.info("commandstats")
    names = {name: name.removeprefix("cmdstat_").replace("|", " ").upper() for name in stats}
    return Counter({names[name]: one["calls"] for name, one in stats.items() if names[name] != "INFO"})
