"""How both sides of the pipe talk: a line of JSON asks, a line of JSON answers. Needs nothing of Django."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from deploy.local.system.errors import LocalError
from deploy.local.system.process_cleanup import MARKER
from deploy.local.system.shell import tail
from deploy.local.workspace import CLONE, Workspace


class Inside:
    """The outer side: a process that does what it is asked, one thing at a time. Use it as a context.

    ``settings`` are of the service, without prefix, and overrule those of the stack.
    """

    def __init__(self, module: str, *, python: str, workspace: Workspace, settings: Mapping[str, str]) -> None:
        self._name = module.rpartition(".")[2]
        self._log = workspace.log(f"inside-{self._name}")
        chosen = {f"RTMANAGER_{name}": value for name, value in settings.items()}
        with self._log.open("a") as errors:
            self._process = subprocess.Popen(
                [python, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                cwd=CLONE, env={**os.environ, **chosen, MARKER: workspace.identity}, start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # It ends when the outer process has ended.
        self._process.communicate()

    def ask(self, name: str, **arguments: Any) -> Any:
        """What the command of this name returns. LocalError when it fails."""
        assert self._process.stdin is not None, "it was started with pipes"  # noqa: S101
        assert self._process.stdout is not None, "it was started with pipes"  # noqa: S101
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps([name, arguments]) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            message = f"{self._name} could not {name}; it said:\n{tail(self._log)}"
            raise LocalError(message)
        return json.loads(line)


def answer(commands: Mapping[str, Callable[..., Any]]) -> None:
    """The inner side: serve requests until the input ends. A failure ends the process, with its reason."""
    # Whatever prints must not get between the answers.
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        name, arguments = json.loads(line)
        out.write(json.dumps(commands[name](**arguments)) + "\n")
        out.flush()
