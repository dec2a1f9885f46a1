"""On what it was measured: the machine, and the versions of what took part."""

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from deploy.local.servers.postgres import find_binaries
from deploy.local.servers.valkey import find_binary

_PACKAGES = (
    "celery",
    "django",
    "docker",
    "dramatiq",
    "procrastinate",
    "psycopg",
    "psycopg2-binary",
    "redis",
    "rq",
)
_NUMBER = re.compile(r"\d+(\.\d+)+")


def machine() -> dict[str, str]:
    """What the figures depend on."""
    return {
        "cores": str(os.cpu_count()),
        "processor": _field(Path("/proc/cpuinfo"), "model name") or platform.machine(),
        "memory": f"{int(_field(Path('/proc/meminfo'), 'MemTotal').split()[0]) / 1024**2:.0f} GiB",
        "kernel": platform.release(),
    }


def versions() -> dict[str, str]:
    """Of servers and packages; what is not installed is left out."""
    programs = {
        "Docker": ["dockerd", "--version"],
        "PostgreSQL": [str(find_binaries() / "postgres"), "--version"],
        "Valkey": [str(find_binary()), "--version"],
    }
    found = {"Python": platform.python_version(), **{name: _of_program(words) for name, words in programs.items()}}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _of_program(words: list[str]) -> str:
    output = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    number = _NUMBER.search(output)
    return number[0] if number else "?"


def _field(file: Path, name: str) -> str:
    lines = (line.partition(":") for line in file.read_text(encoding="utf-8").splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "")
