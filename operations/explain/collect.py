"""Collect the facts about one game: database queries, one query of Docker and one of Redis, each with a time limit.

A server that does not answer is a fact too; nothing here fails because of it.
"""

import os
import stat
from dataclasses import fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.db.models import Q
from django.db.models.functions import Lower, Now
from django.utils import timezone

from operations.completion_notifier import completion_notifier
from operations.explain.explanation import Explanation, explain
from operations.explain.facts import DockerState, ExplainSettings, Facts, RootState, StateDirectory
from operations.explain.log_denials import LINES
from operations.health import docker_starts
from operations.kinds import REPAIRS
from operations.models import DeadLetter, ExitReport, Heartbeat, Operation, OutboxEvent
from operations.monitoring import bounded_call, component_status
from operations.queue.database import database_now
from operations.states import OPEN_STATES, OperationState, Outcome, Topic
from runtimes.container_limits import ceilings_of, exceeds_defaults, limits_from_labels
from runtimes.container_spec import build_spec, container_name, current_policy, state_path
from runtimes.containers import connect, disconnect
from runtimes.containers.base import (
    Container,
    ContainerDetails,
    ContainerState,
    DockerPort,
    DockerRefusedError,
    Image,
    NoSuchContainerError,
    NotObservedError,
)
from runtimes.containers.configuration import ConfigurationDifference, differences
from runtimes.containers.types import HostCapacity, LogsNotAvailableError
from runtimes.exceptions import ErrorCode, StartConfigInvalidError
from runtimes.image_refs import check_image_ref
from runtimes.models import HealthSnapshot, Installation, Runtime
from runtimes.storage.image_volumes import VolumeMount, plan_volumes
from runtimes.storage.state_root import open_root, read_marker

DATABASE_AWAY = (OperationalError, InterfaceError)

T = TypeVar("T")

QUERY_SECONDS = 2.0
_OPEN_SHOWN = 20
_LAST_SHOWN = 5
_HISTORY_SHOWN = 20
_DEAD_LETTERS_SHOWN = 5


def explain_game(game_id: str) -> Explanation:
    """Collect and explain. Takes milliseconds; at most ``QUERY_SECONDS`` more than the database queries."""
    facts, now = collect_facts(game_id)
    return explain(facts, now=now)


def collect_facts(game_id: str) -> tuple[Facts, datetime]:
    """Everything known about a game, and the time of that: the database's time if it answers.

    The number of queries is the same for every game, whatever happened to it.
    """
    redis = bounded_call.call_in_thread(completion_notifier().ping, name="Redis")
    rows, database_reason, now = _rows(game_id)
    record: Runtime | None = rows.get("record")
    last: Operation | None = rows.get("last_requested")
    recorded_id = (record.current_container_id or "") if record else ""
    image_ref = (record.current_image_ref if record else "") or (last.image_ref if last else "")
    image_id = record.image_id if record else ""
    docker = bounded_call.call_in_thread(
        lambda: _query_docker(game_id, recorded_id, image_ref, image_id), name="Docker"
    )
    root_id: str | None = rows.pop("root_id", None)
    directory = bounded_call.call_in_thread(
        lambda: _state_directory(game_id, record, root_id), name="the state directory"
    )
    return Facts(
        game_id=game_id,
        config=current_settings(),
        docker_state=_docker_state(docker),
        state_directory=_wait(directory).value or StateDirectory(),
        database_reason=database_reason,
        redis_reason=_wait(redis).failure,
        **rows,
    ), now


def current_settings() -> ExplainSettings:
    """The settings of this installation that explanations depend on."""
    config = settings.RTMANAGER
    derived: dict[str, Any] = {
        "retention": timedelta(days=config.container_retention_days),
        "lease_ttl": timedelta(seconds=config.game_lease_ttl_seconds),
        "silence_limit": timedelta(seconds=component_status.current_limits().canary),
        "stop_grace": timedelta(seconds=config.container_stop_timeout_seconds),
    }
    same = {field.name: getattr(config, field.name) for field in fields(ExplainSettings) if field.name not in derived}
    return ExplainSettings(**same, **derived)


def _rows(game_id: str) -> tuple[dict[str, Any], str, datetime]:
    """The rows, why the database did not answer, and the time: the database's, else this process's."""
    try:
        rows = {**_of_record(game_id), **_of_operations(game_id), **_of_service(game_id)}
        # After the rows: no time in them is later than `now`.
        return rows, "", database_now()
    except DATABASE_AWAY as error:
        return {}, str(error).strip() or type(error).__name__, timezone.now()


