"""Creates and repairs the state directory of a game and the volume directories in it. Never deletes them.

A game engine may own its state directory and create anything there, such as a symbolic link to the root of the host,
which Docker would follow. So each name is opened relative to its opened parent, and never through a link.
"""

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from runtimes.exceptions import StartConfigInvalidError
from runtimes.storage.image_volumes import VOLUMES_DIRECTORY
from runtimes.storage.state_root import StateRootMissingError, open_root

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_STATE_LINK_ADVICE = "; move the real directory there"
_VOLUME_LINK_ADVICE = (
    ": a game could reach any path of the host through it; find out what created it, then replace it by a directory"
)


class RootGuard(Protocol):
    """Decides whether a state root may be used."""

    def make_if_first(self) -> None:
        """Create the missing root, or raise StartConfigInvalidError."""

    def check(self, root_fd: int) -> None:
        """Raise StartConfigInvalidError if this root may not be used."""


def ensure_state_dir(  # noqa: PLR0913 - the attributes of a directory, and the checks before its creation
    path: str,
    *,
    root: str,
    guard: RootGuard,
    refuse_new: Callable[[], None],
    mode: int,
    owner_uid: int,
    owner_gid: int,
) -> bool:
    """Ensure that ``path``, directly below ``root``, is a writable directory with exactly this mode and owner.

    Returns whether it is new. Idempotent: an existing directory keeps its content; only mode and owner are repaired.
    ``guard`` decides whether the root may be used. ``refuse_new`` is called before a directory is created, and raises
    if none may be created. Raises StartConfigInvalidError with what to do, also if something else has the path, if the
    path is outside the root, or if it cannot be used.
    """
    name, shown = Path(path).name, f"state directory {path}"
    # Only one plain name below the opened root is followed, so no path can leave the root.
    if Path(path).parent != Path(root) or name in {"", ".", ".."}:
        raise StartConfigInvalidError(f"{shown} is not directly in RTMANAGER_GAME_STATE_ROOT ({root})")
    with ExitStack() as opened:
        root_fd = _open_root(root, guard)
        opened.callback(os.close, root_fd)
        guard.check(root_fd)
        is_new = _is_missing(name, root_fd=root_fd)
        if is_new:
            refuse_new()
        # An existing directory is kept: an earlier start, or another worker just now, created it.
        _make(name, parent_fd=root_fd, shown=shown)
        directory_fd = _open(name, parent_fd=root_fd, shown=shown, link_advice=_STATE_LINK_ADVICE)
        opened.callback(os.close, directory_fd)
        _set_owner_and_mode(directory_fd, shown=shown, mode=mode, owner_uid=owner_uid, owner_gid=owner_gid)
        # Also detects read-only file systems and immutable directories, which stop root too.
        if not os.access(name, os.W_OK | os.X_OK, dir_fd=root_fd, effective_ids=True):
            raise StartConfigInvalidError(
                f"{shown} is not writable for this service (uid {os.geteuid()}); remount its file "
                "system read-write, or let RTMANAGER_GAME_STATE_OWNER_UID and _DIR_MODE give it the right"
            )
    return is_new


def ensure_volume_dirs(
    state_path: str, subdirectories: Sequence[str], *, mode: int, owner_uid: int, owner_gid: int
) -> None:
    """Create these directories below the existing state directory. Idempotent: existing ones keep their content.

    Sets mode and owner of new directories and of those below ``.volumes``; others belong to the game's own data.
    Raises StartConfigInvalidError with the path if one is a link, not a directory, or cannot be created.
    """
    for subdirectory in subdirectories:
        with ExitStack() as opened:
            shown = f"volume directory {state_path}"
            parent_fd = _open(state_path, parent_fd=None, shown=shown, link_advice=_VOLUME_LINK_ADVICE)
            opened.callback(os.close, parent_fd)
            names = subdirectory.split("/")
            for name in names:
                shown = f"{shown}/{name}"
                is_new = _make(name, parent_fd=parent_fd, shown=shown)
                parent_fd = _open(name, parent_fd=parent_fd, shown=shown, link_advice=_VOLUME_LINK_ADVICE)
                opened.callback(os.close, parent_fd)
                if is_new or names[0] == VOLUMES_DIRECTORY:
                    _set_owner_and_mode(parent_fd, shown=shown, mode=mode, owner_uid=owner_uid, owner_gid=owner_gid)


def _open_root(root: str, guard: RootGuard) -> int:
    try:
        return open_root(root)
    except StateRootMissingError:
        guard.make_if_first()
        return open_root(root)


def _is_missing(name: str, *, root_fd: int) -> bool:
    try:
        os.stat(name, dir_fd=root_fd, follow_symlinks=False)
    except FileNotFoundError:
        return True
    except OSError:
        # The same error stops its creation, which reports it.
        return False
    return False


def _make(name: str, *, parent_fd: int, shown: str) -> bool:
    """Create one directory; False if the name exists already."""
    try:
        os.mkdir(name, 0o700, dir_fd=parent_fd)
    except FileExistsError:
        return False
    except OSError as error:
        raise StartConfigInvalidError(
            f"{shown} cannot be created: {error.strerror}; make its parent writable for this service"
        ) from error
    return True


def _open(name: str, *, parent_fd: int | None, shown: str, link_advice: str) -> int:
    try:
        return os.open(name, _OPEN_DIRECTORY, dir_fd=parent_fd)
    except OSError as error:
        reason = _explain(error, name=name, parent_fd=parent_fd, link_advice=link_advice)
        raise StartConfigInvalidError(f"{shown} {reason}") from error


def _explain(error: OSError, *, name: str, parent_fd: int | None, link_advice: str) -> str:
    try:
        mode = os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode
    except OSError:
        return f"cannot be opened: {error.strerror}"
    if stat.S_ISLNK(mode):
        return f"is a symbolic link, which RTM never follows{link_advice}"
    if not stat.S_ISDIR(mode):
        return "is not a directory; move it away"
    return f"cannot be opened: {error.strerror}; let this service (uid {os.geteuid()}) read it"


def _set_owner_and_mode(directory_fd: int, *, shown: str, mode: int, owner_uid: int, owner_gid: int) -> None:
    """Set owner and mode of an open directory. Idempotent."""
    status = os.fstat(directory_fd)
    try:
        if (status.st_uid, status.st_gid) != (owner_uid, owner_gid):
            os.fchown(directory_fd, owner_uid, owner_gid)
        # After chown, which may clear mode bits; and not by mkdir, whose mode the umask restricts.
        if stat.S_IMODE(os.fstat(directory_fd).st_mode) != mode:
            os.fchmod(directory_fd, mode)
    except OSError as error:
        raise StartConfigInvalidError(
            f"{shown} cannot be given owner {owner_uid}:{owner_gid} and mode {mode:04o}: "
            f"{error.strerror}; run the service as root, or set RTMANAGER_GAME_STATE_OWNER_UID and _GID to its own"
        ) from error
