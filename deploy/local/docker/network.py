"""The network of a private Docker daemon on this machine: a bridge of its own, and rules in the packet filter.

Two daemons that share Docker's default bridge assign the same addresses twice, so each has its own bridge.

A daemon with packet filter rules makes the machine drop unknown packets. On kernels that pass bridged packets to the
filter, this includes packets between two containers of a private daemon.
"""

import ipaddress
import json
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from deploy.local.system.errors import LocalError
from deploy.local.system.shell import run

# Not one of the ranges that Docker assigns to networks.
_RANGE = ipaddress.IPv4Network("10.213.0.0/16")
_PREFIX_LENGTH = 26
_POOLS = ipaddress.IPv4Network("10.224.0.0/12")
_POOL_PREFIX_LENGTH = 19
_BRIDGED_IS_FILTERED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


def ensure_bridge(name: str, *, seed: int) -> None:
    """Create the bridge with a subnet that no route of this machine covers, and enable it. Idempotent; root only.

    ``seed`` is the position where the search begins, so that two stacks that start at once choose different subnets.
    """
    if (Path("/sys/class/net") / name).exists():
        return
    try:
        subnet = find_free_subnet(seed, taken=_routes())
        _ip("link", "add", name, "type", "bridge")
        _ip("address", "add", f"{subnet[1]}/{subnet.prefixlen}", "dev", name)
        _ip("link", "set", name, "up")
    except (OSError, subprocess.CalledProcessError) as error:
        reason = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else error
        message = f"cannot create a network bridge for a private Docker daemon: {reason}"
        raise LocalError(message) from None


def remove_bridge(name: str) -> None:
    """Remove the bridge. Idempotent."""
    with suppress(OSError, subprocess.CalledProcessError):
        _ip("link", "delete", name, "type", "bridge")


def find_free_subnet(seed: int, *, taken: Sequence[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
    """Return the first subnet from position ``seed`` on that overlaps none of ``taken``."""
    subnets = list(_RANGE.subnets(new_prefix=_PREFIX_LENGTH))
    start = seed % len(subnets)
    for subnet in subnets[start:] + subnets[:start]:
        if not any(subnet.overlaps(other) for other in taken):
            return subnet
    message = f"every subnet of {_RANGE} is in use on this machine"
    raise LocalError(message)


def address_pool(seed: int) -> dict[str, object]:
    """Return 128 subnets for the networks of one daemon. Docker skips those that a route of the machine covers."""
    pools = list(_POOLS.subnets(new_prefix=_POOL_PREFIX_LENGTH))
    return {"base": str(pools[seed % len(pools)]), "size": _PREFIX_LENGTH}


def accept_bridged(comment: str, *, interfaces: Sequence[str], log: Path) -> None:
    """Accept packets that stay inside one bridge of these names (``br-+`` matches every name with that prefix).

    Idempotent. Does nothing on machines that do not filter bridged packets. If iptables fails, ``log`` has the reason.
    """
    if not _filters_bridged():
        return
    remove_rules(comment, interfaces=interfaces, log=log)
    for interface in interfaces:
        _iptables("--insert", interface, comment=comment, log=log)


def remove_rules(comment: str, *, interfaces: Sequence[str], log: Path) -> None:
    """Remove the rules of ``accept_bridged``. Idempotent."""
    if not _filters_bridged():
        return
    for interface in interfaces:
        while _iptables("--delete", interface, comment=comment, log=log):
            continue


def _routes() -> list[ipaddress.IPv4Network]:
    routes = json.loads(_ip("-json", "-4", "route", "show"))
    return [ipaddress.IPv4Network(route["dst"], strict=False) for route in routes if route["dst"] != "default"]


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout  # noqa: S603, S607


def _filters_bridged() -> bool:
    is_filtered = _BRIDGED_IS_FILTERED.exists() and _BRIDGED_IS_FILTERED.read_text().strip() == "1"
    return is_filtered and shutil.which("iptables") is not None


def _iptables(action: str, interface: str, *, comment: str, log: Path) -> bool:
    rule = ["--in-interface", interface, "--match", "physdev", "--physdev-is-bridged"]
    rule += ["--match", "comment", "--comment", comment]
    try:
        run(["iptables", "--wait", "5", action, "FORWARD", *rule, "--jump", "ACCEPT"], log=log)
    except LocalError:
        return False
    return True
