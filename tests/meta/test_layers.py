"""Where vendors' packages may be imported. Between our own packages, import-linter looks (pyproject.toml)."""

import ast
import subprocess
import sys
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.meta.source import PACKAGES, imported_packages, modules, name_of, syntax
from tests.paths import ROOT

# Package → where it may be imported. The tooling that runs everything locally stands outside the layers.
ADAPTERS: Mapping[str, tuple[str, ...]] = {
    "docker": ("runtimes/containers/docker/*",),
    "requests": ("runtimes/containers/docker/*",),
    "redis": ("tasks/streams/redis/*",),
    "celery": ("tasks/*", "rtmanager/celery.py", "operations/dispatch.py"),
    "kombu": ("operations/dispatch.py",),
    "rest_framework": ("*/api/*",),
    "drf_spectacular": ("*/api/*", "rtmanager/urls.py"),
    "prometheus_client": (
        "rtmanager/api/views.py",
        "rtmanager/monitoring/metrics/gauges.py",
        "rtmanager/monitoring/metrics/counters.py",
        "rtmanager/monitoring/metrics/http.py",
    ),
    "opentelemetry": ("tasks/worker/tracing.py",),
    "psycopg2": ("rtmanager/database_urls.py", "rtmanager/db_backend/base.py"),
    "sqlalchemy": (),
    "click": ("rtmanager/cli/*",),
    "httpx": ("rtmanager/cli/api.py",),
    "pydantic": ("rtmanager/config.py", "tasks/docker_reads.py"),
    "pydantic_settings": ("rtmanager/config.py",),
}
TOOLING = "deploy/local/*"
_SETTING_DEFAULTS = ("os.environ.setdefault('DJANGO_SETTINGS_MODULE'", "os.environ.setdefault('CELERY_SKIP_CHECKS'")
PRODUCT = [path for path in modules(*PACKAGES) if not fnmatch(name_of(path), TOOLING)]


@pytest.mark.parametrize("package", ADAPTERS)
def test_a_vendor_is_met_in_its_adapter_only(package: str) -> None:
    allowed = ADAPTERS[package]

    elsewhere = [
        name_of(path)
        for path in PRODUCT
        if package in imported_packages(path) and not any(fnmatch(name_of(path), place) for place in allowed)
    ]

    assert elsewhere == []


def test_the_product_imports_neither_its_tests_nor_its_local_tooling() -> None:
    texts = {name_of(path): path.read_text(encoding="utf-8") for path in PRODUCT}

    assert [name for name, text in texts.items() if "deploy.local" in text or "from tests" in text] == []


def test_only_the_configuration_reads_the_environment() -> None:
    readers = {name_of(path) for path in PRODUCT if _reads_environment(path)}

    # The command line is a program of its own, which has never heard of the service's settings.
    assert readers == {"rtmanager/config.py", "rtmanager/cli/connection.py"}


def test_the_command_line_knows_the_service_by_its_api_only() -> None:
    ours = {name for path in modules("rtmanager/cli") for name in _imported_modules(path) if name.startswith(PACKAGES)}

    others = {name for name in ours if not name.startswith("rtmanager.cli")}
    assert others == {"rtmanager", "runtimes.formatting", "operations.explain.text", "operations.kinds"}


def test_no_module_listens_to_django_signals() -> None:
    listeners = [path for path in PRODUCT if _imports(path, "django.dispatch", "django.db.models.signals")]

    assert [name_of(path) for path in listeners] == []


def test_the_layers_are_kept() -> None:
    linter = Path(sys.executable).with_name("lint-imports")

    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def _reads_environment(path: Path) -> bool:
    """Any use of ``os.environ`` or ``os.getenv`` but to set what Django and Celery read there."""
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.Attribute) and node.attr in {"getenv", "environb"}:
            return True
        if isinstance(node, ast.Call) and ast.unparse(node).startswith(_SETTING_DEFAULTS):
            continue
        if isinstance(node, ast.Call | ast.Subscript) and "os.environ" in ast.unparse(node).partition("(")[0]:
            return True
    return False


def _imported_modules(path: Path) -> set[str]:
    nodes = [node for node in ast.walk(syntax(path)) if isinstance(node, ast.ImportFrom)]
    return {node.module for node in nodes if node.module}


def _imports(path: Path, *names: str) -> bool:
    nodes = [node for node in ast.walk(syntax(path)) if isinstance(node, ast.ImportFrom)]
    return any(node.module in names for node in nodes)
