"""Which operation created a container.

Ids and fences begin again when a backup is restored, and an operator who recreates a container copies its labels. A
container is therefore identified by its own id, which the operation recorded, or by the job key in its label, which is
unique forever.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Q

from operations.kinds import CREATES_CONTAINER
from operations.messages import epoch_ms
from operations.models import Operation
from operations.states import OperationKind, OperationState, Outcome
from runtimes.container_spec import LABEL_STARTED_AT_MS
from runtimes.containers.base import Container, ContainerState

# A label may hold any text; only numbers of this form are looked up as operation ids.
_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Creator:
    """The finished operation that a container names in its labels. ``container_id``: the container it recorded."""

    operation_id: int
    op_kind: OperationKind
    has_failed: bool
    container_id: str

    def left_behind(self, container: Container) -> bool:
        """Whether the operation failed and left this container behind, so that it may be removed.

        A container that was started is left behind only if its id is recorded. An operation records the id before it
        starts the container, so any other one is a copy by an operator. A container that never started has no such
        proof.
        """
        if not self.has_failed:
            return False
        return container.id == self.container_id or container.state == ContainerState.CREATED

    def is_replacement(self, container: Container) -> bool:
        """Whether a restart or a patch created this container to replace another one."""
        return container.id == self.container_id and self.op_kind in {OperationKind.RESTART, OperationKind.PATCH}


def has_created(operation: Operation, container: Container) -> bool:
    """Whether this operation created the container. ``operation.container_id`` is the one that it recorded."""
    if container.game_id != operation.game_id or operation.op_kind not in CREATES_CONTAINER:
        return False
    if operation.container_id and operation.container_id == container.id:
        return True
    if container.job_key:
        return container.job_key == operation.job_key
    return _has_created_before_job_keys(operation, container)


def creators_of(containers: Sequence[Container]) -> dict[str, Creator]:
    """Container id → the finished operation that created it. Containers without a recorded one are left out."""
    if not containers:
        return {}
    job_keys = {container.job_key for container in containers if container.job_key}
    ids = {
        container.operation_id
        for container in containers
        if not container.job_key and _NUMBER.fullmatch(container.operation_id)
    }
    finished = Operation.objects.filter(
        Q(job_key__in=job_keys) | Q(pk__in=ids), state=OperationState.FINISHED, op_kind__in=CREATES_CONTAINER
    ).only("game_id", "op_kind", "job_key", "outcome", "container_id", "started_at", "finished_at")
    by_label = {label: operation for operation in finished for label in (operation.job_key, str(operation.pk))}
    return {
        container.id: creator_of(operation)
        for container in containers
        if (operation := by_label.get(container.job_key or container.operation_id)) is not None
        and has_created(operation, container)
    }


def creator_of(operation: Operation) -> Creator:
    """The part of a finished operation that matters for the containers it created."""
    has_failed = operation.outcome == Outcome.FAILURE
    return Creator(operation.pk, OperationKind(operation.op_kind), has_failed, operation.container_id)


def _has_created_before_job_keys(operation: Operation, container: Container) -> bool:
    """The rule for containers of RTM before version 0.2, which have no job key label: id and time must match.

    Ids begin again in a restored database, but time does not. Both times are database times.
    """
    created = container.labels.get(LABEL_STARTED_AT_MS, "")
    if container.operation_id != str(operation.pk) or not _NUMBER.fullmatch(created) or operation.started_at is None:
        return False
    is_old_enough = int(created) >= epoch_ms(operation.started_at)
    return is_old_enough and (operation.finished_at is None or int(created) <= epoch_ms(operation.finished_at))
