"""``manage.py keep_time``: asks for the periodic tasks when their time has come."""

from collections.abc import Sequence

from django.conf import settings

from tasks.clock import Clock
from tasks.leadership import Leadership
from tasks.loops import Loop, LoopCommand


class Command(LoopCommand):
    """Run the clock. Start as many as you like: one works, the others stand by."""

    help = "Send the messages of the periodic tasks, until SIGTERM."

    def loops(self) -> Sequence[Loop]:
        """The clock."""
        return [Clock(settings.RTM_SCHEDULE, leadership=Leadership("clock"))]
