"""A network bridge for a private engine, made with the kernel's own calls: a bare machine has no tool for it.

Two engines that share Docker's usual bridge hand out the same addresses twice, so each gets its own.
"""

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from rtmanager.local.errors import LocalError

# linux/sockios.h and linux/if.h
_ADD_BRIDGE, _DELETE_BRIDGE = 0x89A0, 0x89A1
_SET_FLAGS, _SET_ADDRESS, _SET_NETMASK = 0x8914, 0x8916, 0x891C
_UP = 0x1
# Outside the ranges that Docker itself gives to networks.
_RANGE = ipaddress.IPv4Network("10.213.0.0/16")
_PREFIX_LENGTH = 26


def ensure_bridge(name: str, *, seed: int) -> None:
    """Make the bridge, with a subnet no route of this machine covers, and switch it on. Idempotent; root only.

    ``seed`` says where to begin looking, so that two stacks starting at once do not pick the same subnet.
    """
    if (Path("/sys/class/net") / name).exists():
        return
    subnet = free_subnet(seed, taken=list(_routes()))
    try:
        _call(_ADD_BRIDGE, name.encode() + b"\0")
        _call(_SET_ADDRESS, _request(name, _address(subnet[1])))
        _call(_SET_NETMASK, _request(name, _address(subnet.netmask)))
        _call(_SET_FLAGS, _request(name, struct.pack("<h", _UP)))
    except OSError as error:
        message = f"a network bridge for a private Docker engine cannot be made here: {error}"
        raise LocalError(message) from None


def remove_bridge(name: str) -> None:
    """Idempotent."""
    with suppress(OSError):
        _call(_SET_FLAGS, _request(name, struct.pack("<h", 0)))
        _call(_DELETE_BRIDGE, name.encode() + b"\0")


def free_subnet(seed: int, *, taken: list[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
    """The first subnet from position ``seed`` on that overlaps none of ``taken``."""
    subnets = list(_RANGE.subnets(new_prefix=_PREFIX_LENGTH))
    start = seed % len(subnets)
    for subnet in subnets[start:] + subnets[:start]:
        if not any(subnet.overlaps(other) for other in taken):
            return subnet
    message = f"every subnet of {_RANGE} is in use on this machine"
    raise LocalError(message)


def _routes() -> Iterator[ipaddress.IPv4Network]:
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        fields = line.split()
        destination, mask = (struct.pack("<I", int(fields[column], 16)) for column in (1, 7))
        if any(mask):
            yield ipaddress.IPv4Network((destination, str(ipaddress.IPv4Address(mask))), strict=False)


def _address(address: ipaddress.IPv4Address) -> bytes:
    return struct.pack("<hH4s8x", socket.AF_INET, 0, address.packed)


def _request(name: str, payload: bytes) -> bytes:
    return struct.pack("<16s24s", name.encode(), payload)


def _call(number: int, argument: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, number, argument)
