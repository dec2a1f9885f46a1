"""Access to Docker. Each thread has its own adapter, of the class that ``RTM_CONTAINERS`` names."""

import os
import threading
from typing import cast

from django.conf import settings
from django.utils.module_loading import import_string

from runtimes.containers.base import DockerPort

_thread = threading.local()
_adapter = ""


def use_adapter(path: str) -> None:
    """Let this process use another adapter than ``settings.RTM_CONTAINERS``: the web process reads through a worker."""
    global _adapter  # noqa: PLW0603 - one process, one adapter
    _adapter = path


def connect() -> DockerPort:
    """Return the calling thread's adapter. Does no I/O.

    The adapter is cached until the settings change. A forked process creates its own and does not use its parent's
    sockets.
    """
    path = _adapter or settings.RTM_CONTAINERS
    key = (os.getpid(), path, settings.RTMANAGER)
    if getattr(_thread, "key", None) != key:
        disconnect()
        _thread.adapter = import_string(path).from_settings()
        _thread.key = key
    return cast("DockerPort", _thread.adapter)


def disconnect() -> None:
    """Close the calling thread's adapter, if any."""
    adapter = getattr(_thread, "adapter", None)
    _thread.__dict__.clear()
    if adapter is not None:
        adapter.close()
