"""Which image a new container is created from: a requested reference, or the image that the game ran before.

Others can move or remove a reference, but not the id of an image. A restart and the revert of a patch therefore use the
recorded id. They give Docker the reference only while it names that image.
"""

from dataclasses import dataclass

from django.conf import settings

from operations.execution.attempt import Attempt
from operations.execution.image_pulls import pull
from runtimes.containers.base import Image, ImagePullFailedError
from runtimes.formatting import short_image_id
from runtimes.image_refs import check_allowed, check_image_ref, is_id_of
from runtimes.models import Runtime


@dataclass(frozen=True, slots=True)
class ImageChoice:
    """The image of a new container.

    ``create_from`` is what Docker gets: the reference, or the id if the reference names another image or none.
    ``note``: what an operator should know about the choice.
    """

    image_ref: str
    image: Image
    create_from: str
    note: str = ""


def check_reference(image_ref: str) -> None:
    """Raise StartConfigInvalidError if Docker would not accept the reference, or the settings do not allow it."""
    check_image_ref(image_ref)
    check_allowed(image_ref, settings.RTMANAGER.allowed_registries)


def choose_requested(attempt: Attempt, image_ref: str) -> ImageChoice:
    """The image that the reference names, pulled if the policy says so. Raises as ``ensure_image``."""
    return ImageChoice(image_ref, ensure_image(attempt, image_ref), image_ref)


def choose_for_restart(attempt: Attempt, record: Runtime) -> ImageChoice:
    """The image that the game ran; with pull policy ``always`` the one that its reference names now.

    Raises as ``choose_recorded``.
    """
    image_ref = record.current_image_ref or ""
    if settings.RTMANAGER.image_pull_policy != "always" or is_id_of(image_ref, record.image_id):
        return choose_recorded(attempt, record)
    check_reference(image_ref)
    image = ensure_image(attempt, image_ref)
    if record.image_id in {"", image.id}:
        return ImageChoice(image_ref, image, image_ref)
    before, now = short_image_id(record.image_id), short_image_id(image.id)
    note = f"{image_ref} was pulled and names image {now} now; the game ran {before} before"
    return ImageChoice(image_ref, image, image_ref, note)


def choose_recorded(attempt: Attempt, record: Runtime) -> ImageChoice:
    """The image that the game ran, by its recorded id; if Docker no longer has it, the one that its reference names.

    Raises ImagePullFailedError if neither is available, StartConfigInvalidError if the record has no usable reference,
    and WaitingForPullError if the operation must wait for a pull.
    """
    image_ref, image_id = record.current_image_ref or "", record.image_id
    has_no_reference = is_id_of(image_ref, image_id)
    named = None if has_no_reference else _find(attempt, image_ref)
    if named is not None and image_id in {"", named.id}:
        return ImageChoice(image_ref, named, image_ref)

    recorded = _find(attempt, image_id) if image_id else None
    if recorded is not None:
        now = (
            f"names another image now ({short_image_id(named.id)})"
            if named
            else "names no image on this Docker host any more"
        )
        stays = f"the game stays on the image that it ran, {short_image_id(image_id)}"
        note = "" if has_no_reference else f"{image_ref} {now}; {stays}"
        return ImageChoice(image_ref, recorded, image_id, note)

    if has_no_reference:
        message = (
            f"game {attempt.game_id} ran image {short_image_id(image_id)}, which is not on this Docker host any more, "
            "and its record has no reference to pull; start the game with an image reference"
        )
        raise ImagePullFailedError(message)
    check_reference(image_ref)
    image = ensure_image(attempt, image_ref)
    note = (
        f"image {short_image_id(image_id)}, which the game ran, is not on this Docker host any more; "
        f"it runs {image_ref} as it is now, image {short_image_id(image.id)}"
    )
    return ImageChoice(image_ref, image, image_ref, note if image_id else "")


def choose_for_revert(attempt: Attempt, record: Runtime) -> ImageChoice | None:
    """The image that a patch reverts to. Raises ImagePullFailedError if there is none.

    None if the game has been disturbed already: it is too late to refuse, so the revert uses what is available.
    """
    if attempt.timeline.has("stop", "remove"):
        return None
    try:
        return choose_recorded(attempt, record)
    except ImagePullFailedError as error:
        message = (
            f"game {attempt.game_id} was not patched and was not disturbed: if the new image failed, the old one could "
            f"not be started again: {error.message}; load or publish the old image, or stop the game and start the "
            f"new one"
        )
        raise ImagePullFailedError(message) from error


def ensure_image(attempt: Attempt, image_ref: str) -> Image:
    """The image on this host, pulled if the policy says so.

    Raises ImagePullFailedError, and WaitingForPullError if the operation must wait for a pull.
    """
    policy = settings.RTMANAGER.image_pull_policy
    image = _find(attempt, image_ref)
    if policy == "always" or (policy == "if_missing" and image is None):
        pull(attempt, image_ref, is_here=image is not None)
        image = _find(attempt, image_ref)
    if image is None:
        message = f"image {image_ref} is not on this Docker host" + (
            " and the pull policy is never; load it or change RTMANAGER_IMAGE_PULL_POLICY" if policy == "never" else ""
        )
        raise ImagePullFailedError(message)
    return image


def _find(attempt: Attempt, reference_or_id: str) -> Image | None:
    with attempt.step("inspect_image"):
        return attempt.containers.find_image(reference_or_id)
