"""The containers of one game: the one that holds its name, and the recorded one, which may have another name.

Operators rename containers and give the name of a game to others. An operation therefore observes both before it
changes anything. Host names ignore case: two games whose ids differ only in case cannot both have a container. The
database enforces it (``runtimes_runtime``); the check here lets an operation fail before it changes anything.
"""

from collections.abc import Collection
from dataclasses import dataclass

from django.db import IntegrityError

from operations.execution.attempt import Attempt, Result
from runtimes.container_spec import endpoint_host, is_misnamed
from runtimes.containers.base import Container, ContainerStartFailedError, NameTakenError
from runtimes.exceptions import ConflictError
from runtimes.formatting import short_id
from runtimes.models import HOST_NAME, ONE_CONTAINER_PER_HOST_NAME, Runtime


@dataclass(frozen=True, slots=True)
class Observation:
    """``holder`` has the name of the game's container, even if it belongs to another program. ``own`` is the container
    that the operation works on: the recorded one, else an owned one under the name. Usually both are the same.
    """

    holder: Container | None = None
    own: Container | None = None

    @property
    def rival(self) -> Container | None:
        """The holder of the name if it is not the game's own container; None if the name is free."""
        is_own = self.holder is not None and self.own is not None and self.holder.id == self.own.id
        return None if is_own else self.holder


def observe_for_start(attempt: Attempt) -> Observation:
    """Like ``observe``, but without a Docker call for a new game: creating by name detects an existing container."""
    is_new = attempt.runtime is None and attempt.operation.attempt == 1
    return Observation() if is_new else observe(attempt)


def observe(attempt: Attempt) -> Observation:
    """Inspect the holder of the game's name, the recorded container, and the one that an earlier attempt created.

    One Docker call if all are the same.
    """
    recorded_id = attempt.runtime.current_container_id if attempt.runtime else None
    with attempt.step("observe"):
        holder = attempt.containers.find(attempt.container_name)
        recorded = _find_other(attempt, recorded_id, holder)
        created = _find_other(attempt, attempt.operation.container_id, holder, recorded)
    # A container that this operation created has replaced the recorded one.
    candidates = (*filter(attempt.has_created, (holder, created)), recorded, holder)
    return Observation(holder, next((container for container in candidates if attempt.owns(container)), None))


def _find_other(attempt: Attempt, container_id: str | None, *known: Container | None) -> Container | None:
    """The container with this id: one of the ``known`` ones, else the result of a Docker call."""
    if not container_id:
        return None
    same = next((container for container in known if container is not None and container.id == container_id), None)
    return same or attempt.containers.find(container_id)


def reject_name_conflict(attempt: Attempt, observed: Observation) -> None:
    """Raise ContainerStartFailedError if the name of the game's container is not available.

    The name may be held by a container of another program, which is never changed, or by a second live container of
    this game. An exited container of this game is replaced, so it is no conflict.
    """
    rival = observed.rival
    if rival is None or (attempt.owns(rival) and not rival.is_alive):
        return
    if not attempt.owns(rival):
        which = f"which this installation (stack {attempt.policy.stack}) does not own"
    else:
        which = "which runs beside the recorded container of the game"
    own = ""
    if observed.own:
        own = f" Its own container {short_id(observed.own.id)}, named {observed.own.name}, was not touched."
    message = (
        f"game {attempt.game_id} cannot get a container: the name {rival.name} is held by container "
        f"{short_id(rival.id)}, {which}; remove or rename that container, then try again.{own}"
    )
    raise ContainerStartFailedError(message)


def is_renamed(record: Runtime, own: Container) -> bool:
    """Whether the recorded container has another name than the one in its endpoint."""
    is_recorded = own.id == record.current_container_id
    return is_recorded and is_misnamed(record.engine_endpoint, name=own.name)


def restore_name(attempt: Attempt, record: Runtime, own: Container) -> Result:
    """Rename the recorded container to the name in its endpoint. Idempotent; the record stays as it is.

    Raises ContainerStartFailedError if another container holds that name.
    """
    name = endpoint_host(record.engine_endpoint)
    try:
        with attempt.write_step("rename"):
            attempt.containers.rename(own.id, name)
    except NameTakenError:
        message = (
            f"game {attempt.game_id} runs, but its endpoint {record.engine_endpoint} does not lead to it: its "
            f"container {short_id(own.id)} was renamed to {own.name}, and another container holds the name {name}; "
            f"remove or rename that other container, then start the game"
        )
        raise ContainerStartFailedError(message) from None
    return name_restored(record, own)


def name_restored(record: Runtime, own: Container) -> Result:
    """The result of an operation that renamed the recorded container, in this attempt or an earlier one."""
    name = endpoint_host(record.engine_endpoint)
    return Result(
        changed_something=True,
        note=f"container {short_id(own.id)} had been renamed; it has its name {name} again",
        container_id=own.id,
        image_ref=record.current_image_ref or "",
    )


def check_host_name(attempt: Attempt) -> None:
    """Raise ConflictError if the container of another game has the host name. Needs no query: the claim knows it."""
    if attempt.claim.name_held_by:
        raise host_name_taken(attempt.game_id, attempt.claim.name_held_by)


def host_name_taken(game_id: str, other: str) -> ConflictError:
    """The error of a game whose host name another game has."""
    reason = host_name_conflict(game_id, other)
    return ConflictError(f"{reason}; clean up {other} first, or use an id that differs in more than case")


def host_name_conflict(game_id: str, other: str) -> str:
    """Why the game cannot have a container."""
    return (
        f"game {game_id} cannot have a container: its id differs only in case from that of game {other}, which has one"
    )


def holders(game_ids: Collection[str]) -> dict[str, str]:
    """Host name in lower case → the game whose recorded container has it, for the host names of these games."""
    rows = Runtime.objects.filter(current_container_id__isnull=False).annotate(host=HOST_NAME)
    return dict(rows.filter(host__in={game_id.lower() for game_id in game_ids}).values_list("host", "game_id"))


def is_host_name_violation(error: Exception) -> bool:
    """Whether the database refused a record because another game has the host name."""
    diagnosis = getattr(error.__cause__, "diag", None)
    return isinstance(error, IntegrityError) and (
        getattr(diagnosis, "constraint_name", None) == ONE_CONTAINER_PER_HOST_NAME
    )
