"""The doctor's verdicts on facts made up for it: each thing that can be wrong is told, with what mends it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from operations.pulses import PulseName
from rtmanager.config import Config
from rtmanager.doctor.checks import Check, Status
from rtmanager.doctor.examination import is_healthy, judge
from rtmanager.doctor.facts import Containers, Database, Facts, StateRoot
from rtmanager.doctor.gathering import look_at_state_root
from runtimes.containers.engine import Engine, engine_from_info
from tasks.streams.base import StreamServer

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
GIB = 1 << 30

WELL = Facts(
    # Constructed, not read: whatever the environment of the tests says is no part of it.
    config=Config.model_construct(secret_key=SecretStr("k" * 50), allowed_hosts="rtm.example"),
    state_root=StateRoot(exists=True, is_directory=True, is_writable=True, mode=0o750, free=50 * GIB, total=100 * GIB),
    database=Database(160004, "UTF8", is_replica=False, connections=20, tokens=2, has_superuser=True),
    redis=StreamServer("Redis", "7.2.4", "master", True, 0, "noeviction", NOW),  # noqa: FBT003 - as the server tells it
    engine=Engine("27.1.0", "1.46", live_restore=True, limits={"memory": True, "processes": True}),
    containers=Containers(owned=3, unknown=[], network_exists=True),
    workers=["worker1@host"],
    vitals={PulseName.CANARY: "ok", PulseName.BRIDGE: "ok", "outbox": "ok"},
    clock_skew={"postgresql": timedelta(seconds=0.01), "docker": timedelta(seconds=-0.2)},
)


def verdict(facts: Facts, name: str) -> Check:
    (found,) = [check for check in judge(facts) if check.name == name]
    return found


def other(part: str, **changes: Any) -> Facts:
    """The installation that is well, but for this."""
    return replace(WELL, **{part: replace(getattr(WELL, part), **changes)})


def configured(**changes: Any) -> Facts:
    return replace(WELL, config=WELL.config.model_copy(update=changes))


def test_of_an_installation_that_is_well_nothing_is_to_be_done() -> None:
    checks = judge(WELL)

    assert [check for check in checks if check.status != Status.OK or check.advice] == []
    assert is_healthy(checks)


def test_each_check_has_a_name_of_its_own() -> None:
    names = [check.name for check in judge(WELL)]

    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("facts", "name", "status", "advice"),
    [
        (other("database", version=130011), "postgresql", "failed", "14 or newer"),
        (other("database", is_replica=True), "postgresql", "failed", "primary"),
        (other("database", encoding="LATIN1"), "postgresql", "failed", "UTF8"),
        (other("database", unapplied_migrations=["operations.0002"]), "migrations", "failed", "manage.py migrate"),
        (other("database", connections=95), "connections", "warning", "max_connections"),
        (other("database", tokens=0), "api access", "warning", "api_token create"),
        (other("database", has_superuser=False), "administrator", "warning", "createsuperuser"),
        (other("database", failed_pulls=3), "images", "warning", "docker pull"),
        (other("database", waiting_letters=2), "dead letters", "warning", "rtm dead-letters list"),
        (other("redis", version="6.0.16"), "redis", "failed", "6.2 or newer"),
        (other("redis", role="slave"), "redis", "failed", "master"),
        (other("redis", appends_to_file=False), "redis persistence", "warning", "appendonly yes"),
        (other("redis", max_memory_bytes=GIB, eviction="allkeys-lru"), "redis memory", "failed", "noeviction"),
        (other("redis", streams_without_group=["runtime:stop_jobs"]), "consumer groups", "warning", "bridge_jobs"),
        (other("engine", api_version="1.40"), "docker", "failed", "20.10 or newer"),
        (other("engine", os_type="windows"), "docker", "failed", "Linux"),
        (other("engine", limits={"memory": True, "swap": False}), "docker limits", "warning", "cgroup"),
        (other("engine", live_restore=False), "live restore", "warning", "daemon.json"),
        (other("containers", network_exists=False), "game network", "failed", "docker network create"),
        (other("containers", unknown=["galaxy-game-x"]), "stack", "warning", "RTMANAGER_STACK=default"),
        (replace(WELL, clock_skew={"redis": timedelta(seconds=-9)}), "clocks", "warning", "NTP"),
        (configured(secret_key=SecretStr("")), "secret key", "warning", "RTMANAGER_SECRET_KEY"),
        (configured(api_auth="network"), "api access", "warning", "RTMANAGER_API_AUTH=token"),
        (configured(allowed_hosts="*"), "allowed hosts", "warning", "RTMANAGER_ALLOWED_HOSTS"),
        (configured(game_lease_ttl_seconds=5.0), "lease", "warning", "RTMANAGER_GAME_LEASE_TTL_SECONDS"),
        (configured(container_stop_timeout_seconds=300), "stop time-out", "warning", "RTMANAGER_SHUTDOWN_TIMEOUT"),
        (configured(job_deadline=timedelta(seconds=20)), "job deadline", "failed", "RTMANAGER_JOB_DEADLINE"),
        (configured(probe_timeout=timedelta(minutes=1)), "probes", "warning", "RTMANAGER_PROBE_TIMEOUT"),
        (configured(image_pull_policy="always"), "images", "warning", "if_missing"),
        (replace(WELL, state_root=StateRoot(exists=False)), "state root", "warning", "only workers"),
        (replace(WELL, state_root=StateRoot(exists=True)), "state root", "failed", "RTMANAGER_GAME_STATE_ROOT"),
        (other("state_root", is_writable=False), "state root", "failed", "read-write"),
        (other("state_root", mode=0o777), "state root", "warning", "chmod o-w"),
        (other("state_root", free=GIB // 2), "free space", "warning", "Make room"),
        (replace(WELL, workers=[]), "workers", "failed", "celery -A rtmanager worker"),
        (replace(WELL, workers=None), "workers", "warning", "RTMANAGER_CELERY_BROKER_URL"),
        (replace(WELL, vitals={"canary": "never: no message"}), "clock and worker", "failed", "Start a worker"),
        (replace(WELL, vitals={"relay": "not for 90 s: …"}), "leader of relay", "failed", "relay_events"),
        (replace(WELL, vitals={"bridge": "starting"}), "leader of bridge", "warning", "in a minute"),
        (replace(WELL, vitals={"outbox": "unknown: PostgreSQL does not answer"}), "outbox", "warning", "that server"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_what_mends_it(facts: Facts, name: str, status: str, advice: str) -> None:
    check = verdict(facts, name)

    assert check.status == status
    assert advice in check.advice
    assert is_healthy(judge(facts)) == (status != "failed")


@pytest.mark.parametrize(("part", "name"), [("database", "postgresql"), ("redis", "redis"), ("engine", "docker")])
def test_a_silent_server_fails_with_its_reason_and_is_judged_no_further(part: str, name: str) -> None:
    facts = replace(WELL, **{part: None}, silences={name: "connection refused"})  # type: ignore[arg-type]

    check = verdict(facts, name)

    assert (check.status, check.found) == (Status.FAILED, "connection refused")
    assert len(judge(facts)) < len(judge(WELL))


def test_the_state_root_is_seen_as_it_is(tmp_path: Any) -> None:
    (tmp_path / "root").mkdir(mode=0o750)
    (tmp_path / "file").touch()

    seen = [look_at_state_root(str(tmp_path / name)) for name in ("root", "file", "missing")]

    assert [(one.exists, one.is_directory) for one in seen] == [(True, True), (True, False), (False, False)]
    assert (seen[0].mode, seen[0].is_writable) == (0o750, True)
    assert 0 < seen[0].free <= seen[0].total


def test_an_engine_is_read_off_its_own_words() -> None:
    info = {
        "ServerVersion": "20.10.24",
        "MemoryLimit": True,
        "PidsLimit": False,
        "SystemTime": "2026-11-21T08:30:00.123456789Z",
    }

    engine = engine_from_info(info, api_version="1.41")

    assert (engine.version, engine.os_type, engine.live_restore) == ("20.10.24", "linux", False)
    assert (engine.limits["memory"], engine.limits["processes"]) == (True, False)
    assert engine.now == NOW + timedelta(microseconds=123456)
