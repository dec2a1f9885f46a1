"""Create or update a virtual environment. Runs on a bare Python, before any package is installed.

Usage: ``python3 deploy/local/venv.py`` for the environment of the project; with ``bench`` for the benchmark, on top of
the project's environment; with ``service`` for an installation without development packages. Idempotent: does nothing
if the pinned requirements, the Python version and the path of the clone have not changed.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CLONE = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    # As a script, Python searches only this file's directory.
    sys.path[0] = str(CLONE)
from deploy.local.progress import dots, write  # noqa: E402 (after the search path)

LOG = CLONE / ".run" / "venv.log"
OLDEST = (3, 11)
NEWEST = (3, 13)


@dataclass(frozen=True)
class Environment:
    """One virtual environment. It also sees the packages of the environment ``below``."""

    home: Path
    requirements: Path
    below: "Environment | None" = None

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.home / "bin" / "python"

    @property
    def packages(self) -> Path:
        """The directory of its packages."""
        return self.home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"

    @property
    def stamp(self) -> Path:
        """The file with the fingerprint of the last complete installation."""
        return self.home / ".stamp"

    def fingerprint(self) -> str:
        """Return a hash of all inputs: pinned requirements, interpreter, and path (scripts contain the path)."""
        parts = [self.requirements.read_text(), platform.python_version(), str(self.home)]
        parts += [self.below.fingerprint()] if self.below else []
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def is_current(self) -> bool:
        """Whether the last complete installation had the same inputs."""
        return self.stamp.is_file() and self.stamp.read_text() == self.fingerprint()


PROJECT = Environment(CLONE / ".venv", CLONE / "requirements.txt")
BENCH = Environment(CLONE / ".run" / "bench" / "venv", CLONE / "bench" / "requirements.txt", below=PROJECT)
DOCS = Environment(CLONE / ".run" / "docs", CLONE / "docs" / "requirements.txt")
SERVICE = Environment(CLONE / ".run" / "bench" / "service", CLONE / "deploy" / "requirements" / "runtime.txt")


def main() -> None:
    """Update the environment, with progress on the terminal."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        _fail(f"Python 3.11 to 3.13 is needed, this is {platform.python_version()}; name one: make PYTHON=python3.11")
    environment = {"bench": BENCH, "docs": DOCS, "service": SERVICE}.get("".join(sys.argv[1:]), PROJECT)
    LOG.parent.mkdir(exist_ok=True)
    # Only one of several parallel `make` commands in a clone may write the environment.
    with (CLONE / ".run" / "venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not environment.is_current():
            _make(environment)


def _make(environment: Environment) -> None:
    started = time.monotonic()
    if environment.home.is_symlink():
        # venv --clear would empty the target of the link, which another clone may use.
        _fail(f"{environment.home} is a symbolic link to an outdated environment; remove the link, then retry")
    environment.stamp.unlink(missing_ok=True)
    # A usable environment is kept and updated: processes may run in it now.
    if not _is_usable(environment):
        _create(environment)
    write(f"  virtual environment {environment.home.relative_to(CLONE)}, of pinned packages ")
    install = ["-m", "pip", "install", "--disable-pip-version-check", "-r", str(environment.requirements)]
    _run([str(environment.python), *install])
    environment.stamp.write_text(environment.fingerprint())
    write(f" ok, {time.monotonic() - started:.1f} s\n")


def _is_usable(environment: Environment) -> bool:
    """Whether the environment was created at this path, with the Python that runs now."""
    config = environment.home / "pyvenv.cfg"
    if not config.is_file() or str(environment.home) not in config.read_text():
        return False
    command = [str(environment.python), "-c", "import pip, platform; print(platform.python_version())"]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 (no user input)
    except OSError:
        return False
    return done.stdout.strip() == platform.python_version()


def _create(environment: Environment) -> None:
    # Debian ships venv without ensurepip until python3-venv is installed; importing it is the only sure check.
    probe = [sys.executable, "-c", "import ensurepip, venv"]
    if subprocess.run(probe, check=False, stderr=subprocess.DEVNULL).returncode:  # noqa: S603 (no user input)
        _install_ensurepip()
    _run([sys.executable, "-m", "venv", "--clear", str(environment.home)])
    if environment.below:
        (environment.packages / "below.pth").write_text(f"{environment.below.packages}\n")


def _install_ensurepip() -> None:
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        _fail(f"this Python cannot create virtual environments; as root: apt-get install {package}")
    write(f"  {package} from Debian ")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    _run(["apt-get", "update"])
    _run(["apt-get", "install", "--yes", "--no-install-recommends", package])
    write(" ok\n")


def _run(command: Sequence[str]) -> None:
    """Run a command into the log, with dots. On failure show the end of the log, and exit."""
    with LOG.open("a") as log, dots():
        code = subprocess.run(command, check=False, stdout=log, stderr=subprocess.STDOUT).returncode  # noqa: S603
    if code:
        tail = "\n".join(LOG.read_text().splitlines()[-15:])
        _fail(f"{' '.join(command)} failed with exit code {code}; the whole output is in {LOG}\n{tail}")


def _fail(reason: str) -> None:
    sys.exit(f"\n{reason}")


if __name__ == "__main__":
    main()
