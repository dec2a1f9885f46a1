"""What the figures depend on: the machine, its load, the versions of servers and packages, and the commit."""

import hashlib
import os
import platform
import re
import subprocess
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from deploy.local.servers.postgres import find_binaries
from deploy.local.servers.valkey import find_binary
from deploy.local.workspace import CLONE

_PACKAGES = ("celery", "django", "docker", "dramatiq", "procrastinate", "psycopg", "psycopg2-binary", "redis", "rq")
_NUMBER = re.compile(r"\d+(\.\d+)+")
_PROGRAM_SECONDS = 60
# Fields of /proc/stat: time without work, also while a disk is busy.
_IDLE = slice(3, 5)
# user, nice, system, idle, iowait, irq, softirq, steal; the time of guests is part of user.
_ALL = slice(0, 8)


def machine() -> str:
    """Hardware and versions, as one line of text. What is not installed is left out."""
    memory = int(_field(Path("/proc/meminfo"), "MemTotal").split()[0]) / 1024**2
    processor = _field(Path("/proc/cpuinfo"), "model name") or platform.machine()
    parts = [f"{os.cpu_count()} cores", processor, f"{memory:.0f} GiB", f"kernel {platform.release()}"]
    parts.append(f"Python {platform.python_version()}")
    parts.append(f"PostgreSQL {version_in(_output([str(find_binaries() / 'postgres'), '--version']))}")
    parts.append(f"Valkey {version_in(_output([str(find_binary()), '--version']))}")
    for package in _PACKAGES:
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(parts)


def installed_docker() -> str:
    """The version of the dockerd in PATH; empty if there is none."""
    try:
        return version_in(_output(["dockerd", "--version"]))
    except FileNotFoundError:
        return ""


def version_in(text: str) -> str:
    """The first number with a point in it, or ``?``. Pure."""
    number = _NUMBER.search(text)
    return number[0] if number else "?"


def commit() -> str:
    """The commit of this clone, and a hash of what differs from it, except documents, which the benchmark writes."""
    try:
        head = _output(["git", "rev-parse", "--short=10", "HEAD"]).strip()
    except FileNotFoundError:
        return "unknown"
    changes = _output(["git", "diff", "HEAD", "--", ".", ":!docs"])
    mark = f"+{hashlib.sha256(changes.encode()).hexdigest()[:6]}" if changes else ""
    return f"{head}{mark}" if head else "unknown"


def load(*, seconds: float = 3.0) -> float:
    """Observe the machine for a time; return the share of its processors that was in use."""
    before = _times()
    time.sleep(seconds)
    return round(busy_share(before, _times()), 3)


def busy_share(before: Sequence[int], after: Sequence[int]) -> float:
    """The share of the time between two readings of /proc/stat in which the processors worked. Pure."""
    passed = [later - earlier for earlier, later in zip(before, after, strict=True)]
    whole = sum(passed[_ALL])
    return 1 - sum(passed[_IDLE]) / whole if whole else 0.0


def _times() -> list[int]:
    first, *_rest = Path("/proc/stat").read_text(encoding="utf-8").splitlines()
    return [int(field) for field in first.split()[1:]]


def _output(words: Sequence[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_PROGRAM_SECONDS, cwd=CLONE)
    return done.stdout


def _field(file: Path, name: str) -> str:
    lines = (line.partition(":") for line in file.read_text(encoding="utf-8").splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "")
