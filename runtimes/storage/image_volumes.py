"""Maps the volumes that an image declares to directories in the game's state directory. Pure.

Docker creates an anonymous volume for each declared path without a mount, and deletes it with the container. RTM mounts
a directory of the game's state on that path, which keeps the data.
"""

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from runtimes.exceptions import StartConfigInvalidError

VOLUMES_DIRECTORY = ".volumes"
MAX_VOLUMES = 32
_LONGEST_NAME = 255
_LONGEST_PATH = 1024
# Paths of the kernel: nothing can be mounted there, or programs fail if something is.
_RESERVED = ("/proc", "/sys")
_RESERVED_EXACTLY = ("/", "/dev")


@dataclass(frozen=True, slots=True)
class VolumeMount:
    """A directory below the game's state directory, and its mount path in the container."""

    subdirectory: str
    target: str
    read_only: bool = False


def plan_volumes(declared: Iterable[str], *, mount_path: str) -> tuple[VolumeMount, ...]:
    """Return the mounts for all declared volumes. The result is always the same for one image.

    A volume inside the state mount maps to the same directory of the state; each parent directory is mounted too. Any
    other volume maps to ``.volumes/<path, percent-encoded>``, and ``.volumes`` itself is mounted read-only. The kernel
    does not allow to rename or replace a mount point. So a game cannot put a symbolic link where Docker expects a mount
    source at the next start.

    Raises StartConfigInvalidError for a path that cannot be mounted.
    """
    mount = _normalized(mount_path)
    paths = sorted({_checked(text) for text in declared} - {mount})
    if len(paths) > MAX_VOLUMES:
        raise StartConfigInvalidError(
            f"the image declares {len(paths)} volumes; at most {MAX_VOLUMES} are supported: declare fewer"
        )
    by_subdirectory: dict[str, VolumeMount] = {}
    for path in paths:
        for volume in _inside(path, mount) if path.startswith(f"{mount}/") else _outside(path, mount):
            by_subdirectory[volume.subdirectory] = volume
    return tuple(by_subdirectory[name] for name in sorted(by_subdirectory))


def declared_outside(declared: Iterable[str], *, mount_path: str) -> list[str]:
    """The declared volumes that are not the state mount itself, as the image writes them."""
    mount = _normalized(mount_path)
    return sorted(text for text in declared if _normalized(text) != mount)


def _inside(path: str, mount: str) -> list[VolumeMount]:
    parts = path.removeprefix(f"{mount}/").split("/")
    if parts[0] == VOLUMES_DIRECTORY:
        raise _refusal(path, f"{mount}/{VOLUMES_DIRECTORY} is reserved for the other volumes")
    prefixes = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    return [VolumeMount(prefix, f"{mount}/{prefix}") for prefix in prefixes]


def _outside(path: str, mount: str) -> list[VolumeMount]:
    name = quote(path.removeprefix("/"), safe="")
    if len(name) > _LONGEST_NAME:
        raise _refusal(path, f"its directory name would have {len(name)} bytes, more than {_LONGEST_NAME}")
    return [
        VolumeMount(VOLUMES_DIRECTORY, f"{mount}/{VOLUMES_DIRECTORY}", read_only=True),
        VolumeMount(f"{VOLUMES_DIRECTORY}/{name}", path),
    ]


def _checked(text: str) -> str:
    """Return the path as Docker mounts it. Raises StartConfigInvalidError for an unusable path."""
    if not text.startswith("/"):
        raise _refusal(text, "it is not absolute, so no mount can replace that volume")
    if not text.isprintable():
        raise _refusal(text, "it has non-printable characters")
    path = _normalized(text)
    if path in _RESERVED_EXACTLY or any(f"{path}/".startswith(f"{reserved}/") for reserved in _RESERVED):
        raise _refusal(text, f"nothing can be mounted on {path}")
    size = len(path.encode())
    longest = max(len(part.encode()) for part in path.split("/"))
    if size > _LONGEST_PATH or longest > _LONGEST_NAME:
        raise _refusal(text, f"it has {size} bytes, or one of its names has more than {_LONGEST_NAME}")
    return path


def _normalized(path: str) -> str:
    # POSIX gives two leading slashes a special meaning; Docker does not.
    return "/" + posixpath.normpath(f"/{path}").lstrip("/")


def _refusal(path: str, reason: str) -> StartConfigInvalidError:
    shown = path if len(path) <= _LONGEST_NAME else f"{path[:_LONGEST_NAME]}…"
    message = f"the image declares a volume at {shown!r}, which cannot be used: {reason}; change the image"
    return StartConfigInvalidError(message)
