"""The differences between records and Docker, and the repair of each. Pure.

The plan changes neither Docker nor a record: every repair is an operation, which checks again under its lease.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from operations.execution import observation
from operations.execution.container_creators import Creator
from operations.states import OperationKind
from runtimes.container_spec import LABEL_STACK, container_name, endpoint_host, is_misnamed
from runtimes.containers.base import Container, ContainerState
from runtimes.game_ids import is_game_id
from runtimes.states import RuntimeStatus


@dataclass(frozen=True, slots=True)
class Recorded:
    """The columns of a runtime record that the plan needs."""

    game_id: str
    status: RuntimeStatus
    container_id: str | None
    fence: int
    engine_endpoint: str = ""

    @property
    def names(self) -> frozenset[str]:
        """The container names that reach the game: its standard name, and the name of an adopted container."""
        return frozenset({container_name(self.game_id), endpoint_host(self.engine_endpoint)} - {""})


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference between record and Docker. ``op_kind`` is None if an operator must repair it."""

    game_id: str
    op_kind: OperationKind | None
    container_id: str
    record_fence: int
    reason: str
    is_leftover: bool = False

    @property
    def is_loss(self) -> bool:
        """Whether the recorded container is gone."""
        return self.op_kind == OperationKind.RECONCILE_DISPOSE and not self.is_leftover


def plan(
    records: Mapping[str, Recorded],
    containers: Sequence[Container],
    *,
    busy: Collection[str],
    creators: Mapping[str, Creator],
    names_of_others: Collection[str] = (),
) -> list[Finding]:
    """Return the differences with their repairs. The same input gives the same findings.

    ``containers``: the managed containers of this stack. ``busy``: games with an open operation; the plan skips them.
    ``creators``: by container id, the ended operation that the labels of the container name.
    ``names_of_others``: the former names of renamed containers that other containers hold now.
    """
    by_game: dict[str, list[Container]] = {game_id: [] for game_id in records}
    for container in containers:
        if is_game_id(container.game_id):
            by_game.setdefault(container.game_id, []).append(container)
    findings: list[Finding] = []
    for game_id in sorted(by_game.keys() - busy):
        record, found = records.get(game_id), by_game[game_id]
        # A removal under way: the next pass sees its result.
        if all(container.state != ContainerState.REMOVING for container in found):
            findings += _compare_game(game_id, record, found, creators)
        findings += find_renamed(record, found, names_of_others)
    return findings


def _compare_game(
    game_id: str, record: Recorded | None, containers: Sequence[Container], creators: Mapping[str, Creator]
) -> Iterable[Finding]:
    own = next((container for container in containers if record and container.id == record.container_id), None)
    leftovers = [found for found in containers if found.id in creators and creators[found.id].left_behind(found)]
    unrecorded = [found for found in containers if found is not own and found.is_alive and found not in leftovers]
    new_finding = partial(Finding, game_id, record_fence=record.fence if record else 0)
    repair = _repair(record, own, _successor(game_id, record, unrecorded))
    kept_id = own and own.id
    if repair is not None:
        op_kind, container_id, reason = repair
        yield new_finding(op_kind, container_id, reason=reason)
        kept_id = container_id if op_kind == OperationKind.RECONCILE_ADOPT else kept_id
    for container in leftovers:
        if container.id != kept_id:
            reason = "left behind by a failed operation"
            yield new_finding(OperationKind.RECONCILE_DISPOSE, container.id, reason=reason, is_leftover=True)
    for container in unrecorded:
        if container.id != kept_id:
            yield new_finding(None, container.id, reason=_why_not_repaired(game_id, record, container))


def _why_not_repaired(game_id: str, record: Recorded | None, unrecorded: Container) -> str:
    if record is not None and record.status == RuntimeStatus.REMOVED:
        return (
            f"container {unrecorded.name} of a removed game is alive; remove it, or start game {game_id} to replace it"
        )
    return (
        f"container {unrecorded.name} is alive beside the recorded one; Runtime Manager leaves it alone: remove it, or "
        f"recreate it without the label {LABEL_STACK}"
    )


def _successor(game_id: str, record: Recorded | None, unrecorded: Sequence[Container]) -> Container | None:
    """The live container that continues the game: the one with its name, or any one if there is no record."""
    names = record.names if record else {container_name(game_id)}
    named = next((container for container in unrecorded if container.name in names), None)
    if named is None and record is None:
        return min(unrecorded, key=lambda container: container.id, default=None)
    return named


def _repair(
    record: Recorded | None, own: Container | None, successor: Container | None
) -> tuple[OperationKind, str, str] | None:
    """The operation, the container id and the reason; None if record and Docker agree."""
    status = record.status if record else None
    if own is not None and own.is_alive:
        adopt = (OperationKind.RECONCILE_ADOPT, own.id, "recorded as stopped, but its container runs")
        return adopt if status == RuntimeStatus.STOPPED else None
    if successor is not None and status != RuntimeStatus.REMOVED:
        return OperationKind.RECONCILE_ADOPT, successor.id, "a live container that is not the recorded one"
    if record is None or status == RuntimeStatus.REMOVED:
        return None
    if own is None:
        return OperationKind.RECONCILE_DISPOSE, record.container_id or "", "recorded, but its container is gone"
    if status == RuntimeStatus.RUNNING:
        return OperationKind.RECONCILE_EXIT, own.id, f"recorded as running, but its container is {own.state}"
    return None


def find_renamed(
    record: Recorded | None, containers: Sequence[Container], names_of_others: Collection[str]
) -> Iterable[Finding]:
    """Find the recorded container of a running game if it was renamed: no container answers at its endpoint."""
    if record is None or record.status != RuntimeStatus.RUNNING:
        return
    for container in containers:
        is_own = container.id == record.container_id and container.is_alive
        if is_own and is_misnamed(record.engine_endpoint, name=container.name):
            name = endpoint_host(record.engine_endpoint)
            reason = f"its container was renamed from {name} to {container.name}, but its endpoint needs that name"
            if name in names_of_others:
                reason += "; another container holds that name: remove or rename it, then start the game"
            op_kind = None if name in names_of_others else OperationKind.RECONCILE_ADOPT
            yield Finding(record.game_id, op_kind, container.id, record.fence, reason)


def refuse_taken_host_names(findings: Sequence[Finding], *, holders: Mapping[str, str]) -> list[Finding]:
    """Replace the adoption of a container whose host name another game holds by a report to the operator. Pure.

    ``holders``: host name in lower case → the game that holds it. Of several findings, the first one gets the name.
    """
    taken, checked = dict(holders), []
    for finding in findings:
        if finding.op_kind == OperationKind.RECONCILE_ADOPT:
            other = taken.setdefault(finding.game_id.lower(), finding.game_id)
            if other != finding.game_id:
                conflict = observation.host_name_conflict(finding.game_id, other)
                reason = f"not adopted: {conflict}; remove one of the two containers"
                checked.append(replace(finding, op_kind=None, reason=reason))
                continue
        checked.append(finding)
    return checked
