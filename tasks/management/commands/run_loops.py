"""``manage.py run_loops``: all loops of the service in one process."""

from collections.abc import Sequence

from tasks.loops.base import Loop, LoopCommand
from tasks.management.commands import bridge_jobs, relay_events, run_scheduler, watch_runtimes


class Command(LoopCommand):
    """Run the loops of bridge_jobs, relay_events, watch_runtimes and run_scheduler with a third of their memory.

    Start any number, also beside those commands: one instance of each loop works, the others stand by.
    """

    help = "Run bridge, sweeper, relay, watcher, prober and scheduler in one process, until SIGTERM."

    def loops(self) -> Sequence[Loop]:
        commands = (bridge_jobs.Command(), relay_events.Command(), watch_runtimes.Command(), run_scheduler.Command())
        return [loop for command in commands for loop in command.loops()]
