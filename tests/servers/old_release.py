"""A database as version 0.1.0 left it, migrated by ``manage.py`` in a process of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from tests.paths import ROOT
from tests.servers.databases import PostgresServer

# The last migrations of version 0.1.0.
VERSION_0_1_0 = {"operations": "0008", "runtimes": "0002", "console": "0001"}
_MIGRATE = """
import django, json, sys
from django.core.management import CommandError, call_command
django.setup()
try:
    for target in json.loads(sys.argv[1]):
        call_command("migrate", *target, verbosity=0)
except CommandError as error:
    sys.exit(str(error))
"""


@dataclass(frozen=True, slots=True)
class OldDatabase:
    """One database."""

    server: PostgresServer
    name: str

    def migrate(self, *targets: tuple[str, ...]) -> None:
        """Migrate to these targets, by default to the newest migrations."""
        done = self.try_to_migrate(*targets)
        assert done.returncode == 0, done.stderr

    def try_to_migrate(self, *targets: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
        """The same, but a refusal is returned: exit code 1, and the sentence on standard error."""
        environment = {
            **os.environ,
            "RTMANAGER_DATABASE_URL": self.server.url(self.name),
            "DJANGO_SETTINGS_MODULE": "rtmanager.settings",
        }
        command = [sys.executable, "-c", _MIGRATE, json.dumps(targets or [()])]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self.server.rows(self.name, query, *parameters)
