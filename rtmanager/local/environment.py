"""The environment of the service's processes: what was given stays, what is missing is filled in."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rtmanager.config import PREFIX
from rtmanager.local.places import Place

_DATABASE_NAMES = ("DATABASE_URL", "POSTGRES_PRIMARY_DSN")
_REDIS_NAMES = ("REDIS_URL", "REDIS_MASTER_ADDR")
# As the Dockerfile has it: by default the C library keeps a heap for nearly every thread, each with room to spare.
_PROCESS = {"MALLOC_ARENA_MAX": "2"}


@dataclass(frozen=True, slots=True)
class Servers:
    """The addresses this stack found or started; None where the environment names an outside server."""

    docker_host: str
    database_url: str | None
    redis_url: str | None
    http_addr: str | None


def names_a_database(given: Mapping[str, str]) -> bool:
    """Whether an outside PostgreSQL is to be used."""
    return _any_given(given, _DATABASE_NAMES)


def names_a_redis(given: Mapping[str, str]) -> bool:
    """Whether an outside Redis is to be used."""
    return _any_given(given, _REDIS_NAMES)


def names_an_address(given: Mapping[str, str]) -> bool:
    """Whether the web process is told where to listen."""
    return _any_given(given, ("INTERNAL_HTTP_ADDR",))


def complete(
    given: Mapping[str, str], servers: Servers, *, place: Place, secret: Callable[[str], str]
) -> dict[str, str]:
    """The whole environment: ``given`` plus a value for each setting a local stack needs and was not given.

    An empty variable counts as not given. ``secret`` returns the generated password of a name.
    """
    defaults: dict[str, str | None] = {
        "DOCKER_HOST": servers.docker_host,
        "DATABASE_URL": servers.database_url,
        "REDIS_URL": servers.redis_url,
        "INTERNAL_HTTP_ADDR": servers.http_addr,
        "STACK": f"{place.kind}-{place.identity}",
        "DOCKER_NETWORK": f"galaxy-net-{place.identity}",
        "GAME_STATE_ROOT": str(place.games),
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
    """A plain user can give a game's directory to nobody else, so the game runs as that user too."""
    if uid == 0:
        return {}
    return {
        "GAME_STATE_OWNER_UID": str(uid),
        "GAME_STATE_OWNER_GID": str(gid),
        "CONTAINER_USER": f"{uid}:{gid}",
    }


def _any_given(given: Mapping[str, str], names: tuple[str, ...]) -> bool:
    return any(given.get(f"{PREFIX}{name}") for name in names)
