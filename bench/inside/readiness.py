"""``make run`` in a workspace of the benchmark: starts the stack on request, stops it when the input ends."""

from contextlib import ExitStack

from bench.inside.asked import answer
from bench.testbed.testbed import READY_WORKSPACE, forget_the_environment
from deploy.local.console import Console
from deploy.local.stack import running
from deploy.local.stack_options import StackOptions
from deploy.local.system import signals


def main() -> None:
    """Serve requests. The data of the stack stay, as with ``make run``."""
    signals.listen()
    # It has the addresses of the testbed.
    forget_the_environment()
    with ExitStack() as opened:

        def start(docker_host: str) -> None:
            options = StackOptions(settings={"DOCKER_HOST": docker_host})
            opened.enter_context(running(READY_WORKSPACE, Console(), options=options))

        answer({"start": start})


if __name__ == "__main__":
    main()
