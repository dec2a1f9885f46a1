"""A shell in which a test follows the command blocks of a page, as an operator does on a server with systemd.

The commands run unchanged, except that directories of the server lie below one of the test's own. What belongs to the
server is a function of the shell: ``runuser`` runs programs of PostgreSQL in its container, ``rtmanager`` and ``rtm``
run those of this clone. ``systemctl`` starts and stops the processes of the service.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.local.workspace import CLONE
from tests.paths import ROOT
from tests.servers.databases import PostgresServer
from tests.servers.service import Service

_SERVER_PATHS = ("/var/backups/rtmanager", "/var/lib/rtmanager", "/etc/rtmanager", "/root/running-games")
_UNITS: Mapping[str, Sequence[str]] = {
    "rtmanager-web": ("web",),
    "rtmanager-loops": ("loops",),
    "rtmanager-worker": ("worker",),
    "rtmanager.target": ("web", "loops", "worker"),
}


def commands_of(page: str, part: str) -> str:
    """The command blocks of a page between the marks of this part."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    between = text.partition(f"<!-- {part}:begin -->")[2].partition(f"<!-- {part}:end -->")[0]
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```$", between, re.MULTILINE | re.DOTALL))
    assert blocks, f"docs/{page} has no part {part}"
    return blocks


class OperatorShell:
    """One bash session on one host: ``service`` is its RTM, ``postgres`` its server."""

    def __init__(self, service: Service, postgres: PostgresServer, *, root: Path) -> None:
        self._service = service
        self._root = root
        program = f"{shlex.quote(sys.executable)} {shlex.quote(str(CLONE / 'manage.py'))}"
        daemon, container = shlex.quote(os.environ["DOCKER_HOST"]), shlex.quote(str(postgres.container.id))
        in_container = f"docker --host {daemon} exec -i -e PGUSER=postgres -e PGHOST=127.0.0.1 {container}"
        self._preamble = f"""
            set -euo pipefail
            runuser() {{ shift 3; {in_container} "$@"; }}
            rtmanager() {{ {program} "$@"; }}
            rtm() {{ {program} rtm "$@"; }}
        """
        self.variables: dict[str, str] = {"RTM_URL": str(service.client.base_url)}

    def follow(self, page: str, part: str) -> str:
        """Run the commands of a part of a page; returns what they print. Fails with the output of a failed command."""
        printed = []
        for piece in re.split(r"^(systemctl .*)$", commands_of(page, part), flags=re.MULTILINE):
            if piece.startswith("systemctl "):
                self._systemctl(piece.split()[1:])
            elif piece.strip():
                printed.append(self.run(piece))
        return "".join(printed)

    def run(self, commands: str) -> str:
        """Run commands; variables that they set stay for the next ones."""
        for path in _SERVER_PATHS:
            commands = commands.replace(path, f"{self._root}{path}")
        # Variables outlive the shell of one piece, because systemctl is between the pieces.
        script = f'{self._preamble}\n{commands}\nprintf "\\n%s" "variable backup=${{backup:-}}"'
        done = subprocess.run(
            ["bash", "-c", script], cwd=CLONE, env={**self._service.environment, **self.variables}, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{commands}\n{done.stdout}"
        output, _, backup = done.stdout.rpartition("\nvariable backup=")
        self.variables |= {"backup": backup} if backup else {}
        return output

    def _systemctl(self, words: Sequence[str]) -> None:
        verb, units = words[0], [unit for unit in words[1:] if unit != "--now"]
        names = [name for unit in units for name in _UNITS[unit]]
        if verb in {"stop", "disable"}:
            self._service.stop(*names)
        else:
            for name in names:
                if not self._service.processes[name].is_running:
                    self._service.restart(name)


def make_server(root: Path) -> Path:
    """Make the directories of a server that the page names, and its settings; returns the path of its state root."""
    for path in ("var/lib/rtmanager", "etc/rtmanager", "root"):
        (root / path).mkdir(parents=True)
    (root / "etc/rtmanager/env").write_text("RTMANAGER_SECRET_KEY='kept'\n", encoding="utf-8")
    return root / "var/lib/rtmanager/games"