def _of_record(game_id: str) -> dict[str, Any]:
    # Host names ignore case: a game whose id differs only in case may have this host name.
    records = Runtime.objects.annotate(lowered=Lower("game_id")).filter(lowered=game_id.lower())
    by_id = {record.pk: record for record in records}
    record = by_id.pop(game_id, None)
    return {
        "record": record,
        "snapshot": HealthSnapshot.objects.filter(pk=game_id).first(),
        "namesake": next((other.pk for other in by_id.values() if other.current_container_id), ""),
    }


def _of_operations(game_id: str) -> dict[str, Any]:
    operations = Operation.objects.filter(game_id=game_id).order_by("-id")
    requested = operations.exclude(op_kind__in=REPAIRS)
    is_open = Q(state__in=OPEN_STATES)
    # The running one first: an older one may be waiting for its next attempt.
    waiting = sorted(
        operations.filter(is_open).order_by("id")[:_OPEN_SHOWN],
        key=lambda row: (row.state != OperationState.RUNNING, row.pk),
    )
    changed = operations.filter(outcome=Outcome.SUCCESS).exclude(error_code=ErrorCode.REPLAY_NO_OP)
    return {
        "open_operations": tuple(waiting),
        "open_count": operations.filter(is_open).count(),
        "last_operations": tuple(operations[:_LAST_SHOWN]),
        "last_requested": requested.filter(state=OperationState.FINISHED).first(),
        "last_change": changed.first(),
        "desired_by": requested.filter(is_open | Q(outcome=Outcome.SUCCESS)).first(),
    }


def _of_service(game_id: str) -> dict[str, Any]:
    health_events = OutboxEvent.objects.filter(game_id=game_id, topic=Topic.HEALTH_EVENTS)
    exit_reports = ExitReport.objects.filter(game_id=game_id).only("container_id", "operation_id", "log", "limits")
    dead_letters = DeadLetter.objects.filter(game_id=game_id, redriven_at__isnull=True)
    installation = Installation.objects.first() or Installation()
    return {
        "running_operations": Operation.objects.filter(state=OperationState.RUNNING, lease_until__gt=Now()).count(),
        "health_events": tuple(health_events.order_by("-id")[:_HISTORY_SHOWN]),
        "exit_report": exit_reports.order_by("-id").first(),
        "dead_letters": tuple(dead_letters.order_by("-id")[:_DEAD_LETTERS_SHOWN]),
        "engine_starts": tuple(docker_starts.known_starts()),
        "heartbeats": dict(Heartbeat.objects.values_list("name", "seen_at")),
        "restored_at": installation.restored_at if installation.settled_at is None else None,
        "root_id": installation.state_root_id,
    }


def _query_docker(game_id: str, recorded_id: str, image_ref: str, image_id: str) -> DockerState:
    """Docker's view of the game. Raises ContainersUnavailableError or DockerRefusedError; there is no partial view."""
    containers = connect()
    try:
        with containers.time_limit(bounded_call.docker_seconds(QUERY_SECONDS)):
            own, holder = _containers_of(containers, game_id, recorded_id)
            details = _details(containers, own)
            is_valid = _is_valid_reference(image_ref)
            named = containers.find_image(image_ref) if is_valid else None
            return DockerState(
                is_known=True,
                own=own,
                foreign=None if holder is None or (own is not None and holder.id == own.id) else holder,
                network_exists=containers.network_exists(settings.RTMANAGER.docker_network),
                has_image=named is not None if is_valid else None,
                named_image_id=named.id if named else "",
                has_recorded_image=_has_image_id(containers, image_id, named),
                limits=details.limits if details else {},
                configuration=_configuration(containers, details) if details else (),
                last_lines=_last_lines(containers, own) if own else (),
                engine_error=str((details.raw.get("State") or {}).get("Error") or "") if details else "",
            )
    finally:
        # The adapter belongs to this thread, which ends now.
        disconnect()


def _has_image_id(containers: DockerPort, image_id: str, named: Image | None) -> bool | None:
    if not image_id:
        return None
    return (named is not None and named.id == image_id) or containers.find_image(image_id) is not None


def _containers_of(containers: DockerPort, game_id: str, recorded_id: str) -> tuple[Container | None, Container | None]:
    """The game's own container, and the container with its name, managed or not. Usually both are the same."""
    holder = recorded = containers.find(container_name(game_id))
    if holder is None or holder.id != recorded_id:
        recorded = containers.find(recorded_id) if recorded_id else None
    found = (container for container in (recorded, holder) if container is not None and container.game_id == game_id)
    own = [container for container in found if container.is_owned_by(settings.RTMANAGER.stack)]
    return next((container for container in own if container.is_alive), own[-1] if own else None), holder


def _details(containers: DockerPort, own: Container | None) -> ContainerDetails | None:
    try:
        return containers.inspect(own.id) if own else None
    except NoSuchContainerError:
        # It was removed since it was found. The next query shows that.
        return None


