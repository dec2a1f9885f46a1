"""The specification of the container that the service creates, for rivals that create it without the service."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.testbed.testbed import IMAGE, Testbed
from runtimes.container_limits import ceilings_of, limits_from_labels
from runtimes.container_spec import (
    ContainerPolicy,
    ContainerSpec,
    Limits,
    MaxLimits,
    build_spec,
    parse_memory,
    state_path,
)
from runtimes.containers.docker.payloads import limits_in_force


class Specs:
    """Specifications like those of the service, with a stack label that the service ignores."""

    def __init__(self, testbed: Testbed) -> None:
        config = testbed.config
        defaults = Limits(config.default_cpu_quota, parse_memory(config.default_memory), config.default_pids_limit)
        image = testbed.docker.images.get(IMAGE).attrs
        self.image_id = str(image["Id"])
        self._limits, _warnings = limits_from_labels(
            image["Config"]["Labels"], defaults, ceilings_of(MaxLimits(), defaults, None)
        )
        self._directory_mode = config.game_state_dir_mode
        self.policy = ContainerPolicy(
            stack=testbed.rival_stack,
            network=config.docker_network,
            state_root=config.game_state_root,
            state_mount_path=config.engine_state_mount_path,
            state_env_name=config.engine_state_env_name,
            default_limits=defaults,
            read_only=config.container_read_only,
            user=config.container_user,
            stop_grace_seconds=config.container_stop_timeout_seconds,
        )

    def make(self, game_id: str) -> ContainerSpec:
        """The specification of one container. Its state directory is created here, so that rivals need not do it."""
        Path(state_path(self.policy.state_root, game_id)).mkdir(mode=self._directory_mode, exist_ok=True)
        return build_spec(
            self.policy,
            game_id=game_id,
            image_ref=IMAGE,
            limits=self._limits,
            operation_id=1,
            fence=1,
            started_at_ms=1,
        )

    def forget(self, game_id: str) -> None:
        """Remove the state directory. Idempotent."""
        shutil.rmtree(state_path(self.policy.state_root, game_id), ignore_errors=True)


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The names of the settings, limits and hardening, in which two inspected containers differ. Pure."""
    first, second = _comparable(one), _comparable(other)
    return sorted(name for name in first if first[name] != second[name])


def _comparable(inspected: Mapping[str, Any]) -> dict[str, Any]:
    limits = limits_in_force(inspected)
    # Each game has a directory of its own.
    limits["mounts"] = [{**mount, "source": ""} for mount in limits["mounts"]]
    return {**limits, "security_opt": sorted(limits["security_opt"])}
