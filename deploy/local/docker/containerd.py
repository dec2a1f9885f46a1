"""A separate containerd for a private dockerd, so that a test can kill dockerd without killing the games.

A containerd that dockerd starts itself dies with it, and the leftovers of both prevent the next start of dockerd.
With a separate containerd, dockerd can be killed; after its restart it finds the games that kept running.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from deploy.local.servers.supervision import Program
from deploy.local.system.errors import LocalError
from deploy.local.system.process_cleanup import unmount_below
from deploy.local.system.shell import wait_until
from deploy.local.workspace import Workspace

_START_SECONDS = 30.0
_STOP_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Containerd:
    """The containerd of one workspace."""

    workspace: Workspace
    title: str = "containerd"

    @property
    def socket(self) -> Path:
        """The socket that dockerd connects to."""
        return self._state / "containerd.sock"

    def prepare(self) -> Program:
        """Write the configuration; return the program to supervise."""
        self.clean_up()
        self._state.mkdir(mode=0o711)
        file = self.workspace.home / "containerd.toml"
        file.write_text(configuration(self.socket, root=self._root, state=self._state))
        binary = shutil.which("containerd") or "containerd"
        return Program(
            name="containerd", command=(binary, "--config", str(file)), group="base", stop_wait_seconds=_STOP_SECONDS
        )

    def wait_ready(self) -> None:
        """Wait until it responds. Raises LocalError on timeout."""
        if not wait_until(self.socket.is_socket, timeout_seconds=_START_SECONDS):
            message = f"containerd did not start within {_START_SECONDS:.0f} s; see {self.workspace.log('containerd')}"
            raise LocalError(message)

    def wipe(self) -> None:
        """Delete the data. It and its dockerd must be stopped."""
        self.clean_up()
        shutil.rmtree(self._root, ignore_errors=not self._root.exists())

    def clean_up(self) -> None:
        """Remove the mounts and sockets of a stopped containerd. Idempotent."""
        unmount_below(self._state)
        shutil.rmtree(self._state, ignore_errors=not self._state.exists())

    @property
    def _root(self) -> Path:
        return self.workspace.home / "containerd"

    @property
    def _state(self) -> Path:
        # It contains sockets, whose paths must be short.
        return self.workspace.sockets / "containerd"


def configuration(socket: Path, *, root: Path, state: Path) -> str:
    """Return the configuration file. The Kubernetes plugin is disabled: it opens a port."""
    return "\n".join(
        [
            "version = 2",
            f'root = "{root}"',
            f'state = "{state}"',
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
            "[grpc]",
            f'  address = "{socket}"',
            "",
        ]
    )
