"""Restart and patch: replace the container of a game by a new one, of the same image or of another patch release."""

from typing import NoReturn

from django.conf import settings

from operations.actions.results import running, state_after_failure, unreported_exit
from operations.execution.attempt import Attempt, FailedWithStateError, Result
from operations.execution.containers import (
    StartPlan,
    check_network,
    prepare_state,
    prepare_volumes,
    start_container,
    validate,
)
from operations.execution.image_choice import (
    ImageChoice,
    choose_for_restart,
    choose_for_revert,
    choose_recorded,
    choose_requested,
)
from operations.execution.observation import observe, reject_name_conflict
from operations.messages import HealthEvent
from runtimes.containers.base import ContainerStartFailedError
from runtimes.exceptions import RuntimeManagerError, StartConfigInvalidError
from runtimes.formatting import short_image_id
from runtimes.image_refs import check_patch
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus


def restart(attempt: Attempt) -> Result:
    """Replace the container, whether it runs or not, and start the new one.

    The new container uses the image that ran, by image id. Only with pull policy ``always`` may it be a newer image of
    the same reference. With ``if_ended_by`` it is a no-op unless the game is still down for that cause.
    """
    required_cause = attempt.operation.arguments.get("if_ended_by", "")
    if required_cause and attempt.require_record().ended_by != required_cause:
        return Result.no_op(attempt.require_record())

    record = attempt.require_not_removed()
    with attempt.step("validate"):
        check_network(attempt)
    note = prepare_state(attempt)
    observed = observe(attempt)
    reject_name_conflict(attempt, observed)

    earlier = unreported_exit(attempt, observed.own)
    try:
        image = choose_for_restart(attempt, record)
        plan = StartPlan(image, volumes=prepare_volumes(attempt, image))
        container_id = start_container(attempt, observed.own, plan)
    except RuntimeManagerError as error:
        if error.transient or not (isinstance(error, ContainerStartFailedError) or attempt.timeline.has("remove")):
            raise
        raise FailedWithStateError(error, state_after_failure(attempt, record, earlier=earlier)) from error
    return running(attempt, container_id, plan, earlier=earlier, note=note)


def patch(attempt: Attempt) -> Result:
    """Start the game on the new image. A no-op if the record has that image already.

    Every check runs, and both images are on the host, before the game is disturbed. If the new image does not come up
    and stay up, the old one is started again and the patch fails.
    """
    record = attempt.require_not_removed()
    old_ref, new_ref = record.current_image_ref or "", attempt.operation.arguments["image_ref"]
    if attempt.timeline.has("revert"):
        revert(attempt, record, attempt.timeline.last_error_before("revert"))

    validate(attempt, new_ref)
    check_patch(old_image_ref=old_ref, new_image_ref=new_ref)
    if old_ref == new_ref:
        return Result.no_op(record)
    prepare_state(attempt)

    old_image = choose_for_revert(attempt, record)
    new_image = choose_requested(attempt, new_ref)
    if old_image is not None:
        prepare_volumes(attempt, old_image, is_revert=True)
    volumes = prepare_volumes(attempt, new_image)

    observed = observe(attempt)
    reject_name_conflict(attempt, observed)
    earlier = unreported_exit(attempt, observed.own)
    plan = StartPlan(new_image, volumes=volumes, settle_seconds=settings.RTMANAGER.patch_settle_seconds)
    try:
        container_id = start_container(attempt, observed.own, plan)
    except (ContainerStartFailedError, StartConfigInvalidError) as error:
        revert(attempt, record, error.message, earlier=earlier)
    return running(attempt, container_id, plan, earlier=earlier)


def revert(attempt: Attempt, record: Runtime, reason: str, *, earlier: tuple[HealthEvent, ...] = ()) -> NoReturn:
    """Bring the old image up again, in the state it had before the patch.

    Always raises FailedWithStateError, because the patch has failed.
    """
    with attempt.write_step("revert"):
        resulting_state, outcome = _start_old_image(attempt, record, earlier=earlier)
    message = f"image {attempt.operation.arguments['image_ref']} did not come up ({reason}); {outcome}"
    raise FailedWithStateError(ContainerStartFailedError(message), resulting_state)


def _start_old_image(
    attempt: Attempt, record: Runtime, *, earlier: tuple[HealthEvent, ...]
) -> tuple[Result, str]:  # fmt: skip
    """Return the resulting state of the record and its description."""
    was_running = record.status == RuntimeStatus.RUNNING
    try:
        image = choose_recorded(attempt, record)
        plan = StartPlan(image, volumes=prepare_volumes(attempt, image, is_revert=True), run=was_running)
        container_id = start_container(attempt, observe(attempt).own, plan)
    except RuntimeManagerError as error:
        if error.transient:
            raise
        state = state_after_failure(attempt, record, earlier=earlier)
        return state, f"the old image {record.current_image_ref or ''} could not be put back either: {error.message}"
    return running(attempt, container_id, plan, earlier=earlier), _describe_revert(image, was_running=was_running)


def _describe_revert(image: ImageChoice, *, was_running: bool) -> str:
    again = "the game is running on it again" if was_running else "the game is stopped on it again"
    note = f"; {image.note}" if image.note else ""
    return f"the old image {image.image_ref} ({short_image_id(image.image.id)}) was put back, {again}{note}"
