"""The policy of the gateway tests that need no Docker."""

from runtimes.container_spec import ContainerPolicy, Limits

POLICY = ContainerPolicy(
    stack="one",
    network="galaxy-net",
    state_root="/srv/games",
    state_mount_path="/var/lib/galaxy-game",
    state_env_name="GAME_STATE_PATH",
    default_limits=Limits(1.0, 2**29, 512),
    read_only=True,
    user="",
    stop_grace_seconds=30,
)
