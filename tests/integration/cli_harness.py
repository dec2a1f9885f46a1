"""What the tests of the command line share: a terminal, on a service that answers over real HTTP."""

import json
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner, Result

from rtmanager.cli.main import cli


@dataclass(frozen=True, slots=True)
class Terminal:
    """Runs ``rtm`` in this process against one service."""

    url: str

    def __call__(self, *words: str, **environment: str) -> Result:
        """Run one command; its output, its errors and its exit code."""
        named = {
            "RTM_URL": self.url,
            "RTM_CONFIG": None,
            "RTM_TOKEN": None,
            "RTM_TOKEN_FILE": None,
            "HOME": "/nonexistent",
        }
        return CliRunner().invoke(cli, words, env={**named, **environment})

    def json(self, *words: str, **environment: str) -> Any:
        """Run one command that must succeed; its answer as data."""
        done = self(*words, "--json", **environment)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)
