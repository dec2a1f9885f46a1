"""PostgreSQL and Redis in containers of testcontainers: one shared pair per session, further ones to be killed."""

import contextlib
import itertools
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, cast

import psycopg2
import redis
from docker.models.containers import Container
from psycopg2 import sql
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from tests.servers.certificates import Certificate
from tests.servers.server_images import ServerImage
from tests.servers.sessions import SESSION_LABELS
from tests.servers.waiting import wait_for

# Its reaper is an image of a registry that may not be there; sessions.py clears up instead.
testcontainers_config.ryuk_disabled = True

_POSTGRES_PORT = 5432
_REDIS_PORT = 6379
_REDIS_DATABASES = 512
_CONNECTIONS = ("-c", "max_connections=400")
# A database that lives for one session may lose its last second.
_FAST = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server answers."""

    host: str
    port: int


@dataclass(slots=True)
class PostgresServer:
    """A running PostgreSQL in which every user has a database of its own."""

    container: Container
    address: Address
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def url(self, database: str) -> str:
        return f"postgresql://postgres@{self.address.host}:{self.address.port}/{database}"

    def create_database(self, *, template: str = "template1") -> str:
        """A new database with the content of the template; returns its name."""
        name = f"rtm_{next(self._numbers)}"
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        self._administer(create)
        return name

    def drop_database(self, name: str) -> None:
        self._administer(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def rows(self, database: str, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """What a query answers, read on a connection of its own."""
        with contextlib.closing(psycopg2.connect(self.url(database), connect_timeout=3)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(query, parameters)
                return cursor.fetchall()

    def execute(self, database: str, statement: str | sql.Composed) -> None:
        """Run a statement that answers nothing, on a connection of its own."""
        with contextlib.closing(psycopg2.connect(self.url(database), connect_timeout=3)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)

    def _administer(self, statement: sql.Composed) -> None:
        self.execute("postgres", statement)

    def kill(self) -> None:
        self.container.kill()

    def revive(self) -> None:
        """Start it again on the same address and wait until it answers."""
        self.container.start()
        wait_for(lambda: _postgres_answers(self.address), what="PostgreSQL to come back")


@dataclass(slots=True)
class RedisServer:
    """A running Redis in which every user has logical databases of its own."""

    container: Container
    address: Address
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(2, 2))

    def url(self, database: int) -> str:
        return f"redis://{self.address.host}:{self.address.port}/{database}"

    def next_database(self) -> int:
        """The first of two unused logical databases: the streams' and, after it, the broker's."""
        return next(self._numbers)

    def client(self, database: int) -> "redis.Redis":
        return redis.Redis(
            host=self.address.host, port=self.address.port, db=database, decode_responses=True, socket_timeout=30
        )

    def kill(self) -> None:
        self.container.kill()

    def revive(self) -> None:
        """Start it again on the same address and wait until it answers."""
        self.container.start()
        wait_for(lambda: _redis_answers(self.address), what="Redis to come back")


def launch_postgres(image: ServerImage, *, durable: bool = False) -> tuple[DockerContainer, int]:
    """Start a PostgreSQL without waiting for it. A durable one survives being killed with all it confirmed."""
    return _launch(image, _POSTGRES_PORT, arguments=_CONNECTIONS if durable else (*_CONNECTIONS, *_FAST))


def launch_redis(image: ServerImage, *, durable: bool = True) -> tuple[DockerContainer, int]:
    """Start a Redis without waiting for it. One that is not durable forgets everything when it ends."""
    arguments = (
        *("--bind", "0.0.0.0", "--protected-mode", "no"),  # noqa: S104 - inside its container; published on loopback
        *("--appendonly", "yes" if durable else "no", "--save", "", "--databases", str(_REDIS_DATABASES)),
    )
    return _launch(image, _REDIS_PORT, arguments=arguments)


def launch_tls_redis(image: ServerImage, certificate: Certificate) -> tuple[DockerContainer, int]:
    """Start a Redis that accepts only TLS, without waiting for it. Clients need no certificate."""
    files = {"CERTIFICATE": certificate.certificate.read_text(), "KEY": certificate.key.read_text()}
    write = "".join(f'printf %s "${name}" > /tmp/{name}; ' for name in files)
    command = ("sh", "-c", f'{write}exec "$@"', "sh", *image.command)
    arguments = (
        *("--bind", "0.0.0.0", "--protected-mode", "no", "--port", "0", "--tls-port", str(_REDIS_PORT)),  # noqa: S104 - as above
        *("--tls-cert-file", "/tmp/CERTIFICATE", "--tls-key-file", "/tmp/KEY", "--tls-auth-clients", "no"),  # noqa: S108 - inside its container
        *("--tls-ca-cert-file", "/tmp/CERTIFICATE", "--save", ""),  # noqa: S108
    )
    return _launch(replace(image, command=command), _REDIS_PORT, arguments=arguments, environment=files)


def ready_tls_redis(launched: tuple[DockerContainer, int]) -> tuple[Container, Address]:
    """Wait until it answers."""
    return _first_answer(launched, _REDIS_PORT, _tls_redis_answers)


def ready_postgres(launched: tuple[DockerContainer, int]) -> PostgresServer:
    """Wait until it answers."""
    container, address = _first_answer(launched, _POSTGRES_PORT, _postgres_answers)
    return PostgresServer(container, address)


def ready_redis(launched: tuple[DockerContainer, int]) -> RedisServer:
    """Wait until it answers."""
    container, address = _first_answer(launched, _REDIS_PORT, _redis_answers)
    return RedisServer(container, address)


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _launch(
    image: ServerImage, port: int, *, arguments: Sequence[str], environment: Mapping[str, str] = MappingProxyType({})
) -> tuple[DockerContainer, int]:
    container = DockerContainer(image.reference, env={"POSTGRES_HOST_AUTH_METHOD": "trust", **environment})
    container.with_command([*image.command, *arguments])
    container.with_kwargs(labels=SESSION_LABELS, **({"user": image.user} if image.user else {}))
    # A fixed port, for a random one changes when a killed server is started again; and on loopback alone.
    host_port = free_port()
    container.ports[str(port)] = cast("Any", ("127.0.0.1", host_port))
    return container.start(), host_port


def _first_answer(
    launched: tuple[DockerContainer, int], port: int, answers: Callable[[Address], bool]
) -> tuple[Container, Address]:
    """The published port, which survives a restart; on a daemon that publishes nothing, the container's own address."""
    started, host_port = launched
    container = started.get_wrapped_container()

    def find_address() -> Address | None:
        container.reload()
        assert container.status in {"created", "running"}, container.logs().decode()
        networks = container.attrs["NetworkSettings"]["Networks"].values()
        published = Address("127.0.0.1", host_port)
        inner = [Address(network["IPAddress"], port) for network in networks if network["IPAddress"]]
        reached = next((place for place in inner if answers(place)), None)
        # Checked last: otherwise a server that starts in between would seem to have no ports.
        return published if answers(published) else reached

    found = wait_for(find_address, what=f"the server of {started.image} on port {port}", timeout_seconds=60)
    assert found is not None
    return container, found


def _postgres_answers(address: Address) -> bool:
    try:
        psycopg2.connect(
            host=address.host, port=address.port, user="postgres", dbname="postgres", connect_timeout=3
        ).close()
    except psycopg2.OperationalError:
        return False
    return True


def _tls_redis_answers(address: Address) -> bool:
    return _redis_answers(address, ssl=True, ssl_cert_reqs="none")


def _redis_answers(address: Address, **options: Any) -> bool:
    with redis.Redis(
        host=address.host, port=address.port, socket_timeout=3, socket_connect_timeout=3, **options
    ) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
