"""The directory of a game's state on the host: made and repaired here, never deleted."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtimes.exceptions import StartConfigInvalidError

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def ensure_state_dir(path: str, *, root: str, mode: int, owner_uid: int, owner_gid: int) -> None:
    """Make ``path``, directly below ``root``, a directory of exactly this mode and owner that can be written to.

    Idempotent: what exists is kept with its content; only mode and owner are repaired. A missing root is
    created with its parents. Raises StartConfigInvalidError, with what to do, when the place is taken by
    something else, lies outside the root, or cannot be used.
    """
    name = _name_below(root, path=path)
    with _opened_root(root) as root_fd, _opened_state_dir(name, root_fd=root_fd, path=path) as directory_fd:
        _repair(directory_fd, path=path, mode=mode, owner_uid=owner_uid, owner_gid=owner_gid)
        # Answers for read-only file systems and immutable directories too, which root does not get around.
        if not os.access(name, os.W_OK | os.X_OK, dir_fd=root_fd, effective_ids=True):
            message = (
                f"state directory {path} is not writable for this service (uid {os.geteuid()}); remount its file "
                "system read-write, or let RTMANAGER_GAME_STATE_OWNER_UID and _DIR_MODE give it the right"
            )
            raise StartConfigInvalidError(message)


def _name_below(root: str, *, path: str) -> str:
    place = Path(path)
    # One plain name below the opened root is all that is ever followed, so nothing can lead out of it.
    if place.parent != Path(root) or place.name in {"", ".", ".."}:
        message = f"state directory {path} does not lie directly in RTMANAGER_GAME_STATE_ROOT ({root})"
        raise StartConfigInvalidError(message)
    return place.name


@contextmanager
def _opened_root(root: str) -> Iterator[int]:
    try:
        Path(root).mkdir(parents=True, exist_ok=True)
        # The root itself may be a symbolic link: that is the operator's own choice.
        root_fd = os.open(root, _OPEN_DIRECTORY & ~os.O_NOFOLLOW)
    except OSError as error:
        message = (
            f"RTMANAGER_GAME_STATE_ROOT ({root}) cannot be used: {error.strerror}; make it a directory that this "
            f"service (uid {os.geteuid()}) may write to"
        )
        raise StartConfigInvalidError(message) from error
    try:
        yield root_fd
    finally:
        os.close(root_fd)


@contextmanager
def _opened_state_dir(name: str, *, root_fd: int, path: str) -> Iterator[int]:
    try:
        directory_fd = _make_and_open(name, root_fd=root_fd)
    except OSError as error:
        raise StartConfigInvalidError(_explain(error, name=name, root_fd=root_fd, path=path)) from error
    try:
        yield directory_fd
    finally:
        os.close(directory_fd)


def _make_and_open(name: str, *, root_fd: int) -> int:
    # What exists is kept, be it from an earlier start or made by another worker in this very moment.
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=root_fd)
    return os.open(name, _OPEN_DIRECTORY, dir_fd=root_fd)


def _explain(error: OSError, *, name: str, root_fd: int, path: str) -> str:
    try:
        found = os.stat(name, dir_fd=root_fd, follow_symlinks=False).st_mode
    except OSError:
        return f"state directory {path} cannot be made: {error.strerror}; make its parent writable for this service"
    if stat.S_ISLNK(found):
        return f"state directory {path} is a symbolic link, which is never followed; move the real directory there"
    if not stat.S_ISDIR(found):
        return f"state directory {path} is not a directory; move away what is there"
    return f"state directory {path} cannot be opened: {error.strerror}; let this service (uid {os.geteuid()}) read it"


def _repair(directory_fd: int, *, path: str, mode: int, owner_uid: int, owner_gid: int) -> None:
    found = os.fstat(directory_fd)
    try:
        if (found.st_uid, found.st_gid) != (owner_uid, owner_gid):
            os.fchown(directory_fd, owner_uid, owner_gid)
        # After the owner, whose change may clear bits, and not by mkdir, whose mode the umask cuts.
        if stat.S_IMODE(os.fstat(directory_fd).st_mode) != mode:
            os.fchmod(directory_fd, mode)
    except OSError as error:
        message = (
            f"state directory {path} cannot be given owner {owner_uid}:{owner_gid} and mode {mode:04o}: "
            f"{error.strerror}; run the service as root, or set RTMANAGER_GAME_STATE_OWNER_UID and _GID to its own"
        )
        raise StartConfigInvalidError(message) from error
