"""Builds the environment of the service's processes: given variables stay, missing ones get a value."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from deploy.local.workspace import Workspace
from rtmanager.config import PREFIX

_DATABASE_NAMES = ("DATABASE_URL", "POSTGRES_PRIMARY_DSN")
_REDIS_NAMES = ("REDIS_URL", "REDIS_MASTER_ADDR")
# As in the Dockerfile: by default the C library allocates a heap for nearly every thread, which wastes memory.
_PROCESS = {"MALLOC_ARENA_MAX": "2"}


@dataclass(frozen=True, slots=True)
class Servers:
    """The addresses of this stack's servers; None if the environment names an external server."""

    docker_host: str
    database_url: str | None
    redis_url: str | None
    http_addr: str | None


def names_a_database(given: Mapping[str, str]) -> bool:
    """Whether an external PostgreSQL is configured."""
    return _any_given(given, _DATABASE_NAMES)


def names_a_redis(given: Mapping[str, str]) -> bool:
    """Whether an external Redis is configured."""
    return _any_given(given, _REDIS_NAMES)


def names_an_address(given: Mapping[str, str]) -> bool:
    """Whether the address of the web process is configured."""
    return _any_given(given, ("INTERNAL_HTTP_ADDR",))


def complete(
    given: Mapping[str, str], servers: Servers, *, workspace: Workspace, secret: Callable[[str], str]
) -> dict[str, str]:
    """Return ``given`` plus a value for each missing setting that a local stack needs.

    An empty variable counts as missing. ``secret`` returns the generated password of a name.
    """
    defaults: dict[str, str | None] = {
        "DOCKER_HOST": servers.docker_host,
        "DOCKER_GATEWAY_DIR": str(workspace.sockets / "gateway"),
        "DATABASE_URL": servers.database_url,
        "REDIS_URL": servers.redis_url,
        "INTERNAL_HTTP_ADDR": servers.http_addr,
        "STACK": f"{workspace.kind}-{workspace.identity}",
        "DOCKER_NETWORK": f"galaxy-net-{workspace.identity}",
        "GAME_STATE_ROOT": str(workspace.games),
        "API_AUTH": "network",
        "SECRET_KEY": secret("secret_key"),
    }
    if not _any_given(given, ("ADMIN_BOOTSTRAP_USER",)):
        defaults |= {"ADMIN_BOOTSTRAP_USER": "admin", "ADMIN_BOOTSTRAP_PASSWORD": secret("admin")}
    defaults |= _ownership(os.geteuid(), os.getegid())
    missing = {
        f"{PREFIX}{name}": value for name, value in defaults.items() if value and not given.get(f"{PREFIX}{name}")
    }
    return {**_PROCESS, **given, **missing, "DJANGO_SETTINGS_MODULE": "rtmanager.settings", "PYTHONUNBUFFERED": "1"}


def _ownership(uid: int, gid: int) -> dict[str, str]:
    """Run the games as this user if it is not root: only root can change the owner of a state directory."""
    if uid == 0:
        return {}
    return {
        "GAME_STATE_OWNER_UID": str(uid),
        "GAME_STATE_OWNER_GID": str(gid),
        "CONTAINER_USER": f"{uid}:{gid}",
    }


def _any_given(given: Mapping[str, str], names: tuple[str, ...]) -> bool:
    return any(given.get(f"{PREFIX}{name}") for name in names)
