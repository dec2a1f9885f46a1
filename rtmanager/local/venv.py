"""Make or refresh a virtual environment. Runs on a bare Python, before anything is installed.

Usage: ``python3 rtmanager/local/venv.py`` for the project's own; with ``bench`` for the benchmark's, which stands on
top of it; with ``service`` for what an installation has, nothing that only development needs. Idempotent; does nothing
when the pinned requirements, the Python and the place of the clone are those of the last time.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CLONE = Path(__file__).resolve().parents[2]
LOG = CLONE / ".run" / "venv.log"
OLDEST = (3, 11)
NEWEST = (3, 13)
DOT_EVERY_SECONDS = 2.0


@dataclass(frozen=True)
class Environment:
    """One virtual environment; ``below`` is another whose packages it sees without having them. ``project``: of the
    requirements only what this project asks for, and what that needs.
    """

    home: Path
    requirements: Path
    below: "Environment | None" = None
    project: Path | None = None

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.home / "bin" / "python"

    @property
    def packages(self) -> Path:
        """Where its packages are."""
        return self.home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"

    @property
    def stamp(self) -> Path:
        """What was set up completely the last time."""
        return self.home / ".stamp"

    def fingerprint(self) -> str:
        """What it depends on: pinned requirements, interpreter, and path (scripts have it built in)."""
        parts = [self.requirements.read_text(), platform.python_version(), str(self.home)]
        parts += [self.below.fingerprint()] if self.below else []
        parts += [self.project.read_text()] if self.project else []
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def wanted(self) -> list[str]:
        """What pip is to install, in its words."""
        if not self.project:
            return ["-r", str(self.requirements)]
        import tomllib  # noqa: PLC0415 - older Pythons lack it, and are to be told so in words

        asked = tomllib.loads(self.project.read_text())["project"]["dependencies"]
        return ["--constraint", str(self.requirements), *asked]

    def is_current(self) -> bool:
        """Whether the last complete set-up was of exactly this."""
        return self.stamp.is_file() and self.stamp.read_text() == self.fingerprint()


PROJECT = Environment(CLONE / ".venv", CLONE / "requirements.txt")
BENCH = Environment(CLONE / ".run" / "bench" / "venv", CLONE / "bench" / "requirements.txt", below=PROJECT)
SERVICE = Environment(
    CLONE / ".run" / "bench" / "service", CLONE / "requirements.txt", project=CLONE / "pyproject.toml"
)  # fmt: skip


def main() -> None:
    """Bring the environment up to date, showing that something happens while it does."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        _give_up(
            f"Python 3.11 to 3.13 is needed, this is {platform.python_version()}; name one: make PYTHON=python3.11"
        )
    environment = {"bench": BENCH, "service": SERVICE}.get("".join(sys.argv[1:]), PROJECT)
    LOG.parent.mkdir(exist_ok=True)
    # Two makes started at once in one clone must not both write the environment.
    with (CLONE / ".run" / "venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not environment.is_current():
            _make(environment)


def _make(environment: Environment) -> None:
    started = time.monotonic()
    environment.stamp.unlink(missing_ok=True)
    # One that fits is only added to: whatever runs in it now must not find it gone.
    if not _fits(environment):
        _create(environment)
    _say(f"  virtual environment {environment.home.relative_to(CLONE)}, of pinned packages ")
    _run([str(environment.python), "-m", "pip", "install", "--disable-pip-version-check", *environment.wanted()])
    environment.stamp.write_text(environment.fingerprint())
    _say(f" ok, {time.monotonic() - started:.1f} s\n")


def _fits(environment: Environment) -> bool:
    """Whether the environment there is was made here and its Python is the one asked for."""
    made = environment.home / "pyvenv.cfg"
    if not made.is_file() or str(environment.home) not in made.read_text():
        return False
    ask = [str(environment.python), "-c", "import pip, platform; print(platform.python_version())"]
    try:
        answer = subprocess.run(ask, check=False, capture_output=True, text=True)  # noqa: S603 (our own words)
    except OSError:
        return False
    return answer.stdout.strip() == platform.python_version()


def _create(environment: Environment) -> None:
    if not _has_ensurepip():
        _install_ensurepip()
    _run([sys.executable, "-m", "venv", "--clear", str(environment.home)])
    if environment.below:
        (environment.packages / "below.pth").write_text(f"{environment.below.packages}\n")


def _has_ensurepip() -> bool:
    # Debian ships venv without ensurepip until python3-venv is installed; importing it is the only sure sign.
    probe = [sys.executable, "-c", "import ensurepip, venv"]
    return subprocess.run(probe, check=False, stderr=subprocess.DEVNULL).returncode == 0  # noqa: S603 (our own words)


def _install_ensurepip() -> None:
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        _give_up(f"this Python cannot make virtual environments; as root: apt-get install {package}")
    _say(f"  {package} from Debian ")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    _run(["apt-get", "update"])
    _run(["apt-get", "install", "--yes", "--no-install-recommends", package])
    _say(" ok\n")


def _run(command: Sequence[str]) -> None:
    """Run into the log with a dot every two seconds; stop everything, showing the log's end, when it fails."""
    with LOG.open("a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)  # noqa: S603 (our own words)
        done = threading.Event()
        dots = threading.Thread(target=_dots, args=(done,), daemon=True)
        dots.start()
        code = process.wait()
        done.set()
        dots.join()
    if code:
        tail = "\n".join(LOG.read_text().splitlines()[-15:])
        _give_up(f"{' '.join(command)} failed with {code}; the whole output is in {LOG}\n{tail}")


def _dots(done: threading.Event) -> None:
    while not done.wait(DOT_EVERY_SECONDS):
        _say(".")


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _give_up(reason: str) -> None:
    sys.exit(f"\n{reason}")


if __name__ == "__main__":
    main()
