"""Which containers may be created: exactly those that RTM specifies for a game. Pure.

A request is read into a specification, and the specification is written again. Only if both are equal is the request
accepted, and the written one goes to Docker. So a field, a value or a type that RTM never sends is refused, whatever
Docker would do with it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runtimes.api.base.strict_json import load_json
from runtimes.container_limits import ceilings_of
from runtimes.container_spec import (
    LABEL_FENCE,
    LABEL_GAME_ID,
    LABEL_IMAGE_REF,
    LABEL_JOB_KEY,
    LABEL_OPERATION_ID,
    LABEL_STARTED_AT_MS,
    MIN_CPU_QUOTA,
    MIN_MEMORY_BYTES,
    MIN_PIDS_LIMIT,
    ContainerPolicy,
    ContainerSpec,
    Limits,
    build_spec,
    choose_log_driver,
    container_name,
    state_path,
)
from runtimes.containers.docker.payloads import create_request
from runtimes.containers.types import HostCapacity
from runtimes.exceptions import StartConfigInvalidError
from runtimes.game_ids import is_game_id
from runtimes.gateway.calls import CallRefusedError, Reason, check_image, is_image_id
from runtimes.storage.image_volumes import VOLUMES_DIRECTORY, VolumeMount, plan_volumes

_NANO = 1_000_000_000
_MINIMA = {"cpu_quota": MIN_CPU_QUOTA, "memory_bytes": MIN_MEMORY_BYTES, "pids_limit": MIN_PIDS_LIMIT}
_MOST = 2**63 - 1
_NUMBER = re.compile(r"[0-9]{1,18}")
_LONGEST_JOB_KEY = 255
# A game that an operator created by an image id, or the beginning of one, keeps it as its reference.
_ID_AS_REFERENCE = re.compile(r"(?:sha256:)?[0-9a-f]{6,64}")
_SETTING_OF = {
    "HostConfig.NetworkMode": "RTMANAGER_DOCKER_NETWORK",
    "HostConfig.ReadonlyRootfs": "RTMANAGER_CONTAINER_READ_ONLY",
    "HostConfig.Tmpfs": "RTMANAGER_CONTAINER_READ_ONLY",
    "NetworkingConfig": "RTMANAGER_DOCKER_NETWORK",
    "Labels.com.galaxy.stack": "RTMANAGER_STACK",
    "User": "RTMANAGER_CONTAINER_USER",
    "StopTimeout": "RTMANAGER_CONTAINER_STOP_TIMEOUT_SECONDS",
    "Env": "RTMANAGER_ENGINE_STATE_ENV_NAME and RTMANAGER_ENGINE_STATE_MOUNT_PATH",
    "HostConfig.LogConfig": "RTMANAGER_CONTAINER_LOG_DRIVER",
    "HostConfig.Mounts": "RTMANAGER_GAME_STATE_ROOT and RTMANAGER_ENGINE_STATE_MOUNT_PATH",
}


@dataclass(frozen=True, slots=True)
class CreateRules:
    """What every container must be: the policy of the installation, and the images that may run."""

    policy: ContainerPolicy
    allowed_registries: Sequence[str] = ()

    def parse(self, name: str, body: bytes, host: HostCapacity | None = None) -> ContainerSpec:
        """The specification in a create request. Raises CallRefusedError unless RTM could have made it.

        ``host`` bounds limits for which no maximum is configured.
        """
        request = load_json(body)
        try:
            spec = self._read(request)
            written = create_request(spec)
            # The quick comparison is that of every request of RTM.
            difference = "" if json.dumps(written) == json.dumps(request) else find_difference(written, request)
        except (KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError):
            message = "the request lacks a part that every request of RTM has, or has another type there"
            raise _refused(message) from None
        except StartConfigInvalidError as error:
            raise _refused(error.message) from None
        if difference:
            raise _refused(f"{difference}{_advice(difference)}")
        if name != spec.name:
            raise _refused(f"the name {name[:100]!r} is not {spec.name}, the one of its game")
        self._check_limits(spec.limits, host)
        return spec

    def _read(self, request: Mapping[str, Any]) -> ContainerSpec:
        labels, host = request["Labels"], request["HostConfig"]
        game_id, image_ref = labels[LABEL_GAME_ID], labels[LABEL_IMAGE_REF]
        if not is_game_id(game_id):
            raise _refused(f"label {LABEL_GAME_ID} is no game id")
        image = request["Image"] if is_image_id(request["Image"]) else image_ref
        if not (is_image_id(request["Image"]) and _ID_AS_REFERENCE.fullmatch(image_ref)):
            check_image(image_ref, self.allowed_registries)
        if len(labels[LABEL_JOB_KEY]) > _LONGEST_JOB_KEY or not labels[LABEL_JOB_KEY].isprintable():
            raise _refused(f"label {LABEL_JOB_KEY} is no job key")
        state = build_spec(
            self.policy,
            game_id=game_id,
            image_ref=image_ref,
            image=image,
            limits=Limits(
                cpu_quota=_whole(host, "NanoCpus") / _NANO,
                memory_bytes=_whole(host, "Memory"),
                pids_limit=_whole(host, "PidsLimit"),
            ),
            operation_id=_number(labels, LABEL_OPERATION_ID),
            job_key=labels[LABEL_JOB_KEY],
            fence=int(_number(labels, LABEL_FENCE)),
            started_at_ms=int(_number(labels, LABEL_STARTED_AT_MS)),
        )
        return replace(
            state,
            volumes=self._volumes(game_id, host["Mounts"][1:]),
            log_driver=choose_log_driver(self.policy.log_driver, (host["LogConfig"]["Type"],)),
        )

    def _volumes(self, game_id: str, mounts: Sequence[Mapping[str, Any]]) -> tuple[VolumeMount, ...]:
        """The volumes of the image, from the mounts after that of the state: the ones that RTM plans for them."""
        state = state_path(self.policy.state_root, game_id)
        declared = [mount["Target"] for mount in mounts if mount["Source"] != f"{state}/{VOLUMES_DIRECTORY}"]
        volumes = plan_volumes(declared, mount_path=self.policy.state_mount_path)
        if [mount["Source"] for mount in mounts] != [f"{state}/{volume.subdirectory}" for volume in volumes]:
            raise _refused(f"HostConfig.Mounts may only have {state}, and below it a directory for each volume")
        return volumes

    def _check_limits(self, limits: Limits, host: HostCapacity | None) -> None:
        defaults = self.policy.default_limits
        ceilings = ceilings_of(self.policy.max_limits, defaults, host)
        for name, low in _MINIMA.items():
            value, ceiling = getattr(limits, name), ceilings.get(name)
            high = max(ceiling.value, getattr(defaults, name)) if ceiling else _MOST
            if not low <= value <= high:
                reason = f", from {ceiling.reason}" if ceiling else ""
                raise _refused(f"the limit {name} is {value}, not between {low} and {high}{reason}")


def check_new_name(name: str, game_id: str) -> None:
    """Raise CallRefusedError unless this is the name of the game's container."""
    if not is_game_id(game_id) or name != container_name(game_id):
        message = f"a container may only get the name of its game, not {name[:100]!r}"
        raise CallRefusedError(Reason.CONTAINER_SPEC, message)


