"""A containerd of its own beside a private dockerd: whoever kills the one must not take the other along.

A containerd that dockerd starts for itself dies with it, and what both leave behind when killed keeps dockerd from
starting again. Beside a separate one, dockerd can be killed and comes back to the games that it left running.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from rtmanager.local.commands import wait_until
from rtmanager.local.errors import LocalError
from rtmanager.local.leftovers import unmount_below
from rtmanager.local.places import Place
from rtmanager.local.supervision import Program

_START_SECONDS = 30.0
_STOP_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Containerd:
    """One containerd of one place."""

    place: Place
    title: str = "containerd"

    @property
    def socket(self) -> Path:
        """Where dockerd finds it."""
        return self._state / "containerd.sock"

    def prepare(self) -> Program:
        """Write the configuration; returns what to supervise."""
        self.tidy()
        self._state.mkdir(mode=0o711)
        file = self.place.home / "containerd.toml"
        file.write_text(configuration(self.socket, root=self._root, state=self._state))
        binary = shutil.which("containerd") or "containerd"
        return Program(
            name="containerd", command=(binary, "--config", str(file)), group="base", stop_wait_seconds=_STOP_SECONDS
        )

    def wait_ready(self) -> None:
        """Raises LocalError when it does not come up."""
        if not wait_until(self.socket.is_socket, timeout_seconds=_START_SECONDS):
            message = f"containerd did not come up within {_START_SECONDS:.0f} s; see {self.place.log('containerd')}"
            raise LocalError(message)

    def forget(self) -> None:
        """Delete the data. It must be down, and so must its dockerd."""
        self.tidy()
        shutil.rmtree(self._root, ignore_errors=not self._root.exists())

    def tidy(self) -> None:
        """Take away what an ended one left in the kernel. Idempotent."""
        unmount_below(self._state)
        shutil.rmtree(self._state, ignore_errors=not self._state.exists())

    @property
    def _root(self) -> Path:
        return self.place.home / "containerd"

    @property
    def _state(self) -> Path:
        # Below it lie sockets, whose paths must be short.
        return self.place.sockets / "containerd"


def configuration(socket: Path, *, root: Path, state: Path) -> str:
    """Without the Kubernetes interface, which opens a port."""
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
