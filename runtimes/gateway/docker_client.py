"""The gateway's side of Docker: pooled connections to the daemon, and its version."""

import json
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from runtimes.containers.types import HostCapacity, capacity_from_info
from runtimes.gateway.calls import MINIMUM_API, Call, Request

REGISTRY_AUTH = "X-Registry-Auth"
_UNIX = "unix://"
_CONNECT_SECONDS = 5.0
# Docker closes no idle connection.
_IDLE_SECONDS = 3600.0
_NOT_SENT = ("Accept", "Accept-Encoding", "User-Agent")
_OK = 200


class DockerAwayError(Exception):
    """Docker did not respond. The call may have taken effect."""


class DockerTooOldError(DockerAwayError):
    """Docker responded, but has an API version that RTM does not support."""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response of Docker."""

    status: int
    body: bytes
    content_type: str = "application/json"

    @property
    def is_success(self) -> bool:
        """Whether the body is what was requested."""
        return self.status == _OK

    def json(self) -> Any:
        """Parse the body."""
        return json.loads(self.body)


class DockerClient:
    """Sends accepted requests to the daemon. Create it in its event loop. ``capacity`` is that of the host."""

    def __init__(self, docker_host: str) -> None:
        if not docker_host.startswith(_UNIX):
            message = f"the Docker gateway needs the socket of Docker, not RTMANAGER_DOCKER_HOST={docker_host}"
            raise ValueError(message)
        self.capacity: HostCapacity | None = None
        self._docker_host = docker_host
        self._is_checked = False
        path = docker_host.removeprefix(_UNIX)
        self._pooled = _session(aiohttp.UnixConnector(path, limit=0, keepalive_timeout=_IDLE_SECONDS))
        self._unpooled = _session(aiohttp.UnixConnector(path, limit=0, force_close=True))

    async def close(self) -> None:
        """Close all connections."""
        await self._pooled.close()
        await self._unpooled.close()

    async def fetch(self, request: Request, *, body: bytes | None = None, new_connection: bool = False) -> Response:
        """One complete response. Raises DockerAwayError."""
        response = await self.open(request, body=body, new_connection=new_connection)
        try:
            return Response(response.status, await response.read(), response.content_type)
        except (aiohttp.ClientError, OSError) as error:
            raise self._away(error) from error
        finally:
            response.close()

    async def open(
        self, request: Request, *, body: bytes | None = None, registry_auth: str = "", new_connection: bool = False
    ) -> aiohttp.ClientResponse:
        """Send a request; the caller reads the response without any time limit, and closes it.

        Raises DockerAwayError.
        """
        session = self._unpooled if new_connection else self._pooled
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if registry_auth:
            headers[REGISTRY_AUTH] = registry_auth
        # An encoded URL is sent as it is.
        url = URL(f"http://docker{request.path}", encoded=True)
        try:
            return await session.request(request.method, url, data=body, headers=headers, allow_redirects=False)
        except (aiohttp.ClientError, OSError) as error:
            raise self._away(error) from error

    async def check_version(self) -> None:
        """Check the version of the daemon, again after each lost connection. Raises DockerAwayError."""
        if self._is_checked:
            return
        version = (await self.fetch(Request(Call.VERSION))).json()
        if tuple(int(part) for part in version["ApiVersion"].split(".")) < MINIMUM_API:
            floor = ".".join(str(part) for part in MINIMUM_API)
            message = (
                f"Docker {version['Version']} at {self._docker_host} speaks API {version['ApiVersion']}, but {floor} "
                "(Docker 20.10) or newer is needed; upgrade Docker"
            )
            raise DockerTooOldError(message)
        self.capacity = capacity_from_info((await self.fetch(Request(Call.INFO))).json())
        self._is_checked = True

    def _away(self, error: BaseException) -> DockerAwayError:
        self._is_checked = False
        reason = str(error) or type(error).__name__
        return DockerAwayError(f"the Docker gateway cannot reach Docker at {self._docker_host}: {reason}")


def _session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=_NOT_SENT,
    )
