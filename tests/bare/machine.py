"""A bare Debian machine for one command, made from packages and deleted afterwards.

The command sees a root file system, process numbers, ``/tmp`` and ``/run`` of its own. It shares the kernel, the
network and the devices of this machine, so a private Docker engine can run in it. What this machine needs to reach
its package sources (apt's settings, certificates, proxies) is carried along.
"""

import fcntl
import os
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.system.debian import apt_settings, make_root
from deploy.local.system.errors import LocalError
from deploy.local.system.shell import run
from deploy.local.workspace import RUN_ROOT
from tests.servers.working_copy import copy_project

SUITES = ("bookworm", "trixie")
_HOME = RUN_ROOT / "bare"
_PACKAGES = ("python3", "python3-venv", "git", "make", "ca-certificates")
_TOOLS = ("mmdebstrap", "unshare", "pivot_root", "tar", "git")
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_NAMED_CERTIFICATES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")
_CARRIED = (
    "CI", "PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY",
    "NO_PROXY",
)  # fmt: skip
_PIECE_BYTES = 1 << 16
_PIP_CACHE = Path("/root/.cache/pip")
# $0: the new root, $1: this machine's cache of pip, $2: the folder of the project, $3: the command.
_ENTER = f"""
set -e
mount --bind "$0" "$0"
mount --rbind /sys "$0/sys"
mount --rbind /dev "$0/dev"
mount -t tmpfs -o mode=1777 tmpfs "$0/tmp"
mount -t tmpfs -o mode=755 tmpfs "$0/run"
mkdir -p "$0{_PIP_CACHE}" "$0/.outside"
mount --bind "$1" "$0{_PIP_CACHE}"
cd "$0"
pivot_root . .outside
mount -t proc proc /proc
umount --lazy /.outside
rmdir /.outside
cd "$2"
bash -c "$3"
exit
"""


def missing_tools() -> list[str]:
    """What this machine lacks to run a bare one; empty when nothing."""
    root = [] if os.geteuid() == 0 else ["root"]
    return root + [tool for tool in _TOOLS if not shutil.which(tool)]


@dataclass(frozen=True)
class Outcome:
    """How the command ended: its exit code (-9 after the time limit), and everything that it wrote."""

    code: int
    output: str


def run_in_bare_debian(suite: str, command: str, *, timeout_seconds: float, shown: bool = False) -> Outcome:
    """Run ``command`` in a copy of this working tree on a fresh machine of this release.

    ``shown`` also writes the output to this terminal as it comes. Raises LocalError when the machine cannot be made.
    """
    with _one_at_a_time():
        return _run(suite, command, timeout_seconds=timeout_seconds, shown=shown)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Wait until no other test process has a bare machine: they share the network, and some use the default ports."""
    _HOME.mkdir(parents=True, exist_ok=True)
    with (_HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(suite: str, command: str, *, timeout_seconds: float, shown: bool) -> Outcome:
    packed = _packed_root(suite)
    machine = _HOME / f"{suite}-{secrets.token_hex(4)}"
    machine.mkdir(parents=True)
    try:
        run(["tar", "--extract", "--numeric-owner", "--file", packed, "--directory", machine], log=_log())
        _carry_along(machine)
        # The folder's name decides the names of sockets and bridges, and the network is shared with other runs.
        project = Path("/root") / machine.name
        copy_project(machine / project.relative_to("/"))
        return _enter(machine, project, command, timeout_seconds=timeout_seconds, shown=shown)
    finally:
        shutil.rmtree(machine)


def _packed_root(suite: str) -> Path:
    """The archive of a root file system, made on first use and kept until ``make clean``."""
    packed = _HOME / f"{suite}.tar"
    if not packed.exists():
        make_root(suite, _PACKAGES, packed, log=_log())
    return packed


def _carry_along(machine: Path) -> None:
    for name in ("resolv.conf", "hosts"):
        shutil.copyfile(Path("/etc") / name, machine / "etc" / name)
    (machine / "etc/apt/apt.conf.d/90outside").write_text("".join(f"{line}\n" for line in apt_settings()))
    named = [os.environ[name] for name in _NAMED_CERTIFICATES if os.environ.get(name)]
    certificates = Path(named[0]) if named else _CERTIFICATES
    if certificates.is_file():
        shutil.copyfile(certificates, machine / _CERTIFICATES.relative_to("/"))


def _enter(machine: Path, project: Path, command: str, *, timeout_seconds: float, shown: bool) -> Outcome:
    # The command is in a namespace of processes: when unshare is killed, the kernel ends all of them.
    inside = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", _ENTER]
    written = []
    with subprocess.Popen(
        [*inside, str(machine), str(_pip_cache()), str(project), command], env=_environment(),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        limit = threading.Timer(timeout_seconds, process.kill)
        limit.start()
        try:
            # In pieces, not in lines: progress is shown by dots within one.
            while piece := process.stdout.read(_PIECE_BYTES).decode(errors="replace"):
                written.append(piece)
                if shown:
                    sys.stdout.write(piece)
                    sys.stdout.flush()
        finally:
            limit.cancel()
            if sys.exception() is not None:
                process.kill()
    return Outcome(process.returncode, "".join(written))


def _environment() -> Mapping[str, str]:
    carried = {name: os.environ[name] for name in _CARRIED if name in os.environ}
    certificates = dict.fromkeys(_NAMED_CERTIFICATES, str(_CERTIFICATES))
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"HOME": "/root", "TERM": "dumb", "LANG": "C.UTF-8", "PATH": path, **certificates, **carried}


def _pip_cache() -> Path:
    """This machine's own, so that wheels are downloaded once for all releases."""
    asked = subprocess.run([sys.executable, "-m", "pip", "cache", "dir"], check=False, capture_output=True, text=True)
    cache = Path(asked.stdout.strip()) if asked.returncode == 0 and asked.stdout.strip() else _HOME / "pip"
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def _log() -> Path:
    _HOME.mkdir(parents=True, exist_ok=True)
    return _HOME / "make.log"


def require_tools() -> None:
    """Raises LocalError naming what is missing."""
    missing = missing_tools()
    if missing:
        message = f"a bare Debian needs {', '.join(missing)}; as root: apt-get install mmdebstrap util-linux git"
        raise LocalError(message)
