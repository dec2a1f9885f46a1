"""The project's own source, read as text and as syntax; nothing of it is imported or run."""

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.paths import ROOT

PACKAGES = ("rtmanager", "tasks", "operations", "runtimes")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules(*folders: str) -> list[Path]:
    """Every Python file below these folders, migrations (which Django writes) left out."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(path for path in found if "migrations" not in path.parts)


def name_of(path: Path) -> str:
    """A file as people write it: from the root of the project."""
    return path.relative_to(ROOT).as_posix()


@cache
def syntax(path: Path) -> ast.Module:
    """A module's tree."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions(path: Path) -> Iterator[Function]:
    """All functions of a module, also those in classes and in functions."""
    return (node for node in ast.walk(syntax(path)) if isinstance(node, Function))


def imported_packages(path: Path) -> set[str]:
    """The top-level packages that a module imports anywhere in its text."""
    found: set[str] = set()
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


def project() -> dict[str, Any]:
    """``pyproject.toml``."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def document(name: str) -> str:
    """A page of the documentation; empty, and so red, when it does not exist."""
    path = ROOT / name
    return path.read_text(encoding="utf-8") if path.exists() else ""
