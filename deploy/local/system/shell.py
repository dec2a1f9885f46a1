"""Runs other programs until they exit, and installs Debian packages."""

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deploy.local.system.errors import LocalError

_TAIL_LINES = 12
_WIDTH = 300


def run(
    command: Sequence[str | Path],
    *,
    log: Path,
    user: str = "",
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Run a command; append its output to ``log``. Raises LocalError with the last lines if it fails.

    ``user``: drop from root to this user and its group, without supplementary groups.
    """
    identity: dict[str, object] = {"user": user, "group": _group_of(user), "extra_groups": []} if user else {}
    with log.open("a") as output:
        start = output.tell()
        done = subprocess.run(  # type: ignore[call-overload]  # noqa: S603 (never user input)
            [str(part) for part in command],
            check=False, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env=environment, cwd=cwd, **identity,
        )  # fmt: skip
    if done.returncode:
        shown = " ".join(Path(str(part)).name if index == 0 else str(part) for index, part in enumerate(command))
        message = f"{shown} failed with exit code {done.returncode}; last lines of {log}:\n{tail(log, start)}"
        raise LocalError(message)


def tail(log: Path, start: int = 0, *, lines: int = _TAIL_LINES) -> str:
    """Return the last lines of a log from byte ``start`` on, indented. Empty if there is no log."""
    if not log.exists():
        return ""
    with log.open("rb") as handle:
        handle.seek(start)
        text = handle.read().decode(errors="replace")
    return "\n".join(f"    {line[:_WIDTH]}" for line in text.splitlines()[-lines:])


def wait_until(condition: Callable[[], bool], *, timeout_seconds: float, interval_seconds: float = 0.1) -> bool:
    """Poll a condition; return whether it became true in time."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval_seconds)
    return True


def is_root() -> bool:
    """Whether this process runs as root."""
    return os.geteuid() == 0


def can_install() -> bool:
    """Whether Debian packages can be installed here."""
    return is_root() and shutil.which("apt-get") is not None


def apt_install(*packages: str, log: Path) -> None:
    """Install Debian packages without their recommended packages. Idempotent; needs ``can_install()``."""
    apt_update(log=log)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "install", "--yes", "--no-install-recommends", *packages], log=log, environment=environment)


def apt_update(*, log: Path) -> None:
    """Fetch the package lists; a fresh machine has none."""
    run(["apt-get", "update"], log=log)


def _group_of(user: str) -> int:
    return pwd.getpwnam(user).pw_gid
