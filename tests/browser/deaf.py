"""Runs a program that cannot hear of network changes: ``python deaf.py PROGRAM ARGUMENTS...``.

On a Docker host each container that starts or ends changes the machine's interfaces. Chromium listens for that and
drops every request under way (ERR_NETWORK_CHANGED), which says nothing of our pages. The kernel refuses it the
sockets by which it would hear.
"""

import ctypes
import os
import platform
import struct
import sys

_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _REFUSE_WITH_EACCES = 0x7FFF0000, 0x00050000 | 13
_AF_NETLINK = 16
# What the kernel tells a filter: the call's number at 0, the first argument at 16.
_NUMBER_AT, _FIRST_ARGUMENT_AT = 0, 16
_SOCKET_CALL = {"x86_64": 41, "aarch64": 198}


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def go_deaf() -> None:
    """From here on, in this process and its children, netlink sockets are refused; elsewhere than on Linux nothing."""
    number = _SOCKET_CALL.get(platform.machine())
    if number is None or sys.platform != "linux":
        return
    steps = b"".join(
        struct.pack("HBBI", *step)
        for step in (
            (_LOAD, 0, 0, _NUMBER_AT),
            (_IF_EQUAL, 0, 3, number),
            (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
            (_IF_EQUAL, 0, 1, _AF_NETLINK),
            (_RETURN, 0, 0, _REFUSE_WITH_EACCES),
            (_RETURN, 0, 0, _ALLOW),
        )
    )
    program = _Program(len(steps) // 8, steps)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    libc.prctl(_SECCOMP, _FILTER, ctypes.byref(program), 0, 0)


if __name__ == "__main__":
    go_deaf()
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 - the browser, found by the tests
