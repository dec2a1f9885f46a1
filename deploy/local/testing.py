"""`make test` and `make test-newer`: run the tests.

The Docker daemon is that of the machine, or a private one for the time of the tests.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from deploy.local.console import Console
from deploy.local.docker.busybox import installed_busybox
from deploy.local.docker.daemon import PrivateDocker, connect_docker, private_docker, reachable_host
from deploy.local.docker.newer import LOWEST_API, NAMESPACE_VARIABLE, SUITE, newer_programs
from deploy.local.servers.supervision import Supervisor
from deploy.local.system.process_cleanup import end_leftovers
from deploy.local.system.shell import apt_install, can_install
from deploy.local.system.signals import ShutdownRequested, ignore_signals
from deploy.local.workspace import CLONE, Workspace, WorkspaceLock, workspace_of

# Several test processes: tests wait more than they compute. A file runs in one process, with its own servers.
_IN_PARALLEL = (f"--numprocesses={(os.cpu_count() or 1) + 1}", "--dist=loadfile", "--no-loadscope-reorder")
# What `make test-newer` runs: all tests that depend on the version of Docker.
_ON_NEWER_DOCKER = ("tests/acceptance", "tests/contract")


def test(console: Console, arguments: Sequence[str]) -> int:
    """Run pytest with ``arguments`` (all tests without any); return its exit code."""
    with _locked("test") as workspace:
        _install_tools(workspace, console, arguments)
        with _docker_host(workspace, console) as docker_host:
            console.say()
            return _pytest(docker_host, arguments or _IN_PARALLEL)


def test_newer(console: Console, arguments: Sequence[str]) -> int:
    """Run pytest with ``arguments`` on the newest Docker; without any, the acceptance and contract tests.

    Returns the exit code. The mounts of this process must be shared with its children: see the Makefile.
    """
    with _locked("test-newer") as workspace:
        _install_tools(workspace, console, arguments or _ON_NEWER_DOCKER)
        with console.step(f"programs of Debian {SUITE} unpacked"):
            programs = newer_programs(log=workspace.log("mmdebstrap"))
        docker = PrivateDocker(workspace, programs=programs)
        with _started(docker, console, {**os.environ, **LOWEST_API}), connect_docker(docker.host) as client:
            version = client.version()
            console.say(f"  Docker {version['Version']}, API {version['MinAPIVersion']} to {version['ApiVersion']}\n")
            settings = {**LOWEST_API, NAMESPACE_VARIABLE: docker.mount_namespace}
            return _pytest(docker.host, arguments or [*_IN_PARALLEL, *_ON_NEWER_DOCKER], settings)


@contextmanager
def _locked(kind: str) -> Iterator[Workspace]:
    workspace = workspace_of(kind)
    lock = WorkspaceLock(workspace)
    lock.acquire()
    end_leftovers(workspace)
    try:
        yield workspace
    finally:
        workspace.remove_sockets()


@contextmanager
def _docker_host(workspace: Workspace, console: Console) -> Iterator[str]:
    host = reachable_host(os.environ)
    if host:
        yield host
        return
    docker = private_docker(workspace)
    with _started(docker, console, os.environ):
        yield docker.host


@contextmanager
def _started(docker: PrivateDocker, console: Console, environment: Mapping[str, str]) -> Iterator[None]:
    with console.step(f"{docker.title} prepared"):
        supervisor = Supervisor(docker.workspace, [docker.prepare()], directory=CLONE)
    try:
        with console.step(f"{docker.title} responds"):
            supervisor.start(environment)
            docker.wait_ready()
        yield
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


def _pytest(docker_host: str, arguments: Sequence[str], settings: Mapping[str, str] | None = None) -> int:
    environment = {**os.environ, **(settings or {}), "RTMANAGER_DOCKER_HOST": docker_host, "DOCKER_HOST": docker_host}
    process = subprocess.Popen([sys.executable, "-m", "pytest", *arguments], env=environment, cwd=CLONE)  # noqa: S603
    try:
        return process.wait()
    except ShutdownRequested as ending:
        # The terminal sends Ctrl-C to pytest too; a second signal would interrupt its teardown.
        if ending.number != signal.SIGINT:
            process.send_signal(signal.SIGINT)
        with ignore_signals():
            return process.wait()
