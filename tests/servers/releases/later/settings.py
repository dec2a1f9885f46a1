"""The settings of the release after the next one."""

from rtmanager.settings import *  # noqa: F403 - the same, but for two names

RTM_VERSION = "0.4.0"
MIGRATION_MODULES = {"operations": "tests.servers.releases.later.migrations"}
