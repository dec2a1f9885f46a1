"""Who made what on the Docker host: every test session marks its things and clears up after killed ones.

Several sessions may share one Docker daemon (two clones side by side), so nothing is removed unless the
process that made it is known to be gone.
"""

import contextlib
import hashlib
import os
import re
import socket
from pathlib import Path

import docker
from docker.errors import APIError, NotFound

from runtimes.container_spec import LABEL_STACK

LABEL_SESSION = "rtmanager.tests.session"

_SESSION = r"(?P<host>[0-9a-f]{6})-(?P<pid>\d+)-(?P<born>\d+)"
_STACK = re.compile(rf"^test-(?P<session>{_SESSION})-")


def _host_mark() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]


def _born_at(pid: int) -> str:
    """The start time of a process in kernel ticks, empty when there is none: a pid alone is reused."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    # The second field is the command in parentheses and may hold blanks; count from behind it.
    return stat.rpartition(")")[2].split()[19]


SESSION_ID = f"{_host_mark()}-{os.getpid()}-{_born_at(os.getpid())}"
SESSION_LABELS = {LABEL_SESSION: SESSION_ID}


def stack_name(number: int) -> str:
    """A stack label of this session's; game containers carry it, so they can be traced back to us."""
    return f"test-{SESSION_ID}-{number}"


def _is_over(session: str) -> bool:
    found = re.fullmatch(_SESSION, session)
    if found is None or found["host"] != _host_mark():
        return False
    return _born_at(int(found["pid"])) != found["born"]


def _session_of(labels: dict[str, str]) -> str:
    stack = _STACK.match(labels.get(LABEL_STACK, ""))
    return labels.get(LABEL_SESSION, "") or (stack["session"] if stack else "")


def remove_leftovers(client: docker.DockerClient, *, own: bool = False) -> None:
    """Remove containers, networks and engine images of sessions that are over; with ``own`` this one's too."""

    def is_doomed(labels: dict[str, str]) -> bool:
        session = _session_of(labels)
        return _is_over(session) or (own and session == SESSION_ID)

    for container in client.api.containers(all=True):
        if is_doomed(container["Labels"] or {}):
            with contextlib.suppress(NotFound, APIError):
                client.api.remove_container(container["Id"], force=True, v=True)
    for network in client.api.networks():
        if is_doomed(network["Labels"] or {}):
            with contextlib.suppress(NotFound, APIError):
                client.api.remove_network(network["Id"])
    for image in client.api.images(filters={"label": LABEL_SESSION}):
        if is_doomed(image["Labels"] or {}):
            with contextlib.suppress(NotFound, APIError):
                client.api.remove_image(image["Id"], force=True)