def _last_lines(containers: DockerPort, own: Container) -> tuple[str, ...]:
    """The end of the log of a container that failed; empty for others, and if the log cannot be read."""
    has_failed = own.state == ContainerState.RESTARTING or (not own.is_alive and own.exit_code != 0)
    if not has_failed:
        return ()
    try:
        return tuple(entry.line for entry in containers.logs(own.id, tail=LINES))
    except (NoSuchContainerError, LogsNotAvailableError, DockerRefusedError):
        return ()


def _configuration(containers: DockerPort, details: ContainerDetails) -> tuple[ConfigurationDifference, ...]:
    """How a live container differs from what a restart would create: the same image, the present settings."""
    own, policy = details.container, current_policy()
    if not own.is_alive:
        return ()
    image = containers.find_image(own.image_id)
    # Docker copies the labels of the image to the container, so they are known even if the image is gone.
    labels = image.labels if image else own.labels
    host = _host_capacity(containers) if exceeds_defaults(labels, policy.default_limits) else None
    ceilings = ceilings_of(policy.max_limits, policy.default_limits, host)
    limits, _warnings = limits_from_labels(labels, policy.default_limits, ceilings)
    spec = build_spec(
        policy, game_id=own.game_id, image_ref=own.image_ref, image=own.image_id, limits=limits,
        operation_id=0, fence=0, started_at_ms=0, volumes=_volumes(details, image, policy.state_mount_path),
    )  # fmt: skip
    return differences(details.raw, spec, image_user=image.user if image else None)


def _volumes(details: ContainerDetails, image: Image | None, mount_path: str) -> tuple[VolumeMount, ...]:
    """The volumes that a restart would mount; none if it would refuse the image because of them."""
    # Docker creates a container with the volumes that its image declares.
    declared = image.volumes if image else tuple(sorted((details.raw.get("Config") or {}).get("Volumes") or {}))
    try:
        return plan_volumes(declared, mount_path=mount_path)
    except StartConfigInvalidError:
        return ()


def _host_capacity(containers: DockerPort) -> HostCapacity | None:
    try:
        return containers.host_capacity()
    except DockerRefusedError:
        # A start does not know the capacity either then.
        return None


def _is_valid_reference(text: str) -> bool:
    # The record of a container that was started by an image id has that id in place of a reference.
    if text.startswith("sha256:"):
        return True
    try:
        check_image_ref(text)
    except StartConfigInvalidError:
        return False
    return True


def _docker_state(docker: bounded_call.Call[DockerState]) -> DockerState:
    outcome = bounded_call.wait_for_docker(docker, bounded_call.Deadline(QUERY_SECONDS))
    if outcome.value is not None:
        return outcome.value
    return DockerState(
        is_known=False,
        reason=outcome.failure,
        is_refused=isinstance(outcome.error, DockerRefusedError),
        is_asked=not isinstance(outcome.error, NotObservedError),
    )


def _state_directory(game_id: str, record: Runtime | None, root_id: str | None) -> StateDirectory:
    root = settings.RTMANAGER.game_state_root
    path = record.state_path if record else state_path(root, game_id)
    try:
        space, owned = os.statvfs(path), Path(path).stat()
    except FileNotFoundError:
        # Without the root this process knows nothing: it may run where the root is not mounted.
        root_state = _root_state(root, root_id, has_directory=False)
        return StateDirectory(is_missing=root_state != RootState.UNKNOWN, root=root_state)
    except OSError:
        return StateDirectory()
    return StateDirectory(
        is_known=True,
        is_read_only=bool(space.f_flag & os.ST_RDONLY),
        free_bytes=space.f_bavail * space.f_frsize,
        owner_uid=owned.st_uid,
        owner_gid=owned.st_gid,
        mode=stat.S_IMODE(owned.st_mode),
        root=_root_state(root, root_id, has_directory=True),
    )


def _root_state(root: str, root_id: str | None, *, has_directory: bool) -> RootState:
    """Compare the marker file of the root with the recorded id, as a worker does before it uses the root.

    Without a recorded id the first start accepts any marker, and adds one to a root that has the game's directory.
    """
    try:
        root_fd = open_root(root)
    except StartConfigInvalidError:
        return RootState.UNKNOWN
    try:
        marker_id = read_marker(root_fd, root=root)
    except StartConfigInvalidError:
        return RootState.UNREADABLE
    finally:
        os.close(root_fd)
    if root_id is None:
        return RootState.UNKNOWN
    if not marker_id:
        return RootState.RECORDED if has_directory and not root_id else RootState.UNMARKED
    return RootState.RECORDED if root_id in {"", marker_id} else RootState.FOREIGN


def _wait(call: bounded_call.Call[T]) -> bounded_call.Outcome[T]:
    return bounded_call.wait(call, bounded_call.Deadline(QUERY_SECONDS))
