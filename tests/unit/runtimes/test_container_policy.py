"""The policy follows the settings."""

from collections.abc import Callable

from rtmanager.config import Config
from runtimes.container_spec import Limits, current_policy


def test_the_policy_says_what_the_settings_say(rtm_settings: Callable[..., Config]) -> None:
    rtm_settings(
        stack="blue", default_memory="1g", default_cpu_quota=2.0, container_user="1000", docker_network="net-1"
    )

    policy = current_policy()

    assert (policy.stack, policy.user) == ("blue", "1000")
    assert policy.default_limits == Limits(cpu_quota=2.0, memory_bytes=1024**3, pids_limit=512)


def test_the_policy_follows_a_change_of_the_settings(rtm_settings: Callable[..., Config]) -> None:
    before = current_policy().stack

    rtm_settings(stack=f"{before}-other")

    assert current_policy().stack == f"{before}-other"
