"""Read records and Docker, compare them (``plan``) and request the repairs."""

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import structlog
from django.conf import settings

from operations.execution import observation
from operations.execution.container_creators import creators_of
from operations.installation import database_restore
from operations.intake import OperationRequest, accept_unless_busy
from operations.models import Operation
from operations.monitoring import heartbeats
from operations.monitoring.heartbeats import HeartbeatName
from operations.queue.database import database_now
from operations.reconcile.plan import Finding, Recorded, find_renamed, plan, refuse_taken_host_names
from operations.states import OPEN_STATES, OperationKind, OperationSource
from runtimes.container_spec import endpoint_host
from runtimes.containers import connect
from runtimes.containers.base import OBSERVATION_ERRORS, Container, ContainerState
from runtimes.exceptions import ConflictError
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus

log = structlog.get_logger(__name__)

# One difference gets one repair per period: a failed repair is tried again, one under way is not duplicated.
_REPAIR_PERIOD_SECONDS = 60
# Beyond this number, one list of all containers costs Docker less than one list per game.
_MAX_LISTS_BY_GAME = 4
# A container whose removal takes longer counts as not removable.
_LONGEST_REMOVAL = timedelta(minutes=1)

# Game → its missing container, and since when this process has missed it.
_missing_since: dict[str, tuple[str, float]] = {}


def survey(game_ids: Collection[str] | None = None) -> tuple[list[Finding], set[str]]:
    """Compare these games, or all; return the findings and the games that are too busy to compare.

    Reads the records before and after it lists Docker. The next pass compares games that changed in between.
    Raises one of OBSERVATION_ERRORS if Docker does not answer.
    """
    before = _records(game_ids)
    containers = _resolve_removals(_containers(game_ids))
    busy = _busy_games(game_ids)
    busy |= {container.game_id for container in containers if container.state == ContainerState.REMOVING}
    after = _records(game_ids)
    busy |= {game_id for game_id in before.keys() | after.keys() if before.get(game_id) != after.get(game_id)}
    database_restore.notice(containers, known_fence=max((record.fence for record in after.values()), default=0))
    findings = plan(
        after,
        containers,
        busy=busy,
        creators=creators_of(_without_undisputed(containers, after)),
        names_of_others=_names_of_others(containers, after),
    )
    adopted = [finding.game_id for finding in findings if finding.op_kind == OperationKind.RECONCILE_ADOPT]
    holders = observation.holders(adopted) if adopted else {}
    return refuse_taken_host_names(findings, holders=holders), busy


def reconcile_all() -> int:
    """Compare all games and request the repairs; return how many. Does nothing while Docker does not answer."""
    grace = settings.RTMANAGER.replacement_grace.total_seconds()
    try:
        findings, busy = survey()
        if grace and any(finding.is_loss for finding in findings):
            # An updater may be creating the container again at this moment.
            time.sleep(grace)
            findings, busy = survey()
    except OBSERVATION_ERRORS as error:
        # The watcher notices the outage at once and logs the warning.
        log.info("reconcile_skipped", reason=error.message)
        return 0
    refused = _request_repairs(findings)
    _end_full_reconcile(findings, busy=busy.union(refused))
    return len(findings) - len(refused)


def reconcile_games(game_ids: Collection[str] | None) -> set[str]:
    """Compare these games, or all, and request the repairs; return the games to compare again later.

    Raises one of OBSERVATION_ERRORS if Docker does not answer.
    """
    # An operation of ours causes Docker events too. Wait for its end before asking Docker.
    waiting = set() if game_ids is None else _busy_games(game_ids)
    if game_ids and waiting.issuperset(game_ids):
        return waiting
    requested = None if game_ids is None else set(game_ids) - waiting
    findings, busy = survey(requested)
    in_grace = _in_grace_period(findings, compared=requested)
    due = [finding for finding in findings if not (finding.is_loss and finding.game_id in in_grace)]
    refused = _request_repairs(due)
    busy = busy.union(waiting, in_grace, refused)
    if game_ids is None:
        _end_full_reconcile(findings, busy=busy)
    return busy


def already_recorded(started: Mapping[str, str]) -> set[str]:
    """Return the games whose record says that they run in the container that has just started.

    ``started``: game to container. An operation of ours started such a container, so there is nothing to compare.
    """
    rows = Runtime.objects.filter(game_id__in=started, status=RuntimeStatus.RUNNING)
    recorded = rows.values_list("game_id", "current_container_id")
    return {game_id for game_id, container_id in recorded if started[game_id] == container_id}


def _in_grace_period(findings: Sequence[Finding], *, compared: Collection[str] | None) -> set[str]:
    """Return the games whose recorded container has been missing for less than ``RTMANAGER_REPLACEMENT_GRACE``.

    An updater removes a container and creates it again under the same name. A missing container counts as gone only
    after that time, because a game that is recorded as removed is not adopted again. ``compared``: None for all games.
    """
    lost = {finding.game_id: finding.container_id for finding in findings if finding.is_loss}
    now = time.monotonic()
    for game_id, (container_id, _since) in list(_missing_since.items()):
        if (compared is None or game_id in compared) and lost.get(game_id) != container_id:
            del _missing_since[game_id]
    since = {game_id: _missing_since.setdefault(game_id, (lost[game_id], now))[1] for game_id in lost}
    grace = settings.RTMANAGER.replacement_grace.total_seconds()
    return {game_id for game_id in lost if now - since[game_id] < grace}


