"""Which container engine to use: the one that answers, else a private one that ends with us."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException

from rtmanager.local.bridges import ensure_bridge, remove_bridge
from rtmanager.local.commands import apt_install, can_install, is_root, tail, wait_until
from rtmanager.local.containerd import Containerd
from rtmanager.local.errors import LocalError
from rtmanager.local.leftovers import unmount_below
from rtmanager.local.packet_filter import accept_bridged, take_back
from rtmanager.local.places import Place
from rtmanager.local.supervision import Program

DEFAULT_HOST = "unix:///var/run/docker.sock"
_PING_SECONDS = 3
_START_SECONDS = 90.0
_STOP_SECONDS = 30
_POLICY = Path("/usr/sbin/policy-rc.d")
# After a hard end the number in the file may be another process's by now, and dockerd would refuse to start.
_START = 'rm -f "$1"; exec dockerd --config-file "$2"'


@dataclass(frozen=True, slots=True)
class PrivateEngine:
    """A dockerd of one place: own data, own sockets, own bridge, and no packet filter rules.

    An engine that starts throws away the filter rules of the one before it; without them containers still reach
    each other, and the machine reaches them, which is all that games and tests need.

    With a ``containerd`` beside it, it may be killed: it comes back to the games that it left running, unless
    ``live_restore`` is off, as Swarm wants it.
    """

    place: Place
    containerd: Containerd | None = None
    live_restore: bool = True

    @property
    def title(self) -> str:
        """What it is called in the progress."""
        return "private Docker engine" if self.is_installed else "private Docker engine (docker.io from Debian)"

    @property
    def is_installed(self) -> bool:
        """Whether the machine has the program."""
        return shutil.which("dockerd") is not None

    @property
    def host(self) -> str:
        """Where it listens."""
        return f"unix://{self.place.sockets / 'docker.sock'}"

    def prepare(self) -> Program:
        """Install what is missing, make the bridge and write the configuration; returns what to supervise."""
        if not self.is_installed:
            _install(self.place.log("apt"))
        self._remove_traces()
        ensure_bridge(self._bridge, seed=int(self.place.identity, 16))
        accept_bridged(self._bridge, interfaces=self._filtered, log=self._filter_log)
        file = self.place.home / "dockerd.json"
        file.write_text(json.dumps(self.configuration(), indent=2))
        return Program(
            name="dockerd",
            command=("/bin/sh", "-c", _START, "dockerd", str(self._pid_file), str(file)),
            group="servers",
            stop_wait_seconds=_STOP_SECONDS,
        )

    def configuration(self) -> dict[str, object]:
        """The daemon's file; it stands alone, whatever /etc/docker/daemon.json says.

        No ``default-address-pools``: a daemon that has them deletes docker0 when it starts, and that may well be
        the bridge of another engine on this machine.
        """
        beside = (
            {"containerd": str(self.containerd.socket), "live-restore": self.live_restore} if self.containerd else {}
        )
        return {
            **beside,
            "hosts": [self.host],
            "group": "root",
            "data-root": str(self._data),
            "exec-root": str(self._exec),
            "pidfile": str(self._pid_file),
            "bridge": self._bridge,
            "iptables": False,
            "ip6tables": False,
            "shutdown-timeout": 10,
        }

    def wait_ready(self) -> None:
        """Raises LocalError with the daemon's last words when it does not come up."""
        if not wait_until(lambda: answers(self.host), timeout_seconds=_START_SECONDS, interval_seconds=0.3):
            log = self.place.log("dockerd")
            message = (
                f"a private Docker engine could not be started here; it said:\n{tail(log)}\n"
                "Give RTMANAGER_DOCKER_HOST an engine that works."
            )
            raise LocalError(message)

    def bridges(self) -> list[str]:
        """The interfaces that the daemon's networks have now; an ended daemon leaves them behind."""
        try:
            with client(self.host, timeout_seconds=_PING_SECONDS) as engine:
                found = [f"br-{network['Id'][:12]}" for network in engine.api.networks()]
        except (DockerException, RequestException):
            found = []
        return [self._bridge, *found]

    def tidy(self, bridges: Sequence[str]) -> None:
        """Take away what the ended daemon left in the kernel. Images and containers on disk stay. Idempotent."""
        for bridge in bridges:
            remove_bridge(bridge)
        if is_root():
            take_back(self._bridge, interfaces=self._filtered, log=self._filter_log)
        self._remove_traces()
        unmount_below(self._data)

    def forget(self) -> None:
        """Delete images and containers. The daemon must be down."""
        self.tidy(self.bridges())
        if self._data.exists():
            shutil.rmtree(self._data)

    @property
    def _bridge(self) -> str:
        return f"rtm-{self.place.identity}"

    @property
    def _filtered(self) -> tuple[str, ...]:
        # Docker names the bridges of networks so.
        return ("br-+", self._bridge)

    @property
    def _filter_log(self) -> Path:
        return self.place.log("iptables")

    @property
    def _data(self) -> Path:
        return self.place.home / "docker"

    @property
    def _exec(self) -> Path:
        return self.place.sockets / "docker"

    @property
    def _pid_file(self) -> Path:
        return self.place.sockets / "docker.pid"

    def _remove_traces(self) -> None:
        unmount_below(self._exec)
        if self._exec.exists():
            shutil.rmtree(self._exec)


def answers(host: str) -> bool:
    """Whether a Docker engine answers at this address."""
    try:
        with client(host, timeout_seconds=_PING_SECONDS) as engine:
            return bool(engine.ping())
    except (DockerException, RequestException):
        return False


@contextmanager
def client(host: str, *, timeout_seconds: int = 60) -> Iterator[docker.DockerClient]:
    """A client of the engine for the time of a block."""
    with closing(docker.DockerClient(base_url=host, version="auto", timeout=timeout_seconds)) as engine:
        yield engine


def reachable_host(environment: Mapping[str, str]) -> str | None:
    """The engine that the machine offers, or None.

    Raises LocalError when the environment names one that does not answer: another would not be what was asked for.
    """
    for name in ("RTMANAGER_DOCKER_HOST", "DOCKER_HOST"):
        host = environment.get(name)
        if host:
            if answers(host):
                return host
            message = f"{name} is {host}, but no Docker engine answers there"
            raise LocalError(message)
    return DEFAULT_HOST if answers(DEFAULT_HOST) else None


def private_engine(place: Place, *, containerd: Containerd | None = None, live_restore: bool = True) -> PrivateEngine:
    """The engine of our own. Raises LocalError when this user on this machine cannot have one."""
    if is_root() and (shutil.which("dockerd") or can_install()):
        return PrivateEngine(place, containerd, live_restore)
    if is_root():
        message = "no Docker engine answers and none can be installed here; set RTMANAGER_DOCKER_HOST to one"
    else:
        message = (
            f"no Docker engine answers at {DEFAULT_HOST} and only root can start one: join the group docker, "
            "set RTMANAGER_DOCKER_HOST, or run this as root"
        )
    raise LocalError(message)


def _install(log: Path) -> None:
    # On a machine with an init system the package would start a daemon that outlives us; Debian asks this file first.
    forbid = not _POLICY.exists()
    if forbid:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        # Without apparmor's parser the engine starts no container where the kernel has AppArmor on.
        apt_install("docker.io", "apparmor", "ca-certificates", log=log)
    finally:
        if forbid:
            _POLICY.unlink()
