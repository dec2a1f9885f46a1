"""The calls that the gateway accepts: per role, with their paths and query parameters. Pure.

The list is that of the Docker adapter; a test compares both. Paths are matched as they came, before any decoding, so
that no spelling of a path passes as another one.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import parse_qsl, quote, unquote, urlencode

from runtimes.api.base.strict_json import load_json
from runtimes.container_spec import LABEL_GAME_ID
from runtimes.containers.docker.payloads import owned_filter
from runtimes.exceptions import StartConfigInvalidError
from runtimes.game_ids import is_game_id
from runtimes.image_refs import check_allowed, check_image_ref

MINIMUM_API = (1, 41)
_MAX_PARAMETERS = 16
_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")
_ID_OR_PREFIX = re.compile(r"[0-9a-f]{1,64}")


class Role(StrEnum):
    """The rights of one socket. Operate includes watch."""

    WATCH = "watch"
    OPERATE = "operate"


class Reason(StrEnum):
    """Why the gateway refused a call. Stable codes."""

    UNKNOWN_CALL = "unknown_call"
    ROLE = "role"
    MALFORMED = "malformed"
    NOT_OWNED = "not_owned"
    FILTER = "filter"
    IMAGE = "image"
    CONTAINER_SPEC = "container_spec"
    STATE_DIRECTORY = "state_directory"


class CallRefusedError(Exception):
    """The gateway does not make this call. The message says what to do."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Call(StrEnum):
    """The calls of the Docker adapter."""

    PING = "ping"
    VERSION = "version"
    INFO = "info"
    EVENTS = "events"
    LIST = "list"
    INSPECT = "inspect"
    LOGS = "logs"
    STATS = "stats"
    CREATE = "create"
    START = "start"
    STOP = "stop"
    WAIT = "wait"
    RENAME = "rename"
    REMOVE = "remove"
    INSPECT_IMAGE = "inspect_image"
    PULL = "pull"
    LIST_NETWORKS = "list_networks"
    INSPECT_NETWORK = "inspect_network"


@dataclass(frozen=True, slots=True)
class Route:
    """One call: its method, path, the role that it needs, and a pattern for each query parameter."""

    method: str
    path: str
    role: Role = Role.WATCH
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """An accepted request line. ``target`` is the container or image in the path; empty if it has none."""

    call: Call
    version: str = ""
    target: str = ""
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """The method of the call."""
        return ROUTES[self.call].method

    @property
    def path(self) -> str:
        """The path for Docker, written again, with the query."""
        path, target = ROUTES[self.call].path, quote(self.target, safe="/:")
        for placeholder in _TARGETS:
            path = path.replace(placeholder, target)
        prefix = f"/v{self.version}" if self.version else ""
        return f"{prefix}{path}" + (f"?{urlencode(self.query)}" if self.query else "")


_TARGETS = {
    "{container}": r"(?P<target>[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254})",
    "{image}": r"(?P<target>[a-zA-Z0-9][a-zA-Z0-9_.:/%-]{0,1023})",
}
_TIME = r"[0-9]{1,12}(?:\.[0-9]{1,9})?"
# Checked by code of its own.
_ANY = r".*"

ROUTES: Mapping[Call, Route] = {
    Call.PING: Route("GET", "/_ping"),
    Call.VERSION: Route("GET", "/version"),
    Call.INFO: Route("GET", "/info"),
    Call.EVENTS: Route("GET", "/events", query={"since": _TIME, "filters": _ANY}),
    Call.LIST: Route(
        "GET", "/containers/json", query={"limit": "-1", "all": "1", "size": "0", "trunc_cmd": "0", "filters": _ANY}
    ),
    Call.INSPECT: Route("GET", "/containers/{container}/json"),
    Call.LOGS: Route(
        "GET", "/containers/{container}/logs",
        query={"stdout": "1", "stderr": "1", "timestamps": "1", "follow": "1", "tail": "[0-9]{1,9}", "since": _TIME},
    ),
    Call.STATS: Route("GET", "/containers/{container}/stats", query={"stream": "false"}),
    Call.CREATE: Route("POST", "/containers/create", Role.OPERATE, {"name": _ANY}),
    Call.START: Route("POST", "/containers/{container}/start", Role.OPERATE),
    Call.STOP: Route("POST", "/containers/{container}/stop", Role.OPERATE, {"t": "[0-9]{1,6}"}),
    Call.WAIT: Route("POST", "/containers/{container}/wait", Role.OPERATE),
    Call.RENAME: Route("POST", "/containers/{container}/rename", Role.OPERATE, {"name": _ANY}),
    Call.REMOVE: Route(
        "DELETE", "/containers/{container}", Role.OPERATE, {"v": "True", "link": "False", "force": "True|False"}
    ),
    Call.INSPECT_IMAGE: Route("GET", "/images/{image}/json"),
    Call.PULL: Route("POST", "/images/create", Role.OPERATE, {"fromImage": _ANY, "tag": _ANY}),
    Call.LIST_NETWORKS: Route("GET", "/networks", query={"filters": _ANY}),
    # Docker's default network: it is created when the daemon starts, so its age is that of the daemon.
    Call.INSPECT_NETWORK: Route("GET", "/networks/bridge"),
}  # fmt: skip