def _end_full_reconcile(findings: Sequence[Finding], *, busy: Collection[str]) -> None:
    database_restore.settle(busy=busy)
    heartbeats.record_heartbeat(HeartbeatName.FULL_RECONCILE, findings=len(findings))


def _request_repairs(findings: Sequence[Finding]) -> list[str]:
    """Request an operation per finding, or report it to the operator; return the games that became busy meanwhile."""
    restored = database_restore.restored_at() if findings else None
    arguments = {"restored_at": restored.isoformat()} if restored else {}
    return [finding.game_id for finding in findings if not _request_repair(finding, arguments)]


def _request_repair(finding: Finding, arguments: Mapping[str, str]) -> bool:
    """Request the operation that repairs this; False if the game became busy meanwhile."""
    fields = {
        "game_id": finding.game_id,
        "op_kind": finding.op_kind,
        "container_id": finding.container_id,
        "reason": finding.reason,
    }
    if finding.op_kind is None:
        log.warning("drift_needs_operator", **fields)
        return True
    period = int(database_now().timestamp() // _REPAIR_PERIOD_SECONDS)
    request = OperationRequest(
        game_id=finding.game_id,
        op_kind=finding.op_kind,
        op_source=OperationSource.AUTO_RECONCILE,
        job_key=f"reconcile:{finding.op_kind}:{finding.game_id}:{finding.container_id}:{finding.record_fence}:{period}",
        source_ref=finding.reason,
        arguments={
            "container_id": finding.container_id,
            "record_fence": finding.record_fence,
            "is_leftover": finding.is_leftover,
            **arguments,
        },
    )
    try:
        operation = accept_unless_busy(request)
    except ConflictError:
        return False
    log.info("drift_found", operation_id=operation.pk, **fields)
    return True


def _containers(game_ids: Collection[str] | None) -> list[Container]:
    stack = settings.RTMANAGER.stack
    if game_ids is not None and len(game_ids) <= _MAX_LISTS_BY_GAME:
        return [container for game_id in game_ids for container in connect().list_owned(stack, game_id=game_id)]
    return [container for container in connect().list_owned(stack) if game_ids is None or container.game_id in game_ids]


def _resolve_removals(containers: Sequence[Container]) -> list[Container]:
    """Inspect the containers that Docker lists as ``removing``, and mark a stuck removal as ``dead``.

    Docker 20.10 lists a container that it could not remove as ``removing`` for ever; its inspection says ``dead``.
    A removal under way stays ``removing`` for at most _LONGEST_REMOVAL.
    """
    inspected = [
        connect().find(container.id) if container.state == ContainerState.REMOVING else container
        for container in containers
    ]
    return [_dead_if_stuck(container) for container in inspected if container is not None]


def _dead_if_stuck(container: Container) -> Container:
    # Docker kills a container before it removes it, so a stuck one has exited.
    if container.state != ContainerState.REMOVING or container.finished_at is None:
        return container
    is_stuck = database_now() - container.finished_at > _LONGEST_REMOVAL
    return replace(container, state=ContainerState.DEAD) if is_stuck else container


def _records(game_ids: Collection[str] | None) -> dict[str, Recorded]:
    rows = Runtime.objects.all() if game_ids is None else Runtime.objects.filter(game_id__in=game_ids)
    columns = rows.values_list("game_id", "status", "current_container_id", "fence", "engine_endpoint")
    return {
        game_id: Recorded(game_id, RuntimeStatus(status), container_id, fence, endpoint)
        for game_id, status, container_id, fence, endpoint in columns
    }


def _busy_games(game_ids: Collection[str] | None) -> set[str]:
    rows = Operation.objects.filter(state__in=OPEN_STATES)
    rows = rows if game_ids is None else rows.filter(game_id__in=game_ids)
    return set(rows.values_list("game_id", flat=True))


def _names_of_others(containers: Sequence[Container], records: Mapping[str, Recorded]) -> set[str]:
    """The former names of renamed containers that other containers hold now. Calls Docker only for these names."""
    renamed = [finding for record in records.values() for finding in find_renamed(record, containers, ())]
    wanted = {endpoint_host(records[finding.game_id].engine_endpoint) for finding in renamed}
    return {name for name in wanted if connect().find(name) is not None}


def _without_undisputed(containers: Sequence[Container], records: Mapping[str, Recorded]) -> list[Container]:
    """Leave out each recorded container that is the only one of its game: its creator does not matter."""
    count = Counter(container.game_id for container in containers)
    own = {(record.game_id, record.container_id) for record in records.values()}
    return [found for found in containers if count[found.game_id] > 1 or (found.game_id, found.id) not in own]
