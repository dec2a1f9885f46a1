"""A static busybox, the whole user land of the sample engine's image."""

import shutil
import struct
from contextlib import suppress
from pathlib import Path

from rtmanager.local.commands import apt_update, can_install, run
from rtmanager.local.errors import LocalError

_PACKAGE = "busybox-static"
_ELF_INTERPRETER = 3


def find_busybox(cache: Path) -> Path | None:
    """A busybox that runs without libraries: the machine's, else Debian's package unpacked below ``cache``.

    Nothing is installed: Debian's static and dynamic packages exclude each other, and the other one may be needed.
    None when neither can be had.
    """
    on_path = shutil.which("busybox")
    candidates = [Path(path) for path in ("/bin/busybox", on_path) if path]
    unpacked = cache / _PACKAGE / "bin" / "busybox"
    for candidate in (*candidates, unpacked):
        if candidate.exists() and is_static(candidate):
            return candidate
    with suppress(LocalError, OSError):
        _unpack(cache)
    return unpacked if unpacked.exists() else None


def is_static(binary: Path) -> bool:
    """Whether this 64-bit Linux program asks for no dynamic loader."""
    image = binary.read_bytes()
    if image[:5] != b"\x7fELF\x02":
        return False
    table, size, count = struct.unpack_from("<Q14xHH", image, 32)
    return all(struct.unpack_from("<I", image, table + n * size)[0] != _ELF_INTERPRETER for n in range(count))


def _unpack(cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    log = cache / "apt.log"
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
