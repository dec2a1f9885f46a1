"""What the settings of this installation say about every game container."""

from django.conf import settings

from runtimes.specs import ContainerPolicy, Limits, parse_memory


def current_policy() -> ContainerPolicy:
    """Read anew from the settings at each call: cheap, and tests that override settings are followed."""
    config = settings.RTMANAGER
    return ContainerPolicy(
        stack=config.stack,
        network=config.docker_network,
        state_root=config.game_state_root,
        state_mount_path=config.engine_state_mount_path,
        state_env_name=config.engine_state_env_name,
        default_limits=Limits(
            cpu_quota=config.default_cpu_quota,
            memory_bytes=parse_memory(config.default_memory),
            pids_limit=config.default_pids_limit,
        ),
        read_only=config.container_read_only,
        user=config.container_user,
        stop_grace_seconds=config.container_stop_timeout_seconds,
    )
