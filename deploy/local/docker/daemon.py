"""Chooses the Docker daemon: the one of the machine, else a private one that stops with the stack."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException

from deploy.local.docker.cleanup import bridge_of
from deploy.local.docker.containerd import Containerd
from deploy.local.docker.network import accept_bridged, address_pool, ensure_bridge, remove_bridge, remove_rules
from deploy.local.servers.supervision import Program
from deploy.local.system.errors import LocalError
from deploy.local.system.process_cleanup import unmount_below
from deploy.local.system.shell import apt_install, can_install, is_root, tail, wait_until
from deploy.local.workspace import Workspace

DEFAULT_HOST = "unix:///var/run/docker.sock"
_PING_SECONDS = 3
_START_SECONDS = 90.0
_STOP_SECONDS = 30
_POLICY = Path("/usr/sbin/policy-rc.d")
# After a crash, the pid in the file may belong to another process; then dockerd would refuse to start.
_START = 'rm -f "$1"; exec dockerd --config-file "$2"'
# The records of networks are removed: a daemon that finds them there, and has address pools, deletes docker0.
_START_NEWER = 'rm -rf "$1" "$4"; mount --bind "$3" /usr && exec dockerd --config-file "$2"'
# Mounts of this machine are visible to the daemon, and its own mounts end with it.
_IN_NAMESPACE = ("unshare", "--mount", "--propagation", "slave")


@dataclass(frozen=True, slots=True)
class PrivateDocker:
    """The dockerd of one workspace: with its own data, sockets and bridge, and without packet filter rules.

    A daemon that starts deletes the filter rules of another daemon. Without rules, containers still reach each other,
    and the machine reaches them: games and tests need no more.

    With a separate ``containerd``, dockerd can be killed; after its restart it finds the games that kept running.
    ``live_restore`` is off for Swarm, which does not support it. ``programs`` is the ``/usr`` of another Debian
    release, which replaces that of this machine for the daemon alone.
    """

    workspace: Workspace
    containerd: Containerd | None = None
    live_restore: bool = True
    programs: Path | None = None

    @property
    def title(self) -> str:
        """The name in the progress."""
        return "private Docker daemon" if self.is_installed else "private Docker daemon (docker.io from Debian)"

    @property
    def is_installed(self) -> bool:
        """Whether dockerd and the tool for its bridge are installed."""
        return all(map(shutil.which, ("dockerd", "ip")))

    @property
    def host(self) -> str:
        """The address of its socket."""
        return f"unix://{self.workspace.sockets / 'docker.sock'}"

    def prepare(self) -> Program:
        """Install missing packages, create the bridge, write the configuration; return the program to supervise."""
        if not self.is_installed:
            _install(self.workspace.log("apt"))
        self._remove_traces()
        ensure_bridge(self._bridge, seed=self._seed)
        accept_bridged(self._bridge, interfaces=self._filtered, log=self._filter_log)
        self._file.write_text(json.dumps(self.configuration(), indent=2))
        return Program(name="dockerd", command=self.command, group="servers", stop_wait_seconds=_STOP_SECONDS)

    @property
    def command(self) -> tuple[str, ...]:
        """The command that starts the daemon."""
        arguments = ("dockerd", str(self._pid_file), str(self._file))
        if self.programs is None:
            return ("/bin/sh", "-c", _START, *arguments)
        networks = self._data / "network"
        return (*_IN_NAMESPACE, "/bin/sh", "-c", _START_NEWER, *arguments, str(self.programs), str(networks))

    def configuration(self) -> dict[str, object]:
        """Return the configuration file. It replaces /etc/docker/daemon.json completely.

        No ``default-address-pools`` for a daemon that keeps its networks: when it starts again, it deletes docker0,
        which may be the bridge of another daemon on this machine.
        """
        pools = {"default-address-pools": [address_pool(self._seed)]} if self.programs else {}
        containerd = (
            {"containerd": str(self.containerd.socket), "live-restore": self.live_restore} if self.containerd else {}
        )
        return {
            **containerd,
            "hosts": [self.host],
            "group": "root",
            "data-root": str(self._data),
            "exec-root": str(self._exec),
            "pidfile": str(self._pid_file),
            "bridge": self._bridge,
            "iptables": False,
            "ip6tables": False,
            "shutdown-timeout": 10,
            **pools,
        }

    def wait_ready(self) -> None:
        """Wait until it responds. Raises LocalError with its last log lines on timeout."""
        if not wait_until(lambda: responds(self.host), timeout_seconds=_START_SECONDS, interval_seconds=0.3):
            log = self.workspace.log("dockerd")
            message = (
                f"a private Docker daemon did not start; its last log lines:\n{tail(log)}\n"
                "Set RTMANAGER_DOCKER_HOST to a working Docker daemon."
            )
            raise LocalError(message)

    @property
    def mount_namespace(self) -> str:
        """The mount namespace of the running daemon, for ``nsenter``."""
        return f"/proc/{self._pid_file.read_text().strip()}/ns/mnt"

    def bridges(self) -> list[str]:
        """Return the interfaces of the daemon's networks. A stopped daemon leaves them behind."""
        try:
            with connect_docker(self.host, timeout_seconds=_PING_SECONDS) as client:
                names = [f"br-{network['Id'][:12]}" for network in client.api.networks()]
        except (DockerException, RequestException):
            names = []
        outside, _stack = self.workspace.remembered_docker_host()
        if not outside:
            # A killed daemon does not respond, so this name is added. On a daemon of the machine the network stays:
            # games may use it, and Docker does not create the bridge again.
            names.append(bridge_of(self.workspace.identity))
        return [self._bridge, *set(names)]

    def clean_up(self, bridges: Sequence[str]) -> None:
        """Remove what a stopped daemon left in the kernel. Images and containers on disk stay. Idempotent."""
        for bridge in bridges:
            remove_bridge(bridge)
        if is_root():
            remove_rules(self._bridge, interfaces=self._filtered, log=self._filter_log)
        self._remove_traces()
        unmount_below(self._data)

    def wipe(self) -> None:
        """Delete images and containers. The daemon must be stopped."""
        self.clean_up(self.bridges())
        if self._data.exists():
            shutil.rmtree(self._data)

    @property
    def _seed(self) -> int:
        return int(self.workspace.identity, 16)

    @property
    def _bridge(self) -> str:
        return f"rtm-{self.workspace.identity}"

    @property
    def _filtered(self) -> tuple[str, ...]:
        # br- is Docker's prefix for the bridges of networks.
        return ("br-+", bridge_of(self.workspace.identity), self._bridge)

    @property
    def _filter_log(self) -> Path:
        return self.workspace.log("iptables")

    @property
    def _data(self) -> Path:
        return self.workspace.home / "docker"

    @property
    def _exec(self) -> Path:
        return self.workspace.sockets / "docker"

    @property
    def _file(self) -> Path:
        return self.workspace.home / "dockerd.json"

    @property
    def _pid_file(self) -> Path:
        return self.workspace.sockets / "docker.pid"

    def _remove_traces(self) -> None:
        unmount_below(self._exec)
        if self._exec.exists():
            shutil.rmtree(self._exec)


