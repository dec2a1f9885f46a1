"""`make test`: runs the tests, on the machine's Docker daemon or on a private one for the time of the tests."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from deploy.local.console import Console
from deploy.local.docker.busybox import installed_busybox
from deploy.local.docker.daemon import private_docker, reachable_host
from deploy.local.servers.supervision import Supervisor
from deploy.local.system.process_cleanup import end_leftovers
from deploy.local.system.shell import apt_install, can_install
from deploy.local.system.signals import ShutdownRequested, ignore_signals
from deploy.local.workspace import CLONE, Workspace, WorkspaceLock, workspace_of


def test(console: Console, arguments: Sequence[str]) -> int:
    """Run pytest with ``arguments`` (all tests without any); return its exit code."""
    workspace = workspace_of("test")
    lock = WorkspaceLock(workspace)
    lock.acquire()
    end_leftovers(workspace)
    _install_tools(workspace, console, arguments)
    try:
        with _docker_host(workspace, console) as docker_host:
            console.say()
            return _pytest(docker_host, arguments or _whole_suite())
    finally:
        workspace.remove_sockets()


@contextmanager
def _docker_host(workspace: Workspace, console: Console) -> Iterator[str]:
    host = reachable_host(os.environ)
    if host:
        yield host
        return
    docker = private_docker(workspace)
    with console.step(f"{docker.title} prepared"):
        supervisor = Supervisor(workspace, [docker.prepare()], directory=CLONE)
    try:
        with console.step(f"{docker.title} responds"):
            supervisor.start(os.environ)
            docker.wait_ready()
        yield docker.host
    finally:
        with ignore_signals(), console.step("everything stopped"):
            bridges = docker.bridges()
            supervisor.stop()
            docker.clean_up(bridges)


def _install_tools(workspace: Workspace, console: Console, arguments: Sequence[str]) -> None:
    """Install what the tests need to build images without a registry, and a browser. Only root can install."""
    programs = ("mmdebstrap", "chromium") if wants_browser(arguments) else ("mmdebstrap",)
    missing = [program for program in programs if not shutil.which(program)]
    if installed_busybox() is None:
        missing.append("busybox-static")
    if missing and can_install():
        with console.step(f"{', '.join(missing)} from Debian"):
            apt_install(*missing, log=workspace.log("apt"))


def wants_browser(arguments: Sequence[str]) -> bool:
    """Whether these pytest arguments can select a test of ``tests/browser``: they name it, its parent, or no path."""
    named = [CLONE / argument.partition("::")[0] for argument in arguments if not argument.startswith("-")]
    paths = [path for path in named if path.exists()]
    browser = CLONE / "tests" / "browser"
    return not paths or any(path.is_relative_to(browser) or browser.is_relative_to(path) for path in paths)


def _whole_suite() -> list[str]:
    """Several test processes: tests wait more than they compute. A file runs in one process, with its own servers."""
    return [f"--numprocesses={(os.cpu_count() or 1) + 1}", "--dist=loadfile", "--no-loadscope-reorder"]


def _pytest(docker_host: str, arguments: Sequence[str]) -> int:
    environment = {**os.environ, "RTMANAGER_DOCKER_HOST": docker_host, "DOCKER_HOST": docker_host}
    process = subprocess.Popen([sys.executable, "-m", "pytest", *arguments], env=environment, cwd=CLONE)  # noqa: S603
    try:
        return process.wait()
    except ShutdownRequested as ending:
        # The terminal sends Ctrl-C to pytest too; a second signal would interrupt its teardown.
        if ending.number != signal.SIGINT:
            process.send_signal(signal.SIGINT)
        with ignore_signals():
            return process.wait()
