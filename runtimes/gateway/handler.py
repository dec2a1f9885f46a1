"""Handles a request: matches it, checks what it is about, sends a request of its own, and passes the response on."""

import asyncio
import json
import re
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import structlog
from aiohttp import web

from runtimes.container_spec import LABEL_GAME_ID, LABEL_OWNER, LABEL_STACK, OWNER, container_name
from runtimes.containers.docker.payloads import create_request
from runtimes.containers.types import log_drivers_from_info
from runtimes.exceptions import InvalidRequestError
from runtimes.gateway.calls import (
    Call,
    CallRefusedError,
    Reason,
    Request,
    Role,
    check_image,
    container_filters,
    is_image_id,
    network_filters,
    parse_request,
)
from runtimes.gateway.create_rules import CreateRules, check_new_name
from runtimes.gateway.docker_client import REGISTRY_AUTH, DockerAwayError, DockerClient, Response
from runtimes.gateway.mount_sources import check_sources
from runtimes.image_refs import is_allowed

log = structlog.get_logger(__name__)

REFUSALS_PATH = "/rtm/refusals"
# What RTM reads of GET /info. The rest names registries, proxies and the swarm.
INFO_FIELDS = (
    "ServerVersion", "SystemTime", "OSType", "LiveRestoreEnabled", "MemoryLimit", "SwapLimit", "CpuCfsQuota",
    "PidsLimit", "NCPU", "MemTotal",
)  # fmt: skip
MAX_BODY_BYTES = 64 * 1024
_NETWORK_FIELDS = ("Name", "Id", "Created")
_SHOWN_LABELS = (LABEL_OWNER, LABEL_STACK, LABEL_GAME_ID)
_BODY_SECONDS = 10.0
_MAX_KNOWN = 4096
_CREATED, _FORBIDDEN, _NOT_FOUND, _UNAVAILABLE = 201, 403, 404, 503
_REGISTRY_AUTH_VALUE = re.compile(r"[A-Za-z0-9_=+/-]{0,16384}")
_REFUSED_HEADERS = ("Upgrade", "Transfer-Encoding", "Content-Encoding", "Expect", "Trailer", "HTTP2-Settings")


