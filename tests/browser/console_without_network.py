"""Run a program without notifications of network changes: ``python console_without_network.py PROGRAM ARGUMENTS...``.

On a Docker host each container that starts or ends changes the network interfaces. Chromium subscribes to these changes
and aborts every open request (ERR_NETWORK_CHANGED), which would fail our tests. A kernel filter refuses it the netlink
sockets of the subscription.
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
# The data that the kernel passes to a filter: the call's number at 0, the first argument at 16.
_NUMBER_AT, _FIRST_ARGUMENT_AT = 0, 16
_SOCKET_CALL = {"x86_64": 41, "aarch64": 198}


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def refuse_netlink() -> None:
    """Refuse netlink sockets in this process and its children. Does nothing on systems other than Linux."""
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
    refuse_netlink()
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 - the browser that the tests found
