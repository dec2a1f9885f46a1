"""A Docker engine of one test's own, which the test may restart, kill, or take down together with its host."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException

from deploy.local.docker.network import ensure_bridge, remove_bridge
from deploy.local.docker.newer import NAMESPACE_VARIABLE
from deploy.local.system.process_cleanup import unmount_below
from deploy.local.system.shell import is_root
from tests.servers.waiting import wait_for

_START_SECONDS = 60
_STOP_SECONDS = 60


@dataclass
class OwnDocker:
    """A dockerd with data, sockets and a bridge of its own. ``folder`` has a short path: a socket lies in it."""

    folder: Path
    live_restore: bool = False
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def host(self) -> str:
        """Where it listens."""
        return f"unix://{self.folder}/d.sock"

    def start(self) -> None:
        """Start it and wait until it answers."""
        ensure_bridge(self._bridge, seed=os.getpid())
        self._file("docker.pid").unlink(missing_ok=True)
        config = self._file("daemon.json")
        config.write_text(json.dumps(self._configuration()))
        with self._file("log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_entered(), "dockerd", "--config-file", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_for(self._answers, what="the private Docker engine", timeout_seconds=_START_SECONDS)

    def stop(self) -> None:
        """Shut it down, as an upgrade or ``systemctl stop docker`` does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL it and its containerd; its containers are still there."""
        self._end(signal.SIGKILL)
        _kill(self._helpers("containerd/containerd.toml"))
        # A number in it that another process has by now would keep the next containerd from starting.
        self._file("x/containerd/containerd.pid").unlink(missing_ok=True)

    def lose_power(self) -> None:
        """End the engine, its containerd and every container at once, as a host does that loses its power."""
        with self.client() as client:
            pids = [client.api.inspect_container(str(one.id))["State"]["Pid"] for one in client.containers.list()]
        self.kill()
        _kill([*self._helpers(), *pids])

    @contextmanager
    def client(self) -> Iterator[docker.DockerClient]:
        """A client of it."""
        client = docker.DockerClient(base_url=self.host, timeout=60)
        try:
            yield client
        finally:
            client.close()

    def close(self) -> None:
        """End it with all that it runs, and take away what it has left in the kernel."""
        with suppress(DockerException, AssertionError):
            if self._process is None or self._process.poll() is not None:
                self.start()
            with self.client() as client:
                for one in client.containers.list():
                    one.remove(force=True)
                for network in client.networks.list(filters={"type": "custom"}):
                    network.remove()
        self.stop()
        _kill(self._helpers())
        unmount_below(self.folder)
        remove_bridge(self._bridge)

    @property
    def _bridge(self) -> str:
        return f"rtmt{os.getpid()}"

    def _configuration(self) -> dict[str, object]:
        return {
            "hosts": [self.host],
            "group": "root",
            "data-root": str(self._file("data")),
            "exec-root": str(self._file("x")),
            "pidfile": str(self._file("docker.pid")),
            "bridge": self._bridge,
            "iptables": False,
            "ip6tables": False,
            "shutdown-timeout": 10,
            "live-restore": self.live_restore,
        }

    def _file(self, name: str) -> Path:
        return self.folder / name

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._file("log").read_text()[-2000:]
        with suppress(DockerException), self.client() as client:
            return bool(client.ping())
        return False

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=_STOP_SECONDS)

    def _helpers(self, name: str = "") -> list[int]:
        """Its containerd and the shims of its containers, which name a file of its folder in their command lines."""
        mark = f"{self._file('x')}/{name}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
        return found


def _entered() -> list[str]:
    namespace = os.environ.get(NAMESPACE_VARIABLE)
    return ["nsenter", f"--mount={namespace}"] if namespace else []


def _kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(_lives(pid) for pid in pids), what=f"the end of {pids}")


def _lives(pid: int) -> bool:
    # A process that has ended and is not waited for yet has no command line any more.
    with suppress(OSError):
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    return False


@contextmanager
def own_docker(folder: Path, *, live_restore: bool = False) -> Iterator[OwnDocker]:
    """An engine that answers, and is gone at the end. Without the right to have one the test is skipped."""
    if not is_root():
        refuse = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        refuse("only root can start a Docker engine that a test may restart")
    engine = OwnDocker(folder, live_restore)
    try:
        engine.start()
        yield engine
    finally:
        engine.close()
