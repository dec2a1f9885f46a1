"""What the processes of the stack use, from /proc: processor time, and memory that counts shared pages once."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from deploy.local.stack import Stack

# The programs of the service; all others that the supervisor runs are servers.
SERVICE = ("web", "worker", "run_loops", "bridge_jobs", "relay_events", "watch_runtimes", "run_scheduler")
_PROC = Path("/proc")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PSS = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)
_KIB = 1024


class Times(NamedTuple):
    """One process: its parent, and its processor time with that of its exited children."""

    parent: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Usage:
    """A program with its descendants: processor seconds since its start, bytes of memory (PSS)."""

    seconds: float
    memory: int


def usage(stack: Stack) -> dict[str, Usage]:
    """The usage of every program that the supervisor runs, by name."""
    times = all_times()
    heads = {str(state["name"]): int(state["pid"]) for state in stack.processes() if state["pid"]}
    families = {name: family(pid, times) for name, pid in heads.items()}
    return {
        name: Usage(sum(times[pid].seconds for pid in pids), sum(map(proportional_memory, pids)))
        for name, pids in families.items()
    }


def family(head: int, times: Mapping[int, Times]) -> set[int]:
    """A process and its descendants. Pure."""
    found = {head} & times.keys()
    while more := {pid for pid, one in times.items() if one.parent in found} - found:
        found |= more
    return found


def parse_times(stat: str) -> Times:
    """The text of ``/proc/PID/stat``. The command's name, in parentheses, may contain both."""
    fields = stat.rpartition(")")[2].split()
    return Times(parent=int(fields[1]), seconds=sum(map(int, fields[11:15])) / _TICKS_PER_SECOND)


def all_times() -> dict[int, Times]:
    """The times of every process."""
    texts = {int(one.name): _read(one / "stat") for one in _PROC.glob("[0-9]*")}
    return {pid: parse_times(text) for pid, text in texts.items() if text}


def proportional_memory(pid: int) -> int:
    """Bytes, each shared page divided among the processes that share it; 0 if the process has exited."""
    found = _PSS.search(_read(_PROC / str(pid) / "smaps_rollup"))
    return int(found[1]) * _KIB if found else 0


def of_service(names: Iterable[str]) -> list[str]:
    """The names that belong to the service; its second worker is ``worker-2``. Pure."""
    return [name for name in names if name.partition("-")[0] in SERVICE]


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
