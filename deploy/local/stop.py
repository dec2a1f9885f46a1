"""`make stop` and `make clean`: stop the stacks of this clone, also after a crash."""

import os
import shutil
import signal
from contextlib import suppress

from docker.errors import DockerException
from requests.exceptions import RequestException

from deploy.local.console import Console
from deploy.local.docker import cleanup
from deploy.local.docker.containerd import Containerd
from deploy.local.docker.daemon import PrivateDocker, connect_docker
from deploy.local.docker.sample_images import remove_samples
from deploy.local.system.errors import LocalError
from deploy.local.system.process_cleanup import end_leftovers, leftovers
from deploy.local.system.shell import wait_until
from deploy.local.workspace import KINDS, RUN_ROOT, Workspace, WorkspaceLock, workspace_of

_STOP_SECONDS = 150.0
# The games of an interrupted `make run` stay on the machine's Docker daemon; the next `make run` finds them.
_KEEPS_GAMES = frozenset({"run"})


def stop(console: Console) -> None:
    """Stop every stack of this clone; remove the processes and mounts of a killed stack. Idempotent."""
    busy = [workspace for workspace in map(workspace_of, KINDS) if _has_traces(workspace)]
    for workspace in busy:
        with console.step(f"`make {workspace.kind}` stopped"):
            stop_workspace(workspace)
    if not busy:
        console.say("  no stack of this clone is running")


def clean(console: Console) -> None:
    """Stop, then delete all files of the stacks: data, logs, game state, private Docker daemons. Idempotent."""
    stop(console)
    for workspace in map(workspace_of, KINDS):
        if any(path.exists() for path in (workspace.home, workspace.sockets, workspace.outside)):
            with console.step(f"data of `make {workspace.kind}` removed"):
                _clean_machine_docker(workspace, samples=True)
                docker = PrivateDocker(workspace)
                docker.clean_up(docker.bridges())
                Containerd(workspace).clean_up()
                workspace.remove()
    if RUN_ROOT.exists():
        shutil.rmtree(RUN_ROOT)


def stop_workspace(workspace: Workspace) -> None:
    """Stop the process that uses the workspace, and wait for it; then end leftover processes.

    Raises LocalError if the process does not exit.
    """
    lock = WorkspaceLock(workspace)
    holder = lock.holder()
    if holder:
        with suppress(ProcessLookupError):
            os.kill(holder, signal.SIGTERM)
        if not wait_until(lambda: lock.holder() is None, timeout_seconds=_STOP_SECONDS):
            message = f"process {holder} (`make {workspace.kind}`) did not exit"
            raise LocalError(message)
    if workspace.kind not in _KEEPS_GAMES:
        _clean_machine_docker(workspace)
    bridges = PrivateDocker(workspace).bridges()
    end_leftovers(workspace)
    PrivateDocker(workspace).clean_up(bridges)
    Containerd(workspace).clean_up()
    workspace.remove_sockets()


def _has_traces(workspace: Workspace) -> bool:
    # A stack removes its sockets when it stops: a directory without a holder belongs to a killed stack.
    return bool(WorkspaceLock(workspace).holder() or leftovers(workspace) or workspace.sockets.exists())


def _clean_machine_docker(workspace: Workspace, *, samples: bool = False) -> None:
    """Remove games and network from the machine's Docker daemon. Does nothing if the daemon does not respond.

    ``samples``: also remove the sample images, if the daemon has no other local stack.
    """
    host, stack = workspace.remembered_docker_host()
    if not host:
        return
    with suppress(DockerException, RequestException), connect_docker(host) as client:
        cleanup.remove_games(client, stack)
        cleanup.remove_networks(client, workspace.identity)
        if samples and not cleanup.is_used_locally(client):
            remove_samples(client)
