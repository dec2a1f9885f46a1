"""``manage.py run_loops``: all loops of the service in one process."""

from collections.abc import Sequence

from tasks.loops import Loop, LoopCommand
from tasks.management.commands import bridge_jobs, keep_time, relay_events, watch_runtimes


class Command(LoopCommand):
    """Run what bridge_jobs, relay_events, watch_runtimes and keep_time run, for a third of their memory.

    Start as many as you like, also beside those: of each loop one works, the others stand by.
    """

    help = "Run bridge, sweeper, relay, watcher, prober and clock in one process, until SIGTERM."

    def loops(self) -> Sequence[Loop]:
        """Those of all four commands."""
        commands = (bridge_jobs.Command(), relay_events.Command(), watch_runtimes.Command(), keep_time.Command())
        return [loop for command in commands for loop in command.loops()]
