"""Both sides of the pipe: a line of JSON is a request, a line of JSON its response. Needs nothing of Django."""

import json
import os
import select
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

# The longest command works for one interval of probes, or prepares ten thousand containers.
_ANSWER_SECONDS = 300.0
_EXIT_SECONDS = 120.0


class Inside:
    """The outer side: a process that serves one request at a time. Use it as a context.

    ``settings`` are of the service, without prefix; they override those of the stack.
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # It exits at the end of its input, so also if this process is killed.
        try:
            self._process.communicate(timeout=_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def ask(self, name: str, **arguments: Any) -> Any:
        """Run a command; return its result. Raises LocalError if it fails or does not respond in time."""
        assert self._process.stdin is not None, "it was started with pipes"  # noqa: S101
        assert self._process.stdout is not None, "it was started with pipes"  # noqa: S101
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps([name, arguments]) + "\n")
            self._process.stdin.flush()
        # A response is one line, and the next request follows it: nothing is in Python's buffer here.
        is_answered, _, _ = select.select([self._process.stdout], [], [], _ANSWER_SECONDS)
        line = self._process.stdout.readline() if is_answered else ""
        if not line:
            raise LocalError(f"the command {name} of {self._name} failed; its last log lines:\n{tail(self._log)}")
        return json.loads(line)


def answer(commands: Mapping[str, Callable[..., Any]]) -> None:
    """The inner side: serve requests until the input ends. An error ends the process; the log has the reason."""
    # A print must not get between the responses.
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        name, arguments = json.loads(line)
        out.write(json.dumps(commands[name](**arguments)) + "\n")
        out.flush()
