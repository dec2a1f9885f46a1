"""The settings of the next release."""

from rtmanager.settings import *  # noqa: F403 - the same, but for two names

RTM_VERSION = "0.3.0"
MIGRATION_MODULES = {"operations": "tests.servers.releases.next.migrations"}
