"""The facts about one game for each cause."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from operations.explain.facts import DockerState, ExplainSettings, Facts, StateDirectory
from operations.models import DeadLetter, ExitReport, Operation
from runtimes.container_spec import LABEL_GAME_ID, LABEL_OWNER, LABEL_STACK, OWNER
from runtimes.containers.base import Container, ContainerState
from runtimes.containers.configuration import ConfigurationDifference, ConfigurationKind
from runtimes.models import HealthSnapshot, Runtime

NOW = datetime(2026, 11, 21, 3, 12, 9, tzinfo=UTC)
GAME = "g-42"
IMAGE = "registry.example/engine:1.4.2"
OTHER_IMAGE = "registry.example/engine:1.4.3"
CONTAINER_ID = "3f4e0d7a9c1b" + "5e" * 26
OTHER_ID = "77aa11bb22cc" + "0f" * 26
NETWORK = "galaxy-net"
CONFIG = ExplainSettings(
    stack="default",
    docker_network=NETWORK,
    docker_host="unix:///var/run/docker.sock",
    docker_gateway_dir="/run/rtmanager/docker",
    image_pull_policy="if_missing",
    game_state_root="/var/lib/rtmanager/games",
    engine_state_mount_path="/var/lib/galaxy-game",
    game_state_owner_uid=0,
    game_state_owner_gid=0,
    game_state_dir_mode=0o750,
    container_user="",
    container_read_only=True,
    reconcile_interval=timedelta(minutes=5),
    inspect_interval=timedelta(seconds=30),
    probe_interval=timedelta(seconds=15),
    probe_failures_threshold=3,
    retention=timedelta(days=30),
    cleanup_interval=timedelta(hours=1),
    lease_ttl=timedelta(seconds=60),
    silence_limit=timedelta(seconds=60),
)


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def record(status: str = "running", **fields: Any) -> Runtime:
    defaults = {
        "game_id": GAME,
        "status": status,
        "current_container_id": None if status == "removed" else CONTAINER_ID,
        "current_image_ref": IMAGE,
        "engine_endpoint": f"http://galaxy-game-{GAME}:8080",
        "state_path": f"/var/lib/rtmanager/games/{GAME}",
        "docker_network": NETWORK,
        "started_at": ago(hours=3),
        "stopped_at": ago(hours=1) if status == "stopped" else None,
        "removed_at": ago(hours=1) if status == "removed" else None,
        "last_op_at": ago(hours=1),
        "created_at": ago(hours=3),
    }
    return Runtime(**{**defaults, **fields})


def operation(op_kind: str = "start", number: int = 7, **fields: Any) -> Operation:
    defaults = {
        "id": number,
        "game_id": GAME,
        "op_kind": op_kind,
        "op_source": "lobby_stream",
        "source_ref": "1800000000000-0",
        "image_ref": IMAGE,
        "state": "finished",
        "outcome": "success",
        "steps": [],
        "accepted_at": ago(hours=3),
        "started_at": ago(hours=3),
        "finished_at": ago(hours=3),
    }
    return Operation(**{**defaults, **fields})


def failed(code: str, message: str, *, step: str = "", op_kind: str = "start", **fields: Any) -> Operation:
    steps = [{"name": step, "started_at": "2026-11-21T03:00:00Z", "duration_ms": 9, "error": message}] if step else []
    done = {"outcome": "failure", "error_code": code, "error_message": message, "steps": steps}
    return operation(op_kind, 9, **{**done, "accepted_at": ago(minutes=12), "finished_at": ago(minutes=12), **fields})


def waiting(op_kind: str = "stop", number: int = 9, **fields: Any) -> Operation:
    at = {"accepted_at": ago(seconds=2), "started_at": None, "finished_at": None}
    return operation(op_kind, number, **{**at, "state": "accepted", "outcome": None, **fields})


def running(op_kind: str = "stop", *, lease_ends_in: float = 55, **fields: Any) -> Operation:
    held = {
        "state": "running",
        "started_at": ago(seconds=12),
        "accepted_at": ago(seconds=12),
        "lease_until": NOW + timedelta(seconds=lease_ends_in),
        "claimed_by": "host-1:4711",
        "attempt": 1,
    }
    return waiting(op_kind, **{**held, **fields})


def container(state: ContainerState = ContainerState.RUNNING, **fields: Any) -> Container:
    labels = {LABEL_OWNER: OWNER, LABEL_STACK: "default", LABEL_GAME_ID: GAME}
    defaults = {
        "id": CONTAINER_ID,
        "name": f"galaxy-game-{GAME}",
        "image_ref": IMAGE,
        "labels": labels,
        "started_at": ago(hours=3),
        "addresses": {NETWORK: "172.20.0.5"} if state == ContainerState.RUNNING else {},
    }
    return Container(state=state, **{**defaults, **fields})


def ended(exit_code: int, *, oom_killed: bool = False) -> Container:
    return container(ContainerState.EXITED, exit_code=exit_code, oom_killed=oom_killed, finished_at=ago(minutes=4))


def snapshot(event_type: str = "container_started", **fields: Any) -> HealthSnapshot:
    seen = {"container_id": CONTAINER_ID, "occurred_at": ago(minutes=4), "observed_at": ago(minutes=4)}
    return HealthSnapshot(runtime_id=GAME, event_type=event_type, **{**seen, **fields})


def docker_state_of(own: Container | None, **fields: Any) -> DockerState:
    return DockerState(is_known=True, own=own, **fields)


HEARTBEATS = {
    "canary": ago(seconds=9),
    "full_reconcile": ago(minutes=3),
    "bridge": ago(seconds=2),
    "sweeper": ago(seconds=2),
}
DOCKER_DOWN = DockerState(is_known=False, reason="no answer within 2 s")
NO_CONTAINER = docker_state_of(None)
FOREIGN_CONTAINER = Container(OTHER_ID, f"galaxy-game-{GAME}", ContainerState.RUNNING, image_ref="nginx:1")
UP = Facts(
    game_id=GAME,
    config=CONFIG,
    docker_state=docker_state_of(container()),
    record=record(),
    last_operations=(operation(),),
    last_requested=operation(),
    last_change=operation(),
    desired_by=operation(),
    heartbeats=HEARTBEATS,
    running_operations=0,
)
STOPPED = replace(
    UP,
    docker_state=docker_state_of(ended(143)),
    record=record("stopped"),
    last_change=operation("stop", 8),
    last_requested=operation("stop", 8),
    desired_by=operation("stop", 8),
)
REMOVED = replace(
    UP,
    docker_state=NO_CONTAINER,
    record=record("removed"),
    last_change=operation("cleanup_container", 8),
    last_requested=operation("cleanup_container", 8),
    desired_by=operation("cleanup_container", 8, op_source="auto_ttl", source_ref="stopped for more than 30 days"),
)
UNKNOWN_GAME = Facts(game_id=GAME, config=CONFIG, docker_state=NO_CONTAINER, heartbeats=HEARTBEATS)


def with_open_operation(one: Operation, *, facts: Facts = UP, count: int = 1, **changes: Any) -> Facts:
    return replace(facts, open_operations=(one,), open_count=count, desired_by=one, **changes)


def after_failure(one: Operation, facts: Facts = UNKNOWN_GAME, **changes: Any) -> Facts:
    return replace(facts, last_operations=(one,), last_requested=one, **changes)


PULL_STEP = {"name": "pull", "started_at": "2026-11-21T03:07:09Z", "duration_ms": None, "error": ""}
NOT_PULLED = f"image {OTHER_IMAGE} could not be pulled: manifest unknown"
NO_DIRECTORY = f"state directory /var/lib/rtmanager/games/{GAME} is not writable for this service (uid 0)"
DIED = "the engine died at once (exit code 3); run the image by hand to see why"
LOST = f"image {OTHER_IMAGE} did not come up ({DIED}); the old image {IMAGE} was put back, the game is running again"
DEAD_LETTER = DeadLetter(
    id=3, stream="runtime:start_jobs", entry_id="1-0", reason="image_ref is missing", received_at=ago(minutes=12)
)

# What was in force for a container whose image names the user 1000, and its state directory as the defaults make it.
IN_FORCE = {
    "user": "1000",
    "read_only": True,
    "cap_drop": ["ALL"],
    "mounts": [{"type": "bind", "source": "/s", "target": "/var/lib/galaxy-game", "read_only": False}],
}
OF_ROOT = StateDirectory(is_known=True, free_bytes=10**9, owner_uid=0, owner_gid=0, mode=0o750)
NO_PERMISSION = "open /var/lib/galaxy-game/world.db: permission denied"


def exit_report_with(*lines: str, **limits: Any) -> ExitReport:
    log = [{"at": None, "stream": "stderr", "line": line} for line in lines]
    return ExitReport(
        id=12, game_id=GAME, container_id=CONTAINER_ID, operation_id=9, log=log, limits={**IN_FORCE, **limits}
    )


EXIT_REPORT = ExitReport(id=12, game_id=GAME, container_id=CONTAINER_ID, operation_id=9)

ALWAYS_RESTARTED = ConfigurationDifference(ConfigurationKind.RESTART_POLICY, "restart_policy", "always", "no", "")
LESS_MEMORY = ConfigurationDifference(
    ConfigurationKind.LIMITS,
    "memory",
    "128 MiB",
    "512 MiB",
    "image label com.galaxy.memory, else RTMANAGER_DEFAULT_MEMORY",
)
SECOND_NETWORK = ConfigurationDifference(
    ConfigurationKind.NETWORKS, "networks", "bridge, galaxy-net", "galaxy-net", "RTMANAGER_DOCKER_NETWORK"
)
REFUSED_CLEANUP = failed("conflict", f"game {GAME} is running; stop it before", op_kind="cleanup_container")
REFUSED_PATCH = failed(
    "semver_patch_only",
    "engine:1.4.2 and engine:2.0.0 differ in more than the patch level",
    op_kind="patch",
    image_ref="registry.example/engine:2.0.0",
)

# Cause → what is known of a game to which just that has happened.
GAMES: Mapping[str, Facts] = {
    "database_unreachable": Facts(
        game_id=GAME,
        config=CONFIG,
        docker_state=docker_state_of(container()),
        database_reason="could not connect to server",
    ),
    "docker_unreachable": replace(UP, docker_state=DOCKER_DOWN),
    "docker_refuses": replace(
        UP, docker_state=replace(DOCKER_DOWN, reason="authorization denied by plugin", is_refused=True)
    ),
    "docker_not_observed": replace(
        UP, docker_state=replace(DOCKER_DOWN, reason="not observed: no worker answered within 2 s", is_asked=False)
    ),
    "redis_down": replace(UP, redis_reason="Redis does not answer (ping): connection refused"),
    "worker_down": with_open_operation(
        waiting(accepted_at=ago(minutes=2)), heartbeats={**HEARTBEATS, "canary": ago(minutes=2)}
    ),
    "workers_busy": with_open_operation(waiting(accepted_at=ago(minutes=2)), running_operations=16),
    "recovering": with_open_operation(running(lease_ends_in=20), running_operations=1),
    "backing_off": with_open_operation(
        waiting(
            accepted_at=ago(minutes=2),
            not_before=NOW + timedelta(seconds=21),
            retries=6,
            attempt=6,
            error_message="Docker was asked to inspect container galaxy-game-g-42: connection refused",
            steps=[{"name": "observe", "started_at": "2026-11-21T03:11:00Z", "duration_ms": 9, "error": "refused"}],
        )
    ),
    "pulling": with_open_operation(running("start", steps=[PULL_STEP]), facts=UNKNOWN_GAME, running_operations=1),
    "queued_behind": with_open_operation(running("stop"), count=3, running_operations=1),
    "starting": with_open_operation(running("start"), facts=UNKNOWN_GAME, running_operations=1),
    "stopping": with_open_operation(running("stop"), running_operations=1),
    "removing": with_open_operation(running("cleanup_container"), facts=STOPPED, running_operations=1),
    "repairing": with_open_operation(running("reconcile_exit"), running_operations=1),
    "foreign_container": after_failure(
        failed("container_start_failed", "the name galaxy-game-g-42 is held by a container that is not ours"),
        docker_state=docker_state_of(None, foreign=FOREIGN_CONTAINER),
    ),
    "stray_container": replace(REMOVED, docker_state=docker_state_of(container(id=OTHER_ID))),
    "drift_pending": replace(STOPPED, docker_state=docker_state_of(container())),
    "container_not_removable": replace(
        UP, docker_state=docker_state_of(container(ContainerState.DEAD, finished_at=ago(minutes=4)))
    ),
    "container_disappeared": replace(UP, docker_state=NO_CONTAINER),
    "network_missing": after_failure(
        failed("start_config_invalid", "the Docker network galaxy-net does not exist", step="validate"),
        docker_state=docker_state_of(None, network_exists=False),
    ),
    "state_directory_unusable": after_failure(
        failed("start_config_invalid", NO_DIRECTORY, step="prepare_state"),
        state_directory=StateDirectory(is_known=True, is_read_only=True, free_bytes=10**9),
    ),
    "image_missing": after_failure(
        failed("image_pull_failed", NOT_PULLED, step="pull", image_ref=OTHER_IMAGE),
        docker_state=docker_state_of(None, has_image=False),
    ),
    "permission_denied": after_failure(
        failed("container_start_failed", DIED, step="settle"),
        exit_report=exit_report_with("loading", NO_PERMISSION),
        state_directory=OF_ROOT,
    ),
    "read_only_filesystem": replace(
        UP,
        docker_state=docker_state_of(
            ended(1), limits=IN_FORCE, last_lines=("mkdir: can't create directory '/data': Read-only file system",)
        ),
    ),
    "crash_at_start": after_failure(
        failed("container_start_failed", DIED, step="settle", image_ref=OTHER_IMAGE), STOPPED, exit_report=EXIT_REPORT
    ),
    "start_failed": after_failure(failed("container_start_failed", "exec format error", step="start")),
    "out_of_memory": replace(
        UP,
        docker_state=docker_state_of(ended(137, oom_killed=True), limits={"memory_bytes": 512 * 1024**2}),
        exit_report=EXIT_REPORT,
    ),
    "database_restored": replace(
        UP,
        docker_state=docker_state_of(ended(0)),
        record=record("stopped"),
        last_change=operation("reconcile_exit", 8, arguments={"restored_at": ago(minutes=3).isoformat()}),
    ),
    "docker_restarted": replace(
        UP,
        docker_state=docker_state_of(ended(143)),
        record=record("stopped", ended_by="docker_restarted"),
        last_change=operation("reconcile_exit", 8),
    ),
    "killed_outside": replace(UP, docker_state=docker_state_of(ended(137))),
    "exited_by_itself": replace(
        UP,
        docker_state=docker_state_of(ended(1)),
        record=record("stopped"),
        last_change=operation("reconcile_exit", 8),
        exit_report=EXIT_REPORT,
    ),
    "wrong_network": replace(UP, docker_state=docker_state_of(container(addresses={"bridge": "172.17.0.2"}))),
    "endpoint_dead": replace(UP, docker_state=docker_state_of(container(name="keep"))),
    "docker_unhealthy": replace(
        UP,
        docker_state=docker_state_of(container(health="unhealthy")),
        snapshot=snapshot("inspect_unhealthy", inspected_at=ago(minutes=4)),
    ),
    "probe_failing": replace(
        UP,
        snapshot=snapshot(
            "probe_failed", probe_failures=3, probe_last_error="connection refused", probed_at=ago(minutes=4)
        ),
    ),
    "patch_reverted": after_failure(
        failed("container_start_failed", LOST, op_kind="patch", image_ref=OTHER_IMAGE), UP, exit_report=EXIT_REPORT
    ),
    "operation_refused": after_failure(
        failed("conflict", "game G-42 has a container, and the ids differ in case only"), namesake="G-42"
    ),
    "configuration_drift": replace(
        UP, docker_state=docker_state_of(container(), configuration=(ALWAYS_RESTARTED, LESS_MEMORY))
    ),
    "healthy": UP,
    "prepared": replace(
        STOPPED,
        record=record("stopped", started_at=None, stopped_at=None),
        docker_state=docker_state_of(container(ContainerState.CREATED, started_at=None)),
        desired_by=operation(arguments={"no_start": True}),
        last_requested=operation(),
        last_change=operation(),
    ),
    "stopped_on_request": STOPPED,
    "removed": REMOVED,
    "never_started": UNKNOWN_GAME,
}
