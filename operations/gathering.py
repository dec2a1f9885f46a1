"""The facts of one game, gathered: some queries, one look at Docker, one at Redis, each bounded in time.

A server that does not answer is a fact as well; nothing here fails because of it.
"""

import os
from collections.abc import Mapping
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from operations import looks, vitals
from operations.clock import database_now
from operations.diagnosis.facts import Facts, Rules, Sight, StateDirectory
from operations.explain import Explanation, explain
from operations.models import BlackBox, DeadLetter, Operation, OutboxEvent, Pulse
from operations.replies import replies
from operations.states import OPEN_STATES, OpKind, OpState, Outcome, Topic
from runtimes.containers import connect, disconnect
from runtimes.containers.base import Container, Containers, NoSuchContainerError
from runtimes.exceptions import ErrorCode, StartConfigInvalidError
from runtimes.images import check_image_ref
from runtimes.models import HealthSnapshot, Runtime
from runtimes.specs import container_name, state_path

DATABASE_AWAY = (OperationalError, InterfaceError)

LOOK_SECONDS = 2.0
_OPEN_SHOWN = 20
_LAST_SHOWN = 5
_HISTORY_SHOWN = 20
_LETTERS_SHOWN = 5
_BY_RECONCILER = (OpKind.RECONCILE_ADOPT, OpKind.RECONCILE_DISPOSE, OpKind.RECONCILE_EXIT)


def explain_game(game_id: str) -> Explanation:
    """Look and explain. Takes some milliseconds, and no more than ``LOOK_SECONDS`` beyond the database's own time."""
    facts, now = gather(game_id)
    return explain(facts, now=now)


def gather(game_id: str) -> tuple[Facts, datetime]:
    """Everything known of a game, and the moment it is known of: the database's, where there is one.

    The number of queries is the same for every game, whatever has happened to it.
    """
    redis = looks.begin(replies().ping, name="Redis")
    rows, database_reason, now = _rows(game_id)
    record: Runtime | None = rows.get("record")
    last: Operation | None = rows.get("last_asked")
    recorded_id = (record.current_container_id or "") if record else ""
    image_ref = (record.current_image_ref if record else "") or (last.image_ref if last else "")
    docker = looks.begin(lambda: _look(game_id, recorded_id, image_ref), name="Docker")
    directory = looks.begin(lambda: _state_directory(game_id, record), name="the state directory")
    return Facts(
        game_id=game_id,
        rules=current_rules(),
        sight=_sight(docker),
        state_directory=StateDirectory() if _reason(directory) else directory.result(),
        database_reason=database_reason,
        redis_reason=_reason(redis),
        **rows,
    ), now


def current_rules() -> Rules:
    """What the settings of this installation say."""
    config = settings.RTMANAGER
    return Rules(
        stack=config.stack,
        network=config.docker_network,
        docker_host=config.docker_host,
        pull_policy=config.image_pull_policy,
        state_root=config.game_state_root,
        reconcile_interval=config.reconcile_interval,
        inspect_interval=config.inspect_interval,
        probe_interval=config.probe_interval,
        probe_failures_threshold=config.probe_failures_threshold,
        retention=timedelta(days=config.container_retention_days),
        cleanup_interval=config.cleanup_interval,
        lease_ttl=timedelta(seconds=config.game_lease_ttl_seconds),
        silence_limit=timedelta(seconds=vitals.current_limits().canary),
    )


def _rows(game_id: str) -> tuple[Mapping[str, Any], str, datetime]:
    """What the database holds, why it could not be asked, and the time by its clock or else by ours."""
    try:
        now = database_now()
        return {**_of_record(game_id), **_of_operations(game_id), **_of_service(game_id)}, "", now
    except DATABASE_AWAY as error:
        return {}, str(error).strip() or type(error).__name__, timezone.now()


def _of_record(game_id: str) -> dict[str, Any]:
    record = Runtime.objects.filter(pk=game_id).first()
    return {"record": record, "snapshot": HealthSnapshot.objects.filter(pk=game_id).first()}


