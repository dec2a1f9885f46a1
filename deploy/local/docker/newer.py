"""The newest Docker: that of Debian's testing suite, for `make test-newer`."""

from pathlib import Path

from deploy.local.system.debian import make_root
from deploy.local.workspace import CACHE

SUITE = "forky"
_PACKAGES = ("docker.io", "iptables", "base-files")
# The installation of a package makes these links. Without them, containers do not resolve each other's names.
_IPTABLES = ("iptables", "ip6tables")
# The variable of dockerd that refuses older clients, and the value that Docker 29 has by default.
LOWEST_API = {"DOCKER_MIN_API_VERSION": "1.44"}
# A test that starts a Docker daemon of its own starts it in this mount namespace, which has the same programs.
NAMESPACE_VARIABLE = "RTM_TEST_MOUNT_NAMESPACE"


def newer_programs(*, log: Path) -> Path:
    """Return the directory ``/usr`` of the suite. It is made on first use and kept until `make clean`.

    Only files are unpacked: no program of the suite runs before dockerd.
    """
    root = CACHE / f"docker-of-{SUITE}"
    if not root.exists():
        make_root(SUITE, _PACKAGES, root, log=log, variant="extract")
    for name in _IPTABLES:
        link = root / "usr" / "sbin" / name
        if not link.is_symlink():
            link.symlink_to("xtables-nft-multi")
    return root / "usr"
