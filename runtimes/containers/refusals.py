"""Docker's rejections of calls: their kind, their error text on one line, and what to do about them. Pure.

Only this module matches Docker's error texts. All other code compares the kind.
"""

import re
from enum import StrEnum
from typing import Self

LONGEST_REASON = 600

# Access denied by an authorisation plugin, or by a proxy in front of Docker.
_ACCESS_STATUSES = frozenset({401, 403, 407})
# Request timeout, too many requests, and the responses of a proxy whose daemon is absent.
_RETRYABLE_STATUSES = frozenset({408, 429, 502, 503, 504})
# A daemon that shuts down, or lost its containerd, responds with 500, like for an invalid command.
_RETRYABLE_TEXTS = (
    "code = unavailable", "context canceled", "context deadline exceeded", "transport is closing",
    "ttrpc: closed", "containerd.sock",
)  # fmt: skip
# A digest after '@' and an image id after "sha256:" are not shortened, because they are references. Neither is a part
# of a path, because the advice is to release that file. The paths of a cgroup, an -init layer or a full disk are
# shortened: the operator does not need them.
_LONG_ID = re.compile(
    r"(?:(?<![0-9A-Za-z:@/])|(?<=/docker/)|(?<=/overlay2/)(?=[0-9a-f]{64}(?:-init|[^:]*: no space left)))"
    r"([0-9a-f]{12})[0-9a-f]{52}(?![0-9A-Za-z])"
)
_MARKUP = re.compile(r"<[^<>]*>")


class Refusal(StrEnum):
    """Why Docker rejected a call: a stable code, and as ``advice`` what the operator can do, empty if unknown."""

    advice: str

    def __new__(cls, code: str, advice: str = "") -> Self:
        member = str.__new__(cls, code)
        member._value_ = code
        member.advice = advice
        return member

    INVALID_REFERENCE = "invalid_reference", "correct the image reference"
    API_VERSION = "api_version", "Docker was probably upgraded or replaced; the next call uses its version"
    NO_SPACE = "no_space", "free disk space on the Docker host; docker system df shows what uses it"
    NO_ADDRESS = (
        "no_address",
        (
            "remove unused containers from the game network, or create it again with a larger subnet "
            "(docker network create --subnet)"
        ),
    )
    NETWORK_MISSING = "network_missing", "create the network that RTMANAGER_DOCKER_NETWORK names"
    PORT_TAKEN = "port_taken", "stop the program that uses that port on the Docker host"
    MOUNT_SOURCE_MISSING = (
        "mount_source_missing",
        "the Docker host must see RTMANAGER_GAME_STATE_ROOT under the same path as this service",
    )
    MOUNT_REFUSED = "mount_refused", "check RTMANAGER_ENGINE_STATE_MOUNT_PATH, and what the image has at that path"
    CPU_LIMIT = "cpu_limit", "change the CPU limit"
    MEMORY_LIMIT = "memory_limit", "change the memory limit"
    PIDS_LIMIT = "pids_limit", "change the limit of processes"
    OPEN_FILES_LIMIT = "open_files_limit", "raise the limit of open files of the Docker daemon"
    CGROUP = "cgroup", "check the cgroups of the Docker host, and the log of the Docker daemon"
    USER_UNKNOWN = "user_unknown", "use a user that the image has: USER in its Dockerfile, or RTMANAGER_CONTAINER_USER"
    LOG_DRIVER = (
        "log_driver",
        "set RTMANAGER_CONTAINER_LOG_DRIVER to auto, or to a log driver that the Docker host has (docker info)",
    )
    WRONG_PLATFORM = "wrong_platform", "use an image that is built for the platform of the Docker host"
    COMMAND_UNUSABLE = "command_unusable", "correct the command of the image: the Docker host cannot run it"
    IMAGE_MISSING = "image_missing", "publish the image, or correct the reference"
    PULL_DENIED = "pull_denied", "check the reference, and that the Docker host may pull it (docker login)"
    PULL_LIMIT = "pull_limit", "wait, or run docker login on the Docker host"
    REGISTRY_UNREACHABLE = "registry_unreachable", "check that the Docker host reaches the registry (docker pull)"
    NOT_REMOVABLE = (
        "not_removable",
        "release its files on the Docker host (chattr -i, umount), then docker rm -f; or free its name: docker rename",
    )
    REMOVAL_UNDER_WAY = "removal_under_way", "try again when Docker has removed that container"
    PAUSED = "paused", "unpause the container (docker unpause), then try again"
    ACCESS_DENIED = "access_denied", "allow this service in the authorisation plugin or proxy in front of Docker"
    RUNTIME_FAILED = "runtime_failed", "check the log of the Docker daemon"
    OTHER = "other"


