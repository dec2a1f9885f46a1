"""Comparing what is recorded with what Docker shows, and asking for repairs. Never touches Docker or a record itself:
every repair is an operation, which looks again under its lease before it changes anything.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from django.conf import settings

from operations import pulses
from operations.clock import database_now
from operations.events import epoch_ms
from operations.intake import OperationRequest, accept_unless_busy
from operations.models import Operation
from operations.pulses import PulseName
from operations.states import OPEN_STATES, OpKind, OpSource, OpState
from runtimes.containers import connect
from runtimes.containers.base import Container, ContainerState, ContainersUnavailableError
from runtimes.exceptions import ConflictError
from runtimes.games import is_game_id
from runtimes.models import Runtime
from runtimes.specs import LABEL_STARTED_AT_MS
from runtimes.states import RuntimeStatus

log = structlog.get_logger(__name__)

# Label and operation have both been told by the database, whose clock may shift this much when it is moved.
_CLOCKS_DIFFER_MS = 5 * 60 * 1000
# What a label must look like to be looked up; people can write anything into one.
_NUMBER = re.compile(r"[0-9]{1,18}")
# The same drift is asked about once in this time: a repair that failed is tried again, one under way is not doubled.
_ASK_AGAIN_SECONDS = 60
# Beyond that, one list of all containers costs the engine less.
_ASKED_ONE_BY_ONE = 4


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the record of a game says."""

    game_id: str
    status: RuntimeStatus
    container_id: str | None
    fence: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """Docker could not be asked. It is not an empty list: nothing follows from it."""

    reason: str