class _DockerAnsweredError(Exception):
    """Docker's response to a preparing call is the response to the request, such as an unknown container."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


@dataclass(frozen=True, slots=True)
class _Owned:
    """A container of this installation. Its id, labels and mounts never change."""

    id: str
    game_id: str
    sources: tuple[str, ...]


class Gateway:
    """The calls of both sockets. ``refusals`` counts the refused ones by role and reason."""

    def __init__(self, docker: DockerClient, rules: CreateRules) -> None:
        self.refusals: Counter[tuple[Role, Reason]] = Counter()
        self._docker = docker
        self._rules = rules
        self._stack = rules.policy.stack
        self._owned: OrderedDict[str, _Owned] = OrderedDict()
        self._handlers: Mapping[Call, Callable[[web.BaseRequest, Request], Awaitable[web.StreamResponse]]] = {
            Call.PING: self._pass_on,
            Call.VERSION: self._pass_on,
            Call.INFO: self._info,
            Call.EVENTS: self._events,
            Call.LIST: self._list,
            Call.INSPECT: self._inspect,
            Call.LOGS: self._follow,
            Call.STATS: self._follow,
            Call.WAIT: self._follow,
            Call.CREATE: self._create,
            Call.START: self._start,
            Call.STOP: self._change,
            Call.REMOVE: self._change,
            Call.RENAME: self._rename,
            Call.INSPECT_IMAGE: self._inspect_image,
            Call.PULL: self._pull,
            Call.LIST_NETWORKS: self._list_networks,
            Call.INSPECT_NETWORK: self._inspect_network,
        }

    async def handle(self, role: Role, incoming: web.BaseRequest) -> web.StreamResponse:
        """Respond to one request on the socket of this role."""
        try:
            if (role, incoming.method, incoming.raw_path) == (Role.WATCH, "GET", REFUSALS_PATH):
                return web.json_response(self._refusals_by_role())
            request = parse_request(role, incoming.method, incoming.raw_path)
            _check_headers(incoming, may_have_body=request.call == Call.CREATE)
            await self._docker.check_version()
            return await self._handlers[request.call](incoming, request)
        except CallRefusedError as error:
            return self._refuse(role, incoming, error)
        except InvalidRequestError as error:
            return self._refuse(role, incoming, CallRefusedError(Reason.MALFORMED, error.message))
        except _DockerAnsweredError as answered:
            return _whole(answered.response)
        except DockerAwayError as error:
            return web.json_response({"message": str(error)}, status=_UNAVAILABLE)

    def _refuse(self, role: Role, incoming: web.BaseRequest, error: CallRefusedError) -> web.Response:
        self.refusals[role, error.reason] += 1
        # The target may have bytes that are no text.
        path, method = ascii(incoming.raw_path[:300]), incoming.method
        log.warning(
            "docker_call_refused", role=role, method=method, path=path, reason=error.reason, explanation=error.message
        )
        response = web.json_response({"message": f"refused by the Docker gateway: {error.message}"}, status=_FORBIDDEN)
        # What follows on this connection may be the rest of a request that was not read.
        response.force_close()
        return response

    def _refusals_by_role(self) -> dict[str, dict[str, int]]:
        counted = self.refusals.items()
        return {role: {reason: count for (of, reason), count in counted if of == role} for role in Role}

    async def _pass_on(self, _incoming: web.BaseRequest, request: Request) -> web.Response:
        return _whole(await self._docker.fetch(request))

    async def _info(self, _incoming: web.BaseRequest, request: Request) -> web.Response:
        return _whole(await self._docker.fetch(request), _shown_info)

    async def _events(self, incoming: web.BaseRequest, request: Request) -> web.StreamResponse:
        filters = container_filters(request.query.get("filters", ""), stack=self._stack, of_events=True)
        return await self._stream(incoming, _with_filters(request, filters))

    async def _list(self, _incoming: web.BaseRequest, request: Request) -> web.Response:
        filters = container_filters(request.query.get("filters", ""), stack=self._stack)
        return _whole(await self._docker.fetch(_with_filters(request, filters)))

    async def _inspect(self, _incoming: web.BaseRequest, request: Request) -> web.Response:
        response = await self._inspection(request)
        inspection = response.json()
        if self._is_owned(inspection):
            return _whole(response)
        # RTM must see which container has the name of a game; more of it is not its business.
        if not inspection["Name"].startswith(f"/{container_name('')}"):
            raise self._not_owned(request)
        return _whole(response, _name_holder)

    async def _follow(self, incoming: web.BaseRequest, request: Request) -> web.StreamResponse:
        owned = await self._owned_container(request)
        return await self._stream(incoming, replace(request, target=owned.id))

    async def _change(self, _incoming: web.BaseRequest, request: Request) -> web.Response:
        owned = await self._owned_container(request)
        response = await self._docker.fetch(replace(request, target=owned.id))
        if response.status == _NOT_FOUND:
            self._owned.pop(owned.id, None)
        return _whole(response)

    async def _start(self, incoming: web.BaseRequest, request: Request) -> web.Response:
        # Docker resolves the paths at each start: a link may be there since the creation.
        await self._check_sources((await self._owned_container(request)).sources)
        return await self._change(incoming, request)

    async def _rename(self, incoming: web.BaseRequest, request: Request) -> web.Response:
        owned = await self._owned_container(request)
        check_new_name(request.query.get("name", ""), owned.game_id)
        return await self._change(incoming, request)

    async def _create(self, incoming: web.BaseRequest, request: Request) -> web.Response:
        spec = self._rules.parse(request.query.get("name", ""), await _read_body(incoming), self._docker.capacity)
        accepted = create_request(spec)
        sources = tuple(mount["Source"] for mount in accepted["HostConfig"]["Mounts"])
        await self._check_sources(sources)
        if is_image_id(spec.image) and self._rules.allowed_registries:
            # Docker itself refuses an unknown image.
            await self._checked_image(Request(Call.INSPECT_IMAGE, request.version, spec.image))
        response = await self._docker.fetch(request, body=json.dumps(accepted).encode())
        if response.status == _CREATED:
            self._remember(_Owned(response.json()["Id"], spec.labels[LABEL_GAME_ID], sources))
        return _whole(response)

    async def _inspect_image(self, _incoming: web.BaseRequest, request: Request) -> web.Response:
        check_image(request.target, self._rules.allowed_registries)
        return _whole(await self._checked_image(request))

    async def _checked_image(self, request: Request) -> Response:
        """The inspection of an image. Raises CallRefusedError if it has no allowed name."""
        response, allowed = await self._docker.fetch(request), self._rules.allowed_registries
        if response.is_success and allowed:
            image = response.json()
            names = [*(image.get("RepoTags") or []), *(image.get("RepoDigests") or [])]
            if not any(is_allowed(name, allowed) for name in names):
                message = f"image {request.target} has no name that RTMANAGER_ALLOWED_REGISTRIES allows; give it one"
                raise CallRefusedError(Reason.IMAGE, message)
        return response

    async def _pull(self, incoming: web.BaseRequest, request: Request) -> web.StreamResponse:
        repository, tag = request.query.get("fromImage", ""), request.query.get("tag", "")
        check_image(f"{repository}{'@' if ':' in tag else ':'}{tag}", self._rules.allowed_registries)
        credentials = incoming.headers.get(REGISTRY_AUTH, "")
        if not _REGISTRY_AUTH_VALUE.fullmatch(credentials):
            raise CallRefusedError(Reason.MALFORMED, f"header {REGISTRY_AUTH} is no base64 text; correct the client")
        return await self._stream(incoming, request, registry_auth=credentials)

    async def _list_networks(self, _incoming: web.BaseRequest, request: Request) -> web.Response:
        network = self._rules.policy.network
        filters = network_filters(request.query.get("filters", ""), network=network)
        response = await self._docker.fetch(_with_filters(request, filters))
        # Docker's filter matches every name that contains this one.
        return _whole(
            response, lambda found: [_fields_of(one, _NETWORK_FIELDS) for one in found if one["Name"] == network]
        )

    async def _inspect_network(self, _incoming: web.BaseRequest, request: Request) -> web.Response:
        # The adapter asks on a new connection, which a daemon that is shutting down rejects.
        response = await self._docker.fetch(request, new_connection=True)
        return _whole(response, lambda network: _fields_of(network, _NETWORK_FIELDS))

    async def _stream(
        self, incoming: web.BaseRequest, request: Request, *, registry_auth: str = ""
    ) -> web.StreamResponse:
        """Pass a response on as it arrives. If the client goes away, this task is cancelled, which ends the call."""
        upstream = await self._docker.open(request, registry_auth=registry_auth)
        response = web.StreamResponse(status=upstream.status, headers={"Content-Type": upstream.content_type})
        try:
            await response.prepare(incoming)
            async for chunk in upstream.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
        except aiohttp.ClientError:
            # A lost connection must not pass as the end of the response.
            if incoming.transport is not None:
                incoming.transport.abort()
        finally:
            upstream.close()
        return response

    async def _inspection(self, request: Request) -> Response:
        """The inspection of the container with exactly this name or full id. Raises _DockerAnsweredError."""
        response = await self._docker.fetch(replace(request, call=Call.INSPECT, query={}))
        if not response.is_success:
            raise _DockerAnsweredError(response)
        inspection = response.json()
        # Docker also accepts the prefix of an id.
        if request.target not in (inspection["Id"], inspection["Name"].removeprefix("/")):
            body = json.dumps({"message": f"No such container: {request.target}"}).encode()
            raise _DockerAnsweredError(Response(_NOT_FOUND, body))
        return response

    async def _owned_container(self, request: Request) -> _Owned:
        """The container in the path. Raises CallRefusedError if this installation does not own it."""
        if request.target in self._owned:
            self._owned.move_to_end(request.target)
            return self._owned[request.target]
        inspection = (await self._inspection(request)).json()
        if not self._is_owned(inspection):
            raise self._not_owned(request)
        binds = (mount["Source"] for mount in inspection.get("Mounts") or [] if mount.get("Type") == "bind")
        game_id = inspection["Config"]["Labels"].get(LABEL_GAME_ID, "")
        return self._remember(_Owned(inspection["Id"], game_id, tuple(binds)))

    def _remember(self, owned: _Owned) -> _Owned:
        self._owned[owned.id] = owned
        if len(self._owned) > _MAX_KNOWN:
            self._owned.popitem(last=False)
        return owned

    def _is_owned(self, inspection: Mapping[str, Any]) -> bool:
        labels = inspection["Config"].get("Labels") or {}
        return bool(labels.get(LABEL_OWNER) == OWNER and labels.get(LABEL_STACK) == self._stack)

    def _not_owned(self, request: Request) -> CallRefusedError:
        message = f"container {request.target} does not belong to stack {self._stack} of RTM; use Docker's own socket"
        return CallRefusedError(Reason.NOT_OWNED, message)

    async def _check_sources(self, sources: tuple[str, ...]) -> None:
        # In a thread: a disk that hangs must not stop the calls of other games.
        await asyncio.to_thread(check_sources, self._rules.policy.state_root, sources)


def _check_headers(incoming: web.BaseRequest, *, may_have_body: bool) -> None:
    """Raise CallRefusedError for a body where RTM sends none, and for anything but a plain HTTP/1.1 request."""
    headers, longest = incoming.headers, MAX_BODY_BYTES if may_have_body else 0
    refused = next((name for name in _REFUSED_HEADERS if name in headers), "")
    lengths = headers.getall("Content-Length", ["0"])
    if refused or "upgrade" in headers.get("Connection", "").lower():
        message = f"header {refused or 'Connection: upgrade'} is not supported"
    elif len(lengths) != 1 or not re.fullmatch(r"[0-9]{1,9}", lengths[0]) or int(lengths[0]) > longest:
        message = f"the body has {lengths[0][:20]} bytes, but this call may have {longest}"
    elif may_have_body and headers.getall("Content-Type", []) != ["application/json"]:
        message = "the body must have Content-Type application/json"
    else:
        return
    raise CallRefusedError(Reason.MALFORMED, f"{message}; correct the client")


async def _read_body(incoming: web.BaseRequest) -> bytes:
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await incoming.read()
    except TimeoutError:
        message = f"the body did not arrive within {_BODY_SECONDS:g} s; correct the client"
        raise CallRefusedError(Reason.MALFORMED, message) from None


def _with_filters(request: Request, filters: str) -> Request:
    return replace(request, query={**request.query, "filters": filters})


def _whole(response: Response, shown: Callable[[Any], Any] | None = None) -> web.Response:
    """Docker's response; of a successful one only what ``shown`` returns."""
    body = json.dumps(shown(response.json())).encode() if shown and response.is_success else response.body
    return web.Response(status=response.status, body=body, content_type=response.content_type)


def _shown_info(info: Mapping[str, Any]) -> dict[str, Any]:
    return {**_fields_of(info, INFO_FIELDS), "Plugins": {"Log": log_drivers_from_info(info)}}


def _name_holder(inspection: Mapping[str, Any]) -> dict[str, Any]:
    """What RTM needs of a container that has the name of a game and is not owned."""
    config = inspection["Config"]
    return {
        **_fields_of(inspection, ("Id", "Name")),
        "State": _fields_of(inspection["State"], ("Status",)),
        "Config": {
            **_fields_of(config, ("Image",)), "Labels": _fields_of(config.get("Labels") or {}, _SHOWN_LABELS)
        },
    }  # fmt: skip


def _fields_of(mapping: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: mapping[name] for name in names if name in mapping}
