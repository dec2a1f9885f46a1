"""Lets containers of one network talk on a machine whose packet filter belongs to another engine.

An engine with filter rules of its own sets the machine to drop what it does not know, and on kernels that show
bridged packets to the filter this includes packets between two containers of a private engine.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from rtmanager.local.commands import run
from rtmanager.local.errors import LocalError

_SHOWN_TO_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


def accept_bridged(mark: str, *, interfaces: Sequence[str], log: Path) -> None:
    """Accept packets that stay inside one bridge of these names (``br-+`` is any that begins so). Idempotent.

    Does nothing where bridged packets pass unfiltered; when the filter refuses the rule, ``log`` says so.
    """
    if not _is_filtered():
        return
    take_back(mark, interfaces=interfaces, log=log)
    for interface in interfaces:
        _iptables("--insert", interface, mark=mark, log=log)


def take_back(mark: str, *, interfaces: Sequence[str], log: Path) -> None:
    """Remove the rules of ``accept_bridged``. Idempotent."""
    if not _is_filtered():
        return
    for interface in interfaces:
        while _iptables("--delete", interface, mark=mark, log=log):
            continue


def _is_filtered() -> bool:
    shown = _SHOWN_TO_FILTER.exists() and _SHOWN_TO_FILTER.read_text().strip() == "1"
    return shown and shutil.which("iptables") is not None


def _iptables(action: str, interface: str, *, mark: str, log: Path) -> bool:
    rule = ["--in-interface", interface, "--match", "physdev", "--physdev-is-bridged"]
    comment = ["--match", "comment", "--comment", mark]
    try:
        run(["iptables", "--wait", "5", action, "FORWARD", *rule, *comment, "--jump", "ACCEPT"], log=log)
    except LocalError:
        return False
    return True