def _of_operations(game_id: str) -> dict[str, Any]:
    log = Operation.objects.filter(game_id=game_id).order_by("-id")
    asked = log.exclude(op_kind__in=_BY_RECONCILER)
    is_open = Q(state__in=OPEN_STATES)
    # The one in hand first: another may be older when its back-off let this one pass.
    waiting = sorted(
        log.filter(is_open).order_by("id")[:_OPEN_SHOWN], key=lambda one: (one.state != OpState.RUNNING, one.pk)
    )
    changed = log.filter(outcome=Outcome.SUCCESS).exclude(error_code=ErrorCode.REPLAY_NO_OP)
    return {
        "open_operations": tuple(waiting),
        "open_count": log.filter(is_open).count(),
        "last_operations": tuple(log[:_LAST_SHOWN]),
        "last_asked": asked.filter(state=OpState.FINISHED).first(),
        "last_change": changed.first(),
        "desired_by": asked.filter(is_open | Q(outcome=Outcome.SUCCESS)).first(),
    }


def _of_service(game_id: str) -> dict[str, Any]:
    told = OutboxEvent.objects.filter(game_id=game_id, topic=Topic.HEALTH_EVENTS)
    boxes = BlackBox.objects.filter(game_id=game_id).only("container_id", "operation_id").order_by("-id")
    letters = DeadLetter.objects.filter(game_id=game_id, redriven_at__isnull=True)
    return {
        "living_claims": Operation.objects.filter(state=OpState.RUNNING, lease_until__gt=Now()).count(),
        "health_events": tuple(told.order_by("-id")[:_HISTORY_SHOWN]),
        "black_box": boxes.first(),
        "dead_letters": tuple(letters.order_by("-id")[:_LETTERS_SHOWN]),
        "pulses": dict(Pulse.objects.values_list("name", "beat_at")),
    }


def _look(game_id: str, recorded_id: str, image_ref: str) -> Sight:
    """Docker's part. Raises ContainersUnavailableError: half a look is none."""
    containers = connect()
    try:
        with containers.within(LOOK_SECONDS):
            named = containers.find(container_name(game_id))
            own = named if _is_own(named, game_id) else None
            if own is None and recorded_id:
                own = _own(containers.find(recorded_id), game_id)
            return Sight(
                is_known=True,
                own=own,
                foreign=None if named is None or _is_own(named, game_id) else named,
                network_exists=containers.network_exists(settings.RTMANAGER.docker_network),
                has_image=containers.find_image(image_ref) is not None if _is_image_ref(image_ref) else None,
                limits=_limits(containers, own),
            )
    finally:
        # The adapter belongs to this thread, which is about to end.
        disconnect()


def _limits(containers: Containers, own: Container | None) -> Mapping[str, Any]:
    try:
        return containers.details(own.id).limits if own else {}
    except NoSuchContainerError:
        # Gone since it was found: the next look will tell.
        return {}


def _is_own(container: Container | None, game_id: str) -> bool:
    return (
        container is not None
        and container.is_owned_by(settings.RTMANAGER.stack)
        and container.game_id == game_id
    )  # fmt: skip


def _own(container: Container | None, game_id: str) -> Container | None:
    return container if _is_own(container, game_id) else None


def _is_image_ref(text: str) -> bool:
    try:
        check_image_ref(text)
    except StartConfigInvalidError:
        return False
    return True


def _sight(docker: "Future[Sight]") -> Sight:
    reason = _reason(docker)
    return Sight(is_known=False, reason=reason) if reason else docker.result()


def _state_directory(game_id: str, record: Runtime | None) -> StateDirectory:
    path = record.state_path if record else state_path(settings.RTMANAGER.game_state_root, game_id)
    try:
        found = os.statvfs(path)
    except OSError:
        return StateDirectory()
    return StateDirectory(True, bool(found.f_flag & os.ST_RDONLY), found.f_bavail * found.f_frsize)  # noqa: FBT003


def _reason(look: "Future[Any]") -> str:
    return looks.reason_of(look, timeout_seconds=LOOK_SECONDS)
