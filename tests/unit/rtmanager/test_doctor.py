"""The doctor's checks on constructed facts: each problem is reported with its fix."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from operations.monitoring.component_status import OK, STARTING, ComponentState, ComponentStatus
from operations.monitoring.heartbeats import HeartbeatName, Process
from rtmanager import __version__
from rtmanager.config import Config
from rtmanager.doctor.checks import Check, Status
from rtmanager.doctor.collect import inspect_state_root
from rtmanager.doctor.facts import Containers, Database, Facts, StateRoot
from rtmanager.doctor.run_checks import evaluate, is_healthy
from runtimes.containers.types import DockerInfo, docker_info_from_json
from tasks.loops.leader_election import Holder
from tasks.streams.base import StreamServer

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
GIB = 1 << 30
FAILED = ComponentStatus(ComponentState.FAILED, "not for 90 s: …")
UNKNOWN = ComponentStatus(ComponentState.UNKNOWN, "no answer")

HEALTHY = Facts(
    # Constructed, so that the environment of the tests has no effect.
    config=Config.model_construct(
        secret_key=SecretStr("k" * 50), allowed_hosts="rtm.example", allowed_registries=("registry.example",)
    ),
    state_root=StateRoot(exists=True, is_directory=True, is_writable=True, mode=0o750, free=50 * GIB, total=100 * GIB),
    database=Database(160004, "UTF8", is_replica=False, connections=20, tokens=2, has_superuser=True),
    redis=StreamServer("Redis", "7.2.4", "master", True, 0, "noeviction", NOW),  # noqa: FBT003 - as the server reports it
    engine=DockerInfo(
        "27.1.0", "1.46", live_restore=True, limits={"memory": True, "processes": True}, log_drivers=("local", "syslog")
    ),
    containers=Containers(owned=3, unknown=[], network_exists=True),
    processes=[Process("worker", "host:7", __version__, "default")],
    components={HeartbeatName.CANARY: OK, HeartbeatName.BRIDGE: OK, "outbox": OK},
    clock_skew={"postgresql": timedelta(seconds=0.01), "docker": timedelta(seconds=-0.2)},
)


def check_named(facts: Facts, name: str) -> Check:
    (check,) = [check for check in evaluate(facts) if check.name == name]
    return check


def other(part: str, **changes: Any) -> Facts:
    """A healthy installation with these changes."""
    return replace(HEALTHY, **{part: replace(getattr(HEALTHY, part), **changes)})


@pytest.mark.parametrize(
    ("changes", "name", "advice"),
    [
        ({"is_read_only": True}, "postgresql", "default_transaction_read_only"),
        ({"shares_sessions": True}, "sessions", "pool_mode=session"),
    ],
)
def test_a_database_that_works_only_in_part_is_reported_with_the_fix(
    changes: dict[str, Any], name: str, advice: str
) -> None:
    check = check_named(other("database", **changes), name)

    assert check.status == Status.FAILED
    assert advice in check.advice


def configured(**changes: Any) -> Facts:
    return replace(HEALTHY, config=HEALTHY.config.model_copy(update=changes))


def test_a_healthy_installation_needs_no_action() -> None:
    checks = evaluate(HEALTHY)

    assert [check for check in checks if check.status != Status.OK or check.advice] == []
    assert is_healthy(checks)


def test_check_names_are_unique() -> None:
    names = [check.name for check in evaluate(HEALTHY)]

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
        (other("database", waiting_dead_letters=2), "dead letters", "warning", "rtm dead-letters list"),
        (other("redis", version="6.0.16"), "redis", "failed", "6.2 or newer"),
        (other("redis", role="slave"), "redis", "failed", "master"),
        (other("redis", appends_to_file=False), "redis persistence", "warning", "appendonly yes"),
        (other("redis", max_memory_bytes=GIB, eviction="allkeys-lru"), "redis memory", "failed", "noeviction"),
        (other("redis", streams_without_group=["runtime:stop_jobs"]), "consumer groups", "warning", "bridge_jobs"),
        (other("engine", api_version="1.40"), "docker", "failed", "20.10 or newer"),
        (other("engine", os_type="windows"), "docker", "failed", "Linux"),
        (other("engine", product="Podman"), "docker", "warning", "docs/engines.md"),
        (other("engine", limits={"memory": True, "swap": False}), "docker limits", "warning", "cgroup"),
        (other("engine", live_restore=False), "live restore", "warning", "daemon.json"),
        (other("engine", log_drivers=("syslog",)), "log driver", "failed", "RTMANAGER_CONTAINER_LOG_DRIVER"),
        (other("containers", network_exists=False), "game network", "failed", "docker network create"),
        (other("containers", unknown=["galaxy-game-x"]), "stack", "warning", "RTMANAGER_STACK=default"),
        (replace(HEALTHY, clock_skew={"redis": timedelta(seconds=-9)}), "clocks", "warning", "NTP"),
        (configured(secret_key=SecretStr("")), "secret key", "warning", "RTMANAGER_SECRET_KEY"),
        (configured(api_auth="network"), "api access", "warning", "RTMANAGER_API_AUTH=token"),
        (configured(allowed_hosts="*"), "allowed hosts", "warning", "RTMANAGER_ALLOWED_HOSTS"),
        (configured(game_lease_ttl_seconds=5.0), "lease", "warning", "RTMANAGER_GAME_LEASE_TTL_SECONDS"),
        (configured(container_stop_timeout_seconds=300), "stop timeout", "warning", "RTMANAGER_SHUTDOWN_TIMEOUT"),
        (configured(job_deadline=timedelta(seconds=20)), "job deadline", "failed", "RTMANAGER_JOB_DEADLINE"),
        (configured(probe_timeout=timedelta(minutes=1)), "probes", "warning", "RTMANAGER_PROBE_TIMEOUT"),
        (configured(image_pull_policy="always"), "images", "warning", "if_missing"),
        (configured(allowed_registries=()), "registries", "warning", "RTMANAGER_ALLOWED_REGISTRIES"),
        (replace(HEALTHY, state_root=StateRoot(exists=False)), "state root", "warning", "only workers"),
        (replace(HEALTHY, state_root=StateRoot(exists=True)), "state root", "failed", "RTMANAGER_GAME_STATE_ROOT"),
        (other("state_root", is_writable=False), "state root", "failed", "read-write"),
        (other("state_root", mode=0o777), "state root", "warning", "chmod o-w"),
        (other("state_root", free=GIB // 2), "free space", "warning", "Free some space"),
        (replace(HEALTHY, processes=[]), "workers", "failed", "celery -A rtmanager worker"),
        (other("database", newer_migrations=["operations.0099_next"]), "migrations", "warning", "newer version"),
        (replace(HEALTHY, processes=None), "workers", "warning", "PostgreSQL first"),
        (replace(HEALTHY, unreachable={"broker": "refused"}), "broker", "failed", "RTMANAGER_CELERY_BROKER_URL"),
        (other("redis", refusal_of_writes="OOM command not allowed"), "redis", "failed", "maxmemory"),
        (replace(HEALTHY, components={"canary": FAILED}), "scheduler and worker", "failed", "Start a worker"),
        (replace(HEALTHY, components={"relay": FAILED}), "leader of relay", "failed", "relay_events"),
        (replace(HEALTHY, components={"bridge": STARTING}), "leader of bridge", "warning", "in a minute"),
        (replace(HEALTHY, components={"outbox": UNKNOWN}), "outbox", "warning", "that server"),
    ],
)  # fmt: skip
def test_each_problem_is_reported_with_its_fix(facts: Facts, name: str, status: str, advice: str) -> None:
    check = check_named(facts, name)

    assert check.status == status
    assert advice in check.advice
    assert is_healthy(evaluate(facts)) == (status != "failed")


@pytest.mark.parametrize(("part", "name"), [("database", "postgresql"), ("redis", "redis"), ("engine", "docker")])
def test_an_unreachable_server_fails_with_its_reason_and_gets_no_other_check(part: str, name: str) -> None:
    facts = replace(HEALTHY, **{part: None}, unreachable={name: "connection refused"})  # type: ignore[arg-type]

    check = check_named(facts, name)

    assert (check.status, check.found) == (Status.FAILED, "connection refused")
    assert len(evaluate(facts)) < len(evaluate(HEALTHY))


@pytest.mark.parametrize(
    ("holder", "found"),
    [
        (
            Holder(71, "rtm-bridge@web1:12", "10.0.0.3", NOW),
            "held by rtm-bridge@web1:12 at 10.0.0.3, PostgreSQL session 71, connected since 2026-11-21 08:30:00 UTC",
        ),
        (
            Holder(71, "", "", None),
            "held by an unnamed program, PostgreSQL session 71, connected since a time that is not visible",
        ),
    ],
)
@pytest.mark.parametrize("component", [OK, STARTING, FAILED])
def test_the_holder_of_a_leadership_is_shown_in_every_state(
    holder: Holder, found: str, component: ComponentStatus
) -> None:
    facts = replace(other("database", leaders={"bridge": holder}), components={"bridge": component})

    assert check_named(facts, "leader of bridge").found.endswith(f"; {found}")


def test_a_leadership_without_a_holder_is_reported() -> None:
    facts = replace(HEALTHY, components={"relay": FAILED})

    assert check_named(facts, "leader of relay").found == "not for 90 s: …; no session holds the lock"


def test_the_state_root_is_inspected(tmp_path: Any) -> None:
    (tmp_path / "root").mkdir(mode=0o750)
    (tmp_path / "file").touch()

    roots = [inspect_state_root(str(tmp_path / name)) for name in ("root", "file", "missing")]

    assert [(root.exists, root.is_directory) for root in roots] == [(True, True), (True, False), (False, False)]
    assert (roots[0].mode, roots[0].is_writable) == (0o750, True)
    assert 0 < roots[0].free <= roots[0].total


def test_docker_info_is_parsed() -> None:
    info = {
        "ServerVersion": "20.10.24",
        "MemoryLimit": True,
        "PidsLimit": False,
        "SystemTime": "2026-11-21T08:30:00.123456789Z",
    }

    engine = docker_info_from_json(info, {"ApiVersion": "1.41", "Components": [{"Name": "Engine"}, {"Name": "runc"}]})

    assert (engine.version, engine.os_type, engine.live_restore) == ("20.10.24", "linux", False)
    assert (engine.product, engine.api_version, engine.log_drivers) == ("Docker", "1.41", ())
    assert (engine.limits["memory"], engine.limits["processes"]) == (True, False)
    assert engine.now == NOW + timedelta(microseconds=123456)


class TestTwoInstallations:
    """What two installations may share by mistake is reported with both sides."""

    def test_job_streams_of_another_database_are_reported(self) -> None:
        facts = other("redis", owners={"runtime:start_jobs": "database other"})
        facts = replace(facts, database=replace(HEALTHY.database, identity="database ours"))  # type: ignore[type-var]

        check = check_named(facts, "job streams")

        assert check.status == Status.FAILED
        assert check.found == "runtime:start_jobs belongs to database other; this is database ours"
        assert "RTMANAGER_START_JOBS_STREAM" in check.advice

    def test_own_job_streams_are_no_problem(self) -> None:
        facts = other("redis", owners={"runtime:start_jobs": "database ours"})
        facts = replace(facts, database=replace(HEALTHY.database, identity="database ours"))  # type: ignore[type-var]

        assert check_named(facts, "job streams").status == Status.OK

    def test_processes_of_another_stack_on_this_database_are_reported(self) -> None:
        facts = replace(HEALTHY, processes=[Process("worker", "host:7", __version__, "staging")])

        check = check_named(facts, "stack of the processes")

        assert check.status == Status.FAILED
        assert check.found == "RTMANAGER_STACK is default here, but worker (host:7) has staging"
        assert "its own database" in check.advice


@pytest.mark.parametrize(("version", "shown"), [("0.3.0", "0.3.0"), ("", "0.1.0")])
def test_processes_of_another_version_are_reported(version: str, shown: str) -> None:
    facts = replace(HEALTHY, processes=[*(HEALTHY.processes or ()), Process("relay", "host:8", version, "default")])

    check = check_named(facts, "versions")

    assert check.status == Status.WARNING
    assert check.found == f"this is {__version__}, but relay (host:8) has version {shown}"


def test_podman_is_recognised_by_its_components() -> None:
    info = {"ServerVersion": "5.8.6", "Plugins": {"Log": ["k8s-file", "journald"]}}

    engine = docker_info_from_json(info, {"ApiVersion": "1.44", "Components": [{"Name": "Podman Engine"}]})

    assert (engine.product, engine.log_drivers) == ("Podman", ("k8s-file", "journald"))


@pytest.mark.parametrize(
    ("wanted", "known", "status", "found"),
    [
        ("auto", ("syslog", "local"), "ok", "local, chosen from syslog, local"),
        ("auto", ("journald", "k8s-file"), "ok", "k8s-file, chosen from journald, k8s-file"),
        ("auto", (), "ok", "local, the engine reports none"),
        ("json-file", ("json-file", "local"), "ok", "json-file"),
        ("json-file", ("k8s-file",), "failed", "json-file, but the engine has k8s-file"),
    ],
)
def test_the_log_driver_in_use_is_reported(wanted: str, known: tuple[str, ...], status: str, found: str) -> None:
    facts = replace(other("engine", log_drivers=known), config=configured(container_log_driver=wanted).config)

    check = check_named(facts, "log driver")

    assert (check.status, check.found) == (status, found)
