"""Root file systems of other Debian releases, made from packages. They need root and mmdebstrap."""

import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from deploy.local.system.shell import run

# How to reach package sources; the rest of apt's settings belongs to this machine's own packages.
_SETTINGS = ("Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries", "Acquire::Force")


def make_root(suite: str, packages: Sequence[str], target: Path, *, log: Path, variant: str = "minbase") -> None:
    """Make a root file system: a directory, or an archive if the name ends with ``.tar``.

    ``variant`` is that of mmdebstrap. The target exists only if it is complete. Raises LocalError if a program fails.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    half_made = target.with_name(f"{secrets.token_hex(4)}-{target.name}")
    options = [f"--aptopt={line}" for line in apt_settings()]
    command = ["mmdebstrap", "--quiet", f"--variant={variant}", f"--include={','.join(packages)}", *options]
    try:
        run([*command, suite, half_made, *_mirror()], log=log)
        half_made.rename(target)
    finally:
        if half_made.is_dir():
            shutil.rmtree(half_made)
        half_made.unlink(missing_ok=True)


def apt_settings() -> list[str]:
    """Return the settings by which apt reaches package sources from this machine, one per line."""
    dumped = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True).stdout  # noqa: S607
    return [line for line in dumped.splitlines() if line.startswith(_SETTINGS)]


def _mirror() -> list[str]:
    """Return the Debian mirror that this machine uses; empty, for Debian's own, when it uses none."""
    sources = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.[ls]*"))]
    lines = [line for path in sources if path.is_file() for line in path.read_text().splitlines()]
    fields = [word for line in lines if not line.lstrip().startswith("#") for word in line.split()]
    return [word for word in fields if urlsplit(word).path.strip("/") == "debian"][:1]
