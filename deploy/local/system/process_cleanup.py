"""Finds the processes of a stack, even if their parents died, and ends them."""

import os
import signal
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from deploy.local.system.errors import LocalError
from deploy.local.system.shell import run, wait_until
from deploy.local.workspace import Workspace

# Every process of a stack has this environment variable.
MARKER = "RTM_LOCAL_STACK"
_PROC = Path("/proc")


class Process(NamedTuple):
    """One process. ``started`` (in kernel ticks) differs for a later process with the same pid."""

    pid: int
    started: int
    parent: int


def leftovers(workspace: Workspace) -> set[Process]:
    """Return the running processes of this workspace and their descendants."""
    marker = f"{MARKER}={workspace.identity}".encode()
    processes = {process.pid: process for process in map(_read_process, _PROC.glob("[0-9]*")) if process}
    ours = {pid for pid in processes if marker in _read(pid, "environ").split(b"\0")} - {os.getpid()}
    # A game's process has another environment, but it is a descendant of the Docker daemon.
    while children := {pid for pid, process in processes.items() if process.parent in ours} - ours:
        ours |= children
    return {processes[pid] for pid in ours}


def end_leftovers(workspace: Workspace, *, parents_seconds: float = 60.0, grace_seconds: float = 10.0) -> None:
    """End the processes of a workspace: SIGTERM to the parents, then SIGTERM to all, then SIGKILL to all.

    Raises LocalError if processes remain. Idempotent.
    """
    family = leftovers(workspace)
    if not family:
        return
    pids = {process.pid for process in family}
    parents = [process for process in family if process.parent not in pids and not _is_shim(process)]
    for number, targets, timeout_seconds in (
        (signal.SIGTERM, parents, parents_seconds),
        (signal.SIGTERM, family, grace_seconds),
        (signal.SIGKILL, family, grace_seconds),
    ):
        if not targets:
            # Only shims are left; no Docker daemon ends them.
            continue
        for process in alive(targets):
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)
        # A child whose parent has exited is no longer found as a descendant, so the first list still counts.
        wait_until(lambda: not alive(family) and not leftovers(workspace), timeout_seconds=timeout_seconds)
    remaining = alive(family) | leftovers(workspace)
    if remaining:
        listed = "\n".join(f"    {process.pid} {_command_line(process.pid)}" for process in sorted(remaining))
        message = f"these processes of the stack did not exit:\n{listed}"
        raise LocalError(message)


def alive(processes: Collection[Process]) -> set[Process]:
    """Return the processes that still run; a later process with the same pid does not count."""
    return {
        process
        for process in processes
        if (current := _read_process(_PROC / str(process.pid))) and current.started == process.started
    }


def unmount_below(directory: Path) -> None:
    """Remove the mounts that stopped daemons left below a directory. Idempotent."""
    mounts = [line.split()[1] for line in (_PROC / "self/mounts").read_text().splitlines()]
    inside = [mount for mount in mounts if Path(mount).is_relative_to(directory)]
    for mount in sorted(inside, key=len, reverse=True):
        run(["umount", "--lazy", mount], log=Path(os.devnull))


def shims(workspace: Workspace) -> list[str]:
    """Return the command lines of the containerd shims; each container has one."""
    return [_command_line(process.pid) for process in leftovers(workspace) if _is_shim(process)]


def _is_shim(process: Process) -> bool:
    # The Docker daemon ends the shim after its container.
    return "containerd-shim" in _command_line(process.pid)


def _read_process(directory: Path) -> Process | None:
    """Return the process, or None if it has exited or is a zombie."""
    # The command name, in parentheses, may contain spaces and parentheses.
    fields = _read(int(directory.name), "stat").rpartition(b")")[2].split()
    if not fields or fields[0] in b"ZX":
        return None
    return Process(pid=int(directory.name), started=int(fields[19]), parent=int(fields[1]))


def _command_line(pid: int) -> str:
    return _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()


def _read(pid: int, name: str) -> bytes:
    """Return a file of the process; empty if the process has exited or access is denied."""
    try:
        return (_PROC / str(pid) / name).read_bytes()
    except OSError:
        return b""