def _path_pattern(template: str) -> re.Pattern[str]:
    for placeholder, pattern in _TARGETS.items():
        template = template.replace(placeholder, pattern)
    return re.compile(template)


_PATTERNS = {call: _path_pattern(route.path) for call, route in ROUTES.items()}
_VERSIONED = re.compile(r"(?:/v1\.(?P<minor>[1-9][0-9]{0,2}))?(?P<path>/.*)", re.DOTALL)


def parse_request(role: Role, method: str, raw_target: str) -> Request:
    """The call in a request line. Raises CallRefusedError."""
    raw_path, _, raw_query = raw_target.partition("?")
    versioned = _VERSIONED.fullmatch(raw_path)
    minor, path = (versioned["minor"], versioned["path"]) if versioned else (None, raw_path)
    matches = (
        (call, match)
        for call, route in ROUTES.items()
        if method == route.method and (match := _PATTERNS[call].fullmatch(path))
    )
    call, match = next(matches, (None, None))
    if call is None or match is None or not raw_target.isascii():
        raise CallRefusedError(
            Reason.UNKNOWN_CALL, f"{method} {path[:200]!a} is no call of RTM; use Docker's own socket for it"
        )
    if ROUTES[call].role == Role.OPERATE and role == Role.WATCH:
        raise CallRefusedError(Reason.ROLE, f"{method} {path!a} needs operate.sock: this socket may only read")
    if minor and int(minor) < MINIMUM_API[1]:
        # Docker's own words for it, which the adapter knows.
        message = f"client version 1.{minor} is too old. Minimum supported API version is 1.{MINIMUM_API[1]}"
        raise CallRefusedError(Reason.MALFORMED, message)
    target = unquote(match.groupdict().get("target") or "")
    return Request(call, f"1.{minor}" if minor else "", target, _parse_query(raw_query, ROUTES[call].query))


def _parse_query(raw: str, allowed: Mapping[str, str]) -> dict[str, str]:
    if not raw:
        return {}
    try:
        pairs = parse_qsl(
            raw, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MAX_PARAMETERS
        )  # fmt: skip
    except ValueError:
        raise CallRefusedError(Reason.MALFORMED, "the query is no list of name=value; correct the client") from None
    query = dict(pairs)
    if len(query) != len(pairs):
        raise CallRefusedError(Reason.MALFORMED, "a query parameter is given twice; correct the client")
    for name, value in pairs:
        if name not in allowed or not re.fullmatch(allowed[name], value):
            message = f"query parameter {name[:100]}={value[:100]!r} is none that RTM uses; correct the client"
            raise CallRefusedError(Reason.MALFORMED, message)
    return query


def is_image_id(text: str) -> bool:
    """Whether the text is a full image id."""
    return _IMAGE_ID.fullmatch(text) is not None


def check_image(reference: str, allowed: Sequence[str]) -> None:
    """Raise CallRefusedError unless this is an allowed reference, or a full image id."""
    if is_image_id(reference):
        return
    try:
        check_image_ref(reference)
        check_allowed(reference, allowed)
    except StartConfigInvalidError as error:
        raise CallRefusedError(Reason.IMAGE, error.message) from None


def container_filters(text: str, *, stack: str, of_events: bool = False) -> str:
    """The filters of a list of containers or of events: always those of our containers in this stack.

    Raises CallRefusedError if the request asks for another stack, or by another filter than RTM.
    """
    given = _parse_filters(text, {"label", "type"} if of_events else {"label", "id"})
    labels = owned_filter(stack)["label"]
    for label in given.get("label", []):
        name, _, value = label.partition("=")
        if name == LABEL_GAME_ID and is_game_id(value):
            labels.append(label)
        elif label not in labels:
            message = f"filter {label[:100]!r} is not of this installation, which has stack {stack} (RTMANAGER_STACK)"
            raise CallRefusedError(Reason.FILTER, message)
    ids = given.get("id", [])
    if not all(_ID_OR_PREFIX.fullmatch(container_id) for container_id in ids):
        raise CallRefusedError(Reason.FILTER, "filter id has a text that is no container id; correct the client")
    return json.dumps({"label": labels} | ({"type": ["container"]} if of_events else {}) | ({"id": ids} if ids else {}))


def network_filters(text: str, *, network: str) -> str:
    """The filters of a list of networks. Raises CallRefusedError for any but the configured network."""
    given = _parse_filters(text, {"name"})
    if given != {"name": [network]}:
        raise CallRefusedError(Reason.FILTER, f"only network {network} may be read (RTMANAGER_DOCKER_NETWORK)")
    return json.dumps(given)


def _parse_filters(text: str, allowed: set[str]) -> dict[str, list[str]]:
    filters = load_json(text.encode()) if text else {}
    is_known = isinstance(filters, dict) and filters.keys() <= allowed
    if not is_known or not all(
        isinstance(values, list) and all(isinstance(value, str) for value in values) for values in filters.values()
    ):
        message = f"filters may only be lists of texts for {', '.join(sorted(allowed))}; correct the client"
        raise CallRefusedError(Reason.FILTER, message)
    return dict(filters)