def responds(host: str) -> bool:
    """Whether a Docker daemon responds at this address."""
    try:
        with connect_docker(host, timeout_seconds=_PING_SECONDS) as client:
            return bool(client.ping())
    except (DockerException, RequestException):
        return False


@contextmanager
def connect_docker(host: str, *, timeout_seconds: int = 60) -> Iterator[docker.DockerClient]:
    """Yield a client of the daemon; close it after the block."""
    with closing(docker.DockerClient(base_url=host, version="auto", timeout=timeout_seconds)) as client:
        yield client


def reachable_host(environment: Mapping[str, str]) -> str | None:
    """Return the address of the machine's Docker daemon, or None.

    Raises LocalError if the daemon that the environment names does not respond. No other daemon replaces it.
    """
    for name in ("RTMANAGER_DOCKER_HOST", "DOCKER_HOST"):
        host = environment.get(name)
        if host:
            if responds(host):
                return host
            message = f"{name} is {host}, but no Docker daemon responds there"
            raise LocalError(message)
    return DEFAULT_HOST if responds(DEFAULT_HOST) else None


def private_docker(
    workspace: Workspace, *, containerd: Containerd | None = None, live_restore: bool = True
) -> PrivateDocker:
    """Return the private daemon of a workspace. Raises LocalError if this user cannot start or install one."""
    if is_root() and (shutil.which("dockerd") or can_install()):
        return PrivateDocker(workspace, containerd, live_restore)
    if is_root():
        message = "no Docker daemon responds, and none can be installed here; set RTMANAGER_DOCKER_HOST to one"
    else:
        message = (
            f"no Docker daemon responds at {DEFAULT_HOST}, and only root can start one: join the group docker, "
            "set RTMANAGER_DOCKER_HOST, or run this as root"
        )
    raise LocalError(message)


def _install(log: Path) -> None:
    # On a machine with an init system the package would start a daemon. Debian checks this file before it starts one.
    is_temporary = not _POLICY.exists()
    if is_temporary:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        # Where the kernel has AppArmor enabled, the daemon starts no container without apparmor's parser.
        apt_install("docker.io", "iproute2", "iptables", "apparmor", "ca-certificates", log=log)
    finally:
        if is_temporary:
            _POLICY.unlink()
