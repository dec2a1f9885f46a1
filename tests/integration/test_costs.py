"""What each job asks of Docker, PostgreSQL and Redis, to the last call: no clock, so no machine is too slow for it.

A difference is not always a defect, but it must be intended; then it is written into cost_table.py, and
into docs/performance.md.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import pytest
from celery import Celery
from celery.app import app_or_default
from django.conf import settings as configured
from django.db import connection
from django.test import Client
from pytest_django import Settings
from redis import Redis

from deploy.local.workspace import CLONE
from operations.completion_notifier import completion_notifier
from operations.dispatch import CeleryNotifier
from operations.installation.state_root import RecordedRoot
from operations.messages import job_parsers
from operations.monitoring import heartbeats
from operations.reconcile import survey
from operations.states import OperationKind
from rtmanager.config import Config
from runtimes import api_tokens
from runtimes.containers import connect
from runtimes.models import ApiToken
from runtimes.storage.state_root import opened_root
from tasks.loops.base import Loop
from tasks.loops.bridge import JobBridge
from tasks.loops.leader_election import LeaderElection
from tasks.loops.relay import Relay, event_streams
from tasks.loops.sweeper import Sweeper
from tasks.streams.redis.events import RedisEventStreams
from tasks.streams.redis.jobs import RedisJobStreams
from tests.conftest import RtmSettings
from tests.integration.call_budget import TABLE
from tests.integration.cost_harness import WORKER_IN_STAGE, Cost, Costs, Service, what_changed
from tests.integration.rest_harness import RUNTIMES, call, start
from tests.servers.databases import RedisServer
from tests.servers.sandbox import Playground

# The rows of the documentation's table: job, Docker, SQL, Redis.
_ROW = re.compile(r"^\| ([^|]+) \| (\d+) \| (\d+) \| (\d+) \|", re.MULTILINE)


@pytest.fixture(autouse=True)
def _broker(settings: Settings, redis_url: str) -> Iterator[None]:
    """Celery sends its messages to the Redis of the tests."""
    del redis_url  # it is in the settings by now
    settings.CELERY_BROKER_URL = configured.RTMANAGER.broker_url
    before = app_or_default()
    with Celery("costs") as app:
        app.config_from_object("django.conf:settings", namespace="CELERY")
        yield
    before.set_current()


@pytest.fixture
def config(playground: Playground, docker_host: str, rtm_settings: RtmSettings, settings: Settings) -> Config:
    """The settings as they are shipped, but for where things are."""
    settings.RTM_NOTIFIER = WORKER_IN_STAGE
    return rtm_settings(
        docker_host=docker_host,
        stack=playground.stack,
        docker_network=playground.network,
        game_state_root=str(playground.state_root),
        # The engines of the tests do not end by themselves.
        container_stop_timeout_seconds=0,
    )


@pytest.fixture
def service(
    config: Config,
    playground: Playground,
    engine_image: str,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Service]:
    """Every connection is made, the leaders lead; no heartbeat is due, and no game exists."""
    monkeypatch.setattr(heartbeats, "_INTERVAL_SECONDS", float("inf"))
    with redis_server.client(0) as server, leading(playground.stack, server) as (bridge, relay):
        connect().ping()
        # A worker asks for it every ten minutes.
        connect().host_capacity()
        completion_notifier().ping()
        CeleryNotifier().send([(0, OperationKind.STOP)])
        # As after the first start in a process: the state root is on record, and the process knows it.
        with opened_root(config.game_state_root) as root_fd:
            RecordedRoot(config.game_state_root).check(root_fd)
        yield Service(
            bridge=bridge,
            relay=relay,
            server=server,
            playground=playground,
            image_ref=engine_image,
            patch=monkeypatch,
            streams={OperationKind.START: config.start_jobs_stream, OperationKind.STOP: config.stop_jobs_stream},
        )


@contextmanager
def leading(stack: str, server: Redis) -> Iterator[tuple[JobBridge, Relay]]:
    """Bridge and relay after their first passes, in which they become leaders and log it."""
    parsers = job_parsers()
    url = configured.RTMANAGER.streams_url
    bridge = JobBridge(
        RedisJobStreams(url, names=list(parsers)), parsers=parsers, leadership=LeaderElection(f"{stack}-bridge")
    )
    relay = Relay(RedisEventStreams(url), names=event_streams(), leadership=LeaderElection(f"{stack}-relay"))
    try:
        for _pass in range(2):
            # No job, but something to do: a pass that finds nothing would wait for a second.
            server.xadd(next(iter(parsers)), {"game_id": "no game"})
            bridge.step()
            relay.step()
        yield bridge, relay
    finally:
        # With it ends what leaders let the server do to a connection that is silent.
        connection.close()


@pytest.fixture
def bearer(service: Service) -> str:
    """A token in use; that it is in use is noted once a minute."""
    del service  # only for the order
    issued = api_tokens.issue(ApiToken(name="costs", caller="admin", scopes="read operate", created_by="test"))
    assert Client().get(RUNTIMES, headers={"Authorization": f"Bearer {issued.bearer}"}).status_code == 200
    return f"Bearer {issued.bearer}"


def of_table(costs: Costs) -> Costs:
    """What the table says of these jobs."""
    return {job: TABLE[job] for job in costs}


def start_another(service: Service) -> tuple[str, dict[str, Cost]]:
    """Start a game where a network was seen within the last ten seconds; returns it, and what that has cost."""
    connect().network_exists(service.playground.network)
    game_id = service.new_game()
    return game_id, service.do(OperationKind.START, game_id)


def test_jobs_from_the_streams_cost_what_the_table_says(service: Service) -> None:
    costs = {"first start on a network": service.do(OperationKind.START, service.new_game())}

    game_id, costs["start"] = start_another(service)
    costs["no-op start"] = service.do(OperationKind.START, game_id)
    costs["50 no-op starts"] = service.do(OperationKind.START, game_id, times=50)
    costs["stop"] = service.do(OperationKind.STOP, game_id)
    costs["no-op stop"] = service.do(OperationKind.STOP, game_id)

    assert costs == of_table(costs), what_changed(costs, of_table(costs))


def test_a_start_that_need_not_settle_is_not_waited_for(service: Service, rtm_settings: RtmSettings) -> None:
    rtm_settings(start_settle=timedelta(0))
    connect().ping()

    _game_id, cost = start_another(service)

    costs = {"start without settling": cost}
    assert costs == of_table(costs), what_changed(costs, of_table(costs))


def test_calls_cost_what_the_table_says(service: Service, client: Client, bearer: str) -> None:
    connect().network_exists(service.playground.network)
    game_id = service.new_game()
    ask = partial(call, client, game_id=game_id, Authorization=bearer)
    stop = partial(ask, "stop", body={"reason": "cancelled"})
    go = partial(start, client, game_id, image_ref=service.image_ref, Authorization=bearer)
    tidy = partial(client.delete, f"{RUNTIMES}/{game_id}/container", headers={"Authorization": bearer})

    costs = {
        "start by REST": service.serve(go),
        "no-op start by REST": service.serve(go),
        "restart by REST": service.serve(partial(ask, "restart")),
        "stop by REST": service.serve(stop),
        "no-op stop by REST": service.serve(stop),
        "cleanup by REST": service.serve(tidy),
    }

    assert costs == of_table(costs), what_changed(costs, of_table(costs))


def test_passes_that_find_nothing_cost_next_to_nothing(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "_INTERVAL_SECONDS", 0.0)
    stack = service.playground.stack
    with leading(f"{stack}-idle", service.server) as (bridge, relay):
        sweeper = Sweeper(leadership=LeaderElection(f"{stack}-sweeper"))
        sweeper.step()
        loops: dict[str, Loop] = {"bridge": bridge, "relay": relay, "sweep": sweeper}
        costs = {f"{name} with its heartbeat": service.measure(loop.step) for name, loop in loops.items()}
        monkeypatch.setattr(heartbeats, "_INTERVAL_SECONDS", float("inf"))
        for loop in loops.values():
            loop.step()
        costs |= {name: service.measure(loop.step) for name, loop in loops.items()}

    assert costs == of_table(costs), what_changed(costs, of_table(costs))


def test_a_reconcile_without_drift_costs_the_same_for_any_number_of_games(service: Service) -> None:
    service.running_game()
    one = service.measure(survey.reconcile_all)
    for _game in range(2):
        service.running_game()

    three = service.measure(survey.reconcile_all)

    for costs in ({"reconcile": one}, {"reconcile": three}):
        assert costs == of_table(costs), what_changed(costs, of_table(costs))


def test_the_documentation_says_the_same() -> None:
    page = (CLONE / "docs" / "performance.md").read_text(encoding="utf-8")
    documented = {row[0]: tuple(map(int, row[1:])) for row in _ROW.findall(page)}

    assert documented == {job: _totals(stages.values()) for job, stages in TABLE.items() if "pass" not in stages}


def _totals(costs: Iterable[Cost]) -> tuple[int, int, int]:
    whole = sum(costs, start=Cost())
    return len(whole.docker), len(whole.sql), sum(whole.redis.values())