Observed = Sequence[Container] | Unknown


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference between record and Docker. ``op_kind`` None: told, but left to people."""

    game_id: str
    op_kind: OpKind | None
    container_id: str
    record_fence: int
    reason: str
    is_leftover: bool = False


def plan(
    records: Mapping[str, Recorded],
    observed: Observed,
    *,
    busy: Collection[str],
    finished_operations: Collection[tuple[str, str]],
) -> list[Finding]:
    """What differs and what would mend it. Pure; applied twice it asks for the same.

    ``observed`` are containers of ours only (owner and stack). ``busy`` games, which have an open operation, are
    nobody else's business. ``finished_operations``, each as game and id, are those on the containers that have ended.
    """
    if isinstance(observed, Unknown):
        return []
    by_game: dict[str, list[Container]] = {game_id: [] for game_id in records}
    for container in observed:
        if is_game_id(container.game_id):
            by_game.setdefault(container.game_id, []).append(container)
    return [
        finding
        for game_id in sorted(by_game)
        if game_id not in busy
        for finding in _judge(game_id, records.get(game_id), by_game[game_id], finished_operations)
    ]


def _judge(
    game_id: str, record: Recorded | None, containers: Sequence[Container], finished: Collection[tuple[str, str]]
) -> Iterable[Finding]:
    if any(one.state == ContainerState.REMOVING for one in containers):
        # Half gone: the next look will tell.
        return

    def finding(op_kind: OpKind | None, container_id: str, reason: str, *, is_leftover: bool = False) -> Finding:
        return Finding(game_id, op_kind, container_id, record.fence if record else 0, reason, is_leftover=is_leftover)

    own = next((one for one in containers if record and one.id == record.container_id), None)
    # A label copied from another game, or left from an earlier database, names an operation that made something else.
    ended = [one for one in containers if (game_id, one.operation_id) in finished]
    strangers = [one for one in containers if one is not own and one.is_alive and one not in ended]
    repair = _repair(record, own, strangers)
    if repair is not None:
        yield finding(*repair)
    kept = repair[1] if repair and repair[0] == OpKind.RECONCILE_ADOPT else own and own.id
    for one in ended:
        if one.id != kept:
            yield finding(OpKind.RECONCILE_DISPOSE, one.id, "left behind by an ended operation", is_leftover=True)
    for one in strangers:
        if repair is None or repair[1] != one.id:
            yield finding(None, one.id, "a live container that belongs to no record; remove it, or start the game")


def _repair(
    record: Recorded | None, own: Container | None, strangers: Sequence[Container]
) -> tuple[OpKind, str, str] | None:
    """What brings record and Docker together: the operation, the container and why; None when they agree."""
    status = record.status if record else None
    if own is not None and own.is_alive:
        is_drift = status == RuntimeStatus.STOPPED
        return (OpKind.RECONCILE_ADOPT, own.id, "recorded as stopped, but its container runs") if is_drift else None
    if strangers and status != RuntimeStatus.REMOVED:
        return OpKind.RECONCILE_ADOPT, strangers[0].id, "a live container that is not the recorded one"
    if record is None or status == RuntimeStatus.REMOVED:
        return None
    if own is None:
        return OpKind.RECONCILE_DISPOSE, record.container_id or "", "recorded, but its container is gone"
    if status == RuntimeStatus.RUNNING:
        return OpKind.RECONCILE_EXIT, own.id, f"recorded as running, but its container is {own.state}"
    return None


def survey(game_ids: Collection[str] | None = None) -> tuple[list[Finding], set[str]]:
    """Look at records and Docker, all games or these; returns the findings and the games too busy to be judged.

    Records are read before and after Docker is listed: what changed in between is left for the next look.
    Raises ContainersUnavailableError when Docker cannot be asked.
    """
    before = _records(game_ids)
    containers = _containers(game_ids)
    busy = _busy_games(game_ids)
    after = _records(game_ids)
    changed = {game_id for game_id in before.keys() | after.keys() if before.get(game_id) != after.get(game_id)}
    findings = plan(after, containers, busy=busy | changed, finished_operations=_finished(_doubtful(containers, after)))
    return findings, busy | changed


def reconcile_games(game_ids: Collection[str] | None) -> set[str]:
    """Look at these games, at all when None, and ask for their repairs; returns those that were busy and must be
    looked at again. Raises ContainersUnavailableError when Docker cannot be asked.
    """
    # What its own start or stop does to a container is told here as well; nothing is looked at before that has ended.
    waiting = set() if game_ids is None else _busy_games(game_ids)
    if game_ids and waiting.issuperset(game_ids):
        return waiting
    findings, busy = survey(None if game_ids is None else set(game_ids) - waiting)
    busy |= waiting
    unheard = {one.game_id for one in findings if not _ask_for(one)}
    if game_ids is None:
        pulses.beat(PulseName.RELIST, findings=len(findings))
    return busy | unheard


def on_record(started: Mapping[str, str]) -> set[str]:
    """Of these games, each with a container that has started, those that run in just that one by their record: then
    an operation of ours has brought it up, and there is nothing to be found.
    """
    rows = Runtime.objects.filter(game_id__in=started, status=RuntimeStatus.RUNNING)
    recorded = rows.values_list("game_id", "current_container_id")
    return {game_id for game_id, container_id in recorded if started[game_id] == container_id}


def reconcile_all() -> int:
    """Look at all games and ask for the repairs; returns how many. Docker away means unknown: nothing is asked."""
    try:
        findings, _busy = survey()
    except ContainersUnavailableError as error:
        # The watcher, which is told at once, warns of the outage.
        log.info("reconcile_skipped", reason=error.message)
        return 0
    asked = sum(_ask_for(one) for one in findings)
    pulses.beat(PulseName.RELIST, findings=len(findings))
    return asked


def _ask_for(finding: Finding) -> bool:
    """File the operation that mends this; False when the game has become busy meanwhile."""
    if finding.op_kind is None:
        log.warning("drift_left_to_people", **_fields(finding))
        return True
    bucket = int(database_now().timestamp() // _ASK_AGAIN_SECONDS)
    key = f"reconcile:{finding.op_kind}:{finding.game_id}:{finding.container_id}:{finding.record_fence}:{bucket}"
    request = OperationRequest(
        game_id=finding.game_id,
        op_kind=finding.op_kind,
        op_source=OpSource.AUTO_RECONCILE,
        job_key=key,
        source_ref=finding.reason,
        arguments={
            "container_id": finding.container_id,
            "record_fence": finding.record_fence,
            "is_leftover": finding.is_leftover,
        },
    )
    try:
        operation = accept_unless_busy(request)
    except ConflictError:
        return False
    log.info("drift_found", operation_id=operation.pk, **_fields(finding))
    return True


def _fields(finding: Finding) -> dict[str, object]:
    return {
        "game_id": finding.game_id,
        "op_kind": finding.op_kind,
        "container_id": finding.container_id,
        "reason": finding.reason,
    }


def _containers(game_ids: Collection[str] | None) -> list[Container]:
    stack = settings.RTMANAGER.stack
    if game_ids is not None and len(game_ids) <= _ASKED_ONE_BY_ONE:
        return [one for game_id in game_ids for one in connect().list_owned(stack, game_id=game_id)]
    return [one for one in connect().list_owned(stack) if game_ids is None or one.game_id in game_ids]


def _records(game_ids: Collection[str] | None) -> dict[str, Recorded]:
    rows = Runtime.objects.all() if game_ids is None else Runtime.objects.filter(game_id__in=game_ids)
    return {
        game_id: Recorded(game_id, RuntimeStatus(status), container_id, fence)
        for game_id, status, container_id, fence in rows.values_list(
            "game_id", "status", "current_container_id", "fence"
        )
    }


def _busy_games(game_ids: Collection[str] | None) -> set[str]:
    rows = Operation.objects.filter(state__in=OPEN_STATES)
    rows = rows if game_ids is None else rows.filter(game_id__in=game_ids)
    return set(rows.values_list("game_id", flat=True))


def _doubtful(containers: Sequence[Container], records: Mapping[str, Recorded]) -> list[Container]:
    """All but those that are the only one of their game and the recorded one, of which nobody asks who made them."""
    count = Counter(one.game_id for one in containers)
    own = {(one.game_id, one.container_id) for one in records.values()}
    return [one for one in containers if count[one.game_id] > 1 or (one.game_id, one.id) not in own]


def _finished(containers: Sequence[Container]) -> set[tuple[str, str]]:
    """The ended operations, as game and id, that really made one of these containers."""
    labelled = [one for one in containers if _NUMBER.fullmatch(one.operation_id)]
    if not labelled:
        return set()
    rows = Operation.objects.filter(pk__in={one.operation_id for one in labelled}, state=OpState.FINISHED)
    ended = {str(row.pk): row for row in rows.only("game_id", "started_at", "finished_at")}
    return {(one.game_id, one.operation_id) for one in labelled if _made(ended.get(one.operation_id), one)}


def _made(operation: Operation | None, container: Container) -> bool:
    """Whether this operation made the container: with another database ids begin anew, but time does not."""
    created = container.labels.get(LABEL_STARTED_AT_MS, "")
    if operation is None or operation.game_id != container.game_id or not _NUMBER.fullmatch(created):
        return False
    if operation.started_at is None or operation.finished_at is None:
        return False
    began, ended = epoch_ms(operation.started_at), epoch_ms(operation.finished_at)
    return began - _CLOCKS_DIFFER_MS <= int(created) <= ended + _CLOCKS_DIFFER_MS
