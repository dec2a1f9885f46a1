"""The processes of a stack, found again however their parents died, and the proof that none outlives it."""

import os
import signal
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from rtmanager.local.commands import run, wait_until
from rtmanager.local.errors import LocalError
from rtmanager.local.places import Place

# Every process of a stack carries this variable.
MARKER = "RTM_LOCAL_STACK"
_PROC = Path("/proc")


class Process(NamedTuple):
    """One process; ``born`` (in kernel ticks) tells it from a later one with the same number."""

    pid: int
    born: int
    parent: int


def leftovers(place: Place) -> set[Process]:
    """What this place started and runs now, and what that started."""
    marker = f"{MARKER}={place.identity}".encode()
    everybody = {process.pid: process for process in map(_look, _PROC.glob("[0-9]*")) if process}
    ours = {pid for pid in everybody if marker in _read(pid, "environ").split(b"\0")} - {os.getpid()}
    # A game's process has an environment of its own, but it hangs below the engine's.
    while found := {pid for pid, process in everybody.items() if process.parent in ours} - ours:
        ours |= found
    return {everybody[pid] for pid in ours}


def end_leftovers(place: Place, *, patience_seconds: float = 60.0, grace_seconds: float = 10.0) -> None:
    """End whatever still runs: those who end their own children first, then each, then by force.

    Raises LocalError when even that did not help. Idempotent.
    """
    family = leftovers(place)
    if not family:
        return
    heads = [one for one in family if not any(one.parent == other.pid for other in family) and not _is_shim(one)]
    for number, targets, timeout_seconds in (
        (signal.SIGTERM, heads, patience_seconds),
        (signal.SIGTERM, family, grace_seconds),
        (signal.SIGKILL, family, grace_seconds),
    ):
        if not targets:
            # Only shims are left, and no engine that would end them.
            continue
        _signal(targets, number)
        # A child whose parent is gone belongs to nobody's family any more, so the first look still counts.
        wait_until(lambda: not alive(family) and not leftovers(place), timeout_seconds=timeout_seconds)
    remaining = alive(family) | leftovers(place)
    if remaining:
        listed = "\n".join(f"    {one.pid} {_command_line(one.pid)}" for one in sorted(remaining))
        message = f"these processes of the stack could not be ended:\n{listed}"
        raise LocalError(message)


def _signal(targets: Collection[Process], number: signal.Signals) -> None:
    for process in targets:
        if alive([process]):
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)


def alive(processes: Collection[Process]) -> set[Process]:
    """Those that still run, and are not others that took over their numbers."""
    return {one for one in processes if (now := _look(_PROC / str(one.pid))) and now.born == one.born}


def unmount_below(directory: Path) -> None:
    """Undo the mounts that ended daemons left below a directory. Idempotent."""
    mounts = [line.split()[1] for line in (_PROC / "self/mounts").read_text().splitlines()]
    inside = [mount for mount in mounts if Path(mount).is_relative_to(directory)]
    for mount in sorted(inside, key=len, reverse=True):
        run(["umount", "--lazy", mount], log=Path(os.devnull))


def shims(place: Place) -> list[str]:
    """The command lines of those that stand beside a container's processes."""
    return [_command_line(one.pid) for one in leftovers(place) if _is_shim(one)]


def _is_shim(process: Process) -> bool:
    # It waits at a container's side and is ended by the engine, once the container is.
    return "containerd-shim" in _command_line(process.pid)


def _look(directory: Path) -> Process | None:
    """The process now, or None when it is gone or only waits to be buried."""
    # The command's name, in parentheses, may itself hold spaces and parentheses.
    fields = _read(int(directory.name), "stat").rpartition(b")")[2].split()
    if not fields or fields[0] in b"ZX":
        return None
    return Process(pid=int(directory.name), born=int(fields[19]), parent=int(fields[1]))


def _command_line(pid: int) -> str:
    return _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()


def _read(pid: int, name: str) -> bytes:
    """Empty when the process is gone, or is none of ours to look into."""
    try:
        return (_PROC / str(pid) / name).read_bytes()
    except OSError:
        return b""