def find_difference(expected: Any, given: Any, path: str = "") -> str:
    """The first difference, as a sentence; empty if both are equal, types included."""
    if type(expected) is not type(given) or (isinstance(expected, list) and len(expected) != len(given)):
        return f"{path or 'the body'} is {str(given)[:100]!r}, not {str(expected)[:100]!r}"
    if isinstance(expected, dict):
        unlike = [*(given.keys() - expected.keys()), *(expected.keys() - given.keys())]
        if unlike:
            return f"{path}.{min(unlike)[:60]} is missing, or no part of a game's container".lstrip(".")
        pairs = [(f"{path}.{key}".lstrip("."), expected[key], given[key]) for key in expected]
    elif isinstance(expected, list):
        pairs = [(f"{path}[{index}]", expected[index], given[index]) for index in range(len(expected))]
    else:
        return "" if expected == given else f"{path} is {str(given)[:100]!r}, not {str(expected)[:100]!r}"
    differences = (find_difference(ours, theirs, inner) for inner, ours, theirs in pairs)
    return next((difference for difference in differences if difference), "")


def _number(labels: Mapping[str, str], name: str) -> str:
    if not _NUMBER.fullmatch(labels[name]):
        raise _refused(f"label {name} is no number")
    return labels[name]


def _whole(host: Mapping[str, Any], name: str) -> int:
    if type(host[name]) is not int:
        raise _refused(f"HostConfig.{name} is no whole number")
    return int(host[name])


def _advice(difference: str) -> str:
    setting = next((setting for path, setting in _SETTING_OF.items() if difference.startswith(path)), "")
    return f"; {setting} must be the same for the gateway and its clients" if setting else ""


def _refused(message: str) -> CallRefusedError:
    return CallRefusedError(Reason.CONTAINER_SPEC, message)
