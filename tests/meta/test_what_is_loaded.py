"""What a process holds in memory before it does anything: packages it has no use for stay on the disk."""

import subprocess
import sys

import pytest

from tests.paths import ROOT

# Each brings megabytes along: the result backend, the API, the console's pages, the engine's SDK, Celery's terminal.
_HEAVY = ("sqlalchemy", "rest_framework.serializers", "unfold.admin", "docker", "requests", "prompt_toolkit")
_DJANGO = "import os, sys, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'rtmanager.settings'; django.setup();"
_WORKER = f"{_DJANGO} from rtmanager.celery import app; app.loader.import_default_modules();"
_WEB = f"{_DJANGO} import rtmanager.management.commands.run_web, rtmanager.wsgi, rtmanager.urls;"


def say(program: str, expression: str) -> list[str]:
    """The words that the expression has in a process of its own, after the program."""
    code = f"{program} print(*({expression}), file=sys.stdout)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("program", [f"{_DJANGO} import tasks.management.commands.run_loops;", _WORKER])
def test_loops_and_workers_load_nothing_heavy_that_they_may_never_need(program: str) -> None:
    assert say(program, f"name for name in {_HEAVY} if name in sys.modules") == []


def test_the_web_process_needs_no_result_backend() -> None:
    assert say(_WEB, f"name for name in {_HEAVY} if name in sys.modules and name != 'requests'") == [
        "rest_framework.serializers", "unfold.admin",
    ]  # fmt: skip


def test_the_web_process_opens_no_connection_and_starts_no_thread_before_it_serves() -> None:
    threads = "[thread.name for thread in __import__('threading').enumerate()]"
    sockets = (
        "[link for fd in os.listdir('/proc/self/fd') if 'socket' in (link := os.path.realpath(f'/proc/self/fd/{fd}'))]"
    )

    assert say(f"import os; {_WEB}", f"{threads} + {sockets}") == ["MainThread"]
