"""The images of PostgreSQL and Redis: the usual public ones, or one built here where no registry answers.

The own image is a minimal Debian with both servers, made with the package sources this machine has. Its tag
is the hash of the recipe. It is built once per clone, and again when the recipe changes.
"""

import hashlib
import shutil
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import DockerException

from deploy.image.base import is_held
from deploy.local.system.debian import make_root
from deploy.local.system.shell import apt_install, can_install
from deploy.local.workspace import CACHE

_POSTGRES = "postgres:16-alpine"
_REDIS = "redis:7-alpine"
_PACKAGES = ("postgresql", "redis-server")
_DATA = "/var/lib/postgresql/rtm-tests"
_INITDB = f"initdb --username=postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 {_DATA}"
_POSTGRES_SCRIPT = f"""
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
if [ ! -s {_DATA}/PG_VERSION ]; then {_INITDB} && echo 'host all all all trust' >> {_DATA}/pg_hba.conf; fi
exec postgres -D {_DATA} -k /tmp -c listen_addresses='*' "$@"
"""
_REGISTRY_TIMEOUT_SECONDS = 5


@dataclass(frozen=True, slots=True)
class ServerImage:
    """What to run: the image, the command in front of the server's own arguments, and the user."""

    reference: str
    command: tuple[str, ...]
    user: str = ""


@dataclass(frozen=True, slots=True)
class ServerImages:
    """The two images of one test session."""

    postgres: ServerImage
    redis: ServerImage


def find_server_images(docker_host: str) -> ServerImages:
    """Find, pull or build. Takes half a minute the first time where no registry answers."""
    with (
        closing(docker.DockerClient(base_url=docker_host, timeout=300)) as client,
        closing(docker.DockerClient(base_url=docker_host, timeout=_REGISTRY_TIMEOUT_SECONDS)) as impatient,
    ):
        return _server_images(client, impatient)


def _server_images(client: docker.DockerClient, impatient: docker.DockerClient) -> ServerImages:
    if all(is_held(client, reference) or _is_pulled(client, impatient, reference) for reference in (_POSTGRES, _REDIS)):
        return ServerImages(ServerImage(_POSTGRES, ("postgres",)), ServerImage(_REDIS, ("redis-server",)))
    own = _own_image(client)
    return ServerImages(
        ServerImage(own, ("sh", "-c", _POSTGRES_SCRIPT, "postgres"), user="postgres"),
        ServerImage(own, ("redis-server", "--dir", "/var/lib/redis"), user="redis"),
    )


def _is_pulled(client: docker.DockerClient, impatient: docker.DockerClient, reference: str) -> bool:
    try:
        # Only the daemon knows whether it reaches a registry, and a pull that cannot has no time-out of its own.
        impatient.api.inspect_distribution(reference)  # type: ignore[no-untyped-call]
        _say(f"pulling {reference}")
        client.images.pull(reference)
    except (DockerException, OSError):
        return False
    return True


def _own_image(client: docker.DockerClient) -> str:
    recipe = f"{','.join(_PACKAGES)}\n{_debian_release()}"
    reference = f"rtmanager-test-servers:{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if not is_held(client, reference):
        repository, _colon, tag = reference.partition(":")
        archive = CACHE / f"{repository}-{tag}.tar"
        if not archive.exists():
            _say("no registry answers: making an image of PostgreSQL and Redis from Debian packages (half a minute)")
            _install_bootstrap_program()
            make_root(_debian_release(), _PACKAGES, archive, log=CACHE / "mmdebstrap.log")
        client.api.import_image_from_file(str(archive), repository=repository, tag=tag)
    return reference


def _install_bootstrap_program() -> None:
    if shutil.which("mmdebstrap") is None and can_install():
        apt_install("mmdebstrap", log=CACHE / "apt.log")
    hint = "no registry answers, and the tests' own server image needs mmdebstrap: apt-get install mmdebstrap"
    assert shutil.which("mmdebstrap"), hint


def _debian_release() -> str:
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    facts = dict(line.partition("=")[::2] for line in lines if "=" in line)
    return facts.get("VERSION_CODENAME", "stable").strip('"') if facts.get("ID") == "debian" else "stable"


def _say(text: str) -> None:
    # Not captured by pytest: a first run without output for half a minute seems to hang.
    print(text, file=sys.__stderr__, flush=True)
