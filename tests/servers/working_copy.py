"""A second clone of the project: the working tree as it is, changes included."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from deploy.local.workspace import CLONE

_TRANSIENT = shutil.ignore_patterns(".venv", ".run", "__pycache__", ".*_cache")


def copy_project(target: Path) -> None:
    """Copy what git tracks or would track; without a repository, everything but the transient folders."""
    if not (CLONE / ".git").exists():
        shutil.copytree(CLONE, target, ignore=_TRANSIENT)
        return
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CLONE, check=True, capture_output=True, text=True,
    )  # fmt: skip
    _copy(filter(None, listed.stdout.split("\0")), target)


def _copy(names: Iterable[str], target: Path) -> None:
    for name in names:
        source, copy = CLONE / name, target / name
        # A deleted file is still listed, and a link to an environment is none of the project.
        if source.is_file() and not source.is_symlink():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
