"""Games in every state that the explanation knows: what is known of each, by the name of what happened to it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from operations.diagnosis.facts import Facts, Rules, Sight, StateDirectory
from operations.models import BlackBox, DeadLetter, Operation
from runtimes.containers.base import Container, ContainerState
from runtimes.models import HealthSnapshot, Runtime
from runtimes.specs import LABEL_GAME_ID, LABEL_OWNER, LABEL_STACK, OWNER

NOW = datetime(2026, 11, 21, 3, 12, 9, tzinfo=UTC)
GAME = "g-42"
IMAGE = "registry.example/engine:1.4.2"
OTHER_IMAGE = "registry.example/engine:1.4.3"
CONTAINER_ID = "3f4e0d7a9c1b" + "5e" * 26
OTHER_ID = "77aa11bb22cc" + "0f" * 26
NETWORK = "galaxy-net"
RULES = Rules(
    stack="default",
    network=NETWORK,
    docker_host="unix:///var/run/docker.sock",
    pull_policy="if_missing",
    state_root="/var/lib/rtmanager/games",
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


def sees(own: Container | None, **fields: Any) -> Sight:
    return Sight(is_known=True, own=own, **fields)


PULSES = {"canary": ago(seconds=9), "relist": ago(minutes=3), "bridge": ago(seconds=2), "sweeper": ago(seconds=2)}
AWAY = Sight(is_known=False, reason="no answer within 2 s")
NOBODY = sees(None)
STRANGER = Container(OTHER_ID, f"galaxy-game-{GAME}", ContainerState.RUNNING, image_ref="nginx:1")
UP = Facts(
    game_id=GAME,
    rules=RULES,
    sight=sees(container()),
    record=record(),
    last_operations=(operation(),),
    last_asked=operation(),
    last_change=operation(),
    desired_by=operation(),
    pulses=PULSES,
    living_claims=0,
)
STOPPED = replace(
    UP,
    sight=sees(ended(143)),
    record=record("stopped"),
    last_change=operation("stop", 8),
    last_asked=operation("stop", 8),
    desired_by=operation("stop", 8),
)
REMOVED = replace(
    UP,
    sight=NOBODY,
    record=record("removed"),
    last_change=operation("cleanup_container", 8),
    last_asked=operation("cleanup_container", 8),
    desired_by=operation("cleanup_container", 8, op_source="auto_ttl", source_ref="stopped for more than 30 days"),
)
UNHEARD_OF = Facts(game_id=GAME, rules=RULES, sight=NOBODY, pulses=PULSES)


def at_work(one: Operation, *, facts: Facts = UP, count: int = 1, **changes: Any) -> Facts:
    return replace(facts, open_operations=(one,), open_count=count, desired_by=one, **changes)


def after_failure(one: Operation, facts: Facts = UNHEARD_OF, **changes: Any) -> Facts:
    return replace(facts, last_operations=(one,), last_asked=one, **changes)


PULL_STEP = {"name": "pull", "started_at": "2026-11-21T03:07:09Z", "duration_ms": None, "error": ""}
NOT_PULLED = f"image {OTHER_IMAGE} could not be pulled: manifest unknown"
NO_DIRECTORY = f"state directory /var/lib/rtmanager/games/{GAME} is not writable for this service (uid 0)"
DIED = "the engine died at once (exit code 3); run the image by hand to see why"
LOST = f"image {OTHER_IMAGE} did not come up ({DIED}); the old image {IMAGE} was put back, the game is running again"
LETTER = DeadLetter(
    id=3, stream="runtime:start_jobs", entry_id="1-0", reason="image_ref is missing", received_at=ago(minutes=12)
)

BOX = BlackBox(id=12, game_id=GAME, container_id=CONTAINER_ID, operation_id=9)

# Cause → what is known of a game to which just that has happened.
GAMES: Mapping[str, Facts] = {
    "database_unreachable": Facts(
        game_id=GAME, rules=RULES, sight=sees(container()), database_reason="could not connect to server"
    ),
    "docker_unreachable": replace(UP, sight=AWAY),
    "redis_down": replace(UP, redis_reason="Redis does not answer (ping): connection refused"),
    "worker_down": at_work(waiting(accepted_at=ago(minutes=2)), pulses={**PULSES, "canary": ago(minutes=2)}),
    "workers_busy": at_work(waiting(accepted_at=ago(minutes=2)), living_claims=16),
    "recovering": at_work(running(lease_ends_in=20), living_claims=1),
    "backing_off": at_work(
        waiting(
            accepted_at=ago(minutes=2),
            not_before=NOW + timedelta(seconds=21),
            deferrals=6,
            attempt=6,
            error_message="Docker was asked to inspect container galaxy-game-g-42: connection refused",
        )
    ),
    "pulling": at_work(running("start", steps=[PULL_STEP]), facts=UNHEARD_OF, living_claims=1),
    "queued_behind": at_work(running("stop"), count=3, living_claims=1),
    "starting": at_work(running("start"), facts=UNHEARD_OF, living_claims=1),
    "stopping": at_work(running("stop"), living_claims=1),
    "removing": at_work(running("cleanup_container"), facts=STOPPED, living_claims=1),
    "repairing": at_work(running("reconcile_exit"), living_claims=1),
    "foreign_container": after_failure(
        failed("container_start_failed", "the name galaxy-game-g-42 is held by a container that is not ours"),
        sight=sees(None, foreign=STRANGER),
    ),
    "stray_container": replace(REMOVED, sight=sees(container(id=OTHER_ID))),
    "drift_pending": replace(STOPPED, sight=sees(container())),
    "container_disappeared": replace(UP, sight=NOBODY),
    "network_missing": after_failure(
        failed("start_config_invalid", "the Docker network galaxy-net does not exist", step="validate"),
        sight=sees(None, network_exists=False),
    ),
    "state_directory_unusable": after_failure(
        failed("start_config_invalid", NO_DIRECTORY, step="prepare_state"),
        state_directory=StateDirectory(is_known=True, is_read_only=True, free_bytes=10**9),
    ),
    "image_missing": after_failure(
        failed("image_pull_failed", NOT_PULLED, step="pull", image_ref=OTHER_IMAGE), sight=sees(None, has_image=False)
    ),
    "crash_at_start": after_failure(
        failed("container_start_failed", DIED, step="settle", image_ref=OTHER_IMAGE), STOPPED, black_box=BOX
    ),
    "start_failed": after_failure(failed("container_start_failed", "exec format error", step="start")),
    "out_of_memory": replace(
        UP, sight=sees(ended(137, oom_killed=True), limits={"memory_bytes": 512 * 1024**2}), black_box=BOX
    ),
    "killed_outside": replace(UP, sight=sees(ended(137))),
    "exited_by_itself": replace(
        UP, sight=sees(ended(1)), record=record("stopped"), last_change=operation("reconcile_exit", 8), black_box=BOX
    ),
    "wrong_network": replace(UP, sight=sees(container(addresses={"bridge": "172.17.0.2"}))),
    "docker_unhealthy": replace(
        UP,
        sight=sees(container(health="unhealthy")),
        snapshot=snapshot("inspect_unhealthy", inspected_at=ago(minutes=4)),
    ),
    "probe_failing": replace(
        UP,
        snapshot=snapshot(
            "probe_failed", probe_failures=3, probe_last_error="connection refused", probed_at=ago(minutes=4)
        ),
    ),
    "image_refused": after_failure(
        failed(
            "semver_patch_only",
            "engine:1.4.2 and engine:2.0.0 differ in more than the patch level",
            op_kind="patch",
            image_ref="registry.example/engine:2.0.0",
        ),
        UP,
    ),
    "patch_reverted": after_failure(
        failed("container_start_failed", LOST, op_kind="patch", image_ref=OTHER_IMAGE), UP, black_box=BOX
    ),
    "operation_refused": after_failure(
        failed("conflict", f"game {GAME} is running; stop it before", op_kind="cleanup_container"), UP
    ),
    "healthy": UP,
    "prepared": replace(
        STOPPED,
        record=record("stopped", started_at=None, stopped_at=None),
        sight=sees(container(ContainerState.CREATED, started_at=None)),
        desired_by=operation(arguments={"no_start": True}),
        last_asked=operation(),
        last_change=operation(),
    ),
    "stopped_as_asked": STOPPED,
    "removed": REMOVED,
    "never_started": UNHEARD_OF,
}
