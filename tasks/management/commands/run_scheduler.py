"""``manage.py run_scheduler``: sends the messages of the periodic tasks."""

from collections.abc import Sequence

from django.conf import settings

from tasks.loops.base import Loop, LoopCommand
from tasks.loops.scheduler import Scheduler


class Command(LoopCommand):
    """Run the scheduler. Start any number: one works, the others stand by."""

    help = "Send the messages of the periodic tasks, until SIGTERM."

    def loops(self) -> Sequence[Loop]:
        return [Scheduler(settings.RTM_SCHEDULE)]