# The regular expressions, in lower case, of which any identifies the kind. Tried in this order: a wrapper such as
# "OCI runtime create failed" comes after the errors that it may wrap. The texts are those of Docker 20.10 to 28.5,
# containerd and runc.
_PHRASES = {
    Refusal.INVALID_REFERENCE: (
        "invalid reference format", "repository name must not be more than", "repository name must be canonical",
        "cannot specify 64-byte hexadecimal", "unsupported digest algorithm", "invalid checksum digest",
    ),
    Refusal.API_VERSION: (r"client version \S+ is too (old|new)",),
    Refusal.NO_SPACE: (
        "no space left on device", "disk quota exceeded", "not enough space", "thin pool has .* free data blocks",
    ),
    Refusal.NO_ADDRESS: (
        "no available ipv[46] addresses", "no available addresses", "non-overlapping ipv[46] address pool",
        "address pools have been fully subnetted",
    ),
    Refusal.NETWORK_MISSING: (r"network \S+ not found", r"network \S+ does not exist"),
    Refusal.PORT_TAKEN: ("port is already allocated", "address already in use"),
    Refusal.MOUNT_SOURCE_MISSING: ("bind source path does not exist",),
    Refusal.MOUNT_REFUSED: (
        "error mounting", "invalid mount config", "error while mounting", "mounts denied", "error creating mount",
    ),
    Refusal.CPU_LIMIT: ("range of cpus is from", r"cpu\.cfs_quota_us", r"cpu\.max"),
    Refusal.MEMORY_LIMIT: (
        "minimum memory limit", "memory limit should be", r"memory\.(memsw\.)?(limit_in_bytes|max)",
        "container init was oom-killed",
    ),
    Refusal.PIDS_LIMIT: (
        r"pids\.max", "fork failed: resource temporarily unavailable", "fork/exec .* resource temporarily unavailable",
        "can't get final child's pid", "read init-p: connection reset",
    ),
    Refusal.OPEN_FILES_LIMIT: ("error setting rlimit", "too many open files"),
    Refusal.USER_UNKNOWN: (
        "unable to find (user|group)", "no matching entries in (passwd|group) file", "no users found",
    ),
    Refusal.LOG_DRIVER: ("looking up logging plugin", "unknown log opt", "invalid log driver"),
    Refusal.WRONG_PLATFORM: (
        "exec format error", "does not match the (specified|detected) .*platform", "no matching manifest for",
    ),
    Refusal.COMMAND_UNUSABLE: (
        "exec: .*(no such file or directory|permission denied|executable file not found|is a directory)",
        "no command specified",
    ),
    Refusal.CGROUP: ("cgroup",),
    Refusal.PULL_LIMIT: ("toomanyrequests", "pull rate limit"),
    Refusal.PULL_DENIED: (
        "pull access denied", "unauthorized", "no basic auth credentials", "requested access to the resource is denied",
        "403 forbidden", "insufficient_scope",
    ),
    Refusal.IMAGE_MISSING: (
        "no such image", "manifest unknown", "manifest for .* not found", "repository does not exist", "name unknown",
        "(manifest|image|failed to resolve reference) .*not found",
    ),
    Refusal.REGISTRY_UNREACHABLE: (
        "no such host", "dial tcp", "i/o timeout", "tls handshake", "x509", "connection refused", "server misbehaving",
        "client.timeout exceeded", "context deadline exceeded", "http response to https client",
        "network is unreachable",
    ),
    Refusal.NOT_REMOVABLE: ("failed to remove root filesystem", "unable to remove filesystem"),
    Refusal.REMOVAL_UNDER_WAY: ("marked for removal", "removal of container .* is already in progress"),
    Refusal.PAUSED: ("paused container", "is paused"),
    Refusal.ACCESS_DENIED: ("authorization denied by plugin",),
    Refusal.RUNTIME_FAILED: ("oci runtime", "runc", "shim task", "containerd"),
}  # fmt: skip
_PATTERNS = {refusal: re.compile("|".join(phrases)) for refusal, phrases in _PHRASES.items()}
# Only valid for pulls. Elsewhere the same texts have another cause, such as containerd.
_OF_PULLS = frozenset({Refusal.PULL_LIMIT, Refusal.PULL_DENIED, Refusal.REGISTRY_UNREACHABLE})


def recognise(text: str, *, of_pull: bool = False) -> Refusal | None:
    """The kind of Docker's error text; None if it is unknown."""
    lower = " ".join(text.lower().split())
    kinds = ((refusal, pattern) for refusal, pattern in _PATTERNS.items() if of_pull or refusal not in _OF_PULLS)
    return next((refusal for refusal, pattern in kinds if pattern.search(lower)), None)


def classify(status: int, text: str) -> Refusal | None:
    """The kind of an error response with this HTTP status; None if the effect of the call is unknown.

    A 4xx response is always a rejection. See ``classify_final`` for 5xx.
    """
    if status not in range(400, 500) or status in _RETRYABLE_STATUSES:
        return None
    return recognise(text) or (Refusal.ACCESS_DENIED if status in _ACCESS_STATUSES else Refusal.OTHER)


def classify_final(status: int, text: str) -> Refusal | None:
    """Like ``classify``, for calls whose 5xx responses are rejections too: Docker tried the call and undid it."""
    lower = text.lower()
    if status in _RETRYABLE_STATUSES or any(retryable in lower for retryable in _RETRYABLE_TEXTS):
        return None
    return classify(status, text) or recognise(text) or Refusal.OTHER


def shorten_ids(text: str) -> str:
    """Replace long container ids by the short form that ``docker ps`` shows."""
    return _LONG_ID.sub(r"\1", text)


def single_line(text: str) -> str:
    """Docker's error text on one printable line, with short ids, truncated, without markup and full stop."""
    without_markup = _MARKUP.sub(" ", text)
    plain = "".join(character if character.isprintable() else " " for character in without_markup)
    line = shorten_ids(" ".join(plain.split())).removesuffix(": unknown").rstrip(" .:")
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}…"


def failure_message(what_failed: str, text: str, refusal: Refusal | None) -> str:
    """What failed, Docker's error text, and what to do."""
    reason = single_line(text) or "Docker gave no reason"
    advice = f"; {refusal.advice}" if refusal and refusal.advice else ""
    return f"{shorten_ids(what_failed)}: {reason}{advice}"
