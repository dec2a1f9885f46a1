"""Checks that the directories that Docker will mount are real directories below the state root, and no links."""

import errno
import os
from collections.abc import Sequence
from contextlib import ExitStack

from runtimes.gateway.calls import CallRefusedError, Reason

_DIRECTORY = os.O_PATH | os.O_DIRECTORY


def check_sources(root: str, sources: Sequence[str]) -> None:
    """Raise CallRefusedError unless each source is a directory below the root, reached through no symbolic link.

    Docker would follow a link to any path of the host. The root itself may be a link: the operator made it.
    """
    for source in sources:
        names = source.removeprefix(f"{root.rstrip('/')}/").split("/")
        if not source.startswith(f"{root.rstrip('/')}/") or {"", ".", ".."} & set(names):
            message = f"{source} is not below the state root {root} (RTMANAGER_GAME_STATE_ROOT)"
            raise CallRefusedError(Reason.STATE_DIRECTORY, message)
        _open_all(root, names, source)


def _open_all(root: str, names: Sequence[str], source: str) -> None:
    with ExitStack() as opened:
        try:
            parent_fd = os.open(root, _DIRECTORY)
            opened.callback(os.close, parent_fd)
            for name in names:
                parent_fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent_fd)
                opened.callback(os.close, parent_fd)
        except OSError as error:
            raise CallRefusedError(Reason.STATE_DIRECTORY, _explain(error, source)) from None


def _explain(error: OSError, source: str) -> str:
    if error.errno == errno.ENOENT:
        # Docker's own words for it, which the adapter knows.
        return f"bind source path does not exist: {source}"
    if error.errno in {errno.ENOTDIR, errno.ELOOP}:
        return f"{source} or a directory above it is a symbolic link or a file, which is never mounted; replace it"
    return f"{source} cannot be checked: {error.strerror}; let the gateway (uid {os.geteuid()}) enter it"
