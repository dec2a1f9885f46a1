"""Finds a static busybox: it provides all programs of the sample engine's image."""

import os
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from deploy.local.system.errors import LocalError
from deploy.local.system.shell import apt_update, can_install, run

_PACKAGE = "busybox-static"
# Debian 13 and later install it into the second folder.
_FOLDERS = ("bin", "usr/bin")


def find_busybox(cache: Path) -> Path | None:
    """Return a static busybox: of the machine, else of Debian's package, unpacked below ``cache``. None without both.

    The package is not installed: Debian's static and dynamic packages conflict, and the machine may need the other.
    ``apt_log(cache)`` shows why a download failed.
    """
    busybox = installed_busybox() or unpacked_busybox(cache)
    if busybox is None:
        with suppress(LocalError, OSError):
            _unpack(cache)
    return busybox or unpacked_busybox(cache)


def installed_busybox() -> Path | None:
    """Return the first static busybox in ``PATH`` and in the two directories where Debian releases install it."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), *(f"/{folder}" for folder in _FOLDERS)]
    return _first_static(Path(folder) / "busybox" for folder in folders if folder)


def unpacked_busybox(cache: Path) -> Path | None:
    """Return the busybox of an unpacked package, in the layout of any Debian release."""
    return _first_static(cache / _PACKAGE / folder / "busybox" for folder in _FOLDERS)


def apt_log(cache: Path) -> Path:
    """Return the log of the downloads of the package."""
    return cache / "apt.log"


def _first_static(candidates: Iterable[Path]) -> Path | None:
    return next((path for path in candidates if path.is_file() and is_static(path)), None)


def is_static(binary: Path) -> bool:
    """Whether this is an ELF program without a dynamic loader."""
    with binary.open("rb") as file:
        if file.read(4) != b"\x7fELF":
            return False
    # ldd fails for a static program, and names a static PIE as such.
    done = subprocess.run(["ldd", binary], check=False, capture_output=True, text=True)  # noqa: S603, S607
    return done.returncode != 0 or "statically linked" in done.stdout


def _unpack(cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    log = apt_log(cache)
    download = ["apt-get", "download", _PACKAGE]
    try:
        run(download, log=log, cwd=cache)
    except LocalError:
        if not can_install():
            raise
        apt_update(log=log)
        run(download, log=log, cwd=cache)
    package = max(cache.glob(f"{_PACKAGE}_*.deb"))
    run(["dpkg-deb", "--extract", package, cache / _PACKAGE], log=log)
