"""Which image may replace which: a patch keeps major and minor. Pure."""

from semver import Version

from runtimes.exceptions import ImageRefNotSemverError, SemverPatchOnlyError
from runtimes.images import split_image_ref


def check_patch(*, old_image_ref: str, new_image_ref: str) -> None:
    """Return when the new image is a patch release of the old one, in either direction, or the same version.

    Raises ImageRefNotSemverError when either reference has no tag or a tag that is no semantic version (a leading
    ``v`` is fine), SemverPatchOnlyError when major or minor differ.
    """
    old, new = _version(old_image_ref), _version(new_image_ref)
    if (old.major, old.minor) != (new.major, new.minor):
        message = (
            f"{old_image_ref} and {new_image_ref} differ in more than the patch level; "
            f"stop the game and start it with the other image instead"
        )
        raise SemverPatchOnlyError(message)


def _version(image_ref: str) -> Version:
    _repository, tag, _digest = split_image_ref(image_ref)
    try:
        return Version.parse(tag.removeprefix("v"))
    except ValueError:
        found = f"its tag {tag!r} is none" if tag else "it has no tag"
        message = f"image reference {image_ref} names no semantic version like 1.4.2: {found}"
        raise ImageRefNotSemverError(message) from None
