"""Makes a base image of Debian packages, for machines that reach no container registry.

The image holds what this machine needs to reach its package sources: its certificates, and the settings of pip.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import docker
from docker.errors import DockerException, ImageNotFound

from deploy.local.system.errors import LocalError
from deploy.local.system.shell import apt_install, can_install
from deploy.local.workspace import CACHE

PUBLIC_BASE = "python:3.13-slim"
_RELEASE = "bookworm"
_PACKAGES = "python3,python3-venv"
# Documentation and translations are half of a minimal Debian.
_EXCLUDED = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")
# Perl comes with the certificates, and only the installation of packages runs it.
_REMOVE = 'rm -rf "$1"/usr/share/perl "$1"/usr/lib/*/perl "$1"/usr/lib/*/gconv'
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_APT = 'Acquire::Check-Valid-Until "false"'
_REGISTRY_TIMEOUT_SECONDS = 5


def find_base(client: docker.DockerClient, docker_host: str) -> str:
    """Return a base image: the public one if the daemon has it or can pull it, else one made here, once per recipe."""
    if is_held(client, PUBLIC_BASE) or _is_pulled(client, docker_host):
        return PUBLIC_BASE
    pip = _pip_settings()
    recipe = "\n".join([_RELEASE, _PACKAGES, *_EXCLUDED, _REMOVE, pip, _certificates().read_text()])
    reference = f"rtmanager-base:{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if not is_held(client, reference):
        _make(client, reference, pip)
    return reference


def _make(client: docker.DockerClient, reference: str, pip: str) -> None:
    program = shutil.which("mmdebstrap")
    if program is None and can_install():
        CACHE.mkdir(parents=True, exist_ok=True)
        apt_install("mmdebstrap", log=CACHE / "apt.log")
        program = shutil.which("mmdebstrap")
    if program is None:
        message = f"no registry has {PUBLIC_BASE}, and a base image of Debian packages needs mmdebstrap: install it"
        raise LocalError(message)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pip.conf").write_text(pip)
        command = [
            program, "--quiet", "--variant=minbase", f"--include={_PACKAGES}", f"--aptopt={_APT}",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in _EXCLUDED),
            f"--customize-hook={_REMOVE}",
            f'--customize-hook=mkdir -p "$1{Path(_CERTIFICATES).parent}"',
            f"--customize-hook=upload {_certificates()} {_CERTIFICATES}",
            f"--customize-hook=upload {folder}/pip.conf /etc/pip.conf",
            _RELEASE, f"{folder}/root.tar", *_mirror(),
        ]  # fmt: skip
        done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)  # noqa: S603 - fixed arguments
        if done.returncode:
            message = f"mmdebstrap failed with exit code {done.returncode}: {done.stderr.strip()[-500:]}"
            raise LocalError(message)
        repository, _colon, tag = reference.partition(":")
        client.api.import_image_from_file(f"{folder}/root.tar", repository=repository, tag=tag)


def _pip_settings() -> str:
    given = {"cert": _CERTIFICATES, "index-url": os.environ.get("PIP_INDEX_URL", ""), "timeout": "180"}
    return "[global]\n" + "".join(f"{name} = {value}\n" for name, value in given.items() if value)


def _certificates() -> Path:
    named = [os.environ[name] for name in ("SSL_CERT_FILE", "PIP_CERT") if os.environ.get(name)]
    return Path(named[0] if named else _CERTIFICATES)


def _mirror() -> list[str]:
    """The source files of this machine if it runs the same release; else Debian's public mirror."""
    release = Path("/etc/os-release").read_text(encoding="utf-8")
    candidates = [Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")]
    if f"VERSION_CODENAME={_RELEASE}" not in release:
        return []
    return [str(path) for path in candidates if path.is_file() and "debian" in path.read_text(encoding="utf-8")]


def is_held(client: docker.DockerClient, reference: str) -> bool:
    """Whether this Docker has an image of this name."""
    try:
        client.images.get(reference)
    except ImageNotFound:
        return False
    return True


def _is_pulled(client: docker.DockerClient, docker_host: str) -> bool:
    impatient = docker.DockerClient(base_url=docker_host, timeout=_REGISTRY_TIMEOUT_SECONDS)
    try:
        # Only the daemon knows whether it reaches a registry, and a pull has no timeout of its own.
        impatient.api.inspect_distribution(PUBLIC_BASE)  # type: ignore[no-untyped-call]
        client.images.pull(PUBLIC_BASE)
    except (DockerException, OSError):
        return False
    finally:
        impatient.close()
    return True
