"""Access to the container engine: each thread has its own adapter, of the class the settings name."""

import os
import threading
from typing import cast

from django.conf import settings
from django.utils.module_loading import import_string

from runtimes.containers.base import Containers

_thread = threading.local()


def connect() -> Containers:
    """The calling thread's adapter of the class ``settings.RTM_CONTAINERS``; does no I/O by itself.

    It is kept until the settings change. A forked process gets its own, never its parent's sockets.
    """
    wanted = (os.getpid(), settings.RTM_CONTAINERS, settings.RTMANAGER)
    if getattr(_thread, "made_for", None) != wanted:
        disconnect()
        _thread.adapter = import_string(settings.RTM_CONTAINERS).from_settings()
        _thread.made_for = wanted
    return cast("Containers", _thread.adapter)


def disconnect() -> None:
    """Close the calling thread's adapter, if it has one."""
    adapter = getattr(_thread, "adapter", None)
    _thread.__dict__.clear()
    if adapter is not None:
        adapter.close()
