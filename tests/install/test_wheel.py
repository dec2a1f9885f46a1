"""The wheel in a fresh environment outside the clone: the server with all its files, and the command line alone."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from rtmanager import __version__
from tests.meta.source import PACKAGES
from tests.paths import ROOT

# The packages come from a registry.
pytestmark = pytest.mark.timeout(1200)

# The page and its static file need no database and no Docker, so any address does.
_SETTINGS = {"RTMANAGER_SECRET_KEY": "for this test", "RTMANAGER_API_AUTH": "network"}
_FETCH = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "rtmanager.settings"
from rtmanager.wsgi import application
from django.test.client import RequestFactory
def fetch(path):
    status = []
    environ = RequestFactory().get(path).environ
    body = b"".join(application(environ, lambda line, headers: status.append(line)))
    print(path, status[0], len(body) > 0)
    return body
page = fetch("/admin/login/").decode()
assert "console/console.css" in page, page
fetch("/static/console/console.css")
fetch("/static/console/icon.svg")
import rtmanager

print("loaded from", rtmanager.__file__)
"""


class Environment:
    """A virtual environment of the machine's Python, and a working directory without any project in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.elsewhere = folder / "elsewhere"
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        self.elsewhere.mkdir()

    def install(self, *arguments: str | Path) -> None:
        self.run("pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", *arguments)

    def run(self, program: str, *arguments: str | Path, ok: bool = True) -> str:
        environment = {
            name: text for name, text in os.environ.items() if not name.startswith(("RTM", "DJANGO", "PYTHON"))
        }
        done = subprocess.run(
            [self.folder / "bin" / program, *arguments], cwd=self.elsewhere, env={**environment, **_SETTINGS},
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert (done.returncode == 0) is ok, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def server(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """As docs/production.md installs it: the locked dependencies, then the wheel."""
    environment = Environment(tmp_path_factory.mktemp("server"))
    environment.install("--require-hashes", "-r", ROOT / "deploy/requirements/runtime.txt")
    # Not --no-deps: pip refuses the wheel if a requirement of it is not locked.
    environment.install("--no-index", wheel)
    return environment


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel: Path, project_copy: Path) -> None:
    tracked = {
        path.relative_to(project_copy).as_posix()
        for package in PACKAGES
        for path in (project_copy / package).rglob("*")
        if path.is_file()
    }

    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    assert held == tracked


def test_the_wheel_carries_the_version_and_the_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert wheel.name == f"rtmanager-{__version__}-py3-none-any.whl"
    assert f"rtmanager-{__version__}.dist-info/licenses/LICENSE" in names


def test_the_installed_command_line_reports_the_version(server: Environment) -> None:
    assert server.run("rtm", "--version") == f"rtm {__version__}\n"


def test_the_installed_server_passes_the_checks_of_django(server: Environment) -> None:
    assert "no issues" in server.run("rtmanager", "check")


def test_the_installed_server_serves_a_page_and_its_static_files(server: Environment) -> None:
    lines = server.run("python", "-c", _FETCH).splitlines()

    assert [line for line in lines if line.startswith("/")] == [
        "/admin/login/ 200 OK True", "/static/console/console.css 200 OK True", "/static/console/icon.svg 200 OK True",
    ]  # fmt: skip
    assert any(line.startswith(f"loaded from {server.folder}/") for line in lines)


def test_the_command_line_alone_needs_neither_django_nor_docker(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    environment = Environment(tmp_path_factory.mktemp("cli"))
    environment.install("--require-hashes", "-r", ROOT / "deploy/requirements/cli.txt")
    environment.install("--no-index", "--no-deps", wheel)

    unreachable = environment.run("rtm", "list", "--url", "http://127.0.0.1:9", ok=False)

    assert environment.run("rtm", "--version") == f"rtm {__version__}\n"
    assert "cannot connect to http://127.0.0.1:9" in unreachable
    assert "No module named 'django'" in environment.run("python", "-c", "import django", ok=False)
